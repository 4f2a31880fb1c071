//! Why a command failed. The words are runc's wherever tools look for them.

use std::path::{Path, PathBuf};

use runtime::cgroup::CgroupError;
use runtime::netdevice::NetDeviceError;
use runtime::plan::PlanError;
use runtime::resctrl::ResctrlError;
use runtime::seccomp::SeccompError;
use runtime::sysctl::SysctlError;
use runtime::systemd::SystemdError;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line.
    #[error("{0}")]
    Usage(String),
    /// There is no such verb.
    #[error("No help topic for '{0}'")]
    NoVerb(String),
    /// No failure: what a verb takes was asked for.
    #[error("help was asked for")]
    Help(Vec<crate::cli::Flag>),
    /// There is no container of that name.
    #[error("container does not exist")]
    NoContainer,
    /// There is one already.
    #[error("container with given ID already exists")]
    Exists,
    /// The name has characters that names of containers have not.
    #[error("invalid container ID format")]
    BadId,
    /// The container is not in the state that the command needs.
    #[error("{0}")]
    State(String),
    /// The bundle has no configuration.
    #[error("JSON specification file config.json not found")]
    NoConfig,
    /// A document is no JSON, or not of the expected shape.
    #[error("{what}:{why}")]
    Json {
        /// The document's name.
        what: String,
        /// The field, and what is wrong with it; begins with a space.
        why: String,
    },
    /// A field of the configuration says what cannot be.
    #[error("config.json: {field}: {why}")]
    Field {
        /// Its path in the document.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// A field of the configuration asks for what is not built.
    #[error("config.json: {field} is not supported")]
    Unsupported {
        /// Its path in the document.
        field: String,
    },
    /// A file.
    #[error("{action} {}: {}", path.display(), plain(source))]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A process that could not be started.
    #[error("unable to start container process: {0}")]
    Start(String),
    /// A program that the kernel did not execute.
    #[error("unable to start container process: {0}")]
    Program(String),
    /// Something else that the kernel refused.
    #[error("{action}: {}", runtime::words(source.raw_os_error()))]
    Call {
        /// What was being done.
        action: &'static str,
        /// The kernel's answer.
        source: rustix::io::Errno,
    },
    /// A hook that failed.
    #[error("error running {kind} hook #{index}: {why}")]
    Hook {
        /// Its kind, as the configuration has it.
        kind: &'static str,
        /// Which of its kind.
        index: usize,
        /// What happened.
        why: String,
    },
    /// Control groups.
    #[error("unable to apply cgroup configuration: {0}")]
    Cgroup(#[from] CgroupError),
    /// Control groups that systemd makes.
    #[error("unable to apply cgroup configuration: {0}")]
    Systemd(#[from] SystemdError),
    /// A class of service.
    #[error("unable to apply Intel RDT configuration: {0}")]
    Resctrl(#[from] ResctrlError),
    /// A network device of the caller's.
    #[error("unable to start container process: {0}")]
    NetDevice(#[from] NetDeviceError),
    /// A plan that cannot be carried out.
    #[error("unable to start container process: {0}")]
    Plan(#[from] PlanError),
    /// A kernel parameter that is not the container's.
    #[error("{0}")]
    Sysctl(#[from] SysctlError),
    /// A seccomp profile.
    #[error("config.json: linux.seccomp: {0}")]
    Seccomp(#[from] SeccompError),
    /// Output that nobody takes.
    #[error("writing to standard output: {}", plain(.0))]
    Output(#[source] std::io::Error),
}

/// The kernel's words as Go prints them, or the library's own.
fn plain(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => runtime::words(errno),
        None => error.to_string(),
    }
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    pub(crate) fn call(action: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |source| Self::Call { action, source }
    }

    pub(crate) fn field(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            why: why.into(),
        }
    }

    pub(crate) fn unsupported(field: impl Into<String>) -> Self {
        Self::Unsupported {
            field: field.into(),
        }
    }
}
