//! What a new daemon does about the network of the one before.

use std::collections::HashSet;

use crate::endpoint::Endpoint;
use crate::error::NetworkError;
use crate::link;
use crate::lock;
use crate::netlink::Batch;
use crate::network::Network;
use crate::port::Binding;

/// A container that lived on without a daemon, as its row says.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its connection.
    pub endpoint: Endpoint,
    /// Its published ports; their reservations are held by its shim.
    pub bindings: Vec<Binding>,
}

impl Network {
    /// Takes over what these containers have and removes what is nobody's: ports in the table, tracked
    /// connections of the subnet, veths. To be called once, before the first [`Network::attach`].
    ///
    /// The table is replaced in one transaction, so a published port that stays published loses nothing.
    ///
    /// # Errors
    /// [`NetworkError::AddressOutside`] and [`NetworkError::AddressTaken`] when rows contradict each
    /// other or the bridge, and those of the kernel.
    pub fn recover(&self, live: &[Live]) -> Result<(), NetworkError> {
        let mut ports = lock(&self.ports);
        for Live { endpoint, bindings } in live {
            lock(&self.addresses).claim(endpoint.address)?;
            for binding in bindings {
                ports.add(&endpoint.container, endpoint.address, *binding);
            }
        }
        self.reinstall(&mut lock(&self.netfilter), &ports)?;
        drop(ports);
        self.forget_the_dead(live)?;
        self.remove_strays(live)
    }

    /// Forgets connections of addresses in the subnet that no living container has.
    fn forget_the_dead(&self, live: &[Live]) -> Result<(), NetworkError> {
        let mut alive: HashSet<_> = live.iter().map(|live| live.endpoint.address).collect();
        alive.insert(self.bridge.gateway);
        let subnet = self.bridge.subnet;
        self.forget_flows_of(|address| subnet.contains(address) && !alive.contains(&address))
    }

    /// Removes veths of this instance that no living container has. Mostly there are none: they went with
    /// the dead daemon's descriptors.
    fn remove_strays(&self, live: &[Live]) -> Result<(), NetworkError> {
        let known: HashSet<_> = live.iter().map(|l| l.endpoint.veth.as_str()).collect();
        let mut route = lock(&self.route);
        let links = link::list(&mut route)?;
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
