//! The way from the top of a tree down to a folder, with few descriptors.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// So many levels of a tree are open at a time.
pub const OPEN_LEVELS: usize = 32;

/// The folders from a top down to a current one, of any number, of which the deepest are open. A level above is found
/// again through `..`, which must be the same inode as before.
///
/// A trail may also go where no folder is, so that one tree can be followed beside another: then there is no current
/// folder until the trail has come back up.
#[derive(Debug)]
pub struct Trail {
    top: OwnedFd,
    below: Vec<Level>,
    /// Levels beneath the deepest folder that are not there.
    absent: usize,
    /// Whether it goes into folders on which something is mounted.
    across: bool,
}

#[derive(Debug)]
struct Level {
    /// Closed while the trail is far below.
    fd: Option<OwnedFd>,
    inode: (u64, u64),
}

impl Trail {
    /// Begins at `top`, which may be an O_PATH descriptor.
    pub fn new(top: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            top: reopen(top)?,
            below: Vec::new(),
            absent: 0,
            across: false,
        })
    }

    /// As [`Trail::new`], but other mounts on the way are gone into, too.
    pub fn across(top: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            across: true,
            ..Self::new(top)?
        })
    }

    /// The folder that the trail has come to, if there is one. Its position as a list of entries is shared by all who
    /// read it through this trail.
    pub fn current(&self) -> Option<BorrowedFd<'_>> {
        match self.below.last() {
            _ if self.absent > 0 => None,
            None => Some(self.top.as_fd()),
            Some(level) => level.fd.as_ref().map(AsFd::as_fd),
        }
    }

    /// Goes into a sub-folder that is no link and, unless the trail goes across, no mount.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ELOOP or EXDEV when there is none; the trail stays where it was.
    pub fn descend(&mut self, name: &CStr) -> Result<(), Errno> {
        let fd = open_entered(self.current().ok_or(Errno::NOENT)?, name, self.across)?;
        let stat = fs::fstat(&fd)?;
        self.below.push(Level {
            fd: Some(fd),
            inode: (stat.st_dev, stat.st_ino),
        });
        if let Some(far) = self.below.len().checked_sub(OPEN_LEVELS + 1) {
            self.below[far].fd = None;
        }
        Ok(())
    }

    /// As [`Trail::descend`], but goes on where there is no such folder.
    pub fn follow(&mut self, name: &CStr) -> Result<(), Errno> {
        match self.descend(name) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                self.absent += 1;
                Ok(())
            }
            other => other,
        }
    }

    /// Goes back up one level. At the top it stays.
    ///
    /// # Errors
    /// ESTALE when the folder has been moved elsewhere meanwhile.
    pub fn ascend(&mut self) -> io::Result<()> {
        if self.absent > 0 {
            self.absent -= 1;
            return Ok(());
        }
        let Some(left) = self.below.pop() else {
            return Ok(());
        };
        let Some(above) = self.below.last_mut() else {
            return Ok(());
        };
        if above.fd.is_none() {
            let below = left.fd.ok_or(Errno::BADF)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = fs::openat(&below, c"..", flags, Mode::empty())?;
            let stat = fs::fstat(&fd)?;
            if (stat.st_dev, stat.st_ino) != above.inode {
                return Err(Errno::STALE.into());
            }
            above.fd = Some(fd);
        }
        Ok(())
    }
}

/// The same folder for reading, with a position of its own; `dir` may be an O_PATH descriptor.
pub(super) fn reopen(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    fs::openat(
        dir,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Opens a sub-folder that is no link and no mount.
pub(super) fn open_folder(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    open_entered(dir, name, false)
}

fn open_entered(dir: BorrowedFd<'_>, name: &CStr, across: bool) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOATIME;
    let within = match across {
        true => ResolveFlags::empty(),
        false => ResolveFlags::NO_XDEV,
    };
    let resolve = within | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        // Only a file's owner may leave its access time alone.
        Err(Errno::PERM) => fs::openat2(dir, name, flags - OFlags::NOATIME, Mode::empty(), resolve),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_trail_goes_on_where_nothing_is_and_comes_back() {
        let top = std::env::temp_dir().join(format!("wharf-trail-{}", std::process::id()));
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/file"), "").unwrap();
        let fd = fs::open(&top, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let mut trail = Trail::new(fd.as_fd()).unwrap();
        trail.descend(c"a").unwrap();
        trail.follow(c"file").unwrap();
        trail.follow(c"deeper").unwrap();
        assert!(trail.current().is_none());
        trail.ascend().unwrap();
        trail.ascend().unwrap();
        assert_eq!(trail.descend(c"missing"), Err(Errno::NOENT));
        trail.follow(c"b").unwrap();
        let inside = fs::fstat(trail.current().unwrap()).unwrap();
        let b = fs::stat(top.join("a/b")).unwrap();
        assert_eq!(inside.st_ino, b.st_ino);
        std::fs::remove_dir_all(top).unwrap();
    }
}
