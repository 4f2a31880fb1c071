//! Which signals a thread or a program that is started takes.

use std::ptr;

/// Leaves every signal to other threads.
pub(crate) fn block_all() {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set, which outlives both calls.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}

/// Takes every signal: for a program that is about to be executed, since it inherits what its parent holds back. May be
/// called between fork and execve.
pub(crate) fn unblock_all() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: as above; both are async-signal-safe (signal-safety(7)).
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}
