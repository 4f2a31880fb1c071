//! What a container takes over from another one that runs.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::containers::record::Run;
use crate::outcome::{EngineError, Result};

/// The first process of a container that ran when it was looked up. Its number alone might be another's by now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbour {
    pid: u32,
    start_ticks: u64,
}

impl Neighbour {
    /// `None` when the container does not run.
    pub(crate) fn of(run: &Run) -> Option<Self> {
        (run.pid != 0).then_some(Self {
            pid: run.pid,
            start_ticks: run.start_ticks,
        })
    }

    /// Opens one of its namespaces.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn namespace(self, kind: &str) -> Result<OwnedFd> {
        self.open(&format!("ns/{kind}"), OFlags::RDONLY)
    }

    /// Opens its root folder as a place.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn root(self) -> Result<OwnedFd> {
        self.open("root", OFlags::PATH | OFlags::DIRECTORY)
    }

    /// The network interfaces that it sees, as proc_pid_net(5) has them.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn devices(self) -> Result<String> {
        let file = std::fs::File::from(self.open("net/dev", OFlags::RDONLY)?);
        let text = sys::procfs::read_open(file);
        let text = text.map_err(EngineError::io("read network interfaces"))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn open(self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        let path = format!("/proc/{}/{name}", self.pid);
        let failed = |source| EngineError::Io {
            what: format!("open {path}"),
            source,
        };
        let opened = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        // Whose number it is now, it was when the file was opened.
        if sys::lifetime::start_ticks(self.pid) != Some(self.start_ticks) {
            return Err(failed(rustix::io::Errno::SRCH.into()));
        }
        Ok(opened)
    }

    /// Opens its /dev/shm as a detached mount.
    ///
    /// # Errors
    /// The process has ended, or has no such mount.
    pub(crate) fn shared_memory(self) -> Result<OwnedFd> {
        self.mount_at(c"/dev/shm")
            .map_err(EngineError::io("open the shared memory of a neighbour"))
    }

    /// Opens its root as a detached mount, with nothing mounted on it.
    ///
    /// # Errors
    /// The process has ended.
    pub(crate) fn root_alone(self) -> Result<OwnedFd> {
        self.mount_at(c"/")
            .map_err(EngineError::io("open the root of a container"))
    }

    /// Only a thread within the mount namespace may copy its mounts, so one goes there and ends.
    fn mount_at(self, path: &'static CStr) -> std::io::Result<OwnedFd> {
        let namespace = self.namespace("mnt").map_err(std::io::Error::other)?;
        let thread = std::thread::Builder::new()
            .name("neighbour".to_owned())
            .spawn(move || -> std::io::Result<OwnedFd> {
                // A mount namespace is entered only by a thread whose working folder is its own.
                sys::process::unshare(libc::CLONE_FS)?;
                sys::process::setns(namespace.as_fd(), libc::CLONE_NEWNS)?;
                sys::mount::clone_tree(rustix::fs::CWD, path, false).map_err(std::io::Error::from)
            })?;
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(std::io::Error::other("internal fault")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ourselves(late: u64) -> Neighbour {
        let pid = std::process::id();
        let start_ticks = sys::lifetime::start_ticks(pid).unwrap() + late;
        Neighbour { pid, start_ticks }
    }

    #[test]
    fn a_number_that_another_process_has_by_now_opens_nothing() {
        ourselves(0).namespace("net").unwrap();
        ourselves(0).root().unwrap();
        let refused = ourselves(1).namespace("net").unwrap_err().to_string();
        assert!(refused.contains("No such process"), "{refused}");
        ourselves(1).root().unwrap_err();
    }
}
