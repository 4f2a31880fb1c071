//! Go's text templates, as people use them with `--format`.
//!
//! Everything that Go's `text/template` has but methods of types of Go's and functions as values, and docker's own
//! functions (`json`, `join`, `split`, `title`, `lower`, `upper`, `pad`, `truncate`). Data are values with types of Go's
//! (see [`value`]): what the API answers is read into the structures that docker's client has for it (see
//! [`schema`]), the rows of lists are objects whose fields are methods.

mod builtins;
mod calls;
mod compare;
mod escape;
mod exec;
mod json;
mod lex;
mod methods;
mod number;
mod parse;
mod print;
mod printf;
mod quote;
pub(crate) mod schema;
mod tree;
pub(crate) mod value;

#[cfg(test)]
mod tests;

pub(crate) use json::LABELS;
pub(crate) use value::{ANY_MAP, Type, Value};

/// The type of the names of columns in docker's client.
const HEADING: &str = "formatter.SubHeaderContext";

/// Why a template can not be used; the texts follow Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The text is no template.
    #[error("template: {name}:{line}: {why}")]
    Parse {
        name: &'static str,
        line: usize,
        why: String,
    },
    /// It can not be applied to these data.
    #[error("template: {place}{why}")]
    Execute {
        /// Where it failed, and in which template.
        place: String,
        /// Why.
        why: String,
    },
}

/// A template that was parsed.
#[derive(Debug)]
pub(crate) struct Template {
    name: &'static str,
    source: String,
    trees: parse::Trees,
}

impl Template {
    /// Parses a template without a name.
    ///
    /// # Errors
    /// [`Fault::Parse`].
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        Self::parse_as("", text)
    }

    /// Parses a template; messages tell its name.
    ///
    /// # Errors
    /// [`Fault::Parse`].
    pub(crate) fn parse_as(name: &'static str, text: &str) -> Result<Self, Fault> {
        match parse::parse(text) {
            Ok(trees) => Ok(Template {
                name,
                source: text.to_owned(),
                trees,
            }),
            Err((line, why)) => Err(Fault::Parse { name, line, why }),
        }
    }

    /// Applies it to data; `strict` makes it a fault to ask a map for a key that it does not have.
    ///
    /// # Errors
    /// [`Fault::Execute`].
    pub(crate) fn render(&self, data: &Value, strict: bool) -> Result<String, Fault> {
        let (text, end) = self.run(
            data,
            exec::Mode {
                strict,
                heading: false,
            },
        );
        end.map(|()| text)
    }

    /// Applies it to data; gives what was printed before a fault as well.
    pub(crate) fn render_partly(&self, data: &Value) -> (String, Result<(), Fault>) {
        self.run(data, exec::Mode::default())
    }

    /// Applies it to data of which nothing is known but what they are, strictly.
    ///
    /// # Errors
    /// [`Fault::Execute`].
    pub(crate) fn render_raw(&self, data: &serde_json::Value) -> Result<String, Fault> {
        let data = Value::read(data, &value::ANY).indirect().0;
        let (text, end) = self.run(
            &data,
            exec::Mode {
                strict: true,
                heading: false,
            },
        );
        end.map(|()| text)
    }

    /// Applies it to the names of columns: functions that change a value leave these as they are.
    ///
    /// # Errors
    /// [`Fault::Execute`].
    pub(crate) fn render_heading(&self, names: &serde_json::Value) -> Result<String, Fault> {
        static NAMES: Type = Type::Map(HEADING, &value::TEXT, &value::TEXT);
        let names = Value::read(names, &NAMES);
        let (text, end) = self.run(
            &names,
            exec::Mode {
                strict: false,
                heading: true,
            },
        );
        end.map(|()| text)
    }

    fn run(&self, data: &Value, mode: exec::Mode) -> (String, Result<(), Fault>) {
        let (text, end) = exec::execute(&self.trees, self.name, data, mode);
        (text, end.map_err(|fault| self.told(fault)))
    }

    /// A fault with its place as Go tells it: line from 1, column from 0.
    fn told(&self, fault: exec::Fault) -> Fault {
        let place = match fault.place {
            None => String::new(),
            Some((at, text)) => {
                let before = self.source.get(..at).unwrap_or_default();
                let line = before.rfind('\n').map_or(0, |at| at + 1);
                format!(
                    "{}:{}:{}: executing {} at <{text}>: ",
                    self.name,
                    before.matches('\n').count() + 1,
                    before.len() - line,
                    quote::quoted(&fault.template)
                )
            }
        };
        Fault::Execute {
            place,
            why: fault.why,
        }
    }
}
