//! What a template is made of.

use std::fmt::{Display, Formatter, Result};
use std::rc::Rc;

use super::value::Value;

/// A list of nodes.
pub(super) type Nodes = Vec<Node>;

/// One part of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Text as it is.
    Text(String),
    /// A pipeline whose value is printed, unless it goes to a variable.
    Action(Pipeline),
    /// `if` and `with`.
    Branch(Branch, Pipeline, Nodes, Nodes),
    /// `range`
    Range(Pipeline, Nodes, Nodes),
    /// `break`
    Break,
    /// `continue`
    Continue,
    /// `template`: where its name stands, the name, and what becomes the dot.
    Template(usize, String, Option<Pipeline>),
}

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Branch {
    If,
    With,
}

/// Commands, each of which gets the former's value as its last argument, and variables that get the last one's.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipeline {
    pub(super) at: usize,
    /// With the dollar.
    pub(super) names: Vec<String>,
    /// Whether the variables are there already.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// A function, method or value, and its arguments: one operand at least.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

/// An operand, and where messages say that it stands.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) is: Term,
}

/// A value, or how to get one.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Bool(bool),
    /// A number: as it was written, and what that may mean.
    Number(Rc<Number>),
    /// Text, as it was written and as it is meant.
    Text(String, Rc<str>),
    Nil,
    Dot,
    /// Fields from the dot.
    Field(Vec<String>),
    /// A variable with its dollar, and fields from it.
    Variable(String, Vec<String>),
    /// A function's name.
    Function(String),
    /// A pipeline in brackets.
    Nested(Box<Pipeline>),
    /// Fields from the value of another operand.
    Chain(Box<Operand>, Vec<String>),
}

/// A number as it was written, what it is when nothing else is asked for, and as the types that it fits.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) text: String,
    pub(super) ideal: std::result::Result<Value, String>,
    pub(super) int: Option<i64>,
}

/// As messages show it.
impl Display for Pipeline {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        if !self.names.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(out, "{} {sign} ", self.names.join(", "))?;
        }
        for (at, command) in self.commands.iter().enumerate() {
            write!(out, "{}{command}", if at > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl Display for Command {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        for (at, operand) in self.operands.iter().enumerate() {
            write!(out, "{}{operand}", if at > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl Display for Operand {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let chain = |out: &mut Formatter<'_>, names: &[String]| {
            names.iter().try_for_each(|name| write!(out, ".{name}"))
        };
        match &self.is {
            Term::Bool(value) => write!(out, "{value}"),
            Term::Number(number) => write!(out, "{}", number.text),
            Term::Text(written, _) => write!(out, "{written}"),
            Term::Nil => write!(out, "nil"),
            Term::Dot => write!(out, "."),
            Term::Field(names) => chain(out, names),
            Term::Variable(name, names) => {
                write!(out, "{name}")?;
                chain(out, names)
            }
            Term::Function(name) => write!(out, "{name}"),
            Term::Nested(pipeline) => write!(out, "({pipeline})"),
            Term::Chain(first, names) => {
                write!(out, "{first}")?;
                chain(out, names)
            }
        }
    }
}
