//! What a container takes over from another one that runs.

use std::os::fd::{AsFd, OwnedFd};

use crate::compile::plan::namespace_of;
use crate::outcome::{EngineError, Result};

/// Opens /dev/shm of a process as a detached mount.
///
/// Only a thread within the mount namespace may copy its mounts, so one goes there and ends.
pub(crate) fn shared_memory(pid: u32) -> Result<OwnedFd> {
    let namespace = namespace_of(pid, "mnt")?;
    let thread = std::thread::Builder::new()
        .name("neighbour".to_owned())
        .spawn(move || -> std::io::Result<OwnedFd> {
            // A mount namespace is entered only by a thread whose working folder is its own.
            sys::process::unshare(libc::CLONE_FS)?;
            sys::process::setns(namespace.as_fd(), libc::CLONE_NEWNS)?;
            sys::mount::clone_tree(rustix::fs::CWD, c"/dev/shm", false)
                .map_err(std::io::Error::from)
        });
    let thread = thread.map_err(EngineError::io("start a thread"))?;
    thread
        .join()
        .map_err(|_| EngineError::Panicked { operation: "start" })?
        .map_err(EngineError::io("open the shared memory of a neighbour"))
}
