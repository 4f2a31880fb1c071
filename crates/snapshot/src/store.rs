//! The folder of layers: `layers/N/{fs,meta}`, with `layers/tmp` for what is being made or removed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, IFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use sys::beneath::{Root, Rule, tree};
use types::Digest;

use crate::usage::{Usage, usage_dir};
use crate::{SnapshotError, Unpacked};

/// What is being made or removed lives here, so that a crash leaves it nowhere else.
const TEMPORARY: &str = "tmp";
/// The shared layers with mount points.
pub(crate) const INIT: &str = "init";
/// A layer's content.
pub(crate) const CONTENT: &str = "fs";
/// What is known of a layer.
const META: &str = "meta";
/// A `meta` file is a few short lines.
const META_LIMIT: u64 = 4096;

/// The layers below one data root. The engine has one; that no second process uses the same folder is its duty.
#[derive(Debug)]
pub struct LayerStore {
    path: PathBuf,
    dir: OwnedFd,
    temporary: OwnedFd,
    /// Makes names in `tmp` unique in this process.
    next: AtomicU64,
    /// Counted once: a layer does not change.
    usages: Mutex<HashMap<u64, Usage>>,
    /// By the top layer of an image: the init layer that fits it.
    pub(crate) init: Mutex<HashMap<u64, String>>,
}

/// What [`LayerStore::recover`] found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Layers that nobody knew and that are removed.
    pub removed: Vec<u64>,
    /// Layers that should be there and are not.
    pub missing: Vec<u64>,
    /// Layers that nobody knew and that could not be removed: their numbers can not be given again.
    pub stuck: Vec<u64>,
    /// What could not be removed, such as a file that somebody made immutable. It is tried again at the next start.
    pub faults: Vec<SnapshotError>,
}

impl LayerStore {
    /// Opens the store in `data_root` (the folder that holds `layers`), making it when it is new.
    pub fn open(data_root: &Path) -> Result<Self, SnapshotError> {
        let path = data_root.join("layers");
        let fault = |action| {
            let path = path.clone();
            move |source: std::io::Error| SnapshotError::Folder {
                action,
                path,
                source,
            }
        };
        // Files of layers keep their own modes, setuid bits included: nobody but root may reach them here.
        std::fs::create_dir_all(&path).map_err(fault("make"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir =
            fs::open(&path, flags, Mode::empty()).map_err(|errno| fault("open")(errno.into()))?;
        fs::fchmod(&dir, Mode::from_raw_mode(0o711))
            .map_err(|errno| fault("protect")(errno.into()))?;
        for name in [TEMPORARY, INIT] {
            match fs::mkdirat(&dir, name, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(fault("make a folder in")(errno.into())),
            }
        }
        let temporary = fs::openat(&dir, TEMPORARY, flags, Mode::empty())
            .map_err(|errno| fault("open")(errno.into()))?;
        spread(&temporary);
        Ok(Self {
            path,
            dir,
            temporary,
            next: AtomicU64::new(0),
            usages: Mutex::default(),
            init: Mutex::default(),
        })
    }

    /// Removes what a crash left: half-made and half-removed layers, and finished ones that are not `known`. To be
    /// called before anything else uses the store.
    pub fn recover(&self, known: &[u64]) -> Result<Recovered, SnapshotError> {
        let mut recovered = Recovered::default();
        let mut there = Vec::new();
        for entry in
            tree::entries(self.dir.as_fd()).map_err(|source| self.fault("list", "", source))?
        {
            // Anything that is no number is not ours to remove.
            if let Some(number) = entry
                .name
                .to_str()
                .ok()
                .and_then(|name| name.parse::<u64>().ok())
            {
                there.push(number);
            }
        }
        for number in there.iter().filter(|number| !known.contains(number)) {
            match self.set_aside(*number) {
                Ok(_) => recovered.removed.push(*number),
                Err(fault) => {
                    recovered.stuck.push(*number);
                    recovered.faults.push(fault);
                }
            }
        }
        recovered.missing = known
            .iter()
            .copied()
            .filter(|number| !there.contains(number))
            .collect();
        let left = tree::entries(self.temporary.as_fd())
            .map_err(|source| self.fault("list", TEMPORARY, source))?;
        for entry in left {
            let name = OsStr::from_bytes(entry.name.to_bytes());
            let removed = tree::remove(self.temporary.as_fd(), name);
            let below = format!("{TEMPORARY}/{}", name.display());
            let fault = |source| self.fault("remove", &below, source);
            recovered.faults.extend(removed.map_err(fault).err());
        }
        Ok(recovered)
    }

    /// Where a layer's content is, for people and tools; the engine itself goes by descriptors.
    pub fn layer_path(&self, number: u64) -> PathBuf {
        self.path.join(number.to_string()).join(CONTENT)
    }

    /// What [`LayerStore::unpack`] told of a layer.
    pub fn info(&self, number: u64) -> Result<Unpacked, SnapshotError> {
        let root = Root::with_rule(self.dir.as_fd(), Rule::NoLinks);
        let text = root.read_to_string(format!("{number}/{META}"), META_LIMIT);
        let text = text.map_err(|source| self.layer_fault("read", number, source))?;
        read_meta(&text).ok_or_else(|| {
            let source = std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "its description is damaged",
            );
            self.layer_fault("read", number, source)
        })
    }

    /// Removes a layer. It is gone at once, its files shortly after; a mount that uses it keeps them to its end.
    /// That it does not exist is no error.
    pub fn remove(&self, number: u64) -> Result<(), SnapshotError> {
        let Some(gone) = self.set_aside(number)? else {
            return Ok(());
        };
        if let Ok(mut usages) = self.usages.lock() {
            usages.remove(&number);
        }
        if let Ok(mut init) = self.init.lock() {
            init.remove(&number);
        }
        self.clear(&gone)
    }

    /// Moves a layer to `tmp`, where it has the name that is answered; `None` when it does not exist.
    fn set_aside(&self, number: u64) -> Result<Option<String>, SnapshotError> {
        let gone = self.temporary_name("removed", number);
        match fs::renameat(&self.dir, number.to_string(), &self.temporary, &gone) {
            Ok(()) => Ok(Some(gone)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.layer_fault("remove", number, errno.into())),
        }
    }

    /// Disk that a layer takes, its folder and description included.
    pub fn usage(&self, number: u64) -> Result<Usage, SnapshotError> {
        if let Some(usage) = self
            .usages
            .lock()
            .ok()
            .and_then(|usages| usages.get(&number).copied())
        {
            return Ok(usage);
        }
        let root = Root::with_rule(self.dir.as_fd(), Rule::NoLinks);
        let dir = root
            .open_dir(number.to_string())
            .map_err(|source| self.layer_fault("open", number, source))?;
        let usage = usage_dir(dir.as_fd())?;
        if let Ok(mut usages) = self.usages.lock() {
            usages.insert(number, usage);
        }
        Ok(usage)
    }

    /// Writes everything of the store to the disk. To be called once for a group of layers, before the record that
    /// says they are there: unpacking itself waits for no disk.
    pub fn sync(&self) -> Result<(), SnapshotError> {
        fs::syncfs(&self.dir).map_err(|errno| self.fault("sync", "", errno.into()))
    }

    /// The folder of layers.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Opens the content of a layer.
    pub(crate) fn content(&self, number: u64) -> Result<OwnedFd, SnapshotError> {
        let root = Root::with_rule(self.dir.as_fd(), Rule::NoLinks);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        root.open(format!("{number}/{CONTENT}"), flags, Mode::empty())
            .map_err(|source| self.layer_fault("open", number, source))
    }

    /// Begins a layer: an empty folder in `tmp`, with an empty content folder, which is returned open.
    pub(crate) fn begin(&self, number: u64) -> Result<(String, OwnedFd), SnapshotError> {
        if fs::accessat(
            &self.dir,
            number.to_string(),
            fs::Access::EXISTS,
            fs::AtFlags::empty(),
        )
        .is_ok()
        {
            return Err(SnapshotError::Exists { layer: number });
        }
        let name = self.temporary_name("new", number);
        let made = self.make_layer_folder(&name);
        made.map(|content| (name, content))
            .map_err(|errno| self.fault("make a folder in", TEMPORARY, errno.into()))
    }

    fn make_layer_folder(&self, name: &str) -> Result<OwnedFd, Errno> {
        fs::mkdirat(&self.temporary, name, Mode::from_raw_mode(0o711))?;
        let folder = fs::openat(
            &self.temporary,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        fs::mkdirat(&folder, CONTENT, Mode::from_raw_mode(0o755))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let content = fs::openat(&folder, CONTENT, flags, Mode::empty())?;
        fs::fchmod(&content, Mode::from_raw_mode(0o755))?;
        Ok(content)
    }

    /// Makes a begun layer visible under its number.
    pub(crate) fn finish(
        &self,
        name: &str,
        number: u64,
        unpacked: &Unpacked,
    ) -> Result<(), SnapshotError> {
        let root = Root::with_rule(self.temporary.as_fd(), Rule::NoLinks);
        let written = root
            .create_new(Path::new(name).join(META), Mode::from_raw_mode(0o644))
            .and_then(|mut file| {
                std::io::Write::write_all(&mut file, meta_text(unpacked).as_bytes())
            });
        written.map_err(|source| self.layer_fault("describe", number, source))?;
        let target = number.to_string();
        match fs::renameat_with(
            &self.temporary,
            name,
            &self.dir,
            target,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(SnapshotError::Exists { layer: number }),
            Err(errno) => Err(self.layer_fault("name", number, errno.into())),
        }
    }

    /// As [`LayerStore::finish`] for an init layer; that another thread was first is no error.
    pub(crate) fn finish_init(&self, name: &str, variant: &str) -> Result<(), SnapshotError> {
        let target = Path::new(INIT).join(variant);
        match fs::renameat_with(
            &self.temporary,
            name,
            &self.dir,
            &target,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => self.clear(name),
            Err(errno) => Err(self.fault("name", INIT, errno.into())),
        }
    }

    /// Removes something in `tmp`.
    pub(crate) fn clear(&self, name: &str) -> Result<(), SnapshotError> {
        tree::remove(self.temporary.as_fd(), name.as_ref())
            .map_err(|source| self.fault("remove", name, source))
    }

    fn temporary_name(&self, what: &str, number: u64) -> String {
        let unique = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{what}-{number}-{}-{unique}", std::process::id())
    }

    pub(crate) fn fault(
        &self,
        action: &'static str,
        below: &str,
        source: std::io::Error,
    ) -> SnapshotError {
        let path = if below.is_empty() {
            self.path.clone()
        } else {
            self.path.join(below)
        };
        SnapshotError::Folder {
            action,
            path,
            source,
        }
    }

    fn layer_fault(
        &self,
        action: &'static str,
        number: u64,
        source: std::io::Error,
    ) -> SnapshotError {
        if source.kind() == std::io::ErrorKind::NotFound {
            return SnapshotError::Missing { layer: number };
        }
        self.fault(action, &number.to_string(), source)
    }
}

/// Asks ext4 to put each folder made in `dir` into a block group of its own: so layers that are written side by side
/// do not wait for each other, and new inodes are not looked for among those of layers that were just removed. Other
/// file systems have no such wish and refuse, which is as well.
fn spread(dir: &OwnedFd) {
    if let Ok(flags) = fs::ioctl_getflags(dir) {
        let _ = fs::ioctl_setflags(dir, flags | IFlags::TOPDIR);
    }
}

fn meta_text(unpacked: &Unpacked) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "size {}", unpacked.size);
    let _ = writeln!(text, "entries {}", unpacked.entries);
    let _ = writeln!(text, "diff-id {}", unpacked.diff_id);
    text
}

fn read_meta(text: &str) -> Option<Unpacked> {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            line.split_once(' ')
                .filter(|(name, _)| *name == key)
                .map(|(_, value)| value)
        })
    };
    Some(Unpacked {
        size: value("size")?.parse().ok()?,
        entries: value("entries")?.parse().ok()?,
        diff_id: value("diff-id")?.parse::<Digest>().ok()?,
    })
}
