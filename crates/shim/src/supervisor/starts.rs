//! Starts: of the container, again and again, of execs and health checks.
//!
//! None of them is waited for: a process whose way leads through a file system that hangs, or into a container
//! that is frozen, holds up nobody else.

use std::os::fd::OwnedFd;
use std::time::Instant;

use sys::process::Namespace;
use types::ContainerId;

use super::birth::{Birth, Shape};
use super::daemons::Daemons;
use super::mounts::Mounts;
use super::poll::{EventFlags, Token, Watch};
use super::session::{Manners, Newborn, Session};
use super::{Entry, Opening, Role, Run, Supervisor, invalid, system};
use crate::clock;
use crate::protocol::{Attachment, EventKind, Phase, Refusal, Reply, RestartKind};

/// A request that waits for its answer: whose, and its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) daemon: u32,
    pub(super) number: u32,
}

impl Asker {
    /// The launch itself.
    const LAUNCH: Asker = Asker {
        daemon: Daemons::FIRST,
        number: 0,
    };
}

type Clients = Vec<(OwnedFd, Attachment)>;

/// What a process is to become.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The container's own.
    Main {
        asker: Option<Asker>,
        clients: Clients,
        /// See [`Run`].
        start_ticks: u64,
    },
    /// A further process that somebody asked for.
    Exec {
        id: ContainerId,
        asker: Asker,
        clients: Clients,
        manners: Manners,
    },
    /// The run of the health check that has this number.
    Probe(u32),
}

/// A process on its way.
#[derive(Debug)]
pub(super) struct Underway {
    number: u32,
    birth: Birth,
    watch: Watch,
    pub(super) purpose: Purpose,
}

impl Supervisor {
    /// Makes the first start, or at least its first half.
    pub(super) fn start_first(&mut self, opening: Opening) {
        if let Err(refusal) = self.try_first(opening) {
            self.answer(Asker::LAUNCH, Err(refusal.clone()), Vec::new());
            self.start_failed(&refusal);
        }
    }

    fn try_first(&mut self, opening: Opening) -> Result<(), Refusal> {
        if self.restarts.policy.kind != RestartKind::No {
            let mounts = Mounts::keep(self.prepared.plan(), &self.fds);
            self.mounts = Some(mounts.map_err(system("keep the mounts"))?);
        }
        let asker = (!opening.two_phase).then_some(Asker::LAUNCH);
        let birth = self.set_off(opening.two_phase)?;
        let namespace = opening
            .two_phase
            .then(|| birth.network_namespace(self.prepared.plan()))
            .transpose()?;
        let pid = birth.pid();
        self.underway_main(birth, asker, opening.attachments);
        // From here on the child's way and the supervisor's own preparations go side by side.
        self.journal.prepare().map_err(system("open the journal"))?;
        if let Some(namespace) = namespace {
            self.phase = Phase::Prepared;
            self.answer(Asker::LAUNCH, Ok(Reply::Prepared { pid }), vec![namespace]);
        }
        Ok(())
    }

    /// Clones the first process.
    fn set_off(&mut self, gated: bool) -> Result<Birth, Refusal> {
        if let Some(mounts) = &self.mounts {
            mounts
                .supply(&mut self.fds)
                .map_err(system("clone the mounts"))?;
        }
        let shape = Shape {
            tty: self.config.manners.tty,
            input: self.config.open_stdin,
            outputs: true,
        };
        Birth::first(&self.prepared, &self.fds, shape, gated)
    }

    fn underway_main(&mut self, birth: Birth, asker: Option<Asker>, clients: Clients) {
        self.phase = Phase::Starting;
        let watched = asker.is_some() || self.restarts.count() > 0;
        let start_ticks = sys::lifetime::start_ticks(birth.pid()).unwrap_or(0);
        self.underway(
            birth,
            Purpose::Main {
                asker,
                clients,
                start_ticks,
            },
            watched,
        );
    }

    /// Keeps a process until it runs its program; `watched`: it needs no further word.
    pub(super) fn underway(&mut self, birth: Birth, purpose: Purpose, watched: bool) {
        let number = self.next_number();
        let mut watch = Watch::new(Token::Birth(number));
        watch.set(&self.poll, &birth, watched.then_some(EventFlags::IN));
        self.births.push(Underway {
            number,
            birth,
            watch,
            purpose,
        });
    }

    pub(super) fn next_number(&mut self) -> u32 {
        let number = self.next_session;
        self.next_session += 1;
        number
    }

    /// The delay after an exit is over.
    pub(super) fn start_again(&mut self) {
        match self.set_off(false) {
            Ok(birth) => self.underway_main(birth, None, Vec::new()),
            Err(refusal) => self.start_failed(&refusal),
        }
    }

    /// The second half of a start in two phases.
    pub(super) fn proceed(&mut self, request: Asker) -> Result<(), Refusal> {
        let main = self
            .births
            .iter_mut()
            .find_map(|underway| match &mut underway.purpose {
                Purpose::Main { asker, .. } => Some((underway.number, asker)),
                _ => None,
            });
        match main {
            Some((number, asker)) if self.phase == Phase::Prepared => {
                *asker = Some(request);
                self.phase = Phase::Starting;
                self.birth_ready(number);
                Ok(())
            }
            _ => Err(invalid("the container does not wait to proceed")),
        }
    }

    /// Kills a first process that does not run its program yet; its end is that of the container.
    pub(super) fn abandon(&mut self) {
        let is_main = |underway: &Underway| matches!(underway.purpose, Purpose::Main { .. });
        let Some(place) = self.births.iter().position(is_main) else {
            return;
        };
        let mut underway = self.births.swap_remove(place);
        underway.watch.set(&self.poll, &underway.birth, None);
        let refusal = invalid("the start was given up");
        if let Purpose::Main {
            asker: Some(asker), ..
        } = underway.purpose
        {
            self.answer(asker, Err(refusal.clone()), Vec::new());
        }
        self.start_failed(&refusal);
    }

    /// A client for a container that does not run its program yet.
    pub(super) fn attach_early(&mut self, client: (OwnedFd, Attachment)) -> Result<(), Refusal> {
        for underway in &mut self.births {
            if let Purpose::Main { clients, .. } = &mut underway.purpose {
                clients.push(client);
                return Ok(());
            }
        }
        Err(Refusal::NotRunning)
    }

    /// A process on its way has something to tell.
    pub(super) fn birth_ready(&mut self, number: u32) {
        let Some(place) = self
            .births
            .iter()
            .position(|underway| underway.number == number)
        else {
            return;
        };
        let underway = &mut self.births[place];
        let outcome = underway.birth.poll(self.prepared.plan()).transpose();
        let interest = if outcome.is_none() {
            Some(EventFlags::IN)
        } else {
            None
        };
        underway.watch.set(&self.poll, &underway.birth, interest);
        let Some(outcome) = outcome else {
            return;
        };
        let purpose = self.births.swap_remove(place).purpose;
        match outcome {
            Ok(born) => self.born(born, purpose),
            Err(refusal) => self.stillborn(refusal, purpose),
        }
    }

    fn born(&mut self, born: Newborn, purpose: Purpose) {
        let pid = born.pid;
        match purpose {
            Purpose::Main {
                asker,
                clients,
                start_ticks,
            } => {
                self.started(born, asker, start_ticks, clients);
            }
            Purpose::Exec {
                id,
                asker,
                clients,
                manners,
            } => {
                let number = self.add_session(Role::Exec(id), born, manners);
                self.answer(asker, Ok(Reply::ExecStarted { pid }), Vec::new());
                self.attach_all(number, clients);
            }
            Purpose::Probe(run) => {
                self.add_session(Role::Probe(run), born, Manners::default());
                self.kill_unwanted_probes();
            }
        }
    }

    fn stillborn(&mut self, refusal: Refusal, purpose: Purpose) {
        match purpose {
            Purpose::Main { asker, .. } => {
                if let Some(asker) = asker {
                    self.answer(asker, Err(refusal.clone()), Vec::new());
                }
                self.start_failed(&refusal);
            }
            Purpose::Exec { asker, .. } => self.answer(asker, Err(refusal), Vec::new()),
            Purpose::Probe(_) => self.probe_failed(&refusal),
        }
    }

    /// The first process runs its program: that is written down, and told.
    fn started(&mut self, born: Newborn, asker: Option<Asker>, start_ticks: u64, clients: Clients) {
        let (pid, time) = (born.pid, clock::now());
        self.phase = Phase::Running;
        let kind = EventKind::Started {
            pid,
            start_ticks,
            restarts: self.restarts.count(),
            supervisor: std::process::id(),
        };
        let event = self.journal.record(time, kind);
        if let Some(asker) = asker {
            self.answer(
                asker,
                Ok(Reply::Started {
                    pid,
                    start_ticks,
                    time,
                }),
                Vec::new(),
            );
        }
        self.daemons.tell(event);
        let since = Instant::now();
        self.run = Run {
            pid,
            start_ticks,
            started: time,
            since: Some(since),
        };
        if let Some(health) = &mut self.health {
            health.begin(since);
        }
        if let Some(log) = &mut self.log {
            log.reopen();
        }
        // Held, the namespace is not undone by the process that ends, which would take it a while.
        self.mount_namespace = i32::try_from(pid).ok().and_then(|pid| {
            sys::process::namespace_of(rustix::fd::AsFd::as_fd(&born.pidfd), pid, Namespace::Mount)
                .ok()
        });
        let number = self.add_session(Role::Main, born, self.config.manners.clone());
        self.attach_all(number, clients);
    }

    /// Writes down and tells that there will be no process.
    fn start_failed(&mut self, refusal: &Refusal) {
        let exit_code = match refusal {
            Refusal::Fault { exit_code, .. } => *exit_code,
            _ => 125,
        };
        self.births
            .retain(|underway| !matches!(underway.purpose, Purpose::Main { .. }));
        self.phase = Phase::Exited;
        self.let_go();
        self.record(EventKind::StartFailed {
            exit_code,
            text: refusal.to_string(),
        });
    }

    fn add_session(&mut self, role: Role, born: Newborn, manners: Manners) -> u32 {
        let number = self.next_number();
        let session = Session::new(number, &self.poll, born, manners);
        self.sessions.push(Entry {
            role,
            session,
            told: false,
            farewell: None,
        });
        number
    }

    pub(super) fn attach_all(&mut self, session: u32, clients: Clients) {
        for (socket, attachment) in clients {
            self.with(session, |session, poll, _, sink| {
                session.attach(poll, socket, &attachment, sink);
            });
        }
    }

    pub(super) fn answer(
        &mut self,
        asker: Asker,
        result: Result<Reply, Refusal>,
        descriptors: Vec<OwnedFd>,
    ) {
        self.daemons
            .answer(asker.daemon, asker.number, result, descriptors);
    }
}
