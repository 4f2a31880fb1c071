//! Published ports of IPv6 addresses: their sockets are opened here and read by the helper (role `net`), which carries on
//! what arrives.
//!
//! A socket has one owner, the helper: nobody else keeps a copy, so that a port is closed when the helper says so, and one
//! that died leaves none behind.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use net::HelperError;
use net::protocol::{DOORS, Door, Protocol, Request, fingerprint};
use network::Binding;
use types::ContainerId;

use crate::containers::publish::binding_of;
use crate::containers::record::Run;
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::outcome::Result;

/// How often a helper is made that ends before it has taken everything over.
const ATTEMPTS: usize = 3;

/// The helper's form of a port that it reads.
fn door(binding: &Binding) -> Option<Door> {
    match binding.host_ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(Door {
            protocol: match binding.protocol {
                network::Protocol::Tcp => Protocol::Tcp,
                network::Protocol::Udp => Protocol::Udp,
            },
            host: SocketAddrV6::new(address, binding.host_port, 0, 0),
            port: binding.container_port,
        }),
    }
}

fn doors_of(run: &Run) -> Vec<(Binding, Door)> {
    let bindings = run.doors().map(binding_of);
    bindings
        .filter_map(|binding| Some((binding, door(&binding)?)))
        .collect()
}

impl Engine {
    /// Makes the helper ahead of a start that will need it, where the host has IPv6.
    pub(crate) fn expect_doors(&self) {
        let has_ipv6 = self
            .inner()
            .network
            .as_ref()
            .is_some_and(|one| one.has_ipv6());
        if has_ipv6
            && self.config().userland_proxy
            && let Err(error) = self.ensure_helper()
        {
            // The start tells.
            tracing::debug!(%error, "the helper for ports was not made ahead");
        }
    }

    fn ensure_helper(&self) -> Result<()> {
        if self.inner().names.helper.ensure()? {
            self.inner().names.made.notify_one();
        }
        Ok(())
    }

    /// Hands sockets over at which a container is reached from now on, at this address of its own.
    ///
    /// # Errors
    /// [`EngineError::Names`](crate::outcome::EngineError::Names) when there is no helper; then none of the container's is
    /// read.
    pub(crate) fn open_doors(
        &self,
        id: &ContainerId,
        target: Option<Ipv4Addr>,
        sockets: &[(Binding, OwnedFd)],
    ) -> Result<()> {
        if sockets.is_empty() {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            self.ensure_helper()?;
            let outcome = sockets
                .chunks(DOORS)
                .try_for_each(|some| self.open_some(id, target, some));
            match outcome {
                // It died meanwhile, and so did its copies.
                Err(HelperError::Io { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => {
                    self.close_doors(id);
                    return Err(error.into());
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    fn open_some(
        &self,
        id: &ContainerId,
        target: Option<Ipv4Addr>,
        sockets: &[(Binding, OwnedFd)],
    ) -> std::result::Result<(), HelperError> {
        let names = &self.inner().names;
        let request = Request::Open {
            generation: names.generation.load(Ordering::Relaxed),
            id: id.to_string(),
            target,
            doors: sockets.iter().filter_map(|(one, _)| door(one)).collect(),
        };
        let descriptors: Vec<_> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
        names.helper.ask(&request, &descriptors).map(drop)
    }

    /// Closes what a container is reached at: nobody gets through once this returns, and the ports are free.
    pub(crate) fn close_doors(&self, id: &ContainerId) {
        let id = id.to_string();
        if let Err(error) = self.inner().names.helper.ask(&Request::Close { id }, &[]) {
            // One that is gone has closed everything.
            tracing::debug!(%error, "the helper for ports was not told of an end");
        }
    }

    /// Has a container's doors lead to another address of its own, or nowhere.
    ///
    /// # Errors
    /// As [`Engine::open_doors`], and when a helper that died cannot be followed since somebody has a port by now.
    pub(crate) fn lead_doors(
        &self,
        id: &ContainerId,
        target: Option<Ipv4Addr>,
        run: &Run,
    ) -> Result<()> {
        let doors = doors_of(run);
        if doors.is_empty() {
            return Ok(());
        }
        self.ensure_helper()?;
        let names = &self.inner().names;
        let request = Request::Lead {
            generation: names.generation.load(Ordering::Relaxed),
            id: id.to_string(),
            target,
            print: fingerprint(doors.iter().map(|(_, door)| door)),
        };
        match names.helper.ask(&request, &[]) {
            Ok(true) => return Ok(()),
            // It knows nothing of them, or something else.
            Ok(false) => self.close_doors(id),
            Err(HelperError::Io { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let Some(network) = &self.inner().network else {
            return Ok(());
        };
        let sockets: Vec<_> = doors
            .iter()
            .map(|(binding, _)| Ok((*binding, network.open_again(binding)?)))
            .collect::<Result<_>>()?;
        self.open_doors(id, target, &sockets)
    }

    /// Has the helper read what a container that runs is reached at, as it is to be by its row.
    pub(crate) fn keep_doors(&self, container: &Container) {
        let run = container.run();
        if run.doors().next().is_none() || !run.status.is_up() {
            return;
        }
        let wanted = super::places::wanted(&container.spec, &run);
        let way = match run.published.is_empty() {
            true => None,
            false => self.way_out_of(container, &run, &wanted),
        };
        let target = way.map(|way| way.endpoint.address);
        if let Err(error) = self.lead_doors(container.id(), target, &run) {
            tracing::warn!(%error, container = container.id().short(), "a container is not reached at its ports of IPv6 addresses");
        }
        // An end does not wait for this: it shows before the helper is told of it.
        if container.run().doors().next().is_none() {
            self.close_doors(container.id());
        }
    }
}
