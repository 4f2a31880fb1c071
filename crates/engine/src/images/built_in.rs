//! The image that every engine has: its only file is the running program.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use types::{Digest, Platform};

use super::index::{Image, Target};
use crate::clock;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::store::{Durability, ImageRow, rows, schema};

/// Its names.
const NAMES: [&str; 2] = [
    "docker.io/wharf/isolation:latest",
    "docker.io/library/wharf:latest",
];
/// The program's file; it stays the same when a newer file takes its path.
const PROGRAM: &str = "/proc/self/exe";
/// Where the digest of the last program is remembered.
const KEY: &str = "built-in";
const BLOCK: u64 = 512;

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
        let mut lease = super::index::Lease::new(self.images());
        for (chain, diff) in image.chains.iter().zip(image.parsed.diff_ids()) {
            lease.add(*chain);
            self.ensure_layer(*chain, &[], *diff, || {
                archive().map(|archive| Box::new(archive) as Box<dyn Read + Send>)
            })
            .await?;
        }
        Ok(())
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
    let mut archive = archive()?;
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

/// The layer: a ustar archive of one file.
fn archive() -> Result<impl Read + Send + use<>> {
    let file = File::open(PROGRAM).map_err(EngineError::io("open the running program"))?;
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
    put(0, "wharf");
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
        archive().unwrap().read_to_end(&mut bytes).unwrap();
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
