//! The shim itself: one container's supervisor, a single thread around one epoll descriptor.

mod birth;
mod checks;
mod client;
mod daemons;
mod exits;
mod health;
mod input;
mod mounts;
mod policy;
mod poll;
mod ready;
mod requests;
mod session;
mod slots;
mod starts;

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use runtime::Prepared;
use runtime::plan::Plan;
use sys::fdpass::Wait;
use types::ContainerId;

use crate::clock;
use crate::journal::Journal;
use crate::logs::{JsonFile, Remote, Stream, Way};
use crate::protocol::transport::{self, Packet};
use crate::protocol::{
    Answer, Attachment, Backend, Event, EventKind, LastExit, Launch, LogConfig, Message, Phase,
    Place, Refusal,
};
use daemons::Daemons;
use health::Monitor;
use mounts::Mounts;
use policy::Restarts;
use poll::{EventFlags, Poll, Token};
pub(crate) use ready::Ready;
use session::{Manners, Session, Sink};
use slots::Slots;
use starts::Underway;

/// Why a session is there.
#[derive(Debug)]
enum Role {
    /// It is the container's own process.
    Main,
    /// It is a further process that somebody asked for.
    Exec(ContainerId),
    /// It is the run of the health check that has this number.
    Probe(u32),
}

/// A session, and whether its end has been told.
#[derive(Debug)]
struct Entry {
    role: Role,
    session: Session,
    told: bool,
    /// What its clients wait for before they hear of the end: a daemon that shows it.
    farewell: Option<Farewell>,
}

/// A client that reads to the end, and then asks a daemon what became of the container, shall hear it: the daemon says when
/// it has the event down. One that does not say so in time is not waited for.
#[derive(Debug, Clone, Copy)]
struct Farewell {
    sequence: u64,
    until: Instant,
}

/// How long a daemon may take for that.
const FAREWELL: Duration = Duration::from_millis(500);

/// The present run of the container.
#[derive(Debug, Default)]
struct Run {
    pid: u32,
    start_ticks: u64,
    /// In nanoseconds since 1970.
    started: u64,
    since: Option<Instant>,
}

/// Everything that a shim knows.
#[derive(Debug)]
struct Supervisor {
    config: Config,
    prepared: Prepared,
    fds: Vec<OwnedFd>,
    /// Where among them those of control groups are that came after the launch.
    entered_at: Option<usize>,
    /// What came after the launch and nothing names.
    held: Vec<OwnedFd>,
    /// The mounts for later starts, if there may be any.
    mounts: Option<Mounts>,
    cgroups: Vec<OwnedFd>,
    oom_events: Option<OwnedFd>,
    ooms_seen: u64,
    health: Option<Monitor>,
    poll: Poll,
    daemons: Daemons,
    journal: Journal,
    log: Option<JsonFile>,
    /// How many lost lines daemons were told of.
    lost_told: u64,
    /// What outputs and clients are read into.
    buffer: Vec<u8>,
    phase: Phase,
    /// Processes on their way to their programs.
    births: Vec<Underway>,
    run: Run,
    /// The first process's; see where it is set.
    mount_namespace: Option<OwnedFd>,
    last_exit: Option<LastExit>,
    restarts: Restarts,
    restart_at: Option<Instant>,
    stop_intent: bool,
    kill_at: Option<Instant>,
    sessions: Vec<Entry>,
    next_session: u32,
    released: bool,
}

/// What of the launch is needed as long as the shim lives.
#[derive(Debug)]
struct Config {
    manners: Manners,
    open_stdin: bool,
    stop_signal: u8,
}

/// What a session's bytes go through besides its clients: the log, or the health check's result.
#[derive(Default)]
struct Outlet<'a> {
    log: Option<&'a mut JsonFile>,
    health: Option<&'a mut Monitor>,
    detached: Vec<u64>,
}

impl Sink for Outlet<'_> {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.write(stream, bytes);
        }
        if let Some(health) = &mut self.health {
            health.output(bytes);
        }
    }

    fn detached(&mut self, token: u64) {
        self.detached.push(token);
    }
}

/// Runs the container that `packet` describes, until nothing is left to do for it.
pub(crate) fn main(ready: Ready, packet: Packet) -> ExitCode {
    let mut descriptors = packet.descriptors;
    // The launch comes with the daemon's connection last.
    let Some(connection) = descriptors.pop() else {
        return ExitCode::FAILURE;
    };
    match Supervisor::new(ready, &packet.body, descriptors, &connection) {
        Ok((mut supervisor, opening)) => {
            drop(connection);
            supervisor.start_first(opening);
            supervisor.serve()
        }
        Err(refusal) => {
            let answer = Message::Answer(Answer {
                number: 0,
                result: Err(refusal),
            });
            // A daemon that is gone needs no answer.
            let _ = transport::send(
                connection.as_fd(),
                answer.header(),
                &answer.encode(),
                &[],
                Wait::Never,
            );
            ExitCode::FAILURE
        }
    }
}

fn invalid(text: &str) -> Refusal {
    Refusal::Invalid {
        text: text.to_owned(),
    }
}

fn system<E: Into<std::io::Error>>(action: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal::System {
        action: action.to_owned(),
        errno: error.into().raw_os_error().unwrap_or(libc::EIO),
    }
}

impl Supervisor {
    /// Understands a launch and takes its descriptors over. Nothing runs yet.
    fn new(
        ready: Ready,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
        connection: &OwnedFd,
    ) -> Result<(Self, Opening), Refusal> {
        let mut launch = Launch::decode(body).map_err(|error| birth::invalid(&error))?;
        if launch.backend != Backend::Own {
            return Err(Refusal::Unsupported {
                what: "a foreign runtime".to_owned(),
            });
        }
        let plan = Plan::decode(&launch.plan).map_err(|error| birth::invalid(&error))?;
        launch.plan = Vec::new();
        if plan.terminal != launch.tty {
            return Err(invalid("launch and plan differ about the terminal"));
        }
        let mut prepared = Prepared::new(plan).map_err(|error| birth::invalid(&error))?;
        prepared.set_birthplace(ready.birthplace);
        let connection = rustix::io::fcntl_dupfd_cloexec(connection, 3)
            .map_err(system("copy the connection's descriptor"))?;
        let mut slots = Slots::new(descriptors);
        let journal = Journal::new(slots.take(launch.journal)?.into());
        let daemons = Daemons::new(slots.take(launch.listener)?, connection);
        let log = open_log(&launch.log, &mut slots)?;
        let cgroups = launch
            .cgroups
            .iter()
            .map(|&slot| slots.take(slot))
            .collect::<Result<_, _>>()?;
        let oom_events = launch.oom_events.map(|slot| slots.take(slot)).transpose()?;
        let mut attachments = Vec::with_capacity(launch.attachments.len());
        for attachment in std::mem::take(&mut launch.attachments) {
            attachments.push((slots.take(attachment.socket)?, attachment));
        }
        let supervisor = Supervisor {
            config: Config {
                manners: Manners {
                    tty: launch.tty,
                    input_ends: launch.stdin_once,
                    detach_keys: launch.detach_keys,
                },
                open_stdin: launch.open_stdin,
                stop_signal: launch.stop_signal,
            },
            prepared,
            fds: slots.finish().map_err(system("copy a descriptor"))?,
            mounts: None,
            cgroups,
            oom_events,
            ooms_seen: 0,
            health: launch.health.take().map(Monitor::new),
            poll: ready.poll,
            daemons,
            journal,
            log,
            lost_told: 0,
            held: Vec::new(),
            entered_at: None,
            buffer: ready.buffer,
            phase: Phase::Starting,
            births: Vec::new(),
            run: Run::default(),
            mount_namespace: None,
            last_exit: None,
            restarts: Restarts::new(launch.restart, launch.restarts_before),
            restart_at: None,
            stop_intent: false,
            kill_at: None,
            sessions: Vec::new(),
            next_session: 0,
            released: false,
        };
        Ok((
            supervisor,
            Opening {
                two_phase: launch.two_phase,
                attachments,
            },
        ))
    }

    /// Serves everybody until nothing is left to do.
    fn serve(&mut self) -> ExitCode {
        self.daemons.listen(&self.poll);
        while !self.is_over() {
            let Ok(events) = self.poll.wait(self.deadline()) else {
                return ExitCode::FAILURE;
            };
            for (token, flags) in events {
                self.dispatch(token, flags);
            }
            self.expire();
            self.advance();
            self.tell_lost_lines(false);
            self.daemons.settle(&self.poll);
        }
        ExitCode::SUCCESS
    }

    /// The container has exited for good, everything is out, and nobody needs the root mount any more.
    fn is_over(&self) -> bool {
        self.phase == Phase::Exited
            && self.sessions.is_empty()
            && self.births.is_empty()
            && (self.released || self.daemons.is_empty())
    }

    fn dispatch(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Listener => self.daemons.accept(&self.poll),
            Token::Daemon(number) => {
                if flags.contains(EventFlags::OUT) {
                    self.daemons.flush(number);
                }
                while let Some(packet) = self.daemons.receive(number) {
                    self.request(number, packet);
                }
            }
            Token::Birth(number) => self.birth_ready(number),
            Token::Process(session) => self.reap(session),
            Token::Input(session) => {
                self.with(session, |session, poll, _, _| session.input_ready(poll))
            }
            Token::Output(session, stream) => self.with(session, |session, poll, buffer, sink| {
                session.output_ready(poll, stream, buffer, sink);
            }),
            Token::Client(session, client) => self.with(session, |session, poll, buffer, sink| {
                session.client_ready(poll, client, flags, buffer, sink);
            }),
        }
    }

    /// Does something with a session, if it is still there, and tells of clients that left.
    fn with(
        &mut self,
        number: u32,
        action: impl FnOnce(&mut Session, &Poll, &mut Vec<u8>, &mut dyn Sink),
    ) {
        let Some(entry) = self
            .sessions
            .iter_mut()
            .find(|entry| entry.session.number == number)
        else {
            return;
        };
        let mut outlet = Outlet::default();
        match entry.role {
            Role::Main => outlet.log = self.log.as_mut(),
            Role::Exec(_) => {}
            Role::Probe(run) => {
                outlet.health = self.health.as_mut().filter(|health| health.is_running(run));
            }
        }
        action(
            &mut entry.session,
            &self.poll,
            &mut self.buffer,
            &mut outlet,
        );
        let held = outlet.log.is_some_and(|log| log.holds());
        entry.session.hold(&self.poll, held);
        let exec = match &entry.role {
            Role::Exec(id) => Some(id.clone()),
            Role::Main | Role::Probe(_) => None,
        };
        for token in outlet.detached {
            let kind = EventKind::Detached {
                token,
                exec: exec.clone(),
            };
            self.daemons.tell(Event {
                sequence: 0,
                time: clock::now(),
                kind,
            });
        }
    }

    /// Tells of lines that came into no log: seldom, or at the end whatever was not told yet.
    fn tell_lost_lines(&mut self, at_end: bool) {
        let lines = self.log.as_ref().map_or(0, JsonFile::lost);
        let before = self.lost_told;
        if lines == before || (!at_end && lines < before.saturating_mul(2)) {
            return;
        }
        self.lost_told = lines;
        self.daemons.tell(Event {
            sequence: 0,
            time: clock::now(),
            kind: EventKind::LinesLost { lines },
        });
    }

    fn main_session(&self) -> Option<&Entry> {
        self.sessions
            .iter()
            .find(|entry| matches!(entry.role, Role::Main) && !entry.told)
    }

    fn exec_session(&self, id: &ContainerId) -> Option<&Entry> {
        self.sessions
            .iter()
            .find(|entry| matches!(&entry.role, Role::Exec(other) if other == id) && !entry.told)
    }

    /// When something is due even if nothing becomes ready.
    fn deadline(&self) -> Option<Instant> {
        let sessions = self
            .sessions
            .iter()
            .filter_map(|entry| entry.session.deadline());
        let farewells = self
            .sessions
            .iter()
            .filter_map(|entry| entry.farewell.map(|farewell| farewell.until));
        let log = self.log.as_ref().and_then(JsonFile::held_until);
        let health = self.health.as_ref().and_then(Monitor::deadline);
        sessions
            .chain(farewells)
            .chain(log)
            .chain(health)
            .chain(self.restart_at)
            .chain(self.kill_at)
            .min()
    }

    /// Does what is due.
    fn expire(&mut self) {
        let now = Instant::now();
        for entry in &mut self.sessions {
            if entry
                .session
                .deadline()
                .is_some_and(|deadline| deadline <= now)
            {
                entry.session.expire(&self.poll, now);
            }
        }
        self.part(|farewell| farewell.until <= now);
        if let Some(log) = &mut self.log
            && log.held_until().is_some_and(|at| at <= now)
        {
            log.retry();
            let held = log.holds();
            for entry in self
                .sessions
                .iter_mut()
                .filter(|entry| matches!(entry.role, Role::Main))
            {
                entry.session.hold(&self.poll, held);
            }
        }
        self.check_health(now);
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.kill();
        }
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            self.start_again();
        }
    }
}

/// What is needed only for the first start.
#[derive(Debug)]
struct Opening {
    two_phase: bool,
    attachments: Vec<(OwnedFd, Attachment)>,
}

fn open_remote(asked: &crate::protocol::Remote, slots: &mut Slots) -> Result<Remote, Refusal> {
    let socket = slots.take(asked.socket)?;
    let way = match &asked.place {
        Place::Local {
            folder,
            name,
            stream,
        } => Way::Local {
            folder: slots.take(*folder)?,
            name: name.clone(),
            stream: *stream,
        },
        Place::Network { address, stream } => Way::Network {
            address: *address,
            stream: *stream,
        },
    };
    Ok(Remote::new(asked.words.clone(), way, socket))
}

fn open_log(config: &LogConfig, slots: &mut Slots) -> Result<Option<JsonFile>, Refusal> {
    match config {
        LogConfig::None => Ok(None),
        LogConfig::JsonFile {
            folder,
            name,
            max_size,
            max_files,
            attrs,
            buffer,
            remote,
        } => {
            let folder = slots.take(*folder)?;
            let mut log = JsonFile::new(folder, name.clone(), *max_size, *max_files, attrs.clone());
            if let Some(remote) = remote {
                log.set_remote(open_remote(remote, slots)?);
            }
            log.set_buffer(*buffer);
            Ok(Some(log))
        }
    }
}
