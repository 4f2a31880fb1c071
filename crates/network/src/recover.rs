//! What a new daemon does about the network of the one before.

use std::collections::{HashMap, HashSet};

use types::ContainerId;

use crate::endpoint::Endpoint;
use crate::error::NetworkError;
use crate::link::{self, Change, Link};
use crate::lock;
use crate::network::Network;
use crate::port::Binding;
use sys::netlink::Batch;

/// A container that lived on without a daemon, as its row says.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its connection.
    pub endpoint: Endpoint,
    /// Its published ports; their reservations are held by its shim.
    pub bindings: Vec<Binding>,
}

/// A living container whose connection does not fit what the network is today.
#[derive(Debug)]
pub struct Stranded {
    /// The container; it has no published port any more, and may reach nobody, until it is started anew.
    pub container: ContainerId,
    /// What does not fit: [`NetworkError::AddressOutside`], [`NetworkError::AddressTaken`] or
    /// [`NetworkError::NoSuchSegment`].
    pub why: NetworkError,
}

impl Network {
    /// Takes over what these containers have and removes what is nobody's: ports in the table, tracked
    /// connections of the subnets, veths, bridges. To be called once, after
    /// [`Network::add_segment`] for each user network and before the first [`Network::attach`].
    ///
    /// The table is replaced in one transaction, so a published port that stays published loses nothing. Containers
    /// whose address is not of the bridge's subnet (another one was asked for meanwhile) are told and left as they are.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn recover(&self, live: &[Live]) -> Result<Vec<Stranded>, NetworkError> {
        let mut ports = lock(&self.ports);
        let mut stranded = Vec::new();
        let mut fitting = Vec::new();
        for container in live {
            let Live { endpoint, bindings } = container;
            let claimed = match self.segment(&endpoint.network) {
                Some(segment) => segment.claim(endpoint.address, endpoint.ipv6),
                None => Err(NetworkError::NoSuchSegment {
                    id: endpoint.network.clone(),
                }),
            };
            if let Err(why) = claimed {
                stranded.push(Stranded {
                    container: endpoint.container.clone(),
                    why,
                });
                continue;
            }
            for binding in bindings {
                ports.add(&endpoint.container, endpoint.address, *binding);
            }
            fitting.push(container);
        }
        self.reinstall(&mut lock(&self.netfilter), &ports)?;
        drop(ports);
        self.forget_the_dead(live)?;
        let links = link::list(&mut lock(&self.route))?;
        self.remove_strays(live, &links)?;
        self.remove_stray_bridges(&links)?;
        self.rejoin(&fitting, &links)?;
        Ok(stranded)
    }

    /// Puts veths back into a bridge that somebody removed and that was made anew.
    fn rejoin(&self, live: &[&Live], links: &[Link]) -> Result<(), NetworkError> {
        let by_name: HashMap<&str, &Link> = links
            .iter()
            .map(|link| (link.name.as_str(), link))
            .collect();
        for Live { endpoint, bindings } in live {
            let Some(segment) = self.segment(&endpoint.network) else {
                continue;
            };
            let master = Some(segment.bridge.index);
            let Some(lost) = by_name
                .get(endpoint.veth.as_str())
                .filter(|link| link.master != master)
            else {
                continue;
            };
            let back = Change {
                up: true,
                master,
                ..Change::default()
            };
            let mut batch = Batch::new();
            link::change(
                &mut batch,
                "put a veth back into the bridge",
                lost.index,
                &back,
            );
            if !segment.member.among {
                link::isolate(&mut batch, &lost.name);
            }
            if !bindings.is_empty() {
                link::allow_hairpin(&mut batch, &lost.name);
            }
            match lock(&self.route).perform(batch) {
                // Its container is just ending.
                Err(refused) if refused.errno() != libc::ENODEV => {
                    return Err(NetworkError::link(&lost.name, refused));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets connections of addresses in the subnets that no living container has.
    fn forget_the_dead(&self, live: &[Live]) -> Result<(), NetworkError> {
        let mut alive: HashSet<_> = live.iter().map(|live| live.endpoint.address).collect();
        let segments = self.segments();
        alive.extend(segments.iter().map(|one| one.bridge.gateway));
        let subnets: Vec<_> = segments.iter().map(|one| one.bridge.subnet).collect();
        self.forget_flows_of(|address| {
            !alive.contains(&address) && subnets.iter().any(|subnet| subnet.contains(address))
        })
    }

    /// Removes veths of this instance that no living container has. Mostly there are none: they went with
    /// the dead daemon's descriptors.
    fn remove_strays(&self, live: &[Live], links: &[Link]) -> Result<(), NetworkError> {
        let known: HashSet<_> = live.iter().map(|l| l.endpoint.veth.as_str()).collect();
        let mut route = lock(&self.route);
        let strays = links.iter().filter(|link| {
            link.name.starts_with(&self.veth_prefix)
                && link.name.len() == VETH_NAME
                && !link.is_bridge
                && !known.contains(link.name.as_str())
        });
        for stray in strays {
            let mut batch = Batch::new();
            link::delete(&mut batch, "remove a stray veth", stray.index);
            match route.perform(batch) {
                // It was on its way out already.
                Err(refused) if refused.errno() != libc::ENODEV => {
                    return Err(NetworkError::link(&stray.name, refused));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Length of every veth's name.
const VETH_NAME: usize = 15;
