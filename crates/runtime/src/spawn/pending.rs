//! A process on its way to its program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use sys::process::Namespace;

use super::{Spawned, users};
use crate::fault::{Fault, Step};
use crate::plan::Plan;
use crate::walk::{self, Message};

/// Takes the listener of a process's filter, with the process's number.
pub type HandOver<'a> = &'a mut dyn FnMut(i32, OwnedFd) -> Result<(), Errno>;

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

    /// The process that `maker`, a child, makes in its own place, and that waits for a word.
    pub(super) fn of_sibling(maker: &OwnedFd, channel: OwnedFd) -> Result<Self, Fault> {
        let at = |errno| Fault::new(Step::Channel, errno);
        let said = walk::receive(channel.as_fd(), true);
        // It has ended, or does at once.
        sys::process::wait(maker.as_fd(), true).map_err(at)?;
        match said.map_err(at)? {
            Message::Sibling(pid, pidfd) => Ok(Self::new(pid, pidfd, channel, true)),
            Message::Fault(fault) => Err(fault),
            _ => Err(at(Errno::PROTO)),
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
        if plan.unprivileged {
            return users::write_maps_unprivileged(self.pid, &plan.uid_map, &plan.gid_map)
                .map_err(|failure| Fault::indexed(Step::IdMaps, failure.helper, failure.errno));
        }
        users::write_maps(self.pid, &plan.uid_map, &plan.gid_map)
            .map_err(|errno| Fault::new(Step::IdMaps, errno))
    }

    /// Lets the process go on as far as its mounts and returns when they are made, for a plan that shows its root
    /// ([`Plan::shown_at`]). It waits then.
    ///
    /// # Errors
    /// What stopped it.
    pub fn await_mounts(&mut self) -> Result<(), Fault> {
        let at = |errno| Fault::new(Step::Channel, errno);
        self.open_gate().map_err(at)?;
        loop {
            match walk::receive(self.channel.as_fd(), true).map_err(at)? {
                Message::Mounted => {
                    self.gated = true;
                    return Ok(());
                }
                Message::Fault(fault) => return Err(fault),
                asked @ Message::Ids { .. } => self.map_ids(&asked)?,
                _ => return Err(at(Errno::PROTO)),
            }
        }
    }

    /// Shows the files of a mount as other users', for a process that may not, and lets it go on.
    fn map_ids(&self, asked: &Message) -> Result<(), Fault> {
        let Message::Ids {
            index,
            mount,
            namespace,
            recursive,
        } = asked
        else {
            return Ok(());
        };
        walk::map_ids(mount.as_fd(), namespace.as_fd(), *recursive)
            .map_err(|errno| Fault::indexed(Step::MountIds, *index, errno))?;
        match walk::send_go(self.channel.as_fd()) {
            Ok(()) | Err(Errno::PIPE) => Ok(()),
            Err(errno) => Err(Fault::new(Step::Channel, errno)),
        }
    }

    /// Lets the process go on and returns when it runs its program, or waits at its gate.
    ///
    /// # Errors
    /// What stopped it; it is gone and waited for then.
    pub fn proceed(self) -> Result<Spawned, Fault> {
        // Nobody answers: what asks fails.
        self.proceed_with(&mut |_, _| Ok(()))
    }

    /// As [`Pending::proceed`], for a process whose filter has a listener: `hand_over` gets it, with the process's
    /// number. The process may wait for answers meanwhile.
    ///
    /// # Errors
    /// As for [`Pending::proceed`], and what `hand_over` returns; the process is gone then too.
    pub fn proceed_with(mut self, hand_over: HandOver<'_>) -> Result<Spawned, Fault> {
        self.advance(true, hand_over)?
            .ok_or(Fault::new(Step::Channel, Errno::AGAIN))
    }

    /// Lets the process go on, and tells without waiting whether it runs its program; `None` while it does not. Ask
    /// again when the descriptor ([`AsFd`]) is readable, but not once there was an answer.
    ///
    /// # Errors
    /// What stopped it; it is to be dropped then.
    pub fn poll(&mut self) -> Result<Option<Spawned>, Fault> {
        self.advance(false, &mut |_, _| Ok(()))
    }

    fn advance(&mut self, block: bool, hand_over: HandOver<'_>) -> Result<Option<Spawned>, Fault> {
        let at = |errno| Fault::new(Step::Channel, errno);
        self.open_gate().map_err(at)?;
        loop {
            match walk::receive(self.channel.as_fd(), block) {
                Ok(Message::Terminal(terminal)) => self.console = Some(terminal),
                Ok(Message::Listener(listener)) => {
                    hand_over(self.pid, listener)
                        .map_err(|errno| Fault::new(Step::Seccomp, errno))?;
                }
                Ok(Message::Sibling(..)) => return Err(at(Errno::PROTO)),
                Ok(Message::Fault(fault)) => return Err(fault),
                Ok(asked @ Message::Ids { .. }) => self.map_ids(&asked)?,
                Ok(Message::Mounted) => {
                    self.gated = true;
                    self.open_gate().map_err(at)?;
                }
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
