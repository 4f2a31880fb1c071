//! Restart policy, logging and stop settings: docker's validation.

use std::collections::BTreeMap;

use api_types::HostConfig;

use shim::logs::FILES_LIMIT;

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

/// How a container's output is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logging {
    /// Kept in docker's json-file format, whatever the driver is called, or not at all.
    pub(crate) kept: bool,
    /// Bytes of one file.
    pub(crate) max_size: u64,
    /// How many files, the current one included.
    pub(crate) max_file: u32,
}

/// Bounded by default, unlike docker: three files of 10 MiB.
const MAX_SIZE: u64 = 10 << 20;
const MAX_FILE: u32 = 3;
/// Those of docker's driver `local`.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_FILE: u32 = 5;

/// Fills the default driver in and reads its options.
pub(crate) fn logging(
    host: &mut HostConfig,
    driver: &str,
    options: &BTreeMap<String, String>,
) -> Result<Logging> {
    let log = &mut host.log_config;
    if log.kind.is_empty() || log.kind == "default" {
        log.kind = driver.to_owned();
        log.config.get_or_insert_default();
    }
    let mut merged = if log.kind == driver {
        options.clone()
    } else {
        BTreeMap::new()
    };
    merged.extend(log.config.clone().unwrap_or_default());
    read_logging(&log.kind, &merged)
}

/// How docker begins the sentence about an option whose value makes no sense.
const INITIALIZING: &str =
    "failed to create task for container: failed to initialize logging driver";

/// Reads a driver and its options.
///
/// # Errors
/// An unknown driver or option, in docker's words; a driver that is not built, by name.
pub(crate) fn read_logging(driver: &str, options: &BTreeMap<String, String>) -> Result<Logging> {
    match driver {
        "json-file" | "local" | "none" => {}
        "syslog" | "journald" | "gelf" | "fluentd" | "awslogs" | "splunk" | "etwlogs"
        | "gcplogs" => {
            return Err(EngineError::unsupported(format!(
                "the log driver \"{driver}\""
            )));
        }
        other => {
            return Err(EngineError::invalid(format!(
                "error looking up logging plugin {other}: plugin \"{other}\" not found"
            )));
        }
    }
    let (max_size, max_file) = match driver {
        "local" => (LOCAL_SIZE, LOCAL_FILE),
        _ => (MAX_SIZE, MAX_FILE),
    };
    let mut logging = Logging {
        kept: driver != "none",
        max_size,
        max_file,
    };
    for (name, value) in options {
        match name.as_str() {
            "max-size" if value == "-1" => logging.max_size = u64::MAX,
            "max-size" => {
                logging.max_size = parse_size(value).ok_or_else(|| {
                    EngineError::invalid(format!("{INITIALIZING}: invalid size: '{value}'"))
                })?;
            }
            "max-file" => {
                let number: i64 = value.parse().map_err(|_| {
                    EngineError::invalid(format!(
                        "{INITIALIZING}: strconv.Atoi: parsing \"{value}\": invalid syntax"
                    ))
                })?;
                if number < 1 {
                    return Err(EngineError::invalid(format!(
                        "{INITIALIZING}: max-file cannot be less than 1"
                    )));
                }
                logging.max_file = u32::try_from(number)
                    .ok()
                    .filter(|number| *number <= FILES_LIMIT)
                    .ok_or_else(|| {
                        EngineError::invalid(format!(
                            "{INITIALIZING}: max-file cannot be more than {FILES_LIMIT}"
                        ))
                    })?;
            }
            "mode" if value == "blocking" => {}
            "mode" if value != "non-blocking" => {
                return Err(EngineError::invalid(format!(
                    "logger: logging mode not supported: {value}"
                )));
            }
            "max-buffer-size"
                if options
                    .get("mode")
                    .is_none_or(|mode| mode != "non-blocking") =>
            {
                return Err(EngineError::invalid(
                    "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
                ));
            }
            "compress" if value == "false" => {}
            "compress" | "mode" | "max-buffer-size" => {
                return Err(EngineError::unsupported(format!(
                    "the log option \"{name}\""
                )));
            }
            _ if driver == "local" => {
                return Err(EngineError::invalid(format!(
                    "unknown log opt '{name}' for log driver local"
                )));
            }
            "labels" | "labels-regex" | "env" | "env-regex" | "tag" => {
                return Err(EngineError::unsupported(format!(
                    "the log option \"{name}\""
                )));
            }
            _ => {
                return Err(EngineError::invalid(format!(
                    "unknown log opt '{name}' for {driver} log driver"
                )));
            }
        }
    }
    Ok(logging)
}

/// Reads `10m`, `512k`, `1g`, `100` (powers of 1024) into bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
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
    fn logs_are_bounded_unless_asked_otherwise() {
        let mut host = HostConfig::default();
        let logging = logging(&mut host, "json-file", &BTreeMap::new()).unwrap();
        assert_eq!(
            logging,
            Logging {
                kept: true,
                max_size: 10 << 20,
                max_file: 3
            }
        );
        assert_eq!(host.log_config.kind, "json-file");
        let options = BTreeMap::from([("max-size".to_owned(), "64k".to_owned())]);
        assert_eq!(read_logging("json-file", &options).unwrap().max_size, 65536);
        let local = read_logging("local", &BTreeMap::new()).unwrap();
        assert!(local.kept);
        assert_eq!((local.max_size, local.max_file), (20 << 20, 5));
        let tag = [("tag".to_owned(), "x".to_owned())].into();
        assert!(read_logging("local", &tag).is_err());
        assert!(read_logging("none", &BTreeMap::new()).is_ok_and(|logging| !logging.kept));
        assert_eq!(
            read_logging("bogus", &BTreeMap::new())
                .unwrap_err()
                .to_string(),
            "error looking up logging plugin bogus: plugin \"bogus\" not found"
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
