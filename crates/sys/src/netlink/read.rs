//! Decoding of netlink messages and attributes. What is cut short ends the iteration.

/// Bits of an attribute's kind that are flags, not kind (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const KIND_MASK: u16 = 0x3fff;

/// One message: its header's fields and its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

/// The messages of one datagram.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = u32_of(self.0)? as usize;
        let whole = self.0.get(..length)?;
        let message = Message {
            kind: u16_of(whole.get(4..)?)?,
            flags: u16_of(whole.get(6..)?)?,
            sequence: u32_of(whole.get(8..)?)?,
            body: whole.get(16..)?,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// The attributes of a message or of a nest: kind and value.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this kind.
    pub fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind)
            .map(|(_, value)| value)
    }

    /// The attributes within the first attribute of this kind; none when it is absent.
    pub fn nest(self, kind: u16) -> Self {
        Self(self.get(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_of(self.0)?);
        let kind = u16_of(self.0.get(2..)?)? & KIND_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The first byte.
pub fn u8_of(bytes: &[u8]) -> Option<u8> {
    bytes.first().copied()
}

/// The first two bytes in the machine's byte order.
pub(crate) fn u16_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?))
}

/// The first four bytes in the machine's byte order.
pub fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// A text up to its closing zero, if it is UTF-8.
pub fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Writer;
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let mut writer = Writer::default();
        writer.message(20, 1, 3, |w| w.raw(&[1, 2, 3, 4]));
        writer.message(21, 2, 4, |w| {
            w.text(1, "eth0");
            w.nested(2, |w| w.network_u32(5, 6));
        });
        let messages: Vec<_> = Messages(writer.bytes()).collect();
        assert_eq!(messages.len(), 2);
        assert_eq!((messages[0].kind, messages[0].sequence), (20, 3));
        let attributes = Attributes(messages[1].body);
        assert_eq!(attributes.get(1).and_then(text_of), Some("eth0"));
        assert_eq!(attributes.nest(2).get(5), Some(&[0, 0, 0, 6][..]));
        assert_eq!(attributes.get(9), None);
    }

    #[test]
    fn damage_ends_the_iteration() {
        assert_eq!(Messages(&[0; 64]).count(), 0); // a length of nothing must not loop
        assert_eq!(Messages(&[200, 0, 0, 0, 1, 0]).count(), 0);
        assert_eq!(Attributes(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(Attributes(&[3, 0, 1, 0, 9]).count(), 0);
        assert_eq!(Attributes(&[90, 0, 1, 0, 9]).count(), 0);
    }
}
