//! The folder of volumes.
//!
//! ```text
//! volumes/NAME/_data      the content
//! volumes/NAME/_fill      a copy of an image's folder that is being made: worthless after a crash
//! volumes/NAME/_filled    a complete copy that is being moved into _data: finished after a crash
//! volumes/.WHAT-N         a volume that is being made or removed: no name begins with a dot
//! ```

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use sys::beneath::{Root, Rule, copy, tree};

use crate::turns::Turns;
use crate::{VolumeError, fill};

/// A volume's content within its folder.
pub(crate) const DATA: &str = "_data";
/// The longest name of a folder.
const MAX_NAME: usize = 255;

/// The volumes below one data root.
#[derive(Debug)]
pub struct VolumeStore {
    path: PathBuf,
    dir: OwnedFd,
    next: AtomicU64,
    /// Held by who fills a volume.
    filling: Turns,
    /// Held by who mounts what a volume is, or ends that mount.
    pub(crate) attaching: Turns,
    /// Who uses volumes that are mounted.
    users: Mutex<HashMap<String, BTreeSet<String>>>,
    /// What could not be tidied up when it was opened.
    left: Vec<VolumeError>,
}

impl VolumeStore {
    /// Opens the store in `data_root` (the folder that holds `volumes`), making it when it is new, and finishes or
    /// undoes what a crash left half done, as far as that can be: see [`VolumeStore::left`].
    pub fn open(data_root: &Path) -> Result<Self, VolumeError> {
        let path = data_root.join("volumes");
        let fault = |action| {
            let path = path.clone();
            move |source: std::io::Error| VolumeError::Store {
                action,
                path,
                source,
            }
        };
        std::fs::create_dir_all(&path).map_err(fault("make"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir =
            fs::open(&path, flags, Mode::empty()).map_err(|errno| fault("open")(errno.into()))?;
        // Users' files keep their own modes: nobody but root passes through here, except by a mount.
        fs::fchmod(&dir, Mode::from_raw_mode(0o701))
            .map_err(|errno| fault("protect")(errno.into()))?;
        let mut store = Self {
            path,
            dir,
            next: AtomicU64::new(0),
            filling: Turns::default(),
            attaching: Turns::default(),
            users: Mutex::default(),
            left: Vec::new(),
        };
        store.left = store.recover()?;
        Ok(store)
    }

    /// What a crash left half done and opening could neither finish nor undo: of no use, and of no harm to others.
    pub fn left(&self) -> &[VolumeError] {
        &self.left
    }

    fn recover(&self) -> Result<Vec<VolumeError>, VolumeError> {
        let mut left = Vec::new();
        for entry in tree::entries(self.dir.as_fd()).map_err(|source| self.fault("list", source))? {
            let name = entry.name.to_string_lossy();
            if name.starts_with('.') {
                let removed = tree::remove(self.dir.as_fd(), name.as_ref().as_ref());
                left.extend(removed.err().map(|source| VolumeError::Store {
                    action: "remove",
                    path: self.path.join(&*name),
                    source,
                }));
            } else if let Ok(folder) = self.folder(&name) {
                // Who fills it tries that again.
                let recovered = fill::recover(folder.as_fd());
                left.extend(
                    recovered
                        .err()
                        .map(|source| volume_fault("recover", &name, source)),
                );
            }
        }
        Ok(left)
    }

    /// Makes an empty volume, and tells whether it did: that it is there already is no error, as with other engines.
    pub fn create(&self, name: &str) -> Result<bool, VolumeError> {
        check_name(name)?;
        let temporary = self.temporary_name("new");
        let flags = RenameFlags::NOREPLACE;
        let made = make_folders(self.dir.as_fd(), &temporary)
            .and_then(|()| fs::renameat_with(&self.dir, &temporary, &self.dir, name, flags));
        if made.is_ok() {
            return Ok(true);
        }
        let removed = tree::remove(self.dir.as_fd(), temporary.as_ref());
        match made {
            Err(Errno::EXIST) => removed
                .map(|()| false)
                .map_err(|source| self.fault("clear", source)),
            Err(errno) => Err(volume_fault("make", name, errno.into())),
            Ok(()) => Ok(true),
        }
    }

    /// Where a volume's content is, for people and tools.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name).join(DATA)
    }

    /// Removes a volume: its name is free at once. That it does not exist is no error. A container that has it
    /// mounted sees it emptied.
    pub fn remove(&self, name: &str) -> Result<(), VolumeError> {
        check_name(name)?;
        let gone = self.temporary_name("removed");
        match fs::renameat(&self.dir, name, &self.dir, &gone) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(volume_fault("remove", name, errno.into())),
        }
        tree::remove(self.dir.as_fd(), gone.as_ref())
            .map_err(|source| volume_fault("remove", name, source))
    }

    /// The names of all volumes, sorted.
    pub fn list(&self) -> Result<Vec<String>, VolumeError> {
        let entries =
            tree::entries(self.dir.as_fd()).map_err(|source| self.fault("list", source))?;
        let names = entries
            .into_iter()
            .filter_map(|entry| entry.name.into_string().ok());
        Ok(names.filter(|name| check_name(name).is_ok()).collect())
    }

    /// Allocated bytes of a volume, as `du` counts.
    pub fn usage(&self, name: &str) -> Result<u64, VolumeError> {
        let data = self.data(name)?;
        let usage = sys::beneath::usage(data.as_fd())
            .map_err(|source| volume_fault("count", name, source))?;
        Ok(usage.bytes)
    }

    /// Fills an empty volume with what the image has at `path` (resolved beneath `root`, a mounted image), and gives
    /// the volume the owner and mode of that folder. Owners, modes, times, extended attributes, links and devices are
    /// kept. Nothing happens when the volume is not empty or the image has no such folder.
    ///
    /// After a crash the volume is as before, or filled: [`VolumeStore::open`] sees to it. That holds for a power cut too
    /// when the volume is `lasting`, which waits for the disk. A `part` of the volume is filled in its stead when one is
    /// given and is there; a crash may leave that half filled, and so it may what is mounted on the volume.
    ///
    /// Of several that ask at the same time each finds the volume whole afterwards.
    ///
    /// # Errors
    /// ENOTDIR when the image has a file there.
    pub fn copy_up(
        &self,
        root: BorrowedFd<'_>,
        path: &Path,
        name: &str,
        part: Option<&Path>,
        lasting: bool,
    ) -> Result<(), VolumeError> {
        let fault = |source| VolumeError::CopyUp {
            name: name.to_owned(),
            path: path.to_owned(),
            source,
        };
        let data = self.data(name)?;
        let _turn = self.filling.take(name);
        let folder = self.folder(name)?;
        // What an attempt left that failed.
        fill::recover(folder.as_fd()).map_err(fault)?;
        let is_attached = self.is_attached(name)?;
        // Of what is mounted on the content its root is filled.
        let part = part.or(is_attached.then_some(Path::new(".")));
        let target = match part {
            Some(part) => match Root::with_rule(data.as_fd(), Rule::Beneath).open_dir(part) {
                Ok(part) => part,
                // Whoever mounts it says why.
                Err(_) => return Ok(()),
            },
            None => data,
        };
        if !tree::is_empty(target.as_fd()).map_err(fault)? {
            return Ok(());
        }
        match Root::new(root).open_dir(path) {
            // The copy beside the content is in another file system than what is mounted on it.
            Ok(source) if part.is_some() => {
                copy::tree(source.as_fd(), target.as_fd()).map_err(fault)
            }
            Ok(source) => fill::fill(folder.as_fd(), source.as_fd(), lasting).map_err(fault),
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(other) => Err(fault(other)),
        }
    }

    pub(crate) fn users(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A volume's own folder.
    pub(crate) fn folder(&self, name: &str) -> Result<OwnedFd, VolumeError> {
        self.open_beneath(name, Path::new(name))
    }

    /// A volume's content.
    pub(crate) fn data(&self, name: &str) -> Result<OwnedFd, VolumeError> {
        self.open_beneath(name, &Path::new(name).join(DATA))
    }

    fn open_beneath(&self, name: &str, path: &Path) -> Result<OwnedFd, VolumeError> {
        check_name(name)?;
        let root = Root::with_rule(self.dir.as_fd(), Rule::NoLinks);
        root.open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::NotFound => VolumeError::Missing {
                    name: name.to_owned(),
                },
                _ => volume_fault("open", name, source),
            })
    }

    fn temporary_name(&self, what: &str) -> String {
        let unique = self.next.fetch_add(1, Ordering::Relaxed);
        format!(".{what}-{}-{unique}", std::process::id())
    }

    fn fault(&self, action: &'static str, source: std::io::Error) -> VolumeError {
        VolumeError::Store {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

fn make_folders(dir: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    fs::mkdirat(dir, name, Mode::from_raw_mode(0o701))?;
    let data = Path::new(name).join(DATA);
    fs::mkdirat(dir, &data, Mode::from_raw_mode(0o755))?;
    // Whatever the umask of this process: containers' users come in by a mount.
    fs::chmodat(dir, &data, Mode::from_raw_mode(0o755), fs::AtFlags::empty())
}

pub(crate) fn volume_fault(
    action: &'static str,
    name: &str,
    source: std::io::Error,
) -> VolumeError {
    VolumeError::Folder {
        action,
        name: name.to_owned(),
        source,
    }
}

fn check_name(name: &str) -> Result<(), VolumeError> {
    if types::valid_volume_name(name) {
        return Ok(());
    }
    if name.len() > MAX_NAME {
        return Err(VolumeError::LongName);
    }
    if name.len() == 1 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(VolumeError::ShortName);
    }
    Err(VolumeError::InvalidName {
        name: name.to_owned(),
    })
}
