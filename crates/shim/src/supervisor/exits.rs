//! Exits, and what follows them.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use runtime::cgroup;
use runtime::plan::NsMode;

use super::mounts::mount_slots;
use super::session::Ended;
use super::{FAREWELL, Farewell, Role, Run, Supervisor};
use crate::clock;
use crate::protocol::{EventKind, LastExit, Phase, RestartOutlook};

impl Supervisor {
    /// Writes an event down, then tells everybody.
    pub(super) fn record(&mut self, kind: EventKind) {
        let event = self.journal.record(clock::now(), kind);
        self.daemons.tell(event);
    }

    /// A session's process may have ended.
    pub(super) fn reap(&mut self, number: u32) {
        let mut ended = false;
        self.with(number, |session, poll, _, _| ended = session.reap(poll));
        if !ended {
            return;
        }
        let is_main = self
            .sessions
            .iter()
            .any(|entry| entry.session.number == number && matches!(entry.role, Role::Main));
        // The kernel has emptied a pid namespace before the end of its first process can be seen.
        if is_main && self.prepared.plan().namespaces.pid != NsMode::New {
            self.kill();
        }
        self.with(number, |session, poll, buffer, sink| {
            session.drain(poll, buffer, sink)
        });
    }

    /// Kills everything in the container.
    pub(super) fn kill(&mut self) {
        if let Some(entry) = self.main_session()
            && entry.session.ended().is_none()
        {
            let _ = sys::process::pidfd_send_signal(entry.session.pidfd(), libc::SIGKILL);
        }
        // A group in which all were killed at once can not be entered again.
        let again = self.mounts.is_some() && !self.stop_intent;
        for group in &self.cgroups {
            let done = if again {
                cgroup::clear_by_descriptor(group.as_fd())
            } else {
                cgroup::kill_by_descriptor(group.as_fd())
            };
            // What escaped is the daemon's to find: it removes the group once that is empty.
            drop(done);
        }
    }

    /// Tells of sessions whose process has ended and whose output is out, and drops those that nobody is
    /// served by any more.
    pub(super) fn advance(&mut self) {
        let complete: Vec<u32> = self
            .sessions
            .iter()
            .filter(|entry| !entry.told && entry.session.is_complete())
            .map(|entry| entry.session.number)
            .collect();
        for number in complete {
            self.complete(number);
        }
        if self.daemons.is_empty() {
            self.part(|_| true);
        }
        self.sessions
            .retain(|entry| !entry.told || !entry.session.is_empty());
    }

    fn complete(&mut self, number: u32) {
        let Some(entry) = self
            .sessions
            .iter_mut()
            .find(|entry| entry.session.number == number)
        else {
            return;
        };
        entry.told = true;
        let Some(ended) = entry.session.ended() else {
            return;
        };
        let mut farewell = None;
        match &entry.role {
            Role::Main => {
                let has_clients = entry.session.attached() > 0;
                let sequence = self.exited(ended);
                farewell = has_clients.then(|| Farewell {
                    sequence,
                    until: Instant::now() + FAREWELL,
                });
            }
            Role::Exec(id) => {
                let kind = EventKind::ExecExited {
                    id: id.clone(),
                    code: ended.code(),
                };
                self.record(kind);
            }
            Role::Probe(run) => {
                let run = *run;
                self.probe_ended(run, ended.code());
            }
        }
        // The record is written and told: now the clients may know.
        if let Some(entry) = self
            .sessions
            .iter_mut()
            .find(|entry| entry.session.number == number)
        {
            match farewell {
                Some(_) => entry.farewell = farewell,
                None => entry.session.finish(&self.poll),
            }
        }
    }

    /// Lets the clients of ended sessions go whose farewell is such.
    pub(super) fn part(&mut self, is_due: impl Fn(&Farewell) -> bool) {
        for entry in &mut self.sessions {
            if entry.farewell.as_ref().is_some_and(&is_due) {
                entry.farewell = None;
                entry.session.finish(&self.poll);
            }
        }
    }

    /// The container's process has ended and its output is out. Gives the number of the event.
    fn exited(&mut self, ended: Ended) -> u64 {
        if let Some(log) = &mut self.log {
            log.finish();
        }
        let oom = self.was_out_of_memory();
        let ran = self
            .run
            .since
            .map_or(Duration::ZERO, |since| since.elapsed());
        let restart = match self
            .restarts
            .after_exit(ended.code(), ran, self.stop_intent)
        {
            None => RestartOutlook::None,
            Some(delay) => {
                let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                match self.mounts {
                    Some(_) => {
                        self.restart_at = Some(Instant::now() + delay);
                        RestartOutlook::After { delay: millis }
                    }
                    None => RestartOutlook::ByDaemon { delay: millis },
                }
            }
        };
        self.phase = if self.restart_at.is_some() {
            Phase::Restarting
        } else {
            Phase::Exited
        };
        if let Some(health) = &mut self.health {
            health.end();
        }
        if self.phase == Phase::Exited {
            self.let_go();
        }
        self.kill_at = None;
        self.run = Run::default();
        self.tell_lost_lines(true);
        let (code, signal) = (ended.code(), ended.signal());
        self.last_exit = Some(LastExit {
            code,
            signal,
            oom,
            time: ended.time,
        });
        let event = self.journal.record(
            ended.time,
            EventKind::Exited {
                code,
                signal,
                oom,
                restart,
            },
        );
        let sequence = event.sequence;
        self.daemons.tell(event);
        sequence
    }

    /// Gives back what is held for a container that will not be started again: ports are free before anybody is
    /// told of its end. Only the mounts stay until the daemon allows their dear undoing.
    pub(super) fn let_go(&mut self) {
        self.held.clear();
        let mounts = mount_slots(self.prepared.plan());
        let held = std::mem::take(&mut self.fds).into_iter().enumerate();
        self.fds = held
            .filter(|(slot, _)| mounts.contains(slot))
            .map(|(_, fd)| fd)
            .collect();
    }

    /// Somebody asked that the container stay stopped.
    pub(super) fn cancel_restart(&mut self) {
        if self.restart_at.take().is_some() {
            self.phase = Phase::Exited;
            self.let_go();
            self.record(EventKind::RestartCancelled);
        }
    }

    fn was_out_of_memory(&mut self) -> bool {
        let Some(file) = &self.oom_events else {
            return false;
        };
        let count = cgroup::oom_kills_by_descriptor(file.as_fd()).unwrap_or(self.ooms_seen);
        let seen = std::mem::replace(&mut self.ooms_seen, count);
        self.ooms_seen > seen
    }
}
