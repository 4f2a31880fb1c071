//! User networks: further bridges beside the engine's own.
//!
//! A bridge of a user network is known as the engine's by its Ethernet address, `02:58` followed by the four bytes of
//! the instance id, since its name may be the user's choice.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use sys::netlink::{Batch, Socket};
use types::InstanceId;

use crate::address::Addresses;
use crate::bridge::{BridgeInfo, HostView};
use crate::endpoint::MacAddr;
use crate::error::NetworkError;
use crate::ipv6::{self, Config6, Place6, Segment6};
use crate::link::{self, Change, Link};
use crate::lock;
use crate::network::Network;
use crate::nft::{self, Member};
use crate::setting::{self, switch_on};
use crate::subnet::Subnet;

/// What a user network is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentConfig {
    /// Its id, which endpoints refer to.
    pub id: String,
    /// Name of its bridge, at most 15 characters.
    pub bridge: String,
    /// The containers' subnet.
    pub subnet: Subnet,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// The part of the subnet that is given out.
    pub range: Subnet,
    /// Addresses that are not given out.
    pub reserved: Vec<Ipv4Addr>,
    /// Whether its containers reach nobody beyond it.
    pub internal: bool,
    /// Whether its containers reach each other.
    pub among: bool,
    /// Whether its containers have the host's address beyond the host.
    pub masqueraded: bool,
    /// The longest packet, in bytes; the kernel's choice without one.
    pub mtu: Option<u32>,
    /// What it has of IPv6, if anything.
    pub ipv6: Option<Config6>,
    /// Whether the bridge was somebody else's when the network was made: it keeps what it has, and stays when the network
    /// goes.
    pub foreign: bool,
}

impl SegmentConfig {
    fn member(&self) -> Member {
        Member {
            bridge: self.bridge.clone(),
            subnet: self.subnet,
            internal: self.internal,
            among: self.among,
            masqueraded: self.masqueraded && !self.internal,
            subnet6: self.ipv6.as_ref().map(|ipv6| ipv6.subnet),
        }
    }
}

/// One bridge with its addresses.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) bridge: BridgeInfo,
    pub(crate) member: Member,
    pub(crate) addresses: Mutex<Addresses>,
    pub(crate) ipv6: Option<Segment6>,
    pub(crate) mtu: Option<u32>,
}

impl Segment {
    /// The engine's own bridge.
    pub(crate) fn home(bridge: BridgeInfo, mtu: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            member: Member {
                bridge: bridge.name.clone(),
                subnet: bridge.subnet,
                internal: false,
                among: true,
                masqueraded: true,
                subnet6: None,
            },
            ipv6: None,
            addresses: Mutex::new(Addresses::new(bridge.subnet, bridge.gateway)),
            bridge,
            mtu,
        })
    }

    /// Takes these very addresses.
    pub(crate) fn claim(
        &self,
        address: Ipv4Addr,
        ipv6: Option<Place6>,
    ) -> Result<(), NetworkError> {
        lock(&self.addresses).claim(address)?;
        if let (Some(segment), Some(place)) = (&self.ipv6, ipv6) {
            segment
                .claim(place.address)
                .inspect_err(|_| lock(&self.addresses).release(address))?;
        }
        Ok(())
    }

    /// Gives addresses back.
    pub(crate) fn release(&self, address: Ipv4Addr, ipv6: Option<Place6>) {
        lock(&self.addresses).release(address);
        if let (Some(segment), Some(place)) = (&self.ipv6, ipv6) {
            segment.release(place.address);
        }
    }
}

/// The Ethernet address that marks the bridges of user networks.
fn mark(instance: &InstanceId) -> MacAddr {
    let MacAddr([first, _, rest @ ..]) = crate::bridge::own_mac(instance);
    let [a, b, c, d] = rest;
    MacAddr([first, 0x58, a, b, c, d])
}

impl Network {
    /// A subnet of the pool that neither the host nor a network of the engine overlaps.
    ///
    /// # Errors
    /// [`NetworkError::NoFreeSubnet`], [`NetworkError::List`].
    pub fn free_subnet(&self) -> Result<Subnet, NetworkError> {
        let pools = &self.pools;
        let mut taken = HostView::look(&mut lock(&self.route), pools)?.taken;
        taken.extend(self.segments().iter().map(|one| one.bridge.subnet));
        pools.first_free(&taken).ok_or(NetworkError::NoFreeSubnet)
    }

    /// Whether a network of the engine has addresses of this subnet already.
    pub fn overlaps(&self, subnet: Subnet) -> bool {
        let segments = self.segments();
        segments
            .iter()
            .any(|one| one.bridge.subnet.overlaps(subnet))
    }

    /// Names of somebody else's links that have an address in this subnet.
    ///
    /// # Errors
    /// [`NetworkError::List`].
    pub fn others_in(&self, subnet: Subnet) -> Result<Vec<String>, NetworkError> {
        let mut route = lock(&self.route);
        let addresses = link::list_addresses(&mut route)?;
        let within: HashSet<u32> = addresses
            .iter()
            .filter(|(_, _, other)| other.overlaps(subnet))
            .map(|(index, _, _)| *index)
            .collect();
        let links = link::list(&mut route)?.into_iter();
        Ok(links
            .filter(|link| within.contains(&link.index))
            .map(|link| link.name)
            .collect())
    }

    /// Whether a bridge of this name is there that the engine did not make.
    ///
    /// # Errors
    /// [`NetworkError::List`].
    pub fn is_foreign_bridge(&self, name: &str) -> Result<bool, NetworkError> {
        let own = [mark(&self.instance), crate::bridge::own_mac(&self.instance)];
        let links = link::list(&mut lock(&self.route))?;
        Ok(links.iter().any(|link| {
            link.name == name && link.is_bridge && !link.mac.is_some_and(|mac| own.contains(&mac))
        }))
    }

    /// Makes a user network's bridge, or takes it over from the daemon before.
    ///
    /// # Errors
    /// [`NetworkError::NotOurBridge`] when a link of somebody else has the name; [`NetworkError::Link`],
    /// [`NetworkError::Firewall`]. Nothing is left then.
    pub fn add_segment(&self, config: &SegmentConfig) -> Result<(), NetworkError> {
        let bridge = self.raise_bridge(config)?;
        let member = config.member();
        let mut reserved: HashSet<_> = config.reserved.iter().copied().collect();
        reserved.insert(config.gateway);
        let segment = Arc::new(Segment {
            bridge,
            member: member.clone(),
            addresses: Mutex::new(Addresses::within(config.subnet, config.range, reserved)),
            ipv6: config.ipv6.as_ref().map(Segment6::new),
            mtu: config.mtu,
        });
        let ports = lock(&self.ports);
        let mut batch = Batch::transaction();
        nft::add_member(&mut batch, &self.table, &member);
        let known = lock(&self.others).insert(config.id.clone(), segment);
        let done = match known {
            // Its elements are there already.
            Some(_) => Ok(()),
            None => self.change_table(&ports, batch),
        };
        drop(ports);
        let done = done.and_then(|()| self.pass_docker().map(|_| ()));
        if let Err(error) = done {
            lock(&self.others).remove(&config.id);
            self.remove_bridge(&config.bridge)?;
            return Err(error);
        }
        Ok(())
    }

    /// Leaves a bridge alone that [`Network::add_segment`] could not use: containers may be on it, and reach each other.
    pub fn spare_bridge(&self, name: &str) {
        lock(&self.spared).insert(name.to_owned());
    }

    fn raise_bridge(&self, config: &SegmentConfig) -> Result<BridgeInfo, NetworkError> {
        let name = config.bridge.as_str();
        let failed = |refused| NetworkError::link(name, refused);
        let mut route = lock(&self.route);
        let present = link::list(&mut route)?
            .into_iter()
            .find(|link| link.name == name);
        let was_there = present.is_some();
        let index = match present {
            Some(Link {
                index,
                mac,
                is_bridge: true,
                ..
            }) if config.foreign || mac == Some(mark(&self.instance)) => index,
            Some(_) => {
                return Err(NetworkError::NotOurBridge {
                    name: name.to_owned(),
                });
            }
            None => {
                let mut batch = Batch::new();
                link::add_bridge(&mut batch, name, mark(&self.instance));
                route.perform(batch).map_err(failed)?;
                route.index_of(name).map_err(|source| NetworkError::Link {
                    action: "find the bridge",
                    object: name.to_owned(),
                    source,
                })?
            }
        };
        // One that was gone is made anew, as the engine's own.
        let own = !config.foreign || !was_there;
        match &config.ipv6 {
            Some(ipv6) => ipv6::raise(&mut route, (name, index), ipv6, own)?,
            None if own => setting::without_ipv6(name)?,
            None => {}
        }
        let present: Vec<_> = link::list_addresses(&mut route)?
            .into_iter()
            .filter(|(owner, _, _)| *owner == index)
            .collect();
        let wanted = (config.gateway, config.subnet);
        let is_wanted =
            |(_, address, subnet): &(u32, Ipv4Addr, Subnet)| (*address, *subnet) == wanted;
        let mut batch = Batch::new();
        for (_, address, subnet) in present.iter().filter(|one| own && !is_wanted(one)) {
            link::delete_address(&mut batch, index, *address, subnet.prefix());
        }
        if !present.iter().any(is_wanted) {
            link::add_address(&mut batch, index, config.gateway, config.subnet);
        }
        let up = Change {
            up: true,
            mtu: config.mtu.filter(|_| own),
            ..Change::default()
        };
        link::change(&mut batch, "set the bridge up", index, &up);
        let done = route.perform(batch).map_err(failed);
        drop(route);
        let done = done.and_then(|()| {
            switch_on(&format!("/proc/sys/net/ipv4/conf/{name}/route_localnet")).map(|_| ())
        });
        if let Err(error) = done {
            self.remove_bridge(name)?;
            return Err(error);
        }
        Ok(BridgeInfo {
            name: name.to_owned(),
            index,
            gateway: config.gateway,
            subnet: config.subnet,
            own,
        })
    }

    /// Removes a user network that no container is on. Removing twice is harmless.
    ///
    /// # Errors
    /// [`NetworkError::Firewall`], [`NetworkError::Link`].
    pub fn remove_segment(&self, id: &str, bridge: &str) -> Result<(), NetworkError> {
        let ports = lock(&self.ports);
        if let Some(segment) = lock(&self.others).remove(id) {
            let mut batch = Batch::transaction();
            nft::remove_member(&mut batch, &self.table, &segment.member);
            self.change_table(&ports, batch)?;
        }
        drop(ports);
        self.pass_docker()?;
        self.remove_bridge(bridge)
    }

    /// Removes a bridge that bears the mark. The kernel takes some 50 ms for it, in which it changes no other link: on
    /// a socket of its own, so that whoever wants nothing of it does not wait for this call's answer as well.
    fn remove_bridge(&self, name: &str) -> Result<(), NetworkError> {
        let mut route = Socket::route().map_err(|source| NetworkError::Socket { source })?;
        let ours = mark(&self.instance);
        let links = link::list(&mut route)?;
        for link in links
            .iter()
            .filter(|link| link.name == name && link.mac == Some(ours))
        {
            delete(&mut route, "remove a bridge", link)?;
        }
        Ok(())
    }

    /// Removes bridges that bear the mark and belong to no user network.
    pub(crate) fn remove_stray_bridges(&self, links: &[Link]) -> Result<(), NetworkError> {
        let ours = mark(&self.instance);
        let known: HashSet<u32> = self.segments().iter().map(|one| one.bridge.index).collect();
        let spared = lock(&self.spared).clone();
        let mut route = lock(&self.route);
        for link in links {
            let is_known = known.contains(&link.index) || spared.contains(&link.name);
            if link.is_bridge && link.mac == Some(ours) && !is_known {
                delete(&mut route, "remove a stray bridge", link)?;
            }
        }
        Ok(())
    }

    /// Every bridge, the engine's own first.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        let mut all = vec![Arc::clone(&self.home)];
        all.extend(lock(&self.others).values().cloned());
        all
    }

    /// The network of an endpoint.
    pub(crate) fn segment(&self, id: &str) -> Option<Arc<Segment>> {
        match id {
            crate::HOME => Some(Arc::clone(&self.home)),
            id => lock(&self.others).get(id).cloned(),
        }
    }
}

/// Deletes a link; that it is gone is no error.
fn delete(route: &mut Socket, what: &'static str, link: &Link) -> Result<(), NetworkError> {
    let mut batch = Batch::new();
    link::delete(&mut batch, what, link.index);
    match route.perform(batch) {
        Err(refused) if refused.errno() != libc::ENODEV => {
            Err(NetworkError::link(&link.name, refused))
        }
        _ => Ok(()),
    }
}
