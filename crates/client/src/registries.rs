//! Registries, for the commands that speak to them without an engine. Who the client is a part of does the speaking.

use api_types::AuthConfig;
use types::{Digest, Reference};

/// Speaks to registries.
pub trait Registries: Sync {
    /// What a name points to, with all that it is made of but for layers.
    ///
    /// # Errors
    /// What the registry said, or why it could not be asked.
    fn describe(&self, name: &Reference, access: &Access) -> Result<Described, RegistryFault>;

    /// Sends an index, after what its images lack in the index's repository.
    ///
    /// # Errors
    /// As [`Registries::describe`]; the repository may then have some of what is missing, and no name for it.
    fn push_index(&self, index: &Index, access: &Access) -> Result<(), RegistryFault>;
}

/// How a registry is asked.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who asks.
    pub auth: Option<AuthConfig>,
    /// Whether plain http will do, and certificates that nobody knows.
    pub insecure: bool,
}

/// Why a registry did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct RegistryFault {
    /// Whether it has nothing of that name.
    pub is_missing: bool,
    /// What is told.
    pub sentence: String,
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub struct Document {
    /// Docker's or OCI's name of what it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its text.
    pub bytes: Vec<u8>,
}

/// An image for one platform.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    /// What the index says that it is for, as JSON; nothing where there is no index.
    pub platform: Option<serde_json::Value>,
    /// Its manifest.
    pub manifest: Document,
    /// Its configuration's text; not there when it is sent.
    pub config: Vec<u8>,
    /// Its blobs: the configuration, and the layers.
    pub blobs: Vec<Digest>,
}

/// What a name points to.
#[derive(Debug, Clone)]
pub struct Described {
    /// Whether that is an index.
    pub is_index: bool,
    /// The images, in the index's order; the one, if there is no index.
    pub images: Vec<RemoteImage>,
}

/// An index that is put together of images that are in one registry.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its name, with a tag.
    pub name: Reference,
    /// Those of its images that are in other repositories, with a name there.
    pub images: Vec<(Reference, RemoteImage)>,
    /// The index.
    pub document: Document,
}
