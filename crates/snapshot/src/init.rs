//! The shared layer between an image and a container's own folder.
//!
//! It holds the places that every container mounts something over, so that a container's upper folder starts empty and
//! stays clean. It lies above the image, as with other engines: a link to nowhere at `/etc/resolv.conf` becomes a file
//! that can be mounted over. The topmost folder of a name gives the merged one its owner and mode, and images may have
//! chosen those of `/etc`: so there is one such layer for each owner and mode, in `layers/init/MODE-UID-GID`.

use std::os::fd::AsFd;

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use sys::beneath::{Root, Rule};

use crate::store::{CONTENT, INIT, LayerStore};
use crate::{SnapshotError, whiteout};

/// Folders that are mounted over.
const FOLDERS: [&str; 5] = ["dev", "dev/pts", "dev/shm", "proc", "sys"];
/// Files that are mounted over, and the mark by which programs know where they are.
const FILES: [&str; 5] = [
    ".dockerenv",
    "dev/console",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
];
/// Programs of old look for the mount table here.
const MTAB: (&str, &str) = ("/proc/mounts", "etc/mtab");
const MODE: u32 = 0o755;

impl LayerStore {
    /// The folder, relative to `layers`, of the init layer that fits the image's `layers` (top first). It is made
    /// when it is not there yet.
    pub(crate) fn init_layer(&self, layers: &[u64]) -> Result<String, SnapshotError> {
        let top = layers.first().copied();
        if let (Some(top), Ok(known)) = (top, self.init.lock())
            && let Some(path) = known.get(&top)
        {
            return Ok(path.clone());
        }
        let (mode, uid, gid) = self.etc_of(layers)?;
        let variant = format!("{mode:o}-{uid}-{gid}");
        let path = format!("{INIT}/{variant}/{CONTENT}");
        if fs::accessat(self.dir(), &path, fs::Access::EXISTS, fs::AtFlags::empty()).is_err() {
            self.make_init(&variant, mode, uid, gid)?;
        }
        if let (Some(top), Ok(mut known)) = (top, self.init.lock()) {
            known.insert(top, path.clone());
        }
        Ok(path)
    }

    /// Mode and owner of the image's `/etc`, or the usual ones when it has none.
    fn etc_of(&self, layers: &[u64]) -> Result<(u32, u32, u32), SnapshotError> {
        for &layer in layers {
            let content = self.content(layer)?;
            let stat: Option<Stat> = whiteout::lstat(content.as_fd(), c"etc")
                .map_err(|errno| SnapshotError::tree("look at", b"etc", errno.into()))?;
            match stat {
                None => {}
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    return Ok((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid));
                }
                Some(_) => break,
            }
        }
        Ok((MODE, 0, 0))
    }

    fn make_init(&self, variant: &str, mode: u32, uid: u32, gid: u32) -> Result<(), SnapshotError> {
        let (name, content) = self.begin(0)?;
        let made = fill(
            Root::with_rule(content.as_fd(), Rule::NoLinks),
            mode,
            uid,
            gid,
        );
        if let Err(source) = made {
            let fault = self.fault("make", INIT, source);
            if let Err(second) = self.clear(&name) {
                tracing::warn!(fault = %second, "an init layer that failed is left in part");
            }
            return Err(fault);
        }
        self.finish_init(&name, variant)
    }
}

fn fill(root: Root<'_>, mode: u32, uid: u32, gid: u32) -> std::io::Result<()> {
    for folder in FOLDERS {
        root.mkdir(folder, Mode::from_raw_mode(MODE))?;
    }
    root.mkdir("etc", Mode::from_raw_mode(MODE))?;
    for file in FILES {
        root.create_new(file, Mode::from_raw_mode(MODE))?;
    }
    root.symlink(MTAB.0, MTAB.1)?;
    let etc = root.open("etc", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    fs::fchown(
        &etc,
        Some(fs::Uid::from_raw(uid)),
        Some(fs::Gid::from_raw(gid)),
    )?;
    Ok(fs::fchmod(&etc, Mode::from_raw_mode(mode))?)
}
