//! The version of the API that a request speaks.

use std::fmt;

use api_types::texts;

/// A version of the API. All have the major number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u16);

/// The oldest version that is spoken.
pub(crate) const OLDEST: Version = Version(24);

/// The newest version that is spoken.
pub(crate) const NEWEST: Version = Version(55);

/// The version that is offered, and that of requests without a prefix: the last one of the engine that this one says it is.
/// Clients that take the highest they are offered look for members that later versions lost.
pub(crate) const OFFERED: Version = Version(50);

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "1.{}", self.0)
    }
}

/// What the first part of a path says about the version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Prefix<'a> {
    /// A version that is spoken, or none; and the rest of the path.
    Spoken(Version, &'a str),
    /// A version that is not spoken; the sentence for the client, and the rest of the path.
    Refused(String, &'a str),
}

/// Splits `/vMAJOR.MINOR` off a path.
pub(crate) fn split_prefix(path: &str) -> Prefix<'_> {
    let unversioned = Prefix::Spoken(OFFERED, path);
    let Some(after) = path.strip_prefix("/v") else {
        return unversioned;
    };
    let Some(slash) = after.find('/') else {
        return unversioned;
    };
    let (text, rest) = after.split_at(slash);
    if text.is_empty()
        || !text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return unversioned;
    }
    match order(text) {
        Order::Older => Prefix::Refused(texts::version_too_old(text), rest),
        Order::Newer => Prefix::Refused(texts::version_too_new(text), rest),
        Order::Spoken(version) => Prefix::Spoken(version, rest),
    }
}

enum Order {
    Older,
    Spoken(Version),
    Newer,
}

/// Compares part by part, as numbers; a missing part is zero. Numbers too large to read are newer than all.
fn order(text: &str) -> Order {
    let mut parts = text.split('.').map(|part| {
        if part.is_empty() {
            0
        } else {
            part.parse().unwrap_or(u16::MAX)
        }
    });
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let more = parts.any(|part| part > 0);
    match (major, minor) {
        (0, _) => Order::Older,
        (1, minor) if minor < OLDEST.0 => Order::Older,
        (1, minor) if minor > NEWEST.0 || (minor == NEWEST.0 && more) => Order::Newer,
        (1, minor) => Order::Spoken(Version(minor)),
        _ => Order::Newer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> String {
        match split_prefix(path) {
            Prefix::Refused(sentence, _) => sentence,
            Prefix::Spoken(version, _) => panic!("{path} is spoken as {version}"),
        }
    }

    #[test]
    fn a_prefix_is_split_off() {
        assert_eq!(
            split_prefix("/v1.24/info"),
            Prefix::Spoken(Version(24), "/info")
        );
        assert_eq!(
            split_prefix("/v1.55/containers/a/json"),
            Prefix::Spoken(NEWEST, "/containers/a/json")
        );
        assert_eq!(split_prefix("/info"), Prefix::Spoken(OFFERED, "/info"));
        assert_eq!(
            split_prefix("/version"),
            Prefix::Spoken(OFFERED, "/version")
        );
        assert_eq!(OFFERED.to_string(), texts::API_VERSION);
        assert_eq!(NEWEST.to_string(), texts::NEWEST_API_VERSION);
        assert_eq!(
            split_prefix("/volumes/v1.24/x"),
            Prefix::Spoken(OFFERED, "/volumes/v1.24/x")
        );
        assert_eq!(
            split_prefix("/vx/info"),
            Prefix::Spoken(OFFERED, "/vx/info")
        );
    }

    #[test]
    fn other_versions_are_refused_in_dockers_words() {
        assert_eq!(
            refused("/v1.23/info"),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a \
             newer version"
        );
        assert_eq!(
            refused("/v1.56/info"),
            "client version 1.56 is too new. Maximum supported API version is 1.55"
        );
        for (path, word) in [
            ("/v1/info", "old"),
            ("/v0.9/info", "old"),
            ("/v2.0/info", "new"),
            ("/v99999999/i", "new"),
        ] {
            assert!(refused(path).contains(word), "{path}");
        }
    }
}
