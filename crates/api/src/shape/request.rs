//! Requests of older versions: what did not exist then is not taken from them, and what meant something else then is
//! said in the words of today.

use api_types::{ContainerCreate, EndpointSettings, HostConfig};

use crate::failure::Failure;
use crate::version::Version;

/// Brings the body that makes a container from the shape of a version into the newest.
///
/// # Errors
/// When the body asks for something that needs a newer version, and leaving it out would be dangerous.
pub(crate) fn adapt(body: &mut ContainerCreate, version: Version) -> Result<(), Failure> {
    let host = &mut body.host_config;
    // "No limit" is said in several ways.
    host.pids_limit = host.pids_limit.filter(|&limit| limit > 0);
    host.memory_swappiness = host
        .memory_swappiness
        .filter(|&swappiness| swappiness != -1);
    if version < Version(25) {
        // The client removes the container itself.
        host.auto_remove = false;
    }
    if version < Version(40) && host.ipc_mode.is_empty() {
        host.ipc_mode = "shareable".to_owned();
    }
    if version < Version(42) {
        host.console_size = [0, 0];
    } else {
        host.kernel_memory = 0;
    }
    if version < Version(43) {
        host.annotations.clear();
    }
    if version >= Version(52) {
        host.kernel_memory_tcp = 0;
    }
    adapt_mounts(host, version)?;
    body.only_top_read_only = version < Version(44);
    if let Some(check) = body
        .config
        .healthcheck
        .as_mut()
        .filter(|_| version < Version(44))
    {
        check.start_interval = 0;
    }
    adapt_endpoints(body, version)
}

fn adapt_mounts(host: &mut HostConfig, version: Version) -> Result<(), Failure> {
    for mount in &mut host.mounts {
        if let Some(options) = &mut mount.bind_options {
            if version < Version(40) {
                options.non_recursive = false;
            }
            if version < Version(42) {
                options.create_mountpoint = false;
            }
            if version < Version(44) {
                options.read_only_non_recursive = false;
                if options.read_only_force_recursive {
                    return Err(Failure::bad_request(
                        "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
                    ));
                }
            }
        }
        let subpath = mount
            .volume_options
            .as_ref()
            .is_some_and(|options| !options.subpath.is_empty());
        if subpath && version < Version(45) {
            return Err(Failure::bad_request(
                "VolumeOptions.Subpath needs API v1.45 or newer",
            ));
        }
        if let Some(options) = mount
            .tmpfs_options
            .as_mut()
            .filter(|_| version < Version(46))
        {
            options.options.clear();
        }
    }
    Ok(())
}

fn adapt_endpoints(body: &mut ContainerCreate, version: Version) -> Result<(), Failure> {
    let mac_address = std::mem::take(&mut body.config.mac_address);
    let endpoints = body
        .networking_config
        .endpoints_config
        .get_or_insert_default();
    if version < Version(44) && endpoints.len() > 1 {
        let names = endpoints
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(Failure::bad_request(format!(
            "Container cannot be created with multiple network endpoints: {names}"
        )));
    }
    for endpoint in endpoints.values_mut() {
        if version < Version(44) {
            endpoint.mac_address.clear();
        }
        if version < Version(48) {
            endpoint.gw_priority = 0;
        }
    }
    if !mac_address.is_empty() && version < Version(52) {
        let network = match body.host_config.network_mode.as_str() {
            "" | "default" => "bridge",
            named => named,
        };
        let endpoint: &mut EndpointSettings = endpoints.entry(network.to_owned()).or_default();
        if !endpoint.mac_address.is_empty() && endpoint.mac_address != mac_address {
            return Err(Failure::bad_request(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or \
                 should be left empty",
            ));
        }
        endpoint.mac_address = mac_address;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(text: &str, minor: u16) -> Result<ContainerCreate, Failure> {
        let mut body = ContainerCreate::from_json(text.as_bytes()).unwrap();
        adapt(&mut body, Version(minor))?;
        Ok(body)
    }

    #[test]
    fn what_is_newer_than_the_client_is_not_taken() {
        let text = r#"{"HostConfig":{"AutoRemove":true,"ConsoleSize":[24,80],"KernelMemory":4,"KernelMemoryTCP":5}}"#;
        let old = adapted(text, 24).unwrap().host_config;
        assert!(!old.auto_remove);
        assert_eq!(old.console_size, [0, 0]);
        assert_eq!(old.ipc_mode, "shareable");
        assert_eq!(old.kernel_memory, 4);
        let new = adapted(text, 55).unwrap().host_config;
        assert!(new.auto_remove);
        assert_eq!(new.console_size, [24, 80]);
        assert_eq!(new.ipc_mode, "");
        assert_eq!((new.kernel_memory, new.kernel_memory_tcp), (0, 0));
    }

    #[test]
    fn no_limit_is_none() {
        for limit in ["0", "-1", "null"] {
            let body =
                adapted(&format!(r#"{{"HostConfig":{{"PidsLimit":{limit}}}}}"#), 41).unwrap();
            assert_eq!(body.host_config.pids_limit, None);
        }
    }

    #[test]
    fn the_old_hardware_address_moves_to_the_endpoint() {
        let text = r#"{"MacAddress":"02:00:00:00:00:01"}"#;
        let moved = adapted(text, 43).unwrap();
        let endpoints = moved.networking_config.endpoints_config.unwrap();
        assert_eq!(endpoints["bridge"].mac_address, "02:00:00:00:00:01");
        assert_eq!(moved.config.mac_address, "");
        assert!(
            adapted(text, 52)
                .unwrap()
                .networking_config
                .endpoints_config
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_newer_word_that_can_not_be_left_out_is_refused() {
        let text =
            r#"{"HostConfig":{"Mounts":[{"Type":"volume","VolumeOptions":{"Subpath":"a"}}]}}"#;
        assert_eq!(
            adapted(text, 44).unwrap_err().message(),
            "VolumeOptions.Subpath needs API v1.45 or newer"
        );
        assert!(adapted(text, 45).is_ok());
    }
}
