//! The files of a log, found by name and told apart by inode.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::FILES_LIMIT;

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
    /// is missed.
    pub(super) fn newer_than(&self, known: Option<Identity>) -> io::Result<Vec<LogFile>> {
        let mut found: Vec<LogFile> = Vec::new();
        for age in 0..FILES_LIMIT {
            match self.open(age)? {
                Some(file) if Some(file.identity) == known => break,
                Some(file) if found.iter().any(|other| other.identity == file.identity) => {}
                Some(file) => found.push(file),
                // The newest is missing for a moment while files change their names.
                None if age > 0 => break,
                None => {}
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
