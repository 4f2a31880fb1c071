//! Queries of request paths.

use std::fmt::Write;

/// A path with a query that grows; values are percent-encoded.
pub(crate) struct Query {
    path: String,
    empty: bool,
}

impl Query {
    /// A path without a query. Names in it must be encoded by [`encode`].
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Query {
            path: path.into(),
            empty: true,
        }
    }

    /// Adds `name=value`.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.path.push(if self.empty { '?' } else { '&' });
        self.empty = false;
        let _ = write!(self.path, "{name}={}", encode(value));
        self
    }

    /// Adds `name=value` unless the value is empty.
    pub(crate) fn with_some(self, name: &str, value: &str) -> Self {
        if value.is_empty() {
            self
        } else {
            self.with(name, value)
        }
    }

    /// Adds `name=1` if `on`.
    pub(crate) fn with_switch(self, name: &str, on: bool) -> Self {
        if on { self.with(name, "1") } else { self }
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &str {
        &self.path
    }
}

/// Percent-encodes what may not stand in a path's segment or a query's value.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into())
            }
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

/// The same, but slashes stay: image names stand in paths as they are.
pub(crate) fn encode_path(text: &str) -> String {
    text.split('/')
        .map(|part| encode(part).replace("%3A", ":").replace("%40", "@"))
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        let query = Query::new("/x")
            .with("filters", "{\"a\":1}")
            .with_some("none", "")
            .with_switch("all", true);
        assert_eq!(query.text(), "/x?filters=%7B%22a%22%3A1%7D&all=1");
        assert_eq!(
            encode_path("localhost:5000/a b@sha256:1"),
            "localhost:5000/a%20b@sha256:1"
        );
    }
}
