//! Reading a blob from a position of one's own.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Reads a blob from its beginning. Clones start where the original stands and go their own
/// way; the file stays readable if it is renamed or removed meanwhile.
#[derive(Debug, Clone)]
pub struct BlobReader {
    file: Arc<File>,
    position: u64,
}

impl BlobReader {
    pub(crate) fn new(file: Arc<File>) -> BlobReader {
        BlobReader { file, position: 0 }
    }

    /// The blob's length in bytes.
    ///
    /// # Errors
    /// What fstat(2) gives.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The same blob, read from `position`.
    pub(crate) fn at(&self, position: u64) -> BlobReader {
        let file = Arc::clone(&self.file);
        BlobReader { file, position }
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.position
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
