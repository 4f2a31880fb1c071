//! Restart policy and stop settings: docker's validation.

use api_types::HostConfig;

use crate::outcome::{EngineError, Result};

/// Checks the restart policy and writes its default down.
pub(crate) fn check_restart(host: &mut HostConfig) -> Result<()> {
    let invalid = |why: String| {
        Err(EngineError::invalid(format!(
            "invalid restart policy: {why}"
        )))
    };
    let policy = &mut host.restart_policy;
    match policy.name.as_str() {
        "always" | "unless-stopped" | "no" | "" if policy.maximum_retry_count != 0 => {
            let mut why = "maximum retry count can only be used with 'on-failure'".to_owned();
            if policy.maximum_retry_count < 0 {
                why.push_str(" and cannot be negative");
            }
            return invalid(why);
        }
        "always" | "unless-stopped" | "no" | "" => {}
        "on-failure" if policy.maximum_retry_count < 0 => {
            return invalid("maximum retry count cannot be negative".into());
        }
        "on-failure" => {}
        other => {
            return invalid(format!(
                "unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    }
    if host.auto_remove && !matches!(policy.name.as_str(), "" | "no") {
        return Err(EngineError::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    if policy.name.is_empty() {
        policy.name = "no".to_owned();
    }
    Ok(())
}

/// Reads `10m`, `512k`, `1g`, `100` (powers of 1024) into bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    digits
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)
        .filter(|&size| size > 0)
}

/// Signals by name and number (x86_64 and aarch64 agree).
const SIGNALS: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
///
/// # Errors
/// Docker's sentence.
pub(crate) fn parse_signal(text: &str) -> Result<i32> {
    let invalid = || EngineError::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(invalid())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(34),
        (_, Some("")) => Some(64),
        (Some(rest), _) => rest
            .strip_prefix('+')
            .and_then(|rest| rest.parse::<i32>().ok())
            .map(|offset| 34 + offset),
        (_, Some(rest)) => rest
            .strip_prefix('-')
            .and_then(|rest| rest.parse::<i32>().ok())
            .map(|offset| 64 - offset),
        _ => None,
    };
    real_time
        .filter(|number| (34..=64).contains(number))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use api_types::RestartPolicy;

    use super::*;

    #[test]
    fn restart_policies_are_checked_in_dockers_words() {
        let refused = |name: &str, count: i64, auto_remove: bool| {
            let restart_policy = RestartPolicy {
                name: name.into(),
                maximum_retry_count: count,
            };
            check_restart(&mut HostConfig {
                restart_policy,
                auto_remove,
                ..Default::default()
            })
            .unwrap_err()
            .to_string()
        };
        assert!(
            refused("sometimes", 0, false)
                .starts_with("invalid restart policy: unknown policy 'sometimes'")
        );
        assert!(refused("always", 3, false).contains("can only be used with 'on-failure'"));
        assert!(refused("on-failure", -1, false).contains("cannot be negative"));
        assert_eq!(
            refused("always", 0, true),
            "can't create 'AutoRemove' container with restart policy"
        );
    }

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in [
            ("TERM", 15),
            ("sigkill", 9),
            ("9", 9),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        assert_eq!(
            parse_signal("SIGNOPE").unwrap_err().to_string(),
            "invalid signal: SIGNOPE"
        );
        assert!(parse_signal("65").is_err() && parse_signal("0").is_err());
    }
}
