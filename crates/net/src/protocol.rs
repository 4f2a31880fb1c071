//! What daemon and helper say to each other: one JSON document a message, on a SEQPACKET socket, with descriptors.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};

use serde::{Deserialize, Serialize};

/// Version of the protocol. A helper of another one is told to quit and made anew.
pub const VERSION: u32 = 3;

/// The longest message.
pub const LONGEST: usize = 128 << 10;

/// What a daemon asks for. `Hello` and `Quit` keep their form in every version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// First of all.
    Hello {
        /// The daemon's version.
        version: u32,
    },
    /// A container is on these networks. With it come, if the helper is to listen, a UDP and a listening TCP socket.
    Put {
        /// Which listing of all containers this belongs to.
        generation: u64,
        /// The container.
        container: Member,
    },
    /// A container is on no network any more.
    Drop {
        /// Its id.
        id: String,
    },
    /// A container is reached at further ports. With it comes a socket for each, in their order.
    Open {
        /// Which listing of all containers this belongs to.
        generation: u64,
        /// The container's id.
        id: String,
        /// The container's address; without one nobody gets through.
        target: Option<Ipv4Addr>,
        /// The ports.
        doors: Vec<Door>,
    },
    /// A container is reached at these ports, and they lead to this address from now on.
    Lead {
        /// Which listing of all containers this belongs to.
        generation: u64,
        /// The container's id.
        id: String,
        /// The container's address.
        target: Option<Ipv4Addr>,
        /// The [`fingerprint`] of its ports. Where the helper has others nothing changes.
        print: u64,
    },
    /// A container is reached at no port any more: its sockets are closed before the answer.
    Close {
        /// Its id.
        id: String,
    },
    /// Containers that were not named in this generation are gone.
    Sweep {
        /// The generation.
        generation: u64,
    },
    /// The helper is not needed any more.
    Quit,
}

/// How many doors one message opens: fewer than the kernel carries descriptors.
pub const DOORS: usize = 200;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads to one of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Of both.
    pub protocol: Protocol,
    /// The host's address and port.
    pub host: SocketAddrV6,
    /// The container's port.
    pub port: u16,
}

/// A number that tells one set of doors from another, whatever their order (FNV-1a of each, joined by exclusive or).
pub fn fingerprint<'a>(doors: impl IntoIterator<Item = &'a Door>) -> u64 {
    let of = |door: &Door| {
        let protocol = match door.protocol {
            Protocol::Tcp => b't',
            Protocol::Udp => b'u',
        };
        let address = door.host.ip().octets();
        let ports = [door.host.port().to_be_bytes(), door.port.to_be_bytes()];
        let bytes = [protocol]
            .into_iter()
            .chain(address)
            .chain(ports.into_iter().flatten());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    doors.into_iter().fold(0, |all, door| all ^ of(door))
}

/// A container as others find it, and what it may find.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// 64 hex digits.
    pub id: String,
    /// Its places, in the order in which names are looked for.
    pub places: Vec<Place>,
    /// Who is asked what nobody here knows; the host's resolvers without any.
    pub servers: Vec<IpAddr>,
    /// Whether it may ask them at all.
    pub forwards: bool,
}

/// A container's place on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The network's id.
    pub network: String,
    /// The network's name.
    pub network_name: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// Its address of IPv6, where the network has that.
    pub ipv6: Option<Ipv6Addr>,
    /// Its names, the first of which is told for its address.
    pub names: Vec<String>,
    /// Names that it alone knows others by.
    pub links: BTreeMap<String, String>,
}

impl Place {
    /// The container's addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let ipv6 = self.ipv6.map(IpAddr::V6);
        std::iter::once(IpAddr::V4(self.address)).chain(ipv6)
    }
}

/// What the helper answers, once to each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To `Hello`.
    Welcome {
        /// The helper's version.
        version: u32,
    },
    /// It is so.
    Done {
        /// To `Put`, whether the helper has the container's sockets for names; to `Lead`, whether it has those doors.
        listening: bool,
    },
    /// It can not be.
    Refused {
        /// Why.
        sentence: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_doors_are_told_apart() {
        let door = |protocol, host: &str, port| Door {
            protocol,
            host: host.parse().unwrap(),
            port,
        };
        let one = door(Protocol::Tcp, "[::]:8080", 80);
        let others = [
            door(Protocol::Udp, "[::]:8080", 80),
            door(Protocol::Tcp, "[::1]:8080", 80),
            door(Protocol::Tcp, "[::]:8081", 80),
            door(Protocol::Tcp, "[::]:8080", 81),
        ];
        assert_eq!(fingerprint([]), 0);
        for other in &others {
            assert_ne!(fingerprint([&one]), fingerprint([other]), "{other:?}");
            let both = fingerprint([&one, other]);
            assert_eq!(both, fingerprint([other, &one]));
            assert_ne!(both, fingerprint([&one]));
        }
    }
}
