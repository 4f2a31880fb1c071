//! The image that every engine has: its only file is the running program.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use image::manifest::{Manifest, media_type};
use image::{Descriptor, ImageError};
use serde::{Deserialize, Serialize};
use types::{Digest, Platform};

use super::index::{BlobDoc, Image, Lease, Target};
use super::layers;
use crate::clock;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::store::{Durability, ImageRow, rows, schema};

/// Its names.
pub(super) const NAMES: [&str; 2] = [
    "docker.io/wharf/isolation:latest",
    "docker.io/library/wharf:latest",
];
/// The file's name in it.
const NAME: &str = "wharf";
/// The program's file; it stays the same when a newer file takes its path.
const PROGRAM: &str = "/proc/self/exe";
/// Where the digest of the last program is remembered.
const KEY: &str = "built-in";
const BLOCK: u64 = 512;
/// What files take on a disk is a multiple of this, nearly everywhere.
const DISK_BLOCK: u64 = 4096;

/// What was made of which program, so that it is not read again at every start.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Remembered {
    device: u64,
    inode: u64,
    size: u64,
    modified: i64,
    diff_id: Digest,
}

impl Engine {
    /// Makes the image's row, unless it is there for this very program. Its layer is unpacked at first use.
    pub(crate) async fn ensure_built_in(&self) -> Result<()> {
        let remembered = self
            .store()
            .read(|connection| schema::meta(connection, KEY))
            .await?;
        let remembered: Option<Remembered> =
            remembered.and_then(|text| serde_json::from_str(&text).ok());
        let (known, fresh) = self
            .blocking("built-in image", move |_| remember(remembered))
            .await?;
        let image = Image::parse(Image::document(
            configuration(&known.diff_id, known.modified)?,
            None,
            Vec::new(),
            true,
        ))?;
        self.images().write().program = known.size.next_multiple_of(DISK_BLOCK);
        let target = Target {
            image: image.id,
            remote: None,
        };
        let complete = {
            let state = self.images().read();
            !fresh
                && state.images.contains_key(&image.id)
                && NAMES
                    .iter()
                    .any(|name| state.names.get(*name) == Some(&target))
        };
        if complete {
            return Ok(());
        }
        let former: Vec<Digest> = self
            .images()
            .read()
            .images
            .values()
            .filter(|old| old.doc.built_in && old.id != image.id)
            .map(|old| old.id)
            .collect();
        let used = self.images_of_containers();
        let former: Vec<Digest> = former
            .into_iter()
            .filter(|id| !used.contains(&id.to_string()))
            .collect();
        let (row, key, gone) = (
            image.row()?,
            rows::to_json("the built-in image", &known)?,
            former.clone(),
        );
        let id = image.id.to_string();
        self.commit(Durability::Kill, Vec::new(), move |connection| {
            gone.iter()
                .try_for_each(|old| ImageRow::delete(connection, &old.to_string()))?;
            row.put(connection)?;
            NAMES
                .iter()
                .try_for_each(|name| rows::refs::put(connection, name, &id, ""))?;
            schema::set_meta(connection, KEY, &key)
        })
        .await?;
        {
            let mut state = self.images().write();
            former.iter().for_each(|old| {
                state.images.remove(old);
            });
            state.images.insert(image.id, Arc::new(image));
            for name in NAMES {
                state.names.insert(name.to_owned(), target);
            }
        }
        self.collect_layers().await
    }

    pub(crate) async fn unpack_built_in(&self, image: &Arc<Image>) -> Result<()> {
        let mut lease = Lease::new(self.images());
        for (chain, diff) in image.chains.iter().zip(image.parsed.diff_ids()) {
            lease.add(*chain);
            self.ensure_layer(*chain, &[], *diff, *diff, || {
                archive(PROGRAM.as_ref()).map(|archive| Box::new(archive) as Box<dyn Read + Send>)
            })
            .await?;
        }
        Ok(())
    }

    /// Makes the blobs of a built-in image that is unpacked, which nobody keeps: its manifest, and its layers with their
    /// digests. They are there as long as the lease. Blocks.
    pub(super) fn built_in_blobs(
        &self,
        image: &Image,
        lease: &mut Lease,
    ) -> Result<(Digest, Vec<BlobDoc>)> {
        let content = &self.inner().content;
        let mut group = vec![content.stage(image.doc.config.as_bytes())?];
        let mut layers = Vec::new();
        for (chain, diff) in image.chains.iter().zip(image.parsed.diff_ids()) {
            let number = self.layer(chain).ok_or_else(|| layers::missing(chain))?;
            // An older program's image has it there alone.
            let program = self.inner().layers.layer_path(number).join(NAME);
            let mut writer = content.writer(None, false)?;
            std::io::copy(&mut archive(&program)?, &mut writer)
                .map_err(EngineError::io("write the program's archive"))?;
            let staged = writer.finish()?;
            if staged.digest() != *diff {
                return Err(EngineError::conflict(format!(
                    "the program in {} is not the one that image {} was made of",
                    program.display(),
                    image.id
                )));
            }
            layers.push(BlobDoc {
                media_type: media_type::OCI_LAYER.to_owned(),
                digest: staged.digest(),
                size: staged.size(),
            });
            group.push(staged);
        }
        let manifest = manifest(image, &layers)
            .to_json()
            .map_err(ImageError::from)?;
        let manifest = content.stage(&manifest)?;
        let digest = manifest.digest();
        group.push(manifest);
        lease.add_blobs(group.iter().map(|staged| staged.digest()));
        content.commit(group)?;
        Ok((digest, layers))
    }
}

/// A manifest for an image that came without one.
pub(super) fn manifest(image: &Image, layers: &[BlobDoc]) -> Manifest {
    let descriptor = |media_type: &str, digest: Digest, size: u64| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        annotations: BTreeMap::new(),
        platform: None,
    };
    let config = image.doc.config.len() as u64;
    Manifest {
        media_type: media_type::OCI_MANIFEST.to_owned(),
        config: descriptor(media_type::OCI_CONFIG, image.id, config),
        layers: layers
            .iter()
            .map(|layer| descriptor(&layer.media_type, layer.digest, layer.size))
            .collect(),
    }
}

/// The remembered digest if the program is still the same, else the digest of this program's archive, and whether it
/// is new.
fn remember(remembered: Option<Remembered>) -> Result<(Remembered, bool)> {
    let facts =
        std::fs::metadata(PROGRAM).map_err(EngineError::io("look at the running program"))?;
    let (device, inode, size, modified) = (facts.dev(), facts.ino(), facts.size(), facts.mtime());
    if let Some(known) = remembered
        && (known.device, known.inode, known.size, known.modified)
            == (device, inode, size, modified)
    {
        return Ok((known, false));
    }
    let mut hasher = types::Hasher::new();
    let mut archive = archive(PROGRAM.as_ref())?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match archive
            .read(&mut buffer)
            .map_err(EngineError::io("read the running program"))?
        {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok((
        Remembered {
            device,
            inode,
            size,
            modified,
            diff_id: hasher.finish(),
        },
        true,
    ))
}

/// The layer: a ustar archive of one file, which is the program.
fn archive(program: &Path) -> Result<impl Read + Send + use<>> {
    let file = File::open(program).map_err(EngineError::io("open the running program"))?;
    let size = file
        .metadata()
        .map_err(EngineError::io("look at the running program"))?
        .len();
    let padding = (BLOCK - size % BLOCK) % BLOCK;
    // Two empty blocks end an archive.
    let end = vec![0; usize::try_from(padding + 2 * BLOCK).unwrap_or_default()];
    Ok(Cursor::new(header(size))
        .chain(file.take(size))
        .chain(Cursor::new(end)))
}

/// A ustar header (POSIX.1-1988) for `/wharf`, executable, owned by root, of no particular time.
fn header(size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, NAME);
    put(100, "0000755");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// `built` is the time of the program's file, in seconds since 1970.
fn configuration(diff_id: &Digest, built: i64) -> Result<String> {
    let platform = Platform::host();
    let config = serde_json::json!({
        "architecture": platform.architecture(),
        "os": platform.os(),
        "created": clock::rfc3339(built.saturating_mul(1_000_000_000)),
        "config": {
            "Env": [runtime::defaults::PATH],
            "Entrypoint": ["/wharf", "isolation"],
            "Labels": BTreeMap::from([("org.opencontainers.image.title", "wharf isolation report")]),
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]},
        "history": [{"created_by": "wharf", "comment": "the running program"}],
    });
    rows::to_json("the built-in image", &config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_one_executable_file() {
        let mut bytes = Vec::new();
        archive(PROGRAM.as_ref())
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes.len() % 512, 0);
        let size = std::fs::metadata(PROGRAM).unwrap().len();
        assert_eq!(&bytes[..5], b"wharf");
        assert_eq!(
            u64::from_str_radix(std::str::from_utf8(&bytes[124..135]).unwrap(), 8).unwrap(),
            size
        );
        let mut header = bytes[..512].to_vec();
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        assert_eq!(
            format!("{sum:06o}"),
            std::str::from_utf8(&bytes[148..154]).unwrap()
        );
    }

    #[test]
    fn the_configuration_is_one() {
        let image = Image::parse(Image::document(
            configuration(&Digest::sha256(b"x"), 1).unwrap(),
            None,
            Vec::new(),
            true,
        ))
        .unwrap();
        assert_eq!(
            image.config.entrypoint.as_deref().unwrap(),
            ["/wharf", "isolation"]
        );
        assert_eq!(image.chains.len(), 1);
    }
}
