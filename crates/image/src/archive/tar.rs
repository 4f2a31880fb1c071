//! Reading and writing the few kinds of tar entries that image archives have.
//!
//! Only names, kinds and contents matter here; names are keys, never paths on disk. Headers
//! that name a file in more than 64 KiB are refused; whoever keeps names counts their bytes.

use std::io::{self, Read, Write};

use super::ArchiveError;

const BLOCK: usize = 512;
const NAME_LIMIT: u64 = 64 << 10;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// To another name, relative to this entry's folder.
    Symlink(String),
    /// To another entry's full name.
    Hardlink(String),
    /// Devices and the like.
    Other,
}

/// One entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) size: u64,
}

/// Reads entries in order. Between two calls of [`TarReader::next`] it reads as the current
/// entry's content.
pub(super) struct TarReader<R> {
    inner: R,
    /// Bytes of the current entry that have not been read, and the padding behind them.
    content: u64,
    padding: u64,
}

/// What extended headers said about the next entry.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

fn header_fault(reason: &'static str) -> ArchiveError {
    ArchiveError::Header { reason }
}

pub(super) fn read_fault(source: io::Error) -> ArchiveError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
        _ => ArchiveError::Read { source },
    }
}

impl<R: Read> TarReader<R> {
    pub(super) fn new(inner: R) -> Self {
        TarReader {
            inner,
            content: 0,
            padding: 0,
        }
    }

    /// The next entry; `None` at the archive's end. What was not read of the former one is
    /// passed over.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extended = Extended::default();
        // Each extended header describes the entry behind it: a handful at most.
        for _ in 0..8 {
            self.finish_entry()?;
            let Some(block) = self.read_header()? else {
                return Ok(None);
            };
            let size = number(&block[124..136]).ok_or(header_fault("its size is no number"))?;
            match block[156] {
                b'L' => extended.name = Some(self.long_text(size)?),
                b'K' => extended.link = Some(self.long_text(size)?),
                b'x' => self.pax(size, &mut extended)?,
                b'g' => self.begin(size),
                kind => return self.entry(&block, kind, size, extended).map(Some),
            }
        }
        Err(header_fault("too many extended headers"))
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        kind: u8,
        size: u64,
        extended: Extended,
    ) -> Result<Entry, ArchiveError> {
        let name = extended.name.unwrap_or_else(|| ustar_name(block));
        let link = extended.link.unwrap_or_else(|| text(&block[157..257]));
        let size = extended.size.unwrap_or(size);
        let kind = match kind {
            b'0' | 0 if name.ends_with('/') => Kind::Folder,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::Hardlink(link),
            b'2' => Kind::Symlink(link),
            b'5' => Kind::Folder,
            b'S' => {
                return Err(header_fault(
                    "sparse files are not supported in image archives",
                ));
            }
            _ => Kind::Other,
        };
        // Links and folders have no content, whatever their size field says.
        let size = if matches!(kind, Kind::File | Kind::Other) {
            size
        } else {
            0
        };
        self.begin(size);
        Ok(Entry { name, kind, size })
    }

    fn begin(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn finish_entry(&mut self) -> Result<(), ArchiveError> {
        let (content, rest) = (self.content, self.content.saturating_add(self.padding));
        let skipped = io::copy(&mut self.inner.by_ref().take(rest), &mut io::sink());
        (self.content, self.padding) = (0, 0);
        match skipped {
            // Some tools write nothing behind the last entry's content.
            Ok(skipped) if skipped >= content => Ok(()),
            Ok(_) => Err(ArchiveError::Truncated),
            Err(source) => Err(read_fault(source)),
        }
    }

    /// The next header; `None` at two empty blocks, or where the stream ends between entries.
    fn read_header(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        for _ in 0..2 {
            let Some(block) = self.read_block()? else {
                return Ok(None);
            };
            if block.iter().any(|b| *b != 0) {
                return check_sum(&block)
                    .then_some(Some(block))
                    .ok_or(header_fault("bad checksum"));
            }
        }
        // To its end, so that the check sums of a compressed stream are compared.
        io::copy(&mut self.inner, &mut io::sink()).map_err(read_fault)?;
        Ok(None)
    }

    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ArchiveError::Truncated),
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(read_fault(source)),
            }
        }
        Ok(Some(block))
    }

    fn extended_bytes(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > NAME_LIMIT {
            return Err(header_fault("an extended header is larger than 64 KiB"));
        }
        self.begin(size);
        let mut data = Vec::new();
        self.read_to_end(&mut data).map_err(read_fault)?;
        Ok(data)
    }

    fn long_text(&mut self, size: u64) -> Result<String, ArchiveError> {
        Ok(text(&self.extended_bytes(size)?))
    }

    /// Records of the form `LENGTH KEY=VALUE\n`, the length counting all of it.
    fn pax(&mut self, size: u64, extended: &mut Extended) -> Result<(), ArchiveError> {
        let fault = || header_fault("a broken pax record");
        let data = self.extended_bytes(size)?;
        let mut rest = &data[..];
        while !rest.is_empty() {
            let space = rest.iter().position(|b| *b == b' ').ok_or_else(fault)?;
            let length: usize = std::str::from_utf8(&rest[..space])
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(fault)?;
            let record = rest.get(space + 1..length).ok_or_else(fault)?;
            rest = &rest[length..];
            let record = record.strip_suffix(b"\n").ok_or_else(fault)?;
            let equals = record.iter().position(|b| *b == b'=').ok_or_else(fault)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => extended.name = Some(text(value)),
                b"linkpath" => extended.link = Some(text(value)),
                b"size" => {
                    extended.size = Some(text(value).parse().map_err(|_| fault())?);
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(header_fault(
                        "sparse files are not supported in image archives",
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.content == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let want = usize::try_from(self.content)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.inner.read(&mut buffer[..want])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content -= read as u64;
        Ok(read)
    }
}

/// The bytes before the first NUL.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn ustar_name(block: &[u8; BLOCK]) -> String {
    let name = text(&block[..100]);
    // GNU's magic has a space where POSIX's has a NUL, and no prefix field.
    if &block[257..263] != b"ustar\0" || block[345] == 0 {
        return name;
    }
    format!("{}/{name}", text(&block[345..500]))
}

/// Octal digits amid spaces and NULs, or, with the first bit set, a binary number.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // 0xff begins a negative number, which no size is.
        let start = u64::from(first & 0x7f);
        return rest.iter().try_fold(start, |value, byte| {
            value.checked_mul(256)?.checked_add(u64::from(*byte))
        });
    }
    let digits = text(field);
    let digits = digits.trim_matches(' ');
    if digits.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(digits, 8).ok()
}

/// Old tars added the bytes up as signed.
fn check_sum(block: &[u8; BLOCK]) -> bool {
    let counted = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    let bytes = || {
        block
            .iter()
            .enumerate()
            .map(|(at, byte)| counted(at, *byte))
    };
    let unsigned: u64 = bytes().map(u64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    number(&block[148..156])
        .is_some_and(|given| given == unsigned || i64::try_from(given) == Ok(signed))
}

/// Writes entries with root's ownership and no time, so that the same image gives the same
/// archive.
pub(super) struct TarWriter<W> {
    inner: W,
}

impl<W: Write> TarWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        TarWriter { inner }
    }

    pub(super) fn folder(&mut self, name: &str) -> io::Result<()> {
        self.header(name, b'5', 0o755, 0)
    }

    pub(super) fn file(&mut self, name: &str, data: &[u8]) -> io::Result<()> {
        self.stream(name, data.len() as u64, &mut &data[..])
    }

    /// A file whose `size` bytes come from a reader that has exactly as many.
    pub(super) fn stream(&mut self, name: &str, size: u64, data: &mut dyn Read) -> io::Result<()> {
        self.header(name, b'0', 0o644, size)?;
        let mut buffer = vec![0; 256 * 1024];
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let read = data.read(&mut buffer[..want])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.inner.write_all(&buffer[..read])?;
            left -= read as u64;
        }
        let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
        self.inner.write_all(&[0; BLOCK][..padding])
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.inner.write_all(&[0; 2 * BLOCK])?;
        self.inner.flush()
    }

    fn header(&mut self, name: &str, kind: u8, mode: u32, size: u64) -> io::Result<()> {
        let mut block = [0u8; BLOCK];
        let fits = |length: usize| length <= 100;
        if !fits(name.len()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a name above 100 bytes",
            ));
        }
        block[..name.len()].copy_from_slice(name.as_bytes());
        put(&mut block[100..108], &format!("{mode:07o}"));
        put(&mut block[108..116], "0000000");
        put(&mut block[116..124], "0000000");
        if size < 1 << 33 {
            put(&mut block[124..136], &format!("{size:011o}"));
        } else {
            block[124] = 0x80;
            block[128..136].copy_from_slice(&size.to_be_bytes());
        }
        put(&mut block[136..148], "00000000000");
        block[148..156].fill(b' ');
        block[156] = kind;
        put(&mut block[257..265], "ustar\x0000");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        put(&mut block[148..156], &format!("{sum:06o}\0 "));
        self.inner.write_all(&block)
    }
}

fn put(field: &mut [u8], text: &str) {
    field[..text.len()].copy_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(data: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, ArchiveError> {
        let mut reader = TarReader::new(data);
        let mut list = Vec::new();
        while let Some(entry) = reader.next()? {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).map_err(read_fault)?;
            list.push((entry, content));
        }
        Ok(list)
    }

    fn sample() -> Vec<u8> {
        let mut data = Vec::new();
        let mut writer = TarWriter::new(&mut data);
        writer.folder("blobs/").unwrap();
        writer.file("a", b"one").unwrap();
        writer.file("b", &[7; 512]).unwrap();
        writer.file("c", b"").unwrap();
        writer.finish().unwrap();
        data
    }

    #[test]
    fn what_is_written_reads_back_by_us_and_by_the_tar_crate() {
        let data = sample();
        let list = entries(&data).unwrap();
        let names: Vec<_> = list
            .iter()
            .map(|(e, c)| (e.name.as_str(), c.len()))
            .collect();
        assert_eq!(names, [("blobs/", 0), ("a", 3), ("b", 512), ("c", 0)]);
        let mut other = ::tar::Archive::new(&data[..]);
        let paths: Vec<_> = other
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(paths, ["blobs/", "a", "b", "c"]);
    }

    #[test]
    fn long_names_and_links_of_the_tar_crate_are_read() {
        let mut builder = ::tar::Builder::new(Vec::new());
        let long = format!("{}/layer.tar", "d".repeat(150));
        let mut header = ::tar::Header::new_gnu();
        header.set_size(3);
        builder
            .append_data(&mut header, &long, &b"abc"[..])
            .unwrap();
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(::tar::EntryType::Symlink);
        header.set_size(0);
        builder
            .append_link(&mut header, "l", format!("../{long}"))
            .unwrap();
        builder
            .append_pax_extensions([("path", &b"renamed"[..]), ("comment", b"x")])
            .unwrap();
        let mut header = ::tar::Header::new_ustar();
        header.set_size(2);
        builder
            .append_data(&mut header, "short", &b"xy"[..])
            .unwrap();
        let list = entries(&builder.into_inner().unwrap()).unwrap();
        assert_eq!(
            (list[0].0.name.as_str(), &list[0].1[..]),
            (long.as_str(), &b"abc"[..])
        );
        assert_eq!(list[1].0.kind, Kind::Symlink(format!("../{long}")));
        assert_eq!(
            (list[2].0.name.as_str(), &list[2].1[..]),
            ("renamed", &b"xy"[..])
        );
    }

    #[test]
    fn cut_archives_are_told() {
        let data = sample();
        for cut in [100, 512 + 512 + 2, 512 * 3 + 100, 512 * 4 + 10] {
            assert!(
                matches!(entries(&data[..cut]), Err(ArchiveError::Truncated)),
                "{cut}"
            );
        }
        // Without the two empty blocks at the end it is still an archive.
        assert_eq!(entries(&data[..data.len() - 1024]).unwrap().len(), 4);
    }

    #[test]
    fn every_broken_byte_of_a_header_is_answered() {
        let data = sample();
        // The byte behind the checksum's own NUL says nothing.
        for at in (0..512).filter(|at| *at != 155) {
            let mut broken = data.clone();
            broken[at] ^= 0x55;
            assert!(
                matches!(entries(&broken), Err(ArchiveError::Header { .. })),
                "{at}"
            );
        }
        assert!(matches!(
            entries(&[1; 2048]),
            Err(ArchiveError::Header { .. })
        ));
    }

    #[test]
    fn an_endless_name_is_refused() {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(::tar::EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        assert!(matches!(
            entries(header.as_bytes()),
            Err(ArchiveError::Header { .. })
        ));
    }

    #[test]
    fn large_sizes_are_written_and_read() {
        let mut data = Vec::new();
        TarWriter::new(&mut data)
            .header("big", b'0', 0o644, 1 << 40)
            .unwrap();
        assert_eq!(
            TarReader::new(&data[..]).next().unwrap().unwrap().size,
            1 << 40
        );
    }
}
