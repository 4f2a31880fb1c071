//! Reading and hashing beside writing: the caller's thread reads the stream (and decompresses behind it), another
//! writes the files. So a layer takes the time of the slower of both.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use types::{Digest, Hasher};

use crate::SnapshotError;

/// Bytes of one buffer: hundreds of small files, and still in the processor's cache when it is written.
const BUFFER: usize = 256 * 1024;
/// So many full buffers wait for the writing side.
const WAITING: usize = 8;

/// Runs `consumer` on the content of `tar` in a thread and gives what it made, with the digest of the whole stream.
pub(super) fn run<T: Send>(
    tar: &mut dyn Read,
    limit: u64,
    consumer: impl FnOnce(&mut Chunks) -> Result<T, SnapshotError> + Send,
) -> Result<(T, Digest), SnapshotError> {
    let (full, incoming) = sync_channel(WAITING);
    let (used, empty) = channel();
    std::thread::scope(|scope| {
        let writing = move || {
            let mut chunks = Chunks {
                incoming,
                used,
                current: Vec::new(),
                position: 0,
            };
            let made = consumer(&mut chunks)?;
            // What follows the archive's end belongs to the digest, but to nothing else.
            chunks.drain();
            Ok(made)
        };
        let writer = std::thread::Builder::new().name("unpack".into());
        let writer = writer
            .spawn_scoped(scope, writing)
            .map_err(SnapshotError::Thread)?;
        let read = read_all(tar, limit, full, &empty);
        match writer.join() {
            // A reader's fault looks like an early end to the writer: it comes first.
            Ok(written) => read.and_then(|digest| written.map(|made| (made, digest))),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Reads to the stream's end, or as long as the other side takes buffers.
fn read_all(
    tar: &mut dyn Read,
    limit: u64,
    full: SyncSender<Vec<u8>>,
    empty: &Receiver<Vec<u8>>,
) -> Result<Digest, SnapshotError> {
    let mut hasher = Hasher::new();
    let mut total = 0u64;
    loop {
        let mut buffer = empty.try_recv().unwrap_or_default();
        buffer.resize(BUFFER, 0);
        let length = fill(tar, &mut buffer).map_err(|source| SnapshotError::Stream { source })?;
        if length == 0 {
            return Ok(hasher.finish());
        }
        total += length as u64;
        if total > limit {
            return Err(SnapshotError::Limit {
                what: "bytes",
                limit,
            });
        }
        hasher.update(&buffer[..length]);
        buffer.truncate(length);
        if full.send(buffer).is_err() {
            // The writer failed and tells why; this digest is of no use.
            return Ok(hasher.finish());
        }
    }
}

fn fill(tar: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match tar.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(filled)
}

/// The writer's end: the stream as a row of buffers.
pub(super) struct Chunks {
    incoming: Receiver<Vec<u8>>,
    used: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
}

impl Chunks {
    fn drain(&mut self) {
        while let Ok(buffer) = self.incoming.recv() {
            // The reader may have ended already.
            let _ = self.used.send(buffer);
        }
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.current.len()
            && let Ok(next) = self.incoming.recv()
        {
            let _ = self.used.send(std::mem::replace(&mut self.current, next));
            self.position = 0;
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, length: usize) {
        self.position += length;
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
