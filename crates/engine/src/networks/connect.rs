//! Connecting a container to a network and disconnecting it, whether it runs or not.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use api_types::{EndpointSettings, Event};
use network::{Endpoint, HOME};
use shim::ShimError;
use shim::protocol::{Refusal, Request};

use super::places::{self, Place, Taken, Wanted};
use super::way_out::Ports;
use super::{Found, built_in_id};
use crate::containers::record::{JoinedRecord, Run, Status};
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::events;
use crate::neighbour::Neighbour;
use crate::outcome::{EngineError, Result};
use crate::store::rows;

const OF_HOST: &str =
    "container cannot be disconnected from host network or connected to host network";
const SHARED: &str = "container sharing network namespace with another container or host cannot be connected to any other network";
const DISABLED: &str = "container without a network (NetworkDisabled) cannot be connected to any";
const ALONE: &str = "container cannot be connected to multiple networks with one of the networks in private (none) mode";

impl Engine {
    /// Connects a container to a network: at once if it runs, else at its next start.
    ///
    /// # Errors
    /// Docker's sentences for modes that contradict it, for a network that it is on, and for addresses that it can not
    /// have.
    pub async fn network_connect(
        &self,
        network: &str,
        container: &str,
        settings: EndpointSettings,
    ) -> Result<()> {
        let container = self.registry().find(container)?;
        let (engine, name) = (self.clone(), network.to_owned());
        self.to_the_end("network connect", async move {
            let _turn = container.turn.lock().await;
            let found = engine.find_network(&name)?;
            let run = container.run();
            let mut wanted = places::wanted(&container.spec, &run);
            check_modes(&container, &found, &wanted)?;
            places::check_settings(found.name(), &settings)?;
            match run.status {
                Status::Restarting => Err(between_runs(&container)),
                status if status.is_up() => {
                    let place = Place {
                        name: found.name().to_owned(),
                        doc: match found {
                            Found::Made(doc) => Some(doc),
                            Found::BuiltIn(_) => None,
                        },
                        settings,
                    };
                    engine.connect_running(&container, place, wanted).await
                }
                _ => {
                    wanted.retain(|key, _| !engine.is_key_of(key, &found));
                    wanted.insert(found.name().to_owned(), settings);
                    engine.places_of(&wanted, &container.spec.host.network_mode)?;
                    engine.want_networks(&container, wanted, Vec::new()).await
                }
            }
        })
        .await
    }

    /// Disconnects a container from a network: at once if it runs.
    ///
    /// # Errors
    /// [`EngineError::NotConnected`], and docker's sentence for the host's network.
    pub async fn network_disconnect(&self, network: &str, container: &str) -> Result<()> {
        let container = self.registry().find(container)?;
        let (engine, name) = (self.clone(), network.to_owned());
        self.to_the_end("network disconnect", async move {
            let _turn = container.turn.lock().await;
            let run = container.run();
            let mut wanted = places::wanted(&container.spec, &run);
            let found = match engine.find_network(&name) {
                // A network that is gone is one that a container is to be on no more.
                Err(EngineError::NoSuchNetwork { .. })
                    if wanted.contains_key(&name) && !run.status.is_up() =>
                {
                    wanted.remove(&name);
                    return engine.want_networks(&container, wanted, Vec::new()).await;
                }
                found => found?,
            };
            if container.spec.host.network_mode == "host" || found.name() == "host" {
                return Err(EngineError::invalid(OF_HOST));
            }
            let before = wanted.len();
            wanted.retain(|key, _| !engine.is_key_of(key, &found));
            if wanted.len() == before {
                return Err(EngineError::NotConnected {
                    container: container.id().to_string(),
                    network: found.name().to_owned(),
                });
            }
            match run.status {
                Status::Restarting => Err(between_runs(&container)),
                status if status.is_up() => {
                    engine.disconnect_running(&container, &found, wanted).await
                }
                _ => {
                    let network = match &found {
                        Found::BuiltIn(name) => (*name).to_owned(),
                        Found::Made(doc) => doc.id.clone(),
                    };
                    let told = engine.event_of(&container, &network, "disconnect");
                    engine.want_networks(&container, wanted, vec![told]).await
                }
            }
        })
        .await
    }

    /// Whether a container's word for a network means this one.
    pub(super) fn is_key_of(&self, key: &str, found: &Found) -> bool {
        key == found.name()
            || self
                .find_network(key)
                .is_ok_and(|other| other.id(self) == found.id(self))
    }

    /// Writes down which networks a container is to be on that does not run.
    async fn want_networks(
        &self,
        container: &Arc<Container>,
        wanted: Wanted,
        told: Vec<Event>,
    ) -> Result<()> {
        self.change(
            container,
            told,
            move |run| run.changed_networks = Some(wanted),
            |_| Ok(()),
        )
        .await
    }

    async fn connect_running(
        &self,
        container: &Arc<Container>,
        place: Place,
        mut wanted: Wanted,
    ) -> Result<()> {
        let run = container.run();
        if run.place_on(place.segment()).is_some() {
            return Err(EngineError::forbidden(format!(
                "endpoint with name {} already exists in network {}",
                container.name(),
                place.name
            )));
        }
        let netns = namespace_of(&run, container)?;
        wanted.remove("none");
        wanted.insert(place.name.clone(), place.settings.clone());
        let target = Arc::clone(container);
        let settings = wanted.clone();
        let joined = self
            .blocking("network connect", move |engine| {
                engine.plug_running(&target, &netns, place, &settings)
            })
            .await?;
        if let Err(error) = hold(container, &joined.ports.reservations).await {
            self.undo_connection(container, joined).await;
            return Err(error);
        }
        let told = self.event_of(container, joined.taken.place.segment(), "connect");
        let (record, network) = (
            joined.record.clone(),
            joined.taken.place.segment().to_owned(),
        );
        let (id, address) = (container.id().to_string(), record.place.address.to_string());
        let (is_home, of) = (network == HOME, id.clone());
        let (published, parked) = (joined.ports.published.clone(), joined.ports.parked.clone());
        let committed = self
            .change_if(
                container,
                vec![told],
                move |run| {
                    if !run.status.is_up() {
                        // It ended meanwhile, and has given everything back.
                        return Err(EngineError::NotRunning { id: of });
                    }
                    if is_home {
                        run.endpoint = Some(record.place);
                        run.home_interface = record.interface;
                    } else {
                        run.joined.push(record);
                        run.asks = true;
                    }
                    run.published = published;
                    run.parked = parked;
                    run.changed_networks = Some(wanted);
                    Ok(())
                },
                move |connection| rows::endpoints::put(connection, &network, &id, &address),
            )
            .await;
        if let Err(error) = committed {
            self.undo_connection(container, joined).await;
            return Err(error);
        }
        Ok(())
    }

    /// Takes back what was not written down.
    async fn undo_connection(&self, container: &Arc<Container>, joined: Joined) {
        if !joined.ports.reservations.is_empty()
            && let Ok(link) = container.live_link()
        {
            link.tell(&Request::Hold);
        }
        let target = Arc::clone(container);
        let undone = self
            .blocking("network connect", move |engine| {
                let ports = engine.unpublish_running(&target, &joined.ports);
                engine.tell_what_is(&target);
                engine.unplug_running(&target, &joined.taken.endpoint)?;
                ports
            })
            .await;
        if let Err(error) = undone {
            tracing::warn!(%error, "a link that was not written down stays until the next start of the engine");
        }
    }

    /// Makes the link, and lets the way out and the published ports follow.
    fn plug_running(
        &self,
        container: &Arc<Container>,
        netns: &OwnedFd,
        place: Place,
        wanted: &Wanted,
    ) -> Result<Joined> {
        let run = container.run();
        let interface = free_interface(&run);
        let taken = self.take_place(container, netns, place, interface)?;
        let follow = || -> Result<_> {
            let record = taken.record()?;
            let mut after = (*run).clone();
            match taken.place.segment() {
                HOME => {
                    after.endpoint = Some(record.place.clone());
                    after.home_interface.clone_from(&record.interface);
                }
                _ => after.joined.push(record.clone()),
            }
            let ports = self.follow_way_out(container, netns, &after, wanted)?;
            let name = || {
                if after.asks || !after.joined.is_empty() {
                    self.retell_names(container, &after, wanted, Some(netns.as_fd()))?;
                }
                if !run.asks && !after.joined.is_empty() {
                    self.ask_engine_for_names(container)?;
                }
                Ok(())
            };
            if let Err(error) = name() {
                self.unpublish_running(container, &ports)?;
                return Err(error);
            }
            Ok((record, ports))
        };
        match follow() {
            Ok((record, ports)) => {
                self.name_addresses(container, &taken.endpoint);
                Ok(Joined {
                    taken,
                    record,
                    ports,
                })
            }
            Err(error) => {
                self.unplug_running(container, &taken.endpoint)?;
                self.tell_what_is(container);
                Err(error)
            }
        }
    }

    fn unplug_running(&self, container: &Container, endpoint: &Endpoint) -> Result<()> {
        self.forget_addresses(container, endpoint);
        self.inner()
            .networks
            .leave(&endpoint.network, container.id());
        match &self.inner().network {
            Some(network) => Ok(network.unplug(endpoint)?),
            None => Ok(()),
        }
    }

    async fn disconnect_running(
        &self,
        container: &Arc<Container>,
        found: &Found,
        wanted: Wanted,
    ) -> Result<()> {
        let run = container.run();
        let network = match found {
            Found::BuiltIn("bridge") => HOME.to_owned(),
            // There is nothing of it but the word.
            Found::BuiltIn(_) => return self.want_networks(container, wanted, Vec::new()).await,
            Found::Made(doc) => doc.id.clone(),
        };
        let Some(leaving) = run.place_on(&network) else {
            return Err(EngineError::NotConnected {
                container: container.id().to_string(),
                network: found.name().to_owned(),
            });
        };
        let leaving = places::place_endpoint(container, &network, leaving);
        let netns = namespace_of(&run, container)?;
        let (target, settings, gone) = (Arc::clone(container), wanted.clone(), network.clone());
        let ports = self
            .blocking("network disconnect", move |engine| {
                let mut after = (*target.run()).clone();
                after.leave(&gone);
                engine.follow_way_out(&target, &netns, &after, &settings)
            })
            .await?;
        let told = self.event_of(container, &network, "disconnect");
        let id = container.id().to_string();
        self.change(
            container,
            vec![told],
            {
                let network = network.clone();
                move |run| {
                    run.leave(&network);
                    run.published = ports.published;
                    run.parked = ports.parked;
                    run.changed_networks = Some(wanted);
                }
            },
            move |connection| rows::endpoints::delete_one(connection, &network, &id),
        )
        .await?;
        let target = Arc::clone(container);
        self.blocking("network disconnect", move |engine| {
            engine.tell_what_is(&target);
            engine.unplug_running(&target, &leaving)
        })
        .await
    }

    /// Has others find a container at the places that it has by now, and no more.
    fn tell_what_is(&self, container: &Container) {
        let told = match container.run().asks {
            true => self.refresh_names(container),
            false => {
                self.forget_names(container);
                Ok(())
            }
        };
        if let Err(error) = told {
            tracing::warn!(%error, container = container.id().short(), "a container's names on its networks are not up to date");
        }
    }

    /// An event about a container that joins or leaves a network.
    pub(crate) fn event_of(&self, container: &Container, network: &str, action: &str) -> Event {
        let (id, name, kind) = match self.inner().networks.get(network) {
            Some(doc) => (doc.id.clone(), doc.name.clone(), "bridge"),
            None => (
                built_in_id(self, network),
                network.to_owned(),
                match network {
                    "none" => "null",
                    "host" => "host",
                    _ => "bridge",
                },
            ),
        };
        let attributes = BTreeMap::from([
            ("container".to_owned(), container.id().to_string()),
            ("name".to_owned(), name),
            ("type".to_owned(), kind.to_owned()),
        ]);
        events::event("network", action, id, attributes)
    }
}

/// What came of a connection.
struct Joined {
    taken: Taken,
    record: JoinedRecord,
    ports: Ports,
}

/// Has the container's shim keep ports from others for as long as the container lives.
async fn hold(container: &Container, reservations: &[OwnedFd]) -> Result<()> {
    if reservations.is_empty() {
        return Ok(());
    }
    let sockets: Vec<_> = reservations.iter().map(AsFd::as_fd).collect();
    match container.live_link()?.ask(&Request::Hold, &sockets).await {
        Err(EngineError::Shim {
            source:
                ShimError::Refused {
                    refusal: Refusal::Unsupported { .. },
                },
        }) => Err(EngineError::conflict(format!(
            "the ports of container {} can not be published while it runs, since an older release started it: start it anew",
            container.name()
        ))),
        held => held.map(|_| ()),
    }
}

fn check_modes(container: &Container, found: &Found, wanted: &Wanted) -> Result<()> {
    let mode = container.spec.host.network_mode.as_str();
    if mode == "host" || found.name() == "host" {
        return Err(EngineError::invalid(OF_HOST));
    }
    if container.spec.config.network_disabled {
        return Err(EngineError::invalid(DISABLED));
    }
    if mode.starts_with("container:") {
        return Err(EngineError::invalid(SHARED));
    }
    let others = wanted.keys().any(|name| name != found.name());
    if others && (wanted.contains_key("none") || found.name() == "none") {
        return Err(EngineError::invalid(ALONE));
    }
    if found.name() == "none" {
        return Err(EngineError::unsupported(
            "connecting a container to the network none",
        ));
    }
    Ok(())
}

fn between_runs(container: &Container) -> EngineError {
    EngineError::conflict(format!(
        "Container {} is restarting, wait until the container is running",
        container.id()
    ))
}

fn namespace_of(run: &Run, container: &Container) -> Result<OwnedFd> {
    let neighbour = Neighbour::of(run).ok_or_else(|| EngineError::NotRunning {
        id: container.id().to_string(),
    })?;
    neighbour.namespace("net")
}

/// A name that no link inside has: `eth` and the lowest number.
fn free_interface(run: &Run) -> String {
    let home = match (&run.endpoint, run.home_interface.as_str()) {
        (None, _) => None,
        (Some(_), "") => Some("eth0"),
        (Some(_), name) => Some(name),
    };
    let used: Vec<&str> = run
        .joined
        .iter()
        .map(|joined| joined.interface.as_str())
        .chain(home)
        .collect();
    (0..=used.len())
        .map(|number| format!("eth{number}"))
        .find(|name| !used.contains(&name.as_str()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::containers::record::EndpointRecord;

    fn record() -> EndpointRecord {
        EndpointRecord {
            id: String::new(),
            address: Ipv4Addr::LOCALHOST,
            prefix: 8,
            gateway: Ipv4Addr::LOCALHOST,
            mac: String::new(),
            link: String::new(),
            ipv6: None,
        }
    }

    #[test]
    fn links_have_the_lowest_free_number() {
        let mut run = Run::new();
        assert_eq!(free_interface(&run), "eth0");
        run.endpoint = Some(record());
        assert_eq!(free_interface(&run), "eth1");
        run.joined = vec![JoinedRecord {
            network: "n".into(),
            interface: "eth1".into(),
            place: record(),
        }];
        assert_eq!(free_interface(&run), "eth2");
        run.leave(HOME);
        assert_eq!(free_interface(&run), "eth0");
    }
}
