//! A person's end of a running container: streams, terminal, signals, and the status at the end.

use std::io::Read;

use serde_json::Value;
use sys::signals::Signals;

use crate::connection::{Answer, Body};
use crate::detach::DetachKeys;
use crate::failure::Failure;
use crate::query::Query;
use crate::session::Session;
use crate::stream::{Attached, Ended, carry};
use crate::terminal::{self, Raw};

/// Signals that are passed to the container's process: all that can be caught and mean something
/// to a program, but those about children, the terminal's size and broken pipes.
const PROXIED: [i32; 8] = [1, 2, 3, 6, 10, 12, 14, 15];
const SIGWINCH: i32 = 28;

/// What an attached client wants of a process.
pub(crate) struct Streams {
    /// Whether the process has a terminal.
    pub(crate) tty: bool,
    /// Whether standard input is passed on.
    pub(crate) stdin: bool,
    /// Whether signals are passed on (never with a terminal).
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
) -> Result<Ended, Failure> {
    let wanted: &[i32] = match (streams.tty, streams.sig_proxy) {
        (true, _) => &[SIGWINCH],
        (false, true) => &PROXIED,
        (false, false) => &[],
    };
    let held = Signals::hold(wanted).map_err(Failure::local("cannot hold signals"))?;
    let act = |signal| {
        // A process that has just ended can take neither: nothing is lost.
        let _ = if signal == SIGWINCH {
            resize(session, target)
        } else {
            send_signal(session, target, signal)
        };
    };
    let raw = if streams.tty && streams.stdin {
        Raw::enter()
    } else {
        None
    };
    let keys = DetachKeys::parse(&streams.detach_keys).map_err(Failure::Invalid)?;
    let ended = carry(
        answer,
        Attached {
            tty: streams.tty,
            stdin: streams.stdin,
            detach_keys: (streams.tty && streams.stdin).then_some(keys),
            signals: (!wanted.is_empty()).then_some((&held, &act as &dyn Fn(i32))),
        },
    );
    drop(raw);
    ended
}

/// Tells the engine the size of the person's terminal.
pub(crate) fn resize(session: &Session, target: &str) -> Result<(), Failure> {
    let Some((rows, columns)) = terminal::size() else {
        return Ok(());
    };
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
pub(crate) struct Waiting {
    answer: Answer,
    host: String,
    path: String,
}

impl Waiting {
    /// Asks for the status of the container's end under a condition: `next-exit`, `removed`,
    /// `not-running`. Returns once the engine has confirmed, so that no end is missed.
    ///
    /// # Errors
    /// The daemon's sentence, or why there is none.
    pub(crate) fn begin(session: &Session, id: &str, condition: &str) -> Result<Self, Failure> {
        let path = Query::new(format!("/containers/{id}/wait"))
            .with("condition", condition)
            .text()
            .to_owned();
        let answer = session
            .send("POST", &path, Body::Empty, Vec::new())?
            .successful()?;
        Ok(Waiting {
            answer,
            host: session.engine()?.0.shown(),
            path,
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
    /// [`Failure::Connection`] when the answer breaks off: the daemon went away.
    pub(crate) fn code(mut self) -> Result<i64, Failure> {
        let mut body = Vec::new();
        let broken = |source| Failure::Connection {
            doing: format!("POST \"{}{}\"", self.host, self.path),
            source,
        };
        self.answer.read_to_end(&mut body).map_err(broken)?;
        let body: Value = serde_json::from_slice(&body).map_err(|error| broken(error.into()))?;
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
}

/// A wait status as a process can give it.
pub(crate) fn status(code: i64) -> u8 {
    (code & 0xff) as u8
}

/// Waits again after the daemon went away: the next daemon knows the true status.
///
/// # Errors
/// When no daemon comes back in time, or it does not know the container any more.
pub(crate) fn wait_anew(session: &Session, id: &str) -> Result<u8, Failure> {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        match Waiting::begin(session, id, "not-running").and_then(Waiting::status) {
            Err(Failure::NoDaemon { .. } | Failure::Connection { .. })
                if std::time::Instant::now() < end =>
            {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            other => return other,
        }
    }
}
