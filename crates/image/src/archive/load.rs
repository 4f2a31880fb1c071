//! Reading archives, of docker's form (old and new) and of OCI's.
//!
//! The archive is read once, front to back, since it comes through a pipe. What may be needed
//! is set aside: large files as unnamed files of the content store, which need no second copy
//! to become blobs and vanish by themselves if the archive turns out to be bad; small ones in
//! memory.

mod docker;
mod files;
mod oci;

use std::collections::HashSet;
use std::io::Read;

use types::{Digest, Platform};

use super::tar::TarReader;
use super::{ArchiveError, Loaded};
use crate::compression::{self, PacedBy};
use crate::error::ImageError;
use crate::manifest::{Descriptor, Layer, Manifest, media_type};
use crate::store::{BlobReader, ContentStore, Staged};
use files::Files;

const DOCKER_MANIFEST: &str = "manifest.json";
const OCI_INDEX: &str = "index.json";
/// The most images of one archive.
const MAX_IMAGES: usize = 1024;

/// The most bytes of the images' configurations and manifests together. Many images may name one
/// large file of the archive, and each holds what it says.
const DOCUMENTS: usize = 64 << 20;

/// How to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Takes only images for one of these platforms, and fails if there is none; any if empty.
    pub platforms: Vec<Platform>,
    /// The most bytes of the uncompressed archive.
    pub limit: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            platforms: Vec::new(),
            limit: 1 << 42,
        }
    }
}

/// Images of an archive that have been read and checked and can be unpacked, but whose blobs
/// are not in the store yet. Dropping this leaves nothing of them.
#[derive(Debug)]
pub struct Pending {
    images: Vec<Loaded>,
    group: Vec<Staged>,
    store: ContentStore,
}

impl Pending {
    /// The images, in the archive's order.
    pub fn images(&self) -> &[Loaded] {
        &self.images
    }

    /// A layer's blob.
    ///
    /// # Errors
    /// [`ImageError::BlobMissing`] if it was in the store before and has been removed since.
    pub fn content(&self, layer: &Layer) -> Result<BlobReader, ImageError> {
        let staged = self
            .group
            .iter()
            .find(|staged| staged.digest() == layer.digest);
        staged.map_or_else(
            || self.store.blob(&layer.digest),
            |staged| Ok(staged.reader()),
        )
    }

    /// Puts the blobs of all images to disk and makes them visible together. The disk has been
    /// at work since they were read, so the later this is called, the less there is to wait for.
    ///
    /// # Errors
    /// [`ImageError::Store`]; then nothing of the archive is left on disk.
    pub fn commit(self) -> Result<Vec<Loaded>, ImageError> {
        self.store.commit(self.group)?;
        Ok(self.images)
    }
}

/// Reads all images of an archive into the store: [`read`] and [`Pending::commit`].
///
/// # Errors
/// As these; nothing of the archive is left on disk then.
pub fn load<R: Read + Send>(
    reader: R,
    store: &ContentStore,
    options: &LoadOptions,
    needs: impl FnMut(Digest),
) -> Result<Vec<Loaded>, ImageError> {
    read(reader, store, options, needs)?.commit()
}

/// Reads all images of an archive (plain, or compressed by gzip, zstd, xz or bzip2) and checks them.
///
/// Compressed layers are compared with the configuration's digests only when they are
/// unpacked. Blocks; not to be called from an asynchronous task.
///
/// `needs` hears of each blob of the images before the store is asked whether it is there; from
/// then on nobody may remove it.
///
/// # Errors
/// [`ImageError`]; then nothing of the archive is left on disk.
pub fn read<R: Read + Send>(
    reader: R,
    store: &ContentStore,
    options: &LoadOptions,
    needs: impl FnMut(Digest),
) -> Result<Pending, ImageError> {
    let (plain, _) = compression::reader(reader, options.limit, PacedBy::Client)
        .map_err(|source| ArchiveError::Read { source })?;
    let mut files = Files::read(&mut TarReader::new(plain), store)?;
    let mut images = if files.contains(DOCKER_MANIFEST) {
        docker::images(&files)?
    } else if files.contains(OCI_INDEX) {
        oci::images(&files, &options.platforms)?
    } else {
        return Err(ArchiveError::NoImage.into());
    };
    if !options.platforms.is_empty() {
        images.retain(|image| {
            let actual = image.loaded.config.platform();
            options
                .platforms
                .iter()
                .any(|wanted| wanted.matches(&actual))
        });
        if images.is_empty() {
            return Err(ArchiveError::NoPlatform {
                wanted: options.platforms.clone(),
            }
            .into());
        }
    }
    images.iter().flat_map(Found::blobs).for_each(needs);
    let group = group(&mut files, &images, store)?;
    let images = images.into_iter().map(|image| image.loaded).collect();
    let store = store.clone();
    Ok(Pending {
        images,
        group,
        store,
    })
}

/// An image that has been checked, with what is to be kept for it.
struct Found {
    loaded: Loaded,
    manifest_bytes: Vec<u8>,
    /// Files of the archive that become blobs.
    layers: Vec<String>,
}

impl Found {
    /// Configuration, manifest and layers.
    fn blobs(&self) -> impl Iterator<Item = Digest> {
        let layers = self.loaded.layers.iter().map(|layer| layer.digest);
        let own = [self.loaded.config.digest(), self.loaded.manifest.digest];
        own.into_iter().chain(layers)
    }

    /// Makes the manifest of an image that came without one.
    fn with_manifest(
        refs: Vec<types::Reference>,
        config: crate::config::ImageConfig,
        layers: Vec<(Layer, String)>,
    ) -> Result<Found, ImageError> {
        let plain = |kind: &str, digest: Digest, size: u64| Descriptor {
            media_type: kind.to_owned(),
            digest,
            size,
            annotations: Default::default(),
            platform: None,
        };
        let manifest = Manifest {
            media_type: media_type::OCI_MANIFEST.to_owned(),
            config: plain(
                media_type::OCI_CONFIG,
                config.digest(),
                config.raw().len() as u64,
            ),
            layers: layers
                .iter()
                .map(|(l, _)| plain(&l.media_type, l.digest, l.size))
                .collect(),
        };
        let bytes = manifest.to_json()?;
        let size = bytes.len() as u64;
        let descriptor = plain(&manifest.media_type, Digest::sha256(&bytes), size);
        let (layers, names) = layers.into_iter().unzip();
        let loaded = Loaded {
            refs,
            manifest: descriptor,
            config,
            layers,
        };
        Ok(Found {
            loaded,
            manifest_bytes: bytes,
            layers: names,
        })
    }
}

/// Counts what the documents of an archive's images take in memory.
#[derive(Default)]
struct Documents {
    bytes: usize,
}

impl Documents {
    /// # Errors
    /// [`ArchiveError::TooMany`].
    fn add(&mut self, image: &Found) -> Result<(), ArchiveError> {
        let config = &image.loaded.config;
        // Of all that a configuration lists, an empty step takes the most for its bytes.
        let history = config.document().history.len() * size_of::<crate::config::HistoryEntry>();
        self.bytes += config.raw().len() + history + image.manifest_bytes.len();
        if self.bytes > DOCUMENTS {
            return Err(ArchiveError::TooMany {
                what: "bytes of configurations and manifests",
                limit: DOCUMENTS,
            });
        }
        Ok(())
    }
}

/// Everything of the images that the store does not have.
fn group(
    files: &mut Files,
    images: &[Found],
    store: &ContentStore,
) -> Result<Vec<Staged>, ImageError> {
    let mut group = Vec::new();
    let mut known = HashSet::new();
    let mut stage = |digest: Digest, bytes: &[u8]| {
        if known.insert(digest) && !store.contains(&digest) {
            group.push(store.stage(bytes)?);
        }
        Ok::<(), ImageError>(())
    };
    for image in images {
        let loaded = &image.loaded;
        stage(loaded.config.digest(), loaded.config.raw())?;
        stage(loaded.manifest.digest, &image.manifest_bytes)?;
    }
    let layers = images
        .iter()
        .flat_map(|image| image.loaded.layers.iter().zip(&image.layers));
    for (layer, name) in layers {
        // Several images, or several places of one, may have the same layer.
        if known.insert(layer.digest)
            && let Some(staged) = files.take(name, store)?
            && !store.contains(&layer.digest)
        {
            group.push(staged);
        }
    }
    Ok(group)
}
