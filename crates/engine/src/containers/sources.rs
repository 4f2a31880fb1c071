//! Where a container's mounts and joined namespaces come from.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::files::clone_path;
use super::registry::Container;
use crate::compile::modes::{IpcMode, Modes};
use crate::compile::mounts::Source;
use crate::compile::plan::OpenMount;
use crate::engine::Engine;
use crate::neighbour::Neighbour;
use crate::outcome::{EngineError, Result};
use crate::volumes::VolumeDoc;

impl Engine {
    /// The process of a neighbour that runs.
    pub(super) fn neighbour(&self, name: &str) -> Result<Neighbour> {
        let neighbour = self.registry().find(name)?;
        Neighbour::of(&neighbour.run()).ok_or_else(|| {
            EngineError::conflict(format!(
                "cannot join namespace of a non running container: {}",
                neighbour.id()
            ))
        })
    }

    pub(super) fn join_ipc(&self, name: &str) -> Result<(OwnedFd, OwnedFd)> {
        let neighbour = self.registry().find(name)?;
        if neighbour.spec.host.ipc_mode != "shareable" {
            return Err(EngineError::invalid(format!(
                "cannot join IPC of a container that is not shareable: {} has the IPC mode {}",
                neighbour.id(),
                neighbour.spec.host.ipc_mode
            )));
        }
        let neighbour = self.neighbour(name)?;
        Ok((neighbour.namespace("ipc")?, neighbour.shared_memory()?))
    }

    /// Opens the sources of all mounts; a volume that was never used is filled from the image first.
    pub(super) fn open_mounts<'a>(
        &self,
        container: &'a Container,
        root: &OwnedFd,
        used: &mut Vec<String>,
    ) -> Result<Vec<OpenMount<'a>>> {
        container.spec.mounts.iter().map(|spec| match &spec.source {
            Source::Tmpfs { .. } => Ok(OpenMount { spec, tree: None, folder: true }),
            Source::Bind { path, create, recursive } => {
                let path = Path::new(path);
                if !path.exists() {
                    if !create {
                        return Err(EngineError::invalid(format!(
                            "invalid mount config for type \"bind\": bind source path does not exist: {}",
                            path.display()
                        )));
                    }
                    std::fs::create_dir_all(path).map_err(|source| {
                        EngineError::invalid(format!("error while creating mount source path '{}': {}", path.display(), crate::outcome::words(&source)))
                    })?;
                }
                Ok(OpenMount { spec, tree: Some(clone_path(path, *recursive)?), folder: path.is_dir() })
            }
            Source::Volume { name, copy, subpath, .. } => {
                let fresh = self.inner().volumes.lock().get(name).is_some_and(|doc: &VolumeDoc| !doc.used);
                let store = &self.inner().volume_store;
                let subpath = (!subpath.is_empty()).then(|| Path::new(subpath.as_str()));
                // Once for each container, as long as nobody has put anything in.
                if *copy && (fresh || container.run().started_at == 0) {
                    store.copy_up(root.as_fd(), Path::new(&spec.target), name, subpath)?;
                }
                if fresh {
                    used.push(name.clone());
                }
                let tree = store.open_tree(name, subpath, &volume::BindOptions::default())?;
                let folder = rustix::fs::fstat(&tree).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
                Ok(OpenMount { spec, tree: Some(tree), folder })
            }
        }).collect()
    }
}

/// What a container finds at /dev when it shares the host's IPC.
pub(super) fn host_ipc(modes: &Modes) -> Result<Vec<(&'static str, OwnedFd)>> {
    if modes.ipc != IpcMode::Host {
        return Ok(Vec::new());
    }
    ["/dev/shm", "/dev/mqueue"]
        .into_iter()
        .filter(|path| Path::new(path).is_dir())
        .map(|path| Ok((path, clone_path(Path::new(path), true)?)))
        .collect()
}
