//! Names of entries, made safe.

use std::ffi::CString;

/// A path within a layer: components without `.`, `..` and empty ones, joined by slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayerPath {
    bytes: Vec<u8>,
}

impl LayerPath {
    /// Reads a name as archives have it: a leading slash or `./` means nothing, `..` takes the component before it
    /// back. Nothing is given when it leads out of the layer or holds a NUL.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        if name.contains(&0) {
            return None;
        }
        let mut bytes = Vec::with_capacity(name.len());
        for component in name.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    if bytes.is_empty() {
                        return None;
                    }
                    let end = bytes.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                    bytes.truncate(end);
                }
                _ => {
                    if !bytes.is_empty() {
                        bytes.push(b'/');
                    }
                    bytes.extend_from_slice(component);
                }
            }
        }
        Some(Self { bytes })
    }

    /// Whether it is the layer's own top folder.
    pub(super) fn is_top(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The path of the folder (empty for the top) and the last component.
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        match self.bytes.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&self.bytes[..slash], &self.bytes[slash + 1..]),
            None => (b"", &self.bytes),
        }
    }

    pub(super) fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|&byte| byte == b'/')
    }
}

/// A component for a system call. Paths hold no NUL, so the fault cannot occur; it would name the entry wrongly.
pub(super) fn c_name(name: &[u8]) -> std::io::Result<CString> {
    Ok(CString::new(name)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_cleaned_or_refused() {
        for (name, path) in [
            ("a/b", Some("a/b")),
            ("/a//b/", Some("a/b")),
            ("./a/./b", Some("a/b")),
            ("a/../b", Some("b")),
            ("a/b/..", Some("a")),
            ("a/..", Some("")),
            ("./", Some("")),
            ("/", Some("")),
            ("...", Some("...")),
            ("..", None),
            ("a/../../b", None),
            ("/..", None),
            ("a\0b", None),
        ] {
            assert_eq!(
                LayerPath::parse(name.as_bytes()).map(|path| path.bytes),
                path.map(|path| path.as_bytes().to_vec()),
                "{name}"
            );
        }
        let path = LayerPath::parse(b"a/b/c").unwrap();
        assert_eq!(path.split(), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(
            LayerPath::parse(b"c").unwrap().split(),
            (&b""[..], &b"c"[..])
        );
    }
}
