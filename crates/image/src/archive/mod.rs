//! Images as tar archives: docker's form and OCI's, both read, and written as one that is both.

mod load;
mod save;
mod tar;

use std::io;

use types::{Digest, Platform, Reference, ReferenceError};

pub use load::{LoadOptions, Pending, load, read};
pub use save::{SaveImage, save};

use crate::config::ImageConfig;
use crate::manifest::{Descriptor, Layer};

/// Why an archive could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is not a tar file, or a broken one.
    #[error("archive/tar: invalid tar header")]
    Header {
        /// What is wrong.
        reason: &'static str,
    },
    /// It ends too early.
    #[error("unexpected EOF")]
    Truncated,
    /// It could not be read or is not well compressed.
    #[error("cannot read the archive: {source}")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be written.
    #[error("cannot write the archive: {source}")]
    Write {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds more than anyone needs.
    #[error("the archive has more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It holds no image.
    #[error("unrecognized image format: the archive has neither manifest.json nor index.json")]
    NoImage,
    /// It holds images, but none for the platform that is wanted.
    #[error("the archive has no image for {}", list(wanted))]
    NoPlatform {
        /// What was looked for.
        wanted: Vec<Platform>,
    },
    /// One of its documents is not of its form.
    #[error("invalid {name} in the archive: {source}")]
    Document {
        /// The file's name in the archive.
        name: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A file that a document names is not there, or is not a file.
    #[error("invalid archive: {name:?} is named but not there")]
    Missing {
        /// The file's name in the archive.
        name: String,
    },
    /// A configuration lists another number of layers than the archive's manifest.
    #[error("invalid manifest, layers length mismatch: expected {expected}, got {actual}")]
    LayerCount {
        /// As the configuration says.
        expected: usize,
        /// As the manifest says.
        actual: usize,
    },
    /// A layer's content is not what the configuration says.
    #[error("invalid diffID for layer {index}: expected \"{expected}\", got \"{actual}\"")]
    DiffId {
        /// Which layer, 0 the lowest.
        index: usize,
        /// As the configuration says.
        expected: Digest,
        /// As it is.
        actual: Digest,
    },
    /// An image's name in the archive is no name.
    #[error("invalid tag {tag:?}: {source}")]
    Tag {
        /// The name.
        tag: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
}

fn list(platforms: &[Platform]) -> String {
    let names: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    names.join(" or ")
}

/// An image that was read from an archive.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The names that the archive gives it; none is possible.
    pub refs: Vec<Reference>,
    /// The image's manifest, as it was or made here; once committed, its blob is in the store.
    pub manifest: Descriptor,
    /// The configuration; its digest is the image's id.
    pub config: ImageConfig,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
}
