//! How much disk a tree takes.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use super::tree::{Descend, Entry, Order, Visitor, walk};
use rustix::fs::{self, AtFlags, FileType};
use rustix::io::Errno;

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
pub fn usage(dir: BorrowedFd<'_>) -> io::Result<Usage> {
    let top = fs::fstat(dir)?;
    let mut count = Count {
        usage: Usage {
            bytes: blocks(&top),
            inodes: 1,
        },
        linked: HashSet::new(),
    };
    walk(dir, Order::Any, &mut count)?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use std::os::fd::AsFd;

    #[test]
    fn usage_is_what_du_says() {
        let top = std::env::temp_dir().join(format!("wharf-usage-{}", std::process::id()));
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(top.join("a/file"), top.join("a/b/twin")).unwrap();
        std::fs::File::create(top.join("hole"))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        std::os::unix::fs::symlink("x".repeat(200), top.join("link")).unwrap();
        let dir = fs::open(&top, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let counted = usage(dir.as_fd()).unwrap();
        let du = std::process::Command::new("du")
            .arg("-s")
            .arg("-B1")
            .arg(&top)
            .output()
            .unwrap();
        let du = String::from_utf8(du.stdout).unwrap();
        assert_eq!(
            counted.bytes.to_string(),
            du.split_whitespace().next().unwrap()
        );
        assert_eq!(counted.inodes, 6);
        std::fs::remove_dir_all(top).unwrap();
    }
}
