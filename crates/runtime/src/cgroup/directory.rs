//! Files of a group, relative to an open folder.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::CgroupError;

/// The largest file that is read; pid lists are longer but read in pieces.
const READ_LIMIT: usize = 64 * 1024;
/// Nested groups are followed this deep; the kernel's own default limit is of the same kind.
const DEPTH_LIMIT: u32 = 64;

/// A group's folder, named relative to an open one.
///
/// Only names are joined: a group has a handful of folders, and a daemon with many containers must not hold a
/// descriptor for each.
#[derive(Clone, Copy)]
pub(super) struct Folder<'a> {
    /// Open folder.
    pub(super) at: BorrowedFd<'a>,
    /// Folder beneath it; empty for itself.
    pub(super) name: &'a str,
    /// Path for messages.
    pub(super) path: &'a Path,
}

impl<'a> Folder<'a> {
    fn relative(&self, file: &str) -> PathBuf {
        Path::new(self.name).join(file)
    }

    /// Path for messages.
    pub(super) fn full(&self, file: &str) -> PathBuf {
        self.path.join(self.name).join(file)
    }

    fn open_flags(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(
            self.at,
            self.relative(file),
            flags | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    /// Opens `file`.
    pub(super) fn open(&self, file: &str, flags: OFlags) -> Result<OwnedFd, CgroupError> {
        self.open_flags(file, flags)
            .map_err(|errno| CgroupError::Open {
                path: self.full(file),
                source: errno.into(),
            })
    }

    /// Opens the folder itself.
    pub(super) fn open_folder(&self) -> Result<OwnedFd, CgroupError> {
        let name = if self.name.is_empty() { "." } else { self.name };
        rustix::fs::openat(
            self.at,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| CgroupError::Open {
            path: self.full(""),
            source: errno.into(),
        })
    }

    /// Writes `value` to `file` in one call.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        self.write_all(file, [value])
    }

    /// As [`Folder::write`], of a file that not every kernel has; `setting` is what is asked for by its usual name.
    pub(super) fn set(
        &self,
        file: &str,
        value: &str,
        setting: &'static str,
    ) -> Result<(), CgroupError> {
        match self.write(file, value) {
            Err(CgroupError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(CgroupError::Unsupported { setting })
            }
            other => other,
        }
    }

    /// Writes each of `values` to `file`, each in one call.
    pub(super) fn write_all<V: AsRef<str>>(
        &self,
        file: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Result<(), CgroupError> {
        let fd = self.open(file, OFlags::WRONLY)?;
        for value in values {
            let value = value.as_ref();
            write_once(fd.as_fd(), value).map_err(|errno| CgroupError::Write {
                path: self.full(file),
                value: value.to_owned(),
                source: errno.into(),
            })?;
        }
        Ok(())
    }

    /// Reads `file` whole.
    pub(super) fn read(&self, file: &str) -> Result<String, CgroupError> {
        let fd = self.open(file, OFlags::RDONLY)?;
        read_from_start(fd.as_fd()).map_err(|source| CgroupError::Read {
            path: self.full(file),
            source,
        })
    }

    /// Reads `file`, which may not exist, or go with its group while it is read.
    pub(super) fn read_if_exists(&self, file: &str) -> Result<Option<String>, CgroupError> {
        match self.read(file) {
            Err(error) if error.is_of_gone() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Whether `file` exists.
    pub(super) fn has(&self, file: &str) -> bool {
        rustix::fs::statat(self.at, self.relative(file), AtFlags::empty()).is_ok()
    }

    /// Makes the folder. Returns whether it was not there.
    pub(super) fn make(&self) -> Result<bool, CgroupError> {
        match rustix::fs::mkdirat(self.at, self.name, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(CgroupError::Make {
                path: self.full(""),
                source: errno.into(),
            }),
        }
    }

    /// The number that `file` contains.
    pub(super) fn read_number(&self, file: &str) -> Result<u64, CgroupError> {
        let text = self.read(file)?;
        text.trim().parse().map_err(|_| self.content(file, &text))
    }

    /// The value of `key` in a file of `KEY VALUE` lines; 0 where the key is missing.
    pub(super) fn read_keyed(&self, file: &str, key: &str) -> Result<u64, CgroupError> {
        let text = self.read(file)?;
        keyed(&text, key).map_or(Ok(0), |value| {
            value.parse().map_err(|_| self.content(file, &text))
        })
    }

    /// The error for a content that is not understood.
    pub(super) fn content(&self, file: &str, text: &str) -> CgroupError {
        CgroupError::Content {
            path: self.full(file),
            content: text.chars().take(80).collect(),
        }
    }

    /// Removes the folder; `Ok` also when it is gone already.
    pub(super) fn unlink(&self) -> Result<(), Errno> {
        match rustix::fs::unlinkat(self.at, self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// The value of `key` in a text of `KEY VALUE` lines.
pub(super) fn keyed<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

fn write_once(fd: BorrowedFd<'_>, value: &str) -> Result<(), Errno> {
    loop {
        match rustix::io::write(fd, value.as_bytes()) {
            // The kernel takes a whole value or none of it.
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Reads an open file from its start, whatever was read before.
pub(super) fn read_from_start(fd: BorrowedFd<'_>) -> io::Result<String> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = match rustix::io::pread(fd, &mut piece, text.len() as u64) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        if read == 0 || text.len() >= READ_LIMIT {
            break;
        }
        text.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Calls `visit` with every group beneath the open folder `at`, deepest first, then stops at the first error.
/// Groups that vanish meanwhile are passed over.
pub(super) fn visit_nested(
    at: BorrowedFd<'_>,
    visit: &mut dyn FnMut(BorrowedFd<'_>, &OsStr) -> io::Result<()>,
) -> io::Result<()> {
    nested(at, DEPTH_LIMIT, visit)
}

fn nested(
    at: BorrowedFd<'_>,
    depth: u32,
    visit: &mut dyn FnMut(BorrowedFd<'_>, &OsStr) -> io::Result<()>,
) -> io::Result<()> {
    if depth == 0 {
        return Err(Errno::LOOP.into());
    }
    for entry in Dir::read_from(at)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() != rustix::fs::FileType::Directory || name == b"." || name == b".." {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let child = match rustix::fs::openat(at, entry.file_name(), flags, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            other => other?,
        };
        nested(child.as_fd(), depth - 1, visit)?;
        visit(at, OsStr::from_bytes(name))?;
    }
    Ok(())
}
