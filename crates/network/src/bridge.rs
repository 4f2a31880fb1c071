//! Which bridge the containers are on, and how it comes to be.
//!
//! What to do follows from what the host has ([`HostView`]) and what was asked for ([`plan`], a pure
//! function); [`apply`] does it. A bridge is the engine's own when its Ethernet address is `02:57`
//! followed by the four bytes of the instance id: a mark that is there from the moment it is made.

use std::net::Ipv4Addr;

use types::InstanceId;

use crate::endpoint::MacAddr;
use crate::error::NetworkError;
use crate::link::{self, Change, Link};
use crate::setting;
use crate::subnet::{HostAddress, Pools, Subnet};
use sys::netlink::{Batch, Socket};

/// The name that is taken when nobody has it, since scripts look for it.
const FAVOURITE_NAME: &str = "docker0";

/// The bridge in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeInfo {
    /// Its name.
    pub name: String,
    /// Its index in the host's network namespace.
    pub index: u32,
    /// Its address: the containers' gateway.
    pub gateway: Ipv4Addr,
    /// The subnet of the containers.
    pub subnet: Subnet,
    /// Whether the engine made it, and so may change and remove it.
    pub own: bool,
}

/// The parts of the host's network that matter here.
#[derive(Debug, Default)]
pub(crate) struct HostView {
    pub(crate) links: Vec<Link>,
    pub(crate) addresses: Vec<(u32, Ipv4Addr, Subnet)>,
    /// Subnets of the pool's surroundings that somebody has a route to or an address in.
    pub(crate) taken: Vec<Subnet>,
    /// Where bridges take their subnets from.
    pub(crate) pools: Pools,
}

impl HostView {
    pub(crate) fn look(route: &mut Socket, pools: &Pools) -> Result<Self, NetworkError> {
        let links = link::list(route)?;
        let addresses = link::list_addresses(route)?;
        let mut taken: Vec<_> = addresses.iter().map(|(_, _, subnet)| *subnet).collect();
        // A host may have a million routes: those far away are not kept.
        link::list_routes(route, |destination| {
            if pools.overlap(destination) {
                taken.push(destination);
            }
        })?;
        Ok(Self {
            links,
            addresses,
            taken,
            pools: pools.clone(),
        })
    }

    fn free_subnet(&self) -> Result<Subnet, NetworkError> {
        let found = self.pools.first_free(&self.taken);
        found.ok_or(NetworkError::NoFreeSubnet)
    }

    fn addresses_of(&self, index: u32) -> impl Iterator<Item = HostAddress> {
        self.addresses
            .iter()
            .filter(move |(owner, _, _)| *owner == index)
            .map(|(_, address, subnet)| HostAddress {
                address: *address,
                subnet: *subnet,
            })
    }
}

/// What makes the host have the bridge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) name: String,
    /// Index of the bridge if there is one.
    existing: Option<u32>,
    own: bool,
    set_up: bool,
    address: HostAddress,
    add_address: bool,
    remove: Vec<HostAddress>,
}

impl Plan {
    /// Whether there is no bridge yet.
    pub(crate) fn makes_bridge(&self) -> bool {
        self.existing.is_none()
    }
}

/// Decides on the bridge and its address.
///
/// `bridge` names one that the administrator made; `bip` is the address that the engine's own shall have.
pub(crate) fn plan(
    host: &HostView,
    instance: &InstanceId,
    bridge: Option<&str>,
    bip: Option<HostAddress>,
) -> Result<Plan, NetworkError> {
    if let Some(name) = bridge {
        return use_given(host, name, bip);
    }
    let mac = own_mac(instance);
    let own = host
        .links
        .iter()
        .find(|link| link.is_bridge && link.mac == Some(mac));
    match own {
        Some(link) => reuse(host, link, bip),
        None => make(host, instance, bip),
    }
}

fn use_given(host: &HostView, name: &str, bip: Option<HostAddress>) -> Result<Plan, NetworkError> {
    let name = name.to_owned();
    if bip.is_some() {
        return Err(NetworkError::BridgeAndAddress { bridge: name });
    }
    let Some(link) = host.links.iter().find(|link| link.name == name) else {
        return Err(NetworkError::NoSuchBridge { name });
    };
    if !link.is_bridge {
        return Err(NetworkError::NotOurBridge { name });
    }
    let Some(address) = host.addresses_of(link.index).next() else {
        return Err(NetworkError::BridgeWithoutAddress { name });
    };
    Ok(Plan {
        name,
        existing: Some(link.index),
        own: false,
        set_up: !link.up,
        address,
        add_address: false,
        remove: Vec::new(),
    })
}

fn reuse(host: &HostView, link: &Link, bip: Option<HostAddress>) -> Result<Plan, NetworkError> {
    let present: Vec<_> = host.addresses_of(link.index).collect();
    let address = match (bip, present.first()) {
        (Some(wanted), _) => wanted,
        (None, Some(first)) => *first,
        (None, None) => gateway_of(host.free_subnet()?),
    };
    Ok(Plan {
        name: link.name.clone(),
        existing: Some(link.index),
        own: true,
        set_up: !link.up,
        address,
        add_address: !present.contains(&address),
        remove: present
            .into_iter()
            .filter(|other| bip.is_some() && *other != address)
            .collect(),
    })
}

fn make(
    host: &HostView,
    instance: &InstanceId,
    bip: Option<HostAddress>,
) -> Result<Plan, NetworkError> {
    let is_free = |name: &str| !host.links.iter().any(|link| link.name == name);
    let address = match bip {
        Some(wanted) => wanted,
        None => gateway_of(host.free_subnet()?),
    };
    let favourite = bip.is_some() || host.pools.first_free(&[]) == Some(address.subnet);
    let name = if favourite && is_free(FAVOURITE_NAME) {
        FAVOURITE_NAME.to_owned()
    } else {
        format!("wh{instance}")
    };
    if !is_free(&name) {
        return Err(NetworkError::NotOurBridge { name });
    }
    Ok(Plan {
        name,
        existing: None,
        own: true,
        set_up: false,
        address,
        add_address: true,
        remove: Vec::new(),
    })
}

fn gateway_of(subnet: Subnet) -> HostAddress {
    HostAddress {
        address: subnet.first_host(),
        subnet,
    }
}

/// The Ethernet address that marks the engine's own bridge.
pub(crate) fn own_mac(instance: &InstanceId) -> MacAddr {
    let id = u32::from_str_radix(instance.as_str(), 16).unwrap_or_default();
    let [a, b, c, d] = id.to_be_bytes();
    MacAddr([0x02, 0x57, a, b, c, d])
}

/// Carries the plan out.
pub(crate) fn apply(
    plan: &Plan,
    instance: &InstanceId,
    mtu: Option<u32>,
    route: &mut Socket,
) -> Result<BridgeInfo, NetworkError> {
    let failed = |refused| NetworkError::link(&plan.name, refused);
    let index = match plan.existing {
        Some(index) => index,
        None => {
            let mut batch = Batch::new();
            link::add_bridge(&mut batch, &plan.name, own_mac(instance));
            route
                .perform(batch)
                .map_err(|refused| match refused.errno() {
                    libc::EOPNOTSUPP => NetworkError::MissingFeature {
                        feature: "CONFIG_BRIDGE",
                        source: refused.source,
                    },
                    _ => failed(refused),
                })?;
            route
                .index_of(&plan.name)
                .map_err(|source| NetworkError::Link {
                    action: "find the bridge",
                    object: plan.name.clone(),
                    source,
                })?
        }
    };
    if plan.own {
        setting::without_ipv6(&plan.name)?;
    }
    let mut batch = Batch::new();
    for old in &plan.remove {
        link::delete_address(&mut batch, index, old.address, old.subnet.prefix());
    }
    if plan.add_address {
        link::add_address(&mut batch, index, plan.address.address, plan.address.subnet);
    }
    if plan.set_up || (plan.own && mtu.is_some()) {
        let up = Change {
            up: true,
            mtu: mtu.filter(|_| plan.own),
            ..Change::default()
        };
        link::change(&mut batch, "set the bridge up", index, &up);
    }
    route.perform(batch).map_err(failed)?;
    Ok(BridgeInfo {
        name: plan.name.clone(),
        index,
        gateway: plan.address.address,
        subnet: plan.address.subnet,
        own: plan.own,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> InstanceId {
        "0a1b2c3d".parse().unwrap()
    }

    fn bridge(index: u32, name: &str, mac: Option<MacAddr>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            is_bridge: true,
            mac,
            up: true,
            master: None,
        }
    }

    fn host_address(text: &str) -> HostAddress {
        text.parse().unwrap()
    }

    fn with_address(mut host: HostView, index: u32, text: &str) -> HostView {
        let HostAddress { address, subnet } = host_address(text);
        host.addresses.push((index, address, subnet));
        host.taken.push(subnet);
        host
    }

    #[test]
    fn an_empty_host_gets_the_favourite() {
        let plan = plan(&HostView::default(), &instance(), None, None).unwrap();
        assert_eq!(plan.name, "docker0");
        assert_eq!(plan.address, host_address("172.17.0.1/16"));
        assert!(plan.existing.is_none() && plan.add_address && plan.own);
    }

    #[test]
    fn beside_another_engine_name_and_subnet_are_one_s_own() {
        let host = HostView {
            links: vec![bridge(3, "docker0", None)],
            ..HostView::default()
        };
        let host = with_address(host, 3, "172.17.0.1/16");
        let plan = plan(&host, &instance(), None, None).unwrap();
        assert_eq!(plan.name, "wh0a1b2c3d");
        assert_eq!(plan.address, host_address("172.18.0.1/16"));
    }

    #[test]
    fn a_route_to_the_favourite_subnet_is_enough_to_leave_it() {
        let host = with_address(HostView::default(), 9, "172.17.8.1/24");
        let plan = plan(&host, &instance(), None, None).unwrap();
        assert_eq!(plan.name, "wh0a1b2c3d");
        assert_eq!(plan.address, host_address("172.18.0.1/16"));
    }

    #[test]
    fn one_s_own_bridge_is_reused_whatever_its_name() {
        let host = HostView {
            links: vec![bridge(4, "docker0", Some(own_mac(&instance())))],
            ..HostView::default()
        };
        let host = with_address(host, 4, "172.17.0.1/16");
        let kept = plan(&host, &instance(), None, None).unwrap();
        assert_eq!((kept.existing, kept.add_address), (Some(4), false));
        assert_eq!(kept.address, host_address("172.17.0.1/16"));

        let moved = plan(&host, &instance(), None, Some(host_address("10.9.0.1/24"))).unwrap();
        assert!(moved.add_address);
        assert_eq!(moved.remove, [host_address("172.17.0.1/16")]);
    }

    #[test]
    fn another_instance_s_bridge_is_left_alone() {
        let other: InstanceId = "ffffffff".parse().unwrap();
        let host = HostView {
            links: vec![bridge(4, "docker0", Some(own_mac(&other)))],
            ..HostView::default()
        };
        let plan = plan(&host, &instance(), None, None).unwrap();
        assert_eq!(plan.name, "wh0a1b2c3d");
    }

    #[test]
    fn a_given_bridge_must_be_one_and_have_an_address() {
        let mut dummy = bridge(6, "dummy0", None);
        dummy.is_bridge = false;
        let host = HostView {
            links: vec![bridge(5, "br0", None), dummy],
            ..HostView::default()
        };
        let refuse = |host: &HostView, name| plan(host, &instance(), Some(name), None).unwrap_err();
        assert!(matches!(
            refuse(&host, "br1"),
            NetworkError::NoSuchBridge { .. }
        ));
        assert!(matches!(
            refuse(&host, "dummy0"),
            NetworkError::NotOurBridge { .. }
        ));
        assert!(matches!(
            refuse(&host, "br0"),
            NetworkError::BridgeWithoutAddress { .. }
        ));

        let host = with_address(host, 5, "10.1.0.1/24");
        let given = plan(&host, &instance(), Some("br0"), None).unwrap();
        assert!(!given.own && !given.add_address);
        let both = plan(
            &host,
            &instance(),
            Some("br0"),
            Some(host_address("10.2.0.1/24")),
        );
        assert!(matches!(both, Err(NetworkError::BridgeAndAddress { .. })));
    }

    #[test]
    fn no_room_is_said_by_name() {
        let host = HostView {
            taken: vec![Subnet::containing([128, 0, 0, 0].into(), 1).unwrap()],
            ..HostView::default()
        };
        let error = plan(&host, &instance(), None, None).unwrap_err();
        assert!(matches!(error, NetworkError::NoFreeSubnet));
        assert!(
            plan(
                &host,
                &instance(),
                None,
                Some(host_address("172.20.0.1/16"))
            )
            .is_ok()
        );
    }
}
