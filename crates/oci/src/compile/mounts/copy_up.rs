//! A tmpfs that begins with what it hides.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::plan::{MountEntry, MountKind};
use rustix::fs::{CWD, Mode, OFlags};
use sys::beneath::copy;
use sys::mount::Context;

/// Makes the tmpfs for `target`, mounted nowhere yet, with what is there before it: of the root folder, or of the mount
/// `before` it that lies there. It is filled here, while the host's tree can still be read.
pub(super) fn make(
    target: &str,
    before: &[MountEntry],
    rootfs: &Path,
    options: &[(String, Option<String>)],
) -> io::Result<OwnedFd> {
    let context = Context::open(c"tmpfs")?;
    for (key, value) in options {
        let key = CString::new(key.as_str())?;
        match value {
            Some(value) => context.string(&key, &CString::new(value.as_str())?)?,
            None => context.flag(&key)?,
        }
    }
    context.create()?;
    let tmpfs = context.mount(0)?;
    let Some((top, below)) = source(target, before, rootfs) else {
        return Ok(tmpfs);
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, &top, flags, Mode::empty())?;
    let below = CString::new(below)?;
    let folder = match sys::mount::open_in(top.as_fd(), &below, flags) {
        Ok(folder) => folder,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(tmpfs),
        Err(errno) => return Err(errno.into()),
    };
    let into = rustix::fs::openat(&tmpfs, c".", flags, Mode::empty())?;
    copy::tree(folder.as_fd(), into.as_fd())?;
    if let Some(mode) = options.iter().find_map(|(key, value)| match key.as_str() {
        "mode" => u32::from_str_radix(value.as_deref()?, 8).ok(),
        _ => None,
    }) {
        rustix::fs::fchmod(&into, Mode::from_raw_mode(mode & 0o7777))?;
    }
    Ok(tmpfs)
}

/// The folder of the host, and the path within, that `target` shows without the tmpfs. `None`: something new.
fn source(target: &str, before: &[MountEntry], rootfs: &Path) -> Option<(PathBuf, String)> {
    let path = Path::new(target);
    let around = before
        .iter()
        .rev()
        .filter(|mount| !matches!(mount.kind, MountKind::Remount { .. }))
        .find_map(|mount| Some((mount, path.strip_prefix(&mount.target).ok()?)));
    let (top, below) = match around {
        None => (rootfs.to_owned(), path.strip_prefix("/").ok()?),
        Some((mount, below)) => match &mount.kind {
            MountKind::Bind { source, .. } => (PathBuf::from(source), below),
            _ => return None,
        },
    };
    Some((top, format!("./{}", below.display())))
}
