//! How much disk a tree takes.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{self, AtFlags, FileType};
use rustix::io::Errno;
use sys::beneath::tree::{self, Descend, Entry, Order, Visitor};

use crate::SnapshotError;

/// Bytes of one block in `st_blocks`, whatever the file system's own block is.
const STAT_BLOCK: u64 = 512;

/// Disk that a tree takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Allocated bytes, as `du` counts: holes are free, hard links count once, the top folder counts.
    pub bytes: u64,
    /// Inodes, the top folder's included.
    pub inodes: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

/// Counts what `dir` and all below it take. Other mounts are left out; what vanishes meanwhile is not counted.
pub fn usage_dir(dir: BorrowedFd<'_>) -> Result<Usage, SnapshotError> {
    let fault = |source: io::Error| SnapshotError::tree("count", b"", source);
    let top = fs::fstat(dir).map_err(|errno| fault(errno.into()))?;
    let mut count = Count {
        usage: Usage {
            bytes: blocks(&top),
            inodes: 1,
        },
        linked: HashSet::new(),
    };
    tree::walk(dir, Order::Any, &mut count).map_err(fault)?;
    Ok(count.usage)
}

struct Count {
    usage: Usage,
    /// Inodes with several names that were counted.
    linked: HashSet<(u64, u64)>,
}

impl Visitor for Count {
    fn entry(&mut self, dir: BorrowedFd<'_>, entry: &Entry) -> io::Result<Descend> {
        let stat = match fs::statat(dir, &*entry.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Descend::No),
            Err(errno) => return Err(errno.into()),
        };
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_folder || stat.st_nlink < 2 || self.linked.insert((stat.st_dev, stat.st_ino)) {
            self.usage += Usage {
                bytes: blocks(&stat),
                inodes: 1,
            };
        }
        Ok(Descend::Yes)
    }
}

fn blocks(stat: &fs::Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * STAT_BLOCK
}
