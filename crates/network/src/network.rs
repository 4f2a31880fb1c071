//! The network of one engine: its bridge, its table, its addresses.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock};

use types::{ContainerId, InstanceId};

use crate::bridge::{self, BridgeInfo, HostView};
use crate::conntrack::{self, ForgetError};
use crate::endpoint::{Endpoint, HOME, MacAddr};
use crate::error::NetworkError;
use crate::link;
use crate::lock;
use crate::nft::{self, DroppingChain, Member};
use crate::port::Ports;
use crate::sandbox::{Sandbox, Site, veth_prefix};
use crate::segment::Segment;
use crate::setting::switch_on;
use crate::subnet::{HostAddress, Pools};
use sys::netlink::{Batch, Refused, Socket};

/// What the administrator decides about the network.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Part of the name of everything that is made.
    pub instance: InstanceId,
    /// A bridge that exists, to be used instead of one's own.
    pub bridge: Option<String>,
    /// The address that one's own bridge shall have.
    pub bip: Option<HostAddress>,
    /// Where bridges take their subnets from when nobody says.
    pub pools: Pools,
    /// The longest packet on the bridge, in bytes; the kernel's choice without one.
    pub mtu: Option<u32>,
    /// How many sandboxes [`Network::tend`] keeps ready.
    pub stock: usize,
}

/// What opening the network changed on the host that an administrator should read in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notes {
    /// `net.ipv4.ip_forward` was off and is on now.
    pub forwarding_switched_on: bool,
    /// The bridge was made, not found.
    pub bridge_made: bool,
}

/// A container's connection and its namespace.
#[derive(Debug)]
pub struct Attached {
    /// What to write down.
    pub endpoint: Endpoint,
    /// The container's network namespace. The veth lives as long as any copy of it, or a process inside.
    pub netns: OwnedFd,
}

/// The bridge networks of one engine: its own, and those that users make. All methods may be called from several threads at once.
#[derive(Debug)]
pub struct Network {
    pub(crate) instance: InstanceId,
    /// Where bridges take their subnets from.
    pub(crate) pools: Pools,
    /// The engine's own bridge.
    pub(crate) home: Arc<Segment>,
    /// User networks by their ids.
    pub(crate) others: Mutex<HashMap<String, Arc<Segment>>>,
    /// Bridges of user networks that could not be made use of: they stay, with the containers that are on them.
    pub(crate) spared: Mutex<HashSet<String>>,
    /// Name of the firewall's table.
    pub(crate) table: String,
    pub(crate) veth_prefix: String,
    pub(crate) route: Mutex<Socket>,
    /// The one netfilter socket for the daemon's life: closing one after a deletion takes 11 ms.
    pub(crate) netfilter: Mutex<Socket>,
    pub(crate) ports: Mutex<Ports>,
    /// Whether the host has IPv6.
    pub(crate) ipv6: OnceLock<bool>,
    stock: Mutex<VecDeque<Sandbox>>,
    stock_size: usize,
    notes: Notes,
}

impl Network {
    /// Finds or makes the bridge and the firewall's table, and switches forwarding on.
    ///
    /// A table that stands is left as it is, so that published ports go on: [`Network::recover`] brings it
    /// up to date.
    ///
    /// # Errors
    /// Those of the configuration ([`NetworkError::NoSuchBridge`] and its like), of the host
    /// ([`NetworkError::NoFreeSubnet`]) and of the kernel ([`NetworkError::MissingFeature`]).
    pub fn open(config: NetConfig) -> Result<Self, NetworkError> {
        let mut route = Socket::route().map_err(|source| NetworkError::Socket { source })?;
        let mut netfilter = Socket::netfilter().map_err(netfilter_missing)?;
        let host = HostView::look(&mut route, &config.pools)?;
        let plan = bridge::plan(
            &host,
            &config.instance,
            config.bridge.as_deref(),
            config.bip,
        )?;
        let bridge = bridge::apply(&plan, &config.instance, config.mtu, &mut route)?;
        let forwarding_switched_on = switch_on("/proc/sys/net/ipv4/ip_forward")?;
        let localnet = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", bridge.name);
        switch_on(&localnet)?;

        let table = format!("wharf-{}", config.instance);
        let home = Segment::home(bridge, config.mtu);
        if !nft::table_exists(&mut netfilter, &table)? {
            let batch = nft::install(
                &table,
                std::slice::from_ref(&home.member),
                std::iter::empty(),
            );
            netfilter
                .perform(batch)
                .map_err(|refused| table_refused(&table, refused))?;
        }
        Ok(Self {
            home,
            others: Mutex::default(),
            spared: Mutex::default(),
            ports: Mutex::default(),
            ipv6: OnceLock::new(),
            veth_prefix: veth_prefix(&config.instance),
            route: Mutex::new(route),
            netfilter: Mutex::new(netfilter),
            stock: Mutex::default(),
            stock_size: config.stock,
            notes: Notes {
                forwarding_switched_on,
                bridge_made: plan.makes_bridge(),
            },
            table,
            instance: config.instance,
            pools: config.pools,
        })
    }

    /// What [`Network::open`] changed on the host.
    pub fn notes(&self) -> Notes {
        self.notes
    }

    /// The longest packet on the bridge, in bytes, where somebody said so.
    pub fn mtu(&self) -> Option<u32> {
        self.home.mtu
    }

    /// The bridge in use.
    pub fn bridge_info(&self) -> &BridgeInfo {
        &self.home.bridge
    }

    /// Makes a sandbox that belongs to nobody yet. [`Network::take_sandbox`] is the one that uses the
    /// stock.
    ///
    /// # Errors
    /// [`NetworkError::Namespace`], [`NetworkError::Link`], [`NetworkError::MissingFeature`].
    pub fn new_sandbox(&self) -> Result<Sandbox, NetworkError> {
        Sandbox::make(self.site())
    }

    /// Puts a veth into a namespace that somebody else made, such as a container's own user namespace's.
    ///
    /// # Errors
    /// As [`Network::new_sandbox`].
    pub fn adopt(&self, netns: OwnedFd) -> Result<Sandbox, NetworkError> {
        Sandbox::adopt(self.site(), netns)
    }

    /// A sandbox out of the stock, or a new one when the stock is empty.
    ///
    /// # Errors
    /// As [`Network::new_sandbox`].
    pub fn take_sandbox(&self) -> Result<Sandbox, NetworkError> {
        let ready = lock(&self.stock).pop_front();
        match ready {
            Some(sandbox) => Ok(sandbox),
            None => self.new_sandbox(),
        }
    }

    /// Does what nobody waits for: fills the stock up and, when addresses become scarce, makes those that
    /// were given back free by forgetting their connections. To be called when the engine is idle, after starts and removals.
    ///
    /// # Errors
    /// As [`Network::new_sandbox`], and [`NetworkError::Conntrack`]. What was not done is done next time.
    pub fn tend(&self) -> Result<(), NetworkError> {
        let scarce = |one: &Arc<Segment>| lock(&one.addresses).are_scarce();
        if self.segments().iter().any(scarce) {
            self.settle_addresses()?;
        }
        while lock(&self.stock).len() < self.stock_size {
            let mut sandbox = self.new_sandbox()?;
            sandbox.warm(&self.route)?;
            // Every change of a link waits for the kernel's one lock for links, which the end of another namespace
            // holds for milliseconds: what can be done ahead is.
            if !lock(&self.home.addresses).are_scarce() {
                let address = self.take_address(&self.home, None)?;
                sandbox
                    .give_address(&self.home, address)
                    .inspect_err(|_| lock(&self.home.addresses).release(address))?;
            }
            lock(&self.stock).push_back(sandbox);
        }
        Ok(())
    }

    /// Makes the sandbox the container's: an address (this one, or the next), the default route, a port
    /// of the bridge.
    ///
    /// # Errors
    /// [`NetworkError::SubnetExhausted`], [`NetworkError::AddressTaken`],
    /// [`NetworkError::AddressOutside`], [`NetworkError::BridgeFull`], [`NetworkError::Link`]. Nothing
    /// is left behind then; the sandbox is gone too.
    pub fn attach(
        &self,
        mut sandbox: Sandbox,
        container: &ContainerId,
        address: Option<Ipv4Addr>,
    ) -> Result<Attached, NetworkError> {
        let address = match (sandbox.address(), address) {
            (Some(ahead), None) => ahead,
            (None, wanted) => self.take_address(&self.home, wanted)?,
            (Some(ahead), Some(wanted)) if ahead == wanted => ahead,
            (Some(ahead), Some(_)) => {
                // Its address is of no use here: another one, without.
                lock(&self.home.addresses).release(ahead);
                sandbox = self.new_sandbox()?;
                self.take_address(&self.home, address)?
            }
        };
        sandbox
            .settle(&self.route, &self.home, address)
            .inspect_err(|_| lock(&self.home.addresses).release(address))?;
        Ok(Attached {
            endpoint: Endpoint {
                container: container.clone(),
                network: HOME.to_owned(),
                address,
                prefix: self.home.bridge.subnet.prefix(),
                gateway: self.home.bridge.gateway,
                mac: MacAddr::of_ipv4(address),
                ipv6: None,
                veth: sandbox.veth,
            },
            netns: sandbox.netns,
        })
    }

    /// Gives the address back of a sandbox that is used without it, and the namespace with its veth.
    pub fn give_back(&self, sandbox: Sandbox) {
        if let Some(address) = sandbox.address() {
            lock(&self.home.addresses).release(address);
        }
    }

    /// Frees what others can see: the container's published ports, its tracked UDP flows, its address. The
    /// veth goes with the last descriptor of the namespace. Detaching twice is harmless.
    ///
    /// # Errors
    /// [`NetworkError::Firewall`], [`NetworkError::Conntrack`]: the ports may still be translated.
    pub fn detach(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let unpublished = self.unpublish(&endpoint.container);
        self.release(endpoint);
        unpublished
    }

    /// The same for an endpoint that has no published ports. It waits for nobody.
    pub fn release(&self, endpoint: &Endpoint) {
        if let Some(segment) = self.segment(&endpoint.network) {
            segment.release(endpoint.address, endpoint.ipv6);
        }
    }

    /// Chains of other tables that drop what they do not accept when it is forwarded: containers reach
    /// nobody, and nobody them, through such a chain. That of Docker's daemon is not among them where its own chain for
    /// rules of others lets them through.
    ///
    /// # Errors
    /// [`NetworkError::List`].
    pub fn dropping_chains(&self) -> Result<Vec<DroppingChain>, NetworkError> {
        let mut netfilter = lock(&self.netfilter);
        let mut chains = nft::dropping_chains(&mut netfilter)?;
        if self.segments().iter().all(|one| one.ipv6.is_none()) {
            chains.retain(|chain| chain.family != "ip6");
        }
        if chains.iter().any(DroppingChain::is_of_docker) && nft::has_docker_chain(&mut netfilter)?
        {
            let is_so =
                nft::accept(&mut netfilter, self.instance.as_str(), &self.bridges())?.is_none();
            chains.retain(|chain| !(is_so && chain.is_of_docker()));
        }
        Ok(chains)
    }

    /// Has the chain that Docker's daemon keeps for rules of others let this engine's bridges through, where there is such
    /// a chain. Whether something was changed.
    ///
    /// # Errors
    /// [`NetworkError::List`], [`NetworkError::Firewall`].
    pub fn pass_docker(&self) -> Result<bool, NetworkError> {
        self.pass_docker_for(&self.bridges())
    }

    fn pass_docker_for(&self, bridges: &[String]) -> Result<bool, NetworkError> {
        let mut netfilter = lock(&self.netfilter);
        if !nft::has_docker_chain(&mut netfilter)? {
            return Ok(false);
        }
        let Some(batch) = nft::accept(&mut netfilter, self.instance.as_str(), bridges)? else {
            return Ok(false);
        };
        self.perform_in_table(&mut netfilter, batch)?;
        Ok(true)
    }

    /// Names of all bridges.
    fn bridges(&self) -> Vec<String> {
        let segments = self.segments();
        segments.iter().map(|one| one.bridge.name.clone()).collect()
    }

    /// Removes the table, the bridges of user networks and the engine's own. For an engine whose containers are all gone. A bridge that has
    /// ports of somebody else, such as another engine that found it under a name it knows, stays.
    ///
    /// # Errors
    /// [`NetworkError::Firewall`], [`NetworkError::Link`]; the other part is removed all the same.
    pub fn tear_down(&self) -> Result<(), NetworkError> {
        lock(&self.stock).clear();
        let passed = self.pass_docker_for(&[]);
        let mut netfilter = lock(&self.netfilter);
        let table = match nft::table_exists(&mut netfilter, &self.table) {
            Ok(true) => self.perform_in_table(&mut netfilter, nft::remove(&self.table)),
            Ok(false) => Ok(()),
            Err(error) => Err(error.into()),
        };
        lock(&self.others).clear();
        let links = link::list(&mut lock(&self.route))?;
        self.remove_stray_bridges(&links)?;
        if self.home.bridge.own && !self.has_foreign_ports()? {
            let mut batch = Batch::new();
            link::delete(&mut batch, "remove the bridge", self.home.bridge.index);
            match lock(&self.route).perform(batch) {
                Err(refused) if refused.errno() != libc::ENODEV => {
                    return Err(NetworkError::link(&self.home.bridge.name, refused));
                }
                _ => {}
            }
        }
        passed?;
        table
    }

    /// Whether a link that is none of ours is a port of the bridge.
    fn has_foreign_ports(&self) -> Result<bool, NetworkError> {
        let links = link::list(&mut lock(&self.route))?;
        Ok(links.iter().any(|link| {
            link.master == Some(self.home.bridge.index) && !link.name.starts_with(&self.veth_prefix)
        }))
    }

    pub(crate) fn take_address(
        &self,
        segment: &Segment,
        wanted: Option<Ipv4Addr>,
    ) -> Result<Ipv4Addr, NetworkError> {
        if let Some(address) = wanted {
            // What is only kept ready gives way.
            let mut stock = lock(&self.stock);
            let before = stock.len();
            stock.retain(|sandbox| sandbox.address() != Some(address));
            let mut addresses = lock(&segment.addresses);
            if stock.len() < before {
                addresses.release(address);
            }
            addresses.claim(address)?;
            return Ok(address);
        }
        if let Some(address) = lock(&segment.addresses).take() {
            return Ok(address);
        }
        self.settle_addresses()?;
        lock(&segment.addresses)
            .take()
            .ok_or_else(|| NetworkError::SubnetExhausted {
                family: "IPv4",
                subnet: segment.bridge.subnet.to_string(),
            })
    }

    fn site(&self) -> Site<'_> {
        Site {
            host: &self.route,
            prefix: &self.veth_prefix,
        }
    }

    /// Forgets the connections of addresses that were given back, which makes them free.
    fn settle_addresses(&self) -> Result<(), NetworkError> {
        let segments = self.segments();
        let resting: Vec<HashSet<Ipv4Addr>> = segments
            .iter()
            .map(|one| lock(&one.addresses).resting())
            .collect();
        if resting.iter().all(HashSet::is_empty) {
            return Ok(());
        }
        self.forget_flows_of(|address| resting.iter().any(|some| some.contains(&address)))?;
        for (segment, forgotten) in segments.iter().zip(&resting) {
            lock(&segment.addresses).settle(forgotten);
        }
        Ok(())
    }

    /// What the table holds of bridges.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.segments()
            .iter()
            .map(|one| one.member.clone())
            .collect()
    }

    /// Forgets the tracked connections of addresses.
    pub(crate) fn forget_flows_of(
        &self,
        is_gone: impl Fn(Ipv4Addr) -> bool,
    ) -> Result<(), NetworkError> {
        conntrack::forget_flows_of(&mut lock(&self.netfilter), is_gone).map_err(conntrack_refused)
    }

    pub(crate) fn perform_in_table(
        &self,
        netfilter: &mut Socket,
        batch: Batch,
    ) -> Result<(), NetworkError> {
        netfilter
            .perform(batch)
            .map_err(|refused| table_refused(&self.table, refused))
    }
}

fn netfilter_missing(source: std::io::Error) -> NetworkError {
    match source.raw_os_error() {
        Some(libc::EPROTONOSUPPORT) => NetworkError::MissingFeature {
            feature: "CONFIG_NETFILTER_NETLINK",
            source,
        },
        _ => NetworkError::Socket { source },
    }
}

/// A kernel without nftables or one of its parts answers with these numbers.
fn table_refused(table: &str, refused: Refused) -> NetworkError {
    let feature = match (refused.errno(), refused.what) {
        (libc::EINVAL | libc::EOPNOTSUPP | libc::EAFNOSUPPORT, "make the table") => {
            "CONFIG_NF_TABLES_INET"
        }
        (libc::ENOENT | libc::EOPNOTSUPP, "make a chain") => "CONFIG_NFT_NAT",
        (libc::ENOENT, what) if what.starts_with("translate") => "CONFIG_NFT_FIB_INET",
        (libc::ENOENT, what) if what.starts_with("masquerade") => "CONFIG_NFT_MASQ",
        (libc::ENOENT, what) if what.starts_with("accept") => "CONFIG_NFT_CT",
        _ => {
            return NetworkError::Firewall {
                action: refused.what,
                table: table.to_owned(),
                source: refused.source,
            };
        }
    };
    NetworkError::MissingFeature {
        feature,
        source: refused.source,
    }
}

pub(crate) fn conntrack_refused(error: ForgetError) -> NetworkError {
    match error {
        ForgetError::List(error) => error.into(),
        ForgetError::Refused(refused) => NetworkError::Conntrack {
            source: refused.source,
        },
    }
}
