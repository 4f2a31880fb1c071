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

/// A block of addresses, and how long the prefix of each network is that takes a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    block: Subnet,
    prefix: u8,
}

impl Pool {
    /// Networks of `prefix` bits in a block; none where they do not fit, or have no room for a container.
    pub fn new(block: Subnet, prefix: u8) -> Option<Self> {
        (block.prefix <= prefix && (1..=30).contains(&prefix)).then_some(Self { block, prefix })
    }

    /// All the addresses.
    pub fn block(self) -> Subnet {
        self.block
    }

    /// Bits of the prefix of one network.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The lowest network of the pool that overlaps none of `taken`.
    fn first_free(self, taken: &[Subnet]) -> Option<Subnet> {
        let size = |prefix: u8| 1u64 << (32 - prefix);
        let step = size(self.prefix);
        let mut base = u64::from(self.block.base);
        let end = base + size(self.block.prefix);
        // Each turn but the last passes over one that is taken, however large it is.
        while base < end {
            let candidate = Subnet {
                base: base as u32,
                prefix: self.prefix,
            };
            let Some(other) = taken.iter().find(|other| candidate.overlaps(**other)) else {
                return Some(candidate);
            };
            let behind = u64::from(other.base) + size(other.prefix);
            base = (base + step).max(behind.next_multiple_of(step));
        }
        None
    }
}

/// What networks take their subnets of when nobody says which, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pools(Vec<Pool>);

impl Default for Pools {
    /// Those of Docker's engine.
    fn default() -> Self {
        let pool = |[a, b]: [u8; 2], block, prefix| Pool {
            block: Subnet {
                base: u32::from_be_bytes([a, b, 0, 0]),
                prefix: block,
            },
            prefix,
        };
        Self(vec![
            pool([172, 17], 16, 16),
            pool([172, 18], 16, 16),
            pool([172, 19], 16, 16),
            pool([172, 20], 14, 16),
            pool([172, 24], 14, 16),
            pool([172, 28], 14, 16),
            pool([192, 168], 16, 20),
        ])
    }
}

impl Pools {
    /// These, or [`Pools::default`] where there are none.
    pub fn new(pools: Vec<Pool>) -> Self {
        match pools.is_empty() {
            true => Self::default(),
            false => Self(pools),
        }
    }

    /// The first subnet that overlaps none of `taken`.
    pub(crate) fn first_free(&self, taken: &[Subnet]) -> Option<Subnet> {
        self.0.iter().find_map(|pool| pool.first_free(taken))
    }

    /// Whether any address of theirs is one of `subnet`.
    pub(crate) fn overlap(&self, subnet: Subnet) -> bool {
        self.0.iter().any(|pool| pool.block.overlaps(subnet))
    }
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
        let first_free = |taken: &[&str]| {
            let taken: Vec<Subnet> = taken.iter().map(|one| subnet(one)).collect();
            let found = Pools::default().first_free(&taken);
            found.map(|found| found.to_string()).unwrap_or_default()
        };
        assert_eq!(first_free(&[]), "172.17.0.0/16");
        let taken = ["172.17.3.0/24", "172.18.0.1/32"];
        assert_eq!(first_free(&taken), "172.19.0.0/16");
        let taken = ["172.16.0.0/12", "192.168.0.0/19"];
        assert_eq!(first_free(&taken), "192.168.32.0/20");
        assert_eq!(first_free(&["128.0.0.0/1"]), "");
        assert_eq!(first_free(&["0.0.0.0/0"]), "");
    }

    #[test]
    fn the_pools_end_where_the_private_ranges_end() {
        let mut taken = Vec::new();
        while let Some(next) = Pools::default().first_free(&taken) {
            taken.push(next);
        }
        assert_eq!(taken.len(), 31);
        assert_eq!(
            taken[14..16],
            ["172.31.0.0/16", "192.168.0.0/20"].map(subnet)
        );
        assert_eq!(taken[30], subnet("192.168.240.0/20"));
    }

    #[test]
    fn a_pool_of_ones_own_is_taken_in_order() {
        let pool = |block: &str, prefix| Pool::new(subnet(block), prefix);
        assert_eq!(pool("10.0.0.0/16", 8), None, "larger than the block");
        assert_eq!(pool("10.0.0.0/16", 31), None, "nobody has room");
        let pools = [pool("10.9.0.0/23", 24), pool("255.255.255.0/24", 26)];
        let pools = Pools::new(pools.into_iter().flatten().collect());
        let mut taken = vec![subnet("10.9.0.7/32")];
        while let Some(next) = pools.first_free(&taken) {
            taken.push(next);
        }
        let found: Vec<String> = taken[1..].iter().map(Subnet::to_string).collect();
        let last = ["0", "64", "128", "192"].map(|at| format!("255.255.255.{at}/26"));
        assert_eq!(found, [&["10.9.1.0/24".to_owned()][..], &last].concat());
        assert!(pools.overlap(subnet("10.0.0.0/8")) && !pools.overlap(subnet("172.17.0.0/16")));
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
