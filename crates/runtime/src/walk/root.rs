//! The root mount: put in place of the caller's, which is dropped.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use sys::mount::{self, Change, Propagation};

use super::{At, Walk, place};
use crate::fault::{Fault, Step};
use crate::plan::{NsMode, RootChange, RootSource, attr};
use crate::prepared::Prepared;

/// Receives what is mounted elsewhere, and sends nothing there.
const SLAVE: Change<'_> = Change {
    set: 0,
    clear: 0,
    propagation: Some(Propagation::Slave),
    user_namespace: None,
    recursive: true,
};

/// Mounts that may lie upon the caller's root.
const MAX_STACKED: usize = 64;

/// A file that there is in every procfs: a place for the mount of a file that is dropped with the caller's tree.
const DISMISSED_AT: &CStr = c"/proc/version";

/// Drops what lies upon the root that is the working folder: the former root, and whatever was stacked upon that.
fn drop_former_root() -> Result<(), Errno> {
    for _ in 0..MAX_STACKED {
        mount::detach(c".")?;
        // Up from the root is the root itself, unless something lies upon it.
        if mount_of(c"..")? == mount_of(c".")? {
            return Ok(());
        }
    }
    Err(Errno::LOOP)
}

/// The number of the mount that a path leads to.
fn mount_of(path: &CStr) -> Result<u64, Errno> {
    rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).map(|found| found.stx_mnt_id)
}

/// Drops what is mounted below the former root, which a new one covers. What the kernel keeps, since a user namespace
/// may not look beneath it, stays covered.
fn leave(former: &OwnedFd, prepared: &Prepared) {
    if rustix::process::fchdir(former).is_ok() {
        for place in &prepared.covered {
            let _ = mount::detach(place);
        }
    }
}

impl Walk<'_> {
    /// Cuts the mounts off from those that they are copies of: what is mounted or unmounted here must not reach those.
    /// A namespace that is joined to be given another root is treated as one that is new.
    pub(super) fn isolate_mounts(&self, prepared: &Prepared) -> Result<(), Fault> {
        let plan = &prepared.plan;
        let own = match plan.namespaces.mount {
            NsMode::New => true,
            NsMode::Join(_) => plan.root.is_some(),
            NsMode::Host => false,
        };
        if own && prepared.birthplace().is_none() {
            mount::set_attributes(CWD, c"/", &SLAVE).at(Step::Isolate)?;
        }
        Ok(())
    }

    pub(super) fn root_source(&self, source: &RootSource) -> Result<BorrowedFd<'_>, Errno> {
        match source {
            RootSource::Mount(slot) => self.supply.slot(*slot),
            RootSource::Path(_) => {
                let root = self.supply.root.as_ref().map(AsFd::as_fd);
                root.ok_or(Errno::BADF)
            }
        }
    }

    /// Mounts the root in the caller's tree first, for a plan that wants it: see [`crate::plan::Plan::shown_at`].
    pub(super) fn show_root(&mut self, prepared: &Prepared) -> Result<(), Fault> {
        let (Some(path), Some(source)) = (&prepared.shown_at, &prepared.plan.root) else {
            return Ok(());
        };
        let opened = match &prepared.root {
            Some(root) => Some(mount::clone_tree(CWD, root, true).at(Step::RootSource)?),
            None => None,
        };
        let source = match &opened {
            Some(opened) => opened.as_fd(),
            None => self.root_source(source).at(Step::RootSource)?,
        };
        mount::set_attributes(source, c"", &SLAVE).at(Step::Isolate)?;
        mount::attach_at(source, CWD, path).at(Step::Root)?;
        if prepared.plan.namespaces.mount == NsMode::Host {
            // What is mounted within is not for those who have copies of the caller's mounts.
            let private = Change {
                propagation: Some(Propagation::Private),
                ..SLAVE
            };
            mount::set_attributes(source, c"", &private).at(Step::Isolate)?;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(source, c".", flags, Mode::empty()).at(Step::Root)?;
        self.root = Some(root);
        Ok(())
    }

    /// Makes the plan's root the process's, unless it is shown first. What is mounted afterwards is resolved within it.
    pub(super) fn enter_root(&mut self, prepared: &Prepared) -> Result<(), Fault> {
        if self.root.is_some() {
            return Ok(());
        }
        let Some(source) = &prepared.plan.root else {
            self.root = Some(place::working_root().at(Step::Root)?);
            return Ok(());
        };
        let source = self.root_source(source).at(Step::RootSource)?;
        mount::set_attributes(source, c"", &SLAVE).at(Step::Isolate)?;
        let covers = matches!(prepared.plan.root_change, RootChange::Cover(_));
        let former = covers.then(place::working_root).transpose();
        let former = former.at(Step::Root)?;
        mount::attach_at(source, CWD, c"/").at(Step::Root)?;
        rustix::process::fchdir(source).at(Step::Root)?;
        if prepared.birthplace().is_some() {
            // Only an empty root lies beneath, and `..` leads past it: it may stay.
            rustix::process::chroot(c".").at(Step::Root)?;
        } else if let Some(former) = former {
            leave(&former, prepared);
            rustix::process::fchdir(source).at(Step::Root)?;
            rustix::process::chroot(c".").at(Step::Root)?;
        } else {
            // Stacked upon the old root, the new one changes places with it, and the old one, now on top, is dropped:
            // before any path is resolved, since `..` at the root would lead onto it.
            self.pivot(prepared).at(Step::Root)?;
        }
        self.finish_root()
    }

    /// Puts the root that was shown in the place of the caller's.
    pub(super) fn change_root(&mut self, prepared: &Prepared) -> Result<(), Fault> {
        let root = self.root().at(Step::Root)?;
        rustix::process::fchdir(root).at(Step::Root)?;
        if prepared.plan.namespaces.mount == NsMode::Host {
            rustix::process::chroot(c".").at(Step::Root)?;
        } else if let RootChange::Cover(_) = prepared.plan.root_change {
            let former = place::working_root().at(Step::Root)?;
            mount::attach_at(root, CWD, c"/").at(Step::Root)?;
            leave(&former, prepared);
            rustix::process::fchdir(root).at(Step::Root)?;
            rustix::process::chroot(c".").at(Step::Root)?;
        } else {
            self.pivot(prepared).at(Step::Root)?;
        }
        self.finish_root()
    }

    /// Changes the root to the working folder, and drops the former one with all that is mounted there.
    fn pivot(&self, prepared: &Prepared) -> Result<(), Errno> {
        let own = prepared.plan.namespaces.mount == NsMode::New;
        if let (true, Some(slot)) = (own, prepared.dismissed) {
            // Upon a file of this process's copy of the caller's tree. Where that has none, it stays to its descriptors.
            let _ = mount::attach_at(self.supply.slot(slot)?, CWD, DISMISSED_AT);
        }
        mount::pivot_to_working_folder()?;
        drop_former_root()
    }

    fn finish_root(&mut self) -> Result<(), Fault> {
        self.root = Some(place::working_root().at(Step::Root)?);
        Ok(())
    }

    /// Gives the root mount its propagation. What is attached to a mount that is shared becomes so itself: hence only
    /// when everything is mounted.
    pub(super) fn settle_root(&self, prepared: &Prepared) -> Result<(), Fault> {
        let plan = &prepared.plan;
        let from_folder = match plan.root {
            None => return Ok(()),
            Some(RootSource::Path(_)) => true,
            Some(RootSource::Mount(_)) => false,
        };
        let shared = plan.root_propagation == Some(Propagation::Shared);
        let change = |propagation, recursive| Change {
            propagation: Some(propagation),
            recursive,
            ..Change::default()
        };
        if shared || (from_folder && plan.root_propagation.is_none()) {
            // It shares with its own copies, and takes nothing from the host's any more.
            self.change_root_mount(&change(Propagation::Private, false))?;
        }
        match plan.root_propagation {
            Some(kind) => self.change_root_mount(&change(kind, plan.root_propagation_below)),
            None => Ok(()),
        }
    }

    fn change_root_mount(&self, change: &Change<'_>) -> Result<(), Fault> {
        let root = self.root().at(Step::Root)?;
        mount::set_attributes(root, c"", change).at(Step::Root)
    }

    /// What becomes read-only once everything within it is in place: new tmpfs mounts, and the root.
    pub(super) fn finish_read_only(&self, prepared: &Prepared) -> Result<(), Fault> {
        let read_only = Change {
            set: attr::READ_ONLY,
            ..Default::default()
        };
        let late = prepared
            .mounts
            .iter()
            .enumerate()
            .filter(|(_, mount)| mount.late_read_only);
        for (index, mount) in late {
            let root = self.root().at(Step::Root)?;
            let place = match mount::place_in(root, &mount.target.path, OFlags::empty()) {
                // A later mount, of a hook perhaps, hides it.
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                other => other.at_index(Step::MountAttributes, index)?,
            };
            mount::set_attributes(place.as_fd(), c"", &read_only)
                .at_index(Step::MountAttributes, index)?;
        }
        if prepared.plan.root_readonly {
            let root = self.root().at(Step::Root)?;
            mount::set_attributes(root, c"", &read_only).at(Step::RootReadOnly)?;
        }
        Ok(())
    }
}
