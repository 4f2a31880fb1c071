//! Filling a blob and making it visible.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use types::{Digest, Hasher};

use super::{BlobReader, failed};
use crate::error::ImageError;

/// A blob in the making. Bytes are digested as they are appended and go straight to the
/// kernel, so that a killed process loses none of them.
#[derive(Debug)]
pub struct BlobWriter {
    file: File,
    /// The file's name, or its folder's for a file without one, in messages.
    path: PathBuf,
    /// What the finished blob must be; such a file has the name `path`.
    expected: Option<Digest>,
    hasher: Hasher,
    length: u64,
    /// Up to where the kernel has been told to begin writing to disk.
    flushed: u64,
}

/// The disk works while more comes, so that the synchronisation at the end finds little left.
const FLUSH_EVERY: u64 = 8 << 20;

impl BlobWriter {
    pub(super) fn named(
        digest: Digest,
        path: PathBuf,
        resume: bool,
    ) -> Result<BlobWriter, ImageError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(!resume)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        let hasher = Hasher::new();
        let mut writer = BlobWriter {
            file,
            path,
            expected: Some(digest),
            hasher,
            length: 0,
            flushed: 0,
        };
        writer.digest_what_is_there()?;
        Ok(writer)
    }

    pub(super) fn unnamed(folder: &Path) -> Result<BlobWriter, ImageError> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| failed("make a file in", folder)(errno.into()))?;
        Ok(BlobWriter {
            file: File::from(file),
            path: folder.to_owned(),
            expected: None,
            hasher: Hasher::new(),
            length: 0,
            flushed: 0,
        })
    }

    /// Reads a partial file again: its digest so far is not kept anywhere.
    fn digest_what_is_there(&mut self) -> Result<(), ImageError> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    self.hasher.update(&buffer[..read]);
                    self.length += read as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(failed("read", &self.path)(source)),
            }
        }
    }

    /// Bytes so far, those of a former writer included.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`ImageError::Store`]; on a full disk the partial file should be discarded.
    pub fn append(&mut self, data: &[u8]) -> Result<(), ImageError> {
        self.write_all(data).map_err(failed("write to", &self.path))
    }

    /// Throws away what was written and starts again.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn restart(&mut self) -> Result<(), ImageError> {
        self.file
            .set_len(0)
            .and_then(|()| io::Seek::rewind(&mut self.file))
            .map_err(failed("truncate", &self.path))?;
        self.hasher = Hasher::new();
        (self.length, self.flushed) = (0, 0);
        Ok(())
    }

    /// Ends the blob and compares its digest with the expected one. A named file whose digest
    /// is wrong is removed: there is nothing in it to resume.
    ///
    /// # Errors
    /// [`ImageError::DigestMismatch`].
    pub fn finish(self) -> Result<Staged, ImageError> {
        let actual = self.hasher.clone().finish();
        if let Some(expected) = self.expected
            && expected != actual
        {
            self.discard()?;
            return Err(ImageError::DigestMismatch { expected, actual });
        }
        let whole = Whole {
            file: Arc::new(self.file),
            name: self.expected.map(|_| self.path),
            size: self.length,
        };
        Ok(Staged::shared(actual, Arc::new(whole)))
    }

    /// Whether what is there is the expected blob already.
    pub(crate) fn is_whole(&self) -> bool {
        self.expected == Some(self.hasher.clone().finish())
    }

    /// Removes the partial file.
    ///
    /// # Errors
    /// [`ImageError::Store`].
    pub fn discard(self) -> Result<(), ImageError> {
        if self.expected.is_some() {
            remove_if_there(&self.path)?;
        }
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.hasher.update(&data[..written]);
        self.length += written as u64;
        let dirty = self.length - self.flushed;
        if dirty >= FLUSH_EVERY {
            sys::writeback::start(self.file.as_fd(), self.flushed, dirty);
            self.flushed = self.length;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), ImageError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}

/// A complete and verified file. Nobody writes to it any more.
#[derive(Debug)]
pub(super) struct Whole {
    file: Arc<File>,
    name: Option<PathBuf>,
    size: u64,
}

impl Whole {
    /// Whether the file has its name, and the name means it: it may have been published, and
    /// another writer have begun anew.
    pub(super) fn is_named(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let Some(name) = &self.name else {
            return false;
        };
        match (self.file.metadata(), fs::metadata(name)) {
            (Ok(ours), Ok(theirs)) => ours.ino() == theirs.ino() && ours.dev() == theirs.dev(),
            _ => false,
        }
    }
}

/// A complete and verified blob that is not visible yet. Dropping it loses nothing that has a
/// name: the next writer of the same digest finds it complete.
#[derive(Debug)]
pub struct Staged {
    whole: Arc<Whole>,
    digest: Digest,
}

impl Staged {
    /// The blob's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The blob's length in bytes.
    pub fn size(&self) -> u64 {
        self.whole.size
    }

    pub(super) fn shared(digest: Digest, whole: Arc<Whole>) -> Staged {
        Staged { whole, digest }
    }

    /// For whoever wants the same blob before it is visible.
    pub(super) fn share(&self) -> Weak<Whole> {
        Arc::downgrade(&self.whole)
    }

    /// Reads the blob already.
    pub fn reader(&self) -> BlobReader {
        BlobReader::new(Arc::clone(&self.whole.file))
    }

    /// Lets the kernel begin to write, so that several blobs are written side by side and
    /// [`Staged::sync`] finds little left to wait for.
    pub(super) fn start_writing(&self) {
        sys::writeback::start(self.whole.file.as_fd(), 0, 0);
    }

    pub(super) fn sync(&self) -> Result<(), ImageError> {
        let name = self.whole.name.as_deref();
        let path = name.unwrap_or(Path::new("a new blob"));
        self.whole
            .file
            .sync_data()
            .map_err(failed("synchronise", path))
    }

    /// Gives the blob its final name; `false` if it was there already.
    pub(super) fn publish(self, target: &Path) -> Result<bool, ImageError> {
        if fs::exists(target).map_err(failed("examine", target))? {
            if let Some(name) = &self.whole.name
                && self.whole.is_named()
            {
                remove_if_there(name)?;
            }
            return Ok(false);
        }
        let outcome = match &self.whole.name {
            Some(name) => fs::rename(name, target),
            None => self.link(target),
        };
        match outcome {
            Ok(()) => Ok(true),
            // Somebody else was faster with the same content.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotFound && target.exists() => Ok(false),
            Err(source) => Err(failed("make", target)(source)),
        }
    }

    /// Names a file that has none. The empty path needs CAP_DAC_READ_SEARCH, the way through
    /// /proc needs /proc.
    fn link(&self, target: &Path) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let file = &self.whole.file;
        let linked = rustix::fs::linkat(file, "", CWD, target, AtFlags::EMPTY_PATH);
        match linked {
            Err(rustix::io::Errno::NOENT) => {
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                Ok(rustix::fs::linkat(
                    CWD,
                    path,
                    CWD,
                    target,
                    AtFlags::SYMLINK_FOLLOW,
                )?)
            }
            other => Ok(other?),
        }
    }
}
