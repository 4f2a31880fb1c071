//! A further name of a file, which this layer or one below it has.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use super::{Place, Writing, entry_fault};
use crate::SnapshotError;
use crate::error::path_of;
use crate::unpack::content::Fault;
use crate::unpack::links;
use crate::unpack::path::{LayerPath, c_name};
use crate::whiteout;

impl Writing {
    pub(super) fn hard_link(
        &mut self,
        place: &Place<'_>,
        path: &LayerPath,
    ) -> Result<(), SnapshotError> {
        let entry = place.entry;
        let Some(target) = LayerPath::parse(&entry.link).filter(|target| !target.is_top()) else {
            return Err(SnapshotError::Escapes {
                entry: path_of(&entry.link),
            });
        };
        if target == *path {
            // Linked to itself: true already when it is there.
            let stat = whiteout::lstat(place.folder.fd.as_fd(), &place.name);
            return match stat {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(entry_fault("link", entry, Errno::NOENT.into())),
                Err(errno) => Err(entry_fault("link", entry, errno.into())),
            };
        }
        self.link_to(place, &target)
            .map_err(|fault| entry_fault("link", entry, fault))
    }

    fn link_to(&mut self, place: &Place<'_>, target: &LayerPath) -> Result<(), Fault> {
        let (above, name) = target.split();
        let name = c_name(name)?;
        if let Some(folder) = self.folders.find(above)? {
            let link = || {
                fs::linkat(
                    &folder.fd,
                    &*name,
                    &place.folder.fd,
                    &*place.name,
                    AtFlags::empty(),
                )
            };
            match self.making(place, link) {
                Err(Fault::Io(fault)) if fault.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
        }
        // Only the layers below have it: as overlayfs would, it is copied here, and has two names from now on.
        let folder = self.folders.get(above)?;
        let left = self.limits.copied.saturating_sub(self.copied);
        let copy = links::copy_from_parents(self.folders.parents(), target, &folder, &name, left)?;
        let Some((size, copied)) = copy else {
            return Err(Fault::Copied(self.limits.copied));
        };
        self.copied += copied;
        self.size = self.size.saturating_add(size);
        Ok(fs::linkat(
            &folder.fd,
            &*name,
            &place.folder.fd,
            &*place.name,
            AtFlags::empty(),
        )?)
    }
}
