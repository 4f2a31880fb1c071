//! What an archive holds, set aside until its documents tell what is needed.

use std::collections::HashMap;
use std::io::Read;

use types::Digest;

use super::super::ArchiveError;
use super::super::tar::{Entry, Kind, TarReader, read_fault};
use crate::compression::Compression;
use crate::error::ImageError;
use crate::store::{ContentStore, Staged};

const MAX_ENTRIES: usize = 1 << 16;
/// Files up to this size are kept in memory...
const SMALL: u64 = 256 << 10;
/// ...as long as all of them together are not larger than this.
const MEMORY: u64 = 64 << 20;
/// The most bytes of names and of what links name, which are kept as well.
const NAMES: usize = 16 << 20;
/// Each of the others holds a descriptor until the end.
const MAX_LARGE: usize = 4096;
const MAX_LINKS: usize = 16;

enum Item {
    Small {
        bytes: Vec<u8>,
        digest: Digest,
    },
    Large(Staged),
    /// The full name of another entry.
    Link(String),
    /// Was large and has become a blob.
    Taken,
}

/// A file of the archive: its digest, length and compression.
pub(super) struct FileFacts {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) compression: Compression,
}

/// The archive's files by their cleaned names.
pub(super) struct Files {
    items: HashMap<String, Item>,
}

impl Files {
    /// Reads the whole archive.
    pub(super) fn read<R: Read>(
        tar: &mut TarReader<R>,
        store: &ContentStore,
    ) -> Result<Files, ImageError> {
        let mut items = HashMap::new();
        let (mut memory, mut large, mut names) = (0, 0, 0);
        while let Some(entry) = tar.next()? {
            let Some(name) = clean(&entry.name) else {
                continue;
            };
            let item = match &entry.kind {
                Kind::Folder | Kind::Other => continue,
                Kind::Hardlink(target) => clean(target).map(Item::Link),
                Kind::Symlink(target) => resolve(&name, target).map(Item::Link),
                Kind::File if entry.size <= SMALL && memory + entry.size <= MEMORY => {
                    memory += entry.size;
                    Some(read_small(tar, &entry)?)
                }
                Kind::File => {
                    large += 1;
                    Some(Item::Large(spool(tar, store)?))
                }
            };
            names += name.len();
            if let Some(Item::Link(target)) = &item {
                names += target.len();
            }
            if names > NAMES {
                let fault = ArchiveError::TooMany {
                    what: "bytes of names",
                    limit: NAMES,
                };
                return Err(fault.into());
            }
            if items.len() == MAX_ENTRIES {
                return Err(ArchiveError::TooMany {
                    what: "entries",
                    limit: MAX_ENTRIES,
                }
                .into());
            }
            if large > MAX_LARGE {
                let fault = ArchiveError::TooMany {
                    what: "large files",
                    limit: MAX_LARGE,
                };
                return Err(fault.into());
            }
            // A link that leads out of the archive is as good as missing. A link to itself
            // would hide the file that it names: GNU tar writes such for unchanged files.
            if let Some(item) = item
                && !matches!(&item, Item::Link(target) if *target == name)
            {
                items.insert(name, item);
            }
        }
        Ok(Files { items })
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Follows links to a file.
    fn find(&self, name: &str) -> Option<(&str, &Item)> {
        let mut name = clean(name)?;
        for _ in 0..MAX_LINKS {
            match self.items.get_key_value(&name)? {
                (_, Item::Link(target)) => name.clone_from(target),
                (key, item) => return Some((key, item)),
            }
        }
        None
    }

    fn missing(name: &str) -> ImageError {
        ArchiveError::Missing {
            name: name.to_owned(),
        }
        .into()
    }

    /// A document's bytes.
    pub(super) fn document(&self, name: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let too_large = || ImageError::TooLarge {
            what: format!("{name} in the archive"),
            limit,
        };
        match self.find(name) {
            Some((_, Item::Small { bytes, .. })) if bytes.len() as u64 <= limit => {
                Ok(bytes.clone())
            }
            Some((_, Item::Large(staged))) if staged.size() <= limit => {
                let mut bytes = Vec::new();
                staged
                    .reader()
                    .read_to_end(&mut bytes)
                    .map_err(read_fault)?;
                Ok(bytes)
            }
            Some((_, Item::Small { .. } | Item::Large(_))) => Err(too_large()),
            Some((_, Item::Link(_) | Item::Taken)) | None => Err(Self::missing(name)),
        }
    }

    /// Digest, length and compression of a file.
    pub(super) fn facts(&self, name: &str) -> Result<FileFacts, ImageError> {
        match self.find(name) {
            Some((_, Item::Small { bytes, digest })) => Ok(FileFacts {
                digest: *digest,
                size: bytes.len() as u64,
                compression: Compression::detect(bytes),
            }),
            Some((_, Item::Large(staged))) => {
                let mut start = Vec::new();
                staged
                    .reader()
                    .take(6)
                    .read_to_end(&mut start)
                    .map_err(read_fault)?;
                Ok(FileFacts {
                    digest: staged.digest(),
                    size: staged.size(),
                    compression: Compression::detect(&start),
                })
            }
            Some((_, Item::Link(_) | Item::Taken)) | None => Err(Self::missing(name)),
        }
    }

    /// Takes a file out to become a blob; `None` if that has been done.
    pub(super) fn take(
        &mut self,
        name: &str,
        store: &ContentStore,
    ) -> Result<Option<Staged>, ImageError> {
        let key = match self.find(name) {
            Some((_, Item::Small { bytes, .. })) => return store.stage(bytes).map(Some),
            Some((key, _)) => key.to_owned(),
            None => return Err(Self::missing(name)),
        };
        Ok(match self.items.insert(key, Item::Taken) {
            Some(Item::Large(staged)) => Some(staged),
            _ => None,
        })
    }
}

fn read_small<R: Read>(tar: &mut TarReader<R>, entry: &Entry) -> Result<Item, ImageError> {
    let mut bytes = Vec::with_capacity(usize::try_from(entry.size).unwrap_or(0));
    tar.read_to_end(&mut bytes).map_err(read_fault)?;
    let digest = Digest::sha256(&bytes);
    Ok(Item::Small { bytes, digest })
}

fn spool<R: Read>(tar: &mut TarReader<R>, store: &ContentStore) -> Result<Staged, ImageError> {
    let mut writer = store.writer(None, false)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match tar.read(&mut buffer) {
            Ok(0) => return writer.finish(),
            Ok(read) => writer.append(&buffer[..read])?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(read_fault(source).into()),
        }
    }
}

/// A name without `./`, leading slashes and `..`; `None` if it leads out of the archive or to
/// its root.
fn clean(name: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Where a symbolic link of the entry `name` leads.
fn resolve(name: &str, target: &str) -> Option<String> {
    match name.rsplit_once('/') {
        Some((folder, _)) if !target.starts_with('/') => clean(&format!("{folder}/{target}")),
        _ => clean(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        assert_eq!(clean("./a//b/../c").as_deref(), Some("a/c"));
        assert_eq!(clean("/a").as_deref(), Some("a"));
        for outside in ["", ".", "..", "a/..", "a/../../b", "/"] {
            assert_eq!(clean(outside), None, "{outside}");
        }
        assert_eq!(
            resolve("id/layer.tar", "../other/layer.tar").as_deref(),
            Some("other/layer.tar")
        );
        assert_eq!(resolve("x", "y").as_deref(), Some("y"));
        assert_eq!(resolve("a/x", "../../y"), None);
    }
}
