//! Detach keys in docker's notation: `ctrl-p,ctrl-q`, `a,b`.

use crate::outcome::{EngineError, Result};

/// What detaches when nobody says otherwise: ctrl-p, ctrl-q.
pub(crate) const DEFAULT: [u8; 2] = [16, 17];

/// Reads a list of keys into the bytes that a terminal sends for them; `what` they are called where they are refused.
///
/// # Errors
/// Docker's sentence for an unknown key.
pub(crate) fn parse(text: &str, what: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(DEFAULT.to_vec());
    }
    text.split(',')
        .map(|key| {
            parse_key(key).ok_or_else(|| {
                EngineError::invalid(format!("Invalid {what} keys ({text}) provided"))
            })
        })
        .collect()
}

fn parse_key(key: &str) -> Option<u8> {
    if let &[byte] = key.as_bytes() {
        return Some(byte);
    }
    match key.strip_prefix("ctrl-")?.as_bytes() {
        &[letter @ (b'a'..=b'z' | b'A'..=b'Z')] => Some(letter.to_ascii_lowercase() - b'a' + 1),
        b"@" => Some(0),
        b"[" => Some(27),
        b"\\" => Some(28),
        b"]" => Some(29),
        b"^" => Some(30),
        b"_" => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        let parse = |text: &str| parse(text, "detach");
        assert_eq!(parse("ctrl-p,ctrl-q").unwrap(), DEFAULT);
        assert_eq!(parse("").unwrap(), DEFAULT);
        assert_eq!(parse("a,ctrl-[").unwrap(), [b'a', 27]);
        assert!(parse("ctrl-1").is_err());
        assert_eq!(
            parse("shift-a").unwrap_err().to_string(),
            "Invalid detach keys (shift-a) provided"
        );
    }
}
