//! The tar format, read and written: ustar, PAX (POSIX.1-2001), GNU and old V7 headers.
//!
//! A reader of our own, because a layer is untrusted and large: every length has a limit, every fault has a position,
//! names are bytes, and content goes from the stream's buffer to the file without a copy.

mod entry;
mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use entry::{Content, Device, Entry, Kind, Time};
pub use reader::Archive;
pub use writer::Writer;

/// Bytes of a header and the unit of content.
pub const BLOCK: usize = 512;
/// Bytes of an archive's end: two blocks of zeros.
pub const END: usize = 2 * BLOCK;
/// The longest extended header or GNU long name that is read: names end at 4,096 bytes, extended attributes at
/// 64 KiB each.
pub const MAX_EXTENDED: u64 = 1024 * 1024;
/// The longest value of an extended attribute, the kernel's XATTR_SIZE_MAX.
pub const MAX_XATTR: usize = 64 * 1024;
/// The most records of extended attributes before one entry; bsdtar writes two for each attribute.
pub const MAX_XATTR_RECORDS: usize = 512;
/// The most pieces that a sparse file may have.
pub const MAX_PIECES: usize = 1 << 17;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream ended early.
    #[error("the archive ends in the middle of {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// The stream failed.
    #[error("cannot read the archive")]
    Read(#[source] std::io::Error),
    /// Not a header: damaged, or no tar archive at all.
    #[error("no tar header at byte {at}: wrong checksum")]
    Checksum {
        /// Position in the stream.
        at: u64,
    },
    /// A numeric field that is no number, or is out of range.
    #[error("tar header at byte {at}: {field} is not a valid number")]
    Number {
        /// Position in the stream.
        at: u64,
        /// Which field.
        field: &'static str,
    },
    /// An entry of a kind that no file system has.
    #[error("tar header at byte {at}: entries of type {kind:?} are not supported")]
    UnknownKind {
        /// Position in the stream.
        at: u64,
        /// The type flag.
        kind: char,
    },
    /// An extended header that cannot be read.
    #[error("extended tar header at byte {at}: {reason}")]
    Extended {
        /// Position in the stream.
        at: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A sparse file whose map contradicts itself.
    #[error("sparse file in the tar header at byte {at}: {reason}")]
    Sparse {
        /// Position in the stream.
        at: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Something is larger than what is read.
    #[error("tar header at byte {at}: {what} of {size} is above the limit of {limit}")]
    TooLarge {
        /// Position in the stream.
        at: u64,
        /// What is too large.
        what: &'static str,
        /// What the archive says.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
}
