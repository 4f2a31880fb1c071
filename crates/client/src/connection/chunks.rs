//! A request's body of unknown length: HTTP/1.1's chunks (RFC 9112, section 7.1).

use std::io::{self, Read, Write};

use super::Stream;

/// A server that refuses early closes the connection while the body is on its way: its answer is
/// then read in place of the broken pipe being told.
pub(super) fn write_chunks(stream: &mut Stream, body: &mut dyn Read) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let number = body.read(&mut buffer)?;
        let sent = stream
            .write_all(format!("{number:x}\r\n").as_bytes())
            .and_then(|()| stream.write_all(&buffer[..number]))
            .and_then(|()| stream.write_all(b"\r\n"));
        match sent {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
        if number == 0 {
            return Ok(());
        }
    }
}

/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;
/// Room for a chunk's length before it: six digits and a line break.
const LENGTH: usize = 8;

/// Writes a body in chunks, each with its frame in one call.
pub(super) struct Chunks<'a> {
    stream: &'a mut Stream,
    buffer: Vec<u8>,
    /// The other side takes no more of it, as [`write_chunks`] says.
    pub(super) refused: bool,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(stream: &'a mut Stream) -> Self {
        let mut buffer = Vec::with_capacity(LENGTH + CHUNK + 2);
        buffer.resize(LENGTH, 0);
        Chunks {
            stream,
            buffer,
            refused: false,
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let length = self.buffer.len() - LENGTH;
        if length == 0 {
            return Ok(());
        }
        self.buffer[..LENGTH].copy_from_slice(format!("{length:06x}\r\n").as_bytes());
        self.buffer.extend_from_slice(b"\r\n");
        let sent = self.stream.write_all(&self.buffer);
        self.buffer.truncate(LENGTH);
        self.refused |= matches!(&sent, Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
        sent
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.send()?;
        self.stream.write_all(b"0\r\n\r\n")
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK - (self.buffer.len() - LENGTH);
        let count = room.min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if count == room {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
