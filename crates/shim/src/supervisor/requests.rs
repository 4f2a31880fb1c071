//! What daemons ask for.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use runtime::plan::{CgroupEntry, FdSlot};
use types::ContainerId;

use super::birth::{self, Birth, Shape};
use super::health::Monitor;
use super::session::Manners;
use super::slots::Slots;
use super::starts::{Asker, Purpose};
use super::{Entry, Role, Supervisor, invalid, system};
use crate::protocol::transport::Packet;
use crate::protocol::{
    Attachment, Exec, ExecStatus, Phase, Refusal, Reply, Request, Status, StopRequest,
};

impl Supervisor {
    /// Carries out one request and answers it.
    pub(super) fn request(&mut self, daemon: u32, packet: Packet) {
        let number = packet.header.number;
        let asker = Asker { daemon, number };
        let result = match Request::decode(packet.header.kind, &packet.body) {
            Ok(request) => self.carry_out(request, packet.descriptors, asker),
            Err(crate::protocol::WireError::Kind { kind }) => Err(Refusal::Unsupported {
                what: format!("requests of kind {kind}"),
            }),
            Err(error) => Err(birth::invalid(&error)),
        };
        if let Some(result) = result.transpose() {
            self.answer(asker, result, Vec::new());
        }
    }

    /// No reply yet for what is answered later.
    fn carry_out(
        &mut self,
        request: Request,
        descriptors: Vec<OwnedFd>,
        asker: Asker,
    ) -> Result<Option<Reply>, Refusal> {
        match request {
            Request::Proceed => return self.proceed(asker).map(|()| None),
            Request::Exec(exec) => return self.exec(*exec, descriptors, asker).map(|()| None),
            Request::FollowExec(exec) => return self.follow_exec(&exec, asker),
            Request::Status => return Ok(Some(Reply::Status(Box::new(self.status())))),
            Request::Signal { signal, exec } => self.signal(signal, exec.as_ref())?,
            Request::StopIntent(wanted) => {
                self.stop_intent = wanted;
                if wanted {
                    self.cancel_restart();
                }
            }
            Request::Stop(stop) => self.stop(stop)?,
            Request::Resize {
                exec,
                rows,
                columns,
            } => self.resize(exec.as_ref(), rows, columns)?,
            Request::Attach(attachment) => self.attach(*attachment, descriptors)?,
            Request::CloseStdin { exec } => {
                let number = self.find(exec.as_ref())?.session.number;
                self.with(number, |session, poll, _, _| session.close_input(poll));
            }
            Request::ReopenLogs => {
                if let Some(log) = &mut self.log {
                    log.reopen();
                }
            }
            Request::UpdatePolicy(policy) => self.restarts.policy = policy,
            Request::SetHealth(health) => self.set_health(health.map(|health| *health)),
            Request::SuspendHealth(suspended) => self.suspend_health(suspended),
            Request::Hold => self.hold(descriptors)?,
            Request::Enter { unified } => self.enter(descriptors, unified)?,
            Request::Acknowledge { sequence } => {
                self.journal.acknowledge(sequence);
                self.part(|farewell| farewell.sequence <= sequence);
            }
            Request::Release => self.release()?,
        }
        Ok(Some(Reply::Done))
    }

    /// The session of the container, or of an exec.
    fn find(&self, exec: Option<&ContainerId>) -> Result<&Entry, Refusal> {
        match exec {
            None => self.main_session().ok_or(Refusal::NotRunning),
            Some(id) => self.exec_session(id).ok_or(Refusal::NoSuchExec),
        }
    }

    fn signal(&self, signal: u8, exec: Option<&ContainerId>) -> Result<(), Refusal> {
        let entry = self.find(exec)?;
        if entry.session.ended().is_some() {
            return Err(Refusal::NotRunning);
        }
        sys::process::pidfd_send_signal(entry.session.pidfd(), signal.into())
            .map_err(system("send the signal"))
    }

    fn stop(&mut self, stop: StopRequest) -> Result<(), Refusal> {
        self.stop_intent = true;
        match self.phase {
            Phase::Restarting => {
                self.cancel_restart();
                Ok(())
            }
            Phase::Prepared | Phase::Starting => {
                self.abandon();
                Ok(())
            }
            Phase::Exited => Err(Refusal::NotRunning),
            Phase::Running => {
                if let Some(grace) = stop.grace {
                    self.kill_at = Some(Instant::now() + Duration::from_millis(grace));
                }
                match self.signal(stop.signal.unwrap_or(self.config.stop_signal), None) {
                    // It has just ended; the event follows.
                    Err(Refusal::NotRunning) => Ok(()),
                    other => other,
                }
            }
        }
    }

    fn hold(&mut self, descriptors: Vec<OwnedFd>) -> Result<(), Refusal> {
        if self.phase == Phase::Exited && !descriptors.is_empty() {
            return Err(Refusal::NotRunning);
        }
        self.held = descriptors;
        Ok(())
    }

    /// They go behind the descriptors of the launch, in place of those that did so before.
    fn enter(&mut self, descriptors: Vec<OwnedFd>, unified: bool) -> Result<(), Refusal> {
        if self.phase == Phase::Exited {
            return Err(Refusal::NotRunning);
        }
        let first = *self.entered_at.get_or_insert(self.fds.len());
        self.fds.truncate(first);
        self.fds.extend(descriptors);
        let slot = |at| {
            u16::try_from(at)
                .map(FdSlot)
                .map_err(|_| invalid("too many descriptors"))
        };
        let mut dirs = (first..self.fds.len())
            .map(slot)
            .collect::<Result<Vec<_>, _>>()?;
        let unified = if unified { dirs.pop() } else { None };
        self.prepared.set_cgroup(CgroupEntry { dirs, unified });
        Ok(())
    }

    fn resize(&self, exec: Option<&ContainerId>, rows: u16, columns: u16) -> Result<(), Refusal> {
        match self.find(exec)?.session.resize(rows, columns) {
            None => Err(Refusal::Without {
                what: "terminal".to_owned(),
            }),
            Some(done) => done.map_err(system("set the terminal's size")),
        }
    }

    fn attach(&mut self, attachment: Attachment, descriptors: Vec<OwnedFd>) -> Result<(), Refusal> {
        let socket = Slots::new(descriptors).take(attachment.socket)?;
        if matches!(self.phase, Phase::Prepared | Phase::Starting) {
            return self.attach_early((socket, attachment));
        }
        let entry = self.find(None)?;
        if entry.session.ended().is_some() {
            return Err(Refusal::NotRunning);
        }
        let number = entry.session.number;
        self.attach_all(number, vec![(socket, attachment)]);
        Ok(())
    }

    fn exec(&mut self, exec: Exec, descriptors: Vec<OwnedFd>, asker: Asker) -> Result<(), Refusal> {
        let is_underway = self.births.iter().any(
            |underway| matches!(&underway.purpose, Purpose::Exec { id, .. } if *id == exec.id),
        );
        if is_underway || self.exec_session(&exec.id).is_some() {
            return Err(Refusal::ExecExists);
        }
        let main = self.main_session().ok_or(Refusal::NotRunning)?;
        if main.session.ended().is_some() {
            return Err(Refusal::NotRunning);
        }
        let mut slots = Slots::new(descriptors);
        let mut clients = Vec::with_capacity(exec.attachments.len());
        for attachment in exec.attachments {
            clients.push((slots.take(attachment.socket)?, attachment));
        }
        let shape = Shape {
            tty: exec.tty,
            input: exec.open_stdin,
            // Without clients nobody would ever read what it writes.
            outputs: !clients.is_empty(),
        };
        let cgroup = &self.prepared.plan().cgroup;
        let birth = Birth::further(main.session.pidfd(), &exec.plan, cgroup, &self.fds, shape)?;
        let manners = Manners {
            tty: exec.tty,
            input_ends: true,
            detach_keys: exec.detach_keys,
        };
        self.underway(
            birth,
            Purpose::Exec {
                id: exec.id,
                asker,
                clients,
                manners,
            },
            true,
        );
        Ok(())
    }

    /// Whoever asked for an exec asks over another connection: the answer goes there, now or when it is decided. What was
    /// said over the former connection was read before this one was accepted.
    fn follow_exec(
        &mut self,
        wanted: &ContainerId,
        again: Asker,
    ) -> Result<Option<Reply>, Refusal> {
        for underway in &mut self.births {
            if let Purpose::Exec { id, asker, .. } = &mut underway.purpose
                && id == wanted
            {
                *asker = again;
                return Ok(None);
            }
        }
        let entry = self.exec_session(wanted).ok_or(Refusal::NoSuchExec)?;
        let pid = entry.session.pid;
        Ok(Some(Reply::ExecStarted { pid }))
    }

    fn release(&mut self) -> Result<(), Refusal> {
        if matches!(self.phase, Phase::Prepared | Phase::Starting) {
            self.abandon();
        }
        if self.phase != Phase::Exited {
            return Err(invalid("the container has not exited for good"));
        }
        self.released = true;
        self.part(|_| true);
        // Clients that have not read everything yet are served on, without the container's files.
        self.fds.clear();
        self.held.clear();
        self.mounts = None;
        self.mount_namespace = None;
        Ok(())
    }

    fn status(&self) -> Status {
        let execs =
            self.sessions
                .iter()
                .filter(|entry| !entry.told)
                .filter_map(|entry| match &entry.role {
                    Role::Exec(id) => Some(ExecStatus {
                        id: id.clone(),
                        pid: entry.session.pid,
                    }),
                    Role::Main | Role::Probe(_) => None,
                });
        let attached = self
            .main_session()
            .map_or(0, |entry| entry.session.attached());
        Status {
            phase: self.phase,
            pid: self.run.pid,
            start_ticks: self.run.start_ticks,
            started: self.run.started,
            last_exit: self.last_exit,
            restarts: self.restarts.count(),
            stop_intent: self.stop_intent,
            policy: self.restarts.policy,
            execs: execs.collect(),
            health: self.health.as_ref().map(Monitor::status),
            sequence: self.journal.sequence(),
            attached: u32::try_from(attached).unwrap_or(u32::MAX),
            lost_lines: self.log.as_ref().map_or(0, |log| log.lost()),
        }
    }
}
