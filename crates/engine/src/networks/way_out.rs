//! By which network a container that runs reaches the world, and where its published ports lead.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use network::{Binding, Endpoint, HOME};

use super::Found;
use super::places::{self, Place, Wanted};
use crate::containers::publish::binding_of;
use crate::containers::record::{PublishedRecord, Run};
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// The ports of a container that runs.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// Those that lead to it.
    pub(super) published: Vec<PublishedRecord>,
    /// Those that wait for a network that leads out.
    pub(super) parked: Vec<PublishedRecord>,
    /// Sockets that keep ports from others which nobody holds yet.
    pub(super) reservations: Vec<OwnedFd>,
    /// Whether they are published for the first time in this run.
    is_first: bool,
}

/// A place by which a container reaches the world.
#[derive(Debug, Clone)]
pub(crate) struct WayOut {
    pub(crate) endpoint: Endpoint,
    /// The link's name inside.
    pub(crate) interface: String,
    /// Where ports are published that name no address of the host.
    host_ip: Ipv4Addr,
}

impl Engine {
    /// Sets the default route and where published ports lead, as they are to be with these places.
    pub(super) fn follow_way_out(
        &self,
        container: &Container,
        netns: &OwnedFd,
        after: &Run,
        wanted: &Wanted,
    ) -> Result<Ports> {
        let network = self.inner().network.as_ref().ok_or(EngineError::Closing)?;
        let places = self.places_by(container, after, wanted);
        let with_ipv6 = places.iter().filter(|(_, way)| way.endpoint.ipv6.is_some());
        let way6 = way_by(&places, places::way_out(with_ipv6.map(|(place, _)| place)));
        // One that is left needs no care: its route goes with its link.
        if let Some((way, ipv6)) = way6.and_then(|way| Some((way, way.endpoint.ipv6?)))
            && let Err(error) =
                network.set_ipv6_gateway(netns.as_fd(), (&way.interface, ipv6.gateway))
        {
            // Whoever is in the container may have turned it off.
            tracing::warn!(%error, container = container.id().short(), "a container has no way out by IPv6");
        }
        let way = way_by(
            &places,
            places::way_out(places.iter().map(|(place, _)| place)),
        );
        let route = way.map(|way| (way.interface.as_str(), way.endpoint.gateway));
        network.set_gateway(netns.as_fd(), route)?;
        let all: Vec<PublishedRecord> = after
            .published
            .iter()
            .chain(&after.parked)
            .copied()
            .collect();
        let Some(WayOut {
            endpoint, host_ip, ..
        }) = way
        else {
            if !all.is_empty() {
                self.lead_doors(container.id(), None, after)?;
                network.unpublish(container.id())?;
            }
            return Ok(Ports {
                parked: all,
                ..Ports::default()
            });
        };
        if all.is_empty() {
            // It was started without a network that leads out.
            let (published, reservations) = self.publish_ports(container, endpoint, *host_ip)?;
            return Ok(Ports {
                published,
                reservations,
                is_first: true,
                ..Ports::default()
            });
        }
        if after.parked.is_empty() {
            network.move_ports(endpoint)?;
        } else {
            let bindings: Vec<Binding> = all.iter().map(binding_of).collect();
            network.publish_again(endpoint, &bindings)?;
        }
        self.lead_doors(container.id(), Some(endpoint.address), after)?;
        Ok(Ports {
            published: all,
            ..Ports::default()
        })
    }

    /// Takes ports back that were published for the first time in this run.
    pub(super) fn unpublish_running(&self, container: &Container, ports: &Ports) -> Result<()> {
        if !ports.is_first || ports.published.is_empty() {
            return Ok(());
        }
        if ports.published.iter().any(|port| port.host_ip.is_ipv6()) {
            self.close_doors(container.id());
        }
        match &self.inner().network {
            Some(network) => Ok(network.unpublish(container.id())?),
            None => Ok(()),
        }
    }

    /// The place of a container that runs by which it reaches the world.
    pub(crate) fn way_out_of(
        &self,
        container: &Container,
        run: &Run,
        wanted: &Wanted,
    ) -> Option<WayOut> {
        let places = self.places_by(container, run, wanted);
        let place = places::way_out(places.iter().map(|(place, _)| place));
        way_by(&places, place).cloned()
    }

    /// The places of a container that runs, each with the way that would be by it.
    fn places_by(&self, container: &Container, run: &Run, wanted: &Wanted) -> Vec<(Place, WayOut)> {
        let settings = |found: &Found| {
            let known = wanted.iter().find(|(key, _)| self.is_key_of(key, found));
            known
                .map(|(_, settings)| settings.clone())
                .unwrap_or_default()
        };
        let mut all: Vec<(Place, WayOut)> = Vec::new();
        if let Some(record) = &run.endpoint {
            let place = Place {
                name: "bridge".to_owned(),
                doc: None,
                settings: settings(&Found::BuiltIn("bridge")),
            };
            let interface = match run.home_interface.as_str() {
                "" => "eth0",
                name => name,
            };
            let way = WayOut {
                endpoint: places::place_endpoint(container, HOME, record),
                interface: interface.to_owned(),
                host_ip: self.config().host_ip,
            };
            all.push((place, way));
        }
        for joined in &run.joined {
            let Some(doc) = self.inner().networks.get(&joined.network) else {
                continue;
            };
            let way = WayOut {
                endpoint: places::endpoint(container, joined),
                interface: joined.interface.clone(),
                host_ip: doc.host_ip,
            };
            let place = Place {
                name: doc.name.clone(),
                settings: settings(&Found::Made(Arc::clone(&doc))),
                doc: Some(doc),
            };
            all.push((place, way));
        }
        all
    }
}

/// The way by this place.
fn way_by<'a>(places: &'a [(Place, WayOut)], place: Option<&Place>) -> Option<&'a WayOut> {
    let name = &place?.name;
    let mut places = places.iter();
    places
        .find(|(one, _)| one.name == *name)
        .map(|(_, way)| way)
}
