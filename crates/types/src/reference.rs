//! Names of images: `domain/path:tag@digest` in full, `debian` for short.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};

/// The domain of a name that gives none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag of a name that gives neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const PATH_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// Why a text is not an image reference. The sentences are the ones that clients match on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not of the grammar's form.
    #[error("invalid reference format")]
    Format,
    /// The repository has capital letters.
    #[error("invalid reference format: repository name ({path}) must be lowercase")]
    Uppercase {
        /// The repository's path.
        path: String,
    },
    /// The repository's path is longer than 255 bytes.
    #[error("repository name must not be more than {PATH_LIMIT} characters")]
    TooLong,
    /// 64 hexadecimal digits, which would be taken for an identifier.
    #[error("invalid repository name ({name}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId {
        /// The name.
        name: String,
    },
    /// What follows `@` is no digest.
    #[error("invalid reference format: {0}")]
    Digest(#[from] DigestError),
}

/// A normalised image reference: domain and path are always there, tag and digest may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a name as users write it and completes domain and `library/`.
    ///
    /// # Errors
    /// [`ReferenceError`], in the words that docker's clients know.
    pub fn parse_normalized(text: &str) -> Result<Reference, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::LooksLikeId {
                name: text.to_owned(),
            });
        }
        let (domain, remainder) = split_domain(text);
        // Capitals are judged before the form, and only in the path: tags may have them.
        let path_end = remainder.find([':', '@']).unwrap_or(remainder.len());
        let path = &remainder[..path_end];
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase {
                path: path.to_owned(),
            });
        }
        let (name_and_tag, digest) = match remainder.split_once('@') {
            Some((before, digest)) => (before, Some(digest)),
            None => (remainder.as_str(), None),
        };
        let (path, tag) = match name_and_tag.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name_and_tag, None),
        };
        if !valid_domain(domain) || !valid_path(path) || !tag.is_none_or(valid_tag) {
            return Err(ReferenceError::Format);
        }
        if path.len() > PATH_LIMIT {
            return Err(ReferenceError::TooLong);
        }
        let digest = match digest {
            Some(digest) if !digest_like(digest) => return Err(ReferenceError::Format),
            Some(digest) => Some(digest.parse::<Digest>()?),
            None => None,
        };
        Ok(Reference {
            domain: domain.to_owned(),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The registry's name with its port, for instance `docker.io` or `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, for instance `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The shortest form that reads back as this reference: `debian:12` for
    /// `docker.io/library/debian:12`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name().to_owned())
    }

    /// [`Reference::familiar`] without tag and digest.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(official) if !official.contains('/') => official.to_owned(),
            // A path whose first part looks like a domain needs the real domain before it.
            _ if split_domain(&self.path).0 != DEFAULT_DOMAIN => self.name(),
            _ => self.path.clone(),
        }
    }

    /// This reference with the tag `latest` if it has neither tag nor digest.
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository with this tag and no digest.
    ///
    /// # Errors
    /// [`ReferenceError::Format`] if `tag` is not of the grammar's form.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        if !valid_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Reference {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository with this digest and no tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The repository alone, without tag and digest.
    pub fn without_tag(&self) -> Reference {
        Reference {
            tag: None,
            digest: None,
            ..self.clone()
        }
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Reference::parse_normalized(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        Reference::parse_normalized(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

/// Splits a user's text into a domain and the rest. The first part is a domain if it has a dot
/// or a port, is `localhost`, or has capitals, which no path may have.
fn split_domain(text: &str) -> (&str, String) {
    let (domain, remainder) = match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    };
    let domain = if domain == LEGACY_DEFAULT_DOMAIN {
        DEFAULT_DOMAIN
    } else {
        domain
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        (domain, format!("{OFFICIAL_PREFIX}{remainder}"))
    } else {
        (domain, remainder.to_owned())
    }
}

/// `host[:port]`: dot-separated labels that neither begin nor end with a dash, or an IPv6
/// address in brackets.
fn valid_domain(domain: &str) -> bool {
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return !address.is_empty()
            && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
            && (port.is_empty() || port.strip_prefix(':').is_some_and(all_digits));
    }
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let valid_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    host.split('.').all(valid_label) && port.is_none_or(all_digits)
}

fn valid_path(path: &str) -> bool {
    path.split('/').all(valid_component)
}

/// Runs of lowercase letters and digits with one separator between two runs: `.`, `_`, `__` or
/// any number of dashes.
fn valid_component(component: &str) -> bool {
    let alphanumeric = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let bytes = component.as_bytes();
    if !bytes.first().copied().is_some_and(alphanumeric)
        || !bytes.last().copied().is_some_and(alphanumeric)
    {
        return false;
    }
    bytes
        .split(|b| alphanumeric(*b))
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
        })
}

fn valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_LIMIT
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// Whether a text has the form of some algorithm's digest, known or not: then the error speaks
/// of the algorithm, else of the reference.
fn digest_like(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, digits)| {
        let component = |part: &str| {
            part.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
                && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        algorithm.split(['+', '.', '-', '_']).all(component)
            && digits.len() >= 32
            && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Reference {
        Reference::parse_normalized(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn names_are_completed_and_shortened() {
        for (given, full, familiar) in [
            ("debian", "docker.io/library/debian", "debian"),
            ("debian:12", "docker.io/library/debian:12", "debian:12"),
            ("docker.io/debian", "docker.io/library/debian", "debian"),
            (
                "index.docker.io/library/debian",
                "docker.io/library/debian",
                "debian",
            ),
            ("user/app", "docker.io/user/app", "user/app"),
            ("library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("localhost/app", "localhost/app", "localhost/app"),
            (
                "localhost:5000/app:v1",
                "localhost:5000/app:v1",
                "localhost:5000/app:v1",
            ),
            ("Registry/app", "Registry/app", "Registry/app"),
            ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
            (
                "ghcr.io/a/b_c__d--e.f",
                "ghcr.io/a/b_c__d--e.f",
                "ghcr.io/a/b_c__d--e.f",
            ),
            (
                "docker.io/localhost/x",
                "docker.io/localhost/x",
                "docker.io/localhost/x",
            ),
            (
                "app:Tag_1.2-x",
                "docker.io/library/app:Tag_1.2-x",
                "app:Tag_1.2-x",
            ),
        ] {
            let reference = parse(given);
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn a_tag_is_supplied_only_where_nothing_else_names_the_image() {
        let digest = Digest::sha256(b"x");
        assert_eq!(parse("a").with_default_tag().familiar(), "a:latest");
        assert_eq!(parse("a:b").with_default_tag().tag(), Some("b"));
        let by_digest = parse(&format!("a@{digest}")).with_default_tag();
        assert_eq!((by_digest.tag(), by_digest.digest()), (None, Some(&digest)));
        let both = parse(&format!("localhost:5000/a:t@{digest}"));
        assert_eq!((both.tag(), both.digest()), (Some("t"), Some(&digest)));
    }

    #[test]
    fn bad_names_get_the_known_sentences() {
        for text in [
            "",
            ":",
            ":tag",
            "a:",
            "a@",
            "a:b:c",
            "-a",
            "a-",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "a b",
            "a:-b",
            "ä",
            "a@sha256:abc",
            "a_.b",
            "x:5000:1/a",
            "a.b:x/c",
            "[::1/a",
        ] {
            let error = Reference::parse_normalized(text).unwrap_err();
            assert_eq!(error.to_string(), "invalid reference format", "{text}");
        }
        let error = Reference::parse_normalized("user/App:x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid reference format: repository name (user/App) must be lowercase"
        );
        let long = "a".repeat(256);
        assert_eq!(
            Reference::parse_normalized(&format!("x/{long}")).unwrap_err(),
            ReferenceError::TooLong
        );
        assert!(Reference::parse_normalized(&format!("a:{}", "t".repeat(129))).is_err());
        assert!(matches!(
            Reference::parse_normalized(&"a".repeat(64)),
            Err(ReferenceError::LooksLikeId { .. })
        ));
        assert!(matches!(
            Reference::parse_normalized(&format!("a@sha512:{}", "a".repeat(128))),
            Err(ReferenceError::Digest(DigestError::Algorithm { .. }))
        ));
    }

    fn reference_text() -> impl Strategy<Value = String> {
        let component = "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}";
        let domain = prop_oneof![
            Just(String::new()),
            "[a-z0-9]{1,5}\\.[a-z]{2,3}(:[0-9]{1,5})?/",
            "[a-zA-Z0-9]{1,5}:[0-9]{1,5}/",
            Just("localhost/".to_owned()),
            Just("docker.io/".to_owned()),
        ];
        let path = proptest::collection::vec(component, 1..4).prop_map(|parts| parts.join("/"));
        let tag = proptest::option::of("[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}");
        let digest = proptest::option::of(any::<[u8; 32]>());
        (domain, path, tag, digest).prop_map(|(domain, path, tag, digest)| {
            // A dotted first part would be read as a domain.
            let dotted = path
                .split_once('/')
                .is_some_and(|(first, _)| first.contains('.'));
            let domain = if domain.is_empty() && dotted {
                "docker.io/".into()
            } else {
                domain
            };
            let mut text = domain + &path;
            if let Some(tag) = tag {
                text += &format!(":{tag}");
            }
            if let Some(bytes) = digest {
                text += &format!("@{}", Digest::from_bytes(bytes));
            }
            text
        })
    }

    proptest! {
        #[test]
        fn full_and_familiar_forms_read_back(text in reference_text()) {
            let reference = parse(&text);
            prop_assert_eq!(&parse(&reference.to_string()), &reference);
            prop_assert_eq!(&parse(&reference.familiar()), &reference);
            prop_assert!(reference.familiar().len() <= reference.to_string().len());
        }

        #[test]
        fn any_text_is_answered_and_what_is_accepted_is_stable(text in "\\PC{0,80}") {
            if let Ok(reference) = Reference::parse_normalized(&text) {
                prop_assert_eq!(&parse(&reference.to_string()), &reference);
            }
        }

        #[test]
        fn near_references_are_answered(text in "[a-zA-Z0-9:@/._-]{0,40}") {
            if let Ok(reference) = Reference::parse_normalized(&text) {
                prop_assert_eq!(&parse(&reference.familiar()), &reference);
                prop_assert!(reference.path().bytes().all(|b| !b.is_ascii_uppercase()));
            }
        }
    }
}
