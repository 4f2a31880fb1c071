//! Items into nodes, as Go's `text/template` reads them; the words of faults are its own.

mod pipeline;

use std::collections::BTreeMap;

use super::lex;
use super::lex::{Item, Kind};
use super::quote::{quoted, unquoted};
use super::tree::{Branch, Node, Nodes};

/// Brackets and blocks deeper than this are refused.
const DEEPEST: usize = 64;

/// The templates of one text: the outermost, which has no name, and those that it defines.
#[derive(Debug, Default)]
pub(super) struct Trees {
    pub(super) main: Nodes,
    pub(super) defined: BTreeMap<String, Nodes>,
}

/// A line, from 1, and what is wrong there.
pub(super) type Fault = (usize, String);

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Trees, Fault> {
    let mut parser = Parser {
        items: lex::lex(text),
        at: 0,
        names: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        action_line: 0,
        defined: BTreeMap::new(),
    };
    let mut main = Vec::new();
    while parser.peek().kind != Kind::End {
        if parser.peek().kind == Kind::LeftDelimiter && parser.is_define() {
            parser.definition()?;
            continue;
        }
        match parser.text_or_action()? {
            Part::Node(node) => main.push(node),
            Part::End | Part::Else(_) if parser.depth > DEEPEST => {}
            Part::End => return parser.fault("unexpected {{end}}"),
            Part::Else(_) => return parser.fault("unexpected {{else}}"),
        }
    }
    Ok(Trees {
        main,
        defined: parser.defined,
    })
}

/// A node, or what ends a list of them.
enum Part {
    Node(Node),
    End,
    /// `else`, and whether `if` or `with` follows in the same action.
    Else(bool),
}

struct Parser {
    items: Vec<Item>,
    at: usize,
    /// The variables that are known here, with their dollars.
    names: Vec<String>,
    /// How many `range`s are around.
    ranges: usize,
    depth: usize,
    /// The line in which the action began that is being read; 0 outside.
    action_line: usize,
    defined: BTreeMap<String, Nodes>,
}

impl Parser {
    /// The next item; the last one stays.
    fn next(&mut self) -> Item {
        let item = self.peek().clone();
        self.at = (self.at + 1).min(self.items.len());
        item
    }

    fn peek(&self) -> &Item {
        // There is always a last one.
        &self.items[self.at.min(self.items.len() - 1)]
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn next_solid(&mut self) -> Item {
        self.skip_space();
        self.next()
    }

    fn peek_solid(&mut self) -> &Item {
        self.skip_space();
        self.peek()
    }

    fn fault<T>(&self, why: impl Into<String>) -> Result<T, Fault> {
        let read = self.at.saturating_sub(1).min(self.items.len() - 1);
        Err((self.items[read].line, why.into()))
    }

    fn unexpected<T>(&self, item: &Item, context: &str) -> Result<T, Fault> {
        if item.kind != Kind::Error {
            return self.fault(format!("unexpected {item} in {context}"));
        }
        let started = if self.action_line != 0 && self.action_line != item.line {
            let whole = format!(" in action started at :{}", self.action_line);
            match item.text.ends_with(" action") {
                true => whole[" in action".len()..].to_owned(),
                false => whole,
            }
        } else {
            String::new()
        };
        self.fault(format!("{item}{started}"))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Item, Fault> {
        let item = self.next_solid();
        if item.kind == kind {
            Ok(item)
        } else {
            self.unexpected(&item, context)
        }
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            self.fault("nested too deep")
        } else {
            Ok(())
        }
    }

    /// Whether the action that comes next defines a template; its first two items are read then.
    fn is_define(&mut self) -> bool {
        let before = self.at;
        self.next();
        let word = self.next_solid();
        let found = word.kind == Kind::Keyword && word.text == "define";
        if !found {
            self.at = before;
        }
        found
    }

    fn definition(&mut self) -> Result<(), Fault> {
        let context = "define clause";
        let item = self.next_solid();
        let name = self.template_name(&item, context)?;
        self.expect(Kind::RightDelimiter, context)?;
        let outer = std::mem::replace(&mut self.names, vec!["$".to_owned()]);
        let (nodes, end) = self.nodes()?;
        self.names = outer;
        if let Part::Else(_) = end {
            return self.fault(format!("unexpected {{{{else}}}} in {context}"));
        }
        self.add(name, nodes)
    }

    /// Adds a template; one with a body may follow one without.
    fn add(&mut self, name: String, nodes: Nodes) -> Result<(), Fault> {
        let is_empty = |nodes: &Nodes| {
            let blank = |node: &Node| matches!(node, Node::Text(text) if text.trim().is_empty());
            nodes.iter().all(blank)
        };
        match self.defined.get(&name) {
            Some(known) if !is_empty(known) => {
                if is_empty(&nodes) {
                    return Ok(());
                }
                self.fault(format!(
                    "template: multiple definition of template {}",
                    quoted(&name)
                ))
            }
            _ => {
                self.defined.insert(name, nodes);
                Ok(())
            }
        }
    }

    fn template_name(&self, item: &Item, context: &str) -> Result<String, Fault> {
        match item.kind {
            Kind::String | Kind::RawString => match unquoted(&item.text) {
                Some(name) => Ok(name),
                None => self.fault("invalid syntax"),
            },
            _ => self.unexpected(item, context),
        }
    }

    /// Nodes up to the `end` or `else` behind them.
    fn nodes(&mut self) -> Result<(Nodes, Part), Fault> {
        self.deeper()?;
        let mut nodes = Vec::new();
        while self.peek_solid().kind != Kind::End {
            match self.text_or_action()? {
                Part::Node(node) => nodes.push(node),
                end => {
                    self.depth -= 1;
                    return Ok((nodes, end));
                }
            }
        }
        self.next();
        self.fault("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result<Part, Fault> {
        let item = self.next_solid();
        match item.kind {
            Kind::Text => Ok(Part::Node(Node::Text(item.text))),
            Kind::LeftDelimiter => {
                self.action_line = item.line;
                let part = self.action();
                self.action_line = 0;
                part
            }
            _ => self.unexpected(&item, "input"),
        }
    }

    fn action(&mut self) -> Result<Part, Fault> {
        let word = self.peek_solid().clone();
        let keyword = if word.kind == Kind::Keyword {
            word.text.as_str()
        } else {
            ""
        };
        if !matches!(keyword, "" | "nil" | "define") {
            self.next();
        }
        match keyword {
            "end" => {
                self.expect(Kind::RightDelimiter, "end")?;
                Ok(Part::End)
            }
            "else" => {
                let next = self.peek_solid();
                if next.kind == Kind::Keyword && matches!(next.text.as_str(), "if" | "with") {
                    return Ok(Part::Else(true));
                }
                self.expect(Kind::RightDelimiter, "else")?;
                Ok(Part::Else(false))
            }
            "if" => self.branch(Branch::If).map(Part::Node),
            "with" => self.branch(Branch::With).map(Part::Node),
            "range" => self.range().map(Part::Node),
            "break" | "continue" => {
                let item = self.next_solid();
                if item.kind != Kind::RightDelimiter {
                    return self.unexpected(&item, &format!("{{{{{keyword}}}}}"));
                }
                if self.ranges == 0 {
                    return self.fault(format!("{{{{{keyword}}}}} outside {{{{range}}}}"));
                }
                Ok(Part::Node(if keyword == "break" {
                    Node::Break
                } else {
                    Node::Continue
                }))
            }
            "block" => self.block().map(Part::Node),
            "template" => self.template().map(Part::Node),
            _ => {
                let pipeline = self.pipeline("command", Kind::RightDelimiter)?;
                Ok(Part::Node(Node::Action(pipeline)))
            }
        }
    }

    fn branch(&mut self, kind: Branch) -> Result<Node, Fault> {
        let known = self.names.len();
        let (word, context) = match kind {
            Branch::If => ("if", "if"),
            Branch::With => ("with", "with"),
        };
        let pipeline = self.pipeline(context, Kind::RightDelimiter)?;
        let (then, end) = self.nodes()?;
        let otherwise = self.otherwise(end, Some((word, kind)))?;
        self.names.truncate(known);
        Ok(Node::Branch(kind, pipeline, then, otherwise))
    }

    fn range(&mut self) -> Result<Node, Fault> {
        let known = self.names.len();
        let pipeline = self.pipeline("range", Kind::RightDelimiter)?;
        self.ranges += 1;
        let (body, end) = self.nodes()?;
        self.ranges -= 1;
        let otherwise = self.otherwise(end, None)?;
        self.names.truncate(known);
        Ok(Node::Range(pipeline, body, otherwise))
    }

    /// What follows the first body: nothing, `else`, or another branch of the same kind.
    fn otherwise(&mut self, end: Part, chain: Option<(&str, Branch)>) -> Result<Nodes, Fault> {
        match (end, chain) {
            (Part::Else(true), Some((word, kind))) if self.peek_solid().text == word => {
                self.next();
                self.deeper()?;
                let node = self.branch(kind)?;
                self.depth -= 1;
                Ok(vec![node])
            }
            (Part::Else(_), _) => {
                let (nodes, end) = self.nodes()?;
                match end {
                    Part::End => Ok(nodes),
                    _ => self.fault("expected end; found {{else}}"),
                }
            }
            _ => Ok(Vec::new()),
        }
    }

    fn block(&mut self) -> Result<Node, Fault> {
        let context = "block clause";
        let item = self.next_solid();
        let name = self.template_name(&item, context)?;
        let pipeline = self.pipeline(context, Kind::RightDelimiter)?;
        let outer = std::mem::replace(&mut self.names, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, end) = self.nodes()?;
        (self.names, self.ranges) = (outer, ranges);
        if let Part::Else(_) = end {
            return self.fault(format!("unexpected {{{{else}}}} in {context}"));
        }
        self.add(name.clone(), nodes)?;
        Ok(Node::Template(item.at, name, Some(pipeline)))
    }

    fn template(&mut self) -> Result<Node, Fault> {
        let context = "template clause";
        let item = self.next_solid();
        let name = self.template_name(&item, context)?;
        let pipeline = if self.peek_solid().kind == Kind::RightDelimiter {
            self.next();
            None
        } else {
            Some(self.pipeline(context, Kind::RightDelimiter)?)
        };
        Ok(Node::Template(item.at, name, pipeline))
    }
}
