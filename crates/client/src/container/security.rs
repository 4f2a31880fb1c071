//! What a container may do: security options, capabilities, devices.

use std::fs;

use api_types::Device;

use crate::failure::Failure;

/// `--security-opt`, as the engine takes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Security {
    /// What is left for the engine.
    pub(super) options: Vec<String>,
    /// Whether nothing of `/proc` and `/sys` is hidden or read-only.
    pub(super) paths_open: bool,
}

/// Reads `--security-opt` values. A seccomp profile is named by its file here and sent whole: the daemon may be elsewhere.
///
/// # Errors
/// Docker's words for an option without a value and for a profile that can not be read.
pub(super) fn options(given: Vec<String>) -> Result<Security, Failure> {
    let mut found = Security::default();
    for option in given {
        let alone = |text: &str| (text.to_owned(), None);
        let cut = |text: &str, at: char| {
            text.split_once(at)
                .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
        };
        let (key, value) = match cut(&option, '=') {
            Some(parts) => parts,
            None if option == "no-new-privileges" => alone(&option),
            None => cut(&option, ':').unwrap_or_else(|| alone(&option)),
        };
        let value = value.unwrap_or_default();
        if value.is_empty() && key != "no-new-privileges" {
            return Err(Failure::Invalid(format!(
                "Invalid --security-opt: {option:?}"
            )));
        }
        if option == "systempaths=unconfined" {
            found.paths_open = true;
        } else if key == "seccomp" && !matches!(value.as_str(), "unconfined" | "builtin") {
            found.options.push(format!("seccomp={}", profile(&value)?));
        } else {
            found.options.push(option);
        }
    }
    Ok(found)
}

/// A profile's file as one line of JSON.
fn profile(path: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::local(format!(
        "opening seccomp profile ({path}) failed: open {path}"
    )))?;
    let compact: Result<serde_json::Value, _> = serde_json::from_str(&text);
    compact.map(|profile| profile.to_string()).map_err(|error| {
        let error = no_json(&text).unwrap_or_else(|| error.to_string());
        Failure::Invalid(format!(
            "compacting json for seccomp profile ({path}) failed: {error}"
        ))
    })
}

/// Go's words for a text that does not even begin as JSON does.
fn no_json(text: &str) -> Option<String> {
    match text.trim_start().chars().next() {
        None => Some("unexpected end of JSON input".to_owned()),
        Some(first) if !"{[\"-0123456789tfn".contains(first) => Some(format!(
            "invalid character {first:?} looking for beginning of value"
        )),
        Some(_) => None,
    }
}

/// Capabilities as the kernel names them, sorted, each once.
pub(super) fn capabilities(given: &[String]) -> Option<Vec<String>> {
    let mut found: Vec<_> = given
        .iter()
        .map(|name| {
            let name = name.to_uppercase();
            if name == "ALL" || name.starts_with("CAP_") {
                name
            } else {
                format!("CAP_{name}")
            }
        })
        .collect();
    found.sort();
    found.dedup();
    (!found.is_empty()).then_some(found)
}

/// Reads one `--device` value: `path[:path-inside][:permissions]`.
///
/// # Errors
/// Docker's words.
pub(super) fn device(value: &str) -> Result<Device, String> {
    let parts: Vec<_> = value.split(':').collect();
    let (host, inside, permissions) = match parts.as_slice() {
        ["", ..] | [_, _, _, _, ..] | [] => return Err(format!("bad format for path: {value}")),
        [host] => (*host, *host, "rwm"),
        [host, mode] if is_mode(mode) => (*host, *host, *mode),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, mode] if is_mode(mode) => (*host, *inside, *mode),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
    };
    if !inside.starts_with('/') {
        return Err(format!("{inside} is not an absolute path"));
    }
    let owned = str::to_owned;
    Ok(Device {
        path_on_host: owned(host),
        path_in_container: owned(inside),
        cgroup_permissions: owned(permissions),
    })
}

/// Reads one `--device-cgroup-rule` value: `c 13:* rwm`.
///
/// # Errors
/// Docker's words.
pub(super) fn device_rule(text: &str) -> Result<String, String> {
    let is_number = |text: &str| {
        text == "*" || !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
    };
    let parts: Vec<&str> = text.split(' ').collect();
    let is_rule = match parts.as_slice() {
        ["a" | "c" | "b", numbers, access] => {
            let numbers = numbers.split_once(':');
            numbers.is_some_and(|(major, minor)| is_number(major) && is_number(minor))
                && (1..=3).contains(&access.len())
                && access.chars().all(|letter| "rwm".contains(letter))
        }
        _ => false,
    };
    match is_rule {
        true => Ok(text.to_owned()),
        false => Err(format!("invalid device cgroup format '{text}'")),
    }
}

/// Some of `rwm`, each at most once.
fn is_mode(text: &str) -> bool {
    let once = |letter: char| text.matches(letter).count() <= 1;
    !text.is_empty()
        && text
            .chars()
            .all(|letter| "rwm".contains(letter) && once(letter))
}

/// Whether a `--device` value names a device of a driver, `vendor.example/class=name`, in place of a path.
pub(super) fn is_of_driver(value: &str) -> bool {
    let Some((kind, name)) = value.split_once('=') else {
        return false;
    };
    let is_letter = |text: &str| text.starts_with(|letter: char| letter.is_ascii_alphabetic());
    kind.split_once('/')
        .is_some_and(|(vendor, class)| is_letter(vendor) && is_letter(class))
        && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        let one = device("/dev/a:/dev/b:rw").unwrap();
        assert_eq!(
            (
                one.path_in_container.as_str(),
                one.cgroup_permissions.as_str()
            ),
            ("/dev/b", "rw")
        );
        assert_eq!(device("/dev/a:r").unwrap().path_in_container, "/dev/a");
        for (text, why) in [
            ("/dev/a:/dev/b:x", "bad mode specified: x"),
            ("/dev/a:q", "q is not an absolute path"),
            ("/dev/a:", " is not an absolute path"),
            ("a", "a is not an absolute path"),
            ("", "bad format for path: "),
            ("/a:/b:r:w", "bad format for path: /a:/b:r:w"),
        ] {
            assert_eq!(device(text).unwrap_err(), why, "{text}");
        }
        assert!(is_of_driver("vendor.com/class=dev") && !is_of_driver("/dev/a=b"));
    }

    #[test]
    fn rules_for_devices() {
        for rule in ["c 13:* rwm", "a *:* m", "b 8:1 rw"] {
            assert_eq!(device_rule(rule).unwrap(), rule);
        }
        for rule in [
            "",
            "c 13",
            "x 1:1 r",
            "c 1:1 rwmr",
            "c 1:1 x",
            "c a:1 r",
            "c  1:1 r",
        ] {
            assert_eq!(
                device_rule(rule).unwrap_err(),
                format!("invalid device cgroup format '{rule}'")
            );
        }
    }

    #[test]
    fn security_options_have_values() {
        let read = |text: &str| options(vec![text.to_owned()]);
        assert_eq!(
            read("no-new-privileges").unwrap().options,
            ["no-new-privileges"]
        );
        assert_eq!(
            read("seccomp:unconfined").unwrap().options,
            ["seccomp:unconfined"]
        );
        assert!(read("systempaths=unconfined").unwrap().paths_open);
        for text in ["", "x", "disable", "seccomp="] {
            assert_eq!(
                read(text).unwrap_err().to_string(),
                format!("Invalid --security-opt: {text:?}")
            );
        }
    }

    #[test]
    fn capabilities_are_named_in_full() {
        let given = ["sys_admin", "ALL", "CAP_SYS_ADMIN"].map(str::to_owned);
        assert_eq!(capabilities(&given).unwrap(), ["ALL", "CAP_SYS_ADMIN"]);
        assert_eq!(capabilities(&[]), None);
    }
}
