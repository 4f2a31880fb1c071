//! What a container has on the bridge network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use types::ContainerId;

use crate::ipv6::Place6;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The address that a container with this IPv4 address has: `02:42` and the address's four bytes.
    ///
    /// The same address always comes with the same MAC, so no neighbour's cache is wrong after a reuse.
    pub fn of_ipv4(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }
}

impl std::str::FromStr for MacAddr {
    type Err = NoMacAddr;

    /// Reads `02:42:ac:11:00:02`, with dashes, or as `0242.ac11.0002`.
    fn from_str(text: &str) -> Result<Self, NoMacAddr> {
        let separator = text.chars().find(|letter| !letter.is_ascii_hexdigit());
        let (parts, digits) = match separator {
            Some('.') => (3, 4),
            Some(':' | '-') => (6, 2),
            _ => return Err(NoMacAddr),
        };
        let all: Vec<&str> = text.split(separator.unwrap_or(':')).collect();
        let fits = |part: &&str| {
            part.len() == digits && part.bytes().all(|letter| letter.is_ascii_hexdigit())
        };
        if all.len() != parts || !all.iter().all(fits) {
            return Err(NoMacAddr);
        }
        let bits = u64::from_str_radix(&all.concat(), 16).map_err(|_| NoMacAddr)?;
        let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
        Ok(MacAddr([a, b, c, d, e, f]))
    }
}

/// A text is no Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMacAddr;

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The network of the engine's own bridge, by the name that stands in [`Endpoint::network`].
pub const HOME: &str = "bridge";

/// A container's connection to a bridge. Plain values: a row of the store can hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whose it is.
    pub container: ContainerId,
    /// Id of the network; [`HOME`] for the engine's own bridge.
    pub network: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// Length of the subnet's prefix, in bits.
    pub prefix: u8,
    /// The bridge's address: the container's default gateway.
    pub gateway: Ipv4Addr,
    /// Ethernet address of the link inside.
    pub mac: MacAddr,
    /// Its second address, where the network has IPv6.
    pub ipv6: Option<Place6>,
    /// Name of the veth's end on the host.
    pub veth: String,
}

impl Endpoint {
    /// All its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let ipv6 = self.ipv6.map(|place| IpAddr::V6(place.address));
        std::iter::once(IpAddr::V4(self.address)).chain(ipv6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_follows_from_the_address() {
        let mac = MacAddr::of_ipv4(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let mac = MacAddr([0x92, 0xd0, 0xc6, 0x0a, 0x29, 0x33]);
        for text in ["92:d0:c6:0a:29:33", "92-D0-c6-0a-29-33", "92d0.c60a.2933"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        for text in [
            "",
            "92:d0:c6:0a:29",
            "92:d0-c6:0a:29:33",
            "92d0c60a2933",
            "9:2d:0c:60:a2:933",
            "zz:d0:c6:0a:29:33",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(NoMacAddr), "{text}");
        }
    }
}
