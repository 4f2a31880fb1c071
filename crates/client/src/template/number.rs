//! Constants that are numbers.

use super::quote::{quoted, unquoted};
use super::tree::Number;
use super::value::{FLOAT, Is, Value};

/// A constant as Go's templates read it: whole if it can be.
pub(super) fn number(text: &str) -> Result<Number, String> {
    let is = |ideal, int| Number {
        text: text.to_owned(),
        ideal,
        int,
    };
    if text.starts_with('\'') {
        let meant = unquoted(text).unwrap_or_default();
        let mut letters = meant.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else {
            return Err(format!("malformed character constant: {text}"));
        };
        let code = i64::from(u32::from(letter));
        return Ok(is(Ok(Value::int(code)), Some(code)));
    }
    if let Some(whole) = whole(text) {
        return Ok(match i64::try_from(whole) {
            Ok(int) => is(Ok(Value::int(int)), Some(int)),
            Err(_) if u64::try_from(whole).is_ok() => {
                is(Err(format!("{text} overflows int")), None)
            }
            Err(_) => return Err(format!("integer overflow: {}", quoted(text))),
        });
    }
    let float = text
        .replace('_', "")
        .parse::<f64>()
        .ok()
        .filter(|_| !text.contains(['x', 'X']));
    let Some(float) = float.filter(|float| float.is_finite()) else {
        return Err(format!("illegal number syntax: {}", quoted(text)));
    };
    let fits = float.fract() == 0.0 && float.abs() < 9.2e18;
    let ideal = Ok(Value {
        of: &FLOAT,
        is: Is::Float(float),
    });
    Ok(is(ideal, fits.then_some(float as i64)))
}

/// A whole number with Go's prefixes; `None` for others.
fn whole(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    // Longer ones do not fit anyway.
    let number = i128::from_str_radix(&digits, radix).unwrap_or(i128::MAX / 2);
    Some(if negative { -number } else { number })
}
