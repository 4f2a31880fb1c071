//! What the program was built from.

/// Of what the program was built; texts are empty where nobody knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Build {
    /// The commit, short.
    pub commit: &'static str,
    /// When: RFC 3339 with nanoseconds, as Docker tells it.
    pub time: &'static str,
}
