//! The keys by which a person leaves a terminal without ending what runs in it.

use types::detach::{DEFAULT_KEYS, Scanner, parse_keys};

/// Reads `ctrl-p,ctrl-q` or `a,b,ctrl-\`. An empty text keeps the default.
///
/// # Errors
/// Docker's words for a key that is none.
pub(crate) fn scanner(text: &str) -> Result<Scanner, String> {
    if text.is_empty() {
        return Ok(Scanner::new(DEFAULT_KEYS.to_vec()));
    }
    parse_keys(text)
        .map(Scanner::new)
        .map_err(|error| format!("invalid detach keys ({text}): {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        let left_by =
            |keys: &str, typed: &[u8]| scanner(keys).unwrap().scan(typed, &mut Vec::new());
        assert!(left_by("ctrl-a,x", b"\x01x"));
        assert!(left_by("", b"\x10\x11"));
        assert!(left_by("DEL", b"\x7f"));
        assert!(scanner("ctrl-A").is_err());
        assert_eq!(
            scanner("a,what").unwrap_err(),
            "invalid detach keys (a,what): Unknown character: 'what'"
        );
    }

    #[test]
    fn what_breaks_a_sequence_does_not_begin_the_next() {
        let mut passed = Vec::new();
        assert!(!scanner("").unwrap().scan(b"\x10\x10\x11", &mut passed));
        assert_eq!(passed, b"\x10\x10\x11");
    }
}
