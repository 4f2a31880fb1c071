//! One member of an archive, with all extensions applied.

use super::TarError;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of an entry that came before.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A folder.
    Directory,
    /// A fifo.
    Fifo,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds after that second, below 10^9.
    pub nanoseconds: u32,
}

/// Numbers of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// How a file's bytes lie in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// One after the other.
    Plain,
    /// Only the pieces (offset and length in the file, ascending) are there; all else is a hole.
    Pieces(Vec<(u64, u64)>),
}

/// One member of an archive. Names are bytes as they are in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where its header began in the stream.
    pub at: u64,
    /// What it is.
    pub kind: Kind,
    /// Its path, unchecked.
    pub path: Vec<u8>,
    /// Target of a link, unchecked.
    pub link: Vec<u8>,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Size of the file on disk, holes included.
    pub size: u64,
    /// How its bytes follow.
    pub content: Content,
    /// Of a device.
    pub device: Device,
    /// Extended attributes in the order of the archive.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Kind {
    /// The kind behind a type flag. Flags of extensions are not kinds.
    pub(super) fn of_flag(flag: u8, path: &[u8], at: u64) -> Result<Self, TarError> {
        Ok(match flag {
            // V7 had no folders of their own: a name that ends in a slash is one.
            0 | b'0' | b'7' | b'S' if path.ends_with(b"/") => Self::Directory,
            0 | b'0' | b'7' | b'S' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            _ => {
                return Err(TarError::UnknownKind {
                    at,
                    kind: char::from(flag),
                });
            }
        })
    }
}
