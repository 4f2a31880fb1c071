//! Docker's framing of two streams in one: eight bytes of head, then so many of content.

use std::io::{self, Write};

/// Takes frames apart, whatever pieces they arrive in.
#[derive(Default)]
pub(crate) struct Frames {
    head: [u8; 8],
    head_filled: usize,
    content_left: usize,
}

impl Frames {
    /// Writes the content of what arrived to where it belongs: stream 2 to `err`, the daemon's own
    /// complaints (3) too, all else to `out`.
    ///
    /// # Errors
    /// What writing gave, or `InvalidData` for a head that is none.
    pub(crate) fn write(
        &mut self,
        mut bytes: &[u8],
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.content_left == 0 {
                let take = bytes.len().min(8 - self.head_filled);
                self.head[self.head_filled..self.head_filled + take]
                    .copy_from_slice(&bytes[..take]);
                self.head_filled += take;
                bytes = &bytes[take..];
                if self.head_filled < 8 {
                    break;
                }
                if self.head[0] > 3 || self.head[1..4] != [0; 3] {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("Unrecognized input header: {}", self.head[0]),
                    ));
                }
                let [.., a, b, c, d] = self.head;
                self.content_left = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.content_left == 0 {
                    self.head_filled = 0;
                }
                continue;
            }
            let take = bytes.len().min(self.content_left);
            let to: &mut dyn Write = if self.head[0] >= 2 { err } else { out };
            to.write_all(&bytes[..take])?;
            self.content_left -= take;
            if self.content_left == 0 {
                self.head_filled = 0;
            }
            bytes = &bytes[take..];
        }
        out.flush()?;
        err.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_in_pieces_of_any_size() {
        let whole = [
            b"\x01\0\0\0\0\0\0\x03out".as_slice(),
            b"\x02\0\0\0\0\0\0\x03err",
            b"\x01\0\0\0\0\0\0\0",
            b"\x01\0\0\0\0\0\0\x01!",
        ]
        .concat();
        for size in 1..whole.len() {
            let (mut frames, mut out, mut err) = (Frames::default(), Vec::new(), Vec::new());
            for piece in whole.chunks(size) {
                frames.write(piece, &mut out, &mut err).unwrap();
            }
            assert_eq!(
                (out.as_slice(), err.as_slice()),
                (b"out!".as_slice(), b"err".as_slice())
            );
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut frames = Frames::default();
        assert!(
            frames
                .write(b"HTTP/1.1", &mut Vec::new(), &mut Vec::new())
                .is_err()
        );
    }
}
