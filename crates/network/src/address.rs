//! Which addresses of the subnet are whose.

use std::collections::{HashSet, VecDeque};
use std::net::Ipv4Addr;

use crate::error::NetworkError;
use crate::subnet::Subnet;

/// To list tracked connections takes some 10 ms even of an idle kernel, so addresses rest until fewer than
/// this many others are left.
pub(crate) const SCARCE: usize = 256;

/// Hands out the addresses of one subnet.
///
/// An address that was given back is reused last, and only after [`settled`](Self::settle) said that no
/// tracked connection remembers its former owner: until then it is *resting*.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: Subnet,
    /// Nobody's to take: the gateway's, and those that the user keeps for others.
    reserved: HashSet<Ipv4Addr>,
    /// The next address that nobody has had, and the first that is not given out.
    fresh: u32,
    end: u32,
    used: HashSet<Ipv4Addr>,
    resting: VecDeque<Ipv4Addr>,
    rested: VecDeque<Ipv4Addr>,
}

impl Addresses {
    pub(crate) fn new(subnet: Subnet, gateway: Ipv4Addr) -> Self {
        Self::within(subnet, subnet, HashSet::from([gateway]))
    }

    /// The same where only those of `range`, a part of the subnet, are given out to whoever names none.
    pub(crate) fn within(subnet: Subnet, range: Subnet, reserved: HashSet<Ipv4Addr>) -> Self {
        let first = range.base().max(subnet.first_host()).to_bits();
        let last = range.broadcast().to_bits();
        let last = last.min(subnet.broadcast().to_bits().saturating_sub(1));
        Self {
            subnet,
            reserved,
            fresh: first,
            end: last.saturating_add(1),
            used: HashSet::new(),
            resting: VecDeque::new(),
            rested: VecDeque::new(),
        }
    }

    /// Takes the next address; `None` when all that are left are resting, or none is.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        while self.fresh < self.end {
            let address = Ipv4Addr::from_bits(self.fresh);
            self.fresh += 1;
            if !self.reserved.contains(&address) && !self.is_known(address) {
                self.used.insert(address);
                return Some(address);
            }
        }
        let address = self.rested.pop_front()?;
        self.used.insert(address);
        Some(address)
    }

    /// Takes this very address, also when it rests: whoever asks for it knows why.
    pub(crate) fn claim(&mut self, address: Ipv4Addr) -> Result<(), NetworkError> {
        let subnet = self.subnet;
        if !subnet.contains(address) || address == subnet.base() || address == subnet.broadcast() {
            return Err(NetworkError::AddressOutside {
                address: address.into(),
                subnet: subnet.to_string(),
            });
        }
        if self.reserved.contains(&address) || !self.used.insert(address) {
            return Err(NetworkError::AddressTaken {
                address: address.into(),
            });
        }
        self.resting.retain(|other| *other != address);
        self.rested.retain(|other| *other != address);
        Ok(())
    }

    /// Gives an address back; it rests first. Does nothing when it is not taken.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        if self.used.remove(&address) {
            self.resting.push_back(address);
        }
    }

    /// How many can be taken before the resting ones are needed.
    pub(crate) fn left(&self) -> usize {
        let fresh = self.end.saturating_sub(self.fresh);
        fresh as usize + self.rested.len()
    }

    /// The addresses whose tracked connections are still to be forgotten.
    pub(crate) fn resting(&self) -> HashSet<Ipv4Addr> {
        self.resting.iter().copied().collect()
    }

    /// Says that the connections of these addresses are forgotten.
    pub(crate) fn settle(&mut self, forgotten: &HashSet<Ipv4Addr>) {
        let (done, left) = self
            .resting
            .drain(..)
            .partition(|address| forgotten.contains(address));
        self.resting = left;
        let done: VecDeque<_> = done;
        self.rested.extend(done);
    }

    /// Whether so few are left that those which rest should be looked at.
    pub(crate) fn are_scarce(&self) -> bool {
        let all = self.subnet.broadcast().to_bits() - self.subnet.base().to_bits();
        self.left() < SCARCE.min((all as usize / 4).max(1))
    }

    fn is_known(&self, address: Ipv4Addr) -> bool {
        self.used.contains(&address)
            || self.resting.contains(&address)
            || self.rested.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Addresses {
        let subnet = Subnet::containing(Ipv4Addr::new(10, 0, 0, 0), 29).unwrap();
        Addresses::new(subnet, Ipv4Addr::new(10, 0, 0, 1))
    }

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    #[test]
    fn fresh_ones_first_then_the_longest_released() {
        let mut addresses = small();
        assert_eq!(addresses.take(), Some(ip(2)));
        assert_eq!(addresses.take(), Some(ip(3)));
        addresses.release(ip(3));
        addresses.release(ip(2));
        assert_eq!(addresses.take(), Some(ip(4)));
        assert_eq!(addresses.take(), Some(ip(5)));
        assert_eq!(addresses.take(), Some(ip(6)));
        assert_eq!(addresses.take(), None, "the released ones still rest");
        let resting = addresses.resting();
        addresses.settle(&resting);
        assert_eq!(addresses.take(), Some(ip(3)));
        assert_eq!(addresses.take(), Some(ip(2)));
        assert_eq!(addresses.take(), None);
    }

    #[test]
    fn a_range_is_given_out_and_the_rest_of_the_subnet_can_be_named() {
        let subnet = Subnet::containing(Ipv4Addr::new(10, 0, 0, 0), 28).unwrap();
        let range = Subnet::containing(Ipv4Addr::new(10, 0, 0, 12), 30).unwrap();
        let mut addresses = Addresses::within(subnet, range, HashSet::from([ip(1), ip(13)]));
        assert_eq!(addresses.take(), Some(ip(12)));
        assert_eq!(addresses.take(), Some(ip(14)));
        assert_eq!(addresses.take(), None, "the broadcast address is nobody's");
        addresses.claim(ip(5)).unwrap();
        let kept = addresses.claim(ip(13)).unwrap_err();
        assert!(matches!(kept, NetworkError::AddressTaken { .. }));
    }

    #[test]
    fn only_what_was_forgotten_is_settled() {
        let mut addresses = small();
        while addresses.take().is_some() {}
        addresses.release(ip(2));
        let seen = addresses.resting();
        addresses.release(ip(4));
        addresses.settle(&seen);
        assert_eq!(addresses.take(), Some(ip(2)));
        assert_eq!(addresses.take(), None);
        assert_eq!(addresses.resting(), HashSet::from([ip(4)]));
    }

    #[test]
    fn a_named_address_is_claimed_once() {
        let mut addresses = small();
        addresses.claim(ip(3)).unwrap();
        let taken = addresses.claim(ip(3)).unwrap_err();
        assert!(matches!(taken, NetworkError::AddressTaken { .. }));
        for wrong in [ip(0), ip(7), ip(9)] {
            let outside = addresses.claim(wrong).unwrap_err();
            assert!(matches!(outside, NetworkError::AddressOutside { .. }));
        }
        assert!(addresses.claim(ip(1)).is_err(), "the gateway's own");
        assert_eq!(addresses.take(), Some(ip(2)));
        assert_eq!(addresses.take(), Some(ip(4)), "the claimed one is left out");
    }

    #[test]
    fn releasing_twice_gives_one_address() {
        let mut addresses = small();
        let first = addresses.take().unwrap();
        addresses.release(first);
        addresses.release(first);
        assert_eq!(addresses.resting().len(), 1);
    }
}
