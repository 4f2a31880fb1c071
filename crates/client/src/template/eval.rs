//! Applying nodes to data.

use serde_json::Value;

use super::TemplateError;
use super::functions;
use super::parse::{Command, Node, Operand, Pipeline};
use super::show::shown;

/// The hidden field in which a row keeps its labels for the method `.Label`.
pub(crate) const LABELS: &str = "\u{0}labels";

/// A template that prints more than this is stopped.
const OUTPUT_LIMIT: usize = 256 << 20;

/// Renders nodes with the data as dot and as `$`.
pub(super) fn render(nodes: &[Node], data: &Value, heading: bool) -> Result<String, TemplateError> {
    let mut state = State {
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

struct State {
    /// The innermost last; the first is `$`.
    variables: Vec<(String, Value)>,
    out: String,
    /// Whether the data are names of columns.
    heading: bool,
}

/// Functions that are left out in a heading.
const FORMATTING: [&str; 6] = ["json", "lower", "pad", "title", "truncate", "upper"];

fn fault<T>(at: impl Into<String>, why: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Execute {
        at: at.into(),
        why: why.into(),
    })
}

impl State {
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
                self.print(&shown(&value))?;
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
                index,
                element,
                over,
                body,
                empty,
            } => {
                let over = self.pipeline(over, dot)?;
                return self.range(
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
            return fault("output", "more than 256 MiB");
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
            None => return fault(format!("${name}"), "undefined variable"),
        }
        Ok(())
    }

    fn range(
        &mut self,
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
                return fault(
                    "range",
                    format!("range can't iterate over {}", shown(other)),
                );
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
        if let Operand::Function(name) = &command.head {
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
            return functions::call(name, &args)
                .or_else(|why| fault(name.as_str(), format!("error calling {name}: {why}")));
        }
        if let Operand::Field(names) = &command.head
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
            return fault(named(&command.head), "can't give argument to non-function");
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
        match operand {
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Field(names) => field(dot, names),
            Operand::Variable(name, names) => {
                let found = self
                    .variables
                    .iter()
                    .rev()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value.clone());
                match found {
                    Some(value) => field(&value, names),
                    None => fault(format!("${name}"), "undefined variable"),
                }
            }
            Operand::Nested(pipeline, names) => {
                let value = self.pipeline(pipeline, dot)?;
                field(&value, names)
            }
            Operand::Function(name) => {
                functions::call(name, &[]).or_else(|why| fault(name.as_str(), why))
            }
        }
    }
}

fn named(operand: &Operand) -> String {
    match operand {
        Operand::Field(names) => format!(".{}", names.join(".")),
        Operand::Variable(name, _) => format!("${name}"),
        _ => "value".to_owned(),
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
    map.into_iter().filter(|(name, _)| name.as_str() != LABELS)
}

fn field(value: &Value, names: &[String]) -> Result<Value, TemplateError> {
    let mut value = value;
    for name in names {
        value = match value {
            Value::Object(map) => match map.get(name) {
                Some(found) => found,
                None => {
                    return fault(
                        format!(".{}", names.join(".")),
                        format!("map has no entry for key \"{name}\""),
                    );
                }
            },
            Value::Null => {
                return fault(
                    format!(".{}", names.join(".")),
                    format!("nil pointer evaluating interface {{}}.{name}"),
                );
            }
            other => {
                return fault(
                    format!(".{}", names.join(".")),
                    format!("can't evaluate field {name} in type {}", kind(other)),
                );
            }
        };
    }
    Ok(value.clone())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Null => "interface {}",
    }
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
