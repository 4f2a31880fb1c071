//! The plan's mounts, in order.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, StatxAttributes, StatxFlags,
};
use rustix::io::Errno;
use sys::mount::{self, Change, Context};

use super::{At, Walk, channel, copy_up, place};
use crate::fault::{Fault, Step, option_index};
use crate::guards::{Guard, is_off};
use crate::plan::{MountAttrs, MountEntry, MountKind, TargetKind, attr};
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
            let made = make(filesystem, mount.attributes, None).map_err(at_mount(index))?;
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

    /// Makes new file systems and opens what is to be bound, in the order of the plan, and attaches nothing.
    pub(super) fn make_ahead(&self, prepared: &Prepared) -> Result<(), Fault> {
        let entries = prepared.plan.mounts.iter().zip(&prepared.mounts);
        for ((index, (entry, mount)), place) in entries.enumerate().zip(&self.supply.ahead) {
            let made = match (&mount.filesystem, &mount.early, &entry.kind) {
                (Some(filesystem), _, MountKind::Fs { .. }) => {
                    let mode = self
                        .mode_ahead(prepared, mount)
                        .at_index(Step::MountTarget, index)?;
                    make(filesystem, mount.attributes, mode).map_err(at_mount(index))?
                }
                (_, Some(path), MountKind::Bind { recursive, .. }) => {
                    mount::clone_tree(CWD, path, *recursive).at_index(Step::MountSource, index)?
                }
                _ => continue,
            };
            place.set(Some(made));
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
        let ahead = self.supply.ahead.get(index).and_then(Cell::take);
        if let Some(filesystem) = &mount.filesystem {
            let ready = mount
                .revealing
                .and_then(|place| self.revealing.get_mut(place)?.take());
            let made = match (ready, ahead) {
                (Some(made), _) if mount.anew => anew(made),
                (Some(made), _) => made,
                (None, Some(made)) => {
                    if mount.within_others {
                        let mode = self.root().and_then(|root| hidden_mode(root, mount));
                        if let Some(mode) = mode.at_index(Step::MountTarget, index)? {
                            take_mode(made.as_fd(), mode).at_index(Step::MountFilesystem, index)?;
                        }
                    }
                    made
                }
                (None, None) => {
                    let mode = self.root().and_then(|root| hidden_mode(root, mount));
                    let mode = mode.at_index(Step::MountTarget, index)?;
                    make(filesystem, mount.attributes, mode).map_err(at_mount(index))?
                }
            };
            let root = self.root().at(Step::Root)?;
            if mount.copies_up {
                copy_up::fill(made.as_fd(), root, &mount.target.path, mount.takes_mode)
                    .at_index(Step::MountFilesystem, index)?;
            }
            self.attach(root, index, entry, mount, made.as_fd(), mount.create)?;
            match mount.role {
                Role::Proc => self.procfs = Some(made),
                Role::Devpts => self.devpts = Some(made),
                Role::Plain | Role::Remount => {}
            }
            return Ok(());
        }
        if let Some(path) = &mount.copied {
            return self.copy(index, entry, mount, path);
        }
        let mut opened = ahead;
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
        self.attach(root, index, entry, mount, source, mount.create)
    }

    /// The mode of the folder that a new file system is to hide, where the root alone tells it: /proc/mounts names it then.
    fn mode_ahead(&self, prepared: &Prepared, mount: &Mount) -> Result<Option<u32>, Errno> {
        let root = match &prepared.plan.root {
            Some(root) if mount.takes_mode && !mount.within_others => root,
            _ => return Ok(None),
        };
        hidden_mode(self.root_source(root)?, mount)
    }

    /// Mounts at the target what the container shows elsewhere by now.
    fn copy(
        &self,
        index: usize,
        entry: &MountEntry,
        mount: &Mount,
        path: &CStr,
    ) -> Result<(), Fault> {
        let MountKind::Copy {
            recursive, idmap, ..
        } = &entry.kind
        else {
            return Err(Fault::indexed(
                Step::MountSource,
                index as u32,
                Errno::INVAL,
            ));
        };
        let root = self.root().at(Step::Root)?;
        let place = mount::place_in(root, path, OFlags::empty());
        let place = place.at_index(Step::MountSource, index)?;
        let clone = mount::clone_tree(place.as_fd(), c"", *recursive);
        let clone = clone.at_index(Step::MountSource, index)?;
        if let Some(idmap) = idmap {
            let namespace = self.supply.slot(idmap.namespace);
            let namespace = namespace.at_index(Step::MountIds, index)?;
            if self.locks_attributes {
                // Only who has rights over the file system may, which is the caller.
                let channel = self.supply.channel.as_fd();
                channel::ask_for_ids(channel, index, clone.as_fd(), namespace, idmap.recursive)?;
            } else {
                map_ids(clone.as_fd(), namespace, idmap.recursive)
                    .at_index(Step::MountIds, index)?;
            }
        }
        let stat = rustix::fs::fstat(&clone).at_index(Step::MountSource, index)?;
        let create = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => TargetKind::Dir,
            _ => TargetKind::File,
        };
        self.attach(root, index, entry, mount, clone.as_fd(), create)
    }

    /// Changes what is mounted at a target.
    fn remount(&self, index: usize, entry: &MountEntry, mount: &Mount) -> Result<(), Fault> {
        let root = self.root().at(Step::Root)?;
        let target = mount::place_in(root, &mount.target.path, OFlags::empty())
            .at_index(Step::MountTarget, index)?;
        if !is_mounted(target.as_fd()).at_index(Step::MountTarget, index)? {
            let fault = Fault::indexed(Step::MountAttributes, index as u32, Errno::INVAL);
            return Err(fault);
        }
        if let Some(filesystem) = &mount.filesystem {
            reconfigure(filesystem, target.as_fd()).map_err(at_mount(index))?;
        }
        change_attributes(entry, mount, target.as_fd(), false)
            .at_index(Step::MountAttributes, index)
    }

    fn attach(
        &self,
        root: BorrowedFd<'_>,
        index: usize,
        entry: &MountEntry,
        mount: &Mount,
        source: BorrowedFd<'_>,
        create: TargetKind,
    ) -> Result<(), Fault> {
        change_attributes(entry, mount, source, self.locks_attributes)
            .at_index(Step::MountAttributes, index)?;
        check_path(mount, source).at_index(Step::ProcSafety, index)?;
        let target =
            place::target(root, &mount.target, create).at_index(Step::MountTarget, index)?;
        if !is_off(Guard::ProcPlace) {
            check_target(mount, &target).at_index(Step::ProcSafety, index)?;
        }
        let target = target.place.as_fd();
        mount::attach(source, target)
            .map_err(|errno| attach_error(errno, source, target))
            .at_index(Step::MountAttach, index)
    }
}

/// The same mount once more, where the kernel lists mounts in the order in which they were made and not in that in which they
/// were attached (since 6.8). One that cannot copy what is attached nowhere (before 6.15) lists it among the first.
fn anew(made: OwnedFd) -> OwnedFd {
    mount::clone_tree(made.as_fd(), c"", false).unwrap_or(made)
}

/// The mode of the folder that a new file system takes over, which it is to hide.
fn hidden_mode(root: BorrowedFd<'_>, mount: &Mount) -> Result<Option<u32>, Errno> {
    if !mount.takes_mode {
        return Ok(None);
    }
    match place::find(root, &mount.target.path)? {
        Some(hidden) => Ok(Some(rustix::fs::fstat(hidden)?.st_mode & 0o7777)),
        None => Ok(None),
    }
}

/// Gives a new file system's folder a mode.
fn take_mode(made: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(made, c".", flags, Mode::empty())?;
    rustix::fs::fchmod(folder, Mode::from_raw_mode(mode))
}

/// Shows the files of a mount that is attached nowhere as other users'. Only the file system's owner may.
pub(crate) fn map_ids(
    clone: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    recursive: bool,
) -> Result<(), Errno> {
    let change = Change {
        set: attr::ID_MAP,
        user_namespace: Some(namespace),
        recursive,
        ..Default::default()
    };
    mount::set_attributes(clone, c"", &change)
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

/// Whether a place is the root of a mount, as far as the kernel tells (since 5.8).
fn is_mounted(place: BorrowedFd<'_>) -> Result<bool, Errno> {
    let found = rustix::fs::statx(place, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    let is_root = StatxAttributes::MOUNT_ROOT;
    Ok(found.stx_attributes.contains(is_root) || !found.stx_attributes_mask.contains(is_root))
}

/// Why a file system was not made or changed.
struct Refusal {
    errno: Errno,
    /// The place of the option that it does not take, where it is one of the plan's.
    option: Option<usize>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            option: None,
        }
    }
}

/// The fault that a refusal is for the mount `index`.
fn at_mount(index: usize) -> impl FnOnce(Refusal) -> Fault {
    move |refusal| {
        let (step, index) = match refusal.option {
            Some(option) => (Step::MountOption, option_index(index, option)),
            None => (Step::MountFilesystem, index),
        };
        Fault::indexed(step, index as u32, refusal.errno)
    }
}

/// Makes a new file system and mounts it nowhere.
fn make(filesystem: &Filesystem, attributes: u64, mode: Option<u32>) -> Result<OwnedFd, Refusal> {
    let context = Context::open(&filesystem.fstype)?;
    set_options(&context, filesystem)?;
    if let Some(mode) = mode {
        let digits = octal(mode);
        let text = CStr::from_bytes_until_nul(&digits).map_err(|_| Errno::INVAL)?;
        context.string(c"mode", text)?;
    }
    context.create()?;
    Ok(context.mount(attributes)?)
}

/// A mode's four digits as a text that ends with a NUL.
fn octal(mode: u32) -> [u8; 5] {
    let digit = |place: u32| b'0' + (mode >> (3 * place) & 7) as u8;
    [digit(3), digit(2), digit(1), digit(0), 0]
}

/// Gives a file system that is mounted other options.
fn reconfigure(filesystem: &Filesystem, mount: BorrowedFd<'_>) -> Result<(), Refusal> {
    let context = Context::pick(mount)?;
    set_options(&context, filesystem)?;
    Ok(context.reconfigure()?)
}

fn set_options(context: &Context, filesystem: &Filesystem) -> Result<(), Refusal> {
    for (place, (key, value)) in filesystem.options.iter().enumerate() {
        let set = match value {
            Some(value) => context.string(key, value),
            None => context.flag(key),
        };
        set.map_err(|errno| Refusal {
            errno,
            option: place.checked_sub(filesystem.added),
        })?;
    }
    Ok(())
}

/// Sets the attributes of a mount that is not of a new file system (which has them already) and the propagation, in as few
/// calls as the depths of the two allow.
fn change_attributes(
    entry: &MountEntry,
    mount: &Mount,
    source: BorrowedFd<'_>,
    locked: bool,
) -> Result<(), Errno> {
    let attrs = if entry.attrs.replaces {
        replacement(entry.attrs, source, locked)?
    } else {
        entry.attrs
    };
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

/// Attributes that a mount has or has not, but for its access times.
const SWITCHES: u64 = LOCKED | attr::NO_SYMFOLLOW;

/// Those that the kernel locks where a less privileged namespace gets a copy (mount_namespaces(7)).
const LOCKED: u64 = attr::READ_ONLY | attr::NO_SUID | attr::NO_DEV | attr::NO_EXEC;

/// The words of access times.
const TIMES: u64 = attr::ATIME_MASK | attr::NO_DIR_ATIME;

/// What is set and cleared so that a bind mount has the attributes of `attrs` and no others; `locked` ones stay. (The kernel
/// does not lock them itself: the source was opened by the caller, who may change them.)
fn replacement(
    attrs: MountAttrs,
    source: BorrowedFd<'_>,
    locked: bool,
) -> Result<MountAttrs, Errno> {
    let mut set = attrs.set;
    if locked {
        let found = attributes_of(source)?;
        let other_times = attrs.clear & TIMES != 0 && (attrs.set ^ found) & TIMES != 0;
        if other_times || attrs.clear & found & LOCKED != 0 {
            return Err(Errno::PERM);
        }
        set |= found & LOCKED;
    }
    Ok(MountAttrs {
        set,
        clear: SWITCHES & !set | attrs.clear & TIMES,
        ..attrs
    })
}

/// The attributes that a mount has.
fn attributes_of(mount: BorrowedFd<'_>) -> Result<u64, Errno> {
    let found = rustix::fs::fstatvfs(mount)?.f_flag.bits();
    let bits = [
        (libc::ST_RDONLY, attr::READ_ONLY),
        (libc::ST_NOSUID, attr::NO_SUID),
        (libc::ST_NODEV, attr::NO_DEV),
        (libc::ST_NOEXEC, attr::NO_EXEC),
        (libc::ST_NODIRATIME, attr::NO_DIR_ATIME),
    ];
    let bits = bits.into_iter().filter(|(flag, _)| found & flag != 0);
    // With neither word access times are strict.
    let times = match (
        found & libc::ST_NOATIME != 0,
        found & libc::ST_RELATIME != 0,
    ) {
        (true, _) => attr::NO_ATIME,
        (false, true) => attr::RELATIVE_ATIME,
        (false, false) => attr::STRICT_ATIME,
    };
    Ok(bits.fold(times, |all, (_, bit)| all | bit))
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
