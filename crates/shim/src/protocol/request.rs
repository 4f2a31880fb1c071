//! What a daemon asks of a shim.

use types::ContainerId;

use super::kind;
use super::launch::{ATTACHMENT_LIMIT, Attachment, Health, RestartPolicy};
use super::wire::{Fields, WireError, Writer};

/// A further process in a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Its identity, unique within the container.
    pub id: ContainerId,
    /// The encoded exec plan. If it names no cgroups, the shim uses those of the container.
    pub plan: Vec<u8>,
    /// Whether it has a terminal (as its plan says too).
    pub tty: bool,
    /// Whether it has an input.
    pub open_stdin: bool,
    /// The keys that detach its clients, as bytes; empty for none.
    pub detach_keys: Vec<u8>,
    /// Its clients. Without any, what it writes is discarded.
    pub attachments: Vec<Attachment>,
}

/// A stop: intent, then a signal, then the end of everything in the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StopRequest {
    /// The signal to begin with; `None` for the container's own.
    pub signal: Option<u8>,
    /// How long to wait for its effect, in milliseconds; `None` without end.
    pub grace: Option<u64>,
}

/// What a daemon asks of a shim. Each gets one answer with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Go on with a start in two phases.
    Proceed,
    /// Start a further process.
    Exec(Box<Exec>),
    /// Tell what became of an exec, because the connection ended before the answer to it: answered as the exec itself,
    /// and when that is decided. [`super::Refusal::NoSuchExec`] where it never arrived, did not start, or has ended; the
    /// journal has its end.
    FollowExec(ContainerId),
    /// Send a signal to the first process, or to that of an exec.
    Signal {
        /// The signal's number; 0 only asks whether the process is there.
        signal: u8,
        /// The exec whose process is meant.
        exec: Option<ContainerId>,
    },
    /// Whether the next exit is wanted, so that no restart follows it.
    StopIntent(bool),
    /// Stop the container. Answered at once; the exit is an event.
    Stop(StopRequest),
    /// Set the size of a terminal.
    Resize {
        /// The exec whose terminal is meant.
        exec: Option<ContainerId>,
        /// Rows of characters.
        rows: u16,
        /// Characters in a row.
        columns: u16,
    },
    /// Serve another client.
    Attach(Box<Attachment>),
    /// Close the input.
    CloseStdin {
        /// The exec whose input is meant.
        exec: Option<ContainerId>,
    },
    /// Open the log's file anew, because somebody moved it.
    ReopenLogs,
    /// Replace the restart policy.
    UpdatePolicy(RestartPolicy),
    /// Replace the health check; `None` ends it.
    SetHealth(Option<Box<Health>>),
    /// Whether to hold the health check, because the container is frozen.
    SuspendHealth(bool),
    /// Keep the descriptors that come with it (reservations of ports) until the container has exited for good, in place of
    /// those of the request before. Since minor version 2.
    Hold,
    /// Have processes from now on enter these control groups: of each version 1 group the file `tasks`, and last, if
    /// `unified`, the folder of the version 2 group. Since minor version 2.
    Enter {
        /// Whether the last descriptor is the version 2 group's.
        unified: bool,
    },
    /// Tell everything about the container.
    Status,
    /// The daemon has kept all events up to this one.
    Acknowledge {
        /// The event's number in the journal.
        sequence: u64,
    },
    /// Let go of the container's root and end, if it has exited for good.
    Release,
}

const ID_TAG: u16 = 1;

fn write_id(w: &mut Writer, id: Option<&ContainerId>) {
    if let Some(id) = id {
        w.content(ID_TAG, id.as_str().as_bytes());
    }
}

/// Fields 1 to 3 of the small requests: an exec's id and two numbers.
struct Small {
    exec: Option<ContainerId>,
    first: Option<u64>,
    second: Option<u64>,
}

impl Small {
    fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut small = Small {
            exec: None,
            first: None,
            second: None,
        };
        for field in Fields::new(body) {
            let field = field?;
            match field.tag {
                ID_TAG => small.exec = Some(field.parse()?),
                2 => small.first = Some(field.number()?),
                3 => small.second = Some(field.number()?),
                _ => {}
            }
        }
        Ok(small)
    }
}

fn narrow<T: TryFrom<u64>>(value: u64, tag: u16) -> Result<T, WireError> {
    T::try_from(value).map_err(|_| WireError::Field { tag })
}

impl Request {
    pub(crate) fn kind(&self) -> u16 {
        match self {
            Request::Proceed => kind::PROCEED,
            Request::Exec(_) => kind::EXEC,
            Request::FollowExec(_) => kind::FOLLOW_EXEC,
            Request::Signal { .. } => kind::SIGNAL,
            Request::StopIntent(_) => kind::STOP_INTENT,
            Request::Stop(_) => kind::STOP,
            Request::Resize { .. } => kind::RESIZE,
            Request::Attach(_) => kind::ATTACH,
            Request::CloseStdin { .. } => kind::CLOSE_STDIN,
            Request::ReopenLogs => kind::REOPEN_LOGS,
            Request::UpdatePolicy(_) => kind::UPDATE_POLICY,
            Request::SetHealth(_) => kind::SET_HEALTH,
            Request::SuspendHealth(_) => kind::SUSPEND_HEALTH,
            Request::Hold => kind::HOLD,
            Request::Enter { .. } => kind::ENTER,
            Request::Status => kind::STATUS,
            Request::Acknowledge { .. } => kind::ACKNOWLEDGE,
            Request::Release => kind::RELEASE,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        match self {
            Request::Proceed
            | Request::ReopenLogs
            | Request::Hold
            | Request::Status
            | Request::Release => {}
            Request::Exec(exec) => exec.write(&mut w),
            Request::FollowExec(exec) => write_id(&mut w, Some(exec)),
            Request::Signal { signal, exec } => {
                write_id(&mut w, exec.as_ref());
                w.number(2, u64::from(*signal));
            }
            Request::StopIntent(set)
            | Request::SuspendHealth(set)
            | Request::Enter { unified: set } => w.flag(2, *set),
            Request::Stop(stop) => {
                w.optional(2, stop.signal.map(u64::from));
                w.optional(3, stop.grace);
            }
            Request::Resize {
                exec,
                rows,
                columns,
            } => {
                write_id(&mut w, exec.as_ref());
                w.number(2, u64::from(*rows));
                w.number(3, u64::from(*columns));
            }
            Request::Attach(attachment) => attachment.write(&mut w),
            Request::CloseStdin { exec } => write_id(&mut w, exec.as_ref()),
            Request::UpdatePolicy(policy) => policy.write(&mut w),
            Request::SetHealth(health) => {
                if let Some(health) = health {
                    w.nested(1, |w| health.write(w));
                }
            }
            Request::Acknowledge { sequence } => w.number(2, *sequence),
        }
        w.finish()
    }

    pub(crate) fn decode(kind: u16, body: &[u8]) -> Result<Self, WireError> {
        Ok(match kind {
            kind::PROCEED => Request::Proceed,
            kind::EXEC => Request::Exec(Box::new(Exec::read(body)?)),
            kind::FOLLOW_EXEC => {
                let id = Small::read(body)?.exec;
                Request::FollowExec(id.ok_or(WireError::Missing { tag: ID_TAG })?)
            }
            kind::SIGNAL => {
                let small = Small::read(body)?;
                Request::Signal {
                    signal: narrow(small.first.unwrap_or(0), 2)?,
                    exec: small.exec,
                }
            }
            kind::STOP_INTENT => Request::StopIntent(Small::read(body)?.first == Some(1)),
            kind::STOP => {
                let small = Small::read(body)?;
                let signal = small.first.map(|signal| narrow(signal, 2)).transpose()?;
                Request::Stop(StopRequest {
                    signal,
                    grace: small.second,
                })
            }
            kind::RESIZE => {
                let small = Small::read(body)?;
                Request::Resize {
                    rows: narrow(small.first.unwrap_or(0), 2)?,
                    columns: narrow(small.second.unwrap_or(0), 3)?,
                    exec: small.exec,
                }
            }
            kind::ATTACH => Request::Attach(Box::new(Attachment::read(Fields::new(body))?)),
            kind::CLOSE_STDIN => Request::CloseStdin {
                exec: Small::read(body)?.exec,
            },
            kind::REOPEN_LOGS => Request::ReopenLogs,
            kind::UPDATE_POLICY => Request::UpdatePolicy(RestartPolicy::read(Fields::new(body))?),
            kind::SET_HEALTH => Request::SetHealth(read_health(body)?),
            kind::SUSPEND_HEALTH => Request::SuspendHealth(Small::read(body)?.first == Some(1)),
            kind::HOLD => Request::Hold,
            kind::ENTER => Request::Enter {
                unified: Small::read(body)?.first == Some(1),
            },
            kind::STATUS => Request::Status,
            kind::ACKNOWLEDGE => Request::Acknowledge {
                sequence: Small::read(body)?.first.unwrap_or(0),
            },
            kind::RELEASE => Request::Release,
            kind => return Err(WireError::Kind { kind }),
        })
    }
}

fn read_health(body: &[u8]) -> Result<Option<Box<Health>>, WireError> {
    let mut health = None;
    for field in Fields::new(body) {
        let field = field?;
        if field.tag == 1 {
            health = Some(Box::new(Health::read(field.nested())?));
        }
    }
    Ok(health)
}

impl Exec {
    fn write(&self, w: &mut Writer) {
        write_id(w, Some(&self.id));
        w.content(2, &self.plan);
        w.flag(3, self.tty);
        w.flag(4, self.open_stdin);
        w.content(5, &self.detach_keys);
        for attachment in &self.attachments {
            w.nested(6, |w| attachment.write(w));
        }
    }

    fn read(body: &[u8]) -> Result<Self, WireError> {
        let mut id = None;
        let (mut plan, mut tty, mut open_stdin) = (Vec::new(), false, false);
        let (mut detach_keys, mut attachments) = (Vec::new(), Vec::new());
        for field in Fields::new(body) {
            let field = field?;
            match field.tag {
                ID_TAG => id = Some(field.parse()?),
                2 => plan = field.content(super::BODY_LIMIT)?,
                3 => tty = field.flag()?,
                4 => open_stdin = field.flag()?,
                5 => detach_keys = field.content(255)?,
                6 if attachments.len() == ATTACHMENT_LIMIT => {
                    return Err(WireError::Limit {
                        what: "attachments",
                    });
                }
                6 => attachments.push(Attachment::read(field.nested())?),
                _ => {}
            }
        }
        let id = id.ok_or(WireError::Missing { tag: ID_TAG })?;
        Ok(Exec {
            id,
            plan,
            tty,
            open_stdin,
            detach_keys,
            attachments,
        })
    }
}
