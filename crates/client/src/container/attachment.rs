//! A person's end of a running container: streams, terminal, signals, and the status at the end.

use std::cell::Cell;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde_json::Value;
use sys::signals::Signals;

use crate::connection::{Answer, Body};
use crate::detach;
use crate::failure::Failure;
use crate::query::Query;
use crate::session::{Session, tell};
use crate::stream::{Attached, Beside, Ended, Source, carry};
use crate::terminal::{self, Raw};

/// Signals that are passed to the container's process: all that can be caught and mean something
/// to a program, but those about children, the terminal's size and broken pipes.
const PROXIED: [i32; 8] = [1, 2, 3, 6, 10, 12, 14, 15];
const SIGWINCH: i32 = 28;
/// Those by which somebody wants the client to end. So many of them end it, whatever the container makes of them.
const ENDING: [i32; 2] = [2, 15];
const ENOUGH: usize = 3;

/// What an attached client wants of a process.
pub(crate) struct Streams {
    /// Whether the process has a terminal.
    pub(crate) tty: bool,
    /// Whether standard input is passed on.
    pub(crate) stdin: bool,
    /// Whether signals are passed on.
    pub(crate) sig_proxy: bool,
    /// The keys to detach, as typed; empty for the default.
    pub(crate) detach_keys: String,
}

/// Carries the streams of a connection that is attached to a process, to its end.
///
/// `target` is the process's path in the API: `/containers/ID` or `/exec/ID`.
///
/// # Errors
/// When the connection or the terminal breaks.
pub(crate) fn carry_streams(
    session: &Session,
    answer: Answer,
    streams: &Streams,
    target: &str,
    beside: Option<&mut dyn Beside>,
) -> Result<Ended, Failure> {
    let mut wanted = Vec::new();
    if streams.tty || streams.sig_proxy {
        wanted.push(SIGWINCH);
    }
    if streams.sig_proxy {
        wanted.extend(PROXIED);
    }
    let held = Signals::hold(&wanted).map_err(Failure::local("cannot hold signals"))?;
    let wishes = Cell::new(0);
    let act = |signal| {
        wishes.set(wishes.get() + usize::from(ENDING.contains(&signal)));
        if wishes.get() >= ENOUGH {
            tell("\ngot 3 SIGTERM/SIGINTs, forcefully exiting");
            return Err(Failure::Status(1));
        }
        // A process that has just ended can take neither: nothing is lost.
        let _ = if signal == SIGWINCH && streams.tty {
            // Of which the kernel tells the program.
            resize(session, target)
        } else {
            send_signal(session, target, signal)
        };
        Ok(())
    };
    let raw = if streams.tty && streams.stdin {
        Raw::enter()
    } else {
        None
    };
    let keys = detach::scanner(&streams.detach_keys).map_err(Failure::Invalid)?;
    let ended = carry(
        answer,
        Attached {
            tty: streams.tty,
            stdin: streams.stdin,
            detach_keys: (streams.tty && streams.stdin).then_some(keys),
            beside,
            signals: (!wanted.is_empty())
                .then_some((&held, &act as &dyn Fn(i32) -> Result<(), Failure>)),
        },
    );
    drop(raw);
    ended
}

/// Tells the engine the size of the person's terminal.
pub(crate) fn resize(session: &Session, target: &str) -> Result<(), Failure> {
    match terminal::size() {
        Some(size) => resize_to(session, target, size),
        None => Ok(()),
    }
}

/// Has a program that runs on a terminal draw anew what this terminal does not show yet: it does when the size changes.
pub(crate) fn redraw(session: &Session, target: &str) -> Result<(), Failure> {
    let Some((rows, columns)) = terminal::size() else {
        return Ok(());
    };
    let other = (rows.saturating_add(1), columns.saturating_add(1));
    resize_to(session, target, other)?;
    resize_to(session, target, (rows, columns))
}

fn resize_to(session: &Session, target: &str, (rows, columns): (u16, u16)) -> Result<(), Failure> {
    let query = Query::new(format!("{target}/resize"))
        .with("h", &rows.to_string())
        .with("w", &columns.to_string());
    session.post(query.text(), None).map(drop)
}

fn send_signal(session: &Session, target: &str, signal: i32) -> Result<(), Failure> {
    session
        .post(
            Query::new(format!("{target}/kill"))
                .with("signal", &signal.to_string())
                .text(),
            None,
        )
        .map(drop)
}

/// A wait that the engine has taken note of, and whose answer is still to come.
///
/// When the daemon goes away meanwhile, the wait is begun anew at the next one, which knows the
/// true status: see [`Beside`].
pub(crate) struct Waiting<'a> {
    session: &'a Session,
    path: String,
    state: Wait,
}

enum Wait {
    /// The head of the answer has come, the body has not.
    Pending(Answer),
    /// The daemon went away; it is asked again until this moment.
    Cut(Instant),
    /// The body.
    Told(Value),
}

/// How long a daemon that went away is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for meanwhile.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

impl<'a> Waiting<'a> {
    /// Asks for the status of the container's end under a condition: `next-exit`, `removed`,
    /// `not-running`. Returns once the engine has confirmed, so that no end is missed.
    ///
    /// # Errors
    /// The daemon's sentence, or why there is none.
    pub(crate) fn begin(session: &'a Session, id: &str, condition: &str) -> Result<Self, Failure> {
        let path = Query::new(format!("/containers/{id}/wait"))
            .with("condition", condition)
            .text()
            .to_owned();
        let state = Wait::Pending(ask(session, &path)?);
        Ok(Waiting {
            session,
            path,
            state,
        })
    }

    /// The exit status of the process, as a process of this host can give it.
    ///
    /// # Errors
    /// As [`Waiting::code`].
    pub(crate) fn status(self) -> Result<u8, Failure> {
        self.code().map(status)
    }

    /// The exit code that the engine tells.
    ///
    /// # Errors
    /// The daemon's sentence; [`Failure::NoDaemon`] when it went away and none came back in time.
    pub(crate) fn code(mut self) -> Result<i64, Failure> {
        let body = loop {
            match &self.state {
                Wait::Told(body) => break body.clone(),
                Wait::Pending(_) => self.read(),
                Wait::Cut(_) => {
                    std::thread::sleep(PAUSE);
                    self.retry()?;
                }
            }
        };
        if let Some(message) = body["Error"]["Message"]
            .as_str()
            .filter(|message| !message.is_empty())
        {
            return Err(Failure::Invalid(format!(
                "error waiting for container: {message}"
            )));
        }
        Ok(body["StatusCode"].as_i64().unwrap_or(125))
    }

    /// Reads the body; a body that breaks off is a daemon that went away.
    fn read(&mut self) {
        let Wait::Pending(answer) = &mut self.state else {
            return;
        };
        let mut body = Vec::new();
        let whole = answer.read_to_end(&mut body).is_ok();
        self.state = match serde_json::from_slice(&body) {
            Ok(body) if whole => Wait::Told(body),
            _ => Wait::Cut(Instant::now() + PATIENCE),
        };
    }

    /// Asks the next daemon, if it is there.
    ///
    /// By now the container may have ended or even have been removed: `not-running` is answered
    /// at once for the former.
    fn retry(&mut self) -> Result<(), Failure> {
        let Wait::Cut(end) = self.state else {
            return Ok(());
        };
        let path = self.path.replace("next-exit", "not-running");
        match ask(self.session, &path) {
            Ok(answer) => self.state = Wait::Pending(answer),
            Err(Failure::NoDaemon { .. } | Failure::Connection { .. }) if Instant::now() < end => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}

impl Beside for Waiting<'_> {
    fn source(&self) -> Source<'_> {
        match &self.state {
            Wait::Pending(answer) => Source::Readable(answer.as_fd()),
            Wait::Cut(_) => Source::After(PAUSE),
            Wait::Told(_) => Source::Never,
        }
    }

    fn act(&mut self) {
        match self.state {
            Wait::Pending(_) => self.read(),
            // Why it failed is told when the status is asked for.
            Wait::Cut(_) => drop(self.retry()),
            Wait::Told(_) => {}
        }
    }
}

/// Asks until a daemon answers.
///
/// # Errors
/// The daemon's sentence; [`Failure::NoDaemon`] when none came back in time.
pub(crate) fn again<T>(ask: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Err(Failure::NoDaemon { .. } | Failure::Connection { .. }) if Instant::now() < end => {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn ask(session: &Session, path: &str) -> Result<Answer, Failure> {
    session
        .send("POST", path, Body::Empty, Vec::new())?
        .successful()
}

/// A wait status as a process can give it.
pub(crate) fn status(code: i64) -> u8 {
    (code & 0xff) as u8
}
