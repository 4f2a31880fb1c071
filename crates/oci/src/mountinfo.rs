//! The list of a process's mounts (mountinfo of proc(5)).

use std::path::Path;

use crate::error::{Error, Result};

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    /// Its file system, by major and minor number.
    pub(crate) device: String,
    /// What of the file system is mounted.
    pub(crate) root: String,
    /// Where.
    pub(crate) place: String,
    /// The file system's type.
    pub(crate) kind: String,
}

pub(crate) fn read(path: &Path) -> Result<Vec<Mount>> {
    let text = sys::procfs::read_text(path).map_err(|source| Error::io("reading", path, source))?;
    Ok(parse(&text))
}

/// Reads the lines that have all fields.
pub(crate) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ');
    let id = fields.next()?.parse().ok()?;
    let mut fields = fields.skip(1);
    Some(Mount {
        id,
        device: fields.next()?.to_owned(),
        root: unescaped(fields.next()?),
        place: unescaped(fields.next()?),
        // Behind fields of which there may be any number.
        kind: fields.skip_while(|field| *field != "-").nth(1)?.to_owned(),
    })
}

/// Blanks, tabs, line ends and backslashes are written as a backslash and three octal digits.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = match code {
            Some(_) => after.get(3..).unwrap_or_default(),
            None => after,
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = "36 35 98:0 /mnt1 /a\\040b rw,noatime master:1 - ext3 /dev/root rw\n1 2\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 1);
        assert_eq!((mounts[0].id, mounts[0].device.as_str()), (36, "98:0"));
        assert_eq!(
            (mounts[0].root.as_str(), mounts[0].place.as_str()),
            ("/mnt1", "/a b")
        );
        assert_eq!(mounts[0].kind, "ext3");
        assert_eq!(unescaped("\\04"), "\\04");
    }
}
