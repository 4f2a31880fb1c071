//! Applying nodes to data.

use serde_json::Value;

use super::TemplateError;
use super::functions;
use super::parse::{Command, Node, Operand, Pipeline, Place, What};
use super::show::{document, go_type, is_hidden, shown};

/// The hidden field in which a row keeps its labels for the method `.Label`.
pub(crate) const LABELS: &str = "\u{0}labels";

/// The hidden field in which a value keeps what the function `json` shows of it.
pub(crate) const ORIGINAL: &str = "\u{0}json";

/// What the data of a template are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A row of a list, of that type of Go's.
    Row(&'static str),
    /// An object of the API's. The types of Go's by their place in it, the whole at `""`; what is none of these is
    /// a map.
    Document(&'static [(&'static str, &'static str)]),
}

impl Shape {
    fn is_document(self) -> bool {
        matches!(self, Shape::Document(_))
    }

    /// The type of Go's at a place; `None` for a map.
    fn type_at(self, path: &str) -> Option<&'static str> {
        match self {
            Shape::Row(name) => path.is_empty().then_some(name),
            Shape::Document(types) => types
                .iter()
                .find(|(known, _)| *known == path)
                .map(|(_, name)| *name),
        }
    }
}

/// What Go prints for the entry that a map does not have.
static NO_VALUE: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| "<no value>".into());

/// A template that prints more than this is stopped.
const OUTPUT_LIMIT: usize = 256 << 20;

/// Renders nodes with the data as dot and as `$`.
pub(super) fn render(
    nodes: &[Node],
    data: &Value,
    shape: Shape,
    heading: bool,
) -> Result<String, TemplateError> {
    let mut state = State {
        root: data,
        shape,
        variables: vec![(String::new(), data.clone())],
        out: String::new(),
        heading,
    };
    state.all(nodes, data)?;
    Ok(state.out)
}

/// Whether a loop goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct State<'a> {
    root: &'a Value,
    shape: Shape,
    /// The innermost last; the first is `$`.
    variables: Vec<(String, Value)>,
    out: String,
    /// Whether the data are names of columns.
    heading: bool,
}

/// Functions that are left out in a heading.
const FORMATTING: [&str; 6] = ["json", "lower", "pad", "title", "truncate", "upper"];

fn fault<T>(place: &Place, why: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Execute {
        place: place.clone(),
        why: why.into(),
    })
}

impl State<'_> {
    fn all(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        for node in nodes {
            let flow = self.one(node, dot)?;
            if flow != Flow::On {
                self.variables.truncate(scope);
                return Ok(flow);
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::On)
    }

    fn one(&mut self, node: &Node, dot: &Value) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.print(text)?,
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                let text = if self.shape.is_document() {
                    document(&value, named(pipeline))
                } else {
                    shown(&value)
                };
                self.print(&text)?;
            }
            Node::Set(name, new, pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                self.set(name, *new, value)?;
            }
            Node::If(condition, then, otherwise) => {
                let chosen = if truth(&self.pipeline(condition, dot)?) {
                    then
                } else {
                    otherwise
                };
                return self.all(chosen, dot);
            }
            Node::With(value, then, otherwise) => {
                let value = self.pipeline(value, dot)?;
                return if truth(&value) {
                    self.all(then, &value)
                } else {
                    self.all(otherwise, dot)
                };
            }
            Node::Range {
                place,
                index,
                element,
                over,
                body,
                empty,
            } => {
                let over = self.pipeline(over, dot)?;
                return self.range(
                    place,
                    (index.as_deref(), element.as_deref()),
                    &over,
                    body,
                    empty,
                    dot,
                );
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn print(&mut self, text: &str) -> Result<(), TemplateError> {
        if self.out.len() + text.len() > OUTPUT_LIMIT {
            return Err(TemplateError::Parse(
                "more than 256 MiB are printed".to_owned(),
            ));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn set(&mut self, name: &str, new: bool, value: Value) -> Result<(), TemplateError> {
        if new {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        match self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name)
        {
            Some((_, slot)) => *slot = value,
            None => return Err(undefined(name)),
        }
        Ok(())
    }

    fn range(
        &mut self,
        place: &Place,
        names: (Option<&str>, Option<&str>),
        over: &Value,
        body: &[Node],
        empty: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let rows: Vec<(Value, Value)> = match over {
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(index, value)| (index.into(), value.clone()))
                .collect(),
            Value::Object(map) => sorted(map)
                .map(|(key, value)| (key.clone().into(), value.clone()))
                .collect(),
            Value::Null => Vec::new(),
            Value::Number(number) if number.is_u64() => {
                (0..number.as_u64().unwrap_or(0).min(1 << 20))
                    .map(|index| (index.into(), index.into()))
                    .collect()
            }
            other => {
                return fault(place, format!("range can't iterate over {}", shown(other)));
            }
        };
        if rows.is_empty() {
            return self.all(empty, dot);
        }
        let scope = self.variables.len();
        for (index, value) in rows {
            self.variables.truncate(scope);
            if let Some(name) = names.0 {
                self.variables.push((name.to_owned(), index));
            }
            if let Some(name) = names.1 {
                self.variables.push((name.to_owned(), value.clone()));
            }
            if self.all(body, &value)? == Flow::Break {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut last = None;
        for command in pipeline {
            last = Some(self.command(command, last.take(), dot)?);
        }
        Ok(last.unwrap_or(Value::Null))
    }

    fn command(
        &mut self,
        command: &Command,
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Value, TemplateError> {
        let place = &command.place;
        if let What::Function(name) = &command.head.what {
            if matches!(name.as_str(), "and" | "or") {
                return self.lazy(name, &command.args, last, dot);
            }
            let mut args = command
                .args
                .iter()
                .map(|arg| self.operand(arg, dot))
                .collect::<Result<Vec<_>, _>>()?;
            args.extend(last);
            if self.heading && FORMATTING.contains(&name.as_str()) {
                return Ok(args.into_iter().next().unwrap_or(Value::Null));
            }
            if let Some((at, why)) = functions::misfit(name, &args) {
                let place = command.args.get(at).map_or(place, |arg| &arg.place);
                return fault(place, why);
            }
            return functions::call(name, &args)
                .or_else(|why| fault(place, format!("error calling {name}: {why}")));
        }
        if let What::Field(names) = &command.head.what
            && let [name] = names.as_slice()
            && name == "Label"
        {
            let mut args = command
                .args
                .iter()
                .map(|arg| self.operand(arg, dot))
                .collect::<Result<Vec<_>, _>>()?;
            args.extend(last);
            if self.heading {
                return Ok(args.into_iter().next().unwrap_or(Value::Null));
            }
            return Ok(label(dot, &args));
        }
        if !command.args.is_empty() || last.is_some() {
            return fault(
                place,
                format!(
                    "can't give argument to non-function {}",
                    command.head.place.text
                ),
            );
        }
        self.operand(&command.head, dot)
    }

    /// `and` and `or` stop at the first argument that decides.
    fn lazy(
        &mut self,
        name: &str,
        args: &[Operand],
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Value, TemplateError> {
        let mut value = Value::Null;
        for arg in args {
            value = self.operand(arg, dot)?;
            if truth(&value) == (name == "or") {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        let place = &operand.place;
        match &operand.what {
            What::Constant(value) => Ok(value.clone()),
            What::Field(names) => self.field(dot, names, place),
            What::Variable(name, names) => {
                let found = self
                    .variables
                    .iter()
                    .rev()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone());
                match found {
                    Some(value) => self.field(&value, names, place),
                    None => Err(undefined(name)),
                }
            }
            What::Nested(pipeline, names) => {
                let value = self.pipeline(pipeline, dot)?;
                self.field(&value, names, place)
            }
            What::Function(name) => functions::call(name, &[])
                .or_else(|why| fault(place, format!("error calling {name}: {why}"))),
        }
    }

    fn field(
        &self,
        whole: &Value,
        names: &[String],
        place: &Place,
    ) -> Result<Value, TemplateError> {
        let of_root = std::ptr::eq(whole, self.root);
        let mut value = whole;
        for (at, name) in names.iter().enumerate() {
            let path = names[..at].join(".");
            let named_type = of_root.then(|| self.shape.type_at(&path)).flatten();
            value = match (value, named_type) {
                (Value::Object(map), _) if map.contains_key(name) => &map[name],
                // A map of texts that a row has, such as an event's attributes.
                (Value::Object(_), None) if !self.shape.is_document() => &NO_VALUE,
                (Value::Object(_), None) => {
                    return fault(place, format!("map has no entry for key \"{name}\""));
                }
                (Value::Null, None) => {
                    return fault(
                        place,
                        format!("nil pointer evaluating interface {{}}.{name}"),
                    );
                }
                (other, known) => {
                    let known = known.unwrap_or(if self.shape.is_document() {
                        "interface {}"
                    } else {
                        go_type(other)
                    });
                    return fault(
                        place,
                        format!("can't evaluate field {name} in type {known}"),
                    );
                }
            };
        }
        Ok(value.clone())
    }
}

fn undefined(name: &str) -> TemplateError {
    TemplateError::Parse(format!("undefined variable \"${name}\""))
}

/// The name of the field that a pipeline shows, if it is one.
fn named(pipeline: &Pipeline) -> Option<&str> {
    let [command] = pipeline.as_slice() else {
        return None;
    };
    match &command.head.what {
        What::Field(names) | What::Variable(_, names) | What::Nested(_, names) => {
            names.last().map(String::as_str)
        }
        _ => None,
    }
}

fn label(dot: &Value, args: &[Value]) -> Value {
    let name = args.first().and_then(Value::as_str).unwrap_or_default();
    dot[LABELS]
        .get(name)
        .cloned()
        .unwrap_or_else(|| Value::String(String::new()))
}

/// The entries of a map in the order of their keys, as Go ranges over it; hidden ones are left out.
fn sorted(map: &serde_json::Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let map: std::collections::BTreeMap<_, _> = map.iter().collect();
    map.into_iter().filter(|(name, _)| !is_hidden(name))
}

/// Go's truth: what is not empty and not zero.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
