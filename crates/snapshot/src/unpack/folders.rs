//! The folders of a layer that is being written: descriptors kept open, missing ones made, times set at the end.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, RawMode, Stat, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;
use sys::beneath::{Root, Rule, Xattrs};

use super::path::c_name;
use crate::error::path_of;
use crate::tar::Time;
use crate::whiteout;

/// So many folders stay open. Archives go through trees in order, so a few levels are enough.
const OPEN: usize = 48;
/// What an implied folder gets that no parent layer has.
const IMPLIED_MODE: u32 = 0o755;
/// New entries inherit these lists, so they are set when all entries are there.
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// An open folder of the layer.
pub(super) struct Folder {
    pub(super) fd: OwnedFd,
    /// Its entries get its group, whoever makes them.
    pub(super) gives_group: bool,
}

/// What is set on a folder when everything is in it.
#[derive(Default)]
struct End {
    mtime: Option<Time>,
    default_acl: Option<Vec<u8>>,
}

pub(super) struct Folders {
    content: OwnedFd,
    parents: Vec<OwnedFd>,
    /// The one used last comes first.
    open: Vec<(Vec<u8>, Rc<Folder>)>,
    ends: HashMap<Vec<u8>, End>,
    /// Bytes of paths and lists in `ends`.
    end_bytes: u64,
    /// Folders made without an entry of their own.
    implied: u64,
    /// Permission bits that a new entry does not get by itself.
    pub(super) masked: RawMode,
}

impl Folders {
    pub(super) fn new(content: OwnedFd, parents: Vec<OwnedFd>) -> io::Result<Self> {
        let folders = Self {
            content,
            parents,
            open: Vec::with_capacity(OPEN + 1),
            ends: HashMap::new(),
            end_bytes: 0,
            implied: 0,
            masked: umask()?,
        };
        // The top is as the image has had it so far, unless the archive says otherwise.
        if let Some(parent) = folders.parents.first() {
            let stat = fs::fstat(parent)?;
            fs::chownat(
                &folders.content,
                c"",
                Some(Uid::from_raw(stat.st_uid)),
                Some(Gid::from_raw(stat.st_gid)),
                AtFlags::EMPTY_PATH,
            )?;
            fs::fchmod(&folders.content, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        }
        Ok(folders)
    }

    /// The layer's top folder.
    pub(super) fn top(&self) -> &OwnedFd {
        &self.content
    }

    /// The parent layers, top first.
    pub(super) fn parents(&self) -> &[OwnedFd] {
        &self.parents
    }

    /// How many folders there are, or more: one may be implied first and have an entry later.
    pub(super) fn count(&self) -> u64 {
        self.ends.len() as u64 + self.implied
    }

    /// Bytes of paths and access lists that are held until the end.
    pub(super) fn bytes(&self) -> u64 {
        self.end_bytes
    }

    /// Opens a folder of the layer, making it and those above it where they are missing.
    pub(super) fn get(&mut self, path: &[u8]) -> io::Result<Rc<Folder>> {
        if let Some(folder) = self.kept(path) {
            return Ok(folder);
        }
        match self.open_folder(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.make(path)?;
                let folder = self.open_folder(path)?;
                Ok(self.keep(path, folder))
            }
            other => {
                let folder = other?;
                Ok(self.keep(path, folder))
            }
        }
    }

    /// As [`Folders::get`], but makes nothing.
    pub(super) fn find(&mut self, path: &[u8]) -> io::Result<Option<Rc<Folder>>> {
        if let Some(folder) = self.kept(path) {
            return Ok(Some(folder));
        }
        match self.open_folder(path) {
            Ok(folder) => Ok(Some(self.keep(path, folder))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn kept(&mut self, path: &[u8]) -> Option<Rc<Folder>> {
        let found = self.open.iter().position(|(known, _)| known == path)?;
        self.open[..=found].rotate_right(1);
        Some(Rc::clone(&self.open[0].1))
    }

    fn keep(&mut self, path: &[u8], folder: Folder) -> Rc<Folder> {
        let folder = Rc::new(folder);
        self.open.truncate(OPEN - 1);
        self.open.insert(0, (path.to_vec(), Rc::clone(&folder)));
        folder
    }

    /// Closes all folders: one of them may have been removed or replaced, by a link even.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    /// Symbolic links on the way are followed within the layer, as tar does within the root that it unpacks to.
    fn open_folder(&self, path: &[u8]) -> Result<Folder, Errno> {
        let root = Root::with_rule(self.content.as_fd(), Rule::InRoot);
        let fd = root
            .open(
                path_of(path),
                OFlags::PATH | OFlags::DIRECTORY,
                Mode::empty(),
            )
            .map_err(|fault| Errno::from_io_error(&fault).unwrap_or(Errno::IO))?;
        let gives_group = fs::fstat(&fd)?.st_mode & 0o2000 != 0;
        Ok(Folder { fd, gives_group })
    }

    /// Makes the folder and those above it, each as the parent layers have it.
    fn make(&mut self, path: &[u8]) -> io::Result<()> {
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(index, _)| index);
        for end in ends.chain([path.len()]).collect::<Vec<_>>() {
            let path = &path[..end];
            let (above, name) = match path.iter().rposition(|&byte| byte == b'/') {
                Some(slash) => (&path[..slash], &path[slash + 1..]),
                None => (&b""[..], path),
            };
            let above = match self.open_folder(above) {
                Ok(folder) => folder,
                // A link to a folder that only layers below have: it is made here too, so that both merge.
                Err(Errno::NOENT) => {
                    let root = Root::with_rule(self.content.as_fd(), Rule::InRoot);
                    root.mkdir_all(path_of(above), Mode::from_raw_mode(IMPLIED_MODE))?;
                    self.open_folder(above)?
                }
                Err(errno) => return Err(errno.into()),
            };
            let c_name = c_name(name)?;
            match fs::mkdirat(&above.fd, &*c_name, Mode::from_raw_mode(IMPLIED_MODE)) {
                Ok(()) => self.adopt(path, &above, &c_name)?,
                Err(Errno::EXIST) => self.uncover(path, &above, &c_name)?,
                Err(errno) => return Err(errno.into()),
            }
        }
        match self.open_folder(path) {
            Err(Errno::NOENT) => {
                let root = Root::with_rule(self.content.as_fd(), Rule::InRoot);
                root.mkdir_all(path_of(path), Mode::from_raw_mode(IMPLIED_MODE))
                    .map(drop)
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// A whiteout in the way of an implied folder: what it hid stays hidden below the new folder.
    fn uncover(&mut self, path: &[u8], above: &Folder, name: &std::ffi::CStr) -> io::Result<()> {
        if whiteout::lstat(above.fd.as_fd(), name)?.is_some_and(|stat| whiteout::is_whiteout(&stat))
        {
            fs::unlinkat(&above.fd, name, AtFlags::empty())?;
            fs::mkdirat(&above.fd, name, Mode::from_raw_mode(IMPLIED_MODE))?;
            self.adopt(path, above, name)?;
            whiteout::make_opaque(above.fd.as_fd(), name)?;
        }
        Ok(())
    }

    /// Gives an implied folder the owner, mode, attributes and time that it has in the layers below: its own entry in
    /// this layer would otherwise replace them.
    fn adopt(&mut self, path: &[u8], above: &Folder, name: &std::ffi::CStr) -> io::Result<()> {
        self.implied += 1;
        let (mut uid, mut gid, mut mode) = (0, 0, IMPLIED_MODE);
        if let Some((parent, stat)) = self.in_parents(path)? {
            (uid, gid, mode) = (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777);
            let from = Xattrs::of(parent.as_fd(), c"")?;
            let to = Xattrs::of(above.fd.as_fd(), name)?;
            for attribute in from.names()? {
                if whiteout::is_overlay_xattr(attribute.to_bytes())
                    || attribute.to_bytes() == DEFAULT_ACL
                {
                    continue;
                }
                if let Some(value) = from.get(&attribute)? {
                    to.set(&attribute, &value)?;
                }
            }
            let seconds = stat.st_mtime;
            let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
            self.set_mtime_at_end(
                path,
                Time {
                    seconds,
                    nanoseconds,
                },
            );
        }
        if (uid, gid) != (0, 0) || above.gives_group {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fs::chownat(
                &above.fd,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        // Made here a moment ago, and nobody else writes in this tree: the name is no link.
        Ok(fs::chmodat(
            &above.fd,
            name,
            Mode::from_raw_mode(mode),
            AtFlags::empty(),
        )?)
    }

    /// The folder as the topmost parent layer has it that says anything of the path.
    fn in_parents(&self, path: &[u8]) -> io::Result<Option<(OwnedFd, Stat)>> {
        for parent in &self.parents {
            let root = Root::with_rule(parent.as_fd(), Rule::NoLinks);
            match root.open(
                path_of(path),
                OFlags::PATH | OFlags::NOFOLLOW,
                Mode::empty(),
            ) {
                Ok(fd) => {
                    let stat = fs::fstat(&fd)?;
                    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                    return Ok(is_folder.then_some((fd, stat)));
                }
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
                // A file, link or whiteout on the way hides what is below.
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    pub(super) fn set_mtime_at_end(&mut self, path: &[u8], mtime: Time) {
        self.end(path).mtime = Some(mtime);
    }

    pub(super) fn set_default_acl_at_end(&mut self, path: &[u8], list: &[u8]) {
        let before = self.end(path).default_acl.replace(list.to_vec());
        self.end_bytes += list.len() as u64;
        self.end_bytes -= before.map_or(0, |list| list.len() as u64);
    }

    fn end(&mut self, path: &[u8]) -> &mut End {
        self.ends.entry(path.to_vec()).or_insert_with(|| {
            self.end_bytes += path.len() as u64;
            End::default()
        })
    }

    /// Sets what had to wait until all entries were there. A folder that a later entry replaced is passed over.
    pub(super) fn finish(self) -> Result<(), (Vec<u8>, io::Error)> {
        let root = Root::with_rule(self.content.as_fd(), Rule::InRoot);
        for (path, end) in &self.ends {
            match root.open_dir(path_of(path)) {
                Ok(folder) => end.apply(&folder).map_err(|fault| (path.clone(), fault))?,
                Err(fault) if is_gone(&fault) => {}
                Err(fault) => return Err((path.clone(), fault)),
            }
        }
        Ok(())
    }
}

impl End {
    fn apply(&self, folder: &OwnedFd) -> io::Result<()> {
        if let Some(list) = &self.default_acl {
            Xattrs::of(folder.as_fd(), c"")?.set(c"system.posix_acl_default", list)?;
        }
        match self.mtime {
            Some(mtime) => Ok(fs::futimens(folder, &timestamps(mtime))?),
            None => Ok(()),
        }
    }
}

fn is_gone(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Layers keep the time of change; the time of access is left as it is.
pub(super) fn timestamps(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.seconds,
            tv_nsec: i64::from(mtime.nanoseconds),
        },
    }
}

/// This thread's file creation mask. It is read, not set: it belongs to the whole process.
fn umask() -> io::Result<RawMode> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    // A kernel that does not tell: every mode is then set explicitly.
    Ok(mask
        .and_then(|mask| RawMode::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(0o777))
}
