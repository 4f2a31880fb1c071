//! Log files in the format of docker's json-file driver: one JSON object a line, files by age.

mod json;
mod writer;

pub(crate) use writer::{JsonFile, Stream};

/// The size at which a file is closed when nothing else was asked for, in bytes.
pub const DEFAULT_MAX_SIZE: u64 = 10 << 20;
/// How many files are kept when nothing else was asked for.
pub const DEFAULT_MAX_FILES: u32 = 3;
/// The longest piece of a line in one object, in bytes; a longer line is several objects, of which only the
/// last ends with a line feed.
pub const PIECE: usize = 16 << 10;
