//! File operations that the kernel resolves beneath a root descriptor.
//!
//! A container's files are written by strangers: any component of a path may be a symbolic link, may point
//! anywhere, and may change between two looks. So no path inside a container's root is ever joined with a host
//! path. Instead `openat2(2)` walks it within the root's descriptor, and what follows happens by descriptor.
//! A magic link (`/proc/N/fd/…`, `/proc/N/root`) is never followed.
//!
//! [`Root`] holds the descriptor and the [`Rule`]; deep trees are walked by [`tree`] with few descriptors.

pub mod copy;
mod trail;
pub mod tree;
mod usage;
mod xattr;

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timestamps, Uid};
use rustix::io::Errno;

pub use trail::{OPEN_LEVELS, Trail};
pub use usage::{Usage, usage};
pub use xattr::{MAX_XATTR_LIST, MAX_XATTR_VALUE, Xattrs};

/// How many symbolic links that point to nothing yet `mkdir_all` completes before it gives up, as the kernel's own
/// limit on links in a path.
const MAX_DANGLING: u32 = 40;
/// `openat2` answers EAGAIN when a rename raced with a `..`; so often we try again before the caller hears of it.
const MAX_RACES: u32 = 64;

/// What happens to a path that points out of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// As in chroot(2): `/` and `..` stop at the root, links are read within it. For paths in containers.
    InRoot,
    /// Anything that would leave the root is refused with EXDEV. For paths that the engine made itself.
    Beneath,
    /// As `Beneath`, and no symbolic link at all is followed (ELOOP).
    NoLinks,
}

/// A folder beneath which paths are resolved.
#[derive(Debug, Clone, Copy)]
pub struct Root<'fd> {
    dir: BorrowedFd<'fd>,
    rule: Rule,
}

impl<'fd> Root<'fd> {
    /// Resolves paths as if `dir` were `/`. `dir` may be opened with O_PATH, or be a detached mount.
    pub fn new(dir: BorrowedFd<'fd>) -> Self {
        Self {
            dir,
            rule: Rule::InRoot,
        }
    }

    /// Resolves paths below `dir` by `rule`.
    pub fn with_rule(dir: BorrowedFd<'fd>, rule: Rule) -> Self {
        Self { dir, rule }
    }

    /// The root's descriptor.
    pub fn dir(&self) -> BorrowedFd<'fd> {
        self.dir
    }

    /// Opens `path`. O_CLOEXEC is always set. An empty path, `.` and `/` are the root itself.
    ///
    /// # Errors
    /// What openat2(2) gave: EXDEV or ELOOP where the rule forbids the path.
    pub fn open(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = path.as_ref().as_os_str().as_bytes();
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::NO_MAGICLINKS
            | match self.rule {
                Rule::InRoot => ResolveFlags::IN_ROOT,
                Rule::Beneath => ResolveFlags::BENEATH,
                Rule::NoLinks => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            };
        // openat2 refuses a mode without O_CREAT.
        let mode = if flags.intersects(OFlags::CREATE | OFlags::TMPFILE) {
            mode
        } else {
            Mode::empty()
        };
        let mut races = 0;
        loop {
            match fs::openat2(self.dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN) if races < MAX_RACES => races += 1,
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Opens a folder for reading and as the start of other calls.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Opens whatever `path` is with O_PATH, following a final link: nothing is read, no device is touched.
    pub fn open_path(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH, Mode::empty())
    }

    /// As [`Root::open_path`], but a final symbolic link is opened itself.
    pub fn open_entry(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Opens the folder that holds `path` and gives the last name beside it, for calls that act on an entry.
    ///
    /// # Errors
    /// EINVAL when the path has no last name (`/`, or it ends in `..`).
    pub fn parent(&self, path: impl AsRef<Path>) -> io::Result<(OwnedFd, OsString)> {
        let path = path.as_ref();
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        let dir = self.open(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok((dir, name.to_owned()))
    }

    /// Opens a regular file for reading; anything else is refused without touching it, so that a fifo or a device in
    /// an image cannot hold the caller up.
    ///
    /// # Errors
    /// EINVAL when it is not a regular file.
    pub fn open_regular(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let entry = self.open_path(path)?;
        if FileType::from_raw_mode(fs::fstat(&entry)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        // The same inode, whatever the path has become meanwhile.
        let again = fs::open(
            fd_path(&entry),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(File::from(again))
    }

    /// Reads a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// `FileTooLarge` above the limit.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_regular(path)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("longer than {limit} bytes"),
            ));
        }
        Ok(bytes)
    }

    /// As [`Root::read`], for text.
    ///
    /// # Errors
    /// `InvalidData` when it is not UTF-8.
    pub fn read_to_string(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
        String::from_utf8(self.read(path, limit)?)
            .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))
    }

    /// Makes a new regular file for writing; `mode` is exact, whatever the umask.
    ///
    /// # Errors
    /// EEXIST when anything has that name, a dangling link included.
    pub fn create_new(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = self.open(path, flags, Mode::RUSR | Mode::WUSR)?;
        fs::fchmod(&fd, mode)?;
        Ok(File::from(fd))
    }

    /// Gives `path` the content and mode, in place of whatever file or link had the name: a link is replaced, not
    /// followed, and a reader sees the old or the new content whole.
    pub fn replace(&self, path: impl AsRef<Path>, bytes: &[u8], mode: Mode) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        let mut temporary = OsString::from(".");
        temporary.push(&name);
        temporary.push(format!(".{}", std::process::id()));
        let beside = Root {
            dir: std::os::fd::AsFd::as_fd(&dir),
            rule: Rule::NoLinks,
        };
        ignore_missing(beside.unlink(&temporary))?;
        let written = beside
            .create_new(&temporary, mode)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| Ok(fs::renameat(&dir, &temporary, &dir, &name)?));
        if written.is_err() {
            ignore_missing(beside.unlink(&temporary))?;
        }
        written
    }

    /// Makes one folder; `mode` is exact, whatever the umask.
    pub fn mkdir(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        fs::mkdirat(&dir, &name, Mode::RWXU)?;
        // A link put in the folder's place meanwhile is not followed.
        let made = fs::openat(
            &dir,
            &name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(fs::fchmod(&made, mode)?)
    }

    /// Makes the folder and those above it that are missing (`mode` for each that is made) and opens it with O_PATH.
    /// A symbolic link that points to nothing gets its target made, within the root.
    ///
    /// # Errors
    /// ENOTDIR when something on the way is no folder, ELOOP after 40 such links.
    pub fn mkdir_all(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<OwnedFd> {
        self.mkdir_all_within(path.as_ref(), mode, 0)
    }

    fn mkdir_all_within(&self, path: &Path, mode: Mode, links: u32) -> io::Result<OwnedFd> {
        let folder = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(path, folder, Mode::empty()) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut reached = PathBuf::new();
        for component in path.components() {
            let Component::Normal(name) = component else {
                if component == Component::ParentDir {
                    reached.push("..");
                }
                continue;
            };
            let above = self.open(&reached, folder, Mode::empty())?;
            let made = match fs::mkdirat(&above, name, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(errno.into()),
            };
            let before = reached.clone();
            reached.push(name);
            if made {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                fs::fchmod(fs::openat(&above, name, flags, Mode::empty())?, mode)?;
                continue;
            }
            match self.open(&reached, folder, Mode::empty()) {
                Ok(_) => {}
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
                    if links >= MAX_DANGLING {
                        return Err(Errno::LOOP.into());
                    }
                    let target = fs::readlinkat(&above, name, Vec::new())?;
                    let target = before.join(OsStr::from_bytes(target.as_bytes()));
                    self.mkdir_all_within(&target, mode, links + 1)?;
                }
                Err(fault) => return Err(fault),
            }
        }
        self.open(path, folder, Mode::empty())
    }

    /// Makes a symbolic link at `path` that holds `target` as it is given.
    pub fn symlink(&self, target: impl AsRef<OsStr>, path: impl AsRef<Path>) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(fs::symlinkat(target.as_ref(), &dir, &name)?)
    }

    /// Makes `path` another name of `existing`, both within the root; a link is linked itself, not followed.
    pub fn hardlink(&self, existing: impl AsRef<Path>, path: impl AsRef<Path>) -> io::Result<()> {
        let (from, old) = self.parent(existing)?;
        let (to, new) = self.parent(path)?;
        Ok(fs::linkat(&from, &old, &to, &new, AtFlags::empty())?)
    }

    /// Makes a device, fifo, socket or empty file; `mode` is exact, whatever the umask.
    pub fn mknod(
        &self,
        path: impl AsRef<Path>,
        kind: FileType,
        mode: Mode,
        device: u64,
    ) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        fs::mknodat(&dir, &name, kind, mode, device)?;
        // fchmodat has no way not to follow on older kernels: through the entry's own descriptor.
        let made = fs::openat(
            &dir,
            &name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(fs::chmod(fd_path(&made), mode)?)
    }

    /// Removes a file, link or device.
    pub fn unlink(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(fs::unlinkat(&dir, &name, AtFlags::empty())?)
    }

    /// Removes an empty folder.
    pub fn rmdir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(fs::unlinkat(&dir, &name, AtFlags::REMOVEDIR)?)
    }

    /// Removes `path` and all below it; that it is missing is no error. See [`tree::remove`].
    pub fn remove_tree(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (dir, name) = match self.parent(path) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        tree::remove(std::os::fd::AsFd::as_fd(&dir), &name)
    }

    /// The state of what `path` leads to.
    pub fn stat(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        Ok(fs::fstat(self.open_path(path)?)?)
    }

    /// The state of the entry itself, which may be a symbolic link.
    pub fn lstat(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        Ok(fs::fstat(self.open_entry(path)?)?)
    }

    /// What the symbolic link at `path` holds.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<OsString> {
        let entry = self.open_entry(path)?;
        match fs::readlinkat(&entry, "", Vec::new()) {
            Ok(target) => Ok(OsString::from_vec(target.into_bytes())),
            // The entry is there: so the kernel says of an empty path that what it names is no link.
            Err(Errno::NOENT) => Err(Errno::INVAL.into()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Changes the owner of the entry itself (a link is not followed).
    pub fn chown(&self, path: impl AsRef<Path>, uid: u32, gid: u32) -> io::Result<()> {
        chown_entry(&self.open_entry(path)?, uid, gid)
    }

    /// Changes the mode of the entry.
    ///
    /// # Errors
    /// EOPNOTSUPP for a symbolic link, which has none.
    pub fn chmod(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<()> {
        let entry = self.open_entry(path)?;
        if FileType::from_raw_mode(fs::fstat(&entry)?.st_mode) == FileType::Symlink {
            return Err(Errno::OPNOTSUPP.into());
        }
        Ok(fs::chmod(fd_path(&entry), mode)?)
    }

    /// Sets the times of the entry itself (a link is not followed).
    pub fn set_times(&self, path: impl AsRef<Path>, times: &Timestamps) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(fs::utimensat(
            &dir,
            &name,
            times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }
}

/// Changes the owner of an entry opened with O_PATH.
pub fn chown_entry(entry: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(fs::chownat(
        entry,
        "",
        Some(uid),
        Some(gid),
        AtFlags::EMPTY_PATH,
    )?)
}

/// The path by which system calls that take no descriptor reach an open entry.
pub fn fd_path(fd: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// As [`fd_path`], for an entry of an open folder; the entry itself may be a symbolic link.
fn entry_path(dir: BorrowedFd<'_>, name: &CStr) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    path
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
