//! Writing archives that are docker's and OCI's at the same time.
//!
//! ```text
//! oci-layout  index.json       what OCI's tools read
//! manifest.json  repositories  what docker's tools read
//! blobs/sha256/HEX             what both name
//! ```
//!
//! Layers are written as they are stored, so that their digests and the manifest's stay. The
//! exception is Zstandard, which docker before version 23 cannot read: such layers are written
//! uncompressed, under a manifest made for the occasion.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::Serialize;
use types::{Digest, Reference};

use super::ArchiveError;
use super::tar::TarWriter;
use crate::compression::{self, Compression, PacedBy, Room};
use crate::config::{ImageConfig, MAX_CONFIG_BYTES};
use crate::error::ImageError;
use crate::manifest::{Descriptor, Layer, MAX_MANIFEST_BYTES, Manifest, media_type};
use crate::pace::{Paced, Patient};
use crate::store::ContentStore;

/// Far above any layer; the digest decides whether the content is right.
const LAYER_LIMIT: u64 = 1 << 42;

/// An image to be saved, all of whose blobs are in the content store.
#[derive(Debug, Clone)]
pub struct SaveImage {
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Digest,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// The names that it shall have in the archive; those without a tag are passed over.
    pub refs: Vec<Reference>,
}

/// Where the bytes of an archive's blob come from.
enum Source {
    Bytes(Vec<u8>),
    Stored(Digest),
    /// A compressed blob that is written uncompressed.
    Unpacked(Digest),
}

struct Blob {
    source: Source,
    size: u64,
}

/// An image as the archive has it.
struct Planned {
    manifest: Descriptor,
    config: ImageConfig,
    layers: Vec<Descriptor>,
    /// Full name, familiar name, tag.
    names: Vec<(String, String, String)>,
}

/// Writes images into one tar stream. Everything is looked up before the first byte is
/// written. Blocks; not to be called from an asynchronous task.
///
/// # Errors
/// [`ImageError::BlobMissing`] if a blob is not in the store; [`ArchiveError::Write`] if the
/// writer fails.
pub fn save<W: Write>(
    writer: W,
    store: &ContentStore,
    images: &[SaveImage],
) -> Result<(), ImageError> {
    let mut blobs = BTreeMap::new();
    let planned = images
        .iter()
        .map(|image| plan(store, image, &mut blobs))
        .collect::<Result<Vec<_>, _>>()?;
    let documents = [
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json", json(&oci_index(&planned))?),
        ("manifest.json", json(&docker_manifest(&planned))?),
        ("repositories", json(&repositories(&planned))?),
    ];
    let write = |source| ArchiveError::Write { source };
    // While a layer with a large window is written, others may wait for that.
    let room = Cell::new(None::<&'static Room>);
    let wanted = || room.get().is_some_and(Room::is_wanted);
    let mut tar = TarWriter::new(Patient(Paced::new(writer, wanted)));
    for (name, bytes) in documents {
        tar.file(name, &bytes).map_err(write)?;
    }
    tar.folder("blobs/").map_err(write)?;
    tar.folder("blobs/sha256/").map_err(write)?;
    for (digest, blob) in &blobs {
        let name = path(digest);
        let mut content: Box<dyn Read + '_> = match &blob.source {
            Source::Bytes(bytes) => Box::new(&bytes[..]),
            Source::Stored(digest) => Box::new(store.blob(digest)?),
            Source::Unpacked(digest) => {
                let (content, taken) = unpacked(store, digest, PacedBy::Client)?;
                room.set(taken);
                content
            }
        };
        tar.stream(&name, blob.size, &mut content).map_err(write)?;
        room.set(None);
    }
    tar.finish().map_err(write)?;
    Ok(())
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// An uncompressed layer, and the room for a large window that reading it takes, if it does.
fn unpacked(
    store: &ContentStore,
    digest: &Digest,
    paced_by: PacedBy,
) -> Result<Unpacked, ImageError> {
    let blob = store.blob(digest)?;
    let (reader, _, room) = compression::reader_and_room(blob, LAYER_LIMIT, paced_by)
        .map_err(|source| ArchiveError::Read { source })?;
    Ok((reader, room))
}

type Unpacked = (Box<dyn Read + Send>, Option<&'static Room>);

fn plan(
    store: &ContentStore,
    image: &SaveImage,
    blobs: &mut BTreeMap<Digest, Blob>,
) -> Result<Planned, ImageError> {
    let config = ImageConfig::parse(store.read(&image.config, MAX_CONFIG_BYTES)?)?;
    let mut layers = Vec::with_capacity(image.layers.len());
    let mut changed = false;
    for (index, layer) in image.layers.iter().enumerate() {
        let (descriptor, source) = plan_layer(store, index, layer)?;
        changed |= descriptor.digest != layer.digest;
        let size = descriptor.size;
        blobs.insert(descriptor.digest, Blob { source, size });
        layers.push(descriptor);
    }
    let bytes = if changed {
        let size = config.raw().len() as u64;
        let config = descriptor(media_type::OCI_CONFIG, image.config, size);
        let media_type = media_type::OCI_MANIFEST.to_owned();
        Manifest {
            media_type,
            config,
            layers: layers.clone(),
        }
        .to_json()?
    } else {
        store.read(&image.manifest.digest, MAX_MANIFEST_BYTES)?
    };
    let kind = if changed {
        media_type::OCI_MANIFEST
    } else {
        &image.manifest.media_type
    };
    let manifest = descriptor(kind, Digest::sha256(&bytes), bytes.len() as u64);
    for (digest, bytes) in [
        (manifest.digest, bytes),
        (image.config, config.raw().to_vec()),
    ] {
        let size = bytes.len() as u64;
        blobs.insert(
            digest,
            Blob {
                source: Source::Bytes(bytes),
                size,
            },
        );
    }
    let names = image.refs.iter().filter_map(|reference| {
        let tag = reference.tag()?.to_owned();
        let name = reference.without_tag();
        Some((format!("{name}:{tag}"), name.familiar(), tag))
    });
    let names = names.collect();
    Ok(Planned {
        manifest,
        config,
        layers,
        names,
    })
}

fn plan_layer(
    store: &ContentStore,
    index: usize,
    layer: &Layer,
) -> Result<(Descriptor, Source), ImageError> {
    let mut blob = store.blob(&layer.digest)?;
    let mut start = Vec::new();
    let read = |source| ArchiveError::Read { source };
    let size = blob.size().map_err(read)?;
    blob.by_ref()
        .take(6)
        .read_to_end(&mut start)
        .map_err(read)?;
    let kind = match Compression::detect(&start) {
        Compression::Gzip => media_type::OCI_LAYER_GZIP,
        Compression::Zstd => {
            let (actual, size) = measure(unpacked(store, &layer.digest, PacedBy::Disk)?.0)?;
            if actual != layer.diff_id {
                let expected = layer.diff_id;
                return Err(ArchiveError::DiffId {
                    index,
                    expected,
                    actual,
                }
                .into());
            }
            let descriptor = descriptor(media_type::OCI_LAYER, layer.diff_id, size);
            return Ok((descriptor, Source::Unpacked(layer.digest)));
        }
        Compression::Plain | Compression::Xz | Compression::Bzip2 => media_type::OCI_LAYER,
    };
    Ok((
        descriptor(kind, layer.digest, size),
        Source::Stored(layer.digest),
    ))
}

/// The digest and length of an uncompressed layer, which its tar header must tell in advance.
fn measure(reader: impl Read) -> Result<(Digest, u64), ImageError> {
    let mut reader = types::DigestReader::new(reader);
    io::copy(&mut reader, &mut io::sink()).map_err(|source| ArchiveError::Read { source })?;
    let (_, digest, size) = reader.finish();
    Ok((digest, size))
}

fn descriptor(kind: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: kind.to_owned(),
        digest,
        size,
        annotations: BTreeMap::new(),
        platform: None,
    }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, ImageError> {
    serde_json::to_vec(value).map_err(|source| {
        ArchiveError::Document {
            name: "the archive's description".to_owned(),
            source,
        }
        .into()
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciIndex {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

/// One entry for each name, so that every tool finds every name.
fn oci_index(images: &[Planned]) -> OciIndex {
    let mut manifests = Vec::new();
    for image in images {
        let mut entry = image.manifest.clone();
        entry.platform = Some(Box::new((&image.config.platform()).into()));
        if image.names.is_empty() {
            manifests.push(entry.clone());
        }
        for (full, _, tag) in &image.names {
            entry.annotations = BTreeMap::from([
                ("io.containerd.image.name".to_owned(), full.clone()),
                ("org.opencontainers.image.ref.name".to_owned(), tag.clone()),
            ]);
            manifests.push(entry.clone());
        }
    }
    OciIndex {
        schema_version: 2,
        media_type: media_type::OCI_INDEX,
        manifests,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn docker_manifest(images: &[Planned]) -> Vec<DockerImage> {
    let one = |image: &Planned| DockerImage {
        config: path(&image.config.digest()),
        repo_tags: (!image.names.is_empty()).then(|| {
            image
                .names
                .iter()
                .map(|(_, name, tag)| format!("{name}:{tag}"))
                .collect()
        }),
        layers: image
            .layers
            .iter()
            .map(|layer| path(&layer.digest))
            .collect(),
    };
    images.iter().map(one).collect()
}

/// Name, tag, top layer: the oldest form, which some tools still list names from.
fn repositories(images: &[Planned]) -> BTreeMap<&str, BTreeMap<&str, String>> {
    let mut all: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for image in images {
        let Some(top) = image.layers.last() else {
            continue;
        };
        for (_, name, tag) in &image.names {
            all.entry(name).or_default().insert(tag, top.digest.hex());
        }
    }
    all
}
