//! Log files in the format of docker's json-file driver: one JSON object a line, files by age.
//!
//! The shim writes `NAME`, and keeps `NAME.1`, `NAME.2`, … as older ones. A [`Reader`] gives their lines in
//! order, however often files change their names meanwhile: it opens files as they are begun, holds a shared lock
//! (flock(2)) on the newest that it knows, and the shim waits a little before it removes a file that is held.

mod files;
mod json;
mod line;
mod place;
mod reader;
mod remote;
mod watch;
mod writer;

#[cfg(any(test, fuzzing))]
pub(crate) use json::escape;
pub use line::Line;
pub use reader::{Next, Options, Reader};
pub(crate) use remote::{Remote, Way};
pub use watch::{Changes, WatchId, Watcher};
pub(crate) use writer::JsonFile;

/// The size at which a file is closed when nothing else was asked for, in bytes.
pub const DEFAULT_MAX_SIZE: u64 = 10 << 20;
/// How many files are kept when nothing else was asked for.
pub const DEFAULT_MAX_FILES: u32 = 3;
/// The longest piece of a line in one object, in bytes; a longer line is several objects, of which only the
/// last ends with a line feed.
pub const PIECE: usize = 16 << 10;

/// The longest object that is read, in bytes; a longer one is skipped. What the shim writes is shorter unless
/// it was told to add attributes of that length.
const LINE_LIMIT: usize = 1 << 20;
/// How much is read at a time, in bytes.
const CHUNK: usize = 64 << 10;
/// The most files that a log may have: all are open while it is read.
pub const FILES_LIMIT: u32 = 10_000;

/// Which output a byte came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    pub(crate) fn index(self) -> usize {
        match self {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        }
    }

    fn name(self) -> &'static [u8] {
        match self {
            Stream::Stdout => b"stdout",
            Stream::Stderr => b"stderr",
        }
    }
}
