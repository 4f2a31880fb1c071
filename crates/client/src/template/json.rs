//! Values of Go's from JSON and as JSON.

use std::rc::Rc;

use serde_json::Value as Json;

use super::value::{
    ANY, ANY_LIST, ANY_MAP, BOOL, Is, JSON_NUMBER, Struct, TEXT, Type, Unsaid, Value,
};
use crate::time;

/// The hidden field in which a row keeps its labels for the method `.Label`.
pub(crate) const LABELS: &str = "\u{0}labels";

impl Value {
    /// JSON as a value of a type; what does not fit is the type's zero value.
    pub(crate) fn read(json: &Json, of: &'static Type) -> Value {
        let is = match (of, json) {
            (Type::Any, json) => return Value::any(json),
            (Type::Bool, Json::Bool(value)) => Is::Bool(*value),
            (Type::Int(_) | Type::Duration, Json::Number(number)) => {
                Is::Int(number.as_i64().unwrap_or(i64::MAX))
            }
            (Type::Uint(_), Json::Number(number)) => Is::Uint(number.as_u64().unwrap_or(0)),
            (Type::Float, Json::Number(number)) => Is::Float(number.as_f64().unwrap_or(0.0)),
            (Type::Text(_), Json::String(text)) => Is::Text(text.as_str().into()),
            (Type::List(_, held), Json::Array(items)) => {
                Is::List(items.iter().map(|item| Value::read(item, held)).collect())
            }
            (Type::Map(_, _, held), Json::Object(map)) => Is::Map(sorted(
                map.iter().map(|(key, one)| (key, Value::read(one, held))),
            )),
            (Type::Struct(whole), Json::Object(_)) => Is::Struct(fields(json, whole)),
            (Type::Pointer(to), json) if !json.is_null() => {
                Is::Some(Rc::new(Value::read(json, to)))
            }
            (Type::Time, Json::String(text)) => match time::parse_zoned(text) {
                Some((seconds, nanos, zone)) => Is::Time(seconds, nanos, zone),
                None => return Value::zero(of),
            },
            _ => return Value::zero(of),
        };
        Value { of, is }
    }

    /// JSON of which nothing is known, as an interface holds it.
    fn any(json: &Json) -> Value {
        let held = match json {
            Json::Null => return Value::zero(&ANY),
            Json::Bool(value) => Value {
                of: &BOOL,
                is: Is::Bool(*value),
            },
            Json::Number(number) => Value {
                of: &JSON_NUMBER,
                is: Is::Text(number.to_string().into()),
            },
            Json::String(text) => Value {
                of: &TEXT,
                is: Is::Text(text.as_str().into()),
            },
            Json::Array(items) => Value::list(&ANY_LIST, items.iter().map(Value::any).collect()),
            Json::Object(map) => Value {
                of: &ANY_MAP,
                is: Is::Map(sorted(map.iter().map(|(key, one)| (key, Value::any(one))))),
            },
        };
        Value {
            of: &ANY,
            is: Is::Some(Rc::new(held)),
        }
    }

    /// A row of a list: an object's members are what its methods give.
    pub(crate) fn row(json: &Json, kind: &'static Type) -> Value {
        let Json::Object(map) = json else {
            return Value::zero(kind);
        };
        let labels = map
            .get(LABELS)
            .and_then(Json::as_object)
            .into_iter()
            .flatten();
        let labels = labels
            .map(|(key, one)| (key.as_str().into(), one.as_str().unwrap_or_default().into()))
            .collect();
        let shown = map.iter().filter(|(name, _)| *name != LABELS);
        let shown = shown.map(|(name, one)| (name, Value::of_row(one, kind)));
        // What has no labels is no row but holds some, in an order of its own.
        let fields = match map.contains_key(LABELS) {
            true => sorted(shown),
            false => shown
                .map(|(name, value)| (name.as_str().into(), value))
                .collect(),
        };
        Value {
            of: kind,
            is: Is::Row(fields, labels),
        }
    }

    fn of_row(json: &Json, kind: &'static Type) -> Value {
        static ROWS: Type = Type::List("", &Type::Row("*formatter.subContext"));
        static NOTHING: Type = Type::Pointer(&Type::Any);
        match json {
            Json::Null => Value::zero(&NOTHING),
            Json::String(text) => Value::text(text.as_str()),
            Json::Bool(value) => Value::bool(*value),
            Json::Number(number) => Value::int(number.as_i64().unwrap_or(0)),
            Json::Array(rows) => Value::list(
                &ROWS,
                rows.iter().map(|row| Value::row(row, kind)).collect(),
            ),
            Json::Object(_) => Value::read(json, &ANY_MAP),
        }
    }

    /// As the function `json` gives it.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match &self.is {
            Is::Nil => out.push_str("null"),
            Is::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Is::Int(number) => out.push_str(&number.to_string()),
            Is::Uint(number) => out.push_str(&number.to_string()),
            Is::Float(number) => out.push_str(&number.to_string()),
            Is::Text(text) if std::ptr::eq(self.of, &JSON_NUMBER) => out.push_str(text),
            Is::Text(text) => quote(text, out),
            Is::List(items) => {
                separated(out, ['[', ']'], items.iter(), |item, out| {
                    item.write_json(out)
                });
            }
            Is::Map(entries) => {
                separated(out, ['{', '}'], entries.iter(), |(key, value), out| {
                    member(key, value, out);
                });
            }
            Is::Row(fields, _) => {
                let mut row = String::new();
                separated(&mut row, ['{', '}'], fields.iter(), |(key, value), out| {
                    member(key, value, out);
                });
                // Of a row, what HTML could take for its own is escaped.
                let escaped = row.replace('<', "\\u003c").replace('>', "\\u003e");
                out.push_str(&escaped.replace('&', "\\u0026"));
            }
            Is::Struct(_) => {
                let mut members = Vec::new();
                self.members(&mut members);
                separated(out, ['{', '}'], members.iter(), |(key, value), out| {
                    member(key, value, out);
                });
            }
            Is::Some(held) => held.write_json(out),
            Is::Time(seconds, nanos, zone) => {
                quote(&time::rfc3339_zoned(*seconds, *nanos, *zone), out);
            }
        }
    }

    /// The fields that JSON has of a structure.
    fn members(&self, members: &mut Vec<(&'static str, Value)>) {
        let (Type::Struct(whole), Is::Struct(values)) = (self.of, &self.is) else {
            return;
        };
        for (field, value) in whole.fields.iter().zip(values.iter()) {
            if field.embedded {
                value.clone().indirect().0.members(members);
            } else if !(field.json.is_empty() || field.unsaid == Unsaid::Empty && value.is_empty())
            {
                members.push((field.json, value.clone()));
            }
        }
    }

    /// Whether `omitempty` leaves it out.
    fn is_empty(&self) -> bool {
        !matches!(self.is, Is::Struct(_) | Is::Time(..)) && !self.truth()
    }
}

/// The values of a structure's fields; those of embedded ones stand beside them.
fn fields(json: &Json, whole: &'static Struct) -> Rc<[Value]> {
    let one = |field: &'static super::value::Field| match json.get(field.json) {
        _ if field.embedded => Value::read(json, field.of),
        Some(json) => Value::read(json, field.of),
        None => Value::zero(field.of),
    };
    whole.fields.iter().map(one).collect()
}

fn sorted<'a>(entries: impl Iterator<Item = (&'a String, Value)>) -> Rc<[(Rc<str>, Value)]> {
    let mut entries: Vec<(Rc<str>, Value)> = entries
        .map(|(key, value)| (key.as_str().into(), value))
        .collect();
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    entries.into()
}

fn separated<T>(
    out: &mut String,
    ends: [char; 2],
    items: impl Iterator<Item = T>,
    write: impl Fn(T, &mut String),
) {
    out.push(ends[0]);
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(ends[1]);
}

fn member(key: &str, value: &Value, out: &mut String) {
    quote(key, out);
    out.push(':');
    value.write_json(out);
}

/// Text as Go's encoder writes it, but for what HTML could take for its own.
fn quote(text: &str, out: &mut String) {
    let quoted = Json::from(text).to_string();
    out.push_str(
        &quoted
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029"),
    );
}
