//! Mounts for more than one start.
//!
//! A detached mount becomes part of the first process's mount namespace and ends with it. So a container that
//! may be started again gets a clone for each start. Since 6.15 a detached mount can be cloned as such; before,
//! only what is attached in one's own namespace can, and then the supervisor makes itself a namespace in which
//! its mounts are.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use runtime::plan::{MountKind, Plan, RootSource};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::mount::{self, attr};

use crate::protocol::Slot;

/// The folder in the launcher's root onto which the kept mounts' own file system goes.
const FOLDER: &std::ffi::CStr = c"/root";

/// A mount that is kept, and where its clones are needed.
#[derive(Debug)]
struct Kept {
    slot: usize,
    mount: OwnedFd,
    /// Its place in the supervisor's own namespace, where the kernel clones only from there.
    place: Option<CString>,
}

/// The mounts from which each start gets its own.
#[derive(Debug)]
pub(super) struct Mounts {
    kept: Vec<Kept>,
}

/// The slots of a plan that hold detached mounts.
pub(super) fn mount_slots(plan: &Plan) -> Vec<usize> {
    let root = match plan.root {
        Some(RootSource::Mount(slot)) => Some(slot),
        _ => None,
    };
    let mounts = plan.mounts.iter().filter_map(|entry| match entry.kind {
        MountKind::Detached { slot, .. } => Some(slot),
        _ => None,
    });
    let devices = plan.devices.iter().filter_map(|device| device.bind);
    let mut slots: Vec<usize> = root
        .into_iter()
        .chain(mounts)
        .chain(devices)
        .map(|Slot(slot)| slot.into())
        .collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

impl Mounts {
    /// Takes the plan's mounts out of `fds` for safekeeping; [`Mounts::supply`] puts clones in their places.
    pub(super) fn keep(plan: &Plan, fds: &[OwnedFd]) -> Result<Self, Errno> {
        let mut kept = Vec::new();
        for slot in mount_slots(plan) {
            let original = fds.get(slot).ok_or(Errno::BADF)?;
            let mount = rustix::io::fcntl_dupfd_cloexec(original, 3)?;
            kept.push(Kept {
                slot,
                mount,
                place: None,
            });
        }
        let mut mounts = Mounts { kept };
        let clonable = mounts
            .kept
            .first()
            .is_none_or(|first| mount::clone_tree(first.mount.as_fd(), c"", true).is_ok());
        if !clonable {
            mounts.attach_all()?;
        }
        Ok(mounts)
    }

    /// Puts a clone of each mount into its slot.
    pub(super) fn supply(&self, fds: &mut [OwnedFd]) -> Result<(), Errno> {
        for kept in &self.kept {
            let clone = match &kept.place {
                Some(place) => mount::clone_tree(CWD, place, true)?,
                None => mount::clone_tree(kept.mount.as_fd(), c"", true)?,
            };
            *fds.get_mut(kept.slot).ok_or(Errno::BADF)? = clone;
        }
        Ok(())
    }

    /// Attaches all mounts in a mount namespace of the supervisor's own.
    fn attach_all(&mut self) -> Result<(), Errno> {
        sys::process::unshare(libc::CLONE_NEWNS)?;
        let options = [(c"mode", Some(c"0700")), (c"size", Some(c"1m"))];
        let room = mount::detached(
            c"tmpfs",
            &options,
            attr::NO_DEV | attr::NO_EXEC | attr::NO_SUID,
        )?;
        mount::attach_at(room.as_fd(), CWD, FOLDER)?;
        for kept in &mut self.kept {
            let name = kept.slot.to_string();
            let stat = rustix::fs::fstat(&kept.mount)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                rustix::fs::mkdirat(&room, name.as_str(), Mode::from_raw_mode(0o700))?;
            } else {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&room, name.as_str(), flags, Mode::from_raw_mode(0o600))?;
            }
            let place = [FOLDER.to_bytes(), b"/", name.as_bytes()].concat();
            let place = CString::new(place).map_err(|_| Errno::INVAL)?;
            mount::attach_at(kept.mount.as_fd(), CWD, &place)?;
            kept.place = Some(place);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::plan::{MountAttrs, MountEntry, TargetKind};

    /// A plan whose slots 1 and 2 hold mounts, and the descriptors for it.
    fn plan_and_mounts() -> (Plan, Vec<OwnedFd>) {
        let mut plan = Plan {
            root: Some(RootSource::Mount(Slot(1))),
            ..Plan::default()
        };
        plan.mounts.push(MountEntry {
            target: "/etc/hosts".to_owned(),
            kind: MountKind::own(Slot(2)),
            attrs: MountAttrs::default(),
            propagation: None,
            create_target: TargetKind::File,
        });
        let root = mount::detached(c"tmpfs", &[], 0).unwrap();
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&root, "hosts", flags, Mode::from_raw_mode(0o600)).unwrap();
        // A mount of a file: cloned from a namespace in which its tmpfs is attached, for older kernels' sake.
        mount::attach_at(root.as_fd(), CWD, FOLDER).unwrap();
        let file = mount::clone_tree(CWD, c"/root/hosts", false).unwrap();
        let root = mount::clone_tree(CWD, c"/root", false).unwrap();
        mount::detach(c"/root").unwrap();
        let other = std::fs::File::open("/").unwrap();
        (plan, vec![other.into(), root, file])
    }

    /// Each start's mounts can be attached, whatever became of the former ones.
    fn starts_twice(keep: fn(&Plan, &[OwnedFd]) -> Mounts) {
        // In a namespace of a thread's own nothing is left behind.
        let work = move || {
            sys::process::unshare(libc::CLONE_NEWNS).unwrap();
            let private = mount::Change {
                propagation: Some(mount::Propagation::Private),
                recursive: true,
                ..Default::default()
            };
            mount::set_attributes(CWD, c"/", &private).unwrap();
            let (plan, mut fds) = plan_and_mounts();
            assert_eq!(mount_slots(&plan), [1, 2]);
            let mounts = keep(&plan, &fds);
            for _ in 0..2 {
                mounts.supply(&mut fds).unwrap();
                mount::attach_at(fds[1].as_fd(), CWD, c"/tmp").unwrap();
                mount::attach_at(fds[2].as_fd(), CWD, c"/tmp/hosts").unwrap();
                mount::detach(c"/tmp/hosts").unwrap();
                mount::detach(c"/tmp").unwrap();
            }
        };
        std::thread::spawn(work).join().unwrap();
    }

    #[test]
    fn detached_mounts_serve_several_starts() {
        starts_twice(|plan, fds| Mounts::keep(plan, fds).unwrap());
    }

    #[test]
    fn where_only_attached_mounts_can_be_cloned_they_serve_too() {
        starts_twice(|plan, fds| {
            let mut mounts = Mounts::keep(plan, fds).unwrap();
            if mounts.kept[0].place.is_none() {
                mounts.attach_all().unwrap();
            }
            mounts
        });
    }
}
