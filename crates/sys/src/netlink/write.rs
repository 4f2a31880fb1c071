//! Encoding of netlink messages and attributes (`struct nlmsghdr`, `struct nlattr`; linux/netlink.h).

/// Flag of an attribute that holds attributes (`NLA_F_NESTED`).
const NESTED: u16 = 1 << 15;

/// Netlink messages in the making, one after the other, as one send takes them.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// What was written so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends a message; `body` writes the family's header and the attributes.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    /// Appends bytes as they are: a family's header.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends an attribute that holds `value`.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = (value.len() + 4) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// Appends an attribute with a number in the machine's byte order, as rtnetlink has them.
    pub fn native_u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Appends an attribute with a number in network byte order, as nfnetlink has them.
    pub fn network_u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends an attribute with a text and its closing zero.
    pub fn text(&mut self, kind: u16, value: &str) {
        let length = (value.len() + 5) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    /// Appends an attribute that holds the attributes which `content` writes: fewer than 64 KiB.
    pub fn nested(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        content(self);
        let length = self.bytes.len() - start;
        debug_assert!(
            length <= usize::from(u16::MAX),
            "{length} bytes in one attribute"
        );
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_s_length_leaves_out_its_own_padding() {
        let mut writer = Writer::default();
        writer.message(16, 5, 7, |w| {
            w.nested(1, |w| w.text(2, "ab"));
            w.attribute(3, &[9]);
        });
        let bytes = writer.bytes();
        assert_eq!(bytes.len(), 16 + 4 + 8 + 8);
        assert_eq!(bytes[..4], 36u32.to_ne_bytes());
        assert_eq!(bytes[16..18], 12u16.to_ne_bytes());
        assert_eq!(bytes[18..20], (1u16 | NESTED).to_ne_bytes());
        assert_eq!(bytes[20..22], 7u16.to_ne_bytes());
        assert_eq!(&bytes[24..28], b"ab\0\0");
        assert_eq!(bytes[28..30], 5u16.to_ne_bytes());
    }
}
