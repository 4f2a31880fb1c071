//! What is known of a container: a folder of its name below the root folder.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use runtime::cgroup::{Doors, Group};
use runtime::resctrl::Assigned;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::compile::{self, Entry};
use crate::error::{Error, Result};
use crate::place::GroupPlace;
use crate::process;
use crate::spec::{Hooks, MemoryPolicy, Process};

/// Where containers are known without `--root`.
pub(crate) const DEFAULT_ROOT: &str = "/run/wharf-runtime";
/// The record's name in the folder, once there is a process.
const RECORD: &str = "state.json";
/// Its name before. Two files, because a file system that writes to a disk is in no haste with a new one, but writes one out
/// at once that takes another's place.
const FIRST: &str = "state.first";
/// The gate's name in the folder: runc's, for tools that look for it.
pub(crate) const GATE: &str = "exec.fifo";
/// Folder at which a restore has the root mounted for criu.
pub(crate) const SHOWN: &str = "criu-root";
/// The longest name of a container.
const MAX_ID: usize = 255;
/// The largest record that is read.
const MAX_RECORD: u64 = 32 << 20;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Being made; or whoever made it was killed.
    Creating,
    /// Its process waits to be started.
    Created,
    /// It runs.
    Running,
    /// It runs or waits to be started, and is held.
    Paused,
    /// Its process has ended.
    Stopped,
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What is written down of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// That of the configuration.
    pub(crate) oci_version: String,
    pub(crate) id: String,
    /// The first process; 0 while there is none.
    pub(crate) pid: i32,
    /// When it started (field 22 of proc(5)'s stat): with the number it is nobody else.
    pub(crate) start: u64,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    /// RFC 3339.
    pub(crate) created: String,
    /// Who asked for it.
    pub(crate) owner: u32,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(crate) place: GroupPlace,
    /// It has no group of its own: whoever made it had no right to.
    #[serde(default)]
    pub(crate) ungrouped: bool,
    /// Where its group is entered, so that nobody has to look for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) doors: Option<Doors>,
    /// It has no mount namespace of its own: its root is a folder of the host's tree, and its mounts are below that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) host_mounts: bool,
    /// It has a user namespace of its own.
    #[serde(default)]
    pub(crate) user_namespace: bool,
    /// It has a time namespace of its own.
    #[serde(default)]
    pub(crate) time_namespace: bool,
    /// Its processes are in a pid namespace of others: the end of the first is not that of all.
    #[serde(default)]
    pub(crate) shared_pids: bool,
    /// Where it is in the resctrl file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resctrl: Option<Assigned>,
    /// The name of its keyring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keyring: Option<String>,
    /// The configuration's process, from which further ones take what they are not told.
    #[serde(default)]
    pub(crate) process: Process,
    /// The execution domain of all its processes (personality(2)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) personality: Option<u32>,
    /// Where the memory of its processes comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_policy: Option<MemoryPolicy>,
    /// The configuration's profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seccomp: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hooks: Option<Hooks>,
}

impl Record {
    /// Ends whatever is in its group, and removes that and what else its processes had of their own.
    pub(crate) fn end(&self, group: Option<&Group>) -> Result<()> {
        if let Some(group) = group {
            self.place.end(group)?;
        }
        match &self.resctrl {
            Some(assigned) => Ok(assigned.remove()?),
            None => Ok(()),
        }
    }
}

/// A container's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

/// A container that is known.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) folder: Folder,
    pub(crate) record: Record,
    group: OnceCell<Group>,
}

/// Whether `id` can be a container's name: letters, digits and `_+-.`.
pub(crate) fn check_id(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::State("container id cannot be empty".to_owned()));
    }
    let sound = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
    if id.len() > MAX_ID || id == "." || id == ".." || !id.chars().all(sound) {
        return Err(Error::BadId);
    }
    Ok(())
}

impl Folder {
    /// Makes the folder of a new container, which it is locked for.
    pub(crate) fn claim(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        let mode = Mode::from_raw_mode(0o711);
        let made = match rustix::fs::mkdirat(CWD, &path, mode) {
            Err(Errno::NOENT) => {
                std::fs::create_dir_all(root)
                    .map_err(|source| Error::io("making the folder", root, source))?;
                rustix::fs::mkdirat(CWD, &path, mode)
            }
            other => other,
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(Error::Exists),
            Err(errno) => return Err(Error::io("making the folder", &path, errno)),
        }
        let folder = Self::open(path)?;
        folder.lock()?;
        Ok(folder)
    }

    fn open(path: PathBuf) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { path, fd }),
            Err(Errno::NOENT) => Err(Error::NoContainer),
            Err(errno) => Err(Error::io("opening the folder", &path, errno)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until no other command changes the container's state.
    pub(crate) fn lock(&self) -> Result<()> {
        rustix::io::retry_on_intr(|| rustix::fs::flock(&self.fd, FlockOperation::LockExclusive))
            .map_err(|errno| Error::io("locking the folder", &self.path, errno))
    }

    /// Lets other commands change the state, though this one goes on with the container.
    pub(crate) fn unlock(&self) -> Result<()> {
        rustix::fs::flock(&self.fd, FlockOperation::Unlock)
            .map_err(|errno| Error::io("unlocking the folder", &self.path, errno))
    }

    /// Whether the folder has been removed: what has its name now is another container's.
    pub(crate) fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Writes the record; readers see the old one or the new one.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let failed = |source: std::io::Error| Error::io("writing", &self.path.join(RECORD), source);
        let text = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        let is_first = record.pid == 0;
        let next = if is_first { FIRST } else { "state.next" };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file = rustix::fs::openat(&self.fd, next, flags, mode)
            .map_err(|errno| failed(errno.into()))?;
        std::fs::File::from(file).write_all(&text).map_err(failed)?;
        if is_first {
            return Ok(());
        }
        rustix::fs::renameat(&self.fd, next, &self.fd, RECORD).map_err(|errno| failed(errno.into()))
    }

    fn read(&self) -> Result<Record> {
        match self.read_file(RECORD) {
            Err(Error::NoContainer) => match self.read_file(FIRST) {
                // It is being written.
                Err(Error::Json { .. }) => Err(Error::NoContainer),
                other => other,
            },
            other => other,
        }
    }

    fn read_file(&self, name: &str) -> Result<Record> {
        use std::io::Read;
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(Error::NoContainer),
            other => other.map_err(|errno| Error::io("opening", &path, errno))?,
        };
        let mut text = String::new();
        std::fs::File::from(file)
            .take(MAX_RECORD)
            .read_to_string(&mut text)
            .map_err(|source| Error::io("reading", &path, source))?;
        crate::spec::parse(&path.to_string_lossy(), &text)
    }

    pub(crate) fn remove_gate(&self) {
        // What is left of it goes with the folder.
        let _ = rustix::fs::unlinkat(&self.fd, GATE, AtFlags::empty());
    }

    /// Forgets the container.
    pub(crate) fn remove(&self) -> Result<()> {
        remove(&self.path)
    }
}

/// Removes a container's folder; that it is missing is no error. A mount in it is a restore's that was killed: it is taken
/// out of the tree, never entered.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let failed = |source: std::io::Error| Error::io("removing", path, source);
    let (Some(root), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::BadId);
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match rustix::fs::openat(CWD, root, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(|errno| failed(errno.into()))?,
    };
    match sys::beneath::tree::remove(root.as_fd(), name) {
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::XDEV | Errno::BUSY)
            ) =>
        {
            let shown = path.join(SHOWN).into_os_string().into_vec();
            let shown = CString::new(shown).map_err(|error| failed(error.into()))?;
            sys::mount::detach(&shown).map_err(|errno| failed(errno.into()))?;
            sys::beneath::tree::remove(root.as_fd(), name).map_err(failed)
        }
        other => other.map_err(failed),
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Container {
    pub(crate) fn open(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        Self::of(Folder::open(root.join(id))?)
    }

    /// As [`Container::open`], for a command that changes what there is.
    pub(crate) fn open_locked(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let folder = Folder::open(root.join(id))?;
        folder.lock()?;
        Self::of(folder)
    }

    fn of(folder: Folder) -> Result<Self> {
        let record = folder.read()?;
        let group = OnceCell::new();
        Ok(Self {
            folder,
            record,
            group,
        })
    }

    /// All that are known, by name.
    pub(crate) fn all(root: &Path) -> Result<Vec<Self>> {
        let entries = match std::fs::read_dir(root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|source| Error::io("reading the folder", root, source))?,
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| check_id(name).is_ok())
            .collect();
        names.sort_unstable();
        // One that is being made or removed meanwhile is none.
        Ok(names
            .iter()
            .filter_map(|name| Self::open(root, name).ok())
            .collect())
    }

    pub(crate) fn status(&self) -> Status {
        if self.record.pid == 0 {
            return Status::Creating;
        }
        if !process::is_alive(self.record.pid, self.record.start) {
            return Status::Stopped;
        }
        // One that is held does nothing, whether it would wait or run.
        match self.is_frozen() {
            Ok(true) => Status::Paused,
            _ if runtime::spawn::is_waited_at(self.folder.as_fd(), GATE) => Status::Created,
            _ => Status::Running,
        }
    }

    /// The first process, if it lives.
    pub(crate) fn pidfd(&self) -> Result<Option<OwnedFd>> {
        let Record { pid, start, .. } = self.record;
        if pid == 0 {
            return Ok(None);
        }
        let pidfd = match sys::process::pidfd_open(pid) {
            Err(Errno::SRCH) => return Ok(None),
            other => other.map_err(Error::call("opening the container's process"))?,
        };
        // Looked at after it was opened, it is the one.
        Ok(process::is_alive(pid, start).then_some(pidfd))
    }

    fn is_frozen(&self) -> Result<bool> {
        match self.record.doors.as_ref().map(Doors::is_frozen) {
            Some(Ok(frozen)) => Ok(frozen),
            _ => Ok(self.group()?.is_frozen()?),
        }
    }

    /// How a further process enters the container's groups.
    pub(crate) fn entry(&self) -> Result<Entry> {
        match self.record.doors.as_ref().map(Doors::entry_fds) {
            Some(Ok(fds)) => Ok(Entry::of(fds)),
            _ => compile::entry(self.own_group()?),
        }
    }

    /// The container's group, which is looked for once.
    pub(crate) fn group(&self) -> Result<&Group> {
        if self.record.ungrouped {
            let text = "the container has no control group of its own";
            return Err(Error::State(text.to_owned()));
        }
        match self.group.get() {
            Some(group) => Ok(group),
            None => {
                let found = self.record.place.group()?;
                Ok(self.group.get_or_init(|| found))
            }
        }
    }

    /// The container's group, if it has one.
    pub(crate) fn own_group(&self) -> Result<Option<&Group>> {
        match self.record.ungrouped {
            true => Ok(None),
            false => self.group().map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_runc_takes() {
        for id in ["a", "0-9_x+y.z", "..."] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "ä", "a\0"] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
    }
}
