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
fn mount_slots(plan: &Plan) -> Vec<usize> {
    let root = match plan.root {
        Some(RootSource::Mount(slot)) => Some(slot),
        _ => None,
    };
    let mounts = plan.mounts.iter().filter_map(|entry| match entry.kind {
        MountKind::Detached(slot) => Some(slot),
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
