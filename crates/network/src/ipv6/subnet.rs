//! Subnets of IPv6, and which one a network takes when nobody says.

use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::str::FromStr;

use rustix::rand::{GetRandomFlags, getrandom};

/// Bits of the prefix of a network that nobody chose (RFC 4291, section 2.5.4).
const USUAL_PREFIX: u8 = 64;
/// The first byte of addresses that are unique and local (RFC 4193, section 3.1).
const LOCAL: u8 = 0xfd;

/// An IPv6 subnet: an address whose host bits are zero, and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet6 {
    base: u128,
    prefix: u8,
}

impl Subnet6 {
    /// The subnet with a prefix of so many bits that holds `address`; none above 128 bits.
    pub fn containing(address: Ipv6Addr, prefix: u8) -> Option<Self> {
        (prefix <= 128).then(|| Self {
            base: address.to_bits() & mask(prefix),
            prefix,
        })
    }

    /// A subnet that nobody else is likely to have: `fd00::/8` with 56 bits drawn at random (RFC 4193, section 3.2.2).
    ///
    /// # Errors
    /// What hinders the drawing.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom(&mut bytes[1..8], GetRandomFlags::empty())?;
        bytes[0] = LOCAL;
        Ok(Self {
            base: u128::from_be_bytes(bytes),
            prefix: USUAL_PREFIX,
        })
    }

    /// The lowest address: the subnet's own name, and that of any router in it.
    pub fn base(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base)
    }

    /// Length of the prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The highest address.
    pub fn last(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base | !mask(self.prefix))
    }

    /// Whether the address lies within.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.base
    }

    /// Whether all of `other` lies within.
    pub fn holds(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.base())
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        let shorter = mask(self.prefix.min(other.prefix));
        (self.base ^ other.base) & shorter == 0
    }
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

/// A text is no IPv6 subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSubnet6;

impl FromStr for Subnet6 {
    type Err = NoSubnet6;

    /// Reads `ADDRESS/PREFIX`, whatever the address has behind the prefix.
    fn from_str(text: &str) -> Result<Self, NoSubnet6> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            Self::containing(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or(NoSubnet6)
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(prefix.min(128)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet6 {
        text.parse().unwrap()
    }

    #[test]
    fn bounds_of_a_subnet() {
        let one = subnet("2001:db8:1::7/64");
        assert_eq!(one.to_string(), "2001:db8:1::/64");
        assert_eq!(one.last().to_string(), "2001:db8:1:0:ffff:ffff:ffff:ffff");
        assert!(one.contains("2001:db8:1::9".parse().unwrap()));
        assert!(one.holds(subnet("2001:db8:1:0:1::/80")));
        assert!(!one.holds(subnet("2001:db8::/32")));
        assert!(one.overlaps(subnet("2001:db8::/32")) && !one.overlaps(subnet("2001:db8:2::/64")));
        assert!(subnet("::/0").contains(Ipv6Addr::LOCALHOST));
        for text in ["", "fd00::", "fd00::/129", "10.0.0.0/8", "fd00::/x"] {
            assert_eq!(text.parse::<Subnet6>(), Err(NoSubnet6), "{text}");
        }
    }

    #[test]
    fn drawn_ones_are_local_and_differ() {
        let (one, other) = (Subnet6::random().unwrap(), Subnet6::random().unwrap());
        assert!(subnet("fd00::/8").holds(one) && one.prefix() == 64);
        assert_ne!(one, other);
    }
}
