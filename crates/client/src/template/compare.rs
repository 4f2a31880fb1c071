//! Comparisons as Go's templates make them.

use super::print::shown;
use super::value::{Is, Type, Value};

const BAD: &str = "incompatible types for comparison";
const BAD_TYPE: &str = "invalid type for comparison";

/// What can be compared, by its kind.
enum Basic<'a> {
    Bool(bool),
    /// Signed or not: whole numbers are compared as such.
    Whole(i128),
    Float(f64),
    Text(&'a str),
}

fn basic(value: &Option<Value>) -> Option<Basic<'_>> {
    Some(match &value.as_ref()?.is {
        Is::Bool(value) => Basic::Bool(*value),
        Is::Int(number) => Basic::Whole(i128::from(*number)),
        Is::Uint(number) => Basic::Whole(i128::from(*number)),
        Is::Float(number) => Basic::Float(*number),
        Is::Text(text) => Basic::Text(text),
        _ => return None,
    })
}

fn held(value: &Option<Value>) -> Option<Value> {
    value.clone().and_then(Value::held)
}

/// Whether the first is equal to one of the others.
pub(super) fn equal(args: &[Option<Value>]) -> Result<bool, String> {
    let [first, others @ ..] = args else {
        return Err("missing argument for comparison".to_owned());
    };
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    let first = held(first);
    for other in others {
        let other = held(other);
        let same = match (basic(&first), basic(&other)) {
            (Some(Basic::Bool(one)), Some(Basic::Bool(two))) => one == two,
            (Some(Basic::Whole(one)), Some(Basic::Whole(two))) => one == two,
            (Some(Basic::Float(one)), Some(Basic::Float(two))) => one == two,
            (Some(Basic::Text(one)), Some(Basic::Text(two))) => one == two,
            (None, None) => same_whole(first.as_ref(), other.as_ref())?,
            _ if first.is_some() && other.is_some() => return Err(BAD.to_owned()),
            _ => false,
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Values that are neither numbers nor texts: equal when both are nil.
fn same_whole(one: Option<&Value>, other: Option<&Value>) -> Result<bool, String> {
    let is_nil = |value: Option<&Value>| value.is_none_or(|value| matches!(value.is, Is::Nil));
    let kind = |value: &Value| std::mem::discriminant(value.of);
    if let (Some(one), Some(other)) = (one, other)
        && kind(one) != kind(other)
    {
        return Err(format!(
            "non-comparable types {}: {}, {}: {}",
            shown(one),
            one.of.name(),
            other.of.name(),
            shown(other)
        ));
    }
    match (one, other) {
        (Some(one), Some(other)) if !is_nil(Some(one)) && !is_nil(Some(other)) => {
            if matches!(other.of, Type::List(..) | Type::Map(..)) {
                return Err(format!(
                    "non-comparable type {}: {}",
                    shown(other),
                    other.of.name()
                ));
            }
            Ok(one.of.name() == other.of.name() && one.to_json() == other.to_json())
        }
        _ => Ok(is_nil(one) == is_nil(other)),
    }
}

/// Whether one comes before the other.
pub(super) fn less(one: &Option<Value>, other: &Option<Value>) -> Result<bool, String> {
    let (one, other) = (held(one), held(other));
    match (basic(&one), basic(&other)) {
        (None, _) | (_, None) => Err(BAD_TYPE.to_owned()),
        (Some(Basic::Bool(_)), Some(Basic::Bool(_))) => Err(BAD_TYPE.to_owned()),
        (Some(Basic::Whole(one)), Some(Basic::Whole(two))) => Ok(one < two),
        (Some(Basic::Float(one)), Some(Basic::Float(two))) => Ok(one < two),
        (Some(Basic::Text(one)), Some(Basic::Text(two))) => Ok(one < two),
        _ => Err(BAD.to_owned()),
    }
}

/// Whether one comes before the other or is equal to it.
pub(super) fn at_most(one: &Option<Value>, other: &Option<Value>) -> Result<bool, String> {
    Ok(less(one, other)? || equal(&[one.clone(), other.clone()])?)
}
