//! A bridge's second family, and a container's link to it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;

use super::addresses::Addresses6;
use super::subnet::Subnet6;
use super::{Config6, Place6, link, setting};
use crate::error::NetworkError;
use crate::lock;
use crate::network::Network;
use crate::plug::Wish;
use crate::subnet::Subnet;
use sys::namespace::with_netns;
use sys::netlink::{Batch, Socket};

/// What a bridge has of IPv6.
#[derive(Debug)]
pub(crate) struct Segment6 {
    pub(crate) subnet: Subnet6,
    gateway: Ipv6Addr,
    addresses: Mutex<Addresses6>,
}

impl Segment6 {
    pub(crate) fn new(config: &Config6) -> Self {
        Self {
            subnet: config.subnet,
            gateway: config.gateway,
            addresses: Mutex::new(Addresses6::new(config)),
        }
    }

    /// Takes the address that is wanted, or the one with the number that `of` has in its own subnet.
    pub(crate) fn take(
        &self,
        wanted: Wish,
        (of, within): (Ipv4Addr, Subnet),
    ) -> Result<Place6, NetworkError> {
        let mut addresses = lock(&self.addresses);
        let address = match wanted {
            Wish::This(address) => addresses.claim(address).map(|()| address)?,
            Wish::Any | Wish::Nothing => addresses.take(of.to_bits() - within.base().to_bits())?,
        };
        Ok(Place6 {
            address,
            prefix: self.subnet.prefix(),
            gateway: self.gateway,
        })
    }

    pub(crate) fn claim(&self, address: Ipv6Addr) -> Result<(), NetworkError> {
        lock(&self.addresses).claim(address)
    }

    pub(crate) fn release(&self, address: Ipv6Addr) {
        lock(&self.addresses).release(address);
    }
}

/// Gives a bridge its address, and one that is the engine's `own` no other.
pub(crate) fn raise(
    route: &mut Socket,
    (name, index): (&str, u32),
    config: &Config6,
    own: bool,
) -> Result<(), NetworkError> {
    setting::with_ipv6(name)?;
    let wanted = (config.gateway, config.subnet);
    let mut batch = Batch::new();
    let mut is_there = false;
    for (owner, address, subnet) in link::list_addresses(route)? {
        match owner == index {
            true if (address, subnet) == wanted => is_there = true,
            true if own => link::delete_address(&mut batch, index, address, subnet.prefix()),
            _ => {}
        }
    }
    if !is_there {
        link::add_address(&mut batch, index, config.gateway, config.subnet.prefix());
    }
    route
        .perform(batch)
        .map_err(|refused| NetworkError::link(name, refused))
}

/// Gives a link inside a namespace its address.
pub(crate) fn give(
    netns: BorrowedFd<'_>,
    inside: &mut Socket,
    (interface, index): (&str, u32),
    place: &Place6,
) -> Result<(), NetworkError> {
    with_netns(netns, || setting::with_ipv6(interface)).map_err(|source| {
        NetworkError::Namespace {
            action: "enter",
            source,
        }
    })??;
    let mut batch = Batch::new();
    link::add_address(&mut batch, index, place.address, place.prefix);
    inside
        .perform(batch)
        .map_err(|refused| NetworkError::link(interface, refused))
}

impl Network {
    /// Has the host forward IPv6, which networks that have it need. Tells whether it did not before.
    ///
    /// # Errors
    /// [`NetworkError::MissingFeature`] in a kernel without IPv6, [`NetworkError::Setting`].
    pub fn forward_ipv6(&self) -> Result<bool, NetworkError> {
        let links = crate::link::list(&mut lock(&self.route))?;
        // Who is on a bridge, or has one, hears containers there.
        let own = links
            .iter()
            .filter(|link| !link.is_bridge && link.master.is_none())
            .filter(|link| !link.name.starts_with(&self.veth_prefix));
        setting::forward(own.map(|link| link.name.as_str()))
    }

    /// Whether a network of the engine, or somebody else's link, has an address in this subnet already.
    ///
    /// # Errors
    /// [`NetworkError::List`].
    pub fn overlaps_ipv6(&self, subnet: Subnet6) -> Result<bool, NetworkError> {
        let segments = self.segments();
        let mut ours = segments.iter().filter_map(|one| one.ipv6.as_ref());
        if ours.any(|one| one.subnet.overlaps(subnet)) {
            return Ok(true);
        }
        let others = link::list_addresses(&mut lock(&self.route))?;
        Ok(others.iter().any(|(_, _, other)| other.overlaps(subnet)))
    }
}
