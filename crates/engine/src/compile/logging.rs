//! Log drivers and their options: docker's validation, and what each line is to carry.

use std::collections::BTreeMap;

use api_types::HostConfig;
use regex_lite::{Regex, RegexBuilder};
use shim::logs::FILES_LIMIT;

use super::log_remote::{self, Destination};
use super::log_tag::{Info, Template};
use super::policy::parse_size;
use crate::outcome::{EngineError, Result};

/// How a container's output is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logging {
    /// Kept in docker's json-file format, whatever the driver is called, or not at all.
    pub(crate) kept: bool,
    /// Bytes of one file.
    pub(crate) max_size: u64,
    /// How many files, the current one included.
    pub(crate) max_file: u32,
    /// Nobody who reads the log holds the container up: so many bytes wait in memory, what is beyond is lost.
    pub(crate) buffer: Option<u64>,
    /// Where each line goes beside the files, from which `logs` reads.
    pub(crate) destination: Option<Destination>,
}

/// Bounded by default, unlike docker: three files of 10 MiB.
const MAX_SIZE: u64 = 10 << 20;
const MAX_FILE: u32 = 3;
/// Those of docker's driver `local`.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_FILE: u32 = 5;
/// What waits in memory when `mode=non-blocking` says no more.
const BUFFER: u64 = 1_000_000;
/// The most that may be asked for: it is memory that no limit of the container counts.
const BUFFER_LIMIT: u64 = 64 << 20;
/// How much a compiled pattern may take.
const PATTERN: usize = 1 << 20;
/// What each line may carry besides its text, in bytes: it is written again with each of them.
const ATTRIBUTES_LIMIT: usize = 32 << 10;

/// Fills the default driver and its options in, and reads them.
///
/// # Errors
/// As [`read_logging`].
pub(crate) fn logging(
    host: &mut HostConfig,
    driver: &str,
    options: &BTreeMap<String, String>,
) -> Result<Logging> {
    let log = &mut host.log_config;
    if log.kind.is_empty() || log.kind == "default" {
        log.kind = driver.to_owned();
    }
    let own = log.config.get_or_insert_default();
    if log.kind == driver {
        for (name, value) in options {
            own.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    read_logging(&log.kind, own)
}

/// The drivers that keep files, from which `logs` reads.
pub(crate) const KEPT: [&str; 4] = ["journald", "json-file", "local", "syslog"];

/// Whether a driver is one of them.
pub(crate) fn is_kept(driver: &str) -> bool {
    KEPT.contains(&driver)
}

/// How docker begins the sentence about an option whose value makes no sense.
const INITIALIZING: &str =
    "failed to create task for container: failed to initialize logging driver";

pub(crate) fn senseless(why: &str) -> EngineError {
    EngineError::invalid(format!("{INITIALIZING}: {why}"))
}

/// Reads a driver and its options.
///
/// # Errors
/// An unknown driver or option, in docker's words; a driver that is not built, by name.
pub(crate) fn read_logging(driver: &str, options: &BTreeMap<String, String>) -> Result<Logging> {
    let (max_size, max_file) = match driver {
        "json-file" | "none" => (MAX_SIZE, MAX_FILE),
        // What these two send elsewhere is kept as `local` keeps it, so that it can be read here, as with Docker.
        "local" | "syslog" | "journald" => (LOCAL_SIZE, LOCAL_FILE),
        "gelf" | "fluentd" | "awslogs" | "splunk" | "etwlogs" | "gcplogs" => {
            return Err(EngineError::unsupported(format!(
                "the log driver \"{driver}\""
            )));
        }
        other => {
            return Err(EngineError::invalid(format!(
                "error looking up logging plugin {other}: plugin \"{other}\" not found"
            )));
        }
    };
    let mut logging = Logging {
        kept: is_kept(driver),
        max_size,
        max_file,
        buffer: None,
        destination: None,
    };
    // As with Docker's daemon, nothing is asked of options that nobody reads.
    if !logging.kept {
        return Ok(logging);
    }
    logging.buffer = buffer(options)?;
    logging.destination = log_remote::destination(driver, options)?;
    let is_known = |name: &str| match logging.destination {
        Some(_) => log_remote::is_known(driver, name),
        None => is_known(name),
    };
    if let Some(unknown) = options.keys().find(|name| !is_known(name)) {
        return Err(EngineError::invalid(match driver {
            "local" => format!("unknown log opt '{unknown}' for log driver local"),
            driver => format!("unknown log opt '{unknown}' for {driver} log driver"),
        }));
    }
    for (name, value) in options {
        match name.as_str() {
            "max-size" | "cache-max-size" if value == "-1" => logging.max_size = u64::MAX,
            "max-size" | "cache-max-size" => {
                logging.max_size = parse_size(value)
                    .ok_or_else(|| senseless(&format!("invalid size: '{value}'")))?;
            }
            "max-file" | "cache-max-file" => logging.max_file = files(value)?,
            "compress" | "cache-compress" | "cache-disabled" if boolean(value)? => {
                return Err(EngineError::unsupported(format!(
                    "the log option \"{name}\""
                )));
            }
            "tag" => {
                Template::parse(value).map_err(|error| match error {
                    EngineError::Invalid { sentence } => senseless(&sentence),
                    error => error,
                })?;
            }
            "labels-regex" | "env-regex" => {
                pattern(value)?;
            }
            _ => {}
        }
    }
    Ok(logging)
}

fn is_known(name: &str) -> bool {
    matches!(
        name,
        "max-size"
            | "max-file"
            | "compress"
            | "labels"
            | "labels-regex"
            | "env"
            | "env-regex"
            | "tag"
            | "mode"
            | "max-buffer-size"
    )
}

/// What `mode` and `max-buffer-size` ask for.
fn buffer(options: &BTreeMap<String, String>) -> Result<Option<u64>> {
    let given = |name: &str| options.get(name).map(String::as_str);
    let invalid = |sentence: String| Err(EngineError::invalid(sentence));
    let waits = match given("mode") {
        None | Some("" | "blocking") => false,
        Some("non-blocking") => true,
        Some(other) => return invalid(format!("logger: logging mode not supported: {other}")),
    };
    match given("max-buffer-size") {
        None => Ok(waits.then_some(BUFFER)),
        Some(_) if !waits => invalid(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'".to_owned(),
        ),
        Some(size) => match parse_size(size) {
            None => invalid(format!(
                "error parsing option max-buffer-size: invalid size: '{size}'"
            )),
            Some(bytes) if bytes > BUFFER_LIMIT => invalid(format!(
                "error parsing option max-buffer-size: '{size}' is more than {} MiB",
                BUFFER_LIMIT >> 20
            )),
            Some(bytes) => Ok(Some(bytes)),
        },
    }
}

fn files(value: &str) -> Result<u32> {
    let number: i64 = value.parse().map_err(|_| {
        senseless(&format!(
            "strconv.Atoi: parsing \"{value}\": invalid syntax"
        ))
    })?;
    if number < 1 {
        return Err(senseless("max-file cannot be less than 1"));
    }
    u32::try_from(number)
        .ok()
        .filter(|number| *number <= FILES_LIMIT)
        .ok_or_else(|| senseless(&format!("max-file cannot be more than {FILES_LIMIT}")))
}

/// Go's words for true and false.
fn boolean(value: &str) -> Result<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(senseless(&format!(
            "strconv.ParseBool: parsing \"{value}\": invalid syntax"
        ))),
    }
}

fn pattern(text: &str) -> Result<Regex> {
    RegexBuilder::new(text)
        .size_limit(PATTERN)
        .build()
        .map_err(|error| senseless(&format!("error parsing regexp: {error}: `{text}`")))
}

/// What the options want each line to carry.
///
/// # Errors
/// As [`read_logging`].
pub(crate) fn attributes(info: &Info<'_>) -> Result<BTreeMap<String, String>> {
    let option = |name: &str| info.options.get(name).filter(|value| !value.is_empty());
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let env: BTreeMap<&str, &str> = info
        .env
        .iter()
        .filter_map(|variable| variable.split_once('='))
        .collect();
    let labels: BTreeMap<&str, &str> = info
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    for (list, by_pattern, from) in [
        ("labels", "labels-regex", &labels),
        ("env", "env-regex", &env),
    ] {
        for name in option(list).iter().flat_map(|names| names.split(',')) {
            if let Some(value) = from.get(name) {
                all.insert(name.to_owned(), (*value).to_owned());
            }
        }
        if let Some(text) = option(by_pattern) {
            let wanted = pattern(text)?;
            let found = from.iter().filter(|(name, _)| wanted.is_match(name));
            all.extend(found.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        }
    }
    if let Some(template) = option("tag") {
        let tag = Template::parse(template)?.render(info);
        if !tag.is_empty() {
            all.insert("tag".to_owned(), tag);
        }
    }
    Ok(all)
}

/// The same as a JSON object; empty for nothing.
///
/// # Errors
/// What is longer than a line may carry.
pub(crate) fn object(all: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let written = as_go_writes(&serde_json::to_string(all).unwrap_or_default());
    if written.len() > ATTRIBUTES_LIMIT {
        return Err(senseless(&format!(
            "labels, variables and tag have {} bytes, and a line of the log may carry {ATTRIBUTES_LIMIT}",
            written.len()
        )));
    }
    Ok(written.into_bytes())
}

/// Go's JSON has these signs as escapes; outside of texts JSON has none of them.
fn as_go_writes(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for sign in json.chars() {
        match sign {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(sign)));
            }
            _ => out.push(sign),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |text: &str| text.to_owned();
        pairs
            .iter()
            .map(|(name, value)| (owned(name), owned(value)))
            .collect()
    }

    #[test]
    fn logs_are_bounded_unless_asked_otherwise() {
        let mut host = HostConfig::default();
        let bounded = logging(&mut host, "json-file", &BTreeMap::new()).unwrap();
        assert!(bounded.kept && bounded.buffer.is_none());
        assert_eq!((bounded.max_size, bounded.max_file), (10 << 20, 3));
        assert_eq!(host.log_config.kind, "json-file");
        let size = options(&[("max-size", "64k")]);
        assert_eq!(read_logging("json-file", &size).unwrap().max_size, 65536);
        let local = read_logging("local", &BTreeMap::new()).unwrap();
        assert!(local.kept);
        assert_eq!((local.max_size, local.max_file), (20 << 20, 5));
        let nonsense = options(&[("nonsense", "x")]);
        assert!(read_logging("none", &nonsense).is_ok_and(|logging| !logging.kept));
    }

    #[test]
    fn the_daemon_s_options_are_for_its_driver() {
        let mut host = HostConfig::default();
        host.log_config.config = Some(options(&[("max-file", "7")]));
        let of_daemon = options(&[("max-file", "4"), ("max-size", "1k")]);
        let merged = logging(&mut host, "local", &of_daemon).unwrap();
        assert_eq!((merged.max_size, merged.max_file), (1024, 7));
        assert_eq!(host.log_config.kind, "local");
        assert_eq!(
            host.log_config.config,
            Some(options(&[("max-file", "7"), ("max-size", "1k")]))
        );
        let mut other = HostConfig::default();
        other.log_config.kind = "json-file".to_owned();
        let alone = logging(&mut other, "local", &of_daemon).unwrap();
        assert_eq!((alone.max_size, alone.max_file), (MAX_SIZE, MAX_FILE));
        assert_eq!(other.log_config.config, Some(BTreeMap::new()));
    }

    #[test]
    fn what_makes_no_sense_is_told_in_docker_s_words() {
        let told = |driver: &str, pairs: &[(&str, &str)]| {
            read_logging(driver, &options(pairs))
                .unwrap_err()
                .to_string()
        };
        for (driver, pairs, sentence) in [
            (
                "bogus",
                &[][..],
                "error looking up logging plugin bogus: plugin \"bogus\" not found",
            ),
            (
                "json-file",
                &[("size", "1")],
                "unknown log opt 'size' for json-file log driver",
            ),
            (
                "syslog",
                &[("max-size", "1")],
                "unknown log opt 'max-size' for syslog log driver",
            ),
            (
                "journald",
                &[("syslog-facility", "kern")],
                "unknown log opt 'syslog-facility' for journald log driver",
            ),
            ("syslog", &[("syslog-format", "x")], "Invalid syslog format"),
            (
                "local",
                &[("size", "1")],
                "unknown log opt 'size' for log driver local",
            ),
            (
                "local",
                &[("mode", "zz")],
                "logger: logging mode not supported: zz",
            ),
            (
                "local",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "local",
                &[("mode", "non-blocking"), ("max-buffer-size", "x")],
                "error parsing option max-buffer-size: invalid size: 'x'",
            ),
            (
                "json-file",
                &[("compress", "yes")],
                "failed to create task for container: failed to initialize logging driver: strconv.ParseBool: parsing \"yes\": invalid syntax",
            ),
        ] {
            assert_eq!(told(driver, pairs), sentence);
        }
        assert!(told("local", &[("labels-regex", "(")]).contains("error parsing regexp"));
        assert!(told("local", &[("tag", "{{.Nope}}")]).contains("can't evaluate field Nope"));
    }

    #[test]
    fn what_does_not_hold_the_container_up_waits_in_memory() {
        let buffer =
            |pairs: &[(&str, &str)]| read_logging("local", &options(pairs)).unwrap().buffer;
        assert_eq!(buffer(&[("mode", "blocking")]), None);
        assert_eq!(buffer(&[("mode", "non-blocking")]), Some(BUFFER));
        let both = [("mode", "non-blocking"), ("max-buffer-size", "4m")];
        assert_eq!(buffer(&both), Some(4 << 20));
    }

    #[test]
    fn lines_carry_labels_variables_and_the_tag() {
        let labels = options(&[("app", "shop"), ("org.team", "<a>"), ("other", "x")]);
        let env = ["STAGE=test".to_owned(), "PATH=/bin".to_owned()];
        let carried = |pairs: &[(&str, &str)]| {
            let options = options(pairs);
            let info = Info {
                id: "0123456789abcdef",
                name: "web",
                image: "sha256:0",
                image_name: "busybox",
                path: "sh",
                args: &[],
                env: &env,
                labels: &labels,
                options: &options,
            };
            attributes(&info)
                .and_then(|all| object(&all))
                .map(|json| String::from_utf8(json).unwrap())
        };
        for (pairs, json) in [
            (&[][..], ""),
            (&[("labels", "none,nor")], ""),
            (&[("labels", "other,app")], r#"{"app":"shop","other":"x"}"#),
            (
                &[("labels-regex", "^org\\.")],
                r#"{"org.team":"\u003ca\u003e"}"#,
            ),
            (
                &[("env", "STAGE"), ("env-regex", "^PA"), ("tag", "{{.Name}}")],
                r#"{"PATH":"/bin","STAGE":"test","tag":"web"}"#,
            ),
            (&[("tag", "")], ""),
        ] {
            assert_eq!(carried(pairs).unwrap(), json);
        }
        let long = "x".repeat(ATTRIBUTES_LIMIT);
        assert!(carried(&[("tag", long.as_str())]).is_err());
    }
}
