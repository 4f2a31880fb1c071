//! What can go wrong with images, one sentence each.

use std::io;
use std::path::PathBuf;

use types::{Digest, Platform};

use crate::archive::ArchiveError;
use crate::manifest::ManifestError;
use crate::registry::RegistryError;

/// Why an image could not be fetched, read, kept or written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of the content store could not be used.
    #[error("cannot {what} {}: {source}", path.display())]
    Store {
        /// What was tried, as a verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A blob that should be in the content store is not there.
    #[error("blob {digest} is not in the content store")]
    BlobMissing {
        /// The blob.
        digest: Digest,
    },
    /// Content is not what its digest says.
    #[error(
        "filesystem layer verification failed for digest {expected}: the content's digest is {actual}"
    )]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Content is shorter or longer than its manifest says.
    #[error("blob {digest} has {actual} bytes instead of {expected}")]
    SizeMismatch {
        /// The blob.
        digest: Digest,
        /// What was promised.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// Content is longer than was announced or than anyone may ask us to hold.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What it is.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A manifest, index or configuration is not usable.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What a registry sent as an image's manifest is none.
    #[error("cannot pull {reference} from {registry}: {source}")]
    RemoteManifest {
        /// The image's name.
        reference: String,
        /// Where it came from: scheme, host and port.
        registry: String,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// An index names no manifest for the platform.
    #[error("no matching manifest for {wanted} in the manifest list entries")]
    NoPlatform {
        /// The platform that was looked for.
        wanted: Platform,
    },
    /// The image is for another platform than the one asked for.
    #[error(
        "image with reference {reference} was found but its platform ({actual}) does not match \
         the specified platform ({wanted})"
    )]
    PlatformMismatch {
        /// The image's name.
        reference: String,
        /// What was asked for.
        wanted: Box<Platform>,
        /// What the image is for.
        actual: Box<Platform>,
    },
    /// A registry refused, failed or could not be reached.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An archive could not be read or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A background thread of ours ended without an answer.
    #[error("the image transfer was interrupted: {what}")]
    Interrupted {
        /// Which one.
        what: &'static str,
    },
}

impl ImageError {
    /// Whether the disk was full.
    pub fn is_disk_full(&self) -> bool {
        let source = match self {
            ImageError::Store { source, .. } => source,
            ImageError::Archive(ArchiveError::Write { source }) => source,
            _ => return false,
        };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}
