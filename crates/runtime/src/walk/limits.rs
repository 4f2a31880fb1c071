//! Resource limits, scheduling, keyring.

use rustix::io::Errno;
use sys::process::{self, SchedulingAttributes};

use super::{At, Walk};
use crate::fault::{Fault, Step};
use crate::plan::Rlimit;

impl Walk<'_> {
    /// Raises hard limits while the process has the caller's rights: within a user namespace it has them no more.
    /// What cannot be raised is found when the limits are set.
    pub(super) fn raise_limits(&self) {
        for limit in &self.process.rlimits {
            let _ = process::raise_hard_limit(0, limit.resource, limit.hard);
        }
    }

    pub(super) fn set_limits(&self) -> Result<(), Fault> {
        for (index, limit) in self.process.rlimits.iter().enumerate() {
            match process::set_limit(limit.resource, limit.soft, limit.hard) {
                Err(Errno::PERM) if !limit.explicit => step_back(limit),
                other => other,
            }
            .at_index(Step::Limit, index)?;
        }
        Ok(())
    }

    pub(super) fn set_scheduling(&self) -> Result<(), Fault> {
        if let Some(scheduler) = self.process.scheduler {
            process::set_scheduler(SchedulingAttributes {
                size: 0,
                policy: scheduler.policy,
                flags: scheduler.flags,
                nice: scheduler.nice,
                priority: scheduler.priority,
                runtime: scheduler.runtime,
                deadline: scheduler.deadline,
                period: scheduler.period,
            })
            .at(Step::Scheduling)?;
        }
        if let Some(policy) = &self.process.memory_policy {
            process::set_memory_policy(policy.mode, &policy.nodes).at(Step::MemoryPolicy)?;
        }
        if let Some(priority) = self.process.io_priority {
            process::set_io_priority(priority).at(Step::Scheduling)?;
        }
        if let Some(personality) = self.process.personality {
            process::set_personality(personality).at(Step::Scheduling)?;
        }
        Ok(())
    }

    /// Joins a keyring of the container's own, so that the caller's is out of reach. A kernel without keyrings has
    /// none to protect. Where the process is the container's `first`, later ones may join the same.
    pub(super) fn join_keyring(&self, first: bool) -> Result<(), Fault> {
        let Some(name) = &self.program.keyring else {
            return Ok(());
        };
        match process::join_session_keyring(name) {
            Ok(serial) if first => process::share_keyring(serial).at(Step::Keyring),
            Ok(_) | Err(Errno::NOSYS) => Ok(()),
            Err(errno) => Err(Fault::new(Step::Keyring, errno)),
        }
    }
}

/// Sets as much of a limit as the hard limit in force allows.
fn step_back(limit: &Rlimit) -> Result<(), Errno> {
    let (_, hard) = process::limit(limit.resource)?;
    process::set_limit(limit.resource, limit.soft.min(hard), limit.hard.min(hard))
}
