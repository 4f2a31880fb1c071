//! Ports of containers on the host's addresses.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use crate::conntrack::{self, Target};
use crate::endpoint::Endpoint;
use crate::error::NetworkError;
use crate::link;
use crate::lock;
use crate::network::{Network, conntrack_refused};
use crate::nft;
use crate::port::{Binding, HostPort, PortMapping, Ports, Protocol, Published};
use crate::reservation::{has_ipv6, reserve};
use crate::setting::ephemeral_ports;
use sys::netlink::{Batch, Socket};
use types::ContainerId;

/// The longest wait for the reservation of a port that a container of this engine had a moment ago.
const HANDOVER: Duration = Duration::from_secs(1);
const HANDOVER_STEP: Duration = Duration::from_millis(1);

impl Network {
    /// Publishes ports of a container: all of them, or none when one fails.
    ///
    /// They are reached on the host's address (each of them, loopback too, when none is named) from
    /// outside, from the host, from other containers and from the container itself. Flows that began
    /// before are translated from now on as well. Of a port on an IPv6 address the caller gets the socket at which it is
    /// reached, and has it read.
    ///
    /// # Errors
    /// [`NetworkError::PortAllocated`] when a container of this engine has the port,
    /// [`NetworkError::PortRefused`] when somebody else does or the address is not the host's,
    /// [`NetworkError::NoFreePort`] for a range, [`NetworkError::Firewall`].
    pub fn publish(
        &self,
        endpoint: &Endpoint,
        mappings: &[PortMapping],
    ) -> Result<Vec<Published>, NetworkError> {
        if mappings.is_empty() {
            return Ok(Vec::new());
        }
        let begin = Instant::now();
        loop {
            let mut ports = lock(&self.ports);
            let mut published = Vec::with_capacity(mappings.len());
            let done = self
                .choose_all(&mut ports, endpoint, mappings, &mut published)
                .and_then(|()| {
                    let bindings = published.iter().map(|one| &one.binding);
                    self.translate(&ports, endpoint, bindings)
                });
            let Err(error) = done else {
                drop(ports);
                self.forget_udp_flows(published.iter().map(|published| &published.binding))?;
                return Ok(published);
            };
            let again = is_being_handed_over(&ports, &error) && begin.elapsed() < HANDOVER;
            ports.remove(&endpoint.container, |binding| {
                published.iter().any(|p: &Published| p.binding == *binding)
            });
            if !again {
                return Err(error);
            }
            // Nobody else's ports wait for that.
            drop((ports, published));
            thread::sleep(HANDOVER_STEP);
        }
    }

    /// Takes the container's published ports back: no new connection reaches it once this returns.
    ///
    /// # Errors
    /// [`NetworkError::Firewall`], [`NetworkError::Conntrack`].
    pub fn unpublish(&self, container: &ContainerId) -> Result<(), NetworkError> {
        let mut ports = lock(&self.ports);
        let removed = ports.remove(container, |_| true);
        if removed.is_empty() {
            return Ok(());
        }
        if removed.iter().any(|(binding, _)| binding.is_translated()) {
            let elements = removed.iter().map(|(binding, address)| (binding, *address));
            let mut batch = Batch::transaction();
            nft::remove_ports(&mut batch, &self.table, elements);
            self.change_table(&ports, batch)?;
        }
        drop(ports);
        self.forget_udp_flows(removed.iter().map(|(binding, _)| binding))
    }

    /// Lets the container's published ports lead to this endpoint, another one of the same container's.
    ///
    /// # Errors
    /// As [`Network::publish`].
    pub fn move_ports(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let mut ports = lock(&self.ports);
        let moved = ports.move_to(&endpoint.container, endpoint.address);
        if !moved.iter().any(|(binding, _)| binding.is_translated()) {
            return Ok(());
        }
        let mut batch = Batch::transaction();
        let before = moved.iter().map(|(binding, address)| (binding, *address));
        nft::remove_ports(&mut batch, &self.table, before);
        let after = moved.iter().map(|(binding, _)| (binding, endpoint.address));
        nft::add_ports(&mut batch, &self.table, after);
        self.reflect(endpoint)?;
        self.change_table(&ports, batch)?;
        drop(ports);
        self.forget_udp_flows(moved.iter().map(|(binding, _)| binding))
    }

    /// Publishes ports again that were taken back while their reservations are still held.
    ///
    /// # Errors
    /// [`NetworkError::PortAllocated`], and as [`Network::publish`].
    pub fn publish_again(
        &self,
        endpoint: &Endpoint,
        bindings: &[Binding],
    ) -> Result<(), NetworkError> {
        let mut ports = lock(&self.ports);
        let taken = |one: &&Binding| ports.is_taken(one.protocol, one.host_ip, one.host_port);
        if let Some(taken) = bindings.iter().find(taken) {
            return Err(NetworkError::PortAllocated {
                host_ip: taken.host_ip,
                port: taken.host_port,
                protocol: taken.protocol,
            });
        }
        for binding in bindings {
            ports.add(&endpoint.container, endpoint.address, *binding);
        }
        if let Err(error) = self.translate(&ports, endpoint, bindings.iter()) {
            ports.remove(&endpoint.container, |_| true);
            return Err(error);
        }
        drop(ports);
        self.forget_udp_flows(bindings.iter())
    }

    /// Lets the endpoint's container reach itself by what it publishes.
    fn reflect(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let mut reflect = Batch::new();
        link::allow_hairpin(&mut reflect, &endpoint.veth);
        lock(&self.route)
            .perform(reflect)
            .map_err(|refused| NetworkError::link(&endpoint.veth, refused))
    }

    /// Picks and reserves a host port for each mapping.
    fn choose_all(
        &self,
        ports: &mut Ports,
        endpoint: &Endpoint,
        mappings: &[PortMapping],
        published: &mut Vec<Published>,
    ) -> Result<(), NetworkError> {
        for mapping in mappings {
            let (host_port, reservations) = choose(ports, mapping)?;
            for (host_ip, reservation) in mapping.host_ips.iter().zip(reservations) {
                let binding = Binding {
                    protocol: mapping.protocol,
                    host_ip: *host_ip,
                    host_port,
                    container_port: mapping.container_port,
                };
                ports.add(&endpoint.container, endpoint.address, binding);
                published.push(Published {
                    binding,
                    reservation,
                });
            }
        }
        Ok(())
    }

    /// Whether ports can be published on IPv6 addresses: looked for once, as in Docker.
    pub fn has_ipv6(&self) -> bool {
        *self.ipv6.get_or_init(has_ipv6)
    }

    /// Opens a socket anew at which a port of an IPv6 address is read, since the former one ended with who read it.
    ///
    /// # Errors
    /// [`NetworkError::PortRefused`].
    pub fn open_again(&self, binding: &Binding) -> Result<OwnedFd, NetworkError> {
        reserve(binding.protocol, binding.host_ip, binding.host_port).map_err(|source| {
            NetworkError::PortRefused {
                host_ip: binding.host_ip,
                port: binding.host_port,
                protocol: binding.protocol,
                source,
            }
        })
    }

    /// Makes the firewall translate the ports.
    fn translate<'a>(
        &self,
        ports: &Ports,
        endpoint: &Endpoint,
        bindings: impl Iterator<Item = &'a Binding>,
    ) -> Result<(), NetworkError> {
        let mut elements = bindings
            .filter(|binding| binding.is_translated())
            .map(|binding| (binding, endpoint.address))
            .peekable();
        if elements.peek().is_none() {
            return Ok(());
        }
        self.reflect(endpoint)?;
        let mut batch = Batch::transaction();
        nft::add_ports(&mut batch, &self.table, elements);
        self.change_table(ports, batch)
    }

    /// Changes elements of the table. A table that somebody flushed meanwhile, as reloads of a host's
    /// firewall do, is made again with all ports.
    pub(crate) fn change_table(&self, ports: &Ports, batch: Batch) -> Result<(), NetworkError> {
        let mut netfilter = lock(&self.netfilter);
        match self.perform_in_table(&mut netfilter, batch) {
            Err(NetworkError::Firewall { source, .. })
                if source.raw_os_error() == Some(libc::ENOENT) =>
            {
                self.reinstall(&mut netfilter, ports)
            }
            done => done,
        }
    }

    /// Makes the table anew with all ports, in one transaction.
    pub(crate) fn reinstall(
        &self,
        netfilter: &mut Socket,
        ports: &Ports,
    ) -> Result<(), NetworkError> {
        let batch = nft::install(&self.table, &self.members(), ports.all());
        self.perform_in_table(netfilter, batch)
    }

    /// Forgets the UDP flows to ports that were published, or are no more. (TCP needs none of this: a
    /// connection that others were party to is over, and a new one is a new flow.)
    fn forget_udp_flows<'a>(
        &self,
        bindings: impl Iterator<Item = &'a Binding>,
    ) -> Result<(), NetworkError> {
        let udp: Vec<_> = bindings
            .filter(|b| b.protocol == Protocol::Udp && b.is_translated())
            .collect();
        if udp.is_empty() {
            return Ok(());
        }
        let local = link::list_addresses(&mut lock(&self.route))?;
        let targets = udp.iter().flat_map(|binding| {
            let everywhere = binding.host_ip.is_unspecified();
            let named = match binding.host_ip {
                IpAddr::V4(address) => Some(address).filter(|_| !everywhere),
                IpAddr::V6(_) => None,
            };
            let all = local.iter().map(|(_, address, _)| *address);
            all.filter(move |_| everywhere)
                .chain(named)
                .map(|address| Target {
                    protocol: binding.protocol.number(),
                    address,
                    port: binding.host_port,
                })
        });
        let targets = targets.collect();
        conntrack::forget_flows_to(&mut lock(&self.netfilter), &targets).map_err(conntrack_refused)
    }
}

/// The first port that suits the mapping and could be reserved on each of its addresses, with what reserves it.
fn choose(ports: &mut Ports, mapping: &PortMapping) -> Result<(u16, Vec<OwnedFd>), NetworkError> {
    let protocol = mapping.protocol;
    let range = match mapping.host_port {
        HostPort::Any => ephemeral_ports(),
        HostPort::Exactly(port) => (port, port),
        HostPort::FirstOf(first, last) => (first, last),
    };
    let only = range.0 == range.1;
    for port in ports.candidates(mapping, range) {
        let taken = |host_ip: &&IpAddr| ports.is_taken(protocol, **host_ip, port);
        if let Some(&host_ip) = mapping.host_ips.iter().find(taken) {
            if only {
                return Err(NetworkError::PortAllocated {
                    host_ip,
                    port,
                    protocol,
                });
            }
            continue;
        }
        let reserved = mapping
            .host_ips
            .iter()
            .map(|host_ip| reserve(protocol, *host_ip, port).map_err(|source| (*host_ip, source)));
        match reserved.collect() {
            Ok(reservations) => {
                ports.found(mapping, port);
                return Ok((port, reservations));
            }
            Err((_, error)) if !only && error.raw_os_error() == Some(libc::EADDRINUSE) => {}
            Err((host_ip, source)) => {
                return Err(NetworkError::PortRefused {
                    host_ip,
                    port,
                    protocol,
                    source,
                });
            }
        }
    }
    Err(NetworkError::NoFreePort {
        host_ips: mapping.host_ips.clone(),
        protocol,
        first: range.0,
        last: range.1,
    })
}

/// Whether a port was refused that this engine gave back a moment ago: the old reservation may be in the hands of a
/// process that is just ending.
fn is_being_handed_over(ports: &Ports, error: &NetworkError) -> bool {
    matches!(error, NetworkError::PortRefused { port, protocol, source, .. }
        if source.raw_os_error() == Some(libc::EADDRINUSE) && ports.was_just_released(*protocol, *port))
}
