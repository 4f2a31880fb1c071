//! The few parts of a URL that requests need.

use std::fmt;

use http::Uri;

/// How to speak to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
    /// Encrypted, with whomever answers: for registries that are called insecure.
    HttpsUnverified,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https | Scheme::HttpsUnverified => "https",
        }
    }

    pub(crate) fn is_encrypted(self) -> bool {
        self != Scheme::Http
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https | Scheme::HttpsUnverified => 443,
        }
    }
}

/// Scheme, host and port: what credentials belong to and connections are kept for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    /// Host and, if given, port, as the `Host` header has it.
    authority: String,
}

impl Origin {
    /// `authority` is `host`, `host:port` or `[address]:port`; `None` if it is none of these.
    pub(crate) fn new(scheme: Scheme, authority: &str) -> Option<Origin> {
        let parsed = authority.parse::<http::uri::Authority>().ok()?;
        // Names of users in a location would be taken for credentials by some servers.
        if parsed.host().is_empty() || authority.contains('@') {
            return None;
        }
        Some(Origin {
            scheme,
            authority: authority.to_ascii_lowercase(),
        })
    }

    /// The same place, spoken to in another way.
    pub(crate) fn with(&self, scheme: Scheme) -> Origin {
        Origin {
            scheme,
            authority: self.authority.clone(),
        }
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without brackets.
    pub(crate) fn host(&self) -> &str {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.authority,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether the port is said.
    pub(crate) fn has_port(&self) -> bool {
        self.authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    }

    /// `host:port` or `[address]:port`, the port always said.
    pub(crate) fn address(&self) -> String {
        let host = self.host();
        match host.contains(':') {
            true => format!("[{host}]:{}", self.port()),
            false => format!("{host}:{}", self.port()),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        let given = self
            .authority
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        given.unwrap_or(self.scheme.default_port())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority)
    }
}

/// An absolute URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Path and query, beginning with a slash.
    pub(crate) path: String,
}

impl Url {
    /// Reads an absolute URL.
    pub(crate) fn parse(text: &str) -> Option<Url> {
        let uri: Uri = text.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let origin = Origin::new(scheme, uri.authority()?.as_str())?;
        let path = uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        Some(Url { origin, path })
    }

    /// Where a `Location` header points to, seen from here.
    pub(crate) fn join(&self, location: &str) -> Option<Url> {
        if location.starts_with("//") {
            return Url::parse(&format!("{}:{location}", self.origin.scheme.name()));
        }
        if location.starts_with('/') {
            let path = location.split('#').next()?.to_owned();
            path.parse::<Uri>().ok()?;
            return Some(Url {
                origin: self.origin.clone(),
                path,
            });
        }
        Url::parse(location)
    }

    /// Where a registry wants the next part of an upload. Those behind a proxy may say http of themselves where https is
    /// spoken: who is asked stays the same.
    pub(crate) fn join_upload(&self, location: &str) -> Option<Url> {
        let mut next = self.join(location)?;
        if next.origin.authority == self.origin.authority {
            next.origin = self.origin.clone();
        }
        Some(next)
    }

    /// The same URL, trusting whom `origin` trusts if it leads there.
    pub(crate) fn trusting_as(mut self, origin: &Origin) -> Url {
        let same = self.origin.authority == origin.authority;
        if same && self.origin.scheme.is_encrypted() && origin.scheme.is_encrypted() {
            self.origin = origin.clone();
        }
        self
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Escapes what may not stand in a query's value.
pub(crate) fn escape_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let url = Url::parse("https://Reg.example:444/v2/x?y=z").unwrap();
        assert_eq!((url.origin.host(), url.origin.port()), ("reg.example", 444));
        assert_eq!(url.path, "/v2/x?y=z");
        let url = Url::parse("http://[::1]:5000").unwrap();
        assert_eq!(
            (url.origin.host(), url.origin.port(), url.path.as_str()),
            ("::1", 5000, "/")
        );
        assert_eq!(url.origin.address(), "[::1]:5000");
        let default = Origin::new(Scheme::Https, "a.b").unwrap();
        assert_eq!(default.address(), "a.b:443");
        assert_eq!(Origin::new(Scheme::Http, "[::1]").unwrap().host(), "::1");
        for bad in ["", "ftp://x/", "/x", "http://u:p@h/", "http://"] {
            assert!(Url::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn locations_are_resolved() {
        let url = Url::parse("http://a:1/v2/x").unwrap();
        assert_eq!(url.join("/y?z").unwrap().to_string(), "http://a:1/y?z");
        assert_eq!(url.join("https://b/c").unwrap().to_string(), "https://b/c");
        assert_eq!(url.join("//c/d").unwrap().to_string(), "http://c/d");
        assert!(url.join("relative").is_none());
    }
}
