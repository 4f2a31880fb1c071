//! Bytes in a request line that no URI has.
//!
//! Docker's server takes `filters={"status":["running"]}` as people type it; hyper answers 400 with an empty body before
//! anybody of ours sees the request. So they are encoded on their way to hyper.

use tokio::io::ReadBuf;

/// No path or query may contain these. hyper takes what stands behind `#` for a fragment, Docker's server does not.
fn is_foreign(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | b'#') || byte >= 0x80
}

/// Encodes what is foreign in the request line at the beginning of what was just read, which starts at `from`.
///
/// It is left alone when it did not come whole, or when the buffer has no room for more: hyper refuses it then.
pub(crate) fn encode(buffer: &mut ReadBuf<'_>, from: usize) {
    let read = &buffer.filled()[from..];
    let mut foreign = 0;
    let mut end = None;
    for (at, &byte) in read.iter().enumerate() {
        if byte == b'\n' {
            end = Some(at);
            break;
        }
        foreign += usize::from(is_foreign(byte));
    }
    let Some(end) = end.filter(|_| foreign > 0 && buffer.remaining() >= 2 * foreign) else {
        return;
    };
    if !is_request_line(&read[..end]) {
        return;
    }
    let read = read.to_vec();
    buffer.set_filled(from);
    let (line, rest) = read.split_at(end);
    for &byte in line {
        if is_foreign(byte) {
            let digit = |half: u8| b"0123456789ABCDEF"[usize::from(half & 15)];
            buffer.put_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        } else {
            buffer.put_slice(&[byte]);
        }
    }
    buffer.put_slice(rest);
}

/// Whether it is `METHOD /… HTTP/1.x`: more of a body that nobody takes might stand here too.
fn is_request_line(line: &[u8]) -> bool {
    let mut words = line
        .strip_suffix(b"\r")
        .unwrap_or(line)
        .split(|&byte| byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    method.is_some_and(|method| method.iter().all(u8::is_ascii_uppercase))
        && target.is_some_and(|target| target.starts_with(b"/"))
        && version.is_some_and(|version| version.starts_with(b"HTTP/1."))
        && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, room: usize) -> String {
        let mut memory = vec![0; 3 + text.len() + room];
        let mut buffer = ReadBuf::new(&mut memory);
        buffer.put_slice(b"old");
        buffer.put_slice(text.as_bytes());
        encode(&mut buffer, 3);
        let filled = buffer.filled();
        assert!(filled.starts_with(b"old"));
        String::from_utf8_lossy(&filled[3..]).into_owned()
    }

    #[test]
    fn what_no_uri_has_is_encoded() {
        assert_eq!(
            encoded(
                "GET /a?f={\"é\"}#<> HTTP/1.1\r\nHost: \"x\"\r\n\r\n\"body\"",
                20
            ),
            "GET /a?f={%22%C3%A9%22}%23%3C%3E HTTP/1.1\r\nHost: \"x\"\r\n\r\n\"body\""
        );
    }

    #[test]
    fn all_else_is_left_as_it_is() {
        for (text, room) in [
            ("GET /a?f={%22x%22} HTTP/1.1\r\n\"", 20),
            ("GET /\"a\" HTTP/1.1\r\n", 3),
            ("GET /\"a\" HTTP/1.1", 20),
            ("GET /\"a b\" HTTP/1.1\r\n", 20),
            ("{\"get\": \"/a\"}\n", 20),
            ("get /\" HTTP/1.1\r\n", 20),
            ("", 0),
        ] {
            assert_eq!(encoded(text, room), text);
        }
    }
}
