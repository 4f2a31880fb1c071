//! Subnets, and which one a bridge takes when nobody says.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 subnet: an address whose host bits are zero, and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    /// 127.0.0.0/8, which never leaves the host.
    pub const LOOPBACK: Self = Self {
        base: 127 << 24,
        prefix: 8,
    };

    /// The subnet with a prefix of so many bits that holds `address`; none above 32 bits.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self {
            base: address.to_bits() & mask(prefix),
            prefix,
        })
    }

    /// The lowest address: the subnet's own name.
    pub fn base(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    /// Length of the prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The prefix as a mask, such as 255.255.0.0.
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// The highest address, which reaches everybody in the subnet.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | !mask(self.prefix))
    }

    /// The first address that a host can have.
    pub fn first_host(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.saturating_add(1))
    }

    /// Whether the address lies within.
    pub fn contains(self, address: Ipv4Addr) -> bool {
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

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
}

/// An address of a host with the subnet it is in, written `192.168.5.1/24`: the value of `--bip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostAddress {
    /// The host's own address.
    pub address: Ipv4Addr,
    /// The subnet around it.
    pub subnet: Subnet,
}

/// Why a text is no host address with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {text}")]
pub struct HostAddressError {
    /// What was given.
    pub text: String,
}

impl FromStr for HostAddress {
    type Err = HostAddressError;

    /// Reads `ADDRESS/PREFIX`. The prefix is 1 to 30 bits, since a bridge needs room for somebody else,
    /// and the address is neither the subnet's name nor its broadcast address.
    fn from_str(text: &str) -> Result<Self, HostAddressError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
            let subnet = Subnet::containing(address, prefix)?;
            let fits = (1..=30).contains(&prefix)
                && address != subnet.base()
                && address != subnet.broadcast();
            fits.then_some(Self { address, subnet })
        };
        parse().ok_or_else(|| HostAddressError {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.subnet.prefix)
    }
}

/// The subnets that a bridge may take unasked, in order: those that Docker's engine takes.
pub(crate) fn pool() -> impl Iterator<Item = Subnet> {
    let private_b = (17..=31u32).map(|second| Subnet {
        base: 172 << 24 | second << 16,
        prefix: 16,
    });
    let private_c = (0..16u32).map(|block| Subnet {
        base: 192 << 24 | 168 << 16 | block << 12,
        prefix: 20,
    });
    private_b.chain(private_c)
}

/// The first subnet of the pool that overlaps none of `taken`.
pub(crate) fn first_free(taken: &[Subnet]) -> Option<Subnet> {
    pool().find(|candidate| !taken.iter().any(|other| candidate.overlaps(*other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        let (address, prefix) = text.split_once('/').unwrap();
        Subnet::containing(address.parse().unwrap(), prefix.parse().unwrap()).unwrap()
    }

    #[test]
    fn bounds_of_a_subnet() {
        let subnet = subnet("172.17.5.9/16");
        assert_eq!(subnet.to_string(), "172.17.0.0/16");
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(172, 17, 255, 255));
        assert_eq!(subnet.mask(), Ipv4Addr::new(255, 255, 0, 0));
        assert!(subnet.contains(Ipv4Addr::new(172, 17, 9, 9)));
        assert!(!subnet.contains(Ipv4Addr::new(172, 18, 0, 0)));
    }

    #[test]
    fn the_first_free_one_is_taken() {
        assert_eq!(first_free(&[]).unwrap(), subnet("172.17.0.0/16"));
        let taken = [subnet("172.17.3.0/24"), subnet("172.18.0.1/32")];
        assert_eq!(first_free(&taken).unwrap(), subnet("172.19.0.0/16"));
        let taken = [subnet("172.16.0.0/12"), subnet("192.168.0.0/19")];
        assert_eq!(first_free(&taken).unwrap(), subnet("192.168.32.0/20"));
        assert_eq!(first_free(&[subnet("128.0.0.0/1")]), None);
        assert_eq!(first_free(&[subnet("0.0.0.0/0")]), None);
    }

    #[test]
    fn the_pool_ends_where_the_private_ranges_end() {
        assert_eq!(pool().count(), 31);
        assert_eq!(pool().last().unwrap(), subnet("192.168.240.0/20"));
    }

    #[test]
    fn host_addresses_are_read_strictly() {
        let parsed: HostAddress = "192.168.5.1/24".parse().unwrap();
        assert_eq!(parsed.subnet, subnet("192.168.5.0/24"));
        assert_eq!(parsed.to_string(), "192.168.5.1/24");
        for bad in [
            "",
            "192.168.5.1",
            "192.168.5.0/24",
            "192.168.5.255/24",
            "192.168.5.1/31",
            "192.168.5.1/0",
            "192.168.5.1/33",
            "x/24",
        ] {
            let error = bad.parse::<HostAddress>().unwrap_err();
            assert_eq!(error.to_string(), format!("invalid CIDR address: {bad}"));
        }
    }
}
