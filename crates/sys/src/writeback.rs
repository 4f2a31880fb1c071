//! Starting to write a file's dirty pages without waiting for them.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Asks the kernel to begin writing the dirty pages of `length` bytes from `offset` to disk, and
/// returns at once. Length 0 means to the end.
///
/// A hint that makes a later fsync(2) short, so its failure is not reported: the fsync will
/// report what matters.
pub fn start(file: BorrowedFd<'_>, offset: u64, length: u64) {
    let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let (offset, length) = (limit(offset), limit(length));
    // SAFETY: sync_file_range(2) takes numbers only and touches no memory of ours; the
    // descriptor is open for the length of the call.
    unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            offset,
            length,
            libc::SYNC_FILE_RANGE_WRITE,
        )
    };
}
