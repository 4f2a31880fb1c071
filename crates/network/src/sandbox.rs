//! A network namespace with a veth in it, ready for a container.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use rustix::rand::{GetRandomFlags, getrandom};
use sys::namespace::{current_netns, in_new_netns, with_netns};

use crate::bridge::BridgeInfo;
use crate::endpoint::MacAddr;
use crate::error::NetworkError;
use crate::link::{self, Change};
use crate::lock;
use crate::segment::Segment;
use sys::netlink::{Batch, Refused, Socket};

/// The container's name for its end of the veth.
pub(crate) const INSIDE: &str = "eth0";

/// The loopback link is the first one of every network namespace.
const LOOPBACK: u32 = 1;

const UP: Change = Change {
    up: true,
    mac: None,
    master: None,
    mtu: None,
};

/// A prepared network namespace: `lo` is up, `eth0` has an address if one could be spared, its other end is no
/// port of the bridge. Belongs to no container, so it can be made ahead.
///
/// Dropping it drops all of it: the kernel takes the veth away with the namespace.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) netns: OwnedFd,
    /// Speaks about links inside the namespace without anybody going there.
    pub(crate) inside: Socket,
    pub(crate) inside_index: u32,
    pub(crate) veth: String,
    pub(crate) veth_index: u32,
    /// Whether both ends are up.
    is_warm: bool,
    /// The address that the inside has already.
    address: Option<Ipv4Addr>,
}

/// Where veths are made, and what for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    /// Speaks about links on the host.
    pub(crate) host: &'a Mutex<Socket>,
    /// Beginning of the names of the host's ends.
    pub(crate) prefix: &'a str,
}

impl Sandbox {
    /// The network namespace.
    pub fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    /// Makes a namespace with a veth into it.
    pub(crate) fn make(site: Site<'_>) -> Result<Self, NetworkError> {
        let (netns, inside) = namespace_with_loopback()?;
        Self::connect(site, netns, inside)
    }

    /// Makes a veth into a namespace that somebody else made.
    pub(crate) fn adopt(site: Site<'_>, netns: OwnedFd) -> Result<Self, NetworkError> {
        let inside = with_netns(netns.as_fd(), open_inside)
            .and_then(|opened| opened)
            .map_err(|source| NetworkError::Namespace {
                action: "enter",
                source,
            })?;
        let inside = loopback_up(inside)?;
        Self::connect(site, netns, inside)
    }

    fn connect(site: Site<'_>, netns: OwnedFd, inside: Socket) -> Result<Self, NetworkError> {
        let veth = veth_name(site.prefix)?;
        let mut batch = Batch::new();
        link::add_veth(&mut batch, &veth, INSIDE, netns.as_fd());
        let missing = |source| NetworkError::Link {
            action: "find the veth",
            object: veth.clone(),
            source,
        };
        let mut host = lock(site.host);
        host.perform(batch)
            .map_err(|refused| veth_refused(&veth, refused))?;
        let veth_index = host.index_of(&veth).map_err(missing)?;
        drop(host);
        let inside_index = inside.index_of(INSIDE).map_err(missing)?;
        Ok(Self {
            netns,
            inside,
            inside_index,
            veth,
            veth_index,
            is_warm: false,
            address: None,
        })
    }

    /// The address that it was given ahead.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// Does what can be done before it is known whose it will be: both ends up, and known to be so.
    pub(crate) fn warm(&mut self, host: &Mutex<Socket>) -> Result<(), NetworkError> {
        set_up(&mut self.inside, self.inside_index, INSIDE)?;
        let mut batch = Batch::new();
        link::change(&mut batch, "set the link up", self.veth_index, &UP);
        link::catch_up(&mut batch, self.veth_index);
        lock(host)
            .perform(batch)
            .map_err(|refused| veth_refused(&self.veth, refused))?;
        self.catch_up_inside()?;
        self.is_warm = true;
        Ok(())
    }

    /// Makes it the container's with this address, which is the one given ahead if there is one: after this,
    /// packets flow.
    pub(crate) fn settle(
        &mut self,
        host: &Mutex<Socket>,
        segment: &Segment,
        address: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        if self.address != Some(address) {
            self.give_address(segment, address)?;
        }
        self.join(host, segment)?;
        if !self.is_warm {
            self.catch_up_inside()?;
        }
        Ok(())
    }

    /// Gives the inside its address and default route.
    pub(crate) fn give_address(
        &mut self,
        segment: &Segment,
        address: Ipv4Addr,
    ) -> Result<(), NetworkError> {
        let bridge = &segment.bridge;
        let index = self.inside_index;
        let mut batch = Batch::new();
        let inside = Change {
            up: true,
            mac: Some(MacAddr::of_ipv4(address)),
            mtu: segment.mtu,
            ..Change::default()
        };
        link::change(&mut batch, "set the link up", index, &inside);
        link::add_address(&mut batch, index, address, bridge.subnet);
        link::add_default_route(&mut batch, index, bridge.gateway);
        self.inside
            .perform(batch)
            .map_err(|refused| NetworkError::link(INSIDE, refused))?;
        self.address = Some(address);
        Ok(())
    }

    /// Makes the host's end a port of the bridge that forwards.
    fn join(&self, host: &Mutex<Socket>, segment: &Segment) -> Result<(), NetworkError> {
        let bridge = &segment.bridge;
        let mut batch = Batch::new();
        let port = Change {
            up: true,
            master: Some(bridge.index),
            mtu: segment.mtu,
            ..Change::default()
        };
        link::change(&mut batch, "join the bridge", self.veth_index, &port);
        if !self.is_warm {
            link::catch_up(&mut batch, self.veth_index);
        }
        // The bridge itself carries from its first forwarding port on.
        link::catch_up(&mut batch, bridge.index);
        lock(host)
            .perform(batch)
            .map_err(|refused| join_refused(&self.veth, bridge, refused))
    }

    fn catch_up_inside(&mut self) -> Result<(), NetworkError> {
        let mut batch = Batch::new();
        link::catch_up(&mut batch, self.inside_index);
        self.inside
            .perform(batch)
            .map_err(|refused| NetworkError::link(INSIDE, refused))
    }
}

pub(crate) fn join_refused(veth: &str, bridge: &BridgeInfo, refused: Refused) -> NetworkError {
    match refused.errno() {
        libc::EXFULL => NetworkError::BridgeFull {
            bridge: bridge.name.clone(),
        },
        _ => veth_refused(veth, refused),
    }
}

pub(crate) fn veth_refused(veth: &str, refused: Refused) -> NetworkError {
    match refused.errno() {
        libc::EOPNOTSUPP => NetworkError::MissingFeature {
            feature: "CONFIG_VETH",
            source: refused.source,
        },
        _ => NetworkError::link(veth, refused),
    }
}

/// A network namespace with nothing but `lo`, which is up: what `--network none` gives.
///
/// # Errors
/// [`NetworkError::Namespace`] and [`NetworkError::Link`].
pub fn loopback_only() -> Result<OwnedFd, NetworkError> {
    Ok(namespace_with_loopback()?.0)
}

fn namespace_with_loopback() -> Result<(OwnedFd, Socket), NetworkError> {
    let (netns, inside) = in_new_netns(|| Ok((current_netns()?, open_inside()?)))
        .and_then(|made| made)
        .map_err(|source| NetworkError::Namespace {
            action: "make",
            source,
        })?;
    Ok((netns, loopback_up(inside)?))
}

/// For a thread inside the namespace. Links made from now on have no IPv6 there, as long as the bridge
/// has none: an address that reaches nobody makes programs wait.
pub(crate) fn open_inside() -> io::Result<Socket> {
    match fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {} // written, or a kernel without IPv6
    }
    Socket::small_route()
}

fn loopback_up(mut inside: Socket) -> Result<Socket, NetworkError> {
    set_up(&mut inside, LOOPBACK, "lo")?;
    Ok(inside)
}

fn set_up(socket: &mut Socket, index: u32, name: &str) -> Result<(), NetworkError> {
    let mut batch = Batch::new();
    link::change(&mut batch, "set the link up", index, &UP);
    socket
        .perform(batch)
        .map_err(|refused| NetworkError::link(name, refused))
}

/// Beginning of the name of each veth of an instance: `wh` and four digits of its id.
pub(crate) fn veth_prefix(instance: &types::InstanceId) -> String {
    format!("wh{}", instance.as_str().get(..4).unwrap_or_default())
}

/// A name that nobody has: the prefix and 36 random bits, 15 characters in all.
pub(crate) fn veth_name(prefix: &str) -> Result<String, NetworkError> {
    let mut random = [0; 8];
    getrandom(&mut random, GetRandomFlags::empty()).map_err(|error| NetworkError::Link {
        action: "draw a name",
        object: "a veth".to_owned(),
        source: error.into(),
    })?;
    let bits = u64::from_ne_bytes(random) & 0xf_ffff_ffff;
    Ok(format!("{prefix}{bits:09x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ() {
        let prefix = veth_prefix(&"0a1b2c3d".parse().unwrap());
        let one = veth_name(&prefix).unwrap();
        assert_eq!(one.len(), 15); // IFNAMSIZ less the closing zero
        assert!(one.starts_with("wh0a1b"));
        assert_ne!(one, veth_name(&prefix).unwrap());
    }
}
