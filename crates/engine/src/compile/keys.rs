//! Detach keys as a request has them: in docker's notation, see [`types::detach`].

use types::detach::{DEFAULT_KEYS, parse_keys};

use crate::outcome::{EngineError, Result};

/// Reads a list of keys into the bytes that a terminal sends for them, the default for an empty one; `what` they are
/// called where they are refused.
///
/// # Errors
/// Docker's sentence for an unknown key.
pub(crate) fn parse(text: &str, what: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(DEFAULT_KEYS.to_vec());
    }
    parse_keys(text)
        .map_err(|_| EngineError::invalid(format!("Invalid {what} keys ({text}) provided")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        let parse = |text: &str| parse(text, "detach");
        assert_eq!(parse("").unwrap(), DEFAULT_KEYS);
        assert_eq!(parse("a,ctrl-[,DEL").unwrap(), [b'a', 27, 127]);
        assert!(parse("ctrl-1").is_err() && parse("ctrl-A").is_err());
        assert_eq!(
            parse("shift-a").unwrap_err().to_string(),
            "Invalid detach keys (shift-a) provided"
        );
    }
}
