//! Spans of time as Go reads them: `1h30m`, `1.5s`, `100ms`.

/// Nanoseconds of each unit.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Nanoseconds of a span; nothing for what is none.
pub(crate) fn nanoseconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digit = |letter: char| letter.is_ascii_digit() || letter == '.';
        let end = rest.find(|letter| !digit(letter))?;
        let (number, behind) = rest.split_at(end);
        let end = behind.find(digit).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, value) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * value;
        rest = behind;
    }
    // Exact up to a hundred days, of which nobody asks more.
    (total < i64::MAX as f64).then_some((sign * total) as i64)
}

#[cfg(test)]
mod tests {
    use super::nanoseconds;

    #[test]
    fn spans_are_read() {
        assert_eq!(nanoseconds("1h30m"), Some(5_400_000_000_000));
        assert_eq!(nanoseconds("1.5s"), Some(1_500_000_000));
        assert_eq!(nanoseconds("-3ms"), Some(-3_000_000));
        for wrong in ["", "x", "5", "s", "1.2.3s", "1y"] {
            assert_eq!(nanoseconds(wrong), None, "{wrong}");
        }
    }
}
