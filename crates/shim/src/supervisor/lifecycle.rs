//! Starts, exits, and what lies between them.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use runtime::cgroup;
use runtime::plan::NsMode;

use super::birth::{self, Shape};
use super::daemons::Daemons;
use super::mounts::Mounts;
use super::session::{Ended, Manners, Newborn, Session};
use super::{Entry, Opening, Role, Run, Supervisor, system};
use crate::clock;
use crate::protocol::{
    Attachment, EventKind, LastExit, Phase, Refusal, Reply, RestartKind, RestartOutlook,
};

/// The number of the answer to the launch.
const LAUNCH: u32 = 0;

impl Supervisor {
    /// Makes the first start, and answers the launch.
    pub(super) fn start_first(&mut self, opening: Opening) {
        if let Err(refusal) = self.try_first(opening) {
            self.start_failed(&refusal);
            self.daemons
                .answer(Daemons::FIRST, LAUNCH, Err(refusal), Vec::new());
        }
    }

    fn try_first(&mut self, opening: Opening) -> Result<(), Refusal> {
        if self.restarts.policy.kind != RestartKind::No {
            self.mounts = Some(
                Mounts::keep(self.prepared.plan(), &self.fds).map_err(system("keep the mounts"))?,
            );
            self.supply_mounts()?;
        }
        if opening.two_phase {
            let half = birth::first_half(&self.prepared, &self.fds, self.shape())?;
            let namespace = half
                .network_namespace()
                .map_err(|fault| birth::refusal(&fault, fault.describe(self.prepared.plan())))?;
            let reply = Reply::Prepared { pid: half.pid() };
            self.half = Some(half);
            self.phase = Phase::Prepared;
            self.early_clients = opening.attachments;
            self.daemons
                .answer(Daemons::FIRST, LAUNCH, Ok(reply), vec![namespace]);
            return Ok(());
        }
        let born = birth::first(&self.prepared, &self.fds, self.shape())?;
        let (session, reply) = self.started(born);
        self.daemons
            .answer(Daemons::FIRST, LAUNCH, Ok(reply), Vec::new());
        self.tell_start();
        self.attach_all(session, opening.attachments);
        Ok(())
    }

    /// The second half of a start in two phases.
    pub(super) fn proceed(&mut self) -> Result<Reply, Refusal> {
        let Some(half) = self.half.take() else {
            return Err(super::invalid("the container does not wait to proceed"));
        };
        match half.proceed(self.prepared.plan()) {
            Ok(born) => {
                let (session, reply) = self.started(born);
                self.tell_start();
                let clients = std::mem::take(&mut self.early_clients);
                self.attach_all(session, clients);
                Ok(reply)
            }
            Err(refusal) => {
                self.early_clients.clear();
                self.start_failed(&refusal);
                Err(refusal)
            }
        }
    }

    /// Gives up a start that waits to proceed.
    pub(super) fn abandon(&mut self) {
        if self.half.take().is_some() {
            self.early_clients.clear();
            self.phase = Phase::Exited;
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            tty: self.config.manners.tty,
            input: self.config.open_stdin,
            outputs: true,
        }
    }

    fn supply_mounts(&mut self) -> Result<(), Refusal> {
        match &self.mounts {
            Some(mounts) => mounts
                .supply(&mut self.fds)
                .map_err(system("clone the mounts")),
            None => Ok(()),
        }
    }

    /// Makes the session of a first process and writes its start down.
    fn started(&mut self, born: Newborn) -> (u32, Reply) {
        let pid = born.pid;
        let number = self.add_session(Role::Main, born, self.config.manners.clone());
        let start_ticks = start_ticks(pid);
        let time = clock::now();
        self.phase = Phase::Running;
        let since = Instant::now();
        if let Some(health) = &mut self.health {
            health.begin(since);
        }
        self.run = Run {
            pid,
            start_ticks,
            started: time,
            since: Some(since),
        };
        let kind = EventKind::Started {
            pid,
            start_ticks,
            restarts: self.restarts.count(),
        };
        self.start_event = Some(self.journal.record(time, kind));
        (
            number,
            Reply::Started {
                pid,
                start_ticks,
                time,
            },
        )
    }

    /// Tells of the start that was written down last.
    fn tell_start(&mut self) {
        if let Some(event) = self.start_event.take() {
            self.daemons.tell(event);
        }
    }

    pub(super) fn add_session(&mut self, role: Role, born: Newborn, manners: Manners) -> u32 {
        let number = self.next_session;
        self.next_session += 1;
        let session = Session::new(number, &self.poll, born, manners);
        self.sessions.push(Entry {
            role,
            session,
            told: false,
        });
        number
    }

    pub(super) fn attach_all(&mut self, session: u32, attachments: Vec<(OwnedFd, Attachment)>) {
        for (socket, attachment) in attachments {
            self.with(session, |session, poll, _, sink| {
                session.attach(poll, socket, &attachment, sink)
            });
        }
    }

    /// Writes down and tells that there will be no process.
    fn start_failed(&mut self, refusal: &Refusal) {
        let exit_code = match refusal {
            Refusal::Fault { exit_code, .. } => *exit_code,
            _ => 125,
        };
        self.phase = Phase::Exited;
        self.record(EventKind::StartFailed {
            exit_code,
            text: refusal.to_string(),
        });
    }

    /// Writes an event down, then tells everybody.
    pub(super) fn record(&mut self, kind: EventKind) {
        let event = self.journal.record(clock::now(), kind);
        self.daemons.tell(event);
    }

    /// The delay after an exit is over.
    pub(super) fn start_again(&mut self) {
        let born = self
            .supply_mounts()
            .and_then(|()| birth::first(&self.prepared, &self.fds, self.shape()));
        match born {
            Ok(born) => {
                self.started(born);
                self.tell_start();
            }
            Err(refusal) => self.start_failed(&refusal),
        }
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
        match &entry.role {
            Role::Main => self.exited(ended),
            Role::Exec(id) => {
                let kind = EventKind::ExecExited {
                    id: id.clone(),
                    code: ended.code(),
                };
                self.record(kind);
            }
            Role::Probe => self.probe_ended(ended.code()),
        }
        // The record is written and told: now the clients may know.
        if let Some(entry) = self
            .sessions
            .iter_mut()
            .find(|entry| entry.session.number == number)
        {
            entry.session.finish(&self.poll);
        }
    }

    /// The container's process has ended and its output is out.
    fn exited(&mut self, ended: Ended) {
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
        self.kill_at = None;
        self.run = Run::default();
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
        self.daemons.tell(event);
    }

    /// Somebody asked that the container stay stopped.
    pub(super) fn cancel_restart(&mut self) {
        if self.restart_at.take().is_some() {
            self.phase = Phase::Exited;
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

/// Field 22 of /proc/PID/stat, which with the number and the boot tells a process from all others.
fn start_ticks(pid: u32) -> u64 {
    let mut text = [0; 1024];
    let length = std::fs::File::open(format!("/proc/{pid}/stat"))
        .and_then(|mut file| std::io::Read::read(&mut file, &mut text))
        .unwrap_or(0);
    // The name in parentheses may hold anything.
    let after_name = text[..length]
        .rsplit(|&byte| byte == b')')
        .next()
        .unwrap_or_default();
    let field = after_name.split(|&byte| byte == b' ').nth(20);
    let digits = field.and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_this_process_is_known() {
        let ours = start_ticks(std::process::id());
        assert!(ours > 0 && start_ticks(1) <= ours);
        assert_eq!(start_ticks(u32::MAX), 0);
    }
}
