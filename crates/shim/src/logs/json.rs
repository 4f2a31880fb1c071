//! Text within JSON, escaped as docker's log driver escapes it.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as the inside of a JSON string.
///
/// Besides what JSON demands, `<`, `>`, `&` and the two line separators of Unicode are escaped; each byte that
/// is not part of valid UTF-8 becomes the replacement character.
pub(crate) fn escape(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        escape_text(chunk.valid(), out);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn escape_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let length = if needs_escape(byte) {
            1
        } else if byte == 0xe2 && matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) {
            3
        } else {
            at += 1;
            continue;
        };
        out.extend_from_slice(&bytes[copied..at]);
        escape_one(&bytes[at..at + length], out);
        at += length;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn escape_one(character: &[u8], out: &mut Vec<u8>) {
    match *character {
        [sign @ (b'"' | b'\\')] => out.extend_from_slice(&[b'\\', sign]),
        [b'\n'] => out.extend_from_slice(b"\\n"),
        [b'\r'] => out.extend_from_slice(b"\\r"),
        [_, _, 0xa8] => out.extend_from_slice(b"\\u2028"),
        [_, _, _] => out.extend_from_slice(b"\\u2029"),
        [byte, ..] => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
        [] => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_escaped_as_docker_does() {
        assert_eq!(escaped("plain é 漢".as_bytes()), "plain é 漢");
        assert_eq!(
            escaped(b"a\"b\\c\n\r\t\x1b[0m"),
            r#"a\"b\\c\n\r\u0009\u001b[0m"#
        );
        assert_eq!(
            escaped(b"<a href=\"x\">&"),
            r#"\u003ca href=\"x\"\u003e\u0026"#
        );
        assert_eq!(
            escaped("x\u{2028}y\u{2029}\u{2027}".as_bytes()),
            "x\\u2028y\\u2029\u{2027}"
        );
        assert_eq!(escaped(b"ok\xff\xc3"), "ok\\ufffd\\ufffd");
        assert_eq!(escaped(b"\xe2\x80"), "\\ufffd\\ufffd");
        assert_eq!(escaped(b""), "");
    }
}
