//! A second copy of a process that goes on as an ordinary program.
//!
//! [`crate::process::clone`] is for children that soon execute another program; this is for those that do not.

use std::io;

/// In which of the two processes [`fork`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// The new process.
    Child,
    /// The caller.
    Parent {
        /// The child's number.
        pid: i32,
    },
}

/// Copies the process by fork(3), whose allocator is usable in the child.
///
/// The child has only the calling thread: locks of the standard library that another thread holds at that moment
/// stay held in it. A process that forks keeps to one thread.
///
/// # Errors
/// As fork(2): too many processes, or no memory.
pub fn fork() -> io::Result<Forked> {
    // SAFETY: the C library makes its own state consistent in the child (allocator, streams); Rust values are
    // copied with the memory that they live in, and a lock that stays held blocks but breaks no memory.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent { pid }),
    }
}

/// Gives a signal its default effect again; for SIGCHLD: children that end are kept until somebody waits for them.
///
/// # Errors
/// As sigaction(2), for a number that is no signal.
pub fn default_signal(signal: i32) -> io::Result<()> {
    // SAFETY: sigaction is plain data for which zero is a value: the default action, no flags, empty mask.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the structure outlives the call.
    match unsafe { libc::sigaction(signal, &default, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_child_is_a_process_of_its_own() {
        match fork().unwrap() {
            Forked::Child => crate::process::exit(7),
            Forked::Parent { pid } => {
                let pidfd = crate::process::pidfd_open(pid).unwrap();
                let exit = crate::process::wait(std::os::fd::AsFd::as_fd(&pidfd), true).unwrap();
                assert_eq!(exit, Some(crate::process::Exit::Code(7)));
            }
        }
    }
}
