//! A volume's first content, whole or not at all.
//!
//! The copy is made beside the content, named complete by a rename, and its entries then moved into the content's
//! folder one by one. The folder itself stays the same, since a container may have it mounted already.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use sys::beneath::{Root, Rule, tree};

use crate::copy;
use crate::store::DATA;

const FILL: &str = "_fill";
const FILLED: &str = "_filled";

/// Fills the content of the volume in `folder` from `source`; nothing of a former attempt may be there.
pub(crate) fn fill(folder: BorrowedFd<'_>, source: BorrowedFd<'_>) -> io::Result<()> {
    let root = Root::with_rule(folder, Rule::NoLinks);
    root.mkdir(FILL, Mode::from_raw_mode(0o700))?;
    let copied = root
        .open_dir(FILL)
        .and_then(|target| copy::tree(source, target.as_fd()));
    if let Err(fault) = copied {
        // The copy's fault is the one to tell; the next attempt and recovery remove what stays.
        let _ = tree::remove(folder, FILL.as_ref());
        return Err(fault);
    }
    fs::renameat_with(folder, FILL, folder, FILLED, RenameFlags::NOREPLACE)?;
    finish(folder)
}

/// Undoes or finishes what a crash or a fault interrupted.
pub(crate) fn recover(folder: BorrowedFd<'_>) -> io::Result<()> {
    tree::remove(folder, FILL.as_ref())?;
    match fs::accessat(folder, FILLED, fs::Access::EXISTS, fs::AtFlags::empty()) {
        Ok(()) => finish(folder),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Moves a complete copy into the content's folder.
fn finish(folder: BorrowedFd<'_>) -> io::Result<()> {
    let root = Root::with_rule(folder, Rule::NoLinks);
    let (filled, data) = (root.open_dir(FILLED)?, root.open_dir(DATA)?);
    // Before entries are moved, which changes the folder's time.
    let stat = fs::fstat(&filled)?;
    for entry in tree::entries(filled.as_fd())? {
        match fs::renameat_with(
            &filled,
            &*entry.name,
            &data,
            &*entry.name,
            RenameFlags::NOREPLACE,
        ) {
            // What a container wrote meanwhile is worth more than the image's.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let data = root.open(DATA, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    copy::folder_attributes(filled.as_fd(), &stat, data.as_fd())?;
    tree::remove(folder, FILLED.as_ref())
}
