//! Compressed streams, told by their first bytes.

mod window;
mod xz;

use std::io::{self, BufReader, Cursor, Read};

use crate::pace::{Paced, Patient};
pub use window::PacedBy;
pub(crate) use window::Room;

const BUFFER: usize = 128 * 1024;
/// Bytes that tell how a stream is compressed, and how much memory it needs to be read: the
/// header of Zstandard has 18, and some programs put a frame before it that is to be skipped.
const START: u64 = 64;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip, of one or several members.
    Gzip,
    /// Zstandard.
    Zstd,
    /// xz, of one or several streams.
    Xz,
    /// bzip2, of one or several streams.
    Bzip2,
}

impl Compression {
    /// Tells the compression from a stream's first bytes (6 are enough).
    pub fn detect(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame before the first real one.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
            _ => Compression::Plain,
        }
    }
}

/// A reader of the uncompressed stream, whatever the compression of `inner`, and that
/// compression.
///
/// Reading fails with [`io::ErrorKind::InvalidData`] once more than `limit` bytes have come
/// out, so that a small stream cannot fill the disk, and on broken or cut streams.
///
/// Blocks: a Zstandard or xz stream with a window above 8 MiB waits until no other of its kind is read. `inner` may answer
/// that it would block, see [`Paced`]: it is asked again, unless it is such a stream and another waits for its end.
///
/// # Errors
/// If the first bytes cannot be read, or the stream would need more than 128 MiB of memory.
pub fn reader<'a, R>(
    inner: R,
    limit: u64,
    paced_by: PacedBy,
) -> io::Result<(Box<dyn Read + Send + 'a>, Compression)>
where
    R: Read + Send + 'a,
{
    let (reader, compression, _) = reader_and_room(inner, limit, paced_by)?;
    Ok((reader, compression))
}

/// A reader, its compression, and the room for a large window that it has, if any.
type Opened<'a> = (
    Box<dyn Read + Send + 'a>,
    Compression,
    Option<&'static Room>,
);

/// [`reader`], which also tells whether others wait until it is dropped.
pub(crate) fn reader_and_room<'a, R>(
    inner: R,
    limit: u64,
    paced_by: PacedBy,
) -> io::Result<Opened<'a>>
where
    R: Read + Send + 'a,
{
    let mut inner = Patient(inner);
    let mut start = Vec::new();
    inner.by_ref().take(START).read_to_end(&mut start)?;
    let compression = Compression::detect(&start);
    let (window_log, claim) = match compression {
        Compression::Zstd => window::claim(&start, paced_by)?,
        Compression::Xz => xz::claim(&start, paced_by)?,
        _ => (0, None),
    };
    let room = claim.as_ref().map(window::Claim::room);
    let rest = Patient(Paced::new(inner.0, move || {
        room.is_some_and(Room::is_wanted)
    }));
    let whole = Cursor::new(start).chain(rest);
    let buffered = BufReader::with_capacity(BUFFER, whole);
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::Plain => Limited::new(buffered, limit),
        Compression::Gzip => Limited::new(flate2::bufread::MultiGzDecoder::new(buffered), limit),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
            decoder.window_log_max(window_log)?;
            let inner = Claimed {
                inner: decoder,
                _claim: claim,
            };
            Limited::new(inner, limit)
        }
        Compression::Xz => Limited::new(xz::Decoder::new(buffered, window_log, claim), limit),
        Compression::Bzip2 => Limited::new(bzip2::bufread::MultiBzDecoder::new(buffered), limit),
    };
    Ok((reader, compression, room))
}

/// A decoder with the memory that it has claimed, which it gives back after its own end.
struct Claimed<R> {
    inner: R,
    _claim: Option<window::Claim>,
}

impl<R: Read> Read for Claimed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// Ends with an error once more than the limit has been read.
struct Limited<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Limited<R> {
    fn new(inner: R, limit: u64) -> Box<Limited<R>> {
        let left = limit;
        Box::new(Limited { inner, left, limit })
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the uncompressed stream is larger than {} bytes",
                    self.limit
                ),
            )
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::xz::tests::packed;
    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read_all(data: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        reader(data, limit, PacedBy::Disk)?
            .0
            .read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_supported_form_reads_back() {
        let data = b"a little text".repeat(1000);
        let skippable = [
            &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..],
            &zstd::encode_all(&data[..], 1).unwrap(),
        ]
        .concat();
        for packed in [
            data.clone(),
            gzip(&data),
            zstd::encode_all(&data[..], 3).unwrap(),
            [gzip(&data[..500]), gzip(&data[500..])].concat(),
            skippable,
            packed("xz", &["-0"], &data),
            packed("xz", &["-9", "--check=sha256"], &data),
            [
                packed("xz", &["--check=none"], &data[..500]),
                packed("xz", &["--block-size=4096"], &data[500..]),
            ]
            .concat(),
            packed("bzip2", &[], &data),
            [
                packed("bzip2", &["-1"], &data[..500]),
                packed("bzip2", &["-9"], &data[500..]),
            ]
            .concat(),
        ] {
            assert_eq!(read_all(&packed, u64::MAX).unwrap(), data);
        }
        for program in ["xz", "bzip2"] {
            assert_eq!(read_all(&packed(program, &[], b""), 0).unwrap(), b"");
        }
        assert_eq!(read_all(b"", 0).unwrap(), b"");
        assert_eq!(read_all(b"abc", 3).unwrap(), b"abc");
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0u8; 10 << 20];
        for bomb in [
            gzip(&zeros),
            packed("xz", &[], &zeros),
            packed("bzip2", &[], &zeros),
        ] {
            let error = read_all(&bomb, 1 << 20).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains("larger than 1048576 bytes"));
        }
    }

    #[test]
    fn later_frames_of_a_stream_have_no_larger_window_than_the_first_may() {
        let frame = |log: u32, content: &[u8]| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        };
        let small = [frame(20, b"one "), frame(23, b"two")].concat();
        assert_eq!(read_all(&small, 100).unwrap(), b"one two");
        let large = [frame(26, b"one "), frame(27, b"two")].concat();
        assert_eq!(read_all(&large, 100).unwrap(), b"one two");
        let growing = [frame(20, b"one "), frame(27, &[b'x'; 100_000])].concat();
        let told = read_all(&growing, 1 << 20).unwrap_err().to_string();
        assert!(told.contains("too much memory"), "{told}");
    }

    #[test]
    fn cut_and_broken_streams_are_errors() {
        let data = b"some text ".repeat(5000);
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(&data).unwrap();
        for packed in [
            gzip(&data),
            encoder.finish().unwrap(),
            packed("xz", &[], &data),
            packed("bzip2", &[], &data),
        ] {
            assert!(read_all(&packed[..packed.len() - 3], u64::MAX).is_err());
            let mut broken = packed.clone();
            let middle = broken.len() / 2;
            broken[middle] ^= 0xff;
            broken[middle + 1] ^= 0xff;
            assert!(read_all(&broken, u64::MAX).is_err());
        }
    }
}
