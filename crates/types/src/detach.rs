//! The keys by which a client of a terminal leaves without ending anything.

/// Docker's default, `ctrl-p,ctrl-q`.
pub const DEFAULT_KEYS: [u8; 2] = [16, 17];

/// A text that names no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unknown character: '{key}'")]
pub struct KeyError {
    /// The part that is no key.
    pub key: String,
}

/// Parses docker's notation: keys with commas in between, each a single character, `ctrl-` and one of
/// `@ a…z [ \ ] ^ _`, or `DEL`.
///
/// # Errors
/// For a part that is none of these; docker's words.
pub fn parse_keys(text: &str) -> Result<Vec<u8>, KeyError> {
    text.split(',').map(parse_key).collect()
}

fn parse_key(key: &str) -> Result<u8, KeyError> {
    let control = key.strip_prefix("ctrl-").map(str::as_bytes);
    match (key.as_bytes(), control) {
        ([single], _) => Ok(*single),
        (b"DEL", _) => Ok(127),
        (_, Some([letter @ b'a'..=b'z'])) => Ok(letter - b'a' + 1),
        (_, Some([sign @ (b'@' | b'['..=b'_')])) => Ok(sign - b'@'),
        _ => Err(KeyError {
            key: key.to_owned(),
        }),
    }
}

/// Looks for the keys in what a client sends; the client and the shim do so alike, whoever is the first to see them.
///
/// What may be their beginning is held back until the next byte decides.
#[derive(Debug, Clone)]
pub struct Scanner {
    keys: Vec<u8>,
    matched: usize,
}

impl Scanner {
    /// Looks for these keys; for nothing when there are none.
    pub fn new(keys: Vec<u8>) -> Self {
        Scanner { keys, matched: 0 }
    }

    /// Appends to `out` what is for the container. True when the keys were complete: what follows them
    /// in `input` is dropped.
    ///
    /// As in docker (its client and its daemon share the reader of moby/term), a byte that breaks a sequence does not
    /// begin the next one.
    pub fn scan(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(input);
            return false;
        }
        for &byte in input {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return true;
                }
            } else {
                out.extend_from_slice(&self.keys[..self.matched]);
                out.push(byte);
                self.matched = 0;
            }
        }
        false
    }

    /// What was held back, once nothing follows any more.
    pub fn rest(&mut self) -> Vec<u8> {
        let rest = self.keys[..self.matched].to_vec();
        self.matched = 0;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_notation() {
        assert_eq!(parse_keys("ctrl-p,ctrl-q").unwrap(), DEFAULT_KEYS);
        assert_eq!(
            parse_keys("a,ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,DEL").unwrap(),
            [b'a', 0, 27, 28, 29, 30, 31, 127]
        );
        for wrong in ["", "ctrl-", "ctrl-A", "ab", "ctrl-p,", "ctrl-ab", "ctrl-`"] {
            assert!(parse_keys(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            parse_keys("ctrl-p,xy").unwrap_err().to_string(),
            "Unknown character: 'xy'"
        );
    }

    fn scan(keys: &[u8], pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut scanner = Scanner::new(keys.to_vec());
        let mut out = Vec::new();
        for piece in pieces {
            if scanner.scan(piece, &mut out) {
                return (out, true);
            }
        }
        (out, false)
    }

    #[test]
    fn keys_are_found_across_pieces_and_never_passed_on() {
        assert_eq!(scan(&[16, 17], &[b"ab\x10\x11cd"]), (b"ab".to_vec(), true));
        assert_eq!(
            scan(&[16, 17], &[b"ab\x10", b"\x11"]),
            (b"ab".to_vec(), true)
        );
        assert_eq!(
            scan(&[16, 17], &[b"ab\x10", b"c"]),
            (b"ab\x10c".to_vec(), false)
        );
        assert_eq!(
            scan(&[16, 17], &[b"\x10\x10\x11"]),
            (b"\x10\x10\x11".to_vec(), false)
        );
        assert_eq!(scan(&[], &[b"\x10\x11"]), (b"\x10\x11".to_vec(), false));
        assert_eq!(scan(b"aab", &[b"aaab"]), (b"aaab".to_vec(), false));
        // Thrice the first key: the second breaks what the first began, the third begins anew.
        assert_eq!(
            scan(&[16, 17], &[b"\x10", b"\x10", b"\x10", b"\x11"]),
            (b"\x10\x10".to_vec(), true)
        );
    }

    #[test]
    fn what_was_held_back_is_not_lost() {
        let mut scanner = Scanner::new(vec![16, 17]);
        let mut out = Vec::new();
        assert!(!scanner.scan(b"x\x10", &mut out));
        out.extend(scanner.rest());
        assert_eq!(out, b"x\x10");
    }
}
