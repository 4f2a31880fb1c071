//! Rules for the names that users give.

/// The pattern of container and volume names, as error messages quote it.
pub const CONTAINER_NAME_RULE: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

/// Whether `name` (without a leading slash) may name a container: at least two characters, the
/// first a letter or digit, the others letters, digits, `_`, `.` or `-`.
///
/// Docker wants two letters at least; here one is enough, since nothing speaks against it.
pub fn valid_container_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Whether `name` may name a volume: the rule of containers, and short enough for a folder.
pub fn valid_volume_name(name: &str) -> bool {
    (2..=255).contains(&name.len()) && valid_container_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["x", "ab", "web-1", "A_b.c", "0x"] {
            assert!(valid_container_name(good), "{good}");
        }
        for bad in ["", "-a", "_a", ".a", "a b", "a/b", "ä1", "aé", "a\n"] {
            assert!(!valid_container_name(bad), "{bad}");
        }
        assert!(!valid_volume_name("x"));
        assert!(!valid_volume_name(&"a".repeat(256)));
    }
}
