//! Spans of time as Go reads and docker's users type them: `1h30m`, `1.5s`, `100ms`.

/// Nanoseconds of each unit.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    // The Greek letter, which looks the same.
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds of a span.
///
/// # Errors
/// Go's words.
pub(crate) fn nanoseconds(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, behind) = digits(rest);
        let (part, behind) = match behind.strip_prefix('.') {
            Some(behind) => digits(behind),
            None => ("", behind),
        };
        if whole.is_empty() && part.is_empty() {
            return Err(invalid());
        }
        let end = behind
            .find(|letter: char| letter == '.' || letter.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let nanoseconds = UNITS
            .into_iter()
            .find_map(|(name, value)| (name == unit).then_some(value))
            .ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?;
        let whole: u64 = match whole {
            "" => 0,
            whole => whole.parse().map_err(|_| invalid())?,
        };
        total += u128::from(whole) * u128::from(nanoseconds) + fraction(part, nanoseconds);
        if total > 1 << 63 {
            return Err(invalid());
        }
        rest = behind;
    }
    let total = i128::try_from(total).map_err(|_| invalid())?;
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

/// The digits that a text begins with, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// What digits behind a point are of a unit. No unit is large enough for more than 18 of them to count.
fn fraction(digits: &str, unit: u64) -> u128 {
    let digits = &digits[..digits.len().min(18)];
    let (mut value, mut scale) = (0u128, 1u128);
    for digit in digits.bytes() {
        value = value * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    value * u128::from(unit) / scale
}

#[cfg(test)]
mod tests {
    use super::nanoseconds;

    #[test]
    fn spans_are_gos() {
        for (text, value) in [
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("100ms", 100_000_000),
            ("-1h", -3_600_000_000_000),
            ("+2us", 2_000),
            ("1µs1μs", 2_000),
            ("0", 0),
            ("-0", 0),
            ("1m1m", 120_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(nanoseconds(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_in_gos_words() {
        for (text, told) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("x", "time: invalid duration \"x\""),
            (".s", "time: invalid duration \".s\""),
            ("1s x", "time: unknown unit \"s x\" in duration \"1s x\""),
            ("10", "time: missing unit in duration \"10\""),
            ("3d", "time: unknown unit \"d\" in duration \"3d\""),
            (
                "9223372036854775808ns",
                "time: invalid duration \"9223372036854775808ns\"",
            ),
            (
                "99999999999999999999s",
                "time: invalid duration \"99999999999999999999s\"",
            ),
        ] {
            assert_eq!(nanoseconds(text).unwrap_err(), told);
        }
    }
}
