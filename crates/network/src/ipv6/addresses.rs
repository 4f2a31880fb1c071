//! Which IPv6 addresses of a subnet are whose.

use std::collections::HashSet;
use std::net::Ipv6Addr;

use super::Config6;
use super::subnet::Subnet6;
use crate::error::NetworkError;

/// Hands out the addresses of one subnet.
///
/// A container has the number in the IPv6 subnet that it has in the IPv4 one, where that is free: so it is reused last, as
/// there. Connections of its former owner that are still tracked are not forgotten as they are there; there are few of them
/// by then.
#[derive(Debug)]
pub(crate) struct Addresses6 {
    subnet: Subnet6,
    range: Subnet6,
    /// Nobody's to take: the gateway's, and those that the user keeps for others.
    reserved: HashSet<Ipv6Addr>,
    used: HashSet<Ipv6Addr>,
}

impl Addresses6 {
    pub(crate) fn new(config: &Config6) -> Self {
        let mut reserved: HashSet<_> = config.reserved.iter().copied().collect();
        reserved.insert(config.gateway);
        reserved.insert(config.subnet.base());
        Self {
            subnet: config.subnet,
            range: config.range,
            reserved,
            used: HashSet::new(),
        }
    }

    /// Takes the address with this number in the range, or the lowest that is free.
    pub(crate) fn take(&mut self, number: u32) -> Result<Ipv6Addr, NetworkError> {
        let (first, last) = (self.range.base().to_bits(), self.range.last().to_bits());
        let wanted = first.checked_add(u128::from(number));
        let wanted = wanted.filter(|address| *address <= last);
        // One more than there are can not all be taken.
        let few = (self.used.len() + self.reserved.len() + 1) as u128;
        let lowest = first..=last.min(first.saturating_add(few));
        let free = wanted
            .into_iter()
            .chain(lowest)
            .map(Ipv6Addr::from_bits)
            .find(|address| !self.reserved.contains(address) && !self.used.contains(address));
        let address = free.ok_or_else(|| NetworkError::SubnetExhausted {
            family: "IPv6",
            subnet: self.subnet.to_string(),
        })?;
        self.used.insert(address);
        Ok(address)
    }

    /// Takes this very address.
    pub(crate) fn claim(&mut self, address: Ipv6Addr) -> Result<(), NetworkError> {
        if !self.subnet.contains(address) || address == self.subnet.base() {
            return Err(NetworkError::AddressOutside {
                address: address.into(),
                subnet: self.subnet.to_string(),
            });
        }
        if self.reserved.contains(&address) || !self.used.insert(address) {
            return Err(NetworkError::AddressTaken {
                address: address.into(),
            });
        }
        Ok(())
    }

    /// Gives an address back. Does nothing when it is not taken.
    pub(crate) fn release(&mut self, address: Ipv6Addr) {
        self.used.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(subnet: &str, range: &str) -> Addresses6 {
        let subnet: Subnet6 = subnet.parse().unwrap();
        Addresses6::new(&Config6 {
            subnet,
            gateway: Ipv6Addr::from_bits(subnet.base().to_bits() + 1),
            range: range.parse().unwrap(),
            reserved: vec![Ipv6Addr::from_bits(subnet.base().to_bits() + 9)],
        })
    }

    #[test]
    fn numbers_are_those_of_ipv4_where_they_are_free() {
        let mut all = addresses("fd00::/64", "fd00::/64");
        let mut take = |number| all.take(number).unwrap().to_string();
        assert_eq!(take(2), "fd00::2");
        assert_eq!(take(0x1_0003), "fd00::1:3");
        assert_eq!(take(9), "fd00::3", "kept for somebody else");
        assert_eq!(take(2), "fd00::4", "taken");
        all.release("fd00::2".parse().unwrap());
        assert_eq!(all.take(7).unwrap().to_string(), "fd00::7");
        assert_eq!(all.take(1).unwrap().to_string(), "fd00::2", "the gateway's");
    }

    #[test]
    fn a_small_subnet_ends() {
        let mut all = addresses("fd00::/124", "fd00::8/126");
        let mut take = || all.take(77).map(|one| one.to_string());
        for expected in ["fd00::8", "fd00::a", "fd00::b"] {
            assert_eq!(take().unwrap(), expected);
        }
        let sentence = take().unwrap_err().to_string();
        assert_eq!(
            sentence,
            "no available IPv6 addresses on this network's address pool fd00::/124"
        );
        all.claim("fd00::2".parse().unwrap()).unwrap();
        for (address, why) in [
            ("fd00::2", "Address already in use: fd00::2"),
            ("fd00::1", "Address already in use: fd00::1"),
            (
                "fd00::",
                "address fd00:: is no host address in the subnet fd00::/124",
            ),
            (
                "fd01::2",
                "address fd01::2 is no host address in the subnet fd00::/124",
            ),
        ] {
            let refused = all.claim(address.parse().unwrap()).unwrap_err();
            assert_eq!(refused.to_string(), why);
        }
    }
}
