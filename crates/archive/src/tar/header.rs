//! The 512-byte header block.

use super::{BLOCK, TarError};

/// Offsets and lengths.
type Pieces = Vec<(u64, u64)>;

/// A block whose checksum is right.
pub(super) struct Header<'block> {
    block: &'block [u8; BLOCK],
    at: u64,
}

const PATH: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const FLAG: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..265;
const MAJOR: std::ops::Range<usize> = 329..337;
const MINOR: std::ops::Range<usize> = 337..345;
const PREFIX: std::ops::Range<usize> = 345..500;
/// star's prefix is shorter: its access and change times follow.
const STAR_PREFIX: std::ops::Range<usize> = 345..476;
/// Four pieces of a sparse file in GNU's old format, whether more blocks of pieces follow, and its real size.
const GNU_PIECES: std::ops::Range<usize> = 386..482;
const GNU_MORE: usize = 482;
const GNU_REAL_SIZE: std::ops::Range<usize> = 483..495;
/// In a block of further pieces.
const MORE_PIECES: std::ops::Range<usize> = 0..504;
const MORE_MORE: usize = 504;
const PIECE: usize = 24;

impl<'block> Header<'block> {
    /// Checks the checksum.
    pub(super) fn new(block: &'block [u8; BLOCK], at: u64) -> Result<Self, TarError> {
        let header = Self { block, at };
        let told = header
            .number(CHECKSUM, "the checksum")
            .map_err(|_| TarError::Checksum { at })?;
        // Some old writers summed signed bytes.
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (index, &byte) in block.iter().enumerate() {
            let byte = if CHECKSUM.contains(&index) {
                b' '
            } else {
                byte
            };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if told != unsigned && told != signed {
            return Err(TarError::Checksum { at });
        }
        Ok(header)
    }

    pub(super) fn flag(&self) -> u8 {
        self.block[FLAG]
    }

    pub(super) fn mode(&self) -> Result<u32, TarError> {
        Ok((self.number(MODE, "the mode")? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u32, TarError> {
        self.id(UID, "the user id")
    }

    pub(super) fn gid(&self) -> Result<u32, TarError> {
        self.id(GID, "the group id")
    }

    pub(super) fn size(&self) -> Result<u64, TarError> {
        let at = self.at;
        u64::try_from(self.number(SIZE, "the size")?).map_err(|_| TarError::Number {
            at,
            field: "the size",
        })
    }

    pub(super) fn mtime(&self) -> Result<i64, TarError> {
        self.number(MTIME, "the modification time")
    }

    pub(super) fn device(&self) -> Result<super::Device, TarError> {
        Ok(super::Device {
            major: self.id(MAJOR, "the device number")?,
            minor: self.id(MINOR, "the device number")?,
        })
    }

    pub(super) fn link(&self) -> &'block [u8] {
        text(&self.block[LINK])
    }

    /// The name with the prefix of the formats that have one.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.block[PATH]);
        let prefix: &[u8] =
            if &self.block[MAGIC] == b"ustar\x0000" || self.block[MAGIC].starts_with(b"ustar\0") {
                let star = &self.block[508..512] == b"tar\0";
                text(&self.block[if star { STAR_PREFIX } else { PREFIX }])
            } else {
                b""
            };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// The pieces of an old GNU sparse file in this block, whether more blocks follow, and the real size.
    pub(super) fn gnu_sparse(&self) -> Result<(Pieces, bool, u64), TarError> {
        let real = self.positive(GNU_REAL_SIZE)?;
        let mut pieces = Vec::new();
        self.pieces(GNU_PIECES, &mut pieces)?;
        Ok((pieces, self.block[GNU_MORE] != 0, real))
    }

    /// As [`Header::gnu_sparse`] for a following block, which has no checksum.
    pub(super) fn gnu_more(
        block: &[u8; BLOCK],
        at: u64,
        pieces: &mut Vec<(u64, u64)>,
    ) -> Result<bool, TarError> {
        let header = Header { block, at };
        header.pieces(MORE_PIECES, pieces)?;
        Ok(block[MORE_MORE] != 0)
    }

    fn pieces(
        &self,
        range: std::ops::Range<usize>,
        pieces: &mut Vec<(u64, u64)>,
    ) -> Result<(), TarError> {
        for start in range.step_by(PIECE) {
            if self.block[start] == 0 {
                break;
            }
            pieces.push((
                self.positive(start..start + 12)?,
                self.positive(start + 12..start + 24)?,
            ));
        }
        Ok(())
    }

    fn positive(&self, range: std::ops::Range<usize>) -> Result<u64, TarError> {
        let at = self.at;
        u64::try_from(self.number(range, "the sparse map")?).map_err(|_| TarError::Number {
            at,
            field: "the sparse map",
        })
    }

    fn id(&self, range: std::ops::Range<usize>, field: &'static str) -> Result<u32, TarError> {
        let at = self.at;
        u32::try_from(self.number(range, field)?).map_err(|_| TarError::Number { at, field })
    }

    /// Octal digits amid blanks, or base 256 when the highest bit is set. An empty field is 0.
    fn number(&self, range: std::ops::Range<usize>, field: &'static str) -> Result<i64, TarError> {
        number(&self.block[range]).ok_or(TarError::Number { at: self.at, field })
    }
}

/// The bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // Two's complement, big endian; the highest bit is the mark and not part of it.
        let mut value: i64 = if first & 0x40 != 0 { -1 } else { 0 };
        for (index, &byte) in field.iter().enumerate() {
            let (bits, byte) = if index == 0 {
                (6, byte & 0x3f)
            } else {
                (8, byte)
            };
            value = value.checked_mul(1 << bits)?.checked_add(i64::from(byte))?;
        }
        return Some(value);
    }
    let is_blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field
        .iter()
        .position(|byte| !is_blank(byte))
        .unwrap_or(field.len());
    let digits = &field[start..];
    let digits = digits.split(is_blank).next().unwrap_or(digits);
    let mut value: i64 = 0;
    for &digit in digits {
        if !(b'0'..=b'7').contains(&digit) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::number;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"    644 ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"7777777", Some(0o7777777)),
            (b"\x80\0\0\0\xff\xff\xff\xfe", Some(4294967294)),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                Some(-1),
            ),
            (
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"0000648\0", None),
            (b"-1", None),
            (b"", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
