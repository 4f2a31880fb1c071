//! What a shim is told at its birth.

use types::ContainerId;

use super::remote::Remote;
use super::wire::{Field, Fields, WireError, Writer};

/// The most attachments one message may bring.
pub(crate) const ATTACHMENT_LIMIT: usize = 64;
const NAME_LIMIT: usize = 255;
const SMALL_LIMIT: usize = 64 << 10;

/// An index into the descriptors that travel with a message, the same one as a plan's.
pub use runtime::plan::FdSlot as Slot;

/// A slot that no message fills.
pub(crate) const NO_SLOT: Slot = Slot(u16::MAX);

/// Who makes the container's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// The runtime library in this program.
    #[default]
    Own,
    /// An OCI runtime that the user named. No shim of this release accepts it.
    Foreign,
}

/// When the shim starts the container again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartKind {
    /// Never.
    #[default]
    No,
    /// After an exit status other than 0.
    OnFailure,
    /// After every exit that nobody asked for.
    Always,
    /// As `Always`; the difference shows when an engine starts.
    UnlessStopped,
}

/// The restart policy of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestartPolicy {
    /// When.
    pub kind: RestartKind,
    /// How many times in a row `OnFailure` tries; 0 is without end.
    pub max_retries: u32,
}

/// Where the container's output is written down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogConfig {
    /// Nowhere.
    #[default]
    None,
    /// In files of one JSON object a line, as docker's json-file driver writes them.
    JsonFile {
        /// The folder of the files.
        folder: Slot,
        /// The newest file's name; older ones have `.1`, `.2`, … appended.
        name: String,
        /// At how many bytes a file is closed and the next begun; 0 is never.
        max_size: u64,
        /// How many files there are at most, the newest one included; at least 1.
        max_files: u32,
        /// A JSON object that each line carries as `attrs`; empty for none.
        attrs: Vec<u8>,
        /// With it nobody who reads the log holds the container up: so many bytes wait, what is beyond is lost.
        buffer: Option<u64>,
        /// Where each line goes as well.
        remote: Option<Remote>,
    },
}

/// How bytes for a client are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// As they are: terminals.
    #[default]
    Raw,
    /// Behind 8 bytes each: stream number, three zeros, length as u32 big endian.
    Multiplexed,
}

/// A client's own socket, to be served by the shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The socket.
    pub socket: Slot,
    /// A number that the event of its end repeats.
    pub token: u64,
    /// Whether what the client sends is the container's input.
    pub stdin: bool,
    /// Whether the client gets standard output.
    pub stdout: bool,
    /// Whether the client gets standard error.
    pub stderr: bool,
    /// How output is packed.
    pub framing: Framing,
    /// The keys that detach, as bytes; `None` for the container's own.
    pub detach_keys: Option<Vec<u8>>,
    /// Input that was read from the socket before it was handed over.
    pub leftover: Vec<u8>,
}

/// A command that tells how the container is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// An encoded exec plan; the shim adds the container's cgroups.
    pub plan: Vec<u8>,
    /// From the end of one run to the start of the next, in nanoseconds.
    pub interval: u64,
    /// The longest run, in nanoseconds.
    pub timeout: u64,
    /// From the container's start, how long failures do not count, in nanoseconds.
    pub start_period: u64,
    /// The interval within the start period, in nanoseconds.
    pub start_interval: u64,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
}

/// Everything a shim needs to run its container without asking anybody.
///
/// The descriptors that travel beside it are indexed by [`Slot`] here and by the plan's own slots; those
/// that nothing names (port reservations, namespaces) are held open as long as the shim lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Whose shim it is.
    pub container: ContainerId,
    /// Who makes the processes.
    pub backend: Backend,
    /// The encoded plan of the first process.
    pub plan: Vec<u8>,
    /// Whether to stop once the namespaces are made, until `Proceed`.
    pub two_phase: bool,
    /// When to start again.
    pub restart: RestartPolicy,
    /// How many restarts in a row there were before this shim; its own come on top where the policy has a limit.
    pub restarts_before: u32,
    /// The signal of a stop request that names none.
    pub stop_signal: u8,
    /// Where output is written down.
    pub log: LogConfig,
    /// Whether the first process has a terminal (as its plan says too).
    pub tty: bool,
    /// Whether it has an input at all.
    pub open_stdin: bool,
    /// Whether the end of a client's input is the end of the container's.
    pub stdin_once: bool,
    /// The keys that detach a client of a terminal, as bytes; empty for none.
    pub detach_keys: Vec<u8>,
    /// The clients that are there from the first byte on.
    pub attachments: Vec<Attachment>,
    /// The file of the exit journal, opened for reading and writing.
    pub journal: Slot,
    /// The listening socket on which later daemons connect.
    pub listener: Slot,
    /// The folders of the container's control groups, from which all that remains is killed.
    pub cgroups: Vec<Slot>,
    /// A file with an `oom_kill N` line: memory.events, or memory.oom_control of version 1.
    pub oom_events: Option<Slot>,
    /// How to find out its health.
    pub health: Option<Health>,
}

impl Launch {
    /// A launch of `plan` with no input, no log, no clients, and no restarts.
    pub fn new(container: ContainerId, plan: Vec<u8>, journal: Slot, listener: Slot) -> Self {
        Launch {
            container,
            backend: Backend::Own,
            plan,
            two_phase: false,
            restart: RestartPolicy::default(),
            restarts_before: 0,
            stop_signal: 15,
            log: LogConfig::None,
            tty: false,
            open_stdin: false,
            stdin_once: false,
            detach_keys: Vec::new(),
            attachments: Vec::new(),
            journal,
            listener,
            cgroups: Vec::new(),
            oom_events: None,
            health: None,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.content(1, self.container.as_str().as_bytes());
        w.number(2, backend_number(self.backend));
        w.content(3, &self.plan);
        w.flag(4, self.two_phase);
        w.nested(5, |w| self.restart.write(w));
        w.number(6, u64::from(self.stop_signal));
        w.nested(7, |w| self.log.write(w));
        w.flag(8, self.tty);
        w.flag(9, self.open_stdin);
        w.flag(10, self.stdin_once);
        w.content(11, &self.detach_keys);
        for attachment in &self.attachments {
            w.nested(12, |w| attachment.write(w));
        }
        w.optional(13, Some(self.journal.0.into()));
        w.optional(14, Some(self.listener.0.into()));
        for slot in &self.cgroups {
            w.optional(15, Some(slot.0.into()));
        }
        w.optional(16, self.oom_events.map(|slot| slot.0.into()));
        if let Some(health) = &self.health {
            w.nested(17, |w| health.write(w));
        }
        w.number(18, self.restarts_before.into());
        w.finish()
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, WireError> {
        let mut container = None;
        let nobody =
            ContainerId::try_from("0".repeat(64)).map_err(|_| WireError::Missing { tag: 1 })?;
        let mut launch = Launch::new(nobody, Vec::new(), NO_SLOT, NO_SLOT);
        for field in Fields::new(body) {
            let field = field?;
            match field.tag {
                1 => container = Some(field.parse()?),
                _ => launch.take(field)?,
            }
        }
        launch.container = container.ok_or(WireError::Missing { tag: 1 })?;
        Ok(launch)
    }

    fn take(&mut self, field: Field<'_>) -> Result<(), WireError> {
        match field.tag {
            2 => self.backend = backend(field)?,
            3 => self.plan = field.content(super::BODY_LIMIT)?,
            4 => self.two_phase = field.flag()?,
            5 => self.restart = RestartPolicy::read(field.nested())?,
            6 => self.stop_signal = field.narrow()?,
            7 => self.log = LogConfig::read(field.nested())?,
            8 => self.tty = field.flag()?,
            9 => self.open_stdin = field.flag()?,
            10 => self.stdin_once = field.flag()?,
            11 => self.detach_keys = field.content(NAME_LIMIT)?,
            12 => {
                if self.attachments.len() == ATTACHMENT_LIMIT {
                    return Err(WireError::Limit {
                        what: "attachments",
                    });
                }
                self.attachments.push(Attachment::read(field.nested())?);
            }
            13 => self.journal = slot(field)?,
            14 => self.listener = slot(field)?,
            15 => {
                if self.cgroups.len() == ATTACHMENT_LIMIT {
                    return Err(WireError::Limit {
                        what: "control groups",
                    });
                }
                self.cgroups.push(slot(field)?);
            }
            16 => self.oom_events = Some(slot(field)?),
            17 => self.health = Some(Health::read(field.nested())?),
            18 => self.restarts_before = field.narrow()?,
            _ => {}
        }
        Ok(())
    }
}

pub(crate) fn slot(field: Field<'_>) -> Result<Slot, WireError> {
    Ok(Slot(field.narrow()?))
}

fn backend_number(backend: Backend) -> u64 {
    match backend {
        Backend::Own => 0,
        Backend::Foreign => 1,
    }
}

fn backend(field: Field<'_>) -> Result<Backend, WireError> {
    match field.number()? {
        0 => Ok(Backend::Own),
        1 => Ok(Backend::Foreign),
        _ => Err(WireError::Field { tag: field.tag }),
    }
}

impl RestartPolicy {
    pub(crate) fn write(&self, w: &mut Writer) {
        let kind = match self.kind {
            RestartKind::No => 0,
            RestartKind::OnFailure => 1,
            RestartKind::Always => 2,
            RestartKind::UnlessStopped => 3,
        };
        w.number(1, kind);
        w.number(2, self.max_retries.into());
    }

    pub(crate) fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let mut policy = RestartPolicy::default();
        for field in fields {
            let field = field?;
            match field.tag {
                1 => {
                    policy.kind = match field.number()? {
                        0 => RestartKind::No,
                        1 => RestartKind::OnFailure,
                        2 => RestartKind::Always,
                        3 => RestartKind::UnlessStopped,
                        _ => return Err(WireError::Field { tag: 1 }),
                    }
                }
                2 => policy.max_retries = field.narrow()?,
                _ => {}
            }
        }
        Ok(policy)
    }
}

impl LogConfig {
    fn write(&self, w: &mut Writer) {
        if let LogConfig::JsonFile {
            folder,
            name,
            max_size,
            max_files,
            attrs,
            buffer,
            remote,
        } = self
        {
            w.optional(1, Some(folder.0.into()));
            w.content(2, name.as_bytes());
            w.number(3, *max_size);
            w.number(4, u64::from(*max_files));
            w.content(5, attrs);
            w.optional(6, *buffer);
            if let Some(remote) = remote {
                w.nested(7, |w| remote.write(w));
            }
        }
    }

    fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let mut place = None;
        let (mut name, mut max_size, mut max_files, mut attrs) = (String::new(), 0, 0, Vec::new());
        let (mut buffer, mut remote) = (None, None);
        for field in fields {
            let field = field?;
            match field.tag {
                1 => place = Some(slot(field)?),
                2 => name = field.text(NAME_LIMIT)?,
                3 => max_size = field.number()?,
                4 => max_files = field.narrow()?,
                5 => attrs = field.content(SMALL_LIMIT)?,
                6 => buffer = Some(field.number()?),
                7 => remote = Some(Remote::read(field.nested())?),
                _ => {}
            }
        }
        let Some(folder) = place else {
            return Ok(LogConfig::None);
        };
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(WireError::Field { tag: 2 });
        }
        Ok(LogConfig::JsonFile {
            folder,
            name,
            max_size,
            max_files,
            attrs,
            buffer,
            remote,
        })
    }
}

impl Attachment {
    /// A client that gets no stream, until the fields say which.
    pub fn new(socket: Slot) -> Self {
        Attachment {
            socket,
            token: 0,
            stdin: false,
            stdout: false,
            stderr: false,
            framing: Framing::Raw,
            detach_keys: None,
            leftover: Vec::new(),
        }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.optional(1, Some(self.socket.0.into()));
        w.number(2, self.token);
        w.flag(3, self.stdin);
        w.flag(4, self.stdout);
        w.flag(5, self.stderr);
        w.flag(6, self.framing == Framing::Multiplexed);
        if let Some(keys) = &self.detach_keys {
            w.bytes(7, keys);
        }
        w.content(8, &self.leftover);
    }

    pub(crate) fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let mut attachment = Attachment::new(NO_SLOT);
        for field in fields {
            let field = field?;
            match field.tag {
                1 => attachment.socket = slot(field)?,
                2 => attachment.token = field.number()?,
                3 => attachment.stdin = field.flag()?,
                4 => attachment.stdout = field.flag()?,
                5 => attachment.stderr = field.flag()?,
                6 if field.flag()? => attachment.framing = Framing::Multiplexed,
                7 => attachment.detach_keys = Some(field.content(NAME_LIMIT)?),
                8 => attachment.leftover = field.content(super::BODY_LIMIT)?,
                _ => {}
            }
        }
        Ok(attachment)
    }
}

impl Health {
    pub(crate) fn write(&self, w: &mut Writer) {
        w.content(1, &self.plan);
        w.number(2, self.interval);
        w.number(3, self.timeout);
        w.number(4, self.start_period);
        w.number(5, self.start_interval);
        w.number(6, self.retries.into());
    }

    pub(crate) fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let mut health = Health::default();
        for field in fields {
            let field = field?;
            match field.tag {
                1 => health.plan = field.content(super::BODY_LIMIT)?,
                2 => health.interval = field.number()?,
                3 => health.timeout = field.number()?,
                4 => health.start_period = field.number()?,
                5 => health.start_interval = field.number()?,
                6 => health.retries = field.narrow()?,
                _ => {}
            }
        }
        Ok(health)
    }
}
