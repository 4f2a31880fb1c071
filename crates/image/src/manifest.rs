//! Manifests and indexes, of Docker and of OCI.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::{Digest, Platform};

use crate::error::ImageError;

/// The largest manifest or index that is read, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;
pub use types::MAX_LAYERS;
/// The most entries an index may have.
pub const MAX_INDEX_ENTRIES: usize = 1024;

/// Media types that manifests and their parts carry.
pub mod media_type {
    /// Docker's manifest, version 2, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's list of manifests, one for each platform.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's signed manifest of schema 1.
    pub const DOCKER_SCHEMA1_SIGNED: &str =
        "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// Docker's manifest of schema 1.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    /// OCI's manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI's index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker's image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// OCI's image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer that is not compressed, Docker's name.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// A layer compressed by gzip, Docker's name.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// A layer that is not compressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer compressed by gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer compressed by Zstandard.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
}

/// Why a manifest, an index or a configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or JSON of another form.
    #[error("invalid {what}: {source}")]
    Json {
        /// Which document.
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// JSON, but neither manifest nor index.
    #[error("invalid manifest: {reason}")]
    Form {
        /// What is wrong with it.
        reason: String,
    },
    /// Schema 1, which registries gave up years ago.
    #[error(
        "manifest schema 1 is not supported: ask the image's author to upgrade it to the OCI \
         format or Docker image manifest v2, schema 2"
    )]
    Schema1,
    /// More layers than can be mounted.
    #[error("max depth exceeded: the image has {count} layers, at most {MAX_LAYERS} are possible")]
    TooManyLayers {
        /// How many there are.
        count: usize,
    },
    /// More index entries than anyone needs.
    #[error("the index has {count} entries, at most {MAX_INDEX_ENTRIES} are read")]
    TooManyEntries {
        /// How many there are.
        count: usize,
    },
    /// The manifest describes something that is not an image, such as a chart or a plugin.
    #[error("Encountered remote {media_type:?}(unknown) when fetching")]
    NotAnImage {
        /// What its configuration is.
        media_type: String,
    },
    /// A layer that is encrypted, or kept elsewhere than in the registry, or unknown.
    #[error("layer {digest} has the unsupported media type {media_type:?}")]
    LayerType {
        /// The layer.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// The configuration lists another number of layers.
    #[error("layers from manifest don't match image configuration: {layers} and {diff_ids}")]
    LayerCount {
        /// How many the manifest lists.
        layers: usize,
        /// How many the configuration lists.
        diff_ids: usize,
    },
    /// The image runs on another operating system.
    #[error("image operating system {os:?} cannot be used on this platform")]
    OperatingSystem {
        /// The system.
        os: String,
    },
}

/// Names a blob and says what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is; empty if the author left it out.
    #[serde(default)]
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's length in bytes.
    #[serde(default)]
    pub size: u64,
    /// Free-form notes.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Box<PlatformEntry>>,
}

/// A platform as an index writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformEntry {
    /// The processor architecture.
    #[serde(default)]
    pub architecture: String,
    /// The operating system.
    #[serde(default)]
    pub os: String,
    /// The version of the operating system.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// What the operating system has to offer.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The architecture's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl PlatformEntry {
    /// The normalised platform.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

impl From<&Platform> for PlatformEntry {
    fn from(platform: &Platform) -> Self {
        PlatformEntry {
            architecture: platform.architecture().to_owned(),
            os: platform.os().to_owned(),
            variant: platform.variant().map(str::to_owned),
            ..PlatformEntry::default()
        }
    }
}

/// A layer of an image: its blob, and the digest of the uncompressed tar stream in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The blob as it is stored, compressed or not.
    pub digest: Digest,
    /// The blob's length in bytes.
    pub size: u64,
    /// The blob's media type.
    pub media_type: String,
    /// The digest of the uncompressed stream, from the image's configuration.
    pub diff_id: Digest,
}

/// One image for one platform: a configuration and layers, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Docker's or OCI's.
    pub media_type: String,
    /// The image's configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// Manifests for several platforms, or several images of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Docker's or OCI's.
    pub media_type: String,
    /// The entries in the author's order.
    pub manifests: Vec<Descriptor>,
}

/// What a manifest request was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// A choice of images.
    Index(Index),
}

/// All fields that either kind has. Presence decides the kind where the media type is missing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyDocument {
    #[serde(default)]
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a manifest or an index. `content_type` is what came beside it, if anything did; the
/// document's own word counts first.
///
/// # Errors
/// [`ManifestError`] if it is neither, both, or above a limit.
pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Document, ManifestError> {
    let form = |reason: &str| ManifestError::Form {
        reason: reason.to_owned(),
    };
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(form(&format!("larger than {MAX_MANIFEST_BYTES} bytes")));
    }
    let content_type = content_type.map(|t| t.split(';').next().unwrap_or_default().trim());
    if matches!(
        content_type,
        Some(media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED)
    ) {
        return Err(ManifestError::Schema1);
    }
    let document: AnyDocument = parse_object(bytes).map_err(|source| ManifestError::Json {
        what: "manifest",
        source,
    })?;
    if document.schema_version == 1 {
        return Err(ManifestError::Schema1);
    }
    let media_type = document
        .media_type
        .as_deref()
        .or(content_type)
        .unwrap_or_default();
    match (document.config, document.layers, document.manifests) {
        // The same bytes must not mean two things to two readers.
        (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            Err(form("it has the fields of a manifest and of an index"))
        }
        (None, None, Some(manifests)) => {
            if manifests.len() > MAX_INDEX_ENTRIES {
                return Err(ManifestError::TooManyEntries {
                    count: manifests.len(),
                });
            }
            let media_type = known(media_type, [media_type::DOCKER_LIST, media_type::OCI_INDEX]);
            Ok(Document::Index(Index {
                media_type,
                manifests,
            }))
        }
        (Some(config), layers, None) => {
            let layers = layers.unwrap_or_default();
            if layers.len() > MAX_LAYERS {
                return Err(ManifestError::TooManyLayers {
                    count: layers.len(),
                });
            }
            let media_type = known(
                media_type,
                [media_type::DOCKER_MANIFEST, media_type::OCI_MANIFEST],
            );
            Ok(Document::Manifest(Manifest {
                media_type,
                config,
                layers,
            }))
        }
        _ => Err(form("it has neither a config nor manifests")),
    }
}

/// `given` if it is one of the two known types, else the second, OCI's.
fn known(given: &str, types: [&'static str; 2]) -> String {
    types
        .into_iter()
        .find(|known| *known == given)
        .unwrap_or(types[1])
        .to_owned()
}

impl Manifest {
    /// Makes sure that this is an image whose layers can be fetched and unpacked.
    ///
    /// # Errors
    /// [`ManifestError::NotAnImage`] or [`ManifestError::LayerType`].
    pub fn check_image(&self) -> Result<(), ManifestError> {
        // Early tools wrote octet-stream or text/html here.
        let config_types = [
            "",
            media_type::DOCKER_CONFIG,
            media_type::OCI_CONFIG,
            "application/octet-stream",
            "text/html",
        ];
        if !config_types.contains(&self.config.media_type.as_str()) {
            return Err(ManifestError::NotAnImage {
                media_type: self.config.media_type.clone(),
            });
        }
        for layer in &self.layers {
            let known = matches!(
                layer.media_type.as_str(),
                "" | media_type::DOCKER_LAYER
                    | media_type::DOCKER_LAYER_GZIP
                    | "application/vnd.docker.image.rootfs.diff.tar.zstd"
                    | media_type::OCI_LAYER
                    | media_type::OCI_LAYER_GZIP
                    | media_type::OCI_LAYER_ZSTD
                    | "application/vnd.oci.image.layer.nondistributable.v1.tar"
                    | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
                    | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            );
            if !known {
                return Err(ManifestError::LayerType {
                    digest: layer.digest,
                    media_type: layer.media_type.clone(),
                });
            }
        }
        Ok(())
    }

    /// The layers with the digests that the configuration gives their content.
    ///
    /// # Errors
    /// [`ManifestError::LayerCount`] if the two do not list the same number.
    pub fn layers_with(&self, diff_ids: &[Digest]) -> Result<Vec<Layer>, ManifestError> {
        if self.layers.len() != diff_ids.len() {
            return Err(ManifestError::LayerCount {
                layers: self.layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let pairs = self.layers.iter().zip(diff_ids);
        Ok(pairs
            .map(|(layer, diff_id)| Layer {
                digest: layer.digest,
                size: layer.size,
                media_type: layer.media_type.clone(),
                diff_id: *diff_id,
            })
            .collect())
    }

    /// The manifest as JSON, for images that came without one.
    ///
    /// # Errors
    /// [`ManifestError::Json`], which plain values like these do not give.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Out<'a> {
            schema_version: u32,
            media_type: &'a str,
            config: &'a Descriptor,
            layers: &'a [Descriptor],
        }
        let out = Out {
            schema_version: 2,
            media_type: &self.media_type,
            config: &self.config,
            layers: &self.layers,
        };
        serde_json::to_vec(&out).map_err(|source| ManifestError::Json {
            what: "manifest",
            source,
        })
    }
}

impl Index {
    /// The entry that serves best when `wanted` is wanted.
    ///
    /// An entry without a platform is taken only if it is the only one; the first of equals
    /// wins.
    ///
    /// # Errors
    /// [`ImageError::NoPlatform`].
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, ImageError> {
        if let [only] = &self.manifests[..]
            && only.platform.is_none()
        {
            return Ok(only);
        }
        self.manifests
            .iter()
            .filter_map(|entry| {
                let offered = entry.platform.as_ref()?.platform();
                Some((wanted.rank(&offered)?, entry))
            })
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| entry)
            .ok_or_else(|| ImageError::NoPlatform {
                wanted: wanted.clone(),
            })
    }
}

/// Reads a JSON object into a struct, and nothing else: serde would take a list as well.
pub(crate) fn parse_object<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde::de::Error::custom("a list where an object is wanted"));
    }
    serde_json::from_slice(bytes)
}

/// Reads `null` as the default.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
