//! Tokens into nodes.

use super::TemplateError;
use super::functions;
use super::lex::{Piece, Token};

/// Brackets and blocks deeper than this are refused.
const DEEPEST: usize = 64;

/// One part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Text as it is.
    Text(String),
    /// A pipeline whose value is printed.
    Print(Pipeline),
    /// A pipeline whose value goes to a variable, and whether the variable is new.
    Set(String, bool, Pipeline),
    /// `if`: condition, then, else.
    If(Pipeline, Vec<Node>, Vec<Node>),
    /// `with`: value, then, else.
    With(Pipeline, Vec<Node>, Vec<Node>),
    /// `range`: names for index and element, what is ranged over, body, else.
    Range {
        place: Place,
        index: Option<String>,
        element: Option<String>,
        over: Pipeline,
        body: Vec<Node>,
        empty: Vec<Node>,
    },
    /// `break`
    Break,
    /// `continue`
    Continue,
}

/// Commands, each of which gets the former's value as its last argument.
pub(super) type Pipeline = Vec<Command>;

/// Where something stands, as messages tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Line, from 1, and column, from 0: `1:2`.
    pub(super) at: String,
    /// What stands there.
    pub(super) text: String,
}

/// A function, method or value, and arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    /// Where it stands.
    pub(super) place: Place,
    /// What comes first.
    pub(super) head: Operand,
    /// What follows.
    pub(super) args: Vec<Operand>,
}

/// A value, or how to get one, and where that stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) place: Place,
    pub(super) what: What,
}

/// A value, or how to get one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A function's name.
    Function(String),
    /// Fields from the dot; none is the dot itself.
    Field(Vec<String>),
    /// Fields from a variable.
    Variable(String, Vec<String>),
    /// A pipeline in brackets, and fields from its value.
    Nested(Pipeline, Vec<String>),
    /// A constant.
    Constant(serde_json::Value),
}

fn fault<T>(why: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Parse(why.into()))
}

/// Builds the nodes of a whole template.
pub(super) fn parse(source: &str, tokens: Vec<Piece>) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser {
        source,
        tokens,
        at: 0,
        depth: 0,
    };
    let (nodes, end) = parser.nodes(0)?;
    match end {
        Stop::Text => Ok(nodes),
        Stop::Close => fault("unexpected {{end}}"),
        Stop::Else => fault("unexpected {{else}}"),
    }
}

/// What ended a list of nodes.
enum Stop {
    Text,
    Close,
    /// The tokens behind `else`, up to the close, are still to be read.
    Else,
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Piece>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).map(|piece| piece.token.clone());
        self.at += 1;
        token
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|piece| &piece.token)
    }

    /// The place of what is told to stand at one token, and is made of all from another one to the last that was read.
    fn place(&self, told: usize, from: usize) -> Place {
        let piece = |at: usize| self.tokens.get(at);
        let start = piece(from).map_or(0, |piece| piece.start);
        let end = piece(self.at.saturating_sub(1)).map_or(start, |piece| piece.end);
        let before = &self.source[..piece(told).map_or(0, |piece| piece.start)];
        let line = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            at: format!(
                "{}:{}",
                before.matches('\n').count() + 1,
                before.len() - line
            ),
            text: self.source.get(start..end).unwrap_or_default().to_owned(),
        }
    }

    fn expect(&mut self, wanted: &Token) -> Result<(), TemplateError> {
        match self.next() {
            Some(token) if token == *wanted => Ok(()),
            other => fault(format!("unexpected {other:?}")),
        }
    }

    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, Stop), TemplateError> {
        if depth > DEEPEST {
            return fault("nested too deep");
        }
        let mut nodes = Vec::new();
        loop {
            match self.next() {
                None => return Ok((nodes, Stop::Text)),
                Some(Token::Text(text)) => nodes.push(Node::Text(text)),
                Some(Token::Open) => match self.peek().cloned() {
                    Some(Token::Word(word)) if word == "end" => {
                        self.at += 1;
                        self.expect(&Token::Close)?;
                        return Ok((nodes, Stop::Close));
                    }
                    Some(Token::Word(word)) if word == "else" => {
                        self.at += 1;
                        return Ok((nodes, Stop::Else));
                    }
                    _ => nodes.push(self.action(depth)?),
                },
                other => return fault(format!("unexpected {other:?}")),
            }
        }
    }

    fn action(&mut self, depth: usize) -> Result<Node, TemplateError> {
        let word = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "if" | "with" => {
                self.at += 1;
                let condition = self.pipeline()?;
                self.expect(&Token::Close)?;
                self.branches(&word, condition, depth)
            }
            "range" => {
                self.at += 1;
                self.range(depth)
            }
            "break" | "continue" => {
                self.at += 1;
                self.expect(&Token::Close)?;
                Ok(if word == "break" {
                    Node::Break
                } else {
                    Node::Continue
                })
            }
            "define" | "template" | "block" => fault(format!("{word} is not supported")),
            _ => self.print_or_set(),
        }
    }

    fn print_or_set(&mut self) -> Result<Node, TemplateError> {
        if let (Some(Token::Variable(name)), Some(sign @ (Token::Declare | Token::Assign))) = (
            self.peek().cloned(),
            self.tokens
                .get(self.at + 1)
                .map(|piece| piece.token.clone()),
        ) {
            self.at += 2;
            let pipeline = self.pipeline()?;
            self.expect(&Token::Close)?;
            return Ok(Node::Set(name, sign == Token::Declare, pipeline));
        }
        let pipeline = self.pipeline()?;
        self.expect(&Token::Close)?;
        Ok(Node::Print(pipeline))
    }

    fn branches(
        &mut self,
        word: &str,
        condition: Pipeline,
        depth: usize,
    ) -> Result<Node, TemplateError> {
        let (then, end) = self.nodes(depth + 1)?;
        let otherwise = self.otherwise(end, depth)?;
        Ok(if word == "if" {
            Node::If(condition, then, otherwise)
        } else {
            Node::With(condition, then, otherwise)
        })
    }

    /// What follows the first body: nothing, `else`, or `else if`.
    fn otherwise(&mut self, end: Stop, depth: usize) -> Result<Vec<Node>, TemplateError> {
        match end {
            Stop::Close => Ok(Vec::new()),
            Stop::Text => fault("unexpected EOF"),
            Stop::Else => match self.next() {
                Some(Token::Close) => match self.nodes(depth + 1)? {
                    (nodes, Stop::Close) => Ok(nodes),
                    (_, Stop::Text) => fault("unexpected EOF"),
                    (_, Stop::Else) => fault("unexpected {{else}}"),
                },
                Some(Token::Word(word)) if word == "if" || word == "with" => {
                    let condition = self.pipeline()?;
                    self.expect(&Token::Close)?;
                    Ok(vec![self.branches(&word, condition, depth + 1)?])
                }
                other => fault(format!("unexpected {other:?} in else")),
            },
        }
    }

    fn range(&mut self, depth: usize) -> Result<Node, TemplateError> {
        let mut names = Vec::new();
        let start = self.at;
        while let Some(Token::Variable(name)) = self.peek().cloned() {
            self.at += 1;
            names.push(name);
            match self.next() {
                Some(Token::Sign(',')) if names.len() < 2 => {}
                Some(Token::Declare) => break,
                _ => {
                    names.clear();
                    self.at = start;
                    break;
                }
            }
        }
        let start = self.at;
        let over = self.pipeline()?;
        let place = self.place(start, start);
        self.expect(&Token::Close)?;
        let (body, end) = self.nodes(depth + 1)?;
        let empty = self.otherwise(end, depth)?;
        let element = names.pop();
        Ok(Node::Range {
            place,
            index: names.pop(),
            element,
            over,
            body,
            empty,
        })
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return fault("nested too deep");
        }
        let mut commands = vec![self.command()?];
        while self.peek() == Some(&Token::Sign('|')) {
            self.at += 1;
            commands.push(self.command()?);
        }
        self.depth -= 1;
        Ok(commands)
    }

    fn command(&mut self) -> Result<Command, TemplateError> {
        let start = self.at;
        let head = self.operand()?;
        let mut args = Vec::new();
        while !matches!(
            self.peek(),
            None | Some(Token::Close | Token::Sign('|' | ')'))
        ) {
            args.push(self.operand()?);
        }
        let place = self.place(start, start);
        Ok(Command { place, head, args })
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        let start = self.at;
        let what = self.what()?;
        // A chain of fields stands where its second part does.
        let chain = (start + 1..self.at)
            .find(|at| matches!(self.tokens[*at].token, Token::Chain(_)))
            .filter(|_| !matches!(what, What::Nested(..)));
        let last = (self.at - 1 > start).then_some(self.at - 1);
        let nested = match &what {
            What::Nested(_, names) => last.map(|last| last + 1 - names.len()),
            _ => None,
        };
        let told = chain.or(nested).unwrap_or(start);
        Ok(Operand {
            place: self.place(told, start),
            what,
        })
    }

    fn what(&mut self) -> Result<What, TemplateError> {
        use serde_json::Value;
        match self.next() {
            Some(Token::Field(name)) => {
                let mut names: Vec<_> = Some(name)
                    .filter(|name| !name.is_empty())
                    .into_iter()
                    .collect();
                names.extend(self.chain());
                Ok(What::Field(names))
            }
            Some(Token::Variable(name)) => Ok(What::Variable(name, self.chain())),
            Some(Token::Quoted(text)) => Ok(What::Constant(Value::String(text))),
            Some(Token::Number(text)) => number(&text).map(What::Constant),
            Some(Token::Word(word)) => match word.as_str() {
                "true" | "false" => Ok(What::Constant(Value::Bool(word == "true"))),
                "nil" => Ok(What::Constant(Value::Null)),
                _ if functions::exists(&word) => Ok(What::Function(word)),
                _ => fault(format!("function \"{word}\" not defined")),
            },
            Some(Token::Sign('(')) => {
                let inside = self.pipeline()?;
                self.expect(&Token::Sign(')'))?;
                Ok(What::Nested(inside, self.chain()))
            }
            Some(Token::Close) | None => fault("missing value for command"),
            other => fault(format!("unexpected {other:?} in operand")),
        }
    }

    /// Fields of the value before.
    fn chain(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(Token::Chain(name)) = self.peek() {
            names.push(name.clone());
            self.at += 1;
        }
        names
    }
}

fn number(text: &str) -> Result<serde_json::Value, TemplateError> {
    if let Ok(value) = text.parse::<i64>() {
        return Ok(value.into());
    }
    match text.parse::<f64>() {
        Ok(value) => Ok(value.into()),
        Err(_) => fault(format!("bad number syntax: \"{text}\"")),
    }
}
