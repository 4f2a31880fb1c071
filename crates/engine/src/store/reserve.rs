//! Room on the disk that the store holds for itself, so that ends and removals are written down when nothing else
//! fits any more.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Bytes that the file may grow by on a full disk.
const FILE: u64 = 256 << 10;
/// Bytes of the log: some hundred transactions, and it is folded whenever the store rests.
pub(super) const LOG: u64 = 2 << 20;

/// Holds room behind the end of the store's file. Before SQLite opens it: closing a descriptor afterwards would undo
/// SQLite's locks.
pub(super) fn beside(store: &Path) {
    hold(store, FILE);
}

/// Holds room for the log, which SQLite overwrites from its start after each fold, and keeps over a kill; false when
/// the disk has none.
pub(super) fn of_log(store: &Path) -> bool {
    let mut name = store.as_os_str().to_owned();
    name.push("-wal");
    hold(Path::new(&name), LOG)
}

/// Allocates blocks behind a file's end without changing its length. What can not be held is told and done without;
/// what an earlier daemon holds is not asked for anew, since a file system may give it up when it has no more.
fn hold(path: &Path, bytes: u64) -> bool {
    let outcome = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .and_then(|file| {
            let about = file.metadata()?;
            let length = about.len();
            if about.blocks() * 512 >= length + bytes / 2 {
                return Ok(());
            }
            rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, length + bytes)?;
            Ok(())
        });
    match outcome {
        Ok(()) => true,
        // Asking again would not help.
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => true,
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "the store holds no room for a full disk");
            false
        }
    }
}
