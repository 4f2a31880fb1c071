//! How much disk a tree takes.

use std::os::fd::BorrowedFd;

use crate::SnapshotError;

pub use sys::beneath::Usage;

/// Counts what `dir` and all below it take, as `du` does. See [`sys::beneath::usage`].
pub fn usage_dir(dir: BorrowedFd<'_>) -> Result<Usage, SnapshotError> {
    sys::beneath::usage(dir).map_err(|source| SnapshotError::tree("count", b"", source))
}
