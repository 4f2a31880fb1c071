//! Functions of templates, Go's own and docker's, and methods of values.

use std::rc::Rc;

use super::print::{print, println, shown};
use super::printf::printf;
use super::value::{Is, TEXTS, Type, Value};
use super::{compare, escape};

/// Text is padded with no more blanks than this.
const WIDEST: i64 = 4096;

/// What a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value as it is, if there is one.
    Value,
    /// Anything; nothing is nil.
    Any,
    Text,
    Texts,
    Int,
}

/// An argument or result; `None` for what there is when there is nothing.
type Maybe = Option<Value>;
type Result = std::result::Result<Maybe, String>;

/// A function: what it takes, what more of, and what it does.
pub(super) struct Function {
    pub(super) takes: &'static [Kind],
    pub(super) more: Option<Kind>,
    pub(super) call: Call,
}

/// What is called with the value whose method it is, and with arguments.
pub(super) type Call = fn(Option<&Value>, &[Maybe]) -> Result;

/// Functions that leave the names of columns as they are.
pub(super) const FORMATTING: [&str; 5] = ["json", "lower", "title", "truncate", "upper"];

const fn fixed(takes: &'static [Kind], call: Call) -> Function {
    Function {
        takes,
        more: None,
        call,
    }
}

const fn variadic(takes: &'static [Kind], more: Kind, call: Call) -> Function {
    Function {
        takes,
        more: Some(more),
        call,
    }
}

const FUNCTIONS: &[(&str, Function)] = &[
    (
        "and",
        variadic(&[Kind::Value], Kind::Value, |_, args| Ok(args[0].clone())),
    ),
    // Who calls it tells what is wrong with what it is given.
    (
        "call",
        variadic(&[Kind::Value], Kind::Value, |_, args| Ok(args[0].clone())),
    ),
    (
        "eq",
        variadic(&[Kind::Value], Kind::Value, |_, args| {
            compare::equal(args).map(truth)
        }),
    ),
    (
        "ge",
        fixed(TWO, |_, args| {
            compare::less(&args[0], &args[1]).map(|less| truth(!less))
        }),
    ),
    (
        "gt",
        fixed(TWO, |_, args| {
            compare::at_most(&args[0], &args[1]).map(|at_most| truth(!at_most))
        }),
    ),
    (
        "html",
        variadic(&[], Kind::Any, |_, args| {
            Ok(text(escape::html(&joined(args))))
        }),
    ),
    (
        "index",
        variadic(&[Kind::Value], Kind::Value, |_, args| index(args)),
    ),
    (
        "join",
        fixed(&[Kind::Texts, Kind::Text], |_, args| Ok(text(join(args)))),
    ),
    (
        "js",
        variadic(&[], Kind::Any, |_, args| {
            Ok(text(escape::js(&joined(args))))
        }),
    ),
    (
        "json",
        fixed(&[Kind::Any], |_, args| Ok(text(json(&args[0])))),
    ),
    (
        "le",
        fixed(TWO, |_, args| {
            compare::at_most(&args[0], &args[1]).map(truth)
        }),
    ),
    ("len", fixed(&[Kind::Value], |_, args| length(&args[0]))),
    (
        "lower",
        fixed(&[Kind::Text], |_, args| {
            Ok(text(said(&args[0]).to_lowercase()))
        }),
    ),
    (
        "lt",
        fixed(TWO, |_, args| compare::less(&args[0], &args[1]).map(truth)),
    ),
    (
        "ne",
        fixed(TWO, |_, args| {
            compare::equal(args).map(|equal| truth(!equal))
        }),
    ),
    (
        "not",
        fixed(&[Kind::Value], |_, args| Ok(truth(!is_true(&args[0])))),
    ),
    (
        "or",
        variadic(&[Kind::Value], Kind::Value, |_, args| Ok(args[0].clone())),
    ),
    (
        "pad",
        fixed(&[Kind::Text, Kind::Int, Kind::Int], |_, args| {
            Ok(text(pad(args)))
        }),
    ),
    (
        "print",
        variadic(&[], Kind::Any, |_, args| Ok(text(print(args)))),
    ),
    (
        "printf",
        variadic(&[Kind::Text], Kind::Any, |_, args| {
            Ok(text(printf(&said(&args[0]), &args[1..])))
        }),
    ),
    (
        "println",
        variadic(&[], Kind::Any, |_, args| Ok(text(println(args)))),
    ),
    (
        "slice",
        variadic(&[Kind::Value], Kind::Value, |_, args| slice(args)),
    ),
    (
        "split",
        fixed(&[Kind::Text, Kind::Text], |_, args| Ok(Some(split(args)))),
    ),
    (
        "title",
        fixed(&[Kind::Text], |_, args| {
            Ok(text(escape::title(&said(&args[0]))))
        }),
    ),
    (
        "truncate",
        fixed(&[Kind::Text, Kind::Int], |_, args| truncate(args)),
    ),
    (
        "upper",
        fixed(&[Kind::Text], |_, args| {
            Ok(text(said(&args[0]).to_uppercase()))
        }),
    ),
    (
        "urlquery",
        variadic(&[], Kind::Any, |_, args| {
            Ok(text(escape::url(&joined(args))))
        }),
    ),
];

const TWO: &[Kind] = &[Kind::Value, Kind::Value];

/// Whether there is a function of that name.
pub(super) fn exists(name: &str) -> bool {
    find(name).is_some()
}

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    let at = FUNCTIONS
        .binary_search_by_key(&name, |(known, _)| known)
        .ok()?;
    FUNCTIONS.get(at).map(|(_, function)| function)
}

pub(super) fn text(text: String) -> Maybe {
    Some(Value::text(text))
}

pub(super) fn truth(value: bool) -> Maybe {
    Some(Value::bool(value))
}

fn said(value: &Maybe) -> Rc<str> {
    match value {
        Some(Value {
            is: Is::Text(text), ..
        }) => Rc::clone(text),
        _ => "".into(),
    }
}

fn number(value: &Maybe) -> i64 {
    match value {
        Some(Value {
            is: Is::Int(number),
            ..
        }) => *number,
        _ => 0,
    }
}

fn is_true(value: &Maybe) -> bool {
    value
        .clone()
        .and_then(Value::held)
        .is_some_and(|value| value.truth())
}

/// One text as it is, other arguments as they are printed.
fn joined(args: &[Maybe]) -> String {
    let printed = |value: &Maybe| value.clone().or_else(|| Some(Value::text("<no value>")));
    match args {
        [
            Some(Value {
                of: Type::Text("string"),
                is: Is::Text(text),
            }),
        ] => text.to_string(),
        _ => print(&args.iter().map(printed).collect::<Vec<_>>()),
    }
}

fn json(value: &Maybe) -> String {
    value
        .as_ref()
        .map_or_else(|| "null".to_owned(), Value::to_json)
}

fn join(args: &[Maybe]) -> String {
    match &args[0] {
        Some(Value {
            is: Is::List(items),
            ..
        }) => items
            .iter()
            .map(shown)
            .collect::<Vec<_>>()
            .join(&said(&args[1])),
        _ => String::new(),
    }
}

fn split(args: &[Maybe]) -> Value {
    let (whole, separator) = (said(&args[0]), said(&args[1]));
    let parts = if separator.is_empty() {
        whole
            .chars()
            .map(|letter| Value::text(letter.to_string()))
            .collect()
    } else {
        whole.split(&*separator).map(Value::text).collect()
    };
    Value::list(&TEXTS, parts)
}

fn pad(args: &[Maybe]) -> String {
    let inner = said(&args[0]);
    let blanks =
        |at: usize| " ".repeat(usize::try_from(number(&args[at]).min(WIDEST)).unwrap_or(0));
    if inner.is_empty() {
        return String::new();
    }
    format!("{}{inner}{}", blanks(1), blanks(2))
}

fn truncate(args: &[Maybe]) -> Result {
    let whole = said(&args[0]);
    let Ok(length) = usize::try_from(number(&args[1])) else {
        return Err("runtime error: slice bounds out of range [:".to_owned()
            + &number(&args[1]).to_string()
            + "]");
    };
    if whole.len() < length {
        return Ok(args[0].clone());
    }
    Ok(text(
        String::from_utf8_lossy(&whole.as_bytes()[..length]).into_owned(),
    ))
}

fn length(value: &Maybe) -> Result {
    let Some(value) = value.clone() else {
        return Err("len of nil pointer".to_owned());
    };
    let (value, is_nil) = value.indirect();
    let length = match (value.of, &value.is) {
        _ if is_nil => return Err("len of nil pointer".to_owned()),
        (_, Is::Text(text)) => text.len(),
        (_, Is::List(items)) => items.len(),
        (_, Is::Map(entries)) => entries.len(),
        (Type::List(..) | Type::Map(..), Is::Nil) => 0,
        (of, _) => return Err(format!("len of type {}", of.name())),
    };
    Ok(Some(Value::int(i64::try_from(length).unwrap_or(i64::MAX))))
}

/// A place in a list of so many.
fn place(index: &Maybe, most: usize) -> std::result::Result<usize, String> {
    let number = match index {
        Some(Value {
            is: Is::Int(number),
            ..
        }) => i128::from(*number),
        Some(Value {
            is: Is::Uint(number),
            ..
        }) => i128::from(*number),
        None => return Err("cannot index slice/array with nil".to_owned()),
        Some(other) => {
            return Err(format!(
                "cannot index slice/array with type {}",
                other.of.name()
            ));
        }
    };
    usize::try_from(number)
        .ok()
        .filter(|at| *at <= most)
        .ok_or_else(|| format!("index out of range: {number}"))
}

fn index(args: &[Maybe]) -> Result {
    let Some(mut value) = args[0].clone().and_then(Value::held) else {
        return Err("index of untyped nil".to_owned());
    };
    for index in &args[1..] {
        let index = index.clone().and_then(Value::held);
        let (inner, is_nil) = value.indirect();
        if is_nil {
            return Err("index of nil pointer".to_owned());
        }
        value = match (inner.of, &inner.is) {
            (Type::List(..), is) => {
                let items: &[Value] = if let Is::List(items) = is { items } else { &[] };
                let at = place(&index, items.len())?;
                items
                    .get(at)
                    .cloned()
                    .ok_or("reflect: slice index out of range")?
            }
            (Type::Text(_), Is::Text(text)) => {
                static BYTE: Type = Type::Uint("uint8");
                let at = place(&index, text.len())?;
                let byte = text
                    .as_bytes()
                    .get(at)
                    .ok_or("reflect: string index out of range")?;
                Value {
                    of: &BYTE,
                    is: Is::Uint(u64::from(*byte)),
                }
            }
            (Type::Map(_, key, held), is) => {
                let wanted = match index {
                    None => {
                        return Err(format!("value is nil; should be of type {}", key.name()));
                    }
                    Some(index) if !index.of.assignable_to(key) => {
                        return Err(format!(
                            "value has type {}; should be {}",
                            index.of.name(),
                            key.name()
                        ));
                    }
                    Some(index) => said(&Some(index)),
                };
                let found = match is {
                    Is::Map(entries) => entries.iter().find(|(key, _)| *key == wanted),
                    _ => None,
                };
                found.map_or_else(|| Value::zero(held), |(_, value)| value.clone())
            }
            (of, _) => return Err(format!("can't index item of type {}", of.name())),
        };
    }
    Ok(Some(value))
}

fn slice(args: &[Maybe]) -> Result {
    let Some(value) = args[0].clone().and_then(Value::held) else {
        return Err("slice of untyped nil".to_owned());
    };
    let ends = &args[1..];
    if ends.len() > 3 {
        return Err(format!("too many slice indexes: {}", ends.len()));
    }
    let total = match (value.of, &value.is) {
        (Type::Text(_), Is::Text(_)) if ends.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        (Type::Text(_), Is::Text(text)) => text.len(),
        (Type::List(..), Is::List(items)) => items.len(),
        (Type::List(..), _) => 0,
        (of, _) => return Err(format!("can't slice item of type {}", of.name())),
    };
    let mut bounds = [0, total, total];
    for (bound, end) in bounds.iter_mut().zip(ends) {
        *bound = place(&end.clone().and_then(Value::held), total)?;
    }
    let [from, to, most] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if to > most {
        return Err(format!("invalid slice index: {to} > {most}"));
    }
    Ok(Some(match &value.is {
        Is::Text(whole) => {
            let part = String::from_utf8_lossy(&whole.as_bytes()[from..to]).into_owned();
            Value {
                of: value.of,
                is: Is::Text(part.into()),
            }
        }
        Is::List(items) => Value {
            of: value.of,
            is: Is::List(items[from..to].into()),
        },
        _ => value,
    }))
}
