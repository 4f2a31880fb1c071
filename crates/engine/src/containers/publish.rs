//! Published ports of a container, from what it wants to what is written down.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use network::{Binding, Endpoint, HostPort, PortMapping};

use super::record::PublishedRecord;
use super::registry::Container;
use super::surroundings::networking;
use crate::compile::ports;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

impl Engine {
    /// Publishes what a container wants published, by this place of it; `host_ip` is the host's address for ports that
    /// name none. Gives the sockets that keep the ports from others for as long as somebody holds them.
    ///
    /// # Errors
    /// [`EngineError::Networking`] of [`EngineError::Ports`]; nothing is published then.
    pub(crate) fn publish_ports(
        &self,
        container: &Container,
        endpoint: &Endpoint,
        host_ip: Ipv4Addr,
    ) -> Result<(Vec<PublishedRecord>, Vec<OwnedFd>)> {
        let spec = &container.spec;
        let wanted = ports::wanted(&spec.config, &spec.host)?;
        let Some(network) = self.inner().network.as_ref().filter(|_| !wanted.is_empty()) else {
            return Ok((Vec::new(), Vec::new()));
        };
        let mappings: Vec<PortMapping> = wanted
            .chunk_by(ports::Wanted::shares_port_with)
            .filter_map(|some| mapping(some, host_ip, self.has_ipv6_ports()))
            .collect();
        let published = network.publish(endpoint, &mappings).map_err(|error| {
            networking(EngineError::Ports {
                sentence: error.at_endpoint(&container.name(), container.id()),
            })
        })?;
        let records = published
            .iter()
            .map(|port| published_record(&port.binding))
            .collect();
        let (mut reservations, mut doors) = (Vec::new(), Vec::new());
        for port in published {
            match port.binding.is_translated() {
                true => reservations.push(port.reservation),
                false => doors.push((port.binding, port.reservation)),
            }
        }
        if let Err(error) = self.open_doors(container.id(), Some(endpoint.address), &doors) {
            network.unpublish(container.id())?;
            return Err(networking(error));
        }
        Ok((records, reservations))
    }
}

/// Whether ports can be had at the host's IPv6 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ipv6Ports {
    Yes,
    /// The host has no such addresses.
    No,
    /// Nobody is to read them.
    Off,
}

impl Engine {
    fn has_ipv6_ports(&self) -> Ipv6Ports {
        match &self.inner().network {
            _ if !self.config().userland_proxy => Ipv6Ports::Off,
            Some(network) if network.has_ipv6() => Ipv6Ports::Yes,
            _ => Ipv6Ports::No,
        }
    }
}

/// One port on all the addresses that are wanted. `unnamed`: the host's address where none is named; if that is all of
/// them, those of IPv6 are meant as well, where there are any. As with Docker a port that can not be had at an address of
/// IPv6, since nobody is to read it, is told in the log and no error: networks come and go.
fn mapping(wanted: &[ports::Wanted], unnamed: Ipv4Addr, ipv6: Ipv6Ports) -> Option<PortMapping> {
    let first = wanted.first()?;
    let mut host_ips = Vec::with_capacity(2);
    for one in wanted {
        match one.host_ip {
            Some(IpAddr::V6(address)) if ipv6 == Ipv6Ports::Off => {
                tracing::info!(
                    %address,
                    port = one.container_port,
                    "Cannot map from IPv6 to an IPv4-only container because the userland proxy is disabled"
                );
                continue;
            }
            address => host_ips.push(address.unwrap_or(IpAddr::V4(unnamed))),
        }
        if one.host_ip.is_none() && unnamed.is_unspecified() && ipv6 == Ipv6Ports::Yes {
            host_ips.push(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        }
    }
    if host_ips.is_empty() {
        return None;
    }
    Some(PortMapping {
        protocol: protocol(first.protocol),
        host_ips,
        host_port: match (first.host_port, first.host_port_last) {
            (0, _) => HostPort::Any,
            (first, last) if first == last => HostPort::Exactly(first),
            (first, last) => HostPort::FirstOf(first, last),
        },
        container_port: first.container_port,
    })
}

pub(crate) fn protocol(protocol: ports::Protocol) -> network::Protocol {
    match protocol {
        ports::Protocol::Tcp => network::Protocol::Tcp,
        ports::Protocol::Udp => network::Protocol::Udp,
    }
}

/// The reverse of `published_record`.
pub(crate) fn binding_of(port: &PublishedRecord) -> Binding {
    Binding {
        protocol: protocol(port.protocol),
        host_ip: port.host_ip,
        host_port: port.host_port,
        container_port: port.container_port,
    }
}

fn published_record(binding: &Binding) -> PublishedRecord {
    PublishedRecord {
        protocol: match binding.protocol {
            network::Protocol::Tcp => ports::Protocol::Tcp,
            network::Protocol::Udp => ports::Protocol::Udp,
        },
        container_port: binding.container_port,
        host_ip: binding.host_ip,
        host_port: binding.host_port,
    }
}
