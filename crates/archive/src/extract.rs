//! Makes files of an archive in a tree that may be in use.

use std::ffi::{CString, OsStr};
use std::io::{self, BufRead};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use sys::beneath::{Root, Rule, Xattrs, chown_entry, tree};

use crate::tar::{Archive, Content, Entry, Kind, TarError, Time};

/// Names of folders whose times are set at the end, all together.
const MAX_FOLDERS: usize = 256 << 20;
/// The kernel's limits on device numbers (12 and 20 bits).
const MAX_MAJOR: u32 = 0xfff;
const MAX_MINOR: u32 = 0xf_ffff;
/// Folders that an archive does not tell of.
const MISSING: Mode = Mode::from_raw_mode(0o755);
/// Overlayfs's own: they would say what other files mean.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// Where an archive goes.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The folder itself.
    pub folder: BorrowedFd<'a>,
    /// What counts as the root for links that lead out of the folder, and the folder's path there. Without one such links
    /// are not followed.
    pub root: Option<(BorrowedFd<'a>, &'a Path)>,
    /// The folder as messages name it.
    pub shown: &'a Path,
}

/// Whose the files will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// As the archive says.
    Archived,
    /// The caller's.
    Caller,
    /// All of this user and group.
    One(u32, u32),
}

/// How an archive is extracted.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Whose the files will be.
    pub owner: Owner,
    /// Refuses to replace a folder by something else, and the other way round.
    pub keeps_kind: bool,
    /// Names that begin with the first get the second in its place.
    pub rename: Option<(&'a [u8], &'a [u8])>,
}

/// Why an archive was not extracted to its end. The sentences are those of Docker's daemon.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The archive ends too early.
    #[error("unexpected EOF")]
    Cut,
    /// No tar archive, or one that is damaged.
    #[error("archive/tar: invalid tar header: {0}")]
    Archive(#[source] TarError),
    /// The archive can not be read further.
    #[error("{}", crate::words(.0))]
    Read(#[source] io::Error),
    /// A name that leads out of the folder.
    #[error("{:?} is outside of {:?}", entry, folder)]
    Escapes {
        /// The name.
        entry: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// A folder stands where something else is to be.
    #[error(
        "cannot overwrite directory {:?} with non-directory {:?}",
        path,
        folder
    )]
    OverFolder {
        /// Where.
        path: PathBuf,
        /// The folder into which the archive goes.
        folder: PathBuf,
    },
    /// Something else stands where a folder is to be.
    #[error(
        "cannot overwrite non-directory {:?} with directory {:?}",
        path,
        folder
    )]
    OverOther {
        /// Where.
        path: PathBuf,
        /// The folder into which the archive goes.
        folder: PathBuf,
    },
    /// A file could not be made.
    #[error("{action} {}: {}", path.display(), crate::words(source))]
    File {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// More folders than are remembered.
    #[error("the names of the archive's folders are longer than {MAX_FOLDERS} bytes together")]
    TooMany,
}

impl From<TarError> for ExtractError {
    fn from(fault: TarError) -> Self {
        match fault {
            TarError::Truncated { .. } => Self::Cut,
            TarError::Read(source) if source.kind() == io::ErrorKind::UnexpectedEof => Self::Cut,
            TarError::Read(source) => Self::Read(source),
            other => Self::Archive(other),
        }
    }
}

/// Makes the files of an archive. What is there already by the same name is replaced; a folder stays, with all in it, and
/// gets owner, mode and time of the archive's. The top folder stays as it is.
///
/// # Errors
/// The first fault; what was made by then stays.
pub fn extract(
    place: &Place<'_>,
    archive: impl BufRead,
    options: &Options<'_>,
) -> Result<(), ExtractError> {
    let mut extract = Extract {
        place: *place,
        options: options.clone(),
        above: None,
        folders: Vec::new(),
        names: 0,
    };
    let mut archive = Archive::new(archive);
    while let Some(entry) = archive.next_entry()? {
        extract.entry(entry, &mut archive)?;
    }
    extract.finish()
}

struct Extract<'a> {
    place: Place<'a>,
    options: Options<'a>,
    /// The folder of the last entry.
    above: Option<(Vec<u8>, OwnedFd)>,
    /// Folders whose times are set at the end.
    folders: Vec<(Vec<u8>, Time)>,
    names: usize,
}

/// A step that failed.
struct Fault(&'static str, io::Error);

fn at<E: Into<io::Error>>(action: &'static str) -> impl Fn(E) -> Fault {
    move |source| Fault(action, source.into())
}

impl Extract<'_> {
    fn entry(
        &mut self,
        mut entry: Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), ExtractError> {
        if let Some((from, to)) = self.options.rename {
            replace(&mut entry.path, from, to);
            if entry.kind == Kind::HardLink {
                replace(&mut entry.link, from, to);
            }
        }
        let path = self.clean(&entry.path)?;
        if path.is_empty() {
            // The folder itself, which is there.
            return Ok(());
        }
        let (above, name) = split(&path);
        let shown = || self.place.shown.join(OsStr::from_bytes(&path));
        let file = |Fault(action, source): Fault| ExtractError::File {
            action,
            path: shown(),
            source,
        };
        let name = CString::new(name).map_err(at("open")).map_err(file)?;
        let dir = match self.above.take() {
            Some((known, dir)) if known == above => dir,
            _ => self.open(above).map_err(at("mkdir")).map_err(file)?,
        };
        let target = Target {
            dir: dir.as_fd(),
            name: &name,
            entry: &entry,
            owner: match self.options.owner {
                Owner::Archived => Some((entry.uid, entry.gid)),
                Owner::Caller => None,
                Owner::One(uid, gid) => Some((uid, gid)),
            },
        };
        if let Some(is_folder) = target.occupied().map_err(file)? {
            let folder = self.place.shown.to_owned();
            match (is_folder, entry.kind == Kind::Directory) {
                (true, false) if self.options.keeps_kind => {
                    return Err(ExtractError::OverFolder {
                        path: shown(),
                        folder,
                    });
                }
                (false, true) if self.options.keeps_kind => {
                    return Err(ExtractError::OverOther {
                        path: shown(),
                        folder,
                    });
                }
                (true, true) => {}
                _ => {
                    let name = OsStr::from_bytes(name.to_bytes());
                    let removed = tree::remove(dir.as_fd(), name);
                    removed.map_err(at("unlinkat")).map_err(file)?;
                }
            }
        }
        match entry.kind {
            Kind::File => target.file(archive).map_err(|fault| match fault {
                Broken::Archive(fault) => fault.into(),
                Broken::File(fault) => file(fault),
            })?,
            Kind::Directory => target.folder().map_err(file)?,
            Kind::HardLink => {
                let link = self.clean(&entry.link)?;
                self.hard_link(&target, &link).map_err(file)?;
            }
            _ => target.other().map_err(file)?,
        }
        self.above = Some((above.to_vec(), dir));
        if entry.kind == Kind::Directory {
            self.names += path.len();
            if self.names > MAX_FOLDERS {
                return Err(ExtractError::TooMany);
            }
            self.folders.push((path, entry.mtime));
        }
        Ok(())
    }

    /// The components of a name, without those that mean nothing.
    fn clean(&self, name: &[u8]) -> Result<Vec<u8>, ExtractError> {
        let mut clean = Vec::with_capacity(name.len());
        for component in name.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." if clean.is_empty() => {
                    return Err(ExtractError::Escapes {
                        entry: OsStr::from_bytes(name).into(),
                        folder: self.place.shown.to_owned(),
                    });
                }
                b".." => {
                    let end = clean.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                    clean.truncate(end);
                }
                component => {
                    if !clean.is_empty() {
                        clean.push(b'/');
                    }
                    clean.extend_from_slice(component);
                }
            }
        }
        Ok(clean)
    }

    /// Opens a folder beneath the place, and makes it where it is missing.
    fn open(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let path = Path::new(OsStr::from_bytes(path));
        let beneath = Root::with_rule(self.place.folder, Rule::Beneath);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fault = match beneath.open(path, flags, Mode::empty()) {
            Err(fault) => fault,
            opened => return opened,
        };
        match (Errno::from_io_error(&fault), self.place.root) {
            (Some(Errno::NOENT), None) => beneath.mkdir_all(path, MISSING),
            (Some(Errno::NOENT | Errno::XDEV), Some((root, at))) => {
                Root::new(root).mkdir_all(at.join(path), MISSING)
            }
            _ => Err(fault),
        }
    }

    fn hard_link(&self, target: &Target<'_>, link: &[u8]) -> Result<(), Fault> {
        let (above, name) = split(link);
        let from = self.open(above).map_err(at("link"))?;
        let name = OsStr::from_bytes(name);
        fs::linkat(&from, name, target.dir, target.name, AtFlags::empty()).map_err(at("link"))
    }

    /// Sets the times of folders: nothing more is made in them.
    fn finish(mut self) -> Result<(), ExtractError> {
        self.above = None;
        let folders = std::mem::take(&mut self.folders);
        for (path, time) in folders {
            let (above, name) = split(&path);
            let dir = match self.above.take() {
                Some((known, dir)) if known == above => Ok(dir),
                _ => self.open(above),
            };
            let set = dir.and_then(|dir| {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                fs::utimensat(&dir, OsStr::from_bytes(name), &times(time), flags)?;
                self.above = Some((above.to_vec(), dir));
                Ok(())
            });
            match set {
                // Somebody removed it since.
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|source| ExtractError::File {
                    action: "chtimes",
                    path: self.place.shown.join(OsStr::from_bytes(&path)),
                    source,
                })?,
            }
        }
        Ok(())
    }
}

/// What failed of a file: the archive, or the file itself.
enum Broken {
    Archive(TarError),
    File(Fault),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Broken::File(fault)
    }
}

/// Where an entry is made.
struct Target<'a> {
    dir: BorrowedFd<'a>,
    name: &'a CString,
    entry: &'a Entry,
    owner: Option<(u32, u32)>,
}

impl Target<'_> {
    /// Whether something has the name, and whether that is a folder.
    fn occupied(&self) -> Result<Option<bool>, Fault> {
        match fs::statat(self.dir, self.name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            )),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(at("lstat")(errno)),
        }
    }

    fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.entry.mode & 0o7777)
    }

    fn file(&self, archive: &mut Archive<impl BufRead>) -> Result<(), Broken> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file = fs::openat(self.dir, self.name.as_c_str(), flags, mode).map_err(at("open"))?;
        self.content(&file, archive)?;
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fs::fchown(&file, Some(uid), Some(gid)).map_err(at("lchown"))?;
        }
        // After the owner: a change of owner takes these bits, and file capabilities, away.
        fs::fchmod(&file, self.mode()).map_err(at("chmod"))?;
        self.attributes(|name, value| Ok(fs::fsetxattr(&file, name, value, XattrFlags::empty())?))?;
        fs::futimens(&file, &times(self.entry.mtime)).map_err(at("chtimes"))?;
        Ok(())
    }

    /// Writes the bytes of a file, which is empty; holes stay holes.
    fn content(&self, file: &OwnedFd, archive: &mut Archive<impl BufRead>) -> Result<(), Broken> {
        let pieces = match &self.entry.content {
            Content::Plain => &[(0, u64::MAX)][..],
            Content::Pieces(pieces) => &pieces[..],
        };
        for &(offset, mut left) in pieces {
            let mut position = offset;
            while left > 0 {
                let chunk = archive.chunk(left).map_err(Broken::Archive)?;
                if chunk.is_empty() {
                    break;
                }
                let written =
                    rustix::io::retry_on_intr(|| rustix::io::pwrite(file, chunk, position));
                let written = written.map_err(at("write"))?;
                if written == 0 {
                    return Err(at("write")(Errno::IO).into());
                }
                archive.consume(written);
                position += written as u64;
                left -= written as u64;
            }
        }
        if matches!(self.entry.content, Content::Pieces(_)) {
            // A hole at the end has nothing that would be written.
            fs::ftruncate(file, self.entry.size).map_err(at("truncate"))?;
        }
        Ok(())
    }

    fn folder(&self) -> Result<(), Fault> {
        match fs::mkdirat(self.dir, self.name.as_c_str(), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(at("mkdir")(errno)),
        }
        // What has the name by now may be another's link: it is not followed.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = fs::openat(self.dir, self.name.as_c_str(), flags, Mode::empty());
        let folder = opened.map_err(at("open"))?;
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fs::fchown(&folder, Some(uid), Some(gid)).map_err(at("lchown"))?;
        }
        fs::fchmod(&folder, self.mode()).map_err(at("chmod"))?;
        self.attributes(|name, value| Ok(fs::fsetxattr(&folder, name, value, XattrFlags::empty())?))
    }

    /// A link, device or fifo.
    fn other(&self) -> Result<(), Fault> {
        let (entry, name) = (self.entry, self.name.as_c_str());
        let device = entry.device;
        if device.major > MAX_MAJOR || device.minor > MAX_MINOR {
            return Err(at("mknod")(Errno::NXIO));
        }
        let number = fs::makedev(device.major, device.minor);
        let kind = match entry.kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            Kind::Fifo => FileType::Fifo,
            _ => FileType::Symlink,
        };
        if kind == FileType::Symlink {
            fs::symlinkat(OsStr::from_bytes(&entry.link), self.dir, name).map_err(at("symlink"))?;
        } else {
            let number = if kind == FileType::Fifo { 0 } else { number };
            fs::mknodat(self.dir, name, kind, Mode::RUSR | Mode::WUSR, number)
                .map_err(at("mknod"))?;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat(self.dir, name, flags, Mode::empty()).map_err(at("open"))?;
        if let Some((uid, gid)) = self.owner {
            chown_entry(&made, uid, gid).map_err(at("lchown"))?;
        }
        if kind != FileType::Symlink {
            let stat = fs::fstat(&made).map_err(at("lstat"))?;
            // By its descriptor; a link that was put in its place would be followed from there.
            if FileType::from_raw_mode(stat.st_mode) == kind {
                let path = sys::beneath::fd_path(&made);
                fs::chmod(path, self.mode()).map_err(at("chmod"))?;
            }
        }
        let attributes = Xattrs::of(self.dir, self.name).map_err(at("setxattr"))?;
        self.attributes(|name, value| attributes.set(name, value))?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        fs::utimensat(self.dir, name, &times(entry.mtime), flags).map_err(at("chtimes"))
    }

    /// Sets extended attributes; what this file system or user may not have is left out.
    fn attributes(
        &self,
        set: impl Fn(&std::ffi::CStr, &[u8]) -> io::Result<()>,
    ) -> Result<(), Fault> {
        for (name, value) in &self.entry.xattrs {
            if name.starts_with(OVERLAY) {
                continue;
            }
            let name = CString::new(name.as_slice()).map_err(at("setxattr"))?;
            match set(&name, value) {
                Err(fault)
                    if matches!(
                        Errno::from_io_error(&fault),
                        Some(Errno::OPNOTSUPP | Errno::PERM)
                    ) => {}
                other => other.map_err(at("setxattr"))?,
            }
        }
        Ok(())
    }
}

fn replace(name: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    if name.starts_with(from) {
        name.splice(..from.len(), to.iter().copied());
    }
}

/// The folder (empty for the top) and the last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn times(time: Time) -> Timestamps {
    let set = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    Timestamps {
        last_access: set,
        last_modification: set,
    }
}

#[cfg(test)]
mod tests;
