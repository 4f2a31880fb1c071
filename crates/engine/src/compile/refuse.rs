//! Refuses by name what a request asks for and nobody has built: a setting is honoured or refused, never dropped.

use api_types::{Config, HostConfig, NetworkingConfig};

use crate::outcome::{EngineError, Result};

/// Names the first field that is not at its zero value and not built.
///
/// # Errors
/// [`EngineError::Unsupported`] with the field's name in the API.
pub(crate) fn check(
    config: &Config,
    host: &HostConfig,
    networking: &NetworkingConfig,
) -> Result<()> {
    runtime_and_isolation(host)?;
    endpoints(host, networking)?;
    let container = [
        ("Config.MacAddress", !config.mac_address.is_empty()),
        ("Config.NetworkDisabled", config.network_disabled),
    ];
    let asked = container
        .into_iter()
        .chain(host_fields(host))
        .chain(resource_fields(host))
        .find(|(_, asked)| *asked);
    match asked {
        Some((name, _)) => Err(EngineError::unsupported(name)),
        None => Ok(()),
    }
}

/// The same of limits alone.
///
/// # Errors
/// [`EngineError::Unsupported`] with the field's name in the API.
pub(crate) fn check_resources(host: &HostConfig) -> Result<()> {
    let mut fields = resource_fields(host).into_iter();
    match fields.find(|(_, asked)| *asked) {
        Some((name, _)) => Err(EngineError::unsupported(name)),
        None => Ok(()),
    }
}

/// A field's name in the API, and whether it is asked for.
type Asked = (&'static str, bool);

fn given<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn host_fields(host: &HostConfig) -> [Asked; 6] {
    [
        (
            "HostConfig.VolumeDriver",
            !matches!(host.volume_driver.as_str(), "" | "local"),
        ),
        ("HostConfig.Annotations", !host.annotations.is_empty()),
        ("HostConfig.Cgroup", !host.cgroup.is_empty()),
        ("HostConfig.StorageOpt", !host.storage_opt.is_empty()),
        ("HostConfig.CgroupParent", !host.cgroup_parent.is_empty()),
        ("HostConfig.DeviceRequests", given(&host.device_requests)),
    ]
}

fn resource_fields(host: &HostConfig) -> [Asked; 8] {
    [
        (
            "HostConfig.CpuRealtimePeriod",
            host.cpu_realtime_period != 0,
        ),
        (
            "HostConfig.CpuRealtimeRuntime",
            host.cpu_realtime_runtime != 0,
        ),
        ("HostConfig.KernelMemory", host.kernel_memory != 0),
        ("HostConfig.KernelMemoryTCP", host.kernel_memory_tcp != 0),
        ("HostConfig.CpuCount", host.cpu_count != 0),
        ("HostConfig.CpuPercent", host.cpu_percent != 0),
        ("HostConfig.IOMaximumIOps", host.io_maximum_iops != 0),
        (
            "HostConfig.IOMaximumBandwidth",
            host.io_maximum_bandwidth != 0,
        ),
    ]
}

/// Runtimes and isolations that nobody has, in docker's words.
fn runtime_and_isolation(host: &HostConfig) -> Result<()> {
    if !matches!(
        host.runtime.as_str(),
        "" | "wharf" | "runc" | "io.containerd.runc.v2"
    ) {
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
        if name != mode && (alone(mode) || alone(name)) {
            return Err(EngineError::invalid(format!(
                "conflicting options: the network {name} beside the network mode {mode}"
            )));
        }
    }
    let of_user = !matches!(mode, "bridge" | "host" | "none") && !mode.starts_with("container:");
    // On networks of users the endpoint says the same.
    if given(&host.links) && !of_user {
        return Err(EngineError::unsupported("HostConfig.Links"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_request_passes() {
        check(
            &Config::default(),
            &HostConfig::default(),
            &NetworkingConfig::default(),
        )
        .unwrap();
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
            check(&Config::default(), &host, &networking).map_err(|error| error.to_string())
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
            check(&Config::default(), &host, &NetworkingConfig::default())
                .unwrap_err()
                .to_string()
        };
        let base = HostConfig::default;
        assert_eq!(
            refused(HostConfig {
                cpu_count: 1,
                ..base()
            }),
            "HostConfig.CpuCount is not supported by wharf"
        );
        assert_eq!(
            refused(HostConfig {
                kernel_memory: 10,
                ..base()
            }),
            "HostConfig.KernelMemory is not supported by wharf"
        );
        assert_eq!(
            refused(HostConfig {
                links: Some(vec!["a".into()]),
                ..base()
            }),
            "HostConfig.Links is not supported by wharf"
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
