//! Who the program runs as: groups, user, capabilities, no_new_privs, seccomp.

use std::os::fd::AsFd;

use rustix::io::Errno;
use sys::process::{self, Capabilities};

use super::{At, Walk, channel};
use crate::fault::{Fault, Step};
use crate::guards::{Guard, is_off};

/// Capabilities that a set can hold.
const SET_BITS: u32 = 64;

impl Walk<'_> {
    /// Gives up the caller's identity for the program's.
    ///
    /// The order: the bounding set needs CAP_SETPCAP, groups and user CAP_SETGID and CAP_SETUID, the filter (without
    /// no_new_privs) CAP_SYS_ADMIN; the filter is last but for what has to follow it, since it need not allow any of
    /// this. The signal at the parent's end is asked for after the last change that cancels it.
    pub(super) fn take_identity(&self, unprivileged: bool) -> Result<(), Fault> {
        // From here on the process becomes one that its equals in the container may look into and take descriptors from:
        // only the channel is left to them. Nothing below uses another, and a fault's way leads through no destructor.
        let gate = self.gate().at(Step::Cleanup)?;
        let keep = [Some(self.supply.channel.as_fd()), gate];
        if !is_off(Guard::Descriptors) {
            process::close_all_but(3 + u32::from(self.process.preserved), keep)
                .at(Step::Cleanup)?;
        }
        let caps = self.process.caps;
        drop_bounding(caps.bounding)?;
        self.set_groups(&self.process.groups, unprivileged)
            .at(Step::Groups)?;
        process::set_group(self.process.gid).at(Step::Group)?;
        if self.process.uid != 0 {
            process::set_keep_capabilities().at(Step::Capabilities)?;
        }
        process::set_user(self.process.uid).at(Step::User)?;
        if self.process.uid != 0 && !self.process.no_new_privs && self.has_filter() {
            // The change of user cleared what is effective and kept what is permitted.
            let kept = process::capabilities().at(Step::Capabilities)?;
            let raised = Capabilities {
                effective: kept.permitted,
                ..kept
            };
            process::set_capabilities(raised).at(Step::Capabilities)?;
        }
        if self.process.die_with_parent {
            process::set_parent_death_signal(libc::SIGKILL).at(Step::ParentDeath)?;
            // The parent may have ended before that.
            if channel::is_abandoned(self.supply.channel.as_fd()) {
                process::exit(137);
            }
        }
        process::reset_signals().at(Step::Cleanup)?;
        if self.process.gate.is_some() {
            // Who waits to be started can be told not to wait any longer.
            process::end_on_signals().at(Step::Cleanup)?;
        }
        if self.process.no_new_privs {
            process::set_no_new_privileges().at(Step::NoNewPrivileges)?;
            self.set_capabilities()?;
            // Behind a gate it is loaded when the process is let through, for it need not allow to wait.
            return match self.waits_without_filter() {
                true => Ok(()),
                false => self.load_filter(),
            };
        }
        self.load_filter()?;
        self.set_capabilities()
    }

    /// Sets the groups. Those of a caller without rights stay where the kernel does not let it give them up.
    pub(super) fn set_groups(&self, groups: &[u32], unprivileged: bool) -> Result<(), Errno> {
        match process::set_groups(groups) {
            Err(Errno::PERM) if unprivileged && groups.is_empty() => Ok(()),
            other => other,
        }
    }

    fn has_filter(&self) -> bool {
        self.process.seccomp.is_some()
    }

    /// Whether the filter is loaded when the process has been let through its gate. One with a listener is not: it goes
    /// to whoever makes the process.
    pub(super) fn waits_without_filter(&self) -> bool {
        let listens = self.process.seccomp.as_ref().is_some_and(|seccomp| {
            u64::from(seccomp.flags) & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0
        });
        self.process.gate.is_some() && self.process.no_new_privs && !listens
    }

    pub(super) fn load_filter(&self) -> Result<(), Fault> {
        let Some(seccomp) = &self.process.seccomp else {
            return Ok(());
        };
        let listener =
            process::load_filter(&self.program.filter, seccomp.flags).at(Step::Seccomp)?;
        if let Some(listener) = listener {
            channel::send_listener(self.supply.channel.as_fd(), listener.as_fd())?;
            // Its end at execve is enough: the filter need not allow to close it.
            std::mem::forget(listener);
        }
        Ok(())
    }

    fn set_capabilities(&self) -> Result<(), Fault> {
        let caps = self.process.caps;
        let sets = Capabilities {
            effective: caps.effective,
            permitted: caps.permitted,
            inheritable: caps.inheritable,
        };
        process::set_capabilities(sets).at(Step::Capabilities)?;
        for capability in bits(caps.ambient) {
            process::raise_ambient(capability).at_index(Step::Ambient, capability as usize)?;
        }
        Ok(())
    }
}

/// Drops what is not in `keep`, up to the last capability that the kernel knows.
fn drop_bounding(keep: u64) -> Result<(), Fault> {
    for capability in bits(!keep) {
        match process::drop_bounding(capability) {
            Ok(()) => {}
            // Above the last that exists.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(Fault::indexed(Step::Bounding, capability, errno)),
        }
    }
    Ok(())
}

fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..SET_BITS).filter(move |bit| set & (1 << bit) != 0)
}
