//! The keys by which a person leaves a terminal without ending what runs in it.

/// A sequence of keys, and how much of it was typed just now.
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

/// What docker uses when nothing else is said.
const DEFAULT: [u8; 2] = [16, 17];

impl Default for DetachKeys {
    fn default() -> Self {
        DetachKeys {
            keys: DEFAULT.to_vec(),
            typed: 0,
        }
    }
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q` or `a,b,ctrl-\`. An empty text keeps the default.
    ///
    /// # Errors
    /// Docker's words for a key that is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let keys = text.split(',').map(key).collect::<Option<Vec<_>>>();
        let keys =
            keys.ok_or_else(|| format!("invalid detach keys ({text}): Unknown character"))?;
        Ok(DetachKeys { keys, typed: 0 })
    }

    /// Passes typed bytes on to `out`, holding back the beginning of the sequence.
    ///
    /// Returns true when the sequence was typed whole; what was typed behind it is dropped.
    pub(crate) fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        for &byte in input {
            if byte == self.keys[self.typed] {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return true;
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.typed]);
            self.typed = usize::from(byte == self.keys[0]);
            if self.typed == 0 {
                out.push(byte);
            }
        }
        false
    }
}

fn key(text: &str) -> Option<u8> {
    if let [one] = text.as_bytes() {
        return one.is_ascii().then_some(*one);
    }
    match text.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [b'['] => Some(27),
        [b'\\'] => Some(28),
        [b']'] => Some(29),
        [b'^'] => Some(30),
        [b'_'] => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &mut DetachKeys, input: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let detached = keys.filter(input, &mut out);
        (out, detached)
    }

    #[test]
    fn the_sequence_is_found_across_reads_and_its_beginning_is_not_lost() {
        let mut keys = DetachKeys::default();
        assert_eq!(typed(&mut keys, b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(typed(&mut keys, b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(typed(&mut keys, b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(typed(&mut keys, b"\x11rest"), (Vec::new(), true));
    }

    #[test]
    fn keys_are_read_as_docker_reads_them() {
        assert_eq!(DetachKeys::parse("ctrl-a,x").unwrap().keys, [1, b'x']);
        assert_eq!(DetachKeys::parse("").unwrap().keys, DEFAULT);
        assert!(DetachKeys::parse("ctrl-A").is_err());
        assert!(DetachKeys::parse("what").is_err());
    }
}
