//! The supervisor's part of the health check: runs are sessions.

use std::time::Instant;

use super::birth::{Birth, Shape};
use super::health::Monitor;
use super::starts::Purpose;
use super::{Role, Supervisor};
use crate::protocol::{EventKind, Health, HealthState, Refusal};

impl Supervisor {
    /// Starts a run of the health check if one is due, and ends one that takes too long.
    pub(super) fn check_health(&mut self, now: Instant) {
        let Some(health) = &mut self.health else {
            return;
        };
        if health.takes_too_long(now) {
            self.kill_unwanted_probes();
            return;
        }
        let run = self.next_session;
        if health.take_turn(now, run) {
            // The number is used up.
            self.next_number();
            if let Err(refusal) = self.start_probe(run) {
                self.probe_failed(&refusal);
            }
        }
    }

    fn start_probe(&mut self, run: u32) -> Result<(), Refusal> {
        let (Some(main), Some(health)) = (self.main_session(), &self.health) else {
            return Err(Refusal::NotRunning);
        };
        let shape = Shape {
            tty: false,
            input: false,
            outputs: true,
        };
        let cgroup = &self.prepared.plan().cgroup;
        let (target, plan) = (main.session.pidfd(), &health.config.plan);
        let birth = Birth::further(target, plan, cgroup, &self.fds, shape)?;
        self.underway(birth, Purpose::Probe(run), true);
        Ok(())
    }

    /// Ends the runs that nobody waits for any more. One that has not reached its program (the container is
    /// frozen) is ended when it does.
    pub(super) fn kill_unwanted_probes(&self) {
        for entry in &self.sessions {
            let Role::Probe(run) = entry.role else {
                continue;
            };
            let unwanted = self
                .health
                .as_ref()
                .is_none_or(|health| health.is_unwanted(run));
            if unwanted && entry.session.ended().is_none() {
                // One that is gone already is what is wanted.
                let _ = sys::process::pidfd_send_signal(entry.session.pidfd(), libc::SIGKILL);
            }
        }
    }

    /// A run ended with this exit status.
    pub(super) fn probe_ended(&mut self, run: u32, code: u8) {
        let verdict = self
            .health
            .as_mut()
            .and_then(|health| health.ended(run, code));
        self.tell_health(verdict);
    }

    /// A run could not be started.
    pub(super) fn probe_failed(&mut self, refusal: &Refusal) {
        let verdict = self
            .health
            .as_mut()
            .and_then(|health| health.failed(&refusal.to_string()));
        self.tell_health(verdict);
    }

    fn tell_health(&mut self, verdict: Option<(HealthState, u32)>) {
        if let Some((state, failing_streak)) = verdict {
            self.record(EventKind::Health {
                state,
                failing_streak,
            });
        }
    }

    /// Holds the health check while the container is frozen.
    pub(super) fn suspend_health(&mut self, suspended: bool) {
        if let Some(health) = &mut self.health
            && self.run.since.is_some()
        {
            health.suspend(suspended);
            self.kill_unwanted_probes();
        }
    }

    /// Replaces the health check; a run that is under way counts for nothing.
    pub(super) fn set_health(&mut self, config: Option<Health>) {
        self.health = config.map(Monitor::new);
        self.kill_unwanted_probes();
        if let (Some(health), Some(since)) = (&mut self.health, self.run.since) {
            health.begin(since);
        }
    }
}
