//! Functions of templates: Go's own and docker's.

use std::cmp::Ordering;

use serde_json::Value;

use super::eval::truth;
use super::show::{go_type, is_hidden, json, printf, shown};

static EMPTY: Value = Value::String(String::new());

/// Text longer than this is not padded.
const WIDEST: usize = 4096;

const NAMES: &[&str] = &[
    "and", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt",
    "ne", "not", "or", "pad", "print", "printf", "println", "slice", "split", "table", "title",
    "truncate", "upper", "urlquery",
];

/// Whether there is a function of that name.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function.
///
/// # Errors
/// A sentence when the arguments do not fit.
pub(super) fn call(name: &str, args: &[Value]) -> Result<Value, String> {
    let text = |at: usize| args.get(at).map(shown).unwrap_or_default();
    let wants = |number: usize| {
        if args.len() == number {
            Ok(())
        } else {
            Err(format!(
                "wrong number of args for {name}: want {number} got {}",
                args.len()
            ))
        }
    };
    Ok(match name {
        "json" => {
            wants(1)?;
            Value::String(json(&args[0]))
        }
        "join" => {
            wants(2)?;
            let list = args[0].as_array().cloned().unwrap_or_default();
            Value::String(list.iter().map(shown).collect::<Vec<_>>().join(&text(1)))
        }
        "split" => {
            wants(2)?;
            let separator = text(1);
            if separator.is_empty() {
                text(0).chars().map(|letter| letter.to_string()).collect()
            } else {
                text(0).split(&separator).map(str::to_owned).collect()
            }
        }
        "lower" => text(0).to_lowercase().into(),
        "upper" => text(0).to_uppercase().into(),
        "title" => title(&text(0)).into(),
        "pad" => {
            wants(3)?;
            let width = |at: usize| args[at].as_u64().unwrap_or(0).min(WIDEST as u64) as usize;
            let inner = text(0);
            (if inner.is_empty() {
                inner
            } else {
                format!("{}{inner}{}", " ".repeat(width(1)), " ".repeat(width(2)))
            })
            .into()
        }
        "truncate" => {
            wants(2)?;
            let length = args[1].as_u64().ok_or("a length is expected")? as usize;
            text(0).chars().take(length).collect::<String>().into()
        }
        "print" => print(args).into(),
        "println" => (args.iter().map(shown).collect::<Vec<_>>().join(" ") + "\n").into(),
        "printf" => printf(&text(0), args.get(1..).unwrap_or_default()).into(),
        "html" => text(0)
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;")
            .into(),
        "js" => js(&text(0)).into(),
        "urlquery" => crate::query::encode(&text(0)).replace("%20", "+").into(),
        "len" => {
            wants(1)?;
            length(&args[0])?.into()
        }
        "index" => index(args)?,
        "slice" => slice(args)?,
        "not" => {
            wants(1)?;
            (!truth(&args[0])).into()
        }
        "eq" => match args {
            [first, others @ ..] if !others.is_empty() => {
                others.iter().any(|other| same(first, other)).into()
            }
            _ => return Err("missing argument for comparison".to_owned()),
        },
        "ne" => {
            wants(2)?;
            (!same(&args[0], &args[1])).into()
        }
        "lt" | "le" | "gt" | "ge" => {
            wants(2)?;
            let order = compare(&args[0], &args[1])?;
            match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }
            .into()
        }
        // The word in front of a table's row; the caller has dealt with it.
        "table" => Value::String(String::new()),
        _ => return Err(format!("{name} is no function")),
    })
}

/// The first argument that is of none of the types that a function takes, and what is told of it.
pub(super) fn misfit(name: &str, args: &[Value]) -> Option<(usize, String)> {
    let wrong = |at: usize, wanted: &str| {
        Some((
            at,
            format!(
                "wrong type for value; expected {wanted}; got {}",
                go_type(&args[at])
            ),
        ))
    };
    match (name, args) {
        ("join", [list, ..]) if !matches!(list, Value::Array(_) | Value::Null) => {
            wrong(0, "[]string")
        }
        ("split" | "lower" | "upper" | "title" | "truncate" | "pad", [text, ..])
            if !text.is_string() && !text.is_null() =>
        {
            wrong(0, "string")
        }
        _ => None,
    }
}

/// Text inside of a string of JavaScript.
fn js(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", letter as u32)),
            letter if letter.is_ascii_control() => {
                out.push_str(&format!("\\u{:04X}", letter as u32));
            }
            letter => out.push(letter),
        }
    }
    out
}

/// Go's `fmt.Sprint`: a space between two values of which neither is text.
fn print(args: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in args.iter().enumerate() {
        if at > 0 && !value.is_string() && !args[at - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&shown(value));
    }
    out
}

fn title(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.keys().filter(|name| !is_hidden(name)).count()),
        Value::Null => Ok(0),
        other => Err(format!("len of type {}", go_type(other))),
    }
}

fn index(args: &[Value]) -> Result<Value, String> {
    let [value, keys @ ..] = args else {
        return Err("index of untyped nil".to_owned());
    };
    let mut value = value;
    for key in keys {
        value = match (value, key) {
            (Value::Array(list), Value::Number(number)) => number
                .as_u64()
                .and_then(|at| list.get(usize::try_from(at).ok()?))
                .ok_or_else(|| format!("index out of range: {number}"))?,
            (Value::Object(map), Value::String(name)) => match map.get(name) {
                Some(found) => found,
                // What a map of texts does not have is an empty one.
                None if !map.is_empty() && map.values().all(Value::is_string) => &EMPTY,
                None => &Value::Null,
            },
            (Value::Null, _) => return Err("index of untyped nil".to_owned()),
            (Value::Array(_) | Value::String(_), key) if !key.is_number() => {
                return Err(format!(
                    "cannot index slice/array with type {}",
                    go_type(key)
                ));
            }
            (Value::String(text), Value::Number(number)) => {
                let byte = number
                    .as_u64()
                    .and_then(|at| text.as_bytes().get(usize::try_from(at).ok()?));
                let byte = byte.ok_or("reflect: string index out of range")?;
                return Ok((*byte).into());
            }
            (other, _) => return Err(format!("can't index item of type {}", go_type(other))),
        };
    }
    Ok(value.clone())
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let [value, ends @ ..] = args else {
        return Err("slice of untyped nil".to_owned());
    };
    let total = length(value)?;
    let end = |at: usize, default: usize| {
        ends.get(at).map_or(Ok(default), |end| {
            end.as_u64()
                .map(|end| end as usize)
                .ok_or("index is no number")
        })
    };
    let (from, to) = (end(0, 0)?, end(1, total)?);
    if from > to || to > total {
        return Err(format!("index out of range: {to}"));
    }
    match value {
        Value::String(text) => text
            .get(from..to)
            .map(|part| part.into())
            .ok_or_else(|| "index inside of a letter".to_owned()),
        Value::Array(list) => Ok(list[from..to].to_vec().into()),
        other => Err(format!("can't slice item of type {}", go_type(other))),
    }
}

fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn compare(one: &Value, other: &Value) -> Result<Ordering, String> {
    if let (Some(one), Some(other)) = (one.as_f64(), other.as_f64()) {
        return one
            .partial_cmp(&other)
            .ok_or_else(|| "not a number".to_owned());
    }
    match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) => Ok(one.cmp(other)),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}
