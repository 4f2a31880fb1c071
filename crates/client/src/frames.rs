//! Docker's framing of two streams in one: eight bytes of head, then so many of content.

use std::io::{self, Write};

/// Takes frames apart, whatever pieces they arrive in.
#[derive(Default)]
pub(crate) struct Frames {
    head: [u8; 8],
    head_filled: usize,
    content_left: usize,
}

/// Content of one frame.
pub(crate) struct Piece<'a> {
    /// Where it came from: 1 is standard output, 2 standard error, 3 the daemon.
    pub(crate) stream: u8,
    /// Not all of the frame, perhaps.
    pub(crate) content: &'a [u8],
    /// Whether the frame begins here.
    pub(crate) is_first: bool,
}

impl Frames {
    /// Takes the content of one frame, or a part of it, from the front of what arrived; `None` when nothing is left.
    ///
    /// # Errors
    /// `InvalidData` for a head that is none.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> io::Result<Option<Piece<'a>>> {
        let mut is_first = false;
        while self.content_left == 0 {
            let take = bytes.len().min(8 - self.head_filled);
            let (head, rest) = bytes.split_at(take);
            self.head[self.head_filled..self.head_filled + take].copy_from_slice(head);
            self.head_filled += take;
            *bytes = rest;
            if self.head_filled < 8 {
                return Ok(None);
            }
            if self.head[0] > 3 || self.head[1..4] != [0; 3] {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("Unrecognized input header: {}", self.head[0]),
                ));
            }
            let [.., a, b, c, d] = self.head;
            self.content_left = u32::from_be_bytes([a, b, c, d]) as usize;
            self.head_filled = 0;
            is_first = true;
        }
        let (content, rest) = bytes.split_at(bytes.len().min(self.content_left));
        self.content_left -= content.len();
        *bytes = rest;
        Ok((is_first || !content.is_empty()).then_some(Piece {
            stream: self.head[0],
            content,
            is_first,
        }))
    }

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
        while let Some(piece) = self.next(&mut bytes)? {
            let to: &mut dyn Write = if piece.stream >= 2 { err } else { out };
            to.write_all(piece.content)?;
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
