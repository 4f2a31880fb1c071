//! Methods of values, by the types of Go's that have them.

use std::rc::Rc;

use super::builtins::{Call, Function, Kind, text, truth};
use super::print::shown;
use super::value::{Is, Type, Value};

/// The method of that name that a value has.
pub(super) fn method(receiver: &Value, name: &str) -> Option<Function> {
    const NOTHING: &[Kind] = &[];
    let label = Function {
        takes: &[Kind::Text],
        more: None,
        call: label,
    };
    match (receiver.of, &receiver.is) {
        (Type::Row(_), Is::Row(..)) if name == "Label" => Some(label),
        (Type::Map(heading, ..), _) if *heading == super::HEADING && name == "Label" => Some(label),
        (Type::Text("nat.Port"), _) => {
            let call: Call = match name {
                "Port" => |value, _| Ok(text(port(value).0)),
                "Proto" => |value, _| Ok(text(port(value).1)),
                "Int" => |value, _| Ok(Some(Value::int(port(value).0.parse().unwrap_or(0)))),
                _ => return None,
            };
            Some(Function {
                takes: NOTHING,
                more: None,
                call,
            })
        }
        (Type::Text("container.NetworkMode"), _) => {
            let call: Call = match name {
                "IsBridge" => |mode, _| Ok(truth(is_one_of(mode, &["bridge"]))),
                "IsDefault" => |mode, _| Ok(truth(is_one_of(mode, &["default"]))),
                "IsHost" => |mode, _| Ok(truth(is_one_of(mode, &["host"]))),
                "IsNone" => |mode, _| Ok(truth(is_one_of(mode, &["none"]))),
                "IsContainer" => |mode, _| Ok(truth(container_of(mode).is_some())),
                "ConnectedContainer" => |mode, _| Ok(text(container_of(mode).unwrap_or_default())),
                _ => return None,
            };
            Some(Function {
                takes: NOTHING,
                more: None,
                call,
            })
        }
        (Type::Time, Is::Time(..)) => {
            let call: Call = match name {
                "Unix" => |time, _| Ok(seconds(time).map(Value::int)),
                "String" => |time, _| Ok(text(time.map(shown).unwrap_or_default())),
                "IsZero" => |time, _| Ok(truth(seconds(time) == Some(crate::time::ZERO))),
                _ => return None,
            };
            Some(Function {
                takes: NOTHING,
                more: None,
                call,
            })
        }
        _ => None,
    }
}

/// `.Label "name"`: of a row its value, of a heading what stands above the column.
fn label(receiver: Option<&Value>, args: &[Option<Value>]) -> Result<Option<Value>, String> {
    let name = text_of(args.first().and_then(Option::as_ref));
    Ok(Some(match receiver.map(|receiver| &receiver.is) {
        Some(Is::Row(_, labels)) => {
            let found = labels.iter().find(|(key, _)| *key == name);
            Value::text(found.map(|(_, value)| value.clone()).unwrap_or_default())
        }
        _ => {
            let last = name.rsplit('.').next().unwrap_or_default();
            Value::text(last.replace(['-', '_'], " "))
        }
    }))
}

/// A port and its protocol: `80/tcp`.
fn port(port: Option<&Value>) -> (String, String) {
    let text = text_of(port);
    let (port, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    (port.to_owned(), protocol.to_owned())
}

/// Whether a text is one of some.
fn is_one_of(value: Option<&Value>, known: &[&str]) -> bool {
    known.contains(&&*text_of(value))
}

/// The container whose network is meant.
fn container_of(mode: Option<&Value>) -> Option<String> {
    text_of(mode).strip_prefix("container:").map(str::to_owned)
}

/// Seconds since 1970.
fn seconds(time: Option<&Value>) -> Option<i64> {
    match time?.is {
        Is::Time(seconds, ..) => Some(seconds),
        _ => None,
    }
}

/// The text of a value that is one.
fn text_of(value: Option<&Value>) -> Rc<str> {
    match value {
        Some(Value {
            is: Is::Text(text), ..
        }) => Rc::clone(text),
        _ => "".into(),
    }
}
