//! Applying nodes to data, as Go's `text/template` does; the words of faults are its own.

mod fields;

use std::rc::Rc;

use super::calls::Call;
use super::parse::Trees;
use super::print::shown;
use super::quote::quoted;
use super::tree::{Branch, Command, Node, Operand, Pipeline, Term};
use super::value::{Is, TEXT, Type, Value};

/// A template that prints more than this is stopped.
const OUTPUT_LIMIT: usize = 256 << 20;

/// Templates that call each other are stopped when they are this deep.
const DEEPEST: usize = 256;

/// What there is when there is nothing: a map without the key that was asked for, or an interface that holds nothing.
pub(super) type Maybe = Option<Value>;

/// How a template is applied.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mode {
    /// Whether it is a fault to ask a map for a key that it does not have.
    pub(super) strict: bool,
    /// Whether the data are names of columns: functions that change a value leave these as they are.
    pub(super) heading: bool,
}

/// Where a fault is, in bytes, what stands there, in which template, and what is wrong.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) place: Option<(usize, String)>,
    pub(super) template: String,
    pub(super) why: String,
}

/// What was printed, and how it ended.
pub(super) type Outcome = (String, Result<(), Fault>);

/// Applies the outermost template.
pub(super) fn execute(trees: &Trees, name: &str, data: &Value, mode: Mode) -> Outcome {
    let mut state = State {
        trees,
        mode,
        place: None,
        template: name.to_owned(),
        variables: vec![("$".to_owned(), Some(data.clone()))],
        depth: 0,
        out: String::new(),
    };
    let end = state.nodes(&trees.main, &Some(data.clone())).map(drop);
    (state.out, end)
}

/// Whether a loop goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

pub(super) struct State<'a> {
    trees: &'a Trees,
    pub(super) mode: Mode,
    /// Where messages say that something is wrong.
    pub(super) place: Option<(usize, String)>,
    template: String,
    /// The innermost last; the first is `$`.
    variables: Vec<(String, Maybe)>,
    depth: usize,
    out: String,
}

impl<'a> State<'a> {
    pub(super) fn fault<T>(&self, why: impl Into<String>) -> Result<T, Fault> {
        Err(Fault {
            place: self.place.clone(),
            template: self.template.clone(),
            why: why.into(),
        })
    }

    pub(super) fn at(&mut self, operand: &Operand) {
        self.place = Some((operand.at, operand.to_string()));
    }

    fn nodes(&mut self, nodes: &'a [Node], dot: &Maybe) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &'a Node, dot: &Maybe) -> Result<Flow, Fault> {
        match node {
            Node::Text(text) => self.print(text)?,
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.names.is_empty() {
                    self.print(&printed(value))?;
                }
            }
            Node::Branch(kind, pipeline, then, otherwise) => {
                let known = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                let truth = value
                    .clone()
                    .and_then(Value::held)
                    .is_some_and(|value| value.truth());
                let flow = match (truth, kind) {
                    (true, Branch::With) => self.nodes(then, &value),
                    (true, Branch::If) => self.nodes(then, dot),
                    (false, _) => self.nodes(otherwise, dot),
                }?;
                self.variables.truncate(known);
                return Ok(flow);
            }
            Node::Range(pipeline, body, otherwise) => {
                let known = self.variables.len();
                let flow = self.range(pipeline, body, otherwise, dot)?;
                self.variables.truncate(known);
                return Ok(flow);
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Template(at, name, pipeline) => {
                self.template(*at, name, pipeline.as_ref(), dot)?
            }
        }
        Ok(Flow::On)
    }

    fn print(&mut self, text: &str) -> Result<(), Fault> {
        if self.out.len() + text.len() > OUTPUT_LIMIT {
            return self.fault("more than 256 MiB are printed");
        }
        self.out.push_str(text);
        Ok(())
    }

    fn template(
        &mut self,
        at: usize,
        name: &str,
        pipeline: Option<&Pipeline>,
        dot: &Maybe,
    ) -> Result<(), Fault> {
        let given = pipeline
            .map(|pipeline| format!(" {pipeline}"))
            .unwrap_or_default();
        let place = Some((at, format!("{{{{template {}{given}}}}}", quoted(name))));
        self.place = place.clone();
        let Some(nodes) = self.trees.defined.get(name) else {
            return self.fault(format!("template {} not defined", quoted(name)));
        };
        if self.depth == DEEPEST {
            return self.fault(format!("exceeded maximum template depth ({DEEPEST})"));
        }
        let known = self.variables.len();
        let dot = match pipeline {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => None,
        };
        self.variables.truncate(known);
        let variables = std::mem::replace(&mut self.variables, vec![("$".to_owned(), dot.clone())]);
        let outer = std::mem::replace(&mut self.template, name.to_owned());
        self.depth += 1;
        self.nodes(nodes, &dot)?;
        self.depth -= 1;
        self.template = outer;
        self.variables = variables;
        Ok(())
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &'a [Node],
        otherwise: &'a [Node],
        dot: &Maybe,
    ) -> Result<Flow, Fault> {
        let value = self.pipeline(pipeline, dot)?;
        let value = value.map(|value| value.indirect().0);
        let rows: Vec<(Maybe, Value)> = match value.as_ref().map(|value| (value.of, &value.is)) {
            None | Some((Type::List(..) | Type::Map(..), Is::Nil)) => Vec::new(),
            Some((_, Is::List(items))) => {
                let index = |at: usize| Some(Value::int(i64::try_from(at).unwrap_or(i64::MAX)));
                items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| (index(at), item.clone()))
                    .collect()
            }
            Some((of, Is::Map(entries))) => entries
                .iter()
                .map(|(key, value)| (Some(keyed(of, key)), value.clone()))
                .collect(),
            Some((of @ Type::Int(_), Is::Int(number))) => {
                if pipeline.names.len() > 1 {
                    return self.fault(format!(
                        "can't use {number} to iterate over more than one variable"
                    ));
                }
                (0..(*number).min(1 << 20))
                    .map(|number| {
                        (
                            None,
                            Value {
                                of,
                                is: Is::Int(number),
                            },
                        )
                    })
                    .collect()
            }
            Some(_) => {
                let shown = value.as_ref().map(shown).unwrap_or_default();
                return self.fault(format!("range can't iterate over {shown}"));
            }
        };
        if rows.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let known = self.variables.len();
        for (index, element) in rows {
            self.variables.truncate(known);
            let element = Some(element);
            match pipeline.names.as_slice() {
                [name] => self.give(pipeline.assigns, name, element.clone(), 1)?,
                [first, second] => {
                    // The second was declared last.
                    self.give(pipeline.assigns, first, index, 2)?;
                    self.give(pipeline.assigns, second, element.clone(), 1)?;
                }
                _ => {}
            }
            if self.nodes(body, &element)? == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Gives a loop's variable its value: by name, or as the so many-th from the end.
    fn give(
        &mut self,
        assigns: bool,
        name: &str,
        value: Maybe,
        from_end: usize,
    ) -> Result<(), Fault> {
        if assigns {
            return self.assign(name, value);
        }
        let at = self.variables.len().saturating_sub(from_end);
        if let Some((_, slot)) = self.variables.get_mut(at) {
            *slot = value;
        }
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Maybe) -> Result<(), Fault> {
        let found = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name);
        match found {
            Some((_, slot)) => *slot = value,
            None => return self.fault(format!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Maybe) -> Result<Maybe, Fault> {
        self.place = Some((pipeline.at, pipeline.to_string()));
        let mut last: Option<Maybe> = None;
        for command in &pipeline.commands {
            let value = self.command(command, last.take(), dot)?;
            last = Some(value.and_then(Value::held));
        }
        let value = last.unwrap_or_default();
        for name in &pipeline.names {
            if pipeline.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &Command,
        last: Option<Maybe>,
        dot: &Maybe,
    ) -> Result<Maybe, Fault> {
        let Some((first, args)) = command.operands.split_first() else {
            return Ok(None);
        };
        let call = Call { args, last };
        match &first.is {
            Term::Field(names) => {
                self.at(first);
                self.fields(dot.clone(), names, first, call, dot)
            }
            Term::Chain(inner, names) => {
                self.at(first);
                let value = self.chained(inner, first, dot)?;
                self.fields(value, names, first, call, dot)
            }
            Term::Function(name) => {
                self.at(first);
                self.function(name, &command.to_string(), first, call, dot)
            }
            Term::Variable(name, names) => {
                self.at(first);
                let value = self.variable(name)?;
                if names.is_empty() {
                    self.no_function(first, &call)?;
                    return Ok(value);
                }
                self.fields(value, names, first, call, dot)
            }
            Term::Nested(pipeline) => {
                self.no_function(first, &call)?;
                self.pipeline(pipeline, dot)
            }
            Term::Nil => {
                self.at(first);
                self.no_function(first, &call)?;
                self.fault("nil is not a command")
            }
            _ => {
                self.at(first);
                self.no_function(first, &call)?;
                self.constant(first, dot)
            }
        }
    }

    fn no_function(&self, first: &Operand, call: &Call<'_>) -> Result<(), Fault> {
        if call.args.is_empty() && call.last.is_none() {
            return Ok(());
        }
        let first = match &first.is {
            Term::Nested(pipeline) => pipeline.to_string(),
            _ => first.to_string(),
        };
        self.fault(format!("can't give argument to non-function {first}"))
    }

    fn variable(&self, name: &str) -> Result<Maybe, Fault> {
        match self.variables.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fault(format!("undefined variable: {name}")),
        }
    }

    /// The value whose fields a chain names.
    fn chained(&mut self, inner: &Operand, chain: &Operand, dot: &Maybe) -> Result<Maybe, Fault> {
        if let Term::Nil = inner.is {
            return self.fault(format!("indirection through explicit nil in {chain}"));
        }
        self.operand(inner, dot)
    }

    /// The value of an operand that is no command.
    pub(super) fn operand(&mut self, operand: &Operand, dot: &Maybe) -> Result<Maybe, Fault> {
        self.at(operand);
        let alone = Call {
            args: &[],
            last: None,
        };
        match &operand.is {
            Term::Field(names) => self.fields(dot.clone(), names, operand, alone, dot),
            Term::Variable(name, names) => {
                let value = self.variable(name)?;
                self.fields(value, names, operand, alone, dot)
            }
            Term::Nested(pipeline) => self.pipeline(pipeline, dot),
            Term::Function(name) => self.function(name, &operand.to_string(), operand, alone, dot),
            Term::Chain(inner, names) => {
                let value = self.chained(inner, operand, dot)?;
                self.fields(value, names, operand, alone, dot)
            }
            _ => self.constant(operand, dot),
        }
    }

    fn constant(&self, operand: &Operand, dot: &Maybe) -> Result<Maybe, Fault> {
        match &operand.is {
            Term::Bool(value) => Ok(Some(Value::bool(*value))),
            Term::Number(number) => match &number.ideal {
                Ok(value) => Ok(Some(value.clone())),
                Err(why) => self.fault(why.clone()),
            },
            Term::Text(_, text) => Ok(Some(Value::text(Rc::clone(text)))),
            Term::Dot => Ok(dot.clone()),
            _ => Ok(None),
        }
    }
}

/// A key of a map of that type.
fn keyed(of: &'static Type, key: &Rc<str>) -> Value {
    let of = match of {
        Type::Map(_, key, _) => key,
        _ => &TEXT,
    };
    Value {
        of,
        is: Is::Text(Rc::clone(key)),
    }
}

/// What an action prints of a value.
fn printed(value: Maybe) -> String {
    let value = value.map(|value| match value.of {
        Type::Pointer(_) => value.indirect().0,
        _ => value,
    });
    value
        .as_ref()
        .map_or_else(|| "<no value>".to_owned(), shown)
}
