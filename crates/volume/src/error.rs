//! What can go wrong with volumes.

use std::io;
use std::path::PathBuf;

/// Why a volume could not be made, read or put away.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Not a name: in the words that other engines use.
    #[error(
        "{name:?} includes invalid characters for a local volume name, only \"{rule}\" are allowed. \
         If you intended to pass a host directory, use absolute path",
        rule = types::CONTAINER_NAME_RULE
    )]
    InvalidName {
        /// What was asked for.
        name: String,
    },
    /// A name of one character.
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    ShortName,
    /// A name that no folder can have.
    #[error("volume name is too long, names can have at most 255 characters")]
    LongName,
    /// No volume has this name.
    #[error("no such volume: {name}")]
    Missing {
        /// What was asked for.
        name: String,
    },
    /// The part of a volume that was asked for leads out of it.
    #[error("path concatenation escapes the base directory: {} in volume {name}", path.display())]
    Escape {
        /// The volume.
        name: String,
        /// The path within it.
        path: PathBuf,
    },
    /// The part of a volume that was asked for is not there.
    #[error("cannot access path {} in volume {name}", path.display())]
    Subpath {
        /// The volume.
        name: String,
        /// The path within it.
        path: PathBuf,
        /// The cause; EXDEV when the path leads out of the volume.
        #[source]
        source: io::Error,
    },
    /// The image's folder cannot be copied.
    #[error("cannot fill volume {name} from the image's {}", path.display())]
    CopyUp {
        /// The volume.
        name: String,
        /// The folder in the image.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The volume's own folder.
    #[error("cannot {action} volume {name}")]
    Folder {
        /// What was done.
        action: &'static str,
        /// The volume.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The store's own folder.
    #[error("cannot {action} {}", path.display())]
    Store {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What a volume is could not be mounted. The sentence is Docker's.
    #[error("error while mounting volume '{}': {why}", path.display())]
    Attach {
        /// Where.
        path: PathBuf,
        /// What was tried, and the kernel's answer.
        why: String,
    },
    /// It is mounted for somebody.
    #[error("remove {name}: volume is in use by a start that has not come to its end")]
    Used {
        /// The volume.
        name: String,
    },
    /// Somebody mounts or unmounts it, and that takes long.
    #[error("remove {name}: volume is being mounted or unmounted")]
    Underway {
        /// The volume.
        name: String,
    },
    /// The mount could not be made.
    #[error("cannot make a mount: {step}")]
    Mount {
        /// At which step.
        step: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl VolumeError {
    /// The cause in the kernel's words, for a caller who tells a full disk from the rest.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Subpath { source, .. }
            | Self::CopyUp { source, .. }
            | Self::Folder { source, .. }
            | Self::Store { source, .. }
            | Self::Mount { source, .. } => Some(source),
            Self::InvalidName { .. }
            | Self::ShortName
            | Self::LongName
            | Self::Attach { .. }
            | Self::Used { .. }
            | Self::Underway { .. }
            | Self::Escape { .. }
            | Self::Missing { .. } => None,
        }
    }
}
