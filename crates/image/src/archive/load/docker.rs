//! `manifest.json`: which configuration and which layer files make which image.

use serde::Deserialize;
use types::{Digest, Reference};

use super::super::ArchiveError;
use super::files::Files;
use super::{DOCKER_MANIFEST, Documents, Found, MAX_IMAGES};
use crate::compression::Compression;
use crate::config::{ImageConfig, MAX_CONFIG_BYTES};
use crate::error::ImageError;
use crate::manifest::{Layer, MAX_MANIFEST_BYTES, media_type, or_default};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    #[serde(default, deserialize_with = "or_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<String>,
}

pub(super) fn images(files: &Files) -> Result<Vec<Found>, ImageError> {
    let bytes = files.document(DOCKER_MANIFEST, MAX_MANIFEST_BYTES)?;
    let images: Vec<Image> =
        serde_json::from_slice(&bytes).map_err(|source| ArchiveError::Document {
            name: DOCKER_MANIFEST.to_owned(),
            source,
        })?;
    if images.len() > MAX_IMAGES {
        return Err(ArchiveError::TooMany {
            what: "images",
            limit: MAX_IMAGES,
        }
        .into());
    }
    let mut documents = Documents::default();
    let checked = images.iter().map(|image| {
        let found = check(files, image)?;
        documents.add(&found)?;
        Ok(found)
    });
    checked.collect()
}

fn check(files: &Files, image: &Image) -> Result<Found, ImageError> {
    let config = ImageConfig::parse(files.document(&image.config, MAX_CONFIG_BYTES)?)?;
    let diff_ids = config.diff_ids();
    if diff_ids.len() != image.layers.len() {
        let (expected, actual) = (diff_ids.len(), image.layers.len());
        return Err(ArchiveError::LayerCount { expected, actual }.into());
    }
    let named = image.layers.iter().zip(diff_ids).enumerate();
    let layers = named
        .map(|(index, (name, diff_id))| Ok((layer(files, index, name, *diff_id)?, name.clone())))
        .collect::<Result<Vec<_>, ImageError>>()?;
    let refs = image
        .repo_tags
        .iter()
        .map(|tag| parse_tag(tag))
        .collect::<Result<_, _>>()?;
    Found::with_manifest(refs, config, layers)
}

fn parse_tag(tag: &str) -> Result<Reference, ArchiveError> {
    Reference::parse_normalized(tag)
        .map(Reference::with_default_tag)
        .map_err(|source| ArchiveError::Tag {
            tag: tag.to_owned(),
            source,
        })
}

fn layer(files: &Files, index: usize, name: &str, diff_id: Digest) -> Result<Layer, ImageError> {
    let facts = files.facts(name)?;
    let media_type = match facts.compression {
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        // The specification has no names for xz and bzip2; readers tell by the first bytes.
        Compression::Plain | Compression::Xz | Compression::Bzip2 => media_type::OCI_LAYER,
    };
    if facts.compression == Compression::Plain && facts.digest != diff_id {
        let (expected, actual) = (diff_id, facts.digest);
        return Err(ArchiveError::DiffId {
            index,
            expected,
            actual,
        }
        .into());
    }
    let media_type = media_type.to_owned();
    Ok(Layer {
        digest: facts.digest,
        size: facts.size,
        media_type,
        diff_id,
    })
}
