//! Ways into a group by their paths, for a command that comes back to a container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::directory::read_from_start;
use super::{CgroupError, freezer};

/// Where a group is entered, and where it says whether it is frozen. Written down, it spares a later command the search for
/// the host's hierarchies, which is a tenth of what an exec costs. It is true until limits change, which may put the group
/// into further hierarchies, and where the hierarchies are mounted as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doors {
    /// The files `tasks` of version 1.
    pub(super) tasks: Vec<PathBuf>,
    /// The folder in the unified tree.
    pub(super) unified: Option<PathBuf>,
    /// Of either version.
    pub(super) freezer: Option<PathBuf>,
}

impl Doors {
    /// As [`super::Group::entry_fds`].
    ///
    /// # Errors
    /// A file can not be opened: the group is gone, or is to be looked for.
    pub fn entry_fds(&self) -> Result<(Vec<OwnedFd>, Option<OwnedFd>), CgroupError> {
        let tasks = self.tasks.iter().map(|path| open(path, OFlags::WRONLY));
        let unified = self.unified.as_deref();
        let folder = |path| open(path, OFlags::RDONLY | OFlags::DIRECTORY);
        Ok((
            tasks.collect::<Result<_, _>>()?,
            unified.map(folder).transpose()?,
        ))
    }

    /// Whether the group is frozen, or becoming so.
    ///
    /// # Errors
    /// As of [`Doors::entry_fds`].
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        let Some(path) = &self.freezer else {
            return Ok(false);
        };
        let text = read_from_start(open(path, OFlags::RDONLY)?.as_fd()).map_err(|source| {
            let path = path.clone();
            CgroupError::Read { path, source }
        })?;
        Ok(freezer::tells_frozen(&text))
    }
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, CgroupError> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        CgroupError::Open {
            path: path.to_owned(),
            source: errno.into(),
        }
    })
}
