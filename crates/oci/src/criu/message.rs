//! As much of protocol buffers as criu's requests and answers need: numbers, texts, and messages within messages.

/// A number as it is: seven bits a byte.
const VARINT: u64 = 0;
/// A length and so many bytes.
const BYTES: u64 = 2;

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3 | VARINT);
        self.varint(value);
    }

    /// A switch, where it is on.
    pub(super) fn switch(&mut self, field: u32, on: bool) {
        if on {
            self.number(field, 1);
        }
    }

    pub(super) fn text(&mut self, field: u32, value: &str) {
        self.part(field, value.as_bytes());
    }

    /// A message within, or any bytes.
    pub(super) fn part(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }
}

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order. What is cut short, or of a kind that criu does not send, ends them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The last value of a field.
    pub(super) fn get(self, field: u32) -> Option<Value<'a>> {
        self.filter(|(found, _)| *found == field)
            .map(|(_, value)| value)
            .last()
    }

    pub(super) fn number(self, field: u32) -> Option<u64> {
        match self.get(field)? {
            Value::Number(number) => Some(number),
            Value::Bytes(_) => None,
        }
    }

    /// A message within.
    pub(super) fn part(self, field: u32) -> Option<Self> {
        match self.get(field)? {
            Value::Bytes(bytes) => Some(Self(bytes)),
            Value::Number(_) => None,
        }
    }

    pub(super) fn text(self, field: u32) -> Option<&'a str> {
        std::str::from_utf8(self.part(field)?.0).ok()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        // Ten bytes hold 64 bits.
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let head = self.varint()?;
        let field = u32::try_from(head >> 3).ok()?;
        let value = match head & 7 {
            VARINT => Value::Number(self.varint()?),
            BYTES => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some((field, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut within = Message::default();
        within.text(1, "eth0");
        let mut message = Message::default();
        message.number(1, 300);
        message.switch(2, false);
        message.switch(3, true);
        message.part(70, within.bytes());
        message.number(4, u64::MAX);
        assert_eq!(message.bytes()[..3], [8, 0xac, 2]);
        let fields = Fields(message.bytes());
        assert_eq!(fields.number(1), Some(300));
        assert_eq!((fields.number(2), fields.number(3)), (None, Some(1)));
        assert_eq!(fields.number(4), Some(u64::MAX));
        assert_eq!(fields.part(70).and_then(|part| part.text(1)), Some("eth0"));
        assert_eq!(fields.text(1), None);
        for length in 0..message.bytes().len() {
            let part = Fields(&message.bytes()[..length]);
            assert!(part.count() < fields.count());
        }
        assert_eq!(Fields(&[0xff; 20]).count(), 0);
    }
}
