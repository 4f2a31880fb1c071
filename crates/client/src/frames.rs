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
        let mut woven = Woven::new(out, err);
        let whole = loop {
            match self.next(&mut bytes) {
                Ok(Some(piece)) => woven.push(piece.stream >= 2, piece.content)?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        woven.finish()?;
        whole
    }
}

/// Two streams, written in the order in which they came: what follows in the same stream goes out with what is before it, so
/// that a million lines are not as many calls.
pub(crate) struct Woven<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Not written yet; no longer than what was pushed.
    text: Vec<u8>,
    /// The stream that it belongs to.
    is_error: bool,
}

impl<'a> Woven<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Woven {
            out,
            err,
            text: Vec::new(),
            is_error: false,
        }
    }

    /// Adds to one of the streams.
    ///
    /// # Errors
    /// What writing the other one gave.
    pub(crate) fn push(&mut self, is_error: bool, content: &[u8]) -> io::Result<()> {
        if self.is_error != is_error {
            self.write()?;
            self.is_error = is_error;
        }
        self.text.extend_from_slice(content);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let to: &mut dyn Write = if self.is_error { self.err } else { self.out };
        to.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// What writing gave.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.write()?;
        self.out.flush()?;
        self.err.flush()
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

    /// Keeps what is written, each call by itself, beside the name of the stream.
    struct Calls<'a>(char, &'a std::cell::RefCell<Vec<(char, Vec<u8>)>>);

    impl Write for Calls<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.borrow_mut().push((self.0, bytes.to_vec()));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn neighbours_are_written_at_once_and_in_order() {
        let frame = |stream: u8, text: &str| {
            let mut frame = vec![stream, 0, 0, 0, 0, 0, 0, text.len() as u8];
            frame.extend_from_slice(text.as_bytes());
            frame
        };
        let mut whole: Vec<u8> = (0..1000).flat_map(|_| frame(1, "a\n")).collect();
        whole.extend([frame(2, "b\n"), frame(2, "c\n"), frame(1, "d\n")].concat());
        // What comes before bytes that are no frame is not lost.
        whole.extend(b"HTTP/1.1");
        let calls = std::cell::RefCell::default();
        let (mut out, mut err) = (Calls('o', &calls), Calls('e', &calls));
        let written = Frames::default().write(&whole, &mut out, &mut err);
        assert!(written.is_err());
        let expected = [
            ('o', "a\n".repeat(1000).into_bytes()),
            ('e', b"b\nc\n".to_vec()),
            ('o', b"d\n".to_vec()),
        ];
        assert_eq!(calls.into_inner(), expected);
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
