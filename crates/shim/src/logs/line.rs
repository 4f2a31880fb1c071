//! One object of a log file.

use super::{Stream, json};
use crate::clock;

/// One object of a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was written, in nanoseconds since 1970.
    pub time: u64,
    /// Where it came from.
    pub stream: Stream,
    /// What was written; it ends with a line feed unless it is a piece of a longer line.
    pub text: Vec<u8>,
    /// The attributes as a JSON object; empty if there are none.
    pub attrs: Vec<u8>,
}

impl Line {
    /// Reads an object; `None` if it is none, or lacks what each must have.
    pub(crate) fn parse(object: &[u8]) -> Option<Self> {
        let (mut time, mut stream, mut text, mut attrs) = (None, None, None, Vec::new());
        let mut rest = json::after(object, b'{')?;
        loop {
            // Nobody writes these names, streams or times with escapes.
            let (key, after_key) = json::plain(rest)?;
            rest = json::after(after_key, b':')?;
            rest = match key {
                b"log" => {
                    let (value, after) = json::string(rest)?;
                    text = Some(value);
                    after
                }
                b"stream" => {
                    let (value, after) = json::plain(rest)?;
                    stream = stream_of(value);
                    after
                }
                b"time" => {
                    let (value, after) = json::plain(rest)?;
                    time = clock::parse_rfc3339(value);
                    after
                }
                b"attrs" => {
                    let (value, after) = json::skip(rest)?;
                    attrs = value.to_vec();
                    after
                }
                _ => json::skip(rest)?.1,
            };
            match json::after(rest, b',') {
                Some(after) => rest = after,
                None => break,
            }
        }
        json::after(rest, b'}')?;
        Some(Line {
            time: time?,
            stream: stream?,
            text: text?,
            attrs,
        })
    }

    /// Reads only the time: it comes last in what the shim writes.
    pub(crate) fn time_of(object: &[u8]) -> Option<u64> {
        const KEY: &[u8] = b"\"time\":\"";
        // The longest time has 35 characters.
        let tail = &object[object.len().saturating_sub(64)..];
        let found = tail.windows(KEY.len()).rposition(|window| window == KEY);
        let quick = found.and_then(|at| {
            let value = &tail[at + KEY.len()..];
            let end = value.iter().position(|&byte| byte == b'"')?;
            clock::parse_rfc3339(&value[..end])
        });
        quick.or_else(|| Some(Self::parse(object)?.time))
    }
}

fn stream_of(name: &[u8]) -> Option<Stream> {
    [Stream::Stdout, Stream::Stderr]
        .into_iter()
        .find(|stream| stream.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Line> {
        Line::parse(text.as_bytes())
    }

    #[test]
    fn objects_are_read_in_any_order() {
        let line =
            parsed(r#"{"log":"a\n","stream":"stdout","time":"1970-01-01T00:00:01.5Z"}"#).unwrap();
        let expected = Line {
            time: 1_500_000_000,
            stream: Stream::Stdout,
            text: b"a\n".to_vec(),
            attrs: vec![],
        };
        assert_eq!(line, expected);
        let other = r#" { "time" : "1970-01-01T00:00:01.5Z", "x": [1, {"y": "}"}], "stream":"stdout" , "attrs":{"k":"v,}"}, "log":"a\n"} "#;
        assert_eq!(
            parsed(other),
            Some(Line {
                attrs: br#"{"k":"v,}"}"#.to_vec(),
                ..expected
            })
        );
        assert_eq!(Line::time_of(other.as_bytes()), Some(1_500_000_000));
    }

    #[test]
    fn what_is_no_whole_object_is_refused() {
        let whole = r#"{"log":"a\n","stream":"stdout","time":"1970-01-01T00:00:01.5Z"}"#;
        for end in 0..whole.len() {
            assert_eq!(parsed(&whole[..end]), None, "{}", &whole[..end]);
        }
        for wrong in [
            r#"{"log":"a","stream":"other","time":"1970-01-01T00:00:01Z"}"#,
            r#"{"log":"a","stream":"stdout","time":"yesterday"}"#,
            r#"{"log":"a","stream":"stdout"}"#,
            r#"{}"#,
            "\0\0\0",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_time_of_a_text_that_speaks_of_time_is_its_own() {
        let tricky = r#"{"log":"\"time\":\"1999-01-01T00:00:00Z\"","stream":"stderr","time":"1970-01-01T00:00:02Z"}"#;
        assert_eq!(Line::time_of(tricky.as_bytes()), Some(2_000_000_000));
    }
}
