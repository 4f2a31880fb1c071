//! Why the network could not do what was asked.

use std::io;
use std::net::{IpAddr, SocketAddr};

use types::ContainerId;

use crate::port::Protocol;
use sys::netlink::{DumpError, Refused};

/// Ports that a Linux bridge has at most (`BR_MAX_PORTS` less the one that is never used).
pub const BRIDGE_PORTS: u32 = 1023;

/// A failure of the network. Each variant is one sentence; `source` has the kernel's word.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// `--bridge` and `--bip` were given together, but a bridge that exists has its address already.
    #[error("a bridge of one's own ({bridge}) and an address for it (bip) are mutually exclusive")]
    BridgeAndAddress {
        /// The bridge that was asked for.
        bridge: String,
    },
    /// The bridge that was asked for does not exist.
    #[error("bridge {name} does not exist: it must be made before the engine starts")]
    NoSuchBridge {
        /// Its name.
        name: String,
    },
    /// The network of an endpoint is not there.
    #[error("network {id} is not there any more")]
    NoSuchSegment {
        /// Its id.
        id: String,
    },
    /// The link that was asked for, or whose name the engine needs, is something else.
    #[error("network link {name} is not a bridge of this engine")]
    NotOurBridge {
        /// Its name.
        name: String,
    },
    /// The bridge that was asked for has no IPv4 address from which a subnet would follow.
    #[error("bridge {name} has no IPv4 address")]
    BridgeWithoutAddress {
        /// Its name.
        name: String,
    },
    /// Every subnet that the engine may take overlaps one that the host has a route to.
    #[error(
        "all predefined address pools have been fully subnetted: each subnet of theirs overlaps a network or a route of this host"
    )]
    NoFreeSubnet,
    /// The bridge has as many ports as the kernel gives to one.
    #[error("bridge {bridge} has {BRIDGE_PORTS} containers, the kernel's limit for one bridge")]
    BridgeFull {
        /// Its name.
        bridge: String,
    },
    /// All addresses are taken.
    #[error("no available {family} addresses on this network's address pool {subnet}")]
    SubnetExhausted {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The subnet.
        subnet: String,
    },
    /// The address that was asked for lies outside the bridge's subnet, or names the subnet itself.
    #[error("address {address} is no host address in the subnet {subnet}")]
    AddressOutside {
        /// What was asked for.
        address: IpAddr,
        /// The bridge's subnet.
        subnet: String,
    },
    /// The address that was asked for is somebody else's.
    #[error("Address already in use: {address}")]
    AddressTaken {
        /// What was asked for.
        address: IpAddr,
    },
    /// Another container of this engine has the port.
    #[error("Bind for {host_ip}:{port} failed: port is already allocated")]
    PortAllocated {
        /// The address on the host.
        host_ip: IpAddr,
        /// The port on the host.
        port: u16,
        /// TCP or UDP.
        protocol: Protocol,
    },
    /// The host refused the port: another program has it, or the address is not the host's.
    #[error(
        "failed to bind host port {}/{protocol}: {}",
        SocketAddr::new(*host_ip, *port),
        words(source)
    )]
    PortRefused {
        /// The address on the host.
        host_ip: IpAddr,
        /// The port on the host.
        port: u16,
        /// TCP or UDP.
        protocol: Protocol,
        /// What bind(2) said.
        source: io::Error,
    },
    /// No port of the range is free.
    #[error(
        "all ports are allocated: {} has no free {protocol} port from {first} to {last}",
        joined(host_ips)
    )]
    NoFreePort {
        /// The addresses on the host.
        host_ips: Vec<IpAddr>,
        /// TCP or UDP.
        protocol: Protocol,
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// The kernel lacks something that the bridge network needs.
    #[error("this kernel lacks {feature}, which the bridge network needs")]
    MissingFeature {
        /// The feature by its name in the kernel's configuration.
        feature: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A network namespace could not be made or entered.
    #[error("cannot {action} a network namespace: {}", words(source))]
    Namespace {
        /// `make` or `enter`.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a change of links, addresses or routes.
    #[error("cannot {action} for {object}: {}", words(source))]
    Link {
        /// What was to be done.
        action: &'static str,
        /// To which link.
        object: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a change of the firewall's table.
    #[error("cannot {action} in the firewall's table {table}: {}", words(source))]
    Firewall {
        /// What was to be done.
        action: &'static str,
        /// The table.
        table: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused to list or forget something.
    #[error("cannot list {what}: {}", words(source))]
    List {
        /// What was to be listed.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Tracked connections could not be forgotten.
    #[error("cannot forget tracked connections: {}", words(source))]
    Conntrack {
        /// The kernel's answer.
        source: io::Error,
    },
    /// A netlink socket could not be opened.
    #[error("cannot open a netlink socket: {}", words(source))]
    Socket {
        /// The kernel's answer.
        source: io::Error,
    },
    /// A kernel setting could not be read or written.
    #[error("cannot set {path}: {}", words(source))]
    Setting {
        /// Its file below /proc/sys.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl NetworkError {
    /// The sentence with which Docker reports a container's start that failed at its ports, for the
    /// container's name and id. Tools match on its first words.
    pub fn at_endpoint(&self, name: &str, container: &ContainerId) -> String {
        format!(
            "driver failed programming external connectivity on endpoint {name} ({container}): {self}"
        )
    }

    pub(crate) fn link(object: impl Into<String>, refused: Refused) -> Self {
        Self::Link {
            action: refused.what,
            object: object.into(),
            source: refused.source,
        }
    }
}

impl From<DumpError> for NetworkError {
    fn from(error: DumpError) -> Self {
        Self::List {
            what: error.what,
            source: error.source,
        }
    }
}

fn joined(addresses: &[IpAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    all.join(" with ")
}

/// The system's words for an error as C programs say them: lower case, without the number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_that_tools_match() {
        let host_ip = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let id: ContainerId = "ab".repeat(32).parse().unwrap();
        let allocated = NetworkError::PortAllocated {
            host_ip,
            port: 8080,
            protocol: Protocol::Tcp,
        };
        assert_eq!(
            allocated.at_endpoint("web", &id),
            format!(
                "driver failed programming external connectivity on endpoint web ({id}): \
                 Bind for 0.0.0.0:8080 failed: port is already allocated"
            )
        );
        let refused = NetworkError::PortRefused {
            host_ip,
            port: 8080,
            protocol: Protocol::Udp,
            source: io::Error::from_raw_os_error(libc::EADDRINUSE),
        };
        assert_eq!(
            refused.to_string(),
            "failed to bind host port 0.0.0.0:8080/udp: address already in use"
        );
        let host_ip = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
        let allocated = NetworkError::PortAllocated {
            host_ip,
            port: 8080,
            protocol: Protocol::Tcp,
        };
        assert_eq!(
            allocated.to_string(),
            "Bind for :::8080 failed: port is already allocated"
        );
        let refused = NetworkError::PortRefused {
            host_ip,
            port: 8080,
            protocol: Protocol::Tcp,
            source: io::Error::from_raw_os_error(libc::EADDRINUSE),
        };
        assert_eq!(
            refused.to_string(),
            "failed to bind host port [::]:8080/tcp: address already in use"
        );
    }

    #[test]
    fn the_bridge_s_limit_is_named() {
        let bridge = "docker0".to_owned();
        assert_eq!(
            NetworkError::BridgeFull { bridge }.to_string(),
            "bridge docker0 has 1023 containers, the kernel's limit for one bridge"
        );
    }
}
