//! Reads an archive from a stream, one entry after the other.

use std::io::BufRead;

use super::header::Header;
use super::pax::{Records, decimal};
use super::{BLOCK, Content, Entry, Kind, MAX_EXTENDED, MAX_PIECES, TarError, Time, sparse};

/// An archive that is being read.
pub struct Archive<R> {
    stream: R,
    /// Bytes read so far.
    at: u64,
    /// Content of the current entry that was not taken yet, and what fills its last block.
    content: u64,
    padding: u64,
    ended: bool,
}

/// Extensions that apply to the next entry.
#[derive(Default)]
struct Ahead {
    records: Option<Records>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: BufRead> Archive<R> {
    /// Begins at the stream's position.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            at: 0,
            content: 0,
            padding: 0,
            ended: false,
        }
    }

    /// The next entry, or nothing at the archive's end. Content of the one before that was not taken is skipped.
    ///
    /// # Errors
    /// Once it has failed the archive cannot be read further.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip()?;
        let mut ahead = Ahead::default();
        let mut extensions = 0u64;
        while let Some((block, at)) = self.header_block()? {
            let header = Header::new(&block, at)?;
            let flag = header.flag();
            if !matches!(flag, b'x' | b'X' | b'g' | b'L' | b'K' | b'V') {
                return self.entry(&header, at, ahead).map(Some);
            }
            // An endless row of extensions would hold us without ever giving an entry.
            extensions = extensions
                .saturating_add(header.size()?)
                .saturating_add(BLOCK as u64);
            if extensions > MAX_EXTENDED {
                let what = "an extended header";
                return Err(TarError::TooLarge {
                    at,
                    what,
                    size: extensions,
                    limit: MAX_EXTENDED,
                });
            }
            let bytes = self.extension(header.size()?)?;
            match flag {
                b'x' | b'X' => ahead.records = Some(Records::parse(&bytes, at)?),
                b'L' => ahead.long_path = Some(until_nul(bytes)),
                b'K' => ahead.long_link = Some(until_nul(bytes)),
                // Records for all entries (git writes a comment there) and volume labels: layers have no use for
                // them, and other engines pass over them, so that all read the same layer.
                _ => {}
            }
        }
        Ok(None)
    }

    /// Gives up to `limit` bytes of the current entry's content, as the stream's buffer has them; empty at the end.
    pub fn chunk(&mut self, limit: u64) -> Result<&[u8], TarError> {
        let wanted = self.content.min(limit);
        if wanted == 0 {
            return Ok(&[]);
        }
        let buffer = fill(&mut self.stream)?;
        if buffer.is_empty() {
            return Err(TarError::Truncated {
                what: "an entry's content",
            });
        }
        let length =
            usize::try_from(wanted).map_or(buffer.len(), |wanted| wanted.min(buffer.len()));
        Ok(&buffer[..length])
    }

    /// Takes `length` bytes of what [`Archive::chunk`] gave.
    pub fn consume(&mut self, length: usize) {
        self.stream.consume(length);
        self.at += length as u64;
        self.content -= length as u64;
    }

    /// Bytes read from the stream.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Passes over what is left of the current entry. The stream may end where the last entry's content does: some
    /// tools (umoci's `insert`) write nothing behind it, and other engines take their archives.
    fn skip(&mut self) -> Result<(), TarError> {
        let padding = std::mem::take(&mut self.padding);
        let mut left = std::mem::take(&mut self.content).saturating_add(padding);
        while left > 0 {
            let buffer = fill(&mut self.stream)?;
            if buffer.is_empty() && left <= padding {
                self.ended = true;
                return Ok(());
            }
            if buffer.is_empty() {
                return Err(TarError::Truncated {
                    what: "an entry's content",
                });
            }
            let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.stream.consume(length);
            self.at += length as u64;
            left -= length as u64;
        }
        Ok(())
    }

    /// The next block that is not the archive's end, and its position.
    fn header_block(&mut self) -> Result<Option<([u8; BLOCK], u64)>, TarError> {
        let mut block = [0u8; BLOCK];
        let at = self.at;
        if self.ended || !self.block(&mut block)? {
            self.ended = true;
            return Ok(None);
        }
        if block != [0; BLOCK] {
            return Ok(Some((block, at)));
        }
        // The end is two blocks of zeros; one alone before the end of the stream is common enough.
        let at = self.at;
        if self.block(&mut block)? && block != [0; BLOCK] {
            return Err(TarError::Checksum { at });
        }
        self.ended = true;
        Ok(None)
    }

    /// Reads a block; false when the stream ends before it.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            let buffer = fill(&mut self.stream)?;
            if buffer.is_empty() {
                return if filled == 0 {
                    Ok(false)
                } else {
                    Err(TarError::Truncated { what: "a header" })
                };
            }
            let length = buffer.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&buffer[..length]);
            filled += length;
            self.stream.consume(length);
            self.at += length as u64;
        }
        Ok(true)
    }

    /// Reads the content of an extension, whose size was checked.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        self.content = size;
        self.padding = padding(size);
        let mut bytes = Vec::new();
        loop {
            let chunk = self.chunk(u64::MAX)?;
            if chunk.is_empty() {
                break;
            }
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            self.consume(length);
        }
        self.skip()?;
        Ok(bytes)
    }

    fn entry(&mut self, header: &Header<'_>, at: u64, ahead: Ahead) -> Result<Entry, TarError> {
        let records = ahead.records.unwrap_or_default();
        let path = records
            .path
            .or(ahead.long_path)
            .unwrap_or_else(|| header.path());
        let path = records.sparse.name.clone().unwrap_or(path);
        let kind = Kind::of_flag(header.flag(), &path, at)?;
        let stored = match (kind, records.size) {
            (Kind::File, Some(size)) => size,
            (Kind::File, None) => header.size()?,
            // What a link or device says of a size has no content behind it.
            _ => 0,
        };
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => header.device()?,
            _ => super::Device::default(),
        };
        self.content = stored;
        self.padding = padding(stored);
        let mut entry = Entry {
            at,
            kind,
            path,
            link: records
                .link
                .or(ahead.long_link)
                .unwrap_or_else(|| header.link().to_vec()),
            mode: header.mode()?,
            // The header of an id beyond octal's reach may hold anything when the record has the true one.
            uid: records.uid.map_or_else(|| header.uid(), Ok)?,
            gid: records.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: match records.mtime {
                Some(time) => time,
                None => Time {
                    seconds: header.mtime()?,
                    nanoseconds: 0,
                },
            },
            size: stored,
            content: Content::Plain,
            device: super::Device {
                major: records.major.unwrap_or(device.major),
                minor: records.minor.unwrap_or(device.minor),
            },
            xattrs: records.xattrs,
        };
        if kind == Kind::File {
            self.apply_sparse(&mut entry, header, records.sparse)?;
        }
        Ok(entry)
    }

    /// Reads the map of a sparse file, of whichever dialect.
    fn apply_sparse(
        &mut self,
        entry: &mut Entry,
        header: &Header<'_>,
        records: super::pax::SparseRecords,
    ) -> Result<(), TarError> {
        let at = entry.at;
        let (pieces, real) = if header.flag() == b'S' {
            let (mut pieces, mut more, real) = header.gnu_sparse()?;
            let mut block = [0u8; BLOCK];
            while more {
                if pieces.len() > MAX_PIECES || !self.block(&mut block)? {
                    return Err(TarError::Sparse {
                        at,
                        reason: "its map does not end",
                    });
                }
                more = Header::gnu_more(&block, at, &mut pieces)?;
            }
            (pieces, real)
        } else if records.version_1 {
            let real = records.real_size.ok_or(TarError::Sparse {
                at,
                reason: "its size is missing",
            })?;
            (self.leading_map(at)?, real)
        } else if let Some(numbers) = records.numbers {
            let real = records.real_size.ok_or(TarError::Sparse {
                at,
                reason: "its size is missing",
            })?;
            (sparse::pairs(&numbers, at)?, real)
        } else {
            return Ok(());
        };
        entry.content = Content::Pieces(sparse::checked(pieces, self.content, real, at)?);
        entry.size = real;
        Ok(())
    }

    /// The map that stands in front of the content: a count, then offsets and lengths, a line each, filled up to a
    /// block.
    fn leading_map(&mut self, at: u64) -> Result<Vec<(u64, u64)>, TarError> {
        let fault = |reason| TarError::Sparse { at, reason };
        let (mut numbers, mut line, mut wanted) = (Vec::new(), Vec::new(), None);
        let mut block = [0u8; BLOCK];
        loop {
            if self.content < BLOCK as u64 || !self.block(&mut block)? {
                return Err(fault("its map does not end"));
            }
            self.content -= BLOCK as u64;
            for &byte in &block {
                if byte != b'\n' {
                    line.push(byte);
                    if line.len() > 20 {
                        return Err(fault("its map holds no number"));
                    }
                    continue;
                }
                let number = decimal(&line).ok_or(fault("its map holds no number"))?;
                line.clear();
                match wanted {
                    None if number > MAX_PIECES as u64 => return Err(fault("its map is too long")),
                    None => wanted = Some(number as usize * 2),
                    Some(_) => numbers.push(number),
                }
                if wanted == Some(numbers.len()) {
                    return sparse::pairs(&numbers, at);
                }
            }
        }
    }
}

fn fill<R: BufRead>(stream: &mut R) -> Result<&[u8], TarError> {
    // The borrow of a buffer cannot be kept over a retry, so an interruption is looked for with a first call.
    loop {
        match stream.fill_buf() {
            Ok(_) => break,
            Err(fault) if fault.kind() == std::io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(TarError::Read(fault)),
        }
    }
    stream.fill_buf().map_err(TarError::Read)
}

/// Bytes that fill the last block of so much content.
fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
