//! The root mount: put in place of the caller's, which is dropped.

use std::os::fd::AsFd;

use rustix::fs::CWD;
use sys::mount::{self, Change, Propagation};

use super::{At, Walk, place};
use crate::fault::{Fault, Step};
use crate::plan::{NsMode, RootSource, attr};
use crate::prepared::Prepared;

impl Walk<'_> {
    /// Makes the plan's root the process's. What is mounted afterwards is resolved within it.
    pub(super) fn enter_root(&mut self, prepared: &Prepared) -> Result<(), Fault> {
        let plan = &prepared.plan;
        // What is mounted or unmounted here must not reach the namespace that this one is a copy of, nor the mounts
        // that the new root was cloned from.
        let slave = Change {
            propagation: Some(Propagation::Slave),
            recursive: true,
            ..Default::default()
        };
        if plan.namespaces.mount == NsMode::New {
            mount::set_attributes(CWD, c"/", &slave).at(Step::Isolate)?;
        }
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
                .ok_or(rustix::io::Errno::BADF)
                .at(Step::RootSource)?,
        };
        mount::set_attributes(source, c"", &slave).at(Step::Isolate)?;
        // The new root is stacked upon the old, then the two change places and the old one, now on top, is dropped: before
        // any path is resolved, since `..` at the root would lead onto it.
        mount::attach_at(source, CWD, c"/").at(Step::Root)?;
        rustix::process::fchdir(source).at(Step::Root)?;
        mount::pivot_to_working_folder().at(Step::Root)?;
        mount::detach(c".").at(Step::Root)?;
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
