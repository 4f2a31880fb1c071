//! Values and types as Go's templates know them.

use std::rc::Rc;

/// A type of Go's, of which as much is told as templates show.
#[derive(Debug)]
pub(crate) enum Type {
    /// `bool`
    Bool,
    /// Signed whole numbers, by their name.
    Int(&'static str),
    /// Unsigned ones.
    Uint(&'static str),
    /// `float64`
    Float,
    /// Texts, by their name: `string`, or one that was given to a kind of them.
    Text(&'static str),
    /// A list: its own name, if it has one, and what it holds.
    List(&'static str, &'static Type),
    /// A map: its own name, if it has one, the types of keys and values.
    Map(&'static str, &'static Type, &'static Type),
    /// A structure.
    Struct(&'static Struct),
    /// A pointer.
    Pointer(&'static Type),
    /// `interface {}`: anything.
    Any,
    /// `time.Time`
    Time,
    /// `time.Duration`, in nanoseconds.
    Duration,
    /// A row of a list, by the name of the type in docker's client: its fields are methods.
    Row(&'static str),
}

/// A structure of Go's.
#[derive(Debug)]
pub(crate) struct Struct {
    /// Its package and name.
    pub(crate) name: &'static str,
    /// In their order.
    pub(crate) fields: &'static [Field],
    /// How it prints itself, when it has words of its own for that.
    pub(crate) text: Option<fn(&Value) -> String>,
}

/// A field of a structure.
#[derive(Debug)]
pub(crate) struct Field {
    /// As templates name it.
    pub(crate) name: &'static str,
    /// As JSON names it; empty when JSON does not have it.
    pub(crate) json: &'static str,
    /// What it is.
    pub(crate) of: &'static Type,
    /// When JSON leaves it out.
    pub(crate) unsaid: Unsaid,
    /// Whether the fields of the structure in it count as the outer's own.
    pub(crate) embedded: bool,
}

/// When JSON leaves a field out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsaid {
    /// Never.
    Never,
    /// When it is false, zero, nil or empty.
    Empty,
}

pub(crate) static BOOL: Type = Type::Bool;
pub(crate) static INT: Type = Type::Int("int");
pub(crate) static INT64: Type = Type::Int("int64");
pub(crate) static FLOAT: Type = Type::Float;
pub(crate) static TEXT: Type = Type::Text("string");
pub(crate) static ANY: Type = Type::Any;
pub(crate) static TEXTS: Type = Type::List("", &TEXT);
pub(crate) static TEXT_MAP: Type = Type::Map("", &TEXT, &TEXT);
/// What a document is that nothing is known of.
pub(crate) static ANY_MAP: Type = Type::Map("", &TEXT, &ANY);
pub(crate) static ANY_LIST: Type = Type::List("", &ANY);
/// A number in such a document.
pub(crate) static JSON_NUMBER: Type = Type::Text("json.Number");

/// A value and its type.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) of: &'static Type,
    pub(crate) is: Is,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Is {
    /// A pointer, list, map or interface without anything.
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<[Value]>),
    /// In the order of the keys.
    Map(Rc<[(Rc<str>, Value)]>),
    /// As many as the structure has fields.
    Struct(Rc<[Value]>),
    /// What a pointer points to or an interface holds.
    Some(Rc<Value>),
    /// Seconds since 1970, nanoseconds, and the seconds that the zone is ahead.
    Time(i64, u32, i32),
    /// The fields of a row, and its labels.
    Row(Rc<[(Rc<str>, Value)]>, Rc<[(Rc<str>, Rc<str>)]>),
}

impl Value {
    pub(crate) fn text(text: impl Into<Rc<str>>) -> Value {
        Value {
            of: &TEXT,
            is: Is::Text(text.into()),
        }
    }

    pub(crate) fn int(number: i64) -> Value {
        Value {
            of: &INT,
            is: Is::Int(number),
        }
    }

    pub(crate) fn bool(value: bool) -> Value {
        Value {
            of: &BOOL,
            is: Is::Bool(value),
        }
    }

    pub(crate) fn list(of: &'static Type, items: Vec<Value>) -> Value {
        Value {
            of,
            is: Is::List(items.into()),
        }
    }

    /// Go's zero value of a type.
    pub(crate) fn zero(of: &'static Type) -> Value {
        let is = match of {
            Type::Bool => Is::Bool(false),
            Type::Int(_) | Type::Duration => Is::Int(0),
            Type::Uint(_) => Is::Uint(0),
            Type::Float => Is::Float(0.0),
            Type::Text(_) => Is::Text("".into()),
            Type::Struct(whole) => Is::Struct(
                whole
                    .fields
                    .iter()
                    .map(|field| Value::zero(field.of))
                    .collect(),
            ),
            Type::Time => Is::Time(crate::time::ZERO, 0, 0),
            Type::List(..) | Type::Map(..) | Type::Pointer(_) | Type::Any | Type::Row(_) => Is::Nil,
        };
        Value { of, is }
    }

    /// What an interface holds; `None` for one that holds nothing.
    pub(crate) fn held(self) -> Option<Value> {
        match (self.of, &self.is) {
            (Type::Any, Is::Some(held)) => Some(Value::clone(held)),
            (Type::Any, _) => None,
            _ => Some(self),
        }
    }

    /// What stands behind pointers and interfaces, and whether one of them is nil: then that.
    pub(crate) fn indirect(self) -> (Value, bool) {
        let mut value = self;
        // Types are no deeper than this.
        for _ in 0..16 {
            match (value.of, &value.is) {
                (Type::Any | Type::Pointer(_), Is::Some(held)) => value = Value::clone(held),
                (Type::Any | Type::Pointer(_), _) => return (value, true),
                _ => break,
            }
        }
        (value, false)
    }

    /// Go's truth: what is not empty and not zero.
    pub(crate) fn truth(&self) -> bool {
        match &self.is {
            Is::Nil => false,
            Is::Bool(value) => *value,
            Is::Int(number) => *number != 0,
            Is::Uint(number) => *number != 0,
            Is::Float(number) => *number != 0.0,
            Is::Text(text) => !text.is_empty(),
            Is::List(items) => !items.is_empty(),
            Is::Map(entries) => !entries.is_empty(),
            Is::Struct(_) | Is::Some(_) | Is::Time(..) | Is::Row(..) => true,
        }
    }

    /// A field of a structure, those of structures that it embeds among them. `Err` tells that it is behind a pointer
    /// that is nil.
    pub(crate) fn field(&self, name: &str) -> Option<Result<Value, String>> {
        let (Type::Struct(whole), Is::Struct(values)) = (self.of, &self.is) else {
            return None;
        };
        let pairs = || whole.fields.iter().zip(values.iter());
        if let Some((_, value)) = pairs().find(|(field, _)| field.name == name) {
            return Some(Ok(value.clone()));
        }
        for (field, value) in pairs().filter(|(field, _)| field.embedded) {
            if !has_field(field.of, name) {
                continue;
            }
            return match value.clone().indirect() {
                (_, true) => Some(Err(format!(
                    "reflect: indirection through nil pointer to embedded struct field {}",
                    field.name
                ))),
                (inner, false) => inner.field(name),
            };
        }
        None
    }
}

/// Whether a structure, or a pointer to one, has a field of that name.
pub(crate) fn has_field(of: &'static Type, name: &str) -> bool {
    match of {
        Type::Pointer(to) => has_field(to, name),
        Type::Struct(whole) => whole
            .fields
            .iter()
            .any(|field| field.name == name || (field.embedded && has_field(field.of, name))),
        _ => false,
    }
}

impl Type {
    /// The name of the type in Go.
    pub(crate) fn name(&self) -> String {
        match self {
            Type::Bool => "bool".to_owned(),
            Type::Int(name) | Type::Uint(name) | Type::Text(name) | Type::Row(name) => {
                (*name).to_owned()
            }
            Type::Float => "float64".to_owned(),
            Type::List("", of) => format!("[]{}", of.name()),
            Type::Map("", key, of) => format!("map[{}]{}", key.name(), of.name()),
            Type::List(name, _) | Type::Map(name, ..) => (*name).to_owned(),
            Type::Struct(whole) => whole.name.to_owned(),
            Type::Pointer(to) => format!("*{}", to.name()),
            Type::Any => "interface {}".to_owned(),
            Type::Time => "time.Time".to_owned(),
            Type::Duration => "time.Duration".to_owned(),
        }
    }

    /// Whether a value of this type may stand where the other is expected.
    pub(crate) fn assignable_to(&self, other: &Type) -> bool {
        match (self, other) {
            (_, Type::Any) => true,
            // A list without a name of its own is the same as one with, if both hold the same.
            (Type::List(one, held), Type::List(two, wanted)) => {
                (one.is_empty() || two.is_empty() || one == two) && held.name() == wanted.name()
            }
            (one, two) => one.name() == two.name(),
        }
    }
}
