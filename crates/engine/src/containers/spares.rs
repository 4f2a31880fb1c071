//! Folders and roots of containers, made ahead.
//!
//! To mount an overlay costs a journalling file system a dozen new inodes: seven of the mount's own, and the
//! container's folder with what lies in it. A container that was run with `--rm` is likely to be followed by another
//! of the same image, so a few are kept ready for the image that was asked for last, made when nobody waits. They are
//! folders below `tmp`, which the next daemon empties, and mounts without a place, which end with the daemon.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::files::FILES;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::paths;

/// The log's name until it is known whose it is.
const LOG: &str = "log";

/// A spare that nobody asked for so long is given back.
const KEPT: Duration = Duration::from_secs(20);

/// A folder with `upper`, `work`, an empty log and empty files for /etc, and the volatile root mounted on it.
pub(crate) struct Spare {
    /// Where it lies until a container takes it.
    folder: PathBuf,
    root: OwnedFd,
}

/// The folder of a spare that a container has taken.
pub(crate) struct SpareFolder(PathBuf);

impl Spare {
    /// The two parts, which go different ways.
    pub(crate) fn split(self) -> (SpareFolder, OwnedFd) {
        (SpareFolder(self.folder), self.root)
    }
}

impl SpareFolder {
    /// Makes it the folder of a container, whose log has this path if there is one.
    ///
    /// # Errors
    /// When it can not be moved; it may lie at either place then.
    pub(crate) fn give_to(&self, folder: &Path, log: Option<&Path>) -> Result<()> {
        let moved = std::fs::rename(&self.0, folder).and_then(|()| match log {
            Some(log) => std::fs::rename(folder.join(LOG), log),
            None => std::fs::remove_file(folder.join(LOG)),
        });
        moved.map_err(EngineError::io(format!("make {}", folder.display())))
    }
}

/// What is kept ready.
#[derive(Default)]
pub(crate) struct Spares {
    shelf: Mutex<Shelf>,
    /// Numbers the folders: one that is being taken or given back is never met by one that is being made.
    made: AtomicU64,
}

#[derive(Default)]
struct Shelf {
    /// Layers of the last container that could have used a spare, and when that was.
    wanted: Option<(Vec<u64>, Instant)>,
    /// The layers that `ready` stands on.
    layers: Vec<u64>,
    ready: Vec<Spare>,
}

impl Spares {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A spare for these layers (top first), if one is there. From now on such spares are wanted.
    pub(crate) fn take(&self, layers: &[u64]) -> Option<Spare> {
        let mut shelf = self.shelf();
        shelf.wanted = Some((layers.to_vec(), Instant::now()));
        if shelf.layers == layers {
            shelf.ready.pop()
        } else {
            None
        }
    }
}

impl Engine {
    /// Makes what is missing, up to the stock, and gives back what nobody wants any more. Blocks.
    pub(crate) fn tend_spares(&self) -> Result<()> {
        loop {
            let mut shelf = self.inner().spares.shelf();
            let wanted = shelf
                .wanted
                .as_ref()
                .filter(|(_, asked)| asked.elapsed() < KEPT)
                .map(|(layers, _)| layers.clone());
            let unwanted = if wanted.as_ref() == Some(&shelf.layers) {
                Vec::new()
            } else {
                std::mem::take(&mut shelf.ready)
            };
            let Some(layers) = wanted else {
                drop(shelf);
                return discard(unwanted);
            };
            shelf.layers.clone_from(&layers);
            let full = shelf.ready.len() >= self.config().sandbox_stock;
            // Made without the lock: a start does not wait for it.
            drop(shelf);
            discard(unwanted)?;
            if full {
                return Ok(());
            }
            let spare = self.make_spare(&layers)?;
            let mut shelf = self.inner().spares.shelf();
            if shelf.layers == layers {
                shelf.ready.push(spare);
            } else {
                drop(shelf);
                discard(vec![spare])?;
            }
        }
    }

    /// Gives all spares back: their layers may be about to go, or the engine closes.
    pub(crate) fn drop_spares(&self) -> Result<()> {
        let mut shelf = self.inner().spares.shelf();
        shelf.wanted = None;
        shelf.layers.clear();
        let all = std::mem::take(&mut shelf.ready);
        drop(shelf);
        discard(all)
    }

    fn make_spare(&self, layers: &[u64]) -> Result<Spare> {
        let number = self.inner().spares.made.fetch_add(1, Ordering::Relaxed);
        let folder = self.paths().temporary().join(format!("spare-{number}"));
        match self.fill_spare(&folder, layers) {
            Ok(root) => Ok(Spare { folder, root }),
            Err(error) => {
                // It is tried again and again, each time with another folder.
                if let Err(left) = crate::cleaner::remove_tree(&folder) {
                    tracing::warn!(error = %left, "the folder of a container that was not made stays");
                }
                Err(error)
            }
        }
    }

    /// Makes the folder and its files; gives the root.
    fn fill_spare(&self, folder: &Path, layers: &[u64]) -> Result<OwnedFd> {
        paths::make_folder(folder, 0o710)?;
        let opened = paths::open_folder(folder)?;
        for (name, mode) in FILES
            .map(|(_, name)| (name, 0o644))
            .into_iter()
            .chain([(LOG, 0o640)])
        {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(folder.join(name))
                .map_err(EngineError::io(format!("write {}", folder.display())))?;
        }
        self.inner().layers.prepare_upper(opened.as_fd(), layers)?;
        Ok(self
            .inner()
            .layers
            .mount(layers, Some(opened.as_fd()), &volatile_root())?)
    }
}

/// How the root of a container that removes itself is mounted.
pub(crate) fn volatile_root() -> snapshot::MountOptions {
    snapshot::MountOptions {
        volatile: true,
        read_only: false,
        init: true,
    }
}

fn discard(spares: Vec<Spare>) -> Result<()> {
    for Spare { folder, root } in spares {
        drop(root);
        crate::cleaner::remove_tree(&folder)?;
    }
    Ok(())
}
