//! A tar stream becomes a layer.

mod content;
mod folders;
mod links;
mod path;
mod pump;
mod writing;

use std::io::Read;

use types::Digest;

use crate::{LayerStore, SnapshotError};

/// How much one layer may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed archive.
    pub stream: u64,
    /// Entries of all kinds.
    pub entries: u64,
    /// Folders, for whose times memory is held to the end.
    pub folders: u64,
    /// Bytes of that memory that the archive decides: the folders' paths and inherited access lists.
    pub folder_bytes: u64,
    /// Devices and fifos.
    pub devices: u64,
    /// Bytes of files of the layers below that hard links have copied into this one. A link costs its archive almost
    /// nothing, and each may ask for a copy of its own by removing the folder of the one before.
    pub copied: u64,
}

impl Default for Limits {
    /// Far above any real layer, and far below what exhausts a host.
    fn default() -> Self {
        Self {
            stream: 4 << 40,
            entries: 16_000_000,
            folders: 2_000_000,
            folder_bytes: 64 << 20,
            devices: 100_000,
            copied: 32 << 30,
        }
    }
}

/// What came of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all regular files, as image sizes are told.
    pub size: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
}

impl LayerStore {
    /// Unpacks the uncompressed archive `tar` as layer `number`, which appears whole or not at all.
    ///
    /// `parents` (top first) are looked at for folders that the archive implies without having them, and for targets
    /// of hard links. The whole stream is read, trailing bytes included, so that `expected` can be compared.
    /// Nothing is synced: see [`LayerStore::sync`].
    ///
    /// # Errors
    /// By name of the entry at fault. Nothing stays behind.
    pub fn unpack(
        &self,
        number: u64,
        parents: &[u64],
        tar: &mut dyn Read,
        expected: Option<&Digest>,
        limits: &Limits,
    ) -> Result<Unpacked, SnapshotError> {
        let parents = parents
            .iter()
            .map(|&parent| self.content(parent))
            .collect::<Result<Vec<_>, _>>()?;
        let (name, content) = self.begin(number)?;
        let unpacked = pump::run(tar, limits.stream, |stream| {
            writing::write_entries(number, content, parents, stream, limits)
        });
        let finished = unpacked.and_then(|((size, entries), diff_id)| {
            if let Some(&expected) = expected.filter(|&expected| *expected != diff_id) {
                return Err(SnapshotError::WrongDigest {
                    expected,
                    found: diff_id,
                });
            }
            let unpacked = Unpacked {
                size,
                entries,
                diff_id,
            };
            self.finish(&name, number, &unpacked)?;
            Ok(unpacked)
        });
        if finished.is_err()
            && let Err(fault) = self.clear(&name)
        {
            // The first fault is the one to tell; recovery clears what stays.
            tracing::warn!(layer = number, %fault, "a layer that failed is left in part");
        }
        finished
    }
}
