//! Texts in quotes, as Go writes and reads them.

use std::fmt::Write;

/// Text in double quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    text.chars().for_each(|letter| push(letter, '"', &mut out));
    out.push('"');
    out
}

/// The same with letters beyond ASCII by their numbers.
pub(super) fn quoted_in_ascii(text: &str) -> String {
    let mut out = String::new();
    for letter in quoted(text).chars() {
        match u32::from(letter) {
            0..0x80 => out.push(letter),
            code @ 0x80..0x1_0000 => drop(write!(out, "\\u{code:04x}")),
            code => drop(write!(out, "\\U{code:08x}")),
        }
    }
    out
}

/// A letter in single quotes.
pub(super) fn letter(letter: char) -> String {
    let mut out = String::from('\'');
    push(letter, '\'', &mut out);
    out.push('\'');
    out
}

fn push(letter: char, quote: char, out: &mut String) {
    match letter {
        letter if letter == quote || letter == '\\' => out.extend(['\\', letter]),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        letter if is_shown(letter) => out.push(letter),
        letter if letter.is_ascii() => drop(write!(out, "\\x{:02x}", u32::from(letter))),
        letter if u32::from(letter) < 0x1_0000 => {
            let _ = write!(out, "\\u{:04x}", u32::from(letter));
        }
        letter => drop(write!(out, "\\U{:08x}", u32::from(letter))),
    }
}

/// Whether a letter is shown as it is.
pub(super) fn is_shown(letter: char) -> bool {
    letter == ' ' || !(letter.is_control() || letter.is_whitespace() || is_invisible(letter))
}

/// Marks without a form of their own, private letters and those that are none.
fn is_invisible(letter: char) -> bool {
    matches!(u32::from(letter),
        0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xe000..=0xf8ff | 0xfeff
        | 0xfff9..=0xfffb | 0xfffe..=0xffff | 0xe_0000..=0x10_ffff)
}

/// `U+0041 'A'`
pub(super) fn unicode(letter: char) -> String {
    let number = format!("U+{:04X}", u32::from(letter));
    match is_shown(letter) {
        true => format!("{number} '{letter}'"),
        false => number,
    }
}

/// The text that stands in quotes of one of the three kinds; `None` when it is none.
pub(super) fn unquoted(quoted: &str) -> Option<String> {
    let quote = quoted.chars().next()?;
    let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '`' {
        return Some(inner.replace('\r', ""));
    }
    // Escapes may make up a letter byte by byte.
    let mut out = Vec::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        let mut buffer = [0; 4];
        if letter != '\\' {
            out.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let escaped = match letters.next()? {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' => '\\',
            same if same == quote => same,
            'x' => {
                out.push(digits(&mut letters, 2, 16, None)?.try_into().ok()?);
                continue;
            }
            first @ '0'..='7' => {
                out.push(digits(&mut letters, 2, 8, Some(first))?.try_into().ok()?);
                continue;
            }
            'u' => char::from_u32(digits(&mut letters, 4, 16, None)?)?,
            'U' => char::from_u32(digits(&mut letters, 8, 16, None)?)?,
            _ => return None,
        };
        out.extend_from_slice(escaped.encode_utf8(&mut buffer).as_bytes());
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// A number of so many digits, behind the first one if that was read.
fn digits(
    letters: &mut std::str::Chars<'_>,
    number: usize,
    radix: u32,
    first: Option<char>,
) -> Option<u32> {
    let text: String = first
        .into_iter()
        .chain(letters.by_ref().take(number))
        .collect();
    let whole = text.chars().count() == number + usize::from(first.is_some());
    whole.then(|| u32::from_str_radix(&text, radix).ok())?
}
