//! Detached mounts of folders and files of the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use sys::beneath::{Root, Rule};
use sys::mount::{self, Change, Propagation, attr};

use crate::{VolumeError, VolumeStore};

/// How a folder is mounted elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct BindOptions {
    /// Nothing can be written through the mount; the mounts below it included when it is recursive.
    pub read_only: bool,
    /// The mounts below come along.
    pub recursive: bool,
    /// How later mounts are shared; private when it is not said.
    pub propagation: Option<Propagation>,
}

impl VolumeStore {
    /// A detached mount of a volume, or of the folder or file at `subpath` in it.
    ///
    /// # Errors
    /// [`VolumeError::Subpath`] when it is missing or leads out of the volume.
    pub fn open_tree(
        &self,
        name: &str,
        subpath: Option<&Path>,
        options: &BindOptions,
    ) -> Result<OwnedFd, VolumeError> {
        let data = self.data(name)?;
        let Some(subpath) = subpath else {
            return bind(data.as_fd(), options);
        };
        let part = Root::with_rule(data.as_fd(), Rule::Beneath).open_path(subpath);
        let part = part.map_err(|source| {
            let (name, path) = (name.to_owned(), subpath.to_owned());
            if source.raw_os_error() == Some(Errno::XDEV.raw_os_error()) {
                return VolumeError::Escape { name, path };
            }
            VolumeError::Subpath { name, path, source }
        })?;
        bind(part.as_fd(), options)
    }
}

/// A detached mount of what `source` is open on, which lies in this mount namespace.
pub fn bind(source: BorrowedFd<'_>, options: &BindOptions) -> Result<OwnedFd, VolumeError> {
    let at = |step| {
        move |errno: Errno| VolumeError::Mount {
            step,
            source: errno.into(),
        }
    };
    let tree = mount::clone_tree(source, c"", options.recursive).map_err(at("open_tree"))?;
    let change = Change {
        set: if options.read_only {
            attr::READ_ONLY
        } else {
            0
        },
        propagation: Some(options.propagation.unwrap_or(Propagation::Private)),
        recursive: options.recursive,
        ..Change::default()
    };
    mount::set_attributes(tree.as_fd(), c"", &change).map_err(at("mount_setattr"))?;
    Ok(tree)
}
