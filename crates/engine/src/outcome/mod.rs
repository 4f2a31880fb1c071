//! What an operation of the engine ends with: its errors and the class that a client sees.

mod classes;

use std::io;

/// Result of an engine operation.
pub type Result<T> = std::result::Result<T, EngineError>;

/// Classes of errors; the border turns a class into a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request makes no sense (400).
    InvalidArgument,
    /// What it names does not exist (404).
    NotFound,
    /// It contradicts the present state (409).
    Conflict,
    /// It is already so (304).
    NotModified,
    /// Not allowed (403).
    Forbidden,
    /// Credentials are missing or wrong (401).
    Unauthorized,
    /// Not built, by name (501).
    Unsupported,
    /// Not now (503).
    Unavailable,
    /// Space, memory or another bounded thing ran out (500).
    Exhausted,
    /// The engine's own fault (500).
    Internal,
}

/// Why an operation of the engine failed. `Display` is the sentence that clients see, in docker's words where
/// tools match on them.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No container has this name, id or unambiguous prefix.
    #[error("No such container: {name}")]
    NoSuchContainer {
        /// As the client named it.
        name: String,
    },
    /// No container has the name or id that is to be killed.
    #[error("cannot kill container: {name}: No such container: {name}")]
    NothingToKill {
        /// As the client named it.
        name: String,
    },
    /// A container can not be put on the network that it is to have; the class is that of the reason.
    #[error("{doing}: {source}")]
    Networking {
        /// What was being done, in docker's words.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<EngineError>,
    },
    /// No exec of this id.
    #[error("No such exec instance: {id}")]
    NoSuchExec {
        /// As the client named it.
        id: String,
    },
    /// No image has this reference or id. Clients pull after seeing this from create.
    #[error("No such image: {name}")]
    NoSuchImage {
        /// The familiar name, with its tag.
        name: String,
    },
    /// A name with a tag that no image has, where Docker does not say which.
    #[error("reference does not exist")]
    NoSuchReference,
    /// No image has the name by which one is to be pushed.
    #[error("{sentence}")]
    NothingToPush {
        /// Docker's sentence.
        sentence: String,
    },
    /// No volume of this name.
    #[error("get {name}: no such volume")]
    NoSuchVolume {
        /// As the client named it.
        name: String,
    },
    /// No network of this name or id.
    #[error("network {name} not found")]
    NoSuchNetwork {
        /// As the client named it.
        name: String,
    },
    /// A prefix that more than one id has.
    #[error("multiple IDs found with provided prefix: {prefix}")]
    Ambiguous {
        /// The prefix.
        prefix: String,
    },
    /// The name belongs to another container.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse {
        /// Without its slash.
        name: String,
        /// Full id of the holder.
        holder: String,
    },
    /// The operation needs a running container.
    #[error("container {id} is not running")]
    NotRunning {
        /// Full id.
        id: String,
    },
    /// Another container's namespace can not be shared.
    #[error("failed to join {namespace} namespace: {source}")]
    Joining {
        /// `PID` or `IPC`.
        namespace: &'static str,
        /// Why not.
        source: Box<EngineError>,
    },
    /// An exec has ended: nothing can be done to its process.
    #[error("process does not exist {id}: not found")]
    ExecGone {
        /// The exec.
        id: String,
    },
    /// An exec whose start was waited for did not start.
    #[error("timeout waiting for exec session ready")]
    ExecNotReady,
    /// A container shall begin in what its image has as a file.
    #[error("Cannot mkdir: {path} is not a directory")]
    NotAFolder {
        /// The path in the image.
        path: String,
    },
    /// The operation contradicts the state; the sentence says how.
    #[error("{sentence}")]
    Conflict {
        /// Docker's sentence.
        sentence: String,
    },
    /// Nothing to do: it is already so.
    #[error("already so")]
    NotModified,
    /// It is not allowed, whoever asks.
    #[error("{sentence}")]
    Forbidden {
        /// Docker's sentence.
        sentence: String,
    },
    /// No such network driver.
    #[error("plugin \"{name}\" not found")]
    NoSuchNetworkDriver {
        /// Its name.
        name: String,
    },
    /// A container is not on the network that it is to leave.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// Full id.
        container: String,
        /// The network's name.
        network: String,
    },
    /// A request that can not be carried out as it is written.
    #[error("{sentence}")]
    Invalid {
        /// Docker's sentence.
        sentence: String,
    },
    /// Something that exists in docker and is not built here.
    #[error("{what} is not supported by wharf")]
    Unsupported {
        /// The field, verb or value by its name.
        what: String,
    },
    /// The container's program could not be started; docker answers 400 and clients derive 126 and 127.
    #[error("{sentence}")]
    StartFailed {
        /// Docker's chain of words around the fault.
        sentence: String,
        /// 126, 127 or 128: what the container's state shows.
        exit_code: i64,
    },
    /// A start was cut short because the container is to be stopped or removed.
    #[error("the start was given up: the container is to be stopped or removed")]
    GivenUp,
    /// The container keeps no log.
    #[error("configured logging driver does not support reading")]
    LogsNotKept,
    /// A system call of the engine itself failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, to what.
        what: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The store refused.
    #[error("store: {source}")]
    Store {
        /// SQLite's reason.
        #[source]
        source: rusqlite::Error,
    },
    /// A commit of the store failed, for all transactions in it.
    #[error("store: {sentence}")]
    StoreCommit {
        /// SQLite's reason.
        sentence: String,
    },
    /// The store's disk is full.
    #[error("store: no space left on device")]
    StoreFull,
    /// The image is for another platform than the one asked for. Clients pull after seeing this from create.
    #[error(
        "image with reference {image} was found but its platform ({actual}) does not match the specified platform ({wanted})"
    )]
    WrongPlatform {
        /// As the client named it.
        image: String,
        /// What was asked for.
        wanted: String,
        /// What is here.
        actual: String,
    },
    /// No such volume driver.
    #[error("create {volume}: error looking up volume plugin {name}: plugin \"{name}\" not found")]
    NoSuchPlugin {
        /// The volume that was to be made.
        volume: String,
        /// The driver's name.
        name: String,
    },
    /// The container's files know no such user or group.
    #[error("{sentence}")]
    UnknownUser {
        /// The runtime's sentence.
        sentence: String,
    },
    /// Ports could not be published.
    #[error("{sentence}")]
    Ports {
        /// Docker's sentence.
        sentence: String,
    },
    /// A shim does not answer.
    #[error("the container's supervisor did not answer within {seconds} s")]
    ShimSilent {
        /// How long was waited.
        seconds: u64,
    },
    /// A shim or the launcher refused or is gone.
    #[error(transparent)]
    Shim {
        /// Its reason.
        #[from]
        source: shim::ShimError,
    },
    /// The host's kernel lacks what every start needs.
    #[error("Wharf needs Linux {oldest} or newer, and this is Linux {release}")]
    OldKernel {
        /// The kernel's release.
        release: String,
        /// The first that will do.
        oldest: String,
    },
    /// The network could not do something.
    #[error(transparent)]
    Network {
        /// Its reason.
        #[from]
        source: network::NetworkError,
    },
    /// The helper for names could not be made or told.
    #[error(transparent)]
    Names {
        /// Its reason.
        #[from]
        source: net::HelperError,
    },
    /// A layer could not be made, mounted or removed.
    #[error("{}", chain(source))]
    Snapshot {
        /// Its reason.
        #[from]
        source: snapshot::SnapshotError,
    },
    /// A layer of an image could not be unpacked.
    #[error("failed to register layer {layer}: {}", chain(source))]
    Layer {
        /// Its digest: that of its blob where it came as one.
        layer: types::Digest,
        /// The reason.
        source: snapshot::SnapshotError,
    },
    /// A volume could not be made, filled or removed.
    #[error("{}", chain(source))]
    Volume {
        /// Its reason.
        #[from]
        source: volume::VolumeError,
    },
    /// An image could not be fetched, read, kept or written.
    #[error("{}", chain(source))]
    Image {
        /// Its reason.
        #[from]
        source: image::ImageError,
    },
    /// A control group could not be made, changed or removed.
    #[error(transparent)]
    Cgroup {
        /// Its reason.
        #[from]
        source: runtime::cgroup::CgroupError,
    },
    /// The store was written by a newer release.
    #[error(
        "the store in {path} has schema {found}, this release knows up to {known}: use the release that wrote it, or a newer one"
    )]
    StoreNewer {
        /// The store's file.
        path: String,
        /// Its schema number.
        found: i64,
        /// The newest that this release knows.
        known: i64,
    },
    /// A stored document can not be read.
    #[error("store: the row of {what} cannot be read: {source}")]
    StoreRow {
        /// Which row.
        what: String,
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// Another daemon holds the roots.
    #[error(
        "another daemon (process {holder}) is using {path}: stop it, or choose another --exec-root and --data-root"
    )]
    Locked {
        /// The lock file.
        path: String,
        /// Its writer, as it said.
        holder: String,
    },
    /// A daemon with another exec root has the data root.
    #[error("another daemon is using the data root {path}: stop it, or choose another --data-root")]
    DataRootInUse {
        /// The data root.
        path: String,
    },
    /// The engine is closing.
    #[error("the engine is shutting down")]
    Closing,
    /// Limits of a running container could not be changed.
    #[error("Cannot update container {id}: {why}")]
    Update {
        /// Full id.
        id: String,
        /// What went wrong.
        why: String,
    },
    /// The host's ps(1) does not list a container's processes.
    #[error("{why}")]
    Ps {
        /// Docker's sentence.
        why: String,
    },
    /// A container has no such file.
    #[error("Could not find the file {path} in container {container}")]
    NoSuchFile {
        /// The path in the container.
        path: String,
        /// The container as the client named it.
        container: String,
    },
    /// Files could not be copied into or out of a container.
    #[error("{sentence}")]
    Copy {
        /// What was done, to which file, and the system's reason.
        sentence: String,
    },
    /// A task of the engine panicked; the request ends, the engine goes on.
    #[error("{operation}: internal fault")]
    Panicked {
        /// Which operation.
        operation: &'static str,
    },
}

impl EngineError {
    /// What a client is told.
    pub fn sentence(&self) -> String {
        without_numbers(&self.to_string())
    }

    /// The class that the border turns into a status code.
    pub fn class(&self) -> Class {
        match self {
            Self::NoSuchContainer { .. }
            | Self::NothingToKill { .. }
            | Self::NoSuchExec { .. }
            | Self::ExecGone { .. }
            | Self::NoSuchImage { .. }
            | Self::NoSuchReference
            | Self::NothingToPush { .. }
            | Self::NoSuchFile { .. }
            | Self::NoSuchVolume { .. }
            | Self::NoSuchNetwork { .. }
            | Self::NoSuchNetworkDriver { .. } => Class::NotFound,
            Self::Networking { source, .. } => source.class(),
            Self::Joining { namespace, source } => match (*namespace, source.class()) {
                // 404 would say that the container which is started is not there.
                (_, Class::NotFound) => Class::InvalidArgument,
                // Docker's daemon forgets the class of this one alone.
                ("PID", Class::Conflict) => Class::Internal,
                (_, class) => class,
            },
            Self::Ambiguous { .. } | Self::Invalid { .. } => Class::InvalidArgument,
            // As docker: a program that is not there or may not be executed is the request's fault.
            Self::StartFailed {
                exit_code: 126 | 127,
                ..
            } => Class::InvalidArgument,
            Self::StartFailed { .. } => Class::Internal,
            Self::NameInUse { .. }
            | Self::NotRunning { .. }
            | Self::Conflict { .. }
            | Self::GivenUp => Class::Conflict,
            Self::Forbidden { .. } => Class::Forbidden,
            Self::NotModified => Class::NotModified,
            Self::Unsupported { .. } | Self::LogsNotKept | Self::OldKernel { .. } => {
                Class::Unsupported
            }
            Self::Io { source, .. } => classes::of_io(source),
            Self::StoreFull => Class::Exhausted,
            Self::Store { .. } | Self::StoreCommit { .. } => Class::Internal,
            Self::StoreNewer { .. } | Self::Locked { .. } | Self::DataRootInUse { .. } => {
                Class::Unavailable
            }
            Self::WrongPlatform { .. } | Self::NoSuchPlugin { .. } => Class::NotFound,
            Self::UnknownUser { .. } => Class::InvalidArgument,
            Self::Ports { .. } | Self::ShimSilent { .. } => Class::Internal,
            Self::Shim { source } => classes::of_shim(source),
            Self::Network { source } => classes::of_network(source),
            Self::Names { source } => classes::of_names(source),
            Self::Snapshot { source } | Self::Layer { source, .. } => classes::of_snapshot(source),
            Self::Volume { source } => classes::of_volume(source),
            Self::Image { source } => classes::of_image(source),
            Self::Cgroup { source } => classes::of_cgroup(source),
            Self::StoreRow { .. } => Class::Internal,
            Self::Closing => Class::Unavailable,
            Self::Panicked { .. }
            | Self::NotAFolder { .. }
            | Self::ExecNotReady
            | Self::NotConnected { .. }
            | Self::Ps { .. }
            | Self::Copy { .. }
            | Self::Update { .. } => Class::Internal,
        }
    }

    /// Shorthand for a refused request.
    pub(crate) fn invalid(sentence: impl Into<String>) -> EngineError {
        EngineError::Invalid {
            sentence: sentence.into(),
        }
    }

    /// Shorthand for a request that contradicts the state.
    pub(crate) fn conflict(sentence: impl Into<String>) -> EngineError {
        EngineError::Conflict {
            sentence: sentence.into(),
        }
    }

    /// Shorthand for what is not allowed.
    pub(crate) fn forbidden(sentence: impl Into<String>) -> EngineError {
        EngineError::Forbidden {
            sentence: sentence.into(),
        }
    }

    /// Shorthand for something that is not built.
    pub(crate) fn unsupported(what: impl Into<String>) -> EngineError {
        EngineError::Unsupported { what: what.into() }
    }

    /// Wraps a system error with what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> EngineError {
        let what = what.into();
        move |source| EngineError::Io { what, source }
    }
}

impl From<rusqlite::Error> for EngineError {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => EngineError::StoreFull,
            _ => EngineError::Store { source },
        }
    }
}

/// An error with its causes, as one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some errors tell their cause themselves.
        if !sentence.ends_with(&text) {
            sentence.push_str(": ");
            sentence.push_str(&text);
        }
        source = cause.source();
    }
    sentence
}

/// A sentence without the numbers that Rust puts behind the system's words, and with docker's word for a full disk.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut sentence = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|digit| digit.is_ascii_digit()) => {
                sentence.push_str(rest);
            }
            _ => {
                sentence.push_str(" (os error ");
                sentence.push_str(part);
            }
        }
    }
    sentence.replace("No space left on device", "no space left on device")
}

/// The system's words for an error as C programs say them: lower case, without the number.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::without_numbers;

    #[test]
    fn sentences_lose_their_numbers() {
        let full = std::io::Error::from_raw_os_error(28).to_string();
        assert_eq!(
            without_numbers(&format!("cannot write \"a\": {full}: b")),
            "cannot write \"a\": no space left on device: b"
        );
        assert_eq!(without_numbers("x (os error y)"), "x (os error y)");
    }
}
