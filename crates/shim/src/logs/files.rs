//! The files of a log, found by name and told apart by inode.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::FILES_LIMIT;

/// Names in a row that belong to no file though older files are there: one whose file is changing its name, and one
/// more if the shim has begun to close the next file meanwhile.
const GAP: u32 = 2;

/// What tells one file from all others, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// A file of the log.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    pub(super) identity: Identity,
}

impl LogFile {
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Holds the file against removal, as far as the shim waits.
    pub(super) fn hold(&self) {
        // A file that cannot be locked is only not waited for.
        let _ = rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockShared);
    }

    /// Lets it go.
    pub(super) fn release(&self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::NonBlockingUnlock);
    }

    /// Whether it was removed.
    pub(super) fn is_gone(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() == 0)
    }
}

/// The name of the file of an age: 0 is the newest.
pub(super) fn name_of(name: &str, age: u32) -> String {
    if age == 0 {
        name.to_owned()
    } else {
        format!("{name}.{age}")
    }
}

/// Where a log's files are.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) fd: OwnedFd,
    pub(super) name: String,
}

impl Folder {
    pub(super) fn open(&self, age: u32) -> io::Result<Option<LogFile>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match rustix::fs::openat(
            self.fd.as_fd(),
            name_of(&self.name, age),
            flags,
            Mode::empty(),
        ) {
            Ok(fd) => {
                let file = File::from(fd);
                let data = file.metadata()?;
                if !data.is_file() {
                    return Err(io::Error::other(
                        "a log's name belongs to something that is no file",
                    ));
                }
                let identity = Identity {
                    device: data.dev(),
                    inode: data.ino(),
                };
                Ok(Some(LogFile { file, identity }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The files that are newer than `known`, oldest first; all that there are if it is not among them.
    ///
    /// Names are looked at from the newest to the oldest, the way that files move: one may be seen twice, none
    /// is missed. While files change their names, one name at a time belongs to none.
    pub(super) fn newer_than(&self, known: Option<Identity>) -> io::Result<Vec<LogFile>> {
        let mut found: Vec<LogFile> = Vec::new();
        let mut missing = 0;
        for age in 0..FILES_LIMIT {
            let Some(file) = self.open(age)? else {
                missing += 1;
                if missing > GAP {
                    break;
                }
                continue;
            };
            missing = 0;
            if Some(file.identity) == known {
                break;
            }
            if found.iter().all(|other| other.identity != file.identity) {
                found.push(file);
            }
        }
        found.reverse();
        Ok(found)
    }

    /// The newest file's identity, without opening it.
    pub(super) fn newest(&self) -> Option<Identity> {
        let stat = rustix::fs::statat(
            self.fd.as_fd(),
            self.name.as_str(),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .ok()?;
        Some(Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}
