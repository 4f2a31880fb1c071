//! Network namespaces: made, named by descriptor, and entered for the length of one call.
//!
//! A namespace belongs to a thread, and a thread that moved can not be trusted to come back. So each
//! function here does its work on a thread of its own which ends with the call; the caller's thread
//! stays where it is. Reference: setns(2), unshare(2), network_namespaces(7).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// Runs `work` on a thread inside the network namespace `netns` and returns what it returned.
///
/// Sockets that `work` opens belong to that namespace for their whole life, wherever they are used later.
/// A panic in `work` goes on in the caller.
///
/// # Errors
/// `EINVAL` when the descriptor names no network namespace, `EPERM` without CAP_SYS_ADMIN in it, and
/// whatever hinders the making of a thread.
pub fn with_netns<T: Send>(
    netns: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    on_helper_thread("netns-call", || {
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
        Ok(work())
    })
}

/// Makes a network namespace, runs `work` on a thread inside it and returns what it returned.
///
/// The namespace ends with the last descriptor (its own, or a socket's) that `work` handed out.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `ENOSPC` at the limit `user.max_net_namespaces`, `EINVAL` on a kernel
/// without network namespaces.
pub fn in_new_netns<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_helper_thread("netns-make", || {
        // SAFETY: CLONE_NEWNET touches neither memory nor the descriptor table, and the thread ends with this call.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        Ok(work())
    })
}

/// Makes a network namespace in which nothing runs; it lives as long as the descriptor.
///
/// # Errors
/// As [`in_new_netns`].
pub fn new_netns() -> io::Result<OwnedFd> {
    in_new_netns(current_netns)?
}

/// The network namespace of the calling thread.
///
/// # Errors
/// When /proc is not mounted or no descriptor is left.
pub fn current_netns() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(
        CWD,
        "/proc/thread-self/ns/net",
        flags,
        Mode::empty(),
    )?)
}

fn on_helper_thread<T: Send>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        let helper = thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, work)?;
        helper
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::fstat;

    use super::*;

    fn inode(netns: &OwnedFd) -> u64 {
        fstat(netns).unwrap().st_ino
    }

    #[test]
    fn a_new_namespace_is_another_one_and_the_caller_stays() {
        let before = current_netns().unwrap();
        let new = new_netns().unwrap();
        assert_ne!(inode(&before), inode(&new));
        assert_eq!(inode(&before), inode(&current_netns().unwrap()));
    }

    #[test]
    fn work_runs_inside_the_given_namespace() {
        let new = new_netns().unwrap();
        let seen = with_netns(new.as_fd(), current_netns).unwrap().unwrap();
        assert_eq!(inode(&new), inode(&seen));
    }

    #[test]
    fn a_descriptor_of_another_kind_is_refused() {
        let file = openat(CWD, "/dev/null", OFlags::RDONLY, Mode::empty()).unwrap();
        let error = with_netns(file.as_fd(), || ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    #[should_panic(expected = "inside")]
    fn a_panic_reaches_the_caller() {
        let new = new_netns().unwrap();
        let _ = with_netns(new.as_fd(), || panic!("inside"));
    }
}
