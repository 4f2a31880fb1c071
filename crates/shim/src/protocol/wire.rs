//! The encoding below every message: fields of tag (u16), length (u32) and bytes, little endian.
//!
//! A number is written in as many bytes as it needs, none for zero; a field at its zero value is left
//! out. Whoever reads takes unknown tags for the words of a newer release and skips them.

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end within a header or a field.
    #[error("the message ends within a field")]
    Truncated,
    /// The first four bytes are not ours.
    #[error("the message does not begin as a shim message does")]
    Magic,
    /// The peer speaks another major version.
    #[error("the peer speaks version {major} of the shim protocol, this program {ours}", ours = super::MAJOR)]
    Major {
        /// The peer's major version.
        major: u16,
    },
    /// A field's content is not of its type.
    #[error("field {tag} of the message is not valid")]
    Field {
        /// The field's tag.
        tag: u16,
    },
    /// A field without which the message means nothing is absent.
    #[error("field {tag} of the message is absent")]
    Missing {
        /// The field's tag.
        tag: u16,
    },
    /// The message is of no kind that this program knows.
    #[error("the message is of the unknown kind {kind}")]
    Kind {
        /// The kind in the header.
        kind: u16,
    },
    /// A length or count is above its limit.
    #[error("the message is above the limit: {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
    },
}

/// Writes fields one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes the field even if it is empty.
    pub(crate) fn bytes(&mut self, tag: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&tag.to_le_bytes());
        // A value of 4 GiB or more can not be in memory limits that senders keep; it would be cut
        // off here and refused by the reader as malformed.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn number(&mut self, tag: u16, value: u64) {
        if value != 0 {
            let used = 8 - (value.leading_zeros() / 8) as usize;
            self.bytes(tag, &value.to_le_bytes()[..used]);
        }
    }

    pub(crate) fn signed(&mut self, tag: u16, value: i32) {
        self.number(tag, u64::from(value.cast_unsigned()));
    }

    pub(crate) fn flag(&mut self, tag: u16, value: bool) {
        self.number(tag, u64::from(value));
    }

    /// A number whose absence differs from zero.
    pub(crate) fn optional(&mut self, tag: u16, value: Option<u64>) {
        match value {
            Some(0) => self.bytes(tag, &[]),
            Some(value) => self.number(tag, value),
            None => {}
        }
    }

    /// Leaves the field out if it is empty.
    pub(crate) fn content(&mut self, tag: u16, value: &[u8]) {
        if !value.is_empty() {
            self.bytes(tag, value);
        }
    }

    pub(crate) fn nested(&mut self, tag: u16, fill: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::new();
        fill(&mut inner);
        self.bytes(tag, &inner.bytes);
    }
}

/// One field as it was received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) tag: u16,
    pub(crate) value: &'a [u8],
}

impl<'a> Field<'a> {
    fn invalid(&self) -> WireError {
        WireError::Field { tag: self.tag }
    }

    pub(crate) fn number(&self) -> Result<u64, WireError> {
        let mut wide = [0; 8];
        wide.get_mut(..self.value.len())
            .ok_or_else(|| self.invalid())?
            .copy_from_slice(self.value);
        Ok(u64::from_le_bytes(wide))
    }

    /// A number that fits into a narrower type.
    pub(crate) fn narrow<T: TryFrom<u64>>(&self) -> Result<T, WireError> {
        T::try_from(self.number()?).map_err(|_| self.invalid())
    }

    pub(crate) fn signed(&self) -> Result<i32, WireError> {
        Ok(self.narrow::<u32>()?.cast_signed())
    }

    pub(crate) fn flag(&self) -> Result<bool, WireError> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid()),
        }
    }

    /// Bytes of at most `limit`.
    pub(crate) fn content(&self, limit: usize) -> Result<Vec<u8>, WireError> {
        if self.value.len() > limit {
            return Err(WireError::Limit {
                what: "a field's length",
            });
        }
        Ok(self.value.to_vec())
    }

    pub(crate) fn text(&self, limit: usize) -> Result<String, WireError> {
        String::from_utf8(self.content(limit)?).map_err(|_| self.invalid())
    }

    pub(crate) fn parse<T: std::str::FromStr>(&self) -> Result<T, WireError> {
        std::str::from_utf8(self.value)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.invalid())
    }

    pub(crate) fn nested(&self) -> Fields<'a> {
        Fields::new(self.value)
    }
}

/// Reads fields until the bytes end.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Fields { rest: bytes }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = split_field(self.rest);
        match field {
            Some((field, rest)) => {
                self.rest = rest;
                Some(Ok(field))
            }
            None => {
                self.rest = &[];
                Some(Err(WireError::Truncated))
            }
        }
    }
}

fn split_field(bytes: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((
        Field {
            tag: u16::from_le_bytes(*tag),
            value,
        },
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_order() {
        let mut writer = Writer::new();
        writer.number(1, 0);
        writer.number(2, 0x1_00);
        writer.signed(3, -7);
        writer.flag(4, true);
        writer.optional(5, Some(0));
        writer.optional(6, None);
        writer.nested(7, |inner| inner.content(1, b"in"));
        let bytes = writer.finish();
        let fields: Vec<Field<'_>> = Fields::new(&bytes).map(Result::unwrap).collect();
        let tags: Vec<u16> = fields.iter().map(|field| field.tag).collect();
        assert_eq!(tags, [2, 3, 4, 5, 7]);
        assert_eq!(fields[0].number(), Ok(256));
        assert_eq!(fields[0].narrow::<u8>(), Err(WireError::Field { tag: 2 }));
        assert_eq!(fields[1].signed(), Ok(-7));
        assert_eq!(fields[2].flag(), Ok(true));
        assert_eq!(fields[3].number(), Ok(0));
        let inner = fields[4].nested().next().unwrap().unwrap();
        assert_eq!(inner.text(2).unwrap(), "in");
        assert!(inner.text(1).is_err());
    }

    #[test]
    fn a_field_that_is_cut_off_is_an_error_and_the_end() {
        let mut writer = Writer::new();
        writer.content(1, b"abcdef");
        let bytes = writer.finish();
        for length in 1..bytes.len() {
            let mut fields = Fields::new(&bytes[..length]);
            assert_eq!(fields.next().unwrap().unwrap_err(), WireError::Truncated);
            assert!(fields.next().is_none());
        }
    }
}
