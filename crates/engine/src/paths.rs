//! Where things lie below the two roots.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use types::ContainerId;

use crate::outcome::{EngineError, Result};

/// Version of what lies below the roots: a folder of its own in each.
const VERSION: &str = "v1";
const LOCK_FILE: &str = "daemon.lock";
/// The file below an exec root that its daemon has open, and locked, as long as it lives.
pub const LOCK: &str = "v1/daemon.lock";

/// Folders of one engine, all made when it opens.
#[derive(Debug)]
pub(crate) struct Paths {
    /// `DATA_ROOT` as it was given, made absolute.
    pub(crate) data_root: PathBuf,
    /// `DATA_ROOT/v1`.
    pub(crate) data: PathBuf,
    /// `EXEC_ROOT/v1`.
    pub(crate) exec: PathBuf,
}

impl Paths {
    /// Makes the folders; the data root is closed to others, since setuid files of images lie in it.
    pub(crate) fn make(data_root: &Path, exec_root: &Path) -> Result<Paths> {
        for root in [data_root, exec_root] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o710)
                .create(root)
                .map_err(EngineError::io(format!("make {}", root.display())))?;
        }
        let canonical = |root: &Path| {
            root.canonicalize()
                .map_err(EngineError::io(format!("find {}", root.display())))
        };
        let (data_root, exec_root) = (canonical(data_root)?, canonical(exec_root)?);
        let paths = Paths {
            data: data_root.join(VERSION),
            exec: exec_root.join(VERSION),
            data_root,
        };
        for folder in [
            &paths.data,
            &paths.exec,
            &paths.containers(),
            &paths.tombstones(),
            &paths.temporary(),
            &paths.shims(),
        ] {
            make_folder(folder, 0o710)?;
        }
        Ok(paths)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.data.join("store.db")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    pub(crate) fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// Docker's name for a container's log.
    pub(crate) fn log(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join(log_name(id))
    }

    pub(crate) fn tombstones(&self) -> PathBuf {
        self.data.join("tombstones")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.data.join("tmp")
    }

    /// What was made of other groups' parents.
    pub(crate) fn groups(&self) -> PathBuf {
        self.exec.join("groups")
    }

    pub(crate) fn shims(&self) -> PathBuf {
        self.exec.join("shims")
    }

    pub(crate) fn shim(&self, id: &ContainerId) -> PathBuf {
        self.shims().join(id.as_str())
    }

    /// The folder of the helper for names; made with it.
    pub(crate) fn names(&self) -> PathBuf {
        self.shims().with_file_name("net")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.exec.join(LOCK_FILE)
    }
}

/// The file name of a container's log.
pub(crate) fn log_name(id: &ContainerId) -> String {
    format!("{id}-json.log")
}

/// Makes a folder unless it is there.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let describe = || format!("make {}", path.display());
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(EngineError::io(describe())),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(EngineError::io(describe())(error)),
    }
}

/// Opens a folder of the engine's own.
pub(crate) fn open_folder(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| EngineError::Io {
        what: format!("open {}", path.display()),
        source: errno.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_where_others_look_for_it() {
        assert_eq!(Path::new(VERSION).join(LOCK_FILE), Path::new(LOCK));
    }
}
