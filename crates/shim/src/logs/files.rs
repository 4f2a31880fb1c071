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

/// How often one looks again because the shim was faster.
const ATTEMPTS: u32 = 100;
/// How often one looks again because the file that was read last was not found.
const DOUBTS: u32 = 2;

/// What a walk over the names found, newest first.
enum Walk {
    /// Everything down to the file that is known.
    Known(Vec<LogFile>),
    /// Everything down to the last name.
    End(Vec<LogFile>),
    /// Files whose order can not be told.
    Overtaken,
}

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
    /// # Errors
    /// As openat(2); and when the shim went through files faster than they could be looked at, again and again.
    pub(super) fn newer_than(&self, known: Option<Identity>) -> io::Result<Vec<LogFile>> {
        self.newer_than_by(known, |age| self.open(age))
    }

    /// [`Folder::newer_than`] with a way to open the file of an age.
    fn newer_than_by(
        &self,
        known: Option<Identity>,
        mut open: impl FnMut(u32) -> io::Result<Option<LogFile>>,
    ) -> io::Result<Vec<LogFile>> {
        let mut ended = 0;
        for _ in 0..ATTEMPTS {
            match self.walk(known, &mut open)? {
                Walk::Overtaken => {}
                // Either it was removed, or a row of names belonged to nobody each time that one was looked at.
                Walk::End(_) if known.is_some() && ended < DOUBTS => ended += 1,
                Walk::Known(mut found) | Walk::End(mut found) => {
                    found.reverse();
                    return Ok(found);
                }
            }
        }
        Err(io::Error::other(
            "the log's files change their names faster than they can be looked at",
        ))
    }

    /// Looks at the names from the newest to the oldest, the way that files move: a file may be seen twice, none that
    /// was there is missed. While files change their names, one name at a time belongs to none.
    ///
    /// But when files that were begun during the walk push each other as far as it has come, it sees a newer file after
    /// older ones. So a file counts as older than the first that was found only if that one has not come so far itself.
    fn walk(
        &self,
        known: Option<Identity>,
        open: &mut impl FnMut(u32) -> io::Result<Option<LogFile>>,
    ) -> io::Result<Walk> {
        let mut found: Vec<LogFile> = Vec::new();
        let mut missing = 0;
        for age in 0..FILES_LIMIT {
            let Some(file) = open(age)? else {
                missing += 1;
                if missing > GAP {
                    break;
                }
                continue;
            };
            missing = 0;
            if Some(file.identity) == known {
                return Ok(Walk::Known(found));
            }
            if found.iter().any(|other| other.identity == file.identity) {
                continue;
            }
            let first = found.first().map(|first| first.identity);
            if first.is_some() && !(0..=age).any(|younger| self.identity_of(younger) == first) {
                return Ok(Walk::Overtaken);
            }
            found.push(file);
        }
        Ok(Walk::End(found))
    }

    /// The newest file's identity, without opening it.
    pub(super) fn newest(&self) -> Option<Identity> {
        self.identity_of(0)
    }

    fn identity_of(&self, age: u32) -> Option<Identity> {
        let stat = rustix::fs::statat(
            self.fd.as_fd(),
            name_of(&self.name, age),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .ok()?;
        Some(Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use super::*;

    /// Begins a new file whose content is its number, as the shim does: one name after the other, the oldest first.
    fn rotate(folder: &Path, number: u64) {
        let path = |age| folder.join(name_of("log", age));
        for age in (1..100).rev() {
            let _ = std::fs::rename(path(age - 1), path(age));
        }
        std::fs::write(path(0), number.to_string()).unwrap();
    }

    fn numbers(files: &[LogFile]) -> Vec<u64> {
        let number = |file: &LogFile| io::read_to_string(&file.file).unwrap().parse().unwrap();
        files.iter().map(number).collect()
    }

    #[test]
    fn the_order_holds_whatever_is_begun_meanwhile() {
        for (when, how_many) in (0..8).flat_map(|when| (1..12).map(move |many| (when, many))) {
            let place = tempfile::tempdir().unwrap();
            (0..8).for_each(|number| rotate(place.path(), number));
            let folder = Folder {
                fd: File::open(place.path()).unwrap().into(),
                name: "log".to_owned(),
            };
            let known = folder.identity_of(5);
            let looks = Cell::new(0);
            let found = folder
                .newer_than_by(known, |age| {
                    if looks.replace(looks.get() + 1) == when {
                        (8..8 + how_many).for_each(|number| rotate(place.path(), number));
                    }
                    folder.open(age)
                })
                .unwrap();
            // The third was known. All that were there are found, and of the later ones none is left out in between.
            let found = numbers(&found);
            assert!(found.len() >= 5, "{when} {how_many}: {found:?}");
            let expected: Vec<u64> = (3..3 + found.len() as u64).collect();
            assert_eq!(found, expected, "{when} {how_many}");
        }
    }

    #[test]
    fn a_file_that_is_gone_hides_none() {
        let place = tempfile::tempdir().unwrap();
        rotate(place.path(), 0);
        let folder = Folder {
            fd: File::open(place.path()).unwrap().into(),
            name: "log".to_owned(),
        };
        let gone = folder.open(0).unwrap().unwrap();
        std::fs::remove_file(place.path().join("log")).unwrap();
        (1..4).for_each(|number| rotate(place.path(), number));
        let found = folder.newer_than(Some(gone.identity)).unwrap();
        assert_eq!(numbers(&found), [1, 2, 3]);
    }
}
