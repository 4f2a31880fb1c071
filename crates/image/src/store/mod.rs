//! The content store: blobs by digest, as in an OCI layout.
//!
//! ```text
//! ROOT/blobs/sha256/HEX    complete, verified, safe on disk
//! ROOT/ingest/HEX          on the way, resumable: what a killed transfer left
//! ```
//!
//! A blob becomes visible in two steps. A [`BlobWriter`] fills a file in `ingest` and verifies
//! it ([`Staged`]); [`ContentStore::commit`] then puts a whole group to disk and renames it, so
//! that whatever is found under `blobs` is complete, even after a power cut, and a group costs
//! one synchronisation of the folder.

mod reader;
mod writer;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::OwnedMutexGuard;
use types::Digest;

pub use reader::BlobReader;
use writer::Whole;
pub use writer::{BlobWriter, Staged};

use crate::error::ImageError;

/// Keeps blobs by digest. Clones share one store; all methods may be called from any thread.
///
/// A folder belongs to one store at a time: the engine's data root lock sees to that.
#[derive(Debug, Clone)]
pub struct ContentStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    blobs: PathBuf,
    ingest: PathBuf,
    /// Who fills which blob at the moment. Entries whose holder is gone are dropped when the
    /// map is next used.
    filling: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    /// Complete files that still have their names in `ingest`, as long as somebody is to commit
    /// them: such a file is shared, and neither written to nor removed.
    whole: Mutex<HashMap<Digest, Weak<Whole>>>,
}

/// The right to fill one blob; whoever else wants it waits.
pub(crate) type FillGuard = OwnedMutexGuard<()>;

/// An I/O error with what was tried and on which file.
pub(crate) fn failed(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    move |source| ImageError::Store { what, path, source }
}

/// Bytes that a file takes on disk.
fn on_disk(meta: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    meta.blocks() * 512
}

impl ContentStore {
    /// Opens the store below `root`, making its folders if they are missing and removing
    /// unnamed leftovers of a killed engine. Partial files that can be resumed stay.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn open(root: &Path) -> Result<ContentStore, ImageError> {
        let blobs = root.join("blobs/sha256");
        let ingest = root.join("ingest");
        for folder in [&blobs, &ingest] {
            fs::create_dir_all(folder).map_err(failed("make", folder))?;
        }
        let inner = Inner {
            blobs,
            ingest,
            filling: Mutex::default(),
            whole: Mutex::default(),
        };
        let store = ContentStore {
            inner: Arc::new(inner),
        };
        store.remove_ingest(|name, _| Digest::from_hex(name).is_err())?;
        Ok(store)
    }

    /// Where a blob is or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.inner.blobs.join(digest.hex())
    }

    fn ingest_path(&self, digest: &Digest) -> PathBuf {
        self.inner.ingest.join(digest.hex())
    }

    /// Whether the blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.size(digest).is_some()
    }

    /// The blob's length in bytes, if it is there.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|meta| meta.len())
    }

    /// Opens a blob. A blob that is removed while it is read stays readable.
    ///
    /// # Errors
    /// [`ImageError::BlobMissing`], or [`ImageError::Store`].
    pub fn blob(&self, digest: &Digest) -> Result<BlobReader, ImageError> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(BlobReader::new(Arc::new(file))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(ImageError::BlobMissing { digest: *digest })
            }
            Err(source) => Err(failed("open", &path)(source)),
        }
    }

    /// The whole of a small blob, such as a manifest.
    ///
    /// # Errors
    /// As [`ContentStore::blob`], and [`ImageError::TooLarge`] above `limit` bytes.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageError> {
        let mut data = Vec::new();
        self.blob(digest)?
            .take(limit.saturating_add(1))
            .read_to_end(&mut data)
            .map_err(failed("read", &self.path(digest)))?;
        if data.len() as u64 > limit {
            return Err(ImageError::TooLarge {
                what: format!("blob {digest}"),
                limit,
            });
        }
        Ok(data)
    }

    /// Removes a blob; `false` if it was not there.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn remove(&self, digest: &Digest) -> Result<bool, ImageError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(failed("remove", &path)(source)),
        }
    }

    /// All blobs with their lengths, in no order.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, ImageError> {
        let mut blobs = Vec::new();
        self.each_file(&self.inner.blobs, |name, meta| {
            if let Ok(digest) = Digest::from_hex(name) {
                blobs.push((digest, meta.len()));
            }
            Ok(())
        })?;
        Ok(blobs)
    }

    /// Bytes that blobs and partial files take on disk.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn usage(&self) -> Result<u64, ImageError> {
        let mut bytes = 0;
        for folder in [&self.inner.blobs, &self.inner.ingest] {
            self.each_file(folder, |_, meta| {
                bytes += on_disk(meta);
                Ok(())
            })?;
        }
        Ok(bytes)
    }

    /// Starts to fill a blob.
    ///
    /// With an `expected` digest the partial file has a name, so that with `resume` a later
    /// writer takes up where a killed one ended; the digest is verified at the end. Without,
    /// the file has no name and vanishes with the writer.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn writer(&self, expected: Option<Digest>, resume: bool) -> Result<BlobWriter, ImageError> {
        match expected {
            Some(digest) => BlobWriter::named(digest, self.ingest_path(&digest), resume),
            None => BlobWriter::unnamed(&self.inner.ingest),
        }
    }

    /// Ends a blob as [`BlobWriter::finish`] does, for all who want it until it is committed. The
    /// caller has the right to fill it.
    ///
    /// # Errors
    /// [`ImageError::DigestMismatch`].
    pub(crate) fn finish(&self, writer: BlobWriter) -> Result<Staged, ImageError> {
        let staged = writer.finish()?;
        let mut known = self.known();
        known.retain(|_, whole| whole.strong_count() > 0);
        known.insert(staged.digest(), staged.share());
        Ok(staged)
    }

    /// A blob that somebody else has completed and is to commit. The caller has the right to fill
    /// it, and must not if this gives it.
    pub(crate) fn staged(&self, digest: &Digest) -> Option<Staged> {
        let whole = self.known().get(digest).and_then(Weak::upgrade)?;
        whole.is_named().then(|| Staged::shared(*digest, whole))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Weak<Whole>>> {
        self.inner
            .whole
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the partial file of a blob, if there is one that nobody is to commit. The caller
    /// has the right to fill it.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub(crate) fn discard_partial(&self, digest: &Digest) -> Result<(), ImageError> {
        if self.staged(digest).is_some() {
            return Ok(());
        }
        writer::remove_if_there(&self.ingest_path(digest))
    }

    /// Stages a small blob that is in memory.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn stage(&self, data: &[u8]) -> Result<Staged, ImageError> {
        let mut writer = self.writer(None, false)?;
        writer.append(data)?;
        writer.finish()
    }

    /// Puts a group of blobs to disk and makes them visible. If this fails, those of the group
    /// that were not there before are removed again.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn commit(&self, group: Vec<Staged>) -> Result<(), ImageError> {
        if group.is_empty() {
            return Ok(());
        }
        for staged in &group {
            staged.start_writing();
        }
        for staged in &group {
            staged.sync()?;
        }
        let mut added = Vec::new();
        for staged in group {
            let digest = staged.digest();
            match staged.publish(&self.path(&digest)) {
                Ok(true) => added.push(digest),
                Ok(false) => {}
                Err(error) => {
                    self.undo(&added);
                    return Err(error);
                }
            }
        }
        let folder = &self.inner.blobs;
        let synchronised = File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("synchronise", folder));
        if synchronised.is_err() {
            self.undo(&added);
        }
        synchronised
    }

    fn undo(&self, added: &[Digest]) {
        for digest in added {
            if let Err(error) = self.remove(digest) {
                tracing::warn!(%digest, %error, "a blob of a failed group stays");
            }
        }
    }

    /// Removes partial files that nobody has written to for `age`, and tells how many bytes they
    /// took on disk. Those that somebody fills, or is to commit, stay.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn prune_ingest(&self, age: Duration) -> Result<u64, ImageError> {
        let now = SystemTime::now();
        let mut freed = 0;
        self.each_file(&self.inner.ingest, |name, meta| {
            let modified = meta.modified().unwrap_or(now);
            let idle = now.duration_since(modified).unwrap_or_default();
            let Some(digest) = Digest::from_hex(name).ok().filter(|_| idle >= age) else {
                return Ok(());
            };
            // With the right to fill it nobody else begins to.
            if let Ok(_mine) = self.lock_of(&digest).try_lock_owned()
                && self.staged(&digest).is_none()
            {
                writer::remove_if_there(&self.ingest_path(&digest))?;
                freed += on_disk(meta);
            }
            Ok(())
        })?;
        Ok(freed)
    }

    /// Bytes of a blob that is on its way; 0 if there are none.
    pub(crate) fn partial(&self, digest: &Digest) -> u64 {
        fs::metadata(self.ingest_path(digest)).map_or(0, |meta| meta.len())
    }

    fn remove_ingest(
        &self,
        mut unwanted: impl FnMut(&str, &fs::Metadata) -> bool,
    ) -> Result<(), ImageError> {
        self.each_file(&self.inner.ingest, |name, meta| {
            if unwanted(name, meta) {
                let path = self.inner.ingest.join(name);
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
            Ok(())
        })
    }

    fn each_file(
        &self,
        folder: &Path,
        mut visit: impl FnMut(&str, &fs::Metadata) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
            let entry = entry.map_err(failed("list", folder))?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Removed or renamed since it was listed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(failed("examine", &entry.path())(source)),
            };
            if let Some(name) = entry.file_name().to_str()
                && meta.is_file()
            {
                visit(name, &meta)?;
            }
        }
        Ok(())
    }

    /// Waits until nobody else fills this blob. The caller then looks whether it is there.
    pub(crate) async fn fill(&self, digest: &Digest) -> FillGuard {
        self.lock_of(digest).lock_owned().await
    }

    fn lock_of(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let filling = self.inner.filling.lock();
        let mut filling = filling.unwrap_or_else(PoisonError::into_inner);
        filling.retain(|_, lock| lock.strong_count() > 0);
        let found = filling.get(digest).and_then(Weak::upgrade);
        found.unwrap_or_else(|| {
            let lock = Arc::new(tokio::sync::Mutex::new(()));
            filling.insert(*digest, Arc::downgrade(&lock));
            lock
        })
    }
}
