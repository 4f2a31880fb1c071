//! Reading archives, of docker's form (old and new) and of OCI's.
//!
//! The archive is read once, front to back, since it comes through a pipe. What may be needed
//! is set aside: large files as unnamed files of the content store, which need no second copy
//! to become blobs and vanish by themselves if the archive turns out to be bad; small ones in
//! memory.

mod docker;
mod files;
mod oci;

use std::io::Read;

use types::{Digest, Platform};

use super::tar::TarReader;
use super::{ArchiveError, Loaded};
use crate::compression;
use crate::error::ImageError;
use crate::manifest::{Descriptor, Manifest, media_type};
use crate::store::ContentStore;
use files::Files;

const DOCKER_MANIFEST: &str = "manifest.json";
const OCI_INDEX: &str = "index.json";
/// The most images of one archive.
const MAX_IMAGES: usize = 1024;

/// How to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Takes only images for this platform, and fails if there is none.
    pub platform: Option<Platform>,
    /// The most bytes of the uncompressed archive.
    pub limit: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            platform: None,
            limit: 1 << 42,
        }
    }
}

/// Reads all images of an archive (plain, or compressed by gzip or zstd) into the store.
///
/// All or nothing: the blobs of all images become visible together, after all of the archive
/// has been checked. Compressed layers are compared with the configuration's digests only
/// when they are unpacked. Blocks; not to be called from an asynchronous task.
///
/// # Errors
/// [`ImageError`]; then nothing of the archive is left on disk.
pub fn load<R: Read + Send>(
    reader: R,
    store: &ContentStore,
    options: &LoadOptions,
) -> Result<Vec<Loaded>, ImageError> {
    let (plain, _) = compression::reader(reader, options.limit)
        .map_err(|source| ArchiveError::Read { source })?;
    let mut files = Files::read(&mut TarReader::new(plain), store)?;
    let mut images = if files.contains(DOCKER_MANIFEST) {
        docker::images(&files)?
    } else if files.contains(OCI_INDEX) {
        oci::images(&files, options.platform.as_ref())?
    } else {
        return Err(ArchiveError::NoImage.into());
    };
    if let Some(wanted) = &options.platform {
        images.retain(|image| wanted.matches(&image.loaded.config.platform()));
        if images.is_empty() {
            return Err(ImageError::NoPlatform {
                wanted: wanted.clone(),
            });
        }
    }
    commit(&mut files, &images, store)?;
    Ok(images.into_iter().map(|image| image.loaded).collect())
}

/// An image that has been checked, with what is to be kept for it.
struct Found {
    loaded: Loaded,
    manifest_bytes: Vec<u8>,
    /// Files of the archive that become blobs.
    layers: Vec<String>,
}

impl Found {
    /// Makes the manifest of an image that came without one.
    fn with_manifest(
        refs: Vec<types::Reference>,
        config: crate::config::ImageConfig,
        layers: Vec<(crate::manifest::Layer, String)>,
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

fn commit(files: &mut Files, images: &[Found], store: &ContentStore) -> Result<(), ImageError> {
    let mut group = Vec::new();
    let mut stage = |bytes: &[u8]| {
        if !store.contains(&Digest::sha256(bytes)) {
            group.push(store.stage(bytes)?);
        }
        Ok::<(), ImageError>(())
    };
    for image in images {
        stage(image.loaded.config.raw())?;
        stage(&image.manifest_bytes)?;
    }
    for name in images.iter().flat_map(|image| &image.layers) {
        // A layer that several images share has been taken by the first.
        if let Some(staged) = files.take(name, store)?
            && !store.contains(&staged.digest())
        {
            group.push(staged);
        }
    }
    store.commit(group)
}
