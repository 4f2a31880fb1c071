//! Text into tokens.

use super::TemplateError;

/// A template longer than this is refused.
const LIMIT: usize = 1 << 20;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `.Name`, without the dot; empty for the dot alone.
    Field(String),
    /// The same, right behind a field, a variable or a bracket: a field of that value.
    Chain(String),
    /// `$name`, without the dollar; empty for `$` alone.
    Variable(String),
    /// A function or keyword.
    Word(String),
    /// A string or character.
    Quoted(String),
    /// A number as it was written.
    Number(String),
    /// `|`, `(`, `)`, `,`
    Sign(char),
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// A token, and where it stands in the template, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

fn fault<T>(why: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Parse(why.into()))
}

/// Takes a template apart.
pub(super) fn lex(text: &str) -> Result<Vec<Piece>, TemplateError> {
    if text.len() > LIMIT {
        return fault("template too large");
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(at) = rest.find("{{") {
        let mut before = &rest[..at];
        if trim_next {
            before = before.trim_start();
        }
        rest = &rest[at + 2..];
        let trims = rest
            .strip_prefix('-')
            .filter(|rest| rest.starts_with(char::is_whitespace));
        if let Some(inside) = trims {
            before = before.trim_end();
            rest = inside;
        }
        push_text(&mut tokens, before);
        let (inside, trim) = match rest.trim_start().strip_prefix("/*") {
            Some(comment) => comment_end(comment)?,
            None => {
                push(&mut tokens, text, Token::Open, rest, rest);
                action(text, rest, &mut tokens)?
            }
        };
        (rest, trim_next) = (inside, trim);
    }
    push_text(
        &mut tokens,
        if trim_next { rest.trim_start() } else { rest },
    );
    Ok(tokens)
}

/// Adds a token that begins with `from` and ends before `behind`, both of them ends of the whole text.
fn push(tokens: &mut Vec<Piece>, whole: &str, token: Token, from: &str, behind: &str) {
    tokens.push(Piece {
        token,
        start: whole.len() - from.len(),
        end: whole.len() - behind.len(),
    });
}

fn push_text(tokens: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        // Nothing that is told of text needs its place.
        tokens.push(Piece {
            token: Token::Text(text.to_owned()),
            start: 0,
            end: 0,
        });
    }
}

/// What follows a comment, and whether white space is trimmed there.
fn comment_end(text: &str) -> Result<(&str, bool), TemplateError> {
    let Some((_, rest)) = text.split_once("*/") else {
        return fault("unclosed comment");
    };
    close(rest).map_or_else(|| fault("comment ends before closing delimiter"), Ok)
}

/// The text behind `}}` or ` -}}`, if that is what comes next.
fn close(text: &str) -> Option<(&str, bool)> {
    if let Some(rest) = text.strip_prefix("}}") {
        return Some((rest, false));
    }
    let trimmed = text.trim_start();
    if trimmed.len() < text.len()
        && let Some(rest) = trimmed.strip_prefix("-}}")
    {
        return Some((rest, true));
    }
    trimmed.strip_prefix("}}").map(|rest| (rest, false))
}

/// The tokens of one action; gives the text behind it, and whether white space is trimmed there.
fn action<'a>(
    whole: &str,
    text: &'a str,
    tokens: &mut Vec<Piece>,
) -> Result<(&'a str, bool), TemplateError> {
    let mut rest = text;
    loop {
        if let Some((behind, trim)) = close(rest) {
            push(tokens, whole, Token::Close, rest, behind);
            return Ok((behind, trim));
        }
        let gap = rest.starts_with(char::is_whitespace);
        let chains = !gap
            && matches!(
                tokens.last().map(|piece| &piece.token),
                Some(Token::Field(_) | Token::Chain(_) | Token::Variable(_) | Token::Sign(')'))
            );
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            return fault("unclosed action");
        };
        let (token, behind) = match first {
            '"' => quoted(rest)?,
            '`' => match rest[1..].split_once('`') {
                Some((raw, behind)) => (Token::Quoted(raw.to_owned()), behind),
                None => return fault("unterminated raw quoted string"),
            },
            '.' if !rest[1..].starts_with(|letter: char| letter.is_ascii_digit()) => {
                let (name, behind) = word(&rest[1..]);
                (
                    if chains {
                        Token::Chain(name)
                    } else {
                        Token::Field(name)
                    },
                    behind,
                )
            }
            '$' => {
                let (name, behind) = word(&rest[1..]);
                (Token::Variable(name), behind)
            }
            ':' if rest.starts_with(":=") => (Token::Declare, &rest[2..]),
            '=' => (Token::Assign, &rest[1..]),
            '|' | '(' | ')' | ',' => (Token::Sign(first), &rest[1..]),
            '0'..='9' | '-' | '+' | '.' => number(rest),
            letter if letter.is_alphabetic() || letter == '_' => {
                let (name, behind) = word(rest);
                (Token::Word(name), behind)
            }
            other => return fault(format!("unexpected {other:?} in command")),
        };
        push(tokens, whole, token, rest, behind);
        rest = behind;
    }
}

fn word(text: &str) -> (String, &str) {
    let end = text
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(text.len());
    (text[..end].to_owned(), &text[end..])
}

fn number(text: &str) -> (Token, &str) {
    let end = text[1..]
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.')
        .map_or(text.len(), |at| at + 1);
    (Token::Number(text[..end].to_owned()), &text[end..])
}

/// A string in double quotes, with Go's common escapes.
fn quoted(text: &str) -> Result<(Token, &str), TemplateError> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((Token::Quoted(value), &text[at + 1..])),
            '\\' => match letters.next().map(|(_, letter)| letter) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some(other @ ('"' | '\\' | '\'')) => value.push(other),
                _ => return fault("unknown escape in string"),
            },
            '\n' => break,
            _ => value.push(letter),
        }
    }
    fault("unterminated quoted string")
}
