//! PAX extended headers: records of `LENGTH KEY=VALUE\n`.

use super::{MAX_XATTR, MAX_XATTR_RECORDS, TarError, Time};

/// What an extended header changes of the entry that follows.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Records of attributes so far: each is looked for among those before it.
    xattr_records: usize,
    pub(super) sparse: SparseRecords,
}

/// The records of GNU's three ways to write a sparse file.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    /// Version 1.0: the map stands before the content.
    pub(super) version_1: bool,
    /// Version 0.1 hides the real name, since the header's is for tools that know nothing of it.
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths in turn.
    pub(super) numbers: Option<Vec<u64>>,
}

const SPARSE: &[u8] = b"GNU.sparse.";
const XATTR: &[u8] = b"SCHILY.xattr.";
const LIBARCHIVE_XATTR: &[u8] = b"LIBARCHIVE.xattr.";

impl Records {
    /// Reads the content of an extended header that began at byte `at`.
    pub(super) fn parse(mut bytes: &[u8], at: u64) -> Result<Self, TarError> {
        let mut records = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or(TarError::Extended {
                at,
                reason: "a record is malformed",
            })?;
            records.apply(key, Value { bytes: value, at })?;
            bytes = rest;
        }
        Ok(records)
    }

    fn apply(&mut self, key: &[u8], value: Value<'_>) -> Result<(), TarError> {
        match key {
            b"path" => self.path = value.name()?,
            b"linkpath" => self.link = value.name()?,
            b"size" => self.size = value.unless_empty(|value| value.number("the size"))?,
            b"uid" => self.uid = value.unless_empty(|value| value.id("the user id"))?,
            b"gid" => self.gid = value.unless_empty(|value| value.id("the group id"))?,
            b"SCHILY.devmajor" => {
                self.major = value.unless_empty(|value| value.id("the device number"))?;
            }
            b"SCHILY.devminor" => {
                self.minor = value.unless_empty(|value| value.id("the device number"))?;
            }
            b"mtime" => self.mtime = value.unless_empty(|value| value.time())?,
            _ => match key.strip_prefix(SPARSE) {
                Some(key) => self.sparse.apply(key, value)?,
                None => self.apply_xattr(key, value)?,
            },
        }
        Ok(())
    }

    /// Attributes in either dialect. Access and change times, names of owners, comments and text forms of access lists
    /// are not kept by layers.
    fn apply_xattr(&mut self, key: &[u8], value: Value<'_>) -> Result<(), TarError> {
        if let Some(name) = key.strip_prefix(XATTR) {
            return self.set_xattr(name, value.bytes.to_vec(), value.at);
        }
        let Some(name) = key.strip_prefix(LIBARCHIVE_XATTR) else {
            return Ok(());
        };
        let content = base64(value.bytes).ok_or(TarError::Extended {
            at: value.at,
            reason: "an extended attribute is not in base 64",
        })?;
        self.set_xattr(&percent_decoded(name), content, value.at)
    }

    fn set_xattr(&mut self, name: &[u8], value: Vec<u8>, at: u64) -> Result<(), TarError> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(TarError::Extended {
                at,
                reason: "the name of an extended attribute is not valid",
            });
        }
        if value.len() > MAX_XATTR {
            return Err(TarError::TooLarge {
                at,
                what: "an extended attribute",
                size: value.len() as u64,
                limit: MAX_XATTR as u64,
            });
        }
        self.xattr_records += 1;
        if self.xattr_records > MAX_XATTR_RECORDS {
            return Err(TarError::Extended {
                at,
                reason: "it has more than 512 records of extended attributes",
            });
        }
        // bsdtar writes each twice, in its own form and in star's.
        match self.xattrs.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.xattrs.push((name.to_vec(), value)),
        }
        Ok(())
    }
}

impl SparseRecords {
    /// Reads a record whose key begins with `GNU.sparse.`, which `key` lacks.
    fn apply(&mut self, key: &[u8], value: Value<'_>) -> Result<(), TarError> {
        match key {
            b"major" => self.version_1 = value.bytes == b"1",
            b"name" => self.name = value.name()?,
            b"size" | b"realsize" => {
                self.real_size = Some(value.number("the size of a sparse file")?);
            }
            b"numblocks" => self.numbers = Some(Vec::new()),
            b"offset" => self.add_number(value, 0)?,
            b"numbytes" => self.add_number(value, 1)?,
            b"map" => {
                let numbers = value.bytes.split(|&byte| byte == b',').map(decimal);
                let numbers: Option<Vec<u64>> = numbers.collect();
                self.numbers = Some(numbers.ok_or(value.not_a_number("the sparse map"))?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds an offset (`turn` 0) or a length (1).
    fn add_number(&mut self, value: Value<'_>, turn: usize) -> Result<(), TarError> {
        let number = value.number("the sparse map")?;
        let numbers = self.numbers.get_or_insert_default();
        if numbers.len() % 2 != turn {
            return Err(TarError::Sparse {
                at: value.at,
                reason: "offsets and lengths do not take turns",
            });
        }
        numbers.push(number);
        Ok(())
    }
}

/// A record's value, and where its header began.
#[derive(Clone, Copy)]
struct Value<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl Value<'_> {
    /// An empty value takes an earlier record back.
    fn unless_empty<T>(
        self,
        read: impl FnOnce(Self) -> Result<T, TarError>,
    ) -> Result<Option<T>, TarError> {
        match self.bytes {
            [] => Ok(None),
            _ => read(self).map(Some),
        }
    }

    fn name(self) -> Result<Option<Vec<u8>>, TarError> {
        if self.bytes.contains(&0) {
            return Err(TarError::Extended {
                at: self.at,
                reason: "a name contains a NUL byte",
            });
        }
        self.unless_empty(|value| Ok(value.bytes.to_vec()))
    }

    fn not_a_number(self, field: &'static str) -> TarError {
        TarError::Number { at: self.at, field }
    }

    fn number(self, field: &'static str) -> Result<u64, TarError> {
        decimal(self.bytes).ok_or(self.not_a_number(field))
    }

    fn id(self, field: &'static str) -> Result<u32, TarError> {
        u32::try_from(self.number(field)?).map_err(|_| self.not_a_number(field))
    }

    fn time(self) -> Result<Time, TarError> {
        time(self.bytes).ok_or(self.not_a_number("the modification time"))
    }
}

/// Splits the first record off.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // 20 digits hold any length.
    let blank = bytes.iter().take(21).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..blank])?).ok()?;
    if length <= blank + 1 || length > bytes.len() {
        return None;
    }
    let (record, rest) = bytes.split_at(length);
    let record = record[blank + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// Digits and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds with an optional fraction, of which nine digits count.
fn time(value: &[u8]) -> Option<Time> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanoseconds = 0u32;
    for index in 0..9 {
        let digit = fraction.get(index).map_or(0, |digit| digit - b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit);
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds,
        },
        // The nanoseconds always count forwards.
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

/// Base 64 of either alphabet, with or without padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for &digit in text.iter().take_while(|&&digit| digit != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// libarchive writes bytes of names that are not plain as %XX.
fn percent_decoded(name: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        plain.push(first);
        if let (b'%', Some(&[high, low])) = (first, tail.first_chunk::<2>())
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            plain.pop();
            plain.push((high * 16 + low) as u8);
            rest = &tail[2..];
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        let at = |seconds, nanoseconds| {
            Some(Time {
                seconds,
                nanoseconds,
            })
        };
        assert_eq!(time(b"12"), at(12, 0));
        assert_eq!(time(b"12.000000001"), at(12, 1));
        assert_eq!(time(b"12.5"), at(12, 500_000_000));
        assert_eq!(time(b"12.1234567899"), at(12, 123_456_789));
        assert_eq!(time(b"-1"), at(-1, 0));
        assert_eq!(time(b"-1.25"), at(-2, 750_000_000));
        for bad in [
            &b""[..],
            b"-",
            b"x",
            b"1.x",
            b"1e9",
            b"+1",
            b"99999999999999999999",
        ] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"0 a=b\n",
            b"99 a=b\n",
            b"6 a=b",
            b"6 a=bx",
            b"5 ab\n",
            b" 6 a=b\n",
            b"-6 a=b\n",
            b"18446744073709551616 a=b\n",
            b"10 size=x\n",
            b"12 path=a\0b\n",
            b"16 uid=4294967296\n",
            b"18 SCHILY.xattr.=\n",
            b"25 GNU.sparse.numbytes=1\n",
        ] {
            Records::parse(bad, 0).unwrap_err();
        }
    }

    #[test]
    fn attributes_of_both_dialects_are_read_once() {
        // Both records are between 10 and 99 bytes long: two digits and a blank more than their text.
        let lines = [
            "LIBARCHIVE.xattr.user.a%3db=AAE\n",
            "SCHILY.xattr.user.a=b=zz=z\n",
        ];
        let text: String = lines
            .iter()
            .map(|line| format!("{} {line}", line.len() + 3))
            .collect();
        let records = Records::parse(text.as_bytes(), 0);
        // The second key ends at its first equals sign, so the two are different attributes.
        let records = records.unwrap();
        assert_eq!(records.xattrs[0], (b"user.a=b".to_vec(), vec![0, 1]));
        assert_eq!(records.xattrs[1], (b"user.a".to_vec(), b"b=zz=z".to_vec()));
        assert_eq!(base64(b"aGVsbG8=").unwrap(), b"hello");
        assert_eq!(base64(b"-_8").unwrap(), [0xfb, 0xff]);
        assert_eq!(base64(b"a b"), None);
    }
}
