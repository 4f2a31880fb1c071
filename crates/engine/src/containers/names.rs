//! Names for containers that got none.

use crate::outcome::{EngineError, Result};

const QUALITIES: [&str; 48] = [
    "able", "airy", "amber", "apt", "bold", "brave", "breezy", "brisk", "calm", "clear", "coastal",
    "crisp", "deep", "eager", "early", "even", "fair", "fast", "fine", "firm", "fresh", "gentle",
    "glad", "grand", "keen", "kind", "lively", "lucid", "merry", "mild", "neat", "nimble", "noble",
    "open", "patient", "plain", "proud", "quick", "quiet", "ready", "sandy", "sharp", "steady",
    "sunny", "swift", "tidal", "warm", "wide",
];

const THINGS: [&str; 48] = [
    "anchor", "barge", "bay", "beacon", "berth", "boat", "bollard", "bow", "bridge", "buoy",
    "canal", "capstan", "cargo", "channel", "compass", "cove", "crane", "crate", "current", "deck",
    "delta", "dock", "ferry", "fjord", "gangway", "gull", "harbor", "hatch", "heron", "hull",
    "island", "jetty", "keel", "lagoon", "lantern", "lock", "mast", "mooring", "pier", "pilot",
    "port", "quay", "reef", "rudder", "sail", "tide", "tug", "wharf",
];

/// Draws a name that `taken` does not know; after some attempts a number is appended.
pub(crate) fn draw(taken: impl Fn(&str) -> bool) -> Result<String> {
    for attempt in 0..64 {
        let mut bytes = [0u8; 4];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(
            |errno| EngineError::Io {
                what: "draw a name".to_owned(),
                source: errno.into(),
            },
        )?;
        let mut name = format!(
            "{}_{}",
            QUALITIES[usize::from(bytes[0]) % QUALITIES.len()],
            THINGS[usize::from(bytes[1]) % THINGS.len()]
        );
        if attempt > 0 {
            name.push_str(&format!("{}", u16::from_le_bytes([bytes[2], bytes[3]])));
        }
        if !taken(&name) {
            return Ok(name);
        }
    }
    Err(EngineError::conflict(
        "no free name was found for the container: give it one with --name",
    ))
}

/// Checks a name that a user chose, and drops its leading slash.
///
/// # Errors
/// Docker's sentence.
pub(crate) fn check(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    if types::valid_container_name(bare) {
        return Ok(bare);
    }
    Err(EngineError::invalid(refusal(name)))
}

/// Why a name is not one for a container, in docker's words.
pub(crate) fn refusal(name: &str) -> String {
    format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_names_are_valid_and_free() {
        let first = draw(|_| false).unwrap();
        assert_eq!(check(&first).unwrap(), first);
        let second = draw(|name| !name.ends_with(|c: char| c.is_ascii_digit())).unwrap();
        assert!(second.ends_with(|c: char| c.is_ascii_digit()));
        assert!(draw(|_| true).is_err());
    }

    #[test]
    fn bad_names_are_refused_in_dockers_words() {
        assert_eq!(check("/web").unwrap(), "web");
        assert_eq!(
            check("a b").unwrap_err().to_string(),
            "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        );
    }
}
