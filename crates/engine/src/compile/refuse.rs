//! Refuses by name what a request asks for and nobody has built: a setting is honoured or refused, never dropped.

use api_types::{Config, EndpointSettings, HostConfig, NetworkingConfig};

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
        .chain(endpoint_fields(networking))
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

fn host_fields(host: &HostConfig) -> [Asked; 8] {
    [
        (
            "HostConfig.VolumeDriver",
            !matches!(host.volume_driver.as_str(), "" | "local"),
        ),
        ("HostConfig.VolumesFrom", given(&host.volumes_from)),
        ("HostConfig.Annotations", !host.annotations.is_empty()),
        ("HostConfig.Cgroup", !host.cgroup.is_empty()),
        ("HostConfig.Links", given(&host.links)),
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

/// What no endpoint may ask for.
fn endpoint_fields(networking: &NetworkingConfig) -> [Asked; 5] {
    let any = |asks: fn(&EndpointSettings) -> bool| {
        let endpoints = networking.endpoints_config.iter().flatten();
        endpoints.into_iter().any(|(_, endpoint)| asks(endpoint))
    };
    [
        ("NetworkingConfig", any(|one| given(&one.links))),
        (
            "NetworkingConfig.EndpointsConfig.Aliases",
            any(|one| given(&one.aliases)),
        ),
        (
            "NetworkingConfig.EndpointsConfig.DriverOpts",
            any(|one| one.driver_opts.as_ref().is_some_and(|map| !map.is_empty())),
        ),
        (
            "NetworkingConfig.EndpointsConfig.MacAddress",
            any(|one| !one.mac_address.is_empty()),
        ),
        (
            "NetworkingConfig.EndpointsConfig.IPAMConfig",
            any(|one| {
                one.ipam_config
                    .as_ref()
                    .is_some_and(|ipam| *ipam != Default::default())
            }),
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

/// A container is on the one network that its mode names; endpoints of others are not made.
fn endpoints(host: &HostConfig, networking: &NetworkingConfig) -> Result<()> {
    let mode = match host.network_mode.as_str() {
        "" | "default" => "bridge",
        mode => mode,
    };
    let other = networking
        .endpoints_config
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .find(|name| *name != mode && !(mode == "bridge" && *name == "default"));
    match other {
        None => Ok(()),
        Some(name) => Err(EngineError::unsupported(format!(
            "more than one network (NetworkingConfig.EndpointsConfig names {name} beside {mode})"
        ))),
    }
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
    fn endpoints_of_other_networks_are_refused() {
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
        assert!(
            on("", &["mine"])
                .unwrap_err()
                .contains("mine beside bridge")
        );
        assert!(on("bridge", &["bridge", "mine"]).is_err());
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
