//! Why a command failed, how it is told, and with which exit status.

use std::io;

use crate::parse::ParseError;

/// A command that failed. What docker's users and tools match on is kept word by word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Arguments that were not understood: the usage is told after it.
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// Wrong number of arguments, or ones that contradict each other: the usage is told after it.
    #[error("{0}")]
    Usage(String),
    /// What the command line means can not be done, before any daemon was asked.
    #[error("{0}")]
    Invalid(String),
    /// The same, found once the arguments were understood: `create` tells it alone and with status 1.
    #[error("{0}")]
    Unfit(String),
    /// The same, told alone and with status 1 by every verb, `run` included.
    #[error("{0}")]
    Plain(String),
    /// A text that is no template: told alone and with status 64.
    #[error("{0}")]
    Template(String),
    /// Which engine is meant is not understood: told alone and with status 1 by every verb.
    #[error("Failed to initialize: {0}")]
    Endpoint(String),
    /// Nobody listens there.
    #[error("Cannot connect to the Docker daemon at {host}. Is the docker daemon running?")]
    NoDaemon {
        /// The address, as docker writes it.
        host: String,
    },
    /// Somebody listens there, but not to this user.
    #[error(
        "permission denied while trying to connect to the Docker daemon socket at {host}: {}",
        plain(source)
    )]
    Forbidden {
        /// The address, as docker writes it.
        host: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon answered with an error.
    #[error("Error response from daemon: {message}")]
    Daemon {
        /// The HTTP status.
        status: u16,
        /// The daemon's sentence.
        message: String,
    },
    /// The connection broke, or what came over it was no answer.
    #[error("error during connect: {doing}: {}", plain(source))]
    Connection {
        /// What was asked, as in `Post "http://…/containers/create"`.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file or stream of this host's.
    #[error("{doing}: {}", plain(source))]
    Local {
        /// What was being done, and to what.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Everything is told already; only the status is left.
    #[error("exit status {0}")]
    Status(u8),
}

/// What the kernel said, as docker's users know it: `no such file or directory`.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match (error.raw_os_error(), text.rfind(" (os error")) {
        (Some(_), Some(end)) => &text[..end],
        _ => return text,
    };
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

impl Failure {
    /// A fault of this host's, with what was being done.
    pub(crate) fn local(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
        let doing = doing.into();
        move |source| Failure::Local { doing, source }
    }

    /// The HTTP status, if the daemon answered.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Failure::Daemon { status, .. } => Some(*status),
            _ => None,
        }
    }
}
