//! Text into items, as Go's `text/template` takes it apart.

/// A template longer than this is refused, in bytes.
const LIMIT: usize = 1 << 20;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What could not be understood: the item's text says why.
    Error,
    End,
    Bool,
    /// A letter that stands for itself: `,`.
    Char,
    CharConstant,
    Assign,
    Declare,
    /// `.` and a name.
    Field,
    Identifier,
    LeftDelimiter,
    LeftBracket,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightBracket,
    Space,
    String,
    Text,
    /// `$` and a name.
    Variable,
    Dot,
    /// `if`, `range`, …
    Keyword,
}

/// One piece of a template.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// Where it begins, in bytes.
    pub(super) at: usize,
    /// Its line, from 1.
    pub(super) line: usize,
    pub(super) text: String,
}

/// As messages show it.
impl std::fmt::Display for Item {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const LONGEST: usize = 10;
        match self.kind {
            Kind::End => write!(out, "EOF"),
            Kind::Error => write!(out, "{}", self.text),
            Kind::Keyword | Kind::Dot => write!(out, "<{}>", self.text),
            _ if self.text.len() > LONGEST => {
                let start: String = self.text.chars().take(LONGEST).collect();
                write!(out, "{}...", super::quote::quoted(&start))
            }
            _ => write!(out, "{}", super::quote::quoted(&self.text)),
        }
    }
}

const KEYWORDS: &[&str] = &[
    "block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with",
];

/// Takes a template apart. The last item is [`Kind::End`] or [`Kind::Error`].
pub(super) fn lex(text: &str) -> Vec<Item> {
    let mut lexer = Lexer {
        text,
        at: 0,
        start: 0,
        items: Vec::new(),
        brackets: 0,
    };
    if text.len() > LIMIT {
        lexer.fail("template too large");
        return lexer.items;
    }
    if lexer.outside().is_some() {
        lexer.start = lexer.at;
        lexer.push(Kind::End);
    }
    lexer.items
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Where the item that is being read begins.
    start: usize,
    items: Vec<Item>,
    /// How many brackets are open.
    brackets: usize,
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

fn is_of_name(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

/// Whether white space and the sign that trims it come next.
fn trims_left(rest: &str) -> bool {
    rest.starts_with('-') && rest[1..].starts_with(is_space)
}

fn trims_right(rest: &str) -> bool {
    rest.starts_with(is_space) && rest[1..].starts_with('-')
}

/// Steps give `None` once a fault was told.
impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn skip(&mut self, fits: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&fits) {
            self.next();
        }
    }

    fn push_text(&mut self, kind: Kind, text: String) {
        let line = self.text[..self.start].matches('\n').count() + 1;
        self.items.push(Item {
            kind,
            at: self.start,
            line,
            text,
        });
        self.start = self.at;
    }

    fn push(&mut self, kind: Kind) {
        self.push_text(kind, self.text[self.start..self.at].to_owned());
    }

    fn fail(&mut self, why: impl Into<String>) -> Option<()> {
        self.push_text(Kind::Error, why.into());
        None
    }

    /// Text and actions in turn.
    fn outside(&mut self) -> Option<()> {
        let mut trim = false;
        loop {
            let rest = self.rest();
            let end = rest.find("{{").unwrap_or(rest.len());
            let mut text = &rest[..end];
            if trim {
                let trimmed = text.trim_start_matches(is_space);
                self.start += text.len() - trimmed.len();
                text = trimmed;
            }
            let behind = rest.get(end + 2..).unwrap_or_default();
            if trims_left(behind) {
                text = text.trim_end_matches(is_space);
            }
            self.at += end;
            if !text.is_empty() {
                self.push_text(Kind::Text, text.to_owned());
            }
            self.start = self.at;
            if self.rest().is_empty() {
                return Some(());
            }
            trim = self.action()?;
        }
    }

    /// One action or comment. Tells whether it trims white space behind it.
    fn action(&mut self) -> Option<bool> {
        let marked = if trims_left(&self.rest()[2..]) { 2 } else { 0 };
        if self.rest()[2 + marked..].starts_with("/*") {
            self.at += 2 + marked;
            self.start = self.at;
            return self.comment();
        }
        self.at += 2;
        self.push(Kind::LeftDelimiter);
        self.at += marked;
        self.start = self.at;
        self.brackets = 0;
        loop {
            if let Some((length, trims)) = self.right_delimiter() {
                if self.brackets > 0 {
                    self.fail("unclosed left paren")?;
                }
                self.at += length - 2;
                self.start = self.at;
                self.at += 2;
                self.push(Kind::RightDelimiter);
                return Some(trims);
            }
            self.item()?;
        }
    }

    /// The length of the delimiter that comes next, with what trims, and whether it does.
    fn right_delimiter(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        if trims_right(rest) && rest[2..].starts_with("}}") {
            return Some((4, true));
        }
        rest.starts_with("}}").then_some((2, false))
    }

    fn comment(&mut self) -> Option<bool> {
        let Some(end) = self.rest().find("*/") else {
            self.fail("unclosed comment")?;
            return None;
        };
        self.at += end + 2;
        let Some((length, trims)) = self.right_delimiter() else {
            self.fail("comment ends before closing delimiter")?;
            return None;
        };
        self.at += length;
        self.start = self.at;
        Some(trims)
    }

    /// One item inside of an action.
    fn item(&mut self) -> Option<()> {
        let Some(letter) = self.next() else {
            return self.fail("unclosed action");
        };
        match letter {
            letter if is_space(letter) => {
                while self.peek().is_some_and(is_space) && self.right_delimiter().is_none() {
                    self.next();
                }
                self.push(Kind::Space);
            }
            '=' => self.push(Kind::Assign),
            ':' if self.peek() == Some('=') => {
                self.next();
                self.push(Kind::Declare);
            }
            ':' => return self.fail("expected :="),
            '|' => self.push(Kind::Pipe),
            '"' => return self.closed('"', Kind::String, "unterminated quoted string"),
            '\'' => {
                return self.closed('\'', Kind::CharConstant, "unterminated character constant");
            }
            '`' => match self.rest().find('`') {
                Some(end) => {
                    self.at += end + 1;
                    self.push(Kind::RawString);
                }
                None => return self.fail("unterminated raw quoted string"),
            },
            '$' => return self.name(Kind::Variable),
            '.' if !self.peek().is_some_and(|letter| letter.is_ascii_digit()) => {
                return self.name(Kind::Field);
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.at = self.start;
                return self.number();
            }
            letter if is_of_name(letter) => return self.name(Kind::Identifier),
            '(' => {
                self.brackets += 1;
                self.push(Kind::LeftBracket);
            }
            ')' => match self.brackets.checked_sub(1) {
                Some(left) => {
                    self.brackets = left;
                    self.push(Kind::RightBracket);
                }
                None => return self.fail("unexpected right paren"),
            },
            letter if letter.is_ascii_graphic() => self.push(Kind::Char),
            letter => {
                return self.fail(format!(
                    "unrecognized character in action: {}",
                    super::quote::unicode(letter)
                ));
            }
        }
        Some(())
    }

    /// What ends with the sign that it began with, on the same line.
    fn closed(&mut self, sign: char, kind: Kind, fault: &str) -> Option<()> {
        loop {
            match self.next() {
                Some('\\') if self.peek().is_some_and(|letter| letter != '\n') => {
                    self.next();
                }
                None | Some('\n' | '\\') => return self.fail(fault),
                Some(letter) if letter == sign => {
                    self.push(kind);
                    return Some(());
                }
                Some(_) => {}
            }
        }
    }

    /// A name behind the letter that was read; the dot and the dollar may stand alone.
    fn name(&mut self, kind: Kind) -> Option<()> {
        let kind = match kind {
            Kind::Field if self.ends() => Kind::Dot,
            kind => kind,
        };
        if kind == Kind::Dot {
            self.push(kind);
            return Some(());
        }
        self.skip(is_of_name);
        if !self.ends() {
            let letter = self.next().map(super::quote::unicode);
            return self.fail(format!("bad character {}", letter.unwrap_or_default()));
        }
        let word = &self.text[self.start..self.at];
        let kind = match (kind, word) {
            (Kind::Identifier, "true" | "false") => Kind::Bool,
            (Kind::Identifier, word) if KEYWORDS.contains(&word) => Kind::Keyword,
            (kind, _) => kind,
        };
        self.push(kind);
        Some(())
    }

    /// Whether a name may end here.
    fn ends(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(letter) => is_space(letter) || self.rest().starts_with("}}"),
        }
    }

    fn number(&mut self) -> Option<()> {
        let accept = |lexer: &mut Self, set: &str| {
            let found = lexer.peek().is_some_and(|letter| set.contains(letter));
            if found {
                lexer.next();
            }
            found
        };
        accept(self, "+-");
        let (mut digits, mut exponent) = ("0123456789_", "eE");
        if accept(self, "0") {
            if accept(self, "xX") {
                (digits, exponent) = ("0123456789abcdefABCDEF_", "pP");
            } else if accept(self, "oO") {
                (digits, exponent) = ("01234567_", "");
            } else if accept(self, "bB") {
                (digits, exponent) = ("01_", "");
            }
        }
        self.skip(|letter| digits.contains(letter));
        if accept(self, ".") {
            self.skip(|letter| digits.contains(letter));
        }
        if accept(self, exponent) {
            accept(self, "+-");
            self.skip(|letter| letter.is_ascii_digit() || letter == '_');
        }
        if self.peek().is_some_and(is_of_name) {
            self.next();
            let text = super::quote::quoted(&self.text[self.start..self.at]);
            return self.fail(format!("bad number syntax: {text}"));
        }
        self.push(Kind::Number);
        Some(())
    }
}
