//! What can go wrong with layers.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use types::Digest;

use crate::tar::TarError;

/// Why a layer or a root could not be made ready, read or put away. Faults of an archive do not say which layer it was to
/// become: the caller knows it by a name that people know, too.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store's own folders.
    #[error("cannot {action} {}", path.display())]
    Folder {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A layer with this number is there already.
    #[error("layer {layer} exists already")]
    Exists {
        /// Its number.
        layer: u64,
    },
    /// No layer has this number.
    #[error("layer {layer} does not exist")]
    Missing {
        /// The number.
        layer: u64,
    },
    /// The archive is damaged.
    #[error("{source}")]
    Archive {
        /// What is wrong.
        source: TarError,
    },
    /// The stream of the archive failed.
    #[error("cannot read its content")]
    Stream {
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// One entry could not be written.
    #[error("cannot {action} {entry:?}")]
    Entry {
        /// What was done.
        action: &'static str,
        /// The path in the archive.
        entry: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An entry would be outside of the layer.
    #[error("{entry:?} leads out of the layer")]
    Escapes {
        /// The path in the archive.
        entry: PathBuf,
    },
    /// The archive wants more than is allowed.
    #[error("more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// The content is not what the image's configuration promised.
    #[error("its content has the digest {found}, but {expected} was expected")]
    WrongDigest {
        /// What was promised.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// No thread to write files with.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// More layers than the kernel stacks.
    #[error("{wanted} layers, but an overlay takes {limit}")]
    TooDeep {
        /// How many were asked for.
        wanted: usize,
        /// How many are possible.
        limit: usize,
    },
    /// The overlay could not be mounted.
    #[error("cannot mount the overlay: {step}")]
    Mount {
        /// At which step.
        step: &'static str,
        /// The cause; the kernel's log may say more.
        #[source]
        source: io::Error,
    },
    /// A tree could not be read.
    #[error("cannot {action} {entry:?}")]
    Tree {
        /// What was done.
        action: &'static str,
        /// The path beneath the tree's top.
        entry: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

impl SnapshotError {
    /// The cause in the kernel's words, for a caller who tells a full disk from the rest.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Folder { source, .. }
            | Self::Stream { source, .. }
            | Self::Entry { source, .. }
            | Self::Thread(source)
            | Self::Mount { source, .. }
            | Self::Tree { source, .. }
            | Self::Write(source)
            | Self::Archive {
                source: TarError::Read(source),
                ..
            } => Some(source),
            Self::Exists { .. }
            | Self::Missing { .. }
            | Self::Archive { .. }
            | Self::Escapes { .. }
            | Self::Limit { .. }
            | Self::WrongDigest { .. }
            | Self::TooDeep { .. } => None,
        }
    }

    pub(crate) fn tree(action: &'static str, entry: &[u8], source: io::Error) -> Self {
        Self::Tree {
            action,
            entry: path_of(entry),
            source,
        }
    }
}

/// A path as an error shows it.
pub(crate) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
