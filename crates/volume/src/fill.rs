//! A volume's first content, whole or not at all.
//!
//! The copy is made beside the content, named complete by a rename, and its entries then moved into the content's
//! folder one by one. The folder itself stays the same, since a container may have it mounted already.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use sys::beneath::{Root, Rule, tree};

use crate::store::DATA;
use sys::beneath::copy;

const FILL: &str = "_fill";
const FILLED: &str = "_filled";

/// Fills the content of the volume in `folder` from `source`; nothing of a former attempt may be there.
/// A `lasting` volume is, after a power cut too, as before or filled.
pub(crate) fn fill(
    folder: BorrowedFd<'_>,
    source: BorrowedFd<'_>,
    lasting: bool,
) -> io::Result<()> {
    let root = Root::with_rule(folder, Rule::NoLinks);
    root.mkdir(FILL, Mode::from_raw_mode(0o700))?;
    let copied = root
        .open_dir(FILL)
        .and_then(|target| copy::tree(source, target.as_fd()))
        .and_then(|()| match lasting {
            true => sync_copy(&root),
            false => Ok(()),
        });
    if let Err(fault) = copied {
        // The copy's fault is the one to tell; the next attempt and recovery remove what stays.
        let _ = tree::remove(folder, FILL.as_ref());
        return Err(fault);
    }
    fs::renameat_with(folder, FILL, folder, FILLED, RenameFlags::NOREPLACE)?;
    if lasting {
        // The new name too, before somebody writes down that the volume was filled.
        fs::fsync(open_folder(&root, ".")?)?;
    }
    finish(folder)
}

/// Writes the copy to the disk: a file system may keep a rename and lose what was written to the files before it. An
/// empty folder has nothing to lose.
fn sync_copy(root: &Root<'_>) -> io::Result<()> {
    let copy = open_folder(root, FILL)?;
    if !tree::is_empty(copy.as_fd())? {
        // One call for all the files, however many.
        fs::syncfs(&copy)?;
    }
    Ok(())
}

fn open_folder(root: &Root<'_>, path: &str) -> io::Result<OwnedFd> {
    root.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
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
    let data = open_folder(&root, DATA)?;
    copy::folder_attributes(filled.as_fd(), &stat, data.as_fd())?;
    tree::remove(folder, FILLED.as_ref())
}
