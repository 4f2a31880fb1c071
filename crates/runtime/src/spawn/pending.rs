//! A process on its way to its program.

use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::process::Namespace;

use super::Spawned;
use crate::fault::{Fault, Step};
use crate::plan::{IdMap, Plan};
use crate::walk::{self, Message};

/// A process on its way to its program; after [`super::begin`] it waits in its namespaces until it is told to go on.
/// Dropped, it is killed and waited for.
#[derive(Debug)]
pub struct Pending {
    pid: i32,
    /// `None` once it was handed on.
    pidfd: Option<OwnedFd>,
    channel: OwnedFd,
    /// It waits for a word before it does anything in its namespaces.
    gated: bool,
    console: Option<OwnedFd>,
}

impl Pending {
    pub(super) fn new(pid: i32, pidfd: OwnedFd, channel: OwnedFd, gated: bool) -> Self {
        Self {
            pid,
            pidfd: Some(pidfd),
            channel,
            gated,
            console: None,
        }
    }

    /// Its number in the caller's pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its descriptor.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// The network namespace that it was born in.
    ///
    /// # Errors
    /// The kernel's answer, at [`Step::JoinNamespace`].
    pub fn network_namespace(&self) -> Result<OwnedFd, Fault> {
        let namespace = match &self.pidfd {
            Some(pidfd) => sys::process::namespace_of(pidfd.as_fd(), self.pid, Namespace::Network),
            None => Err(Errno::SRCH),
        };
        namespace
            .map_err(|errno| Fault::indexed(Step::JoinNamespace, libc::CLONE_NEWNET as u32, errno))
    }

    /// Writes the maps of its user namespace, and raises hard limits that it could not raise from within.
    pub(super) fn map_users(&self, plan: &Plan) -> Result<(), Fault> {
        for limit in &plan.process.rlimits {
            // What cannot be raised is found when the limits are set.
            let _ = sys::process::raise_hard_limit(self.pid, limit.resource, limit.hard);
        }
        let write = || -> Result<(), Errno> {
            let procfs = sys::mount::private_procfs()?;
            for (name, map) in [("uid_map", &plan.uid_map), ("gid_map", &plan.gid_map)] {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let path = format!("{}/{name}", self.pid);
                let file = rustix::fs::openat(&procfs, path, flags, Mode::empty())?;
                // The kernel takes the whole map in one call.
                rustix::io::write(file, lines(map).as_bytes())?;
            }
            Ok(())
        };
        write().map_err(|errno| Fault::new(Step::IdMaps, errno))
    }

    /// Lets the process go on and returns when it runs its program, or waits at its gate.
    ///
    /// # Errors
    /// What stopped it; it is gone and waited for then.
    pub fn proceed(mut self) -> Result<Spawned, Fault> {
        self.advance(true)?
            .ok_or(Fault::new(Step::Channel, Errno::AGAIN))
    }

    /// Lets the process go on, and tells without waiting whether it runs its program; `None` while it does not. Ask
    /// again when the descriptor ([`AsFd`]) is readable, but not once there was an answer.
    ///
    /// # Errors
    /// What stopped it; it is to be dropped then.
    pub fn poll(&mut self) -> Result<Option<Spawned>, Fault> {
        self.advance(false)
    }

    fn advance(&mut self, block: bool) -> Result<Option<Spawned>, Fault> {
        let at = |errno| Fault::new(Step::Channel, errno);
        self.open_gate().map_err(at)?;
        loop {
            match walk::receive(self.channel.as_fd(), block) {
                Ok(Message::Terminal(terminal)) => self.console = Some(terminal),
                Ok(Message::Fault(fault)) => return Err(fault),
                Ok(Message::End | Message::Waiting) => break,
                Err(Errno::AGAIN) if !block => return Ok(None),
                Err(errno) => return Err(at(errno)),
            }
        }
        Ok(Some(Spawned {
            pid: self.pid,
            pidfd: self.pidfd.take().ok_or(at(Errno::SRCH))?,
            console: self.console.take(),
        }))
    }

    /// Says the word that a gated process waits for, once.
    pub(super) fn open_gate(&mut self) -> Result<(), Errno> {
        if !std::mem::take(&mut self.gated) {
            return Ok(());
        }
        match walk::send_go(self.channel.as_fd()) {
            // It has stopped already, and said why.
            Ok(()) | Err(Errno::PIPE) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Pending {
    /// The channel to the process.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            let _ = sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
            let _ = sys::process::wait(pidfd.as_fd(), true);
        }
    }
}

fn lines(map: &[IdMap]) -> String {
    map.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {}", line.inside, line.outside, line.count);
        text
    })
}
