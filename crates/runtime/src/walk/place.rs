//! Places within the container's root. The kernel resolves every path beneath the root's descriptor, so that links of
//! an image, or of a volume that others write to at the same time, lead nowhere else.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs};
use rustix::io::Errno;

use super::links;
use crate::guards::{Guard, is_off};
use crate::plan::TargetKind;
use crate::prepared::Place;

/// The root of the process itself.
pub(super) fn working_root() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, c"/", flags, Mode::empty())
}

/// The caller's /proc, as long as it is in sight; where there is none, a procfs that is mounted nowhere.
pub(crate) fn callers_procfs() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, c"/proc", flags, Mode::empty()) {
        Ok(found) if fstatfs(&found)?.f_type == PROC_SUPER_MAGIC => Ok(found),
        _ => sys::mount::private_procfs(),
    }
}

/// Opens a path as a place; `None` where it is missing.
pub(super) fn find(root: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match sys::mount::place_in(root, path, OFlags::empty()) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Opens a place, and makes what is missing of it: folders of mode 0755, at the end what `kind` says. Where a link leads
/// to what is missing, it is made there.
pub(crate) fn find_or_make(
    root: BorrowedFd<'_>,
    place: &Place,
    kind: TargetKind,
) -> Result<OwnedFd, Errno> {
    match sys::mount::place_in(root, &place.path, OFlags::empty()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    match make(root, place, kind, find) {
        Err(Errno::LOOP) => links::make(root, &place.path, kind),
        other => other,
    }
}

/// The target of a mount.
pub(crate) struct Target {
    pub(crate) place: OwnedFd,
    /// A link leads there, so that the path does not tell where it is.
    pub(super) by_link: bool,
}

/// Opens the target of a mount as [`find_or_make`] does.
pub(crate) fn target(
    root: BorrowedFd<'_>,
    place: &Place,
    kind: TargetKind,
) -> Result<Target, Errno> {
    if is_off(Guard::Targets) {
        return unguarded(root, place);
    }
    let (place, by_link) = match sys::mount::place_without_links_in(root, &place.path) {
        // A link that appears meanwhile is an error.
        Err(Errno::NOENT) => (make(root, place, kind, find_without_links)?, false),
        Err(Errno::LOOP) => match find(root, &place.path)? {
            Some(found) => (found, true),
            None => (find_or_make(root, place, kind)?, true),
        },
        other => (other?, false),
    };
    Ok(Target { place, by_link })
}

pub(super) fn find_without_links(
    root: BorrowedFd<'_>,
    path: &CStr,
) -> Result<Option<OwnedFd>, Errno> {
    match sys::mount::place_without_links_in(root, path) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// As programs do that know nothing of links: each is followed by the process's own root.
fn unguarded(root: BorrowedFd<'_>, place: &Place) -> Result<Target, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mut reached: Option<OwnedFd> = None;
    for (_, name) in &place.components {
        let folder = reached.as_ref().map_or(root, AsFd::as_fd);
        let found = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755))?;
                rustix::fs::openat(folder, name, flags, Mode::empty())
            }
            other => other,
        };
        reached = Some(found?);
    }
    Ok(Target {
        place: reached.ok_or(Errno::NOENT)?,
        by_link: false,
    })
}

/// How a component's place is found.
type Find = fn(BorrowedFd<'_>, &CStr) -> Result<Option<OwnedFd>, Errno>;

fn make(
    root: BorrowedFd<'_>,
    place: &Place,
    kind: TargetKind,
    find: Find,
) -> Result<OwnedFd, Errno> {
    // The whole was looked for. Mostly its last part alone is missing.
    let last = place.components.len().saturating_sub(1);
    let mut reached: Option<OwnedFd> = None;
    let mut there = last;
    while there > 0 && reached.is_none() {
        let (path, _) = place.components.get(there - 1).ok_or(Errno::NOENT)?;
        match find(root, path)? {
            Some(found) => reached = Some(found),
            None => there -= 1,
        }
    }
    for (index, (_, name)) in place.components.iter().enumerate().skip(there) {
        let folder = reached.as_ref().map_or(root, AsFd::as_fd);
        let kind = if index == last { kind } else { TargetKind::Dir };
        reached = Some(make_one(folder, name, kind)?);
    }
    reached.ok_or(Errno::NOENT)
}

/// Makes one entry of a folder and opens it. Something that appeared meanwhile is taken, a link is not followed: one
/// that leads nowhere is an error.
pub(super) fn make_one(
    folder: BorrowedFd<'_>,
    name: &CStr,
    kind: TargetKind,
) -> Result<OwnedFd, Errno> {
    let made = match kind {
        TargetKind::Dir => rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)),
        TargetKind::File => {
            let mode = Mode::from_raw_mode(0o755);
            rustix::fs::mknodat(folder, name, FileType::RegularFile, mode, 0)
        }
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) {
        FileType::Symlink => Err(Errno::LOOP),
        _ => Ok(place),
    }
}
