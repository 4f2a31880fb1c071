//! Namespace modes: `""`, `host`, `none`, `container:NAME` and their like.

use api_types::{Config, HostConfig};

use crate::outcome::{EngineError, Result};

/// Where a container's network comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// The bridge of the engine.
    Bridge,
    /// The host's own.
    Host,
    /// Loopback alone.
    None,
    /// Another container's, by name or id.
    Container(String),
    /// The network of that name or id. Whether there is one is found out at the start, as docker does,
    /// since its client would take a "not found" at the creation for a missing image.
    User(String),
}

/// Where an IPC namespace and /dev/shm come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IpcMode {
    /// Its own, joinable by others or not.
    Private,
    /// Its own, joinable by `container:`.
    Shareable,
    /// Its own, without /dev/shm.
    None,
    /// The host's.
    Host,
    /// Another container's.
    Container(String),
}

/// Where a PID namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PidMode {
    /// Its own.
    Private,
    /// The host's.
    Host,
    /// Another container's.
    Container(String),
}

/// All the modes of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Modes {
    pub(crate) network: NetworkMode,
    pub(crate) ipc: IpcMode,
    pub(crate) pid: PidMode,
    /// The host's host name.
    pub(crate) uts_host: bool,
    /// `None` leaves the choice to the host's cgroup version.
    pub(crate) cgroup_private: Option<bool>,
}

fn of_container(mode: &str, kind: &str) -> Result<Option<String>> {
    match mode.split_once(':') {
        Some(("container", "")) => Err(EngineError::invalid(format!(
            "invalid {kind} mode: invalid container format container:<name|id>"
        ))),
        Some(("container", name)) => Ok(Some(name.to_owned())),
        _ => Ok(None),
    }
}

impl Modes {
    /// Reads the modes of a host configuration.
    ///
    /// # Errors
    /// Docker's sentences for a mode that nobody knows;
    pub(crate) fn parse(host: &HostConfig) -> Result<Modes> {
        let invalid = |kind: &str, mode: &str| {
            Err(EngineError::invalid(format!("invalid {kind} mode: {mode}")))
        };
        let network = match (
            host.network_mode.as_str(),
            of_container(&host.network_mode, "network")?,
        ) {
            (_, Some(name)) => NetworkMode::Container(name),
            ("" | "default" | "bridge", _) => NetworkMode::Bridge,
            ("host", _) => NetworkMode::Host,
            ("none", _) => NetworkMode::None,
            (other, _) => NetworkMode::User(other.to_owned()),
        };
        let ipc = match (host.ipc_mode.as_str(), of_container(&host.ipc_mode, "IPC")?) {
            (_, Some(name)) => IpcMode::Container(name),
            ("" | "private", _) => IpcMode::Private,
            ("shareable", _) => IpcMode::Shareable,
            ("none", _) => IpcMode::None,
            ("host", _) => IpcMode::Host,
            (other, _) => return invalid("IPC", other),
        };
        let pid = match (host.pid_mode.as_str(), of_container(&host.pid_mode, "PID")?) {
            (_, Some(name)) => PidMode::Container(name),
            ("" | "private", _) => PidMode::Private,
            ("host", _) => PidMode::Host,
            (other, _) => return invalid("PID", other),
        };
        let uts_host = match host.uts_mode.as_str() {
            "" => false,
            "host" => true,
            other => return invalid("UTS", other),
        };
        if !matches!(host.userns_mode.as_str(), "" | "host") {
            return invalid("userns", &host.userns_mode);
        }
        let cgroup_private = match host.cgroupns_mode.as_str() {
            "" => None,
            "private" => Some(true),
            "host" => Some(false),
            other => return invalid("cgroup namespace", other),
        };
        Ok(Modes {
            network,
            ipc,
            pid,
            uts_host,
            cgroup_private,
        })
    }

    /// Refuses settings that contradict a mode, in docker's words.
    pub(crate) fn check(&self, config: &Config, host: &HostConfig) -> Result<()> {
        let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let conflict = |sentence: &str| {
            Err(EngineError::invalid(format!(
                "conflicting options: {sentence}"
            )))
        };
        if self.uts_host && !config.hostname.is_empty() {
            return conflict("hostname and the UTS mode");
        }
        if matches!(self.network, NetworkMode::Container(_)) {
            if !config.hostname.is_empty() {
                return conflict("hostname and the network mode");
            }
            if given(&host.dns) {
                return conflict("dns and the network mode");
            }
            if given(&host.extra_hosts) {
                return conflict("custom host-to-IP mapping and the network mode");
            }
            if !config.mac_address.is_empty() {
                return conflict("mac-address and the network mode");
            }
            if host
                .port_bindings
                .as_ref()
                .is_some_and(|ports| !ports.is_empty())
                || host.publish_all_ports
            {
                return conflict("port publishing and the container type network mode");
            }
            if !config.exposed_ports.is_empty() {
                return conflict("port exposing and the container type network mode");
            }
        }
        Ok(())
    }
}

/// The mode as docker writes it back in `inspect`.
pub(crate) fn normalise(host: &mut HostConfig) {
    if matches!(host.network_mode.as_str(), "" | "default") {
        host.network_mode = "bridge".to_owned();
    }
    if host.ipc_mode.is_empty() {
        host.ipc_mode = "private".to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_in_all_their_forms() {
        let host = HostConfig {
            network_mode: "container:web".into(),
            ipc_mode: "none".into(),
            pid_mode: "host".into(),
            uts_mode: "host".into(),
            cgroupns_mode: "private".into(),
            ..Default::default()
        };
        let modes = Modes::parse(&host).unwrap();
        assert_eq!(modes.network, NetworkMode::Container("web".into()));
        assert_eq!(
            (modes.ipc.clone(), modes.pid.clone()),
            (IpcMode::None, PidMode::Host)
        );
        assert!(modes.uts_host && modes.cgroup_private == Some(true));
    }

    #[test]
    fn unknown_modes_are_refused_with_a_sentence() {
        let refused = |host: HostConfig| Modes::parse(&host).unwrap_err().to_string();
        assert_eq!(
            refused(HostConfig {
                pid_mode: "x".into(),
                ..Default::default()
            }),
            "invalid PID mode: x"
        );
        assert_eq!(
            refused(HostConfig {
                ipc_mode: "container:".into(),
                ..Default::default()
            }),
            "invalid IPC mode: invalid container format container:<name|id>"
        );
    }

    #[test]
    fn a_network_is_kept_for_the_start_to_look_up() {
        let host = HostConfig {
            network_mode: "mynet".into(),
            ..Default::default()
        };
        let modes = Modes::parse(&host).unwrap();
        assert_eq!(modes.network, NetworkMode::User("mynet".into()));
    }

    #[test]
    fn a_shared_network_takes_no_ports_of_its_own() {
        let host = HostConfig {
            network_mode: "container:web".into(),
            publish_all_ports: true,
            ..Default::default()
        };
        let refused = Modes::parse(&host)
            .unwrap()
            .check(&Config::default(), &host)
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "conflicting options: port publishing and the container type network mode"
        );
    }
}
