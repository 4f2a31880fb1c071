//! What a process got from whoever executed it: environment and open descriptors.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

static ADOPTED: AtomicBool = AtomicBool::new(false);

/// Takes variables out of the environment, so that no child inherits them.
///
/// The answers are in the order of `names`.
///
/// # Errors
/// When the process already has a second thread: changing the environment beside a reader is
/// undefined behaviour (environ(7)), so it is not done.
pub fn take_variables<const N: usize>(names: [&str; N]) -> io::Result<[Option<OsString>; N]> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other(
            "the environment can not be changed: the process has several threads",
        ));
    }
    Ok(names.map(|name| {
        let value = env::var_os(name);
        // SAFETY: counted above: this thread is the only one, and it is here.
        unsafe { env::remove_var(name) };
        value
    }))
}

/// The first of `count` descriptors from number `first` on that is not open.
pub fn first_missing(first: u16, count: u16) -> Option<i32> {
    (i32::from(first)..i32::from(first) + i32::from(count)).find(|number| {
        // SAFETY: F_GETFD on any number touches no memory; it fails when the number is not open.
        let flags = unsafe { libc::fcntl(*number, libc::F_GETFD) };
        flags == -1
    })
}

/// Takes ownership of `count` descriptors from number `first` on, each set to close on execve.
///
/// Numbers that are not open are left out. Only the first call of a process gets any: nobody
/// may own a number twice.
pub fn adopt_descriptors(first: u16, count: u16) -> Vec<OwnedFd> {
    if ADOPTED.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let numbers = i32::from(first)..i32::from(first) + i32::from(count);
    numbers
        .filter_map(|number| {
            // SAFETY: F_SETFD on any number touches no memory; it fails when the number is not open.
            let open = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
            // SAFETY: the number is open, the executing program left it to this process, and the
            // swap above lets only one caller come this far.
            open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
        })
        .collect()
}
