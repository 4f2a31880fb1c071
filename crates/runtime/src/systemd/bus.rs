//! A connection to systemd's manager.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::SystemdError;
use super::address;
use super::wire::{self, Call, FIXED, Incoming, Reader, Writer};

/// How long the manager may take for an answer or a job.
const PATIENCE: Duration = Duration::from_secs(30);
/// The signal of a job's end.
const REMOVED: &str = "JobRemoved";
/// So many of them are kept, the latest ones: others' jobs end too.
const MOST_EARLY: usize = 64;
/// The longest line of the greeting.
const LONGEST_LINE: usize = 4096;

/// Where root reaches the manager itself, without a bus between.
const PRIVATE: &str = "/run/systemd/private";
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

const MANAGER: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";

/// An authenticated connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// The manager is a peer of many on a bus, and is called by its name.
    is_bus: bool,
    deadline: Instant,
    /// Signals that came while an answer was waited for: a job can end before the answer that names it is sent.
    early: VecDeque<Vec<u8>>,
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

impl Bus {
    /// Connects to the manager of the system: over the bus, or where there is none over its own socket.
    pub(super) fn system() -> Result<Self, SystemdError> {
        let failed = |source| SystemdError::Connect {
            path: SYSTEM_BUS.into(),
            source,
        };
        match UnixStream::connect(SYSTEM_BUS) {
            Ok(stream) => Self::over_bus(stream),
            Err(error) => match Self::private() {
                Err(SystemdError::Connect { source, .. }) => {
                    let is_absent = is_missing(&error) && is_missing(&source);
                    Err(if is_absent {
                        SystemdError::NotRunning
                    } else {
                        failed(error)
                    })
                }
                other => other,
            },
        }
    }

    /// Connects to the manager of the user that this process belongs to.
    pub(super) fn user() -> Result<Self, SystemdError> {
        let variable = |name| std::env::var_os(name);
        let addresses = address::of_user(
            variable("DBUS_SESSION_BUS_ADDRESS").as_deref(),
            variable("XDG_RUNTIME_DIR").as_deref(),
        );
        let mut first = None;
        for address in addresses {
            match address.connect() {
                Ok(stream) if address.is_bus => return Self::over_bus(stream),
                Ok(stream) => return Self::greet(stream, false),
                Err(source) => {
                    let path = address.path();
                    first.get_or_insert(SystemdError::Connect { path, source });
                }
            }
        }
        Err(first.unwrap_or(SystemdError::NoSession))
    }

    /// Connects to the manager's own socket, which answers root alone, and as long as the manager does.
    pub(super) fn private() -> Result<Self, SystemdError> {
        let stream = UnixStream::connect(PRIVATE).map_err(|source| SystemdError::Connect {
            path: PRIVATE.into(),
            source,
        })?;
        Self::greet(stream, false)
    }

    fn over_bus(stream: UnixStream) -> Result<Self, SystemdError> {
        let mut bus = Self::greet(stream, true)?;
        let to_bus = |member, signature, body| Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
            signature,
            body,
        };
        bus.call(&to_bus("Hello", "", Writer::default()))?;
        let mut rule = Writer::default();
        rule.text("type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'");
        bus.call(&to_bus("AddMatch", "s", rule))?;
        bus.manager("Subscribe", "", Writer::default())?;
        Ok(bus)
    }

    /// The other side reads from the socket who we are. Nothing is claimed: within a user namespace our own idea of our
    /// user id is not that of others.
    fn greet(mut stream: UnixStream, is_bus: bool) -> Result<Self, SystemdError> {
        let talk = |source| SystemdError::Talk { source };
        stream.set_read_timeout(Some(PATIENCE)).map_err(talk)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(talk)?;
        // With the end of the greeting at once, as systemd's own clients send it: its private socket can overlook a
        // message that comes in one piece with that.
        stream
            .write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
            .map_err(talk)?;
        for expected in [&b"DATA"[..], b"OK "] {
            if !line(&mut stream).map_err(talk)?.starts_with(expected) {
                return Err(talk(io::ErrorKind::PermissionDenied.into()));
            }
        }
        Ok(Self {
            stream,
            serial: 0,
            is_bus,
            deadline: Instant::now() + PATIENCE,
            early: VecDeque::new(),
        })
    }

    /// A property of the manager's that is a text.
    pub(super) fn property(&mut self, name: &str) -> Result<String, SystemdError> {
        let mut body = Writer::default();
        body.text(MANAGER_INTERFACE);
        body.text(name);
        let destination = if self.is_bus { MANAGER } else { "" };
        let value = self.call(&Call {
            destination,
            path: MANAGER_PATH,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            signature: "ss",
            body,
        })?;
        value.ok_or_else(garbled)
    }

    /// Calls a method of the manager. Returns the text or path that the answer begins with.
    pub(super) fn manager(
        &mut self,
        member: &str,
        signature: &str,
        body: Writer,
    ) -> Result<Option<String>, SystemdError> {
        let destination = if self.is_bus { MANAGER } else { "" };
        self.call(&Call {
            destination,
            path: MANAGER_PATH,
            interface: MANAGER_INTERFACE,
            member,
            signature,
            body,
        })
    }

    /// As [`Bus::manager`], for a method that begins a job: returns when the job has ended well.
    pub(super) fn job(
        &mut self,
        member: &str,
        signature: &str,
        body: Writer,
    ) -> Result<(), SystemdError> {
        let job = self.manager(member, signature, body)?;
        let job = job.ok_or_else(garbled)?;
        loop {
            let body = match self.early.pop_front() {
                Some(body) => body,
                None => match self.receive()? {
                    Incoming::Signal(member, body) if member == REMOVED => body,
                    _ => continue,
                },
            };
            let mut reader = Reader::new(&body);
            let _number = reader.number().ok_or_else(garbled)?;
            let path = reader.text().ok_or_else(garbled)?;
            let unit = reader.text().ok_or_else(garbled)?;
            let result = reader.text().ok_or_else(garbled)?;
            if path != job {
                continue;
            }
            return match result.as_str() {
                "done" => Ok(()),
                _ => Err(SystemdError::Job { unit, result }),
            };
        }
    }

    fn call(&mut self, call: &Call<'_>) -> Result<Option<String>, SystemdError> {
        self.serial += 1;
        self.deadline = Instant::now() + PATIENCE;
        self.stream
            .write_all(&call.encode(self.serial))
            .map_err(|source| SystemdError::Talk { source })?;
        loop {
            match self.receive()? {
                Incoming::Return(serial, text) if serial == self.serial => return Ok(text),
                Incoming::Refusal(serial, name, text) if serial == self.serial => {
                    return Err(SystemdError::Refused {
                        member: call.member.to_owned(),
                        name,
                        text,
                    });
                }
                Incoming::Signal(member, body) if member == REMOVED => {
                    self.early.truncate(MOST_EARLY);
                    self.early.push_front(body);
                }
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> Result<Incoming, SystemdError> {
        let talk = |source| SystemdError::Talk { source };
        if Instant::now() >= self.deadline {
            return Err(talk(io::ErrorKind::TimedOut.into()));
        }
        let mut fixed = [0; FIXED];
        self.stream.read_exact(&mut fixed).map_err(talk)?;
        let mut message = vec![0; wire::length(&fixed).ok_or_else(garbled)?];
        message[..FIXED].copy_from_slice(&fixed);
        self.stream
            .read_exact(&mut message[FIXED..])
            .map_err(talk)?;
        wire::decode(&message).ok_or_else(garbled)
    }
}

/// A line of the greeting, with its end.
fn line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
        if line.len() > LONGEST_LINE {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(line)
}

fn garbled() -> SystemdError {
    SystemdError::Talk {
        source: io::ErrorKind::InvalidData.into(),
    }
}
