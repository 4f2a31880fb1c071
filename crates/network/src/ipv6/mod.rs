//! IPv6 of user networks: a second family beside IPv4, for those that ask for it.
//!
//! Ports of the host's IPv6 addresses lead to a container's IPv4 address all the same: a server that reads IPv4 alone is
//! reached, whichever family its client speaks. What is here is the way among containers and out into the world.

mod addresses;
mod link;
mod segment;
mod setting;
mod subnet;

use std::net::Ipv6Addr;

pub(crate) use link::default_route;
pub(crate) use segment::{Segment6, give, raise};
pub use subnet::{NoSubnet6, Subnet6};

/// What a user network has of IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config6 {
    /// The containers' subnet.
    pub subnet: Subnet6,
    /// The bridge's address.
    pub gateway: Ipv6Addr,
    /// The part of the subnet that is given out.
    pub range: Subnet6,
    /// Addresses that are not given out.
    pub reserved: Vec<Ipv6Addr>,
}

/// What a container has of IPv6 on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place6 {
    /// The container's address.
    pub address: Ipv6Addr,
    /// Length of the subnet's prefix, in bits.
    pub prefix: u8,
    /// The bridge's address: the container's default gateway.
    pub gateway: Ipv6Addr,
}
