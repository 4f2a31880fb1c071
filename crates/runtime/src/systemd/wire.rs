//! Messages of D-Bus, as far as they are needed: little-endian, without descriptors
//! (<https://dbus.freedesktop.org/doc/dbus-specification.html>).

use super::variant::Kind;

/// The largest message that is read; the bus's own limit is 128 MiB, and answers here are short.
pub(super) const MOST: usize = 1 << 20;
/// Every message begins with so many bytes, of which the last four tell the length of the fields behind them.
pub(super) const FIXED: usize = 16;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A value of a unit's property.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Byte(u8),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    /// What systemd has most of: 64 bits without a sign.
    Number(u64),
    Double(f64),
    Text(String),
    Numbers(Vec<u32>),
    Bytes(Vec<u8>),
    Pairs(Vec<(String, String)>),
    /// Values that have all this one type.
    Array(Kind, Vec<Value>),
    Tuple(Vec<Value>),
}

impl Value {
    pub(super) fn kind(&self) -> Kind {
        let array = |element| Kind::Array(Box::new(element));
        match self {
            Value::Bool(_) => Kind::Bool,
            Value::Byte(_) => Kind::Byte,
            Value::Int16(_) => Kind::Int16,
            Value::Uint16(_) => Kind::Uint16,
            Value::Int32(_) => Kind::Int32,
            Value::Uint32(_) => Kind::Uint32,
            Value::Int64(_) => Kind::Int64,
            Value::Number(_) => Kind::Uint64,
            Value::Double(_) => Kind::Double,
            Value::Text(_) => Kind::Text,
            Value::Numbers(_) => array(Kind::Uint32),
            Value::Bytes(_) => array(Kind::Byte),
            Value::Pairs(_) => array(Kind::Tuple(vec![Kind::Text, Kind::Text])),
            Value::Array(element, _) => array(element.clone()),
            Value::Tuple(parts) => Kind::Tuple(parts.iter().map(Value::kind).collect()),
        }
    }
}

/// Writes values one behind the other, each where its alignment puts it.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        while !self.0.len().is_multiple_of(to) {
            self.0.push(0);
        }
    }

    pub(super) fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    /// A string or an object path.
    pub(super) fn text(&mut self, value: &str) {
        // Nothing that is sent comes near the limit.
        self.number(value.len() as u32);
        self.0.extend(value.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, value: &str) {
        self.0.push(value.len() as u8);
        self.0.extend(value.as_bytes());
        self.0.push(0);
    }

    /// An array whose elements begin at multiples of `align`.
    pub(super) fn array(&mut self, align: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(align);
        let start = self.0.len();
        elements(self);
        let length = (self.0.len() - start) as u32;
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// A number of as many bytes as it is aligned to.
    fn bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.0.extend(bytes);
    }

    /// A value that tells its type.
    fn value(&mut self, value: &Value) {
        self.signature(&value.kind().signature());
        self.bare(value);
    }

    fn bare(&mut self, value: &Value) {
        match value {
            Value::Bool(value) => self.boolean(*value),
            Value::Byte(value) => self.bytes(value.to_le_bytes()),
            Value::Int16(value) => self.bytes(value.to_le_bytes()),
            Value::Uint16(value) => self.bytes(value.to_le_bytes()),
            Value::Int32(value) => self.bytes(value.to_le_bytes()),
            Value::Uint32(value) => self.bytes(value.to_le_bytes()),
            Value::Int64(value) => self.bytes(value.to_le_bytes()),
            Value::Number(value) => self.bytes(value.to_le_bytes()),
            Value::Double(value) => self.bytes(value.to_le_bytes()),
            Value::Text(value) => self.text(value),
            Value::Array(element, values) => {
                self.array(element.alignment(), |w| {
                    values.iter().for_each(|v| w.bare(v))
                });
            }
            Value::Tuple(parts) => {
                self.align(8);
                parts.iter().for_each(|part| self.bare(part));
            }
            Value::Numbers(values) => self.array(4, |w| values.iter().for_each(|v| w.number(*v))),
            Value::Bytes(values) => self.array(1, |w| w.0.extend(values)),
            Value::Pairs(values) => self.array(8, |w| {
                for (first, second) in values {
                    w.align(8);
                    w.text(first);
                    w.text(second);
                }
            }),
        }
    }

    /// An array of names with values, `a(sv)`.
    pub(super) fn properties(&mut self, properties: &[(&str, Value)]) {
        self.array(8, |w| {
            for (name, value) in properties {
                w.align(8);
                w.text(name);
                w.value(value);
            }
        });
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.number(value.into());
    }
}

/// A call of a method.
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    /// The types of the body.
    pub(super) signature: &'a str,
    pub(super) body: Writer,
}

impl Call<'_> {
    /// The whole message.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut message = Writer(vec![b'l', CALL, 0, 1]);
        message.number(self.body.0.len() as u32);
        message.number(serial);
        let fields = [
            (PATH, "o", self.path),
            (INTERFACE, "s", self.interface),
            (MEMBER, "s", self.member),
            (DESTINATION, "s", self.destination),
            (SIGNATURE, "g", self.signature),
        ];
        message.array(8, |w| {
            for (code, kind, value) in fields {
                if value.is_empty() {
                    continue;
                }
                w.align(8);
                w.0.push(code);
                w.signature(kind);
                if kind == "g" {
                    w.signature(value);
                } else {
                    w.text(value);
                }
            }
        });
        message.align(8);
        message.0.extend(&self.body.0);
        message.0
    }
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The answer to the call with this serial number, and the text or path that it begins with, as such or as a variant.
    Return(u32, Option<String>),
    /// Its refusal: a name such as `org.freedesktop.systemd1.NoSuchUnit`, and a sentence.
    Refusal(u32, String, String),
    /// A signal's member, and the body.
    Signal(String, Vec<u8>),
    /// A call to us, which nobody answers, and kinds to come.
    Other,
}

/// Reads values one behind the other.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.number()? as usize;
        let text = self.take(length)?.to_vec();
        self.take(1)?;
        String::from_utf8(text).ok()
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.take(1)?[0].into();
        let text = self.take(length)?.to_vec();
        self.take(1)?;
        String::from_utf8(text).ok()
    }
}

/// How long a message is by its first [`FIXED`] bytes; `None` for one that is not understood or too long.
pub(super) fn length(fixed: &[u8; FIXED]) -> Option<usize> {
    let number = |at: usize| {
        let bytes: [u8; 4] = fixed[at..at + 4].try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    if fixed[0] != b'l' || fixed[3] != 1 {
        return None;
    }
    let fields = number(12)?.checked_next_multiple_of(8)?;
    let all = FIXED.checked_add(fields)?.checked_add(number(4)?)?;
    (all <= MOST).then_some(all)
}

/// Reads a whole message; `None` for one that is not understood.
pub(super) fn decode(message: &[u8]) -> Option<Incoming> {
    let fields_end = FIXED + {
        let mut reader = Reader::new(message);
        reader.at = 12;
        reader.number()? as usize
    };
    let mut reader = Reader::new(message.get(..fields_end)?);
    reader.at = FIXED;
    let (mut member, mut error, mut serial, mut signature) = (None, None, None, String::new());
    while reader.at < fields_end {
        reader.align(8);
        let code = reader.take(1)?[0];
        let kind = reader.signature()?;
        let (text, number) = match kind.as_str() {
            "s" | "o" => (Some(reader.text()?), None),
            "g" => (Some(reader.signature()?), None),
            "u" => (None, Some(reader.number()?)),
            _ => return None,
        };
        match code {
            MEMBER => member = text,
            ERROR_NAME => error = text,
            REPLY_SERIAL => serial = number,
            SIGNATURE => signature = text.unwrap_or_default(),
            _ => {}
        }
    }
    let body = message.get(fields_end.next_multiple_of(8)..)?;
    let first = || {
        let mut reader = Reader::new(body);
        let kind = match signature.starts_with('v') {
            true => reader.signature()?,
            false => signature,
        };
        kind.starts_with(['s', 'o'])
            .then(|| reader.text())
            .flatten()
    };
    Some(match *message.get(1)? {
        RETURN => Incoming::Return(serial?, first()),
        ERROR => Incoming::Refusal(serial?, error?, first().unwrap_or_default()),
        SIGNAL => Incoming::Signal(member?, body.to_vec()),
        _ => Incoming::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_laid_out_as_the_specification_has_it() {
        let mut body = Writer::default();
        body.text("ab");
        body.properties(&[("N", Value::Number(5)), ("B", Value::Bool(true))]);
        let call = Call {
            destination: "d.e",
            path: "/p",
            interface: "i.f",
            member: "M",
            signature: "sa(sv)",
            body,
        };
        let bytes = call.encode(7);
        assert_eq!(&bytes[..4], b"l\x01\x00\x01");
        let fixed: &[u8; FIXED] = bytes[..FIXED].try_into().unwrap();
        assert_eq!(length(fixed), Some(bytes.len()));
        let body_length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let body = &bytes[bytes.len() - body_length..];
        assert_eq!((bytes.len() - body_length) % 8, 0);
        assert_eq!(&body[..7], b"\x02\0\0\0ab\0");
        // The array's length stands at 8, its first element at 16 behind four bytes of padding.
        assert_eq!(&body[16..22], b"\x01\0\0\0N\0");
        assert_eq!(&body[22..25], b"\x01t\0");
        assert_eq!(&body[32..40], &5u64.to_le_bytes());
        assert_eq!(&body[40..46], b"\x01\0\0\0B\0");
    }

    #[test]
    fn values_are_laid_out_as_the_specification_has_it() {
        let laid = |value: &Value| {
            let mut writer = Writer::default();
            writer.value(value);
            writer.0
        };
        assert_eq!(laid(&Value::Byte(7)), b"\x01y\0\x07");
        assert_eq!(laid(&Value::Int16(-2)), b"\x01n\0\0\xfe\xff");
        assert_eq!(laid(&Value::Int32(-2)), b"\x01i\0\0\xfe\xff\xff\xff");
        assert_eq!(laid(&Value::Double(1.0))[8..], 1f64.to_le_bytes());
        let pairs = Value::Pairs(vec![("a".to_owned(), "b".to_owned())]);
        let text = |text: &str| Value::Text(text.to_owned());
        let tuple = Value::Tuple(vec![text("a"), text("b")]);
        assert_eq!(laid(&Value::Array(tuple.kind(), vec![tuple])), laid(&pairs));
        let list = Value::Array(Kind::Uint64, vec![Value::Number(5)]);
        assert_eq!(laid(&list)[..4], *b"\x02at\0");
        // The length does not count what lies before the first element.
        assert_eq!(laid(&list)[4..], *b"\x08\0\0\0\x05\0\0\0\0\0\0\0");
    }

    fn answer(kind: u8, fields: &[(u8, &str, &str)], serial: u32, body: &Writer) -> Vec<u8> {
        let mut message = Writer(vec![b'l', kind, 1, 1]);
        message.number(body.0.len() as u32);
        message.number(99);
        message.array(8, |w| {
            w.align(8);
            w.0.push(REPLY_SERIAL);
            w.signature("u");
            w.number(serial);
            for (code, kind, value) in fields {
                w.align(8);
                w.0.push(*code);
                w.signature(kind);
                match *kind {
                    "g" => w.signature(value),
                    _ => w.text(value),
                }
            }
        });
        message.align(8);
        message.0.extend(&body.0);
        message.0
    }

    #[test]
    fn answers_are_read() {
        let mut body = Writer::default();
        body.text("/job/1");
        let message = answer(RETURN, &[(SIGNATURE, "g", "o")], 7, &body);
        assert_eq!(
            decode(&message),
            Some(Incoming::Return(7, Some("/job/1".to_owned())))
        );
        let mut variant = Writer::default();
        variant.value(&Value::Text("/group".to_owned()));
        let message = answer(RETURN, &[(SIGNATURE, "g", "v")], 8, &variant);
        assert_eq!(
            decode(&message),
            Some(Incoming::Return(8, Some("/group".to_owned())))
        );
        let fields = [(ERROR_NAME, "s", "a.b"), (SIGNATURE, "g", "s")];
        let message = answer(ERROR, &fields, 7, &body);
        assert_eq!(
            decode(&message),
            Some(Incoming::Refusal(7, "a.b".to_owned(), "/job/1".to_owned()))
        );
        // Cut anywhere it is no answer, and nothing worse.
        for end in 0..message.len() {
            assert!(!matches!(
                decode(&message[..end]),
                Some(Incoming::Refusal(_, _, text)) if text == "/job/1"
            ));
        }
        assert_eq!(
            length(&[b'l', 2, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]),
            None
        );
        assert_eq!(
            length(&[b'B', 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            None
        );
    }
}
