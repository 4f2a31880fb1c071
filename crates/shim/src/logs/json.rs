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

/// How deep objects and lists may lie within each other.
const DEPTH: usize = 32;

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// What follows `sign`, if that comes first.
pub(crate) fn after(text: &[u8], sign: u8) -> Option<&[u8]> {
    match trim(text).split_first() {
        Some((&first, rest)) if first == sign => Some(rest),
        _ => None,
    }
}

/// A string without escapes as it stands there, and what follows it.
pub(crate) fn plain(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = after(text, b'"')?;
    let end = text.iter().position(|&byte| matches!(byte, b'"' | b'\\'))?;
    let (content, rest) = text.split_at(end);
    Some((content, rest.strip_prefix(b"\"")?))
}

/// A string's content, and what follows it.
pub(crate) fn string(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = after(text, b'"')?;
    let mut content = Vec::new();
    loop {
        let plain = rest.iter().position(|&byte| matches!(byte, b'"' | b'\\'))?;
        content.extend_from_slice(&rest[..plain]);
        let sign = rest[plain];
        rest = &rest[plain + 1..];
        if sign == b'"' {
            return Some((content, rest));
        }
        rest = unescape(rest, &mut content)?;
    }
}

/// Appends the character that an escape stands for; what follows it.
fn unescape<'a>(rest: &'a [u8], content: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (&kind, rest) = rest.split_first()?;
    let plain = match kind {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'"' | b'\\' | b'/' => kind,
        b'u' => return unescape_unicode(rest, content),
        _ => return None,
    };
    content.push(plain);
    Some(rest)
}

fn unescape_unicode<'a>(rest: &'a [u8], content: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (first, mut rest) = hex(rest)?;
    let mut code = first;
    // A character beyond 16 bits is two escapes.
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = rest.strip_prefix(b"\\u")
        && let Some((low, after)) = hex(second)
        && (0xdc00..0xe000).contains(&low)
    {
        code = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
        rest = after;
    }
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    content.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

fn hex(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    let digits = std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// A value of any kind as it is written, and what follows it.
pub(crate) fn skip(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = trim(text);
    let mut open: Vec<u8> = Vec::new();
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'"' => {
                let (_, rest) = string(&text[at..])?;
                at = text.len() - rest.len();
            }
            sign @ (b'{' | b'[') => {
                if open.len() == DEPTH {
                    return None;
                }
                open.push(if sign == b'{' { b'}' } else { b']' });
                at += 1;
                continue;
            }
            sign @ (b'}' | b']') if open.last() == Some(&sign) => {
                open.pop();
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' if !open.is_empty() => {
                at += 1;
                continue;
            }
            byte if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.') => {
                while text
                    .get(at)
                    .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'))
                {
                    at += 1;
                }
            }
            _ => return None,
        }
        if open.is_empty() {
            return Some(text.split_at(at));
        }
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

    #[test]
    fn what_is_escaped_is_read() {
        let all: String = (0..0x1_1000).filter_map(char::from_u32).collect();
        let text = format!("\"{}\" rest", escaped(all.as_bytes()));
        let (content, rest) = string(text.as_bytes()).unwrap();
        assert!(content == all.as_bytes() && rest == b" rest");
        assert_eq!(
            string(br#""\ud83d\ude00\ud800\/""#).unwrap().0,
            "😀\u{fffd}/".as_bytes()
        );
        for wrong in [
            &b""[..],
            b"x",
            br#"""#.split_at(0).0,
            br#""a"#,
            br#""\"#,
            br#""\u12"#,
            br#""\x""#,
        ] {
            assert_eq!(string(wrong), None);
        }
    }

    #[test]
    fn values_are_skipped_whole() {
        for (text, value) in [
            (r#" {"a":[1,2,{"b":"]}"}]} ,x"#, r#"{"a":[1,2,{"b":"]}"}]}"#),
            ("-1.5e3,", "-1.5e3"),
            ("null}", "null"),
            (r#""s" "#, r#""s""#),
        ] {
            assert_eq!(skip(text.as_bytes()).unwrap().0, value.as_bytes(), "{text}");
        }
        for wrong in ["", "[1", "{]", "}"] {
            assert_eq!(skip(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(skip("[".repeat(100_000).as_bytes()), None);
    }
}
