//! Plain values that callers of [`crate::Engine`] pass and get.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use tokio::sync::mpsc;

use crate::filters::Filters;
use crate::outcome::{EngineError, Result};

/// Body of a create request.
pub type CreateRequest = api_types::ContainerCreate;

/// Answer to a create request.
#[derive(Debug, Clone)]
pub struct Created {
    /// 64 hex digits.
    pub id: String,
    /// Sentences about limits that step back; usually none.
    pub warnings: Vec<String>,
}

/// What `list` shows.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Those that do not run as well.
    pub all: bool,
    /// At most so many, the newest first, running or not.
    pub limit: Option<usize>,
    /// Count what their writable layers hold.
    pub size: bool,
    /// `id name label label! status exited ancestor before since volume network publish expose health is-task`.
    pub filters: Filters,
}

/// How a container is removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// Remove its anonymous volumes too.
    pub volumes: bool,
    /// Remove a legacy link instead (refused by name).
    pub link: bool,
}

/// How an archive's files are made in a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtractOptions {
    /// Refuse to replace a folder by something else, and the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// They belong to the container's user.
    pub copy_uid_gid: bool,
}

/// How an image is made of a container.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Its name; empty for none.
    pub repo: String,
    /// Its tag, where the name has none.
    pub tag: String,
    /// Who made it.
    pub author: String,
    /// A remark.
    pub comment: String,
    /// Instructions of a Dockerfile that change the configuration.
    pub changes: Vec<String>,
    /// Freeze a running container meanwhile.
    pub pause: bool,
    /// A configuration in place of the container's.
    pub config: Option<api_types::Config>,
}

/// How an image is made of an archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Where the archive comes from, for the image's history.
    pub source: String,
    /// Its name; empty for none.
    pub repo: String,
    /// Its tag, where the name has none.
    pub tag: String,
    /// A remark.
    pub message: String,
    /// Instructions of a Dockerfile that make the configuration.
    pub changes: Vec<String>,
    /// What it is for; empty for this host's.
    pub platform: String,
}

/// What a waiter waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// Ready at once when it does not run.
    #[default]
    NotRunning,
    /// The next exit, even if it does not run now.
    NextExit,
    /// Its removal.
    Removed,
}

/// A subscribed wait: it misses nothing that happens after it was made.
pub type WaitHandle =
    Pin<Box<dyn Future<Output = Result<api_types::WaitResponse>> + Send + 'static>>;

/// Which logs, from when, how long.
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Include standard output.
    pub stdout: bool,
    /// Include standard error.
    pub stderr: bool,
    /// Stay and follow until the container ends.
    pub follow: bool,
    /// Prefix each line by its time.
    pub timestamps: bool,
    /// Prefix each line by the log attributes.
    pub details: bool,
    /// The last so many lines; all when `None`.
    pub tail: Option<u64>,
    /// Not before this time, nanoseconds since 1970.
    pub since: Option<i64>,
    /// Not after this time, nanoseconds since 1970.
    pub until: Option<i64>,
}

/// Which stream a chunk belongs to; the numbers are those of docker's framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StreamKind {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// A piece of a log, not framed.
#[derive(Debug, Clone)]
pub struct LogChunk {
    /// Where it came from.
    pub stream: StreamKind,
    /// The bytes, line end included.
    pub bytes: Vec<u8>,
}

/// A running answer to `logs`: ends when the channel closes.
#[derive(Debug)]
pub struct LogStream {
    /// With a terminal the border sends raw bytes, else docker's frames.
    pub tty: bool,
    /// Bounded; a reader that stops holds back the log reader alone.
    pub chunks: mpsc::Receiver<Result<LogChunk>>,
}

/// What a client wants to be connected to.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Send the client's bytes to standard input.
    pub stdin: bool,
    /// Send standard output to the client.
    pub stdout: bool,
    /// Send standard error to the client.
    pub stderr: bool,
    /// Replay the log first.
    pub logs: bool,
    /// Connect to what comes (without it only `logs` are sent).
    pub stream: bool,
    /// The client's own detach keys, in docker's notation.
    pub detach_keys: Option<String>,
    /// Multiplexed framing even for a terminal is never used; without a terminal `true` asks for raw bytes.
    pub raw: bool,
}

/// Takes a client's socket and what was read past its request.
pub(crate) type Deliver =
    dyn FnOnce(OwnedFd, Vec<u8>) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send;

/// A registered attachment: `start` waits a moment for its delivery. Dropped undelivered, it is withdrawn.
pub struct AttachTicket {
    /// Decides the content type: raw stream with a terminal, multiplexed without.
    pub tty: bool,
    pub(crate) deliver: Box<Deliver>,
}

impl AttachTicket {
    /// Hands over the client's socket, with the bytes that were read past the request.
    ///
    /// Ready when the shim has the socket (or, before the start, when the engine keeps it for the shim). For an
    /// exec a fault of its start is also written to the socket, as docker does.
    pub async fn deliver(self, socket: OwnedFd, leftover: Vec<u8>) -> Result<()> {
        (self.deliver)(socket, leftover).await
    }
}

impl std::fmt::Debug for AttachTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttachTicket")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

/// How an exec is started.
#[derive(Debug, Clone, Default)]
pub struct ExecStartOptions {
    /// Do not connect; answer when it runs.
    pub detach: bool,
    /// Whether the stream is raw, as terminals have it, or in frames; the exec's own terminal is another matter.
    pub tty: bool,
    /// Rows and columns at its first read.
    pub console_size: Option<(u16, u16)>,
}

/// What starting an exec gives.
#[derive(Debug)]
pub enum ExecStart {
    /// It runs.
    Detached,
    /// It starts when the client's socket is delivered.
    Attach(AttachTicket),
}

/// What `images` shows.
#[derive(Debug, Clone, Default)]
pub struct ImageListOptions {
    /// Intermediate images too (there are none), and the one that is in the program.
    pub all: bool,
    /// Digests in `RepoDigests`.
    pub digests: bool,
    /// Count containers that use each image.
    pub shared_size: bool,
    /// `dangling label label! before since reference until`.
    pub filters: Filters,
}

/// Which events, from when, how long.
#[derive(Debug, Clone, Default)]
pub struct EventsOptions {
    /// From the history, nanoseconds since 1970; nothing from the history when `None`.
    pub since: Option<i64>,
    /// End here (may lie in the future), nanoseconds since 1970.
    pub until: Option<i64>,
    /// `type event container image volume network label daemon scope`.
    pub filters: Filters,
}

/// A running answer to `events`: ends when the channel closes.
pub type EventStream = mpsc::Receiver<api_types::Event>;

/// Where a pull or load tells how far it is; that it closes means that nobody wants the image any more.
pub type ProgressSender = mpsc::Sender<api_types::Progress>;

/// Lines that may wait for a client that does not read: all words that an image of many layers causes, several times.
const WAITING_LINES: usize = 8192;

/// A channel for a pull or load.
pub fn progress_channel() -> (ProgressSender, mpsc::Receiver<api_types::Progress>) {
    mpsc::channel(WAITING_LINES)
}

/// Wraps a closure as a ticket.
impl AttachTicket {
    pub(crate) fn new<F, R>(tty: bool, deliver: F) -> AttachTicket
    where
        F: FnOnce(OwnedFd, Vec<u8>) -> R + Send + 'static,
        R: Future<Output = std::result::Result<(), EngineError>> + Send + 'static,
    {
        AttachTicket {
            tty,
            deliver: Box::new(move |socket, leftover| Box::pin(deliver(socket, leftover))),
        }
    }
}

/// Reads a time as docker's filters write it: RFC 3339, seconds since 1970, or a duration before now (`10m`).
///
/// # Errors
/// Docker's sentence.
pub(crate) fn parse_time(text: &str) -> Result<i64> {
    let bad = || {
        EngineError::invalid(format!(
            "failed to parse value as time or duration: \"{text}\""
        ))
    };
    if let Some(time) = crate::clock::parse_rfc3339(text) {
        return Ok(time);
    }
    if let Some((seconds, fraction)) = text.split_once('.').or_else(|| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some((text, "0"))
    }) && let (Ok(seconds), Ok(fraction)) = (
        seconds.parse::<i64>(),
        format!("{fraction:0<9}").parse::<i64>(),
    ) {
        return seconds
            .checked_mul(1_000_000_000)
            .and_then(|time| time.checked_add(fraction))
            .ok_or_else(bad);
    }
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: i64 = rest[..end].parse().map_err(|_| bad())?;
        let (unit, length) = match &rest[end..] {
            unit if unit.starts_with("ms") => (1_000_000, 2),
            unit if unit.starts_with('h') => (3_600_000_000_000, 1),
            unit if unit.starts_with('m') => (60_000_000_000, 1),
            unit if unit.starts_with('s') => (1_000_000_000, 1),
            _ => return Err(bad()),
        };
        total = number
            .checked_mul(unit)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(bad)?;
        rest = &rest[end + length..];
    }
    if text.is_empty() {
        Err(bad())
    } else {
        Ok(crate::clock::now() - total)
    }
}
