//! Published ports: what is asked for, what is given, and who has what.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use types::ContainerId;

/// A transport protocol whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => libc::IPPROTO_TCP as u8,
            Self::Udp => libc::IPPROTO_UDP as u8,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A protocol whose ports can not be published here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ports of protocol {name:?} cannot be published, only tcp and udp")]
pub struct ProtocolError {
    /// What was given.
    pub name: String,
}

impl FromStr for Protocol {
    type Err = ProtocolError;

    fn from_str(name: &str) -> Result<Self, ProtocolError> {
        match name {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(ProtocolError {
                name: name.to_owned(),
            }),
        }
    }
}

/// Which port on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPort {
    /// Any that is free, out of the kernel's ephemeral range.
    Any,
    /// This one.
    Exactly(u16),
    /// The first free one of a range, both ends included.
    FirstOf(u16, u16),
}

/// A port that a container wants published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMapping {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's addresses, on all of which it has the same port; an unspecified one (0.0.0.0, ::) means all of its family.
    pub host_ips: Vec<IpAddr>,
    /// The host's port.
    pub host_port: HostPort,
    /// The container's port.
    pub container_port: u16,
}

/// A port that is published. Plain values: a row of the store can hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address; an unspecified one (0.0.0.0, ::) means all of its family.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
}

impl Binding {
    /// Whether the firewall leads packets to the container. Those to IPv6 addresses are read by a process of the host's
    /// and sent on: containers have IPv4 addresses alone.
    pub fn is_translated(&self) -> bool {
        self.host_ip.is_ipv4()
    }
}

/// A published port and the socket that keeps other programs from taking it.
#[derive(Debug)]
pub struct Published {
    /// What was published.
    pub binding: Binding,
    /// Of a port that is translated: bound, never listening; whoever lives as long as the container holds it. Else a
    /// socket at which packets are to be read, of TCP a listening one. The last copy's end frees the port for other
    /// programs.
    pub reservation: OwnedFd,
}

/// How long a port counts as just released: its reservation may still be on its way out with a shim.
const JUST_RELEASED: Duration = Duration::from_secs(2);

/// The ports of this engine's containers.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    owners: HashMap<ContainerId, Owner>,
    taken: HashMap<(Protocol, u16), Vec<IpAddr>>,
    /// Where the search for an ephemeral port goes on.
    next: HashMap<(IpAddr, Protocol), u16>,
    released: HashMap<(Protocol, u16), Instant>,
}

#[derive(Debug)]
struct Owner {
    address: Ipv4Addr,
    bindings: Vec<Binding>,
}

impl Ports {
    /// Whether a container has the port on this address, or on all addresses.
    pub(crate) fn is_taken(&self, protocol: Protocol, host_ip: IpAddr, port: u16) -> bool {
        self.taken
            .get(&(protocol, port))
            .is_some_and(|owners| owners.iter().any(|other| meet(*other, host_ip)))
    }

    /// Writes down that the container at `address` has the port.
    pub(crate) fn add(&mut self, container: &ContainerId, address: Ipv4Addr, binding: Binding) {
        self.taken
            .entry((binding.protocol, binding.host_port))
            .or_default()
            .push(binding.host_ip);
        let owner = self.owners.entry(container.clone()).or_insert(Owner {
            address,
            bindings: Vec::new(),
        });
        owner.bindings.push(binding);
    }

    /// Forgets those of the container's ports for which `which` holds, and returns them with its address.
    pub(crate) fn remove(
        &mut self,
        container: &ContainerId,
        which: impl Fn(&Binding) -> bool,
    ) -> Vec<(Binding, Ipv4Addr)> {
        let Some(owner) = self.owners.get_mut(container) else {
            return Vec::new();
        };
        let removed: Vec<_> = owner.bindings.extract_if(.., |b| which(b)).collect();
        let address = owner.address;
        if owner.bindings.is_empty() {
            self.owners.remove(container);
        }
        let now = Instant::now();
        self.released
            .retain(|_, at| now.duration_since(*at) < JUST_RELEASED);
        for binding in &removed {
            self.give_back(binding);
            self.released
                .insert((binding.protocol, binding.host_port), now);
        }
        removed.into_iter().map(|b| (b, address)).collect()
    }

    /// Writes down that the container's ports lead to another address of its own; gives them with the former one.
    pub(crate) fn move_to(
        &mut self,
        container: &ContainerId,
        address: Ipv4Addr,
    ) -> Vec<(Binding, Ipv4Addr)> {
        let Some(owner) = self.owners.get_mut(container) else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut owner.address, address);
        if before == address {
            return Vec::new();
        }
        owner.bindings.iter().map(|one| (*one, before)).collect()
    }

    fn give_back(&mut self, binding: &Binding) {
        let key = (binding.protocol, binding.host_port);
        if let Some(addresses) = self.taken.get_mut(&key) {
            addresses.retain(|other| *other != binding.host_ip);
            if addresses.is_empty() {
                self.taken.remove(&key);
            }
        }
    }

    /// Whether a container of this engine gave the port back a moment ago.
    pub(crate) fn was_just_released(&self, protocol: Protocol, port: u16) -> bool {
        self.released
            .get(&(protocol, port))
            .is_some_and(|at| at.elapsed() < JUST_RELEASED)
    }

    /// The ports to try for a mapping, in order. Ephemeral ones go on where the last search ended, so that
    /// a port which was just given back is not given out at once.
    pub(crate) fn candidates(
        &self,
        mapping: &PortMapping,
        ephemeral: (u16, u16),
    ) -> impl Iterator<Item = u16> + use<> {
        let (first, last) = match mapping.host_port {
            HostPort::Any => ephemeral,
            HostPort::Exactly(port) => (port, port),
            HostPort::FirstOf(first, last) => (first, last),
        };
        let from = match mapping.host_port {
            HostPort::Any => self.next.get(&search_of(mapping)).copied(),
            _ => None,
        };
        let from = from
            .filter(|port| (first..=last).contains(port))
            .unwrap_or(first);
        (from..=last).chain(first..from)
    }

    /// Remembers where the next search for an ephemeral port begins.
    pub(crate) fn found(&mut self, mapping: &PortMapping, port: u16) {
        if mapping.host_port == HostPort::Any {
            self.next
                .insert(search_of(mapping), port.checked_add(1).unwrap_or(1));
        }
    }

    /// Every published port and the address of the container that it leads to.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Binding, Ipv4Addr)> {
        self.owners
            .values()
            .flat_map(|owner| owner.bindings.iter().map(|b| (b, owner.address)))
    }
}

/// Searches for ephemeral ports that go on where the last one of their kind ended.
fn search_of(mapping: &PortMapping) -> (IpAddr, Protocol) {
    let first = mapping.host_ips.first().copied();
    (
        first.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        mapping.protocol,
    )
}

/// Whether two host addresses have packets in common.
fn meet(one: IpAddr, other: IpAddr) -> bool {
    let all = one.is_unspecified() || other.is_unspecified();
    one == other || all && one.is_ipv4() == other.is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

    fn binding(host_ip: IpAddr, host_port: u16) -> Binding {
        Binding {
            protocol: Protocol::Tcp,
            host_ip,
            host_port,
            container_port: 80,
        }
    }

    fn mapping(host_port: HostPort) -> PortMapping {
        PortMapping {
            protocol: Protocol::Tcp,
            host_ips: vec![ANY],
            host_port,
            container_port: 80,
        }
    }

    fn id(byte: &str) -> ContainerId {
        byte.repeat(32).parse().unwrap()
    }

    #[test]
    fn all_addresses_meet_each_one() {
        let mut ports = Ports::default();
        ports.add(&id("aa"), CONTAINER, binding(LOOPBACK, 80));
        assert!(ports.is_taken(Protocol::Tcp, LOOPBACK, 80));
        assert!(ports.is_taken(Protocol::Tcp, ANY, 80));
        assert!(!ports.is_taken(Protocol::Udp, ANY, 80));
        let other = "10.0.0.1".parse().unwrap();
        assert!(!ports.is_taken(Protocol::Tcp, other, 80));
        ports.add(&id("bb"), CONTAINER, binding(ANY, 81));
        assert!(ports.is_taken(Protocol::Tcp, other, 81));
    }

    #[test]
    fn the_families_do_not_meet() {
        let mut ports = Ports::default();
        let any: IpAddr = "::".parse().unwrap();
        let loopback: IpAddr = "::1".parse().unwrap();
        ports.add(&id("aa"), CONTAINER, binding(ANY, 80));
        assert!(!ports.is_taken(Protocol::Tcp, any, 80));
        ports.add(&id("aa"), CONTAINER, binding(any, 81));
        assert!(ports.is_taken(Protocol::Tcp, loopback, 81));
        assert!(!ports.is_taken(Protocol::Tcp, LOOPBACK, 81));
    }

    #[test]
    fn what_is_removed_is_free_and_known_as_just_released() {
        let mut ports = Ports::default();
        ports.add(&id("aa"), CONTAINER, binding(ANY, 80));
        ports.add(&id("aa"), CONTAINER, binding(ANY, 81));
        assert!(ports.remove(&id("bb"), |_| true).is_empty());
        let removed = ports.remove(&id("aa"), |b| b.host_port == 80);
        assert_eq!(removed, [(binding(ANY, 80), CONTAINER)]);
        assert!(!ports.is_taken(Protocol::Tcp, ANY, 80));
        assert!(ports.was_just_released(Protocol::Tcp, 80));
        assert!(!ports.was_just_released(Protocol::Tcp, 81));
        assert_eq!(ports.all().count(), 1);
        ports.remove(&id("aa"), |_| true);
        assert_eq!(ports.all().count(), 0);
    }

    #[test]
    fn ephemeral_ports_go_round() {
        let mut ports = Ports::default();
        let any = mapping(HostPort::Any);
        let try_order = |ports: &Ports| ports.candidates(&any, (5, 8)).collect::<Vec<_>>();
        assert_eq!(try_order(&ports), [5, 6, 7, 8]);
        ports.found(&any, 6);
        assert_eq!(try_order(&ports), [7, 8, 5, 6]);
        ports.found(&any, 8);
        assert_eq!(try_order(&ports), [5, 6, 7, 8]);
    }

    #[test]
    fn named_ports_are_tried_as_named() {
        let ports = Ports::default();
        let one: Vec<_> = ports
            .candidates(&mapping(HostPort::Exactly(80)), (5, 8))
            .collect();
        assert_eq!(one, [80]);
        let some: Vec<_> = ports
            .candidates(&mapping(HostPort::FirstOf(80, 82)), (5, 8))
            .collect();
        assert_eq!(some, [80, 81, 82]);
    }

    #[test]
    fn other_protocols_are_refused_by_name() {
        assert_eq!("udp".parse(), Ok(Protocol::Udp));
        let error = "sctp".parse::<Protocol>().unwrap_err();
        assert!(error.to_string().contains("\"sctp\""));
    }
}
