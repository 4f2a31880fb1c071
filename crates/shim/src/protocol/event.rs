//! What a shim tells a daemon: answers and events.

use types::ContainerId;

use super::status::{HealthState, RestartOutlook, Status};
use super::wire::{Fields, WireError, Writer};
use super::{Header, kind};

const TEXT_LIMIT: usize = 64 << 10;

/// A message from a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The answer to one request.
    Answer(Answer),
    /// Something that happened.
    Event(Event),
}

/// The answer to one request. That to the launch itself has the number 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The request's number.
    pub number: u32,
    /// What came of it.
    pub result: Result<Reply, Refusal>,
}

/// What a request brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Done,
    /// The namespaces are made; the network namespace's descriptor comes with the message.
    Prepared {
        /// The first process.
        pid: u32,
    },
    /// The container's process reached its program.
    Started {
        /// The first process.
        pid: u32,
        /// Its start time in clock ticks since boot.
        start_ticks: u64,
        /// When, in nanoseconds since 1970.
        time: u64,
    },
    /// The exec's process reached its program.
    ExecStarted {
        /// The exec's process, as the shim numbers it.
        pid: u32,
    },
    /// What was asked for.
    Status(Box<Status>),
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A process could not be brought to its program.
    #[error("{text}")]
    Fault {
        /// The sentence that a user sees.
        text: String,
        /// The exit status that stands for it: 126, 127 or 128.
        exit_code: u8,
        /// The runtime's number of the step.
        step: u16,
        /// The kernel's error, 0 for none.
        errno: i32,
        /// Which of the step's objects.
        index: u32,
    },
    /// The container is not running.
    #[error("the container is not running")]
    NotRunning,
    /// There is no such exec, or it has ended.
    #[error("there is no such exec")]
    NoSuchExec,
    /// An exec of that identity is running.
    #[error("an exec of that identity is running")]
    ExecExists,
    /// The process has no terminal, or no input.
    #[error("the process has no {what}")]
    Without {
        /// What it lacks.
        what: String,
    },
    /// This shim does not know how.
    #[error("the container's supervisor does not support {what}")]
    Unsupported {
        /// What was asked.
        what: String,
    },
    /// The request does not mean anything in the container's present phase, or at all.
    #[error("{text}")]
    Invalid {
        /// Why.
        text: String,
    },
    /// The kernel refused.
    #[error("{action}: {}", std::io::Error::from_raw_os_error(*errno))]
    System {
        /// What was tried.
        action: String,
        /// The kernel's error.
        errno: i32,
    },
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number in the journal, from 1 on; 0 for what the journal does not keep.
    pub sequence: u64,
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The first process reached its program.
    Started {
        /// The first process.
        pid: u32,
        /// Its start time in clock ticks since boot.
        start_ticks: u64,
        /// How many times the shim had started it before.
        restarts: u32,
        /// The shim's own process, as the host numbers it; 0 where an older one did not say.
        supervisor: u32,
    },
    /// A start failed: the container is where it is after an exit.
    StartFailed {
        /// The exit status that stands for it.
        exit_code: u8,
        /// Why, in a sentence; the journal keeps its first 64 bytes.
        text: String,
    },
    /// The first process ended, and all its output is out.
    Exited {
        /// The exit status; 128 + n for the end by signal n.
        code: u8,
        /// The signal that ended it, 0 for none.
        signal: u8,
        /// Whether the kernel killed something in its cgroup for want of memory.
        oom: bool,
        /// What follows.
        restart: RestartOutlook,
    },
    /// The restart that was due will not be.
    RestartCancelled,
    /// An exec's process ended, and all its output is out.
    ExecExited {
        /// The exec.
        id: ContainerId,
        /// The exit status; 128 + n for the end by signal n.
        code: u8,
    },
    /// The verdict on the container's health changed.
    Health {
        /// The new verdict.
        state: HealthState,
        /// How many runs in a row failed.
        failing_streak: u32,
    },
    /// Lines of the container's output came into no log. Told again when there are twice as many, and at its end; not kept
    /// in the journal. Since minor version 2.
    LinesLost {
        /// How many, since the shim began.
        lines: u64,
    },
    /// A client left by its detach keys. Not kept in the journal.
    Detached {
        /// The number given with the attachment.
        token: u64,
        /// The exec that it was attached to.
        exec: Option<ContainerId>,
    },
}

impl Message {
    pub(crate) fn header(&self) -> Header {
        match self {
            Message::Answer(answer) => Header {
                kind: kind::ANSWER,
                number: answer.number,
            },
            Message::Event(_) => Header {
                kind: kind::EVENT,
                number: 0,
            },
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match self {
            Message::Answer(Answer {
                result: Ok(reply), ..
            }) => w.nested(1, |w| reply.write(w)),
            Message::Answer(Answer {
                result: Err(refusal),
                ..
            }) => {
                w.nested(2, |w| refusal.write(w));
            }
            Message::Event(event) => event.write(&mut w),
        }
        w.finish()
    }

    pub(crate) fn decode(kind: u16, number: u32, body: &[u8]) -> Result<Self, WireError> {
        match kind {
            kind::ANSWER => Ok(Message::Answer(Answer {
                number,
                result: read_result(body)?,
            })),
            kind::EVENT => Ok(Message::Event(Event::read(body)?)),
            kind => Err(WireError::Kind { kind }),
        }
    }
}

fn read_result(body: &[u8]) -> Result<Result<Reply, Refusal>, WireError> {
    for field in Fields::new(body) {
        let field = field?;
        match field.tag {
            1 => return Ok(Ok(Reply::read(field.nested())?)),
            2 => return Ok(Err(Refusal::read(field.nested())?)),
            _ => {}
        }
    }
    Err(WireError::Missing { tag: 1 })
}

impl Reply {
    fn write(&self, w: &mut Writer) {
        match self {
            Reply::Done => w.number(1, 1),
            Reply::Prepared { pid } => {
                w.number(1, 2);
                w.number(2, u64::from(*pid));
            }
            Reply::Started {
                pid,
                start_ticks,
                time,
            } => {
                w.number(1, 3);
                w.number(2, u64::from(*pid));
                w.number(3, *start_ticks);
                w.number(4, *time);
            }
            Reply::ExecStarted { pid } => {
                w.number(1, 4);
                w.number(2, u64::from(*pid));
            }
            Reply::Status(status) => {
                w.number(1, 5);
                w.nested(5, |w| status.write(w));
            }
        }
    }

    fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let (mut which, mut pid, mut start_ticks, mut time, mut status) = (0, 0, 0, 0, None);
        for field in fields {
            let field = field?;
            match field.tag {
                1 => which = field.number()?,
                2 => pid = field.narrow()?,
                3 => start_ticks = field.number()?,
                4 => time = field.number()?,
                5 => status = Some(Box::new(Status::read(field.nested())?)),
                _ => {}
            }
        }
        match which {
            1 => Ok(Reply::Done),
            2 => Ok(Reply::Prepared { pid }),
            3 => Ok(Reply::Started {
                pid,
                start_ticks,
                time,
            }),
            4 => Ok(Reply::ExecStarted { pid }),
            5 => Ok(Reply::Status(status.ok_or(WireError::Missing { tag: 5 })?)),
            _ => Err(WireError::Field { tag: 1 }),
        }
    }
}

impl Refusal {
    fn write(&self, w: &mut Writer) {
        let (which, text) = match self {
            Refusal::Fault {
                text,
                exit_code,
                step,
                errno,
                index,
            } => {
                w.number(3, u64::from(*exit_code));
                w.number(4, u64::from(*step));
                w.signed(5, *errno);
                w.number(6, u64::from(*index));
                (1, text.as_str())
            }
            Refusal::NotRunning => (2, ""),
            Refusal::NoSuchExec => (3, ""),
            Refusal::ExecExists => (4, ""),
            Refusal::Without { what } => (5, what.as_str()),
            Refusal::Unsupported { what } => (6, what.as_str()),
            Refusal::Invalid { text } => (7, text.as_str()),
            Refusal::System { action, errno } => {
                w.signed(5, *errno);
                (8, action.as_str())
            }
        };
        w.number(1, which);
        w.content(2, text.as_bytes());
    }

    fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        let (mut which, mut text, mut exit_code) = (0, String::new(), 0);
        let (mut step, mut errno, mut index) = (0, 0, 0);
        for field in fields {
            let field = field?;
            match field.tag {
                1 => which = field.number()?,
                2 => text = field.text(TEXT_LIMIT)?,
                3 => exit_code = field.narrow()?,
                4 => step = field.narrow()?,
                5 => errno = field.signed()?,
                6 => index = field.narrow()?,
                _ => {}
            }
        }
        Ok(match which {
            1 => Refusal::Fault {
                text,
                exit_code,
                step,
                errno,
                index,
            },
            2 => Refusal::NotRunning,
            3 => Refusal::NoSuchExec,
            4 => Refusal::ExecExists,
            5 => Refusal::Without { what: text },
            6 => Refusal::Unsupported { what: text },
            7 => Refusal::Invalid { text },
            8 => Refusal::System {
                action: text,
                errno,
            },
            _ => return Err(WireError::Field { tag: 1 }),
        })
    }
}

impl Event {
    fn write(&self, w: &mut Writer) {
        w.number(1, self.sequence);
        w.number(2, self.time);
        match &self.kind {
            EventKind::Started {
                pid,
                start_ticks,
                restarts,
                supervisor,
            } => {
                w.number(3, 1);
                w.number(4, u64::from(*pid));
                w.number(5, *start_ticks);
                w.number(6, u64::from(*restarts));
                w.number(7, u64::from(*supervisor));
            }
            EventKind::StartFailed { exit_code, text } => {
                w.number(3, 2);
                w.number(4, u64::from(*exit_code));
                w.content(8, text.as_bytes());
            }
            EventKind::Exited {
                code,
                signal,
                oom,
                restart,
            } => {
                let (outlook, delay) = restart.parts();
                w.number(3, 3);
                w.number(4, u64::from(*code));
                w.number(5, u64::from(*signal));
                w.flag(6, *oom);
                w.number(7, outlook);
                w.number(9, delay);
            }
            EventKind::RestartCancelled => w.number(3, 4),
            EventKind::ExecExited { id, code } => {
                w.number(3, 5);
                w.number(4, u64::from(*code));
                w.content(8, id.as_str().as_bytes());
            }
            EventKind::Health {
                state,
                failing_streak,
            } => {
                w.number(3, 6);
                w.number(4, state.number());
                w.number(5, u64::from(*failing_streak));
            }
            EventKind::LinesLost { lines } => {
                w.number(3, 8);
                w.number(4, *lines);
            }
            EventKind::Detached { token, exec } => {
                w.number(3, 7);
                w.number(4, *token);
                if let Some(id) = exec {
                    w.content(8, id.as_str().as_bytes());
                }
            }
        }
    }

    fn read(body: &[u8]) -> Result<Self, WireError> {
        let (mut sequence, mut time, mut which, mut text) = (0, 0, 0, None);
        let mut numbers = [0u64; 10];
        for field in Fields::new(body) {
            let field = field?;
            match field.tag {
                1 => sequence = field.number()?,
                2 => time = field.number()?,
                3 => which = field.number()?,
                8 => text = Some(field.text(TEXT_LIMIT)?),
                4..=9 => numbers[usize::from(field.tag)] = field.number()?,
                _ => {}
            }
        }
        let kind = event_kind(which, numbers, text)?;
        Ok(Event {
            sequence,
            time,
            kind,
        })
    }
}

fn event_kind(which: u64, n: [u64; 10], text: Option<String>) -> Result<EventKind, WireError> {
    fn narrow<T: TryFrom<u64>>(n: &[u64; 10], tag: u16) -> Result<T, WireError> {
        T::try_from(n[usize::from(tag)]).map_err(|_| WireError::Field { tag })
    }
    let invalid = |tag| WireError::Field { tag };
    Ok(match which {
        1 => EventKind::Started {
            pid: narrow(&n, 4)?,
            start_ticks: n[5],
            restarts: narrow(&n, 6)?,
            supervisor: narrow(&n, 7)?,
        },
        2 => EventKind::StartFailed {
            exit_code: narrow(&n, 4)?,
            text: text.unwrap_or_default(),
        },
        3 => EventKind::Exited {
            code: narrow(&n, 4)?,
            signal: narrow(&n, 5)?,
            oom: n[6] == 1,
            restart: RestartOutlook::from_parts(n[7], n[9]).ok_or(invalid(7))?,
        },
        4 => EventKind::RestartCancelled,
        5 => EventKind::ExecExited {
            id: text
                .and_then(|text| text.parse().ok())
                .ok_or(WireError::Missing { tag: 8 })?,
            code: narrow(&n, 4)?,
        },
        6 => EventKind::Health {
            state: HealthState::from_number(n[4]).ok_or(invalid(4))?,
            failing_streak: narrow(&n, 5)?,
        },
        8 => EventKind::LinesLost { lines: n[4] },
        7 => EventKind::Detached {
            token: n[4],
            exec: match text {
                Some(text) => Some(text.parse().map_err(|_| invalid(8))?),
                None => None,
            },
        },
        // Of a newer shim: as a whole message of an unknown kind.
        _ => {
            return Err(WireError::Kind {
                kind: u16::try_from(which).unwrap_or(u16::MAX),
            });
        }
    })
}
