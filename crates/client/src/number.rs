//! Numbers and truths as Go reads them: what docker's users type is read by its rules.

/// Go's `strconv.ParseInt` with base 0, which flags of type `int` use: `0x1f`, `0o17`, `017`, `0b11`, `1_000`.
///
/// # Errors
/// Go's words.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    let fault = |why: &str| format!("strconv.ParseInt: parsing {text:?}: {why}");
    let syntax = || fault("invalid syntax");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // Underscores stand between digits, or behind a prefix.
    let is_misplaced =
        digits.ends_with('_') || digits.contains("__") || radix == 10 && digits.starts_with('_');
    if is_misplaced {
        return Err(syntax());
    }
    let digits: String = digits.chars().filter(|digit| *digit != '_').collect();
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(syntax());
    }
    let signed = format!("{}{digits}", if negative { "-" } else { "" });
    i64::from_str_radix(&signed, radix).map_err(|_| fault("value out of range"))
}

/// Go's `strconv.ParseBool`.
///
/// # Errors
/// Go's words.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_gos() {
        for (text, value) in [
            ("0", 0),
            ("-5", -5),
            ("+5", 5),
            ("0x1F", 31),
            ("017", 15),
            ("0b11", 3),
            ("1_000", 1000),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
        for text in ["", "-", "x", "1.5", "08", "_1", "1__0", "0x", "--1"] {
            assert!(
                integer(text).unwrap_err().ends_with("invalid syntax"),
                "{text}"
            );
        }
        assert_eq!(
            integer("9223372036854775808").unwrap_err(),
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"
        );
    }
}
