//! Refuses by name what a request asks for and nobody has built: a setting is honoured or refused, never dropped.

use api_types::{HostConfig, NetworkingConfig};

use crate::config::RUNTIMES;
use crate::outcome::{EngineError, Result};

/// Names the first field that is not at its zero value and not built.
///
/// # Errors
/// [`EngineError::Unsupported`] with the field's name in the API.
pub(crate) fn check(host: &HostConfig, networking: &NetworkingConfig) -> Result<()> {
    runtime_and_isolation(host)?;
    drivers(host)?;
    annotations(host)?;
    endpoints(host, networking)?;
    match host.cgroup.is_empty() {
        true => Ok(()),
        false => Err(EngineError::unsupported("HostConfig.Cgroup")),
    }
}

/// What Docker's daemon refuses on Linux as well, in its words: quotas of overlay's upper folders without a file system
/// that has them, and devices of drivers that nobody has.
fn drivers(host: &HostConfig) -> Result<()> {
    if host.storage_opt.contains_key("size") {
        return Err(EngineError::invalid(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ));
    }
    if let Some(name) = host.storage_opt.keys().next() {
        return Err(EngineError::invalid(format!("Unknown option {name}")));
    }
    if let Some(request) = host.device_requests.iter().flatten().next() {
        let any: Vec<String> = request
            .capabilities
            .iter()
            .flatten()
            .map(|all| format!("[{}]", all.join(" ")))
            .collect();
        return Err(EngineError::invalid(format!(
            "could not select device driver {:?} with capabilities: [{}]",
            request.driver,
            any.join(" ")
        )));
    }
    Ok(())
}

/// What an annotation must have.
fn annotations(host: &HostConfig) -> Result<()> {
    match host.annotations.contains_key("") {
        true => Err(EngineError::invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        )),
        false => Ok(()),
    }
}

/// Runtimes and isolations that nobody has, in docker's words.
fn runtime_and_isolation(host: &HostConfig) -> Result<()> {
    if !host.runtime.is_empty() && !RUNTIMES.contains(&host.runtime.as_str()) {
        return Err(EngineError::invalid(format!(
            "unknown or invalid runtime name: {}",
            host.runtime
        )));
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return Err(EngineError::invalid(format!(
            "invalid isolation ({}): linux only supports 'default'",
            host.isolation
        )));
    }
    Ok(())
}

/// What each network is asked for must be such as it can give; the networks must go together.
fn endpoints(host: &HostConfig, networking: &NetworkingConfig) -> Result<()> {
    let mode = match host.network_mode.as_str() {
        "" | "default" => "bridge",
        mode => mode,
    };
    for (name, settings) in networking.endpoints_config.iter().flatten() {
        crate::networks::places::check_settings(name, settings).map_err(|error| match error {
            EngineError::Invalid { sentence } => {
                EngineError::invalid(format!("invalid config for network {name}: {sentence}"))
            }
            error => error,
        })?;
        let name = match name.as_str() {
            "default" => "bridge",
            name => name,
        };
        let alone = |name: &str| matches!(name, "host" | "none") || name.starts_with("container:");
        if alone(name) && !settings.mac_address.is_empty() {
            return Err(EngineError::invalid(
                "conflicting options: mac-address and the network mode",
            ));
        }
        if name != mode && (alone(mode) || alone(name)) {
            return Err(EngineError::invalid(format!(
                "conflicting options: the network {name} beside the network mode {mode}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_request_passes() {
        check(&HostConfig::default(), &NetworkingConfig::default()).unwrap();
    }

    #[test]
    fn networks_that_do_not_go_together_are_refused() {
        let on = |mode: &str, names: &[&str]| {
            let host = HostConfig {
                network_mode: mode.into(),
                ..Default::default()
            };
            let endpoints = names
                .iter()
                .map(|name| ((*name).to_owned(), Default::default()));
            let networking = NetworkingConfig {
                endpoints_config: Some(endpoints.collect()),
            };
            check(&host, &networking).map_err(|error| error.to_string())
        };
        assert_eq!(on("", &["bridge"]), Ok(()));
        assert_eq!(on("default", &["default"]), Ok(()));
        assert_eq!(on("host", &["host"]), Ok(()));
        assert_eq!(on("bridge", &["bridge", "mine"]), Ok(()));
        assert_eq!(on("mine", &["mine", "other"]), Ok(()));
        assert!(on("host", &["mine"]).unwrap_err().contains("mine beside"));
        assert!(on("mine", &["mine", "none"]).is_err());
    }

    #[test]
    fn each_field_is_refused_by_its_name() {
        let refused = |host: HostConfig| {
            check(&host, &NetworkingConfig::default())
                .unwrap_err()
                .to_string()
        };
        let base = HostConfig::default;
        assert_eq!(
            refused(HostConfig {
                cgroup: "container:x".into(),
                ..base()
            }),
            "HostConfig.Cgroup is not supported by wharf"
        );
        let all = api_types::DeviceRequest {
            count: -1,
            capabilities: Some(vec![vec!["gpu".into()]]),
            ..Default::default()
        };
        assert_eq!(
            refused(HostConfig {
                device_requests: Some(vec![all]),
                ..base()
            }),
            "could not select device driver \"\" with capabilities: [[gpu]]"
        );
        assert_eq!(
            refused(HostConfig {
                storage_opt: [("size".to_owned(), "1G".to_owned())].into(),
                ..base()
            }),
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
        );
        assert_eq!(
            refused(HostConfig {
                annotations: [(String::new(), "x".to_owned())].into(),
                ..base()
            }),
            "invalid Annotations: the empty string is not permitted as an annotation key"
        );
        assert_eq!(
            refused(HostConfig {
                runtime: "kata".into(),
                ..base()
            }),
            "unknown or invalid runtime name: kata"
        );
    }
}
