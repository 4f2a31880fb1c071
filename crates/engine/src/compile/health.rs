//! The check of a container's health: docker's settings, and what the shim runs.

use api_types::{Config, HealthConfig, ImageConfig};

use crate::outcome::{EngineError, Result};

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// A check with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// The command.
    pub(crate) words: Vec<String>,
    /// Nanoseconds.
    pub(crate) interval: u64,
    /// Nanoseconds.
    pub(crate) timeout: u64,
    /// Nanoseconds.
    pub(crate) start_period: u64,
    /// Nanoseconds.
    pub(crate) start_interval: u64,
    /// Failures in a row.
    pub(crate) retries: u32,
}

/// Fills what a request leaves open from the image's check.
pub(crate) fn merge(config: &mut Config, image: &ImageConfig) {
    let Some(inherited) = &image.healthcheck else {
        return;
    };
    let Some(own) = &mut config.healthcheck else {
        config.healthcheck = Some(inherited.clone());
        return;
    };
    if own.test.is_empty() {
        own.test.clone_from(&inherited.test);
    }
    for (own, inherited) in [
        (&mut own.interval, inherited.interval),
        (&mut own.timeout, inherited.timeout),
        (&mut own.start_period, inherited.start_period),
        (&mut own.start_interval, inherited.start_interval),
        (&mut own.retries, inherited.retries),
    ] {
        if *own == 0 {
            *own = inherited;
        }
    }
}

/// The check of a configuration, if it has one.
///
/// # Errors
/// Docker's sentences.
pub(crate) fn parse(config: &Config) -> Result<Option<Check>> {
    let Some(health) = &config.healthcheck else {
        return Ok(None);
    };
    for (name, value) in [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ] {
        if value < 0 || (value > 0 && value < SECOND / 1000) {
            return Err(EngineError::invalid(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    if health.retries < 0 {
        return Err(EngineError::invalid(
            "Retries in Healthcheck cannot be negative",
        ));
    }
    let Some(words) = words(health, &config.shell)? else {
        return Ok(None);
    };
    let or = |value: i64, default: i64| {
        u64::try_from(if value == 0 { default } else { value }).unwrap_or(0)
    };
    Ok(Some(Check {
        words,
        interval: or(health.interval, 30 * SECOND),
        timeout: or(health.timeout, 30 * SECOND),
        start_period: or(health.start_period, 0),
        start_interval: or(health.start_interval, 5 * SECOND),
        retries: u32::try_from(or(health.retries, 3)).unwrap_or(u32::MAX),
    }))
}

fn words(health: &HealthConfig, shell: &[String]) -> Result<Option<Vec<String>>> {
    match health.test.split_first() {
        None => Ok(None),
        Some((kind, _)) if kind == "NONE" => Ok(None),
        Some((kind, words)) if kind == "CMD" && !words.is_empty() => Ok(Some(words.to_vec())),
        Some((kind, [command])) if kind == "CMD-SHELL" => {
            let mut words = if shell.is_empty() {
                vec!["/bin/sh".to_owned(), "-c".to_owned()]
            } else {
                shell.to_vec()
            };
            words.push(command.clone());
            Ok(Some(words))
        }
        Some((kind, _)) => Err(EngineError::invalid(format!(
            "Unknown healthcheck type '{kind}' (expected 'CMD')"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(test: &[&str]) -> Config {
        let test = test.iter().map(|&word| word.to_owned()).collect();
        Config {
            healthcheck: Some(HealthConfig {
                test,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn checks_are_read_in_all_their_forms() {
        assert_eq!(
            parse(&config(&["CMD", "true"])).unwrap().unwrap().words,
            ["true"]
        );
        assert_eq!(
            parse(&config(&["CMD-SHELL", "exit 0"]))
                .unwrap()
                .unwrap()
                .words,
            ["/bin/sh", "-c", "exit 0"]
        );
        assert_eq!(parse(&config(&["NONE"])).unwrap(), None);
        assert_eq!(parse(&Config::default()).unwrap(), None);
        assert!(parse(&config(&["SOMETIMES"])).is_err());
    }

    #[test]
    fn the_image_fills_what_is_left_open() {
        let image = ImageConfig {
            healthcheck: Some(HealthConfig {
                test: vec!["CMD".into(), "probe".into()],
                retries: 5,
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut config = config(&[]);
        merge(&mut config, &image);
        let check = parse(&config).unwrap().unwrap();
        assert_eq!(
            (check.words, check.retries, check.interval),
            (vec!["probe".to_owned()], 5, 30_000_000_000)
        );
    }
}
