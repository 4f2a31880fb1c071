//! A container's link to a network: made, adorned, taken away.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use sys::namespace::with_netns;
use sys::netlink::{Batch, Socket};
use types::ContainerId;

use crate::endpoint::{Endpoint, MacAddr};
use crate::error::NetworkError;
use crate::ipv6::{self, Place6};
use crate::link::{self, Change};
use crate::lock;
use crate::network::Network;
use crate::sandbox::{join_refused, open_inside, veth_name, veth_refused};
use crate::segment::Segment;
use crate::subnet::Subnet;

/// A container's link to a user network, as it is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Plug<'a> {
    /// Id of the network; [`crate::HOME`] for the engine's own bridge.
    pub network: &'a str,
    /// Whose it will be.
    pub container: &'a ContainerId,
    /// Its name inside.
    pub interface: &'a str,
    /// The address; the next free one without.
    pub address: Option<Ipv4Addr>,
    /// What it is to have of IPv6, where the network has that.
    pub ipv6: Wish,
}

/// What a container is to have of a network's IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing: it has turned IPv6 off.
    Nothing,
    /// The next free address.
    Any,
    /// This address.
    This(Ipv6Addr),
}

impl Network {
    /// Gives a namespace a link to a network: a veth, an address, a port of the bridge. The default route is left as it
    /// is; see [`Network::set_gateway`].
    ///
    /// # Errors
    /// [`NetworkError::NoSuchSegment`], and as [`Network::attach`]. Nothing is left behind then.
    pub fn plug(&self, netns: BorrowedFd<'_>, plug: Plug<'_>) -> Result<Endpoint, NetworkError> {
        let segment = self
            .segment(plug.network)
            .ok_or_else(|| NetworkError::NoSuchSegment {
                id: plug.network.to_owned(),
            })?;
        let address = self.take_address(&segment, plug.address)?;
        let place = (address, segment.bridge.subnet);
        let ipv6 = segment
            .ipv6
            .as_ref()
            .filter(|_| plug.ipv6 != Wish::Nothing)
            .map(|one| one.take(plug.ipv6, place))
            .transpose()
            .inspect_err(|_| segment.release(address, None))?;
        let veth = self
            .connect(netns, &segment, plug.interface, (address, ipv6))
            .inspect_err(|_| segment.release(address, ipv6))?;
        Ok(Endpoint {
            container: plug.container.clone(),
            network: plug.network.to_owned(),
            address,
            prefix: segment.bridge.subnet.prefix(),
            gateway: segment.bridge.gateway,
            mac: MacAddr::of_ipv4(address),
            ipv6,
            veth,
        })
    }

    /// Makes the veth, whose name on the host it returns.
    fn connect(
        &self,
        netns: BorrowedFd<'_>,
        segment: &Segment,
        interface: &str,
        (address, ipv6): (Ipv4Addr, Option<Place6>),
    ) -> Result<String, NetworkError> {
        let mut inside = inside(netns)?;
        let veth = veth_name(&self.veth_prefix)?;
        let mut batch = Batch::new();
        link::add_veth(&mut batch, &veth, interface, netns);
        let mut host = lock(&self.route);
        host.perform(batch)
            .map_err(|refused| veth_refused(&veth, refused))?;
        let made = host.index_of(&veth);
        drop(host);
        let done = made
            .map_err(|source| missing(&veth, source))
            .and_then(|index| {
                set_inside(&mut inside, segment, interface, address)?;
                self.join(segment, &veth, index)?;
                let number = index_inside(&inside, interface)?;
                if let Some(place) = &ipv6 {
                    ipv6::give(netns, &mut inside, (interface, number), place)?;
                }
                let mut batch = Batch::new();
                link::catch_up(&mut batch, number);
                inside
                    .perform(batch)
                    .map_err(|refused| NetworkError::link(interface, refused))
            });
        match done {
            Ok(()) => Ok(veth),
            Err(error) => {
                self.remove_veth(&veth)?;
                Err(error)
            }
        }
    }

    /// Makes the host's end a port of the bridge that forwards.
    fn join(&self, segment: &Segment, veth: &str, index: u32) -> Result<(), NetworkError> {
        let mut batch = Batch::new();
        let port = Change {
            up: true,
            master: Some(segment.bridge.index),
            mtu: segment.mtu,
            ..Change::default()
        };
        link::change(&mut batch, "join the bridge", index, &port);
        if !segment.member.among {
            link::isolate(&mut batch, veth);
        }
        link::catch_up(&mut batch, index);
        link::catch_up(&mut batch, segment.bridge.index);
        lock(&self.route)
            .perform(batch)
            .map_err(|refused| join_refused(veth, &segment.bridge, refused))
    }

    /// Takes a link from a namespace that goes on without it, and gives its address back.
    ///
    /// # Errors
    /// [`NetworkError::Link`].
    pub fn unplug(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let removed = self.remove_veth(&endpoint.veth);
        self.release(endpoint);
        removed
    }

    fn remove_veth(&self, veth: &str) -> Result<(), NetworkError> {
        let mut route = Socket::small_route().map_err(|source| NetworkError::Socket { source })?;
        let index = match route.index_of(veth) {
            Ok(index) => index,
            // It went with its namespace.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            Err(source) => return Err(missing(veth, source)),
        };
        let mut batch = Batch::new();
        link::delete(&mut batch, "remove the veth", index);
        match route.perform(batch) {
            Err(refused) if refused.errno() != libc::ENODEV => {
                Err(NetworkError::link(veth, refused))
            }
            _ => Ok(()),
        }
    }

    /// Gives a link inside another Ethernet address than that which follows from its address, and further addresses
    /// that count on the link alone.
    ///
    /// # Errors
    /// [`NetworkError::Namespace`], [`NetworkError::Link`].
    pub fn adorn(
        &self,
        netns: BorrowedFd<'_>,
        interface: &str,
        mac: Option<MacAddr>,
        link_local: &[Ipv4Addr],
    ) -> Result<(), NetworkError> {
        let mut inside = inside(netns)?;
        let index = index_inside(&inside, interface)?;
        let mut batch = Batch::new();
        if mac.is_some() {
            let change = Change {
                up: true,
                mac,
                ..Change::default()
            };
            link::change(&mut batch, "set the Ethernet address", index, &change);
        }
        for address in link_local {
            if let Some(subnet) = Subnet::containing(*address, LINK_LOCAL_PREFIX) {
                link::add_address(&mut batch, index, *address, subnet);
            }
        }
        inside
            .perform(batch)
            .map_err(|refused| NetworkError::link(interface, refused))
    }
}

/// Length of the prefix of link-local addresses, in bits (RFC 3927).
const LINK_LOCAL_PREFIX: u8 = 16;

/// Speaks about links in a namespace.
pub(crate) fn inside(netns: BorrowedFd<'_>) -> Result<Socket, NetworkError> {
    with_netns(netns, open_inside)
        .and_then(|opened| opened)
        .map_err(|source| NetworkError::Namespace {
            action: "enter",
            source,
        })
}

fn set_inside(
    inside: &mut Socket,
    segment: &Segment,
    interface: &str,
    address: Ipv4Addr,
) -> Result<(), NetworkError> {
    let index = index_inside(inside, interface)?;
    let mut batch = Batch::new();
    let change = Change {
        up: true,
        mac: Some(MacAddr::of_ipv4(address)),
        mtu: segment.mtu,
        ..Change::default()
    };
    link::change(&mut batch, "set the link up", index, &change);
    link::add_address(&mut batch, index, address, segment.bridge.subnet);
    inside
        .perform(batch)
        .map_err(|refused| NetworkError::link(interface, refused))
}

pub(crate) fn index_inside(inside: &Socket, interface: &str) -> Result<u32, NetworkError> {
    inside
        .index_of(interface)
        .map_err(|source| missing(interface, source))
}

fn missing(link: &str, source: std::io::Error) -> NetworkError {
    NetworkError::Link {
        action: "find the link",
        object: link.to_owned(),
        source,
    }
}
