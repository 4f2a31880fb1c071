//! What stands in an action: pipelines, their commands, and what these are given.

use std::rc::Rc;

use super::{Fault, Parser};
use crate::template::builtins;
use crate::template::lex::Kind;
use crate::template::number::number;
use crate::template::quote::{quoted, unquoted};
use crate::template::tree::{Command, Operand, Pipeline, Term};

impl Parser {
    /// A pipeline and what ends it.
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipeline, Fault> {
        self.deeper()?;
        let mut pipeline = Pipeline {
            at: self.peek_solid().at,
            ..Pipeline::default()
        };
        self.declarations(&mut pipeline, context)?;
        loop {
            let item = self.peek_solid().clone();
            match item.kind {
                kind if kind == end => {
                    self.next();
                    break;
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftBracket => {}
                Kind::Keyword if item.text == "nil" => {}
                _ => {
                    self.next();
                    return self.unexpected(&item, context);
                }
            }
            pipeline.commands.push(self.command()?);
        }
        self.depth -= 1;
        if pipeline.commands.is_empty() {
            return self.fault(format!("missing value for {context}"));
        }
        for (at, command) in pipeline.commands.iter().enumerate().skip(1) {
            let first = command.operands.first().map(|operand| &operand.is);
            if let Some(Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::Text(..)) =
                first
            {
                return self.fault(format!(
                    "non executable command in pipeline stage {}",
                    at + 1
                ));
            }
        }
        Ok(pipeline)
    }

    /// The variables that a pipeline's value goes to.
    fn declarations(&mut self, pipeline: &mut Pipeline, context: &str) -> Result<(), Fault> {
        while self.peek_solid().kind == Kind::Variable {
            let before = self.at;
            let variable = self.next();
            let sign = self.next_solid();
            match sign.kind {
                Kind::Assign | Kind::Declare => {
                    pipeline.assigns = sign.kind == Kind::Assign;
                    pipeline.names.push(variable.text.clone());
                    self.names.push(variable.text);
                    return Ok(());
                }
                Kind::Char if sign.text == "," => {
                    pipeline.names.push(variable.text.clone());
                    self.names.push(variable.text);
                    if context != "range" || pipeline.names.len() >= 2 {
                        return self.fault(format!("too many declarations in {context}"));
                    }
                    let next = self.peek_solid().kind;
                    if !matches!(
                        next,
                        Kind::Variable | Kind::RightDelimiter | Kind::RightBracket
                    ) {
                        return self.fault("range can only initialize variables");
                    }
                }
                _ => {
                    self.at = before;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, Fault> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            operands.extend(self.operand()?);
            let item = self.next();
            match item.kind {
                Kind::Space => {}
                Kind::RightDelimiter | Kind::RightBracket => {
                    self.at -= 1;
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(&item, "operand"),
            }
        }
        if operands.is_empty() {
            return self.fault("empty command");
        }
        Ok(Command { operands })
    }

    /// A term and the fields behind it; `None` when there is none.
    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        // A chain stands where its first field does.
        let at = self.peek().at;
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.next().text[1..].to_owned());
        }
        let is = match term.is {
            Term::Field(mut all) => {
                all.extend(names);
                Term::Field(all)
            }
            Term::Variable(name, mut all) => {
                all.extend(names);
                Term::Variable(name, all)
            }
            Term::Bool(_) | Term::Text(..) | Term::Number(_) | Term::Nil | Term::Dot => {
                return self.fault(format!(
                    "unexpected . after term {}",
                    quoted(&term.to_string())
                ));
            }
            _ => Term::Chain(Box::new(term), names),
        };
        Ok(Some(Operand { at, is }))
    }

    fn term(&mut self) -> Result<Option<Operand>, Fault> {
        let before = self.at;
        let item = self.next_solid();
        let text = item.text;
        let is = match item.kind {
            Kind::Identifier if builtins::exists(&text) => Term::Function(text),
            Kind::Identifier => {
                return self.fault(format!("function {} not defined", quoted(&text)));
            }
            Kind::Dot => Term::Dot,
            Kind::Keyword if text == "nil" => Term::Nil,
            Kind::Variable if self.names.contains(&text) => Term::Variable(text, Vec::new()),
            Kind::Variable => return self.fault(format!("undefined variable {}", quoted(&text))),
            Kind::Field => Term::Field(vec![text[1..].to_owned()]),
            Kind::Bool => Term::Bool(text == "true"),
            Kind::CharConstant | Kind::Number => match number(&text) {
                Ok(number) => Term::Number(Rc::new(number)),
                Err(why) => return self.fault(why),
            },
            Kind::LeftBracket => Term::Nested(Box::new(
                self.pipeline("parenthesized pipeline", Kind::RightBracket)?,
            )),
            Kind::String | Kind::RawString => match unquoted(&text) {
                Some(meant) => Term::Text(text, meant.into()),
                None => return self.fault("invalid syntax"),
            },
            _ => {
                self.at = before;
                return Ok(None);
            }
        };
        Ok(Some(Operand { at: item.at, is }))
    }
}
