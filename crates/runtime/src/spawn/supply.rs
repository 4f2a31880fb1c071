//! What the caller opens for the walk before there is a child.

use std::cell::Cell;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use sys::mount;

use super::Stdio;
use crate::fault::{Fault, Step};
use crate::plan::{MountKind, NsMode, RootSource, attr};
use crate::prepared::Prepared;
use crate::walk::{self, Supply};

impl<'a> Supply<'a> {
    /// Nothing but descriptors.
    pub(super) fn plain(slots: &'a [OwnedFd], stdio: Stdio<'a>, channel: OwnedFd) -> Self {
        Self {
            slots,
            root: None,
            sources: Vec::new(),
            ahead: Vec::new(),
            nodes: Vec::new(),
            revealed: [None, None],
            stdio,
            channel,
            gated: false,
            joined: false,
        }
    }

    /// Opens the paths of the caller's mount namespace that the plan names: here, because the child is not to depend on
    /// what its user namespace may reach.
    pub(super) fn for_plan(
        prepared: &Prepared,
        slots: &'a [OwnedFd],
        stdio: Stdio<'a>,
        channel: OwnedFd,
    ) -> Result<Self, Fault> {
        let plan = &prepared.plan;
        let mut supply = Self::plain(slots, stdio, channel);
        if plan.unprivileged {
            // All of it is opened by the process itself.
            return Ok(supply);
        }
        if let Some(RootSource::Path(path)) = &plan.root {
            supply.root =
                Some(clone_path(path, true).map_err(|errno| Fault::new(Step::RootSource, errno))?);
        }
        if prepared.makes_ahead() {
            let mounts = prepared.mounts.iter();
            supply.ahead = mounts.map(|_| Cell::new(None)).collect();
        }
        supply.sources = bind_sources(prepared, slots)?;
        // Where the caller's tree stays in sight, its own are.
        if plan.namespaces.user != NsMode::Host && !plan.nested {
            let at = |errno| Fault::new(Step::Prepare, errno);
            supply.revealed = [
                Some(mount::private_procfs().map_err(at)?),
                Some(mount::detached(c"sysfs", &[], attr::READ_ONLY).map_err(at)?),
            ];
        }
        if prepared.binds_devices() {
            for (index, device) in plan.devices.iter().enumerate() {
                let node = match device.bind {
                    Some(_) => None,
                    None => Some(
                        clone_path(&device.path, false)
                            .map_err(|errno| Fault::indexed(Step::Device, index as u32, errno))?,
                    ),
                };
                supply.nodes.push(node);
            }
        }
        Ok(supply)
    }
}

fn bind_sources(prepared: &Prepared, slots: &[OwnedFd]) -> Result<Vec<Option<OwnedFd>>, Fault> {
    let plan = &prepared.plan;
    let by_child = |index: usize| {
        let mount = prepared.mounts.get(index);
        prepared.makes_ahead() && mount.is_some_and(|mount| mount.early.is_some())
    };
    let open = |(index, mount): (usize, &crate::plan::MountEntry)| match &mount.kind {
        MountKind::Bind { .. } if by_child(index) => Ok(None),
        MountKind::Bind {
            source,
            recursive,
            idmap,
        } => {
            let at = |step| move |errno| Fault::indexed(step, index as u32, errno);
            let clone = clone_path(source, *recursive).map_err(at(Step::MountSource))?;
            if let Some(idmap) = idmap {
                let namespace = slots.get(usize::from(idmap.namespace.0));
                let mapped = namespace.ok_or(Errno::BADF).and_then(|namespace| {
                    walk::map_ids(clone.as_fd(), namespace.as_fd(), idmap.recursive)
                });
                mapped.map_err(at(Step::MountIds))?;
            }
            Ok(Some(clone))
        }
        MountKind::Fs { .. }
        | MountKind::Detached { .. }
        | MountKind::Copy { .. }
        | MountKind::Remount { .. } => Ok(None),
    };
    if plan
        .mounts
        .iter()
        .any(|mount| matches!(mount.kind, MountKind::Bind { .. }))
    {
        return plan.mounts.iter().enumerate().map(open).collect();
    }
    Ok(Vec::new())
}

fn clone_path(path: &str, recursive: bool) -> Result<OwnedFd, Errno> {
    // A text with a NUL names no file.
    let path = CString::new(path).map_err(|_| Errno::NOENT)?;
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    mount::clone_tree(CWD, &path, recursive)
}
