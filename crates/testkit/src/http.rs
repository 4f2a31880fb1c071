//! Reading one HTTP/1.1 answer whose connection was closed behind it.

/// Status and body of a whole answer, chunks joined; `None` when it was cut short.
pub(crate) fn read_answer(answer: &[u8]) -> Option<(u16, String)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let body = &answer[end + 4..];
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let body = if header("transfer-encoding").is_some_and(|value| value == "chunked") {
        join_chunks(body)?
    } else {
        match header("content-length") {
            Some(length) if length.parse() != Ok(body.len()) => return None,
            _ => body.to_vec(),
        }
    };
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::read_answer;

    #[test]
    fn whole_answers_are_read_and_cut_ones_are_not() {
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(read_answer(chunked), Some((200, "abcd".to_owned())));
        assert_eq!(read_answer(&chunked[..chunked.len() - 5]), None);
        let plain = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(read_answer(plain), Some((404, "no".to_owned())));
        assert_eq!(read_answer(&plain[..plain.len() - 1]), None);
        assert_eq!(
            read_answer(b"HTTP/1.1 204 No Content\r\n\r\n"),
            Some((204, String::new()))
        );
    }
}
