//! The root mount: put in place of the caller's, which is dropped.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use sys::mount::{self, Change, Propagation};

use super::{At, Walk, place};
use crate::fault::{Fault, Step};
use crate::plan::{NsMode, RootSource, attr};
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

impl Walk<'_> {
    /// Cuts the mounts off from those that they are copies of: what is mounted or unmounted here must not reach those.
    pub(super) fn isolate_mounts(&self, prepared: &Prepared) -> Result<(), Fault> {
        let own = prepared.plan.namespaces.mount == NsMode::New;
        if own && prepared.birthplace().is_none() {
            mount::set_attributes(CWD, c"/", &SLAVE).at(Step::Isolate)?;
        }
        Ok(())
    }

    /// Makes the plan's root the process's. What is mounted afterwards is resolved within it.
    pub(super) fn enter_root(&mut self, prepared: &Prepared) -> Result<(), Fault> {
        let plan = &prepared.plan;
        let source = match &plan.root {
            None => {
                self.root = Some(place::working_root().at(Step::Root)?);
                return Ok(());
            }
            Some(RootSource::Mount(slot)) => self.supply.slot(*slot).at(Step::RootSource)?,
            Some(RootSource::Path(_)) => self
                .supply
                .root
                .as_ref()
                .map(AsFd::as_fd)
                .ok_or(Errno::BADF)
                .at(Step::RootSource)?,
        };
        mount::set_attributes(source, c"", &SLAVE).at(Step::Isolate)?;
        mount::attach_at(source, CWD, c"/").at(Step::Root)?;
        rustix::process::fchdir(source).at(Step::Root)?;
        if prepared.birthplace().is_some() {
            // Only an empty root lies beneath, and `..` leads past it: it may stay.
            rustix::process::chroot(c".").at(Step::Root)?;
        } else {
            // Stacked upon the old root, the new one changes places with it, and the old one, now on top, is dropped:
            // before any path is resolved, since `..` at the root would lead onto it.
            mount::pivot_to_working_folder().at(Step::Root)?;
            drop_former_root().at(Step::Root)?;
        }
        let root = place::working_root().at(Step::Root)?;
        if let Some(propagation) = plan.root_propagation {
            let change = Change {
                propagation: Some(propagation),
                ..Default::default()
            };
            mount::set_attributes(root.as_fd(), c"", &change).at(Step::Root)?;
        }
        self.root = Some(root);
        Ok(())
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
            mount::place_in(root, &mount.target.path, rustix::fs::OFlags::empty())
                .and_then(|place| mount::set_attributes(place.as_fd(), c"", &read_only))
                .at_index(Step::MountAttributes, index)?;
        }
        if prepared.plan.root_readonly {
            let root = self.root().at(Step::Root)?;
            mount::set_attributes(root, c"", &read_only).at(Step::RootReadOnly)?;
        }
        Ok(())
    }
}
