//! The plan's mounts, in order.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC};
use rustix::io::Errno;
use sys::mount::{self, Change, Context};

use super::{At, Walk, place};
use crate::fault::{Fault, Step};
use crate::guards::{Guard, is_off};
use crate::plan::{MountEntry, MountKind};
use crate::prepared::{Filesystem, Mount, Prepared, Role};
use crate::procfs::Relation;

impl Walk<'_> {
    /// Makes the procfs and sysfs mounts of a user namespace, which the kernel allows only while others can be seen in
    /// the mount namespace: so the caller's, which it made for this, are attached meanwhile.
    pub(super) fn make_revealing(&mut self, prepared: &Prepared) -> Result<(), Fault> {
        let supply = self.supply;
        for revealed in supply.revealed.iter().flatten() {
            mount::attach_at(revealed.as_fd(), CWD, c"/").at(Step::Isolate)?;
        }
        for (index, mount) in prepared.mounts.iter().enumerate() {
            let (Some(place), Some(filesystem)) = (mount.revealing, &mount.filesystem) else {
                continue;
            };
            let made = make(filesystem, mount.attributes).at_index(Step::MountFilesystem, index)?;
            if let Some(place) = self.revealing.get_mut(place) {
                *place = Some(made);
            }
        }
        // Each is the topmost in its turn. Left there, they would keep the old root from being dropped.
        for _ in supply.revealed.iter().flatten() {
            mount::detach(c"/").at(Step::Isolate)?;
        }
        Ok(())
    }

    pub(super) fn mount_all(&mut self, prepared: &Prepared) -> Result<(), Fault> {
        let entries = prepared.plan.mounts.iter().zip(&prepared.mounts);
        for (index, (entry, mount)) in entries.enumerate() {
            self.mount_one(index, entry, mount)?;
        }
        Ok(())
    }

    fn mount_one(&mut self, index: usize, entry: &MountEntry, mount: &Mount) -> Result<(), Fault> {
        if mount.role == Role::Remount {
            return self.remount(index, entry, mount);
        }
        if let Some(filesystem) = &mount.filesystem {
            let ready = mount
                .revealing
                .and_then(|place| self.revealing.get_mut(place)?.take());
            let made = match ready {
                Some(made) => made,
                None => {
                    make(filesystem, mount.attributes).at_index(Step::MountFilesystem, index)?
                }
            };
            let root = self.root().at(Step::Root)?;
            self.attach(root, index, entry, mount, made.as_fd())?;
            match mount.role {
                Role::Proc => self.procfs = Some(made),
                Role::Devpts => self.devpts = Some(made),
                Role::Plain | Role::Remount => {}
            }
            return Ok(());
        }
        let mut opened = None;
        if let (Some(path), MountKind::Bind { recursive, .. }) = (&mount.source, &entry.kind) {
            let clone = sys::mount::clone_tree(CWD, path, *recursive);
            opened = Some(clone.at_index(Step::MountSource, index)?);
        }
        let source = match &entry.kind {
            _ if opened.is_some() => opened.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF),
            MountKind::Detached { slot, .. } => self.supply.slot(*slot),
            _ => self
                .supply
                .sources
                .get(index)
                .and_then(Option::as_ref)
                .map(AsFd::as_fd)
                .ok_or(Errno::BADF),
        };
        let source = source.at_index(Step::MountSource, index)?;
        let root = self.root().at(Step::Root)?;
        self.attach(root, index, entry, mount, source)
    }

    /// Changes what is mounted at a target.
    fn remount(&self, index: usize, entry: &MountEntry, mount: &Mount) -> Result<(), Fault> {
        let root = self.root().at(Step::Root)?;
        let target = mount::place_in(root, &mount.target.path, OFlags::empty())
            .at_index(Step::MountTarget, index)?;
        if let Some(filesystem) = &mount.filesystem {
            reconfigure(filesystem, target.as_fd()).at_index(Step::MountFilesystem, index)?;
        }
        change_attributes(entry, mount, target.as_fd()).at_index(Step::MountAttributes, index)
    }

    fn attach(
        &self,
        root: BorrowedFd<'_>,
        index: usize,
        entry: &MountEntry,
        mount: &Mount,
        source: BorrowedFd<'_>,
    ) -> Result<(), Fault> {
        change_attributes(entry, mount, source).at_index(Step::MountAttributes, index)?;
        check_path(mount, source).at_index(Step::ProcSafety, index)?;
        let target =
            place::target(root, &mount.target, mount.create).at_index(Step::MountTarget, index)?;
        if !is_off(Guard::ProcPlace) {
            check_target(mount, &target).at_index(Step::ProcSafety, index)?;
        }
        if mount.takes_mode && !target.made {
            take_mode(source, target.place.as_fd()).at_index(Step::MountFilesystem, index)?;
        }
        let target = target.place.as_fd();
        mount::attach(source, target)
            .map_err(|errno| attach_error(errno, source, target))
            .at_index(Step::MountAttach, index)
    }
}

/// Gives a new file system's folder the mode of the one that it hides, as runc does.
fn take_mode(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let mode = rustix::fs::fstat(target)?.st_mode & 0o7777;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(source, c".", flags, Mode::empty())?;
    rustix::fs::fchmod(folder, Mode::from_raw_mode(mode))
}

/// Refuses what the procfs is not hidden by, as far as the target's path says; see [`crate::procfs`].
fn check_path(mount: &Mount, source: BorrowedFd<'_>) -> Result<(), Errno> {
    let refused = match mount.relation {
        Relation::Apart => false,
        Relation::Inside => true,
        Relation::Proc if mount.filesystem.is_some() => mount.role != Role::Proc,
        Relation::Proc => !is_procfs(source)?,
    };
    if refused { Err(Errno::PERM) } else { Ok(()) }
}

/// The same for a target that a link leads to, which no path needs that has none. Nor is the procfs itself to be
/// elsewhere than its path says, or a sysfs, which the paths to be masked are in.
fn check_target(mount: &Mount, target: &place::Target) -> Result<(), Errno> {
    match (target.by_link, mount.relation) {
        (true, Relation::Proc) => Err(Errno::LOOP),
        (true, _) if mount.is_sysfs() => Err(Errno::LOOP),
        (true, _) if is_procfs(target.place.as_fd())? => Err(Errno::PERM),
        _ => Ok(()),
    }
}

fn is_procfs(place: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(place)?.f_type == PROC_SUPER_MAGIC)
}

/// Makes a new file system and mounts it nowhere.
fn make(filesystem: &Filesystem, attributes: u64) -> Result<OwnedFd, Errno> {
    let context = Context::open(&filesystem.fstype)?;
    set_options(&context, filesystem)?;
    context.create()?;
    context.mount(attributes)
}

/// Gives a file system that is mounted other options.
fn reconfigure(filesystem: &Filesystem, mount: BorrowedFd<'_>) -> Result<(), Errno> {
    let context = Context::pick(mount)?;
    set_options(&context, filesystem)?;
    context.reconfigure()
}

fn set_options(context: &Context, filesystem: &Filesystem) -> Result<(), Errno> {
    for (key, value) in &filesystem.options {
        match value {
            Some(value) => context.string(key, value)?,
            None => context.flag(key)?,
        }
    }
    Ok(())
}

/// Sets the attributes of a mount that is not of a new file system (which has them already) and the propagation, in as few
/// calls as the depths of the two allow.
fn change_attributes(
    entry: &MountEntry,
    mount: &Mount,
    source: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let attrs = entry.attrs;
    let made_here = mount.filesystem.is_some() && mount.role != Role::Remount;
    let apply = |change: &Change<'_>| {
        if (change.set | change.clear) == 0 && change.propagation.is_none() {
            return Ok(());
        }
        mount::set_attributes(source, c"", change)
    };
    if made_here {
        return apply(&Change {
            propagation: entry.propagation,
            ..Default::default()
        });
    }
    apply(&Change {
        set: attrs.set,
        clear: attrs.clear,
        ..Default::default()
    })?;
    apply(&Change {
        set: attrs.below_set,
        clear: attrs.below_clear,
        propagation: entry.propagation,
        recursive: true,
        ..Default::default()
    })
}

/// The kernel says EINVAL where one side is a folder and the other is not; ENOTDIR is what people know it by.
fn attach_error(errno: Errno, source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Errno {
    let is_folder =
        |fd| rustix::fs::fstat(fd).map(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR);
    match (errno, is_folder(source), is_folder(target)) {
        (Errno::INVAL, Ok(source), Ok(target)) if source != target => Errno::NOTDIR,
        _ => errno,
    }
}
