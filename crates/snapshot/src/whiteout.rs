//! How a layer says that something of the layers below is gone: in archives by names, in overlayfs by a device and an
//! attribute.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{self, AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;
use sys::beneath::Xattrs;

/// Archives: before the name of what is gone.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// Archives: in a folder that hides all that the layers below have in it.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// Archives: what aufs kept for itself.
pub(crate) const META_PREFIX: &[u8] = b".wh..wh.";
/// Overlayfs: the attribute of a folder that hides the layers below; its value is `y`.
const OPAQUE_XATTR: &CStr = c"trusted.overlay.opaque";

/// Whether overlayfs takes an entry for a whiteout: a character device 0/0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes a whiteout.
pub(crate) fn make(dir: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Hides what the layers below have in the folder `name` of `dir` (empty: `dir` itself).
pub(crate) fn make_opaque(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Xattrs::of(dir, name)?.set(OPAQUE_XATTR, b"y")
}

/// Whether the folder hides the layers below.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    Ok(Xattrs::of(dir, name)?
        .get(OPAQUE_XATTR)?
        .is_some_and(|value| value == b"y"))
}

/// The state of an entry itself, or nothing when there is none.
pub(crate) fn lstat(dir: BorrowedFd<'_>, name: &CStr) -> Result<Option<Stat>, Errno> {
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether an attribute is overlayfs's own: never taken from an archive, never given to one.
pub(crate) fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}
