//! Starting to write a file's dirty pages without waiting for them.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Asks the kernel to begin writing the file's dirty pages to disk and returns at once.
///
/// A hint that makes a later fsync(2) short, so its failure is not reported: the fsync will
/// report what matters.
pub fn start(file: BorrowedFd<'_>) {
    // SAFETY: sync_file_range(2) takes numbers only and touches no memory of ours; the
    // descriptor is open for the length of the call. Offset 0 and length 0 mean the whole file.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
