//! `index.json`: an OCI layout in a tar file.

use types::{Digest, Platform, Reference};

use super::super::{ArchiveError, Loaded};
use super::files::Files;
use super::{Documents, Found, MAX_IMAGES, OCI_INDEX};
use crate::config::{ImageConfig, MAX_CONFIG_BYTES};
use crate::error::ImageError;
use crate::manifest::{self, Descriptor, Document, Index, MAX_MANIFEST_BYTES, ManifestError};

/// The full name, as containerd and docker write it.
const NAME: &str = "io.containerd.image.name";
/// A name or only a tag, as everyone writes it.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The most indexes within indexes.
const MAX_DEPTH: usize = 4;

pub(super) fn images(files: &Files, wanted: &[Platform]) -> Result<Vec<Found>, ImageError> {
    let bytes = files.document(OCI_INDEX, MAX_MANIFEST_BYTES)?;
    let Document::Index(index) = manifest::parse(&bytes, None)? else {
        let reason = "index.json is not an index".to_owned();
        return Err(ManifestError::Form { reason }.into());
    };
    let mut images: Vec<Found> = Vec::new();
    let mut documents = Documents::default();
    for entry in &index.manifests {
        let name = name(entry)?;
        // One entry for each tag: the same image again adds only its name.
        let known = images
            .iter_mut()
            .find(|image| image.loaded.manifest.digest == entry.digest);
        let image = match known {
            Some(image) => image,
            None => {
                if images.len() == MAX_IMAGES {
                    return Err(ArchiveError::TooMany {
                        what: "images",
                        limit: MAX_IMAGES,
                    }
                    .into());
                }
                let found = check(files, entry.clone(), wanted)?;
                documents.add(&found)?;
                images.push(found);
                let last = images.len() - 1;
                &mut images[last]
            }
        };
        image.loaded.refs.extend(name);
    }
    if images.is_empty() {
        return Err(ArchiveError::NoImage.into());
    }
    Ok(images)
}

/// The image's name. A word alone is a tag, not a name: nobody says of what.
fn name(entry: &Descriptor) -> Result<Option<Reference>, ArchiveError> {
    let full = entry.annotations.get(NAME);
    let short = entry
        .annotations
        .get(REF_NAME)
        .filter(|text| text.contains(['/', ':']));
    let Some(text) = full.or(short) else {
        return Ok(None);
    };
    Reference::parse_normalized(text)
        .map(|reference| Some(reference.with_default_tag()))
        .map_err(|source| ArchiveError::Tag {
            tag: text.clone(),
            source,
        })
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A small blob whose digest is right.
fn document(files: &Files, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageError> {
    let bytes = files.document(&blob_name(digest), limit)?;
    let actual = Digest::sha256(&bytes);
    if actual != *digest {
        return Err(ImageError::DigestMismatch {
            expected: *digest,
            actual,
        });
    }
    Ok(bytes)
}

fn check(files: &Files, entry: Descriptor, wanted: &[Platform]) -> Result<Found, ImageError> {
    let mut entry = entry;
    for _ in 0..MAX_DEPTH {
        let bytes = document(files, &entry.digest, MAX_MANIFEST_BYTES)?;
        match manifest::parse(&bytes, Some(&entry.media_type))? {
            Document::Manifest(manifest) => return found(files, entry, bytes, manifest),
            Document::Index(index) => entry = choose(files, &index, wanted)?,
        }
    }
    Err(ManifestError::Form {
        reason: "indexes within indexes".to_owned(),
    }
    .into())
}

/// The first of the wanted platforms that there is. Without a wish the host's platform, or whatever there is: an archive
/// was made with a purpose.
fn choose(files: &Files, index: &Index, wanted: &[Platform]) -> Result<Descriptor, ImageError> {
    if let Some(entry) = wanted.iter().find_map(|wanted| index.select(wanted).ok()) {
        return Ok(entry.clone());
    }
    match index.select(wanted.first().unwrap_or(&Platform::host())) {
        Ok(entry) => Ok(entry.clone()),
        Err(error) if !wanted.is_empty() => Err(error),
        Err(error) => {
            let mut there = index.manifests.iter().filter(|entry| {
                let real = entry.platform.as_ref().is_none_or(|p| p.os != "unknown");
                real && files.contains(&blob_name(&entry.digest))
            });
            there.next().cloned().ok_or(error)
        }
    }
}

fn found(
    files: &Files,
    entry: Descriptor,
    manifest_bytes: Vec<u8>,
    manifest: manifest::Manifest,
) -> Result<Found, ImageError> {
    manifest.check_image()?;
    let config = ImageConfig::parse(document(files, &manifest.config.digest, MAX_CONFIG_BYTES)?)?;
    let layers = manifest.layers_with(config.diff_ids())?;
    let mut names = Vec::with_capacity(layers.len());
    for layer in &layers {
        let name = blob_name(&layer.digest);
        let facts = files.facts(&name)?;
        if facts.digest != layer.digest {
            let (expected, actual) = (layer.digest, facts.digest);
            return Err(ImageError::DigestMismatch { expected, actual });
        }
        if facts.size != layer.size {
            let (digest, expected, actual) = (layer.digest, layer.size, facts.size);
            return Err(ImageError::SizeMismatch {
                digest,
                expected,
                actual,
            });
        }
        names.push(name);
    }
    let descriptor = Descriptor {
        media_type: manifest.media_type,
        digest: entry.digest,
        size: manifest_bytes.len() as u64,
        annotations: Default::default(),
        platform: None,
    };
    let loaded = Loaded {
        refs: Vec::new(),
        manifest: descriptor,
        config,
        layers,
    };
    Ok(Found {
        loaded,
        manifest_bytes,
        layers: names,
    })
}
