//! Networks: the three that every engine has, and those that users make.

mod chosen;
mod connect;
mod create;
mod doors;
mod hosts;
mod index;
mod ipv6;
pub(crate) mod links;
pub(crate) mod names;
pub(crate) mod places;
mod remove;
mod request;
mod way_out;

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::{EndpointResource, Ipam, IpamConfig, Network};
use network::Subnet;
use types::Digest;

use self::ipv6::Ipv6Doc;
use crate::clock;
use crate::containers::record::EndpointRecord;
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::filters::Filters;
use crate::outcome::{EngineError, Result};

pub(crate) use create::raise_again;
pub(crate) use index::{NetworkDoc, Networks};

const NAMES: [&str; 3] = ["bridge", "host", "none"];

/// The id of a built-in network: it follows from the instance and the name, so that it never changes.
pub(crate) fn built_in_id(engine: &Engine, name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    Digest::sha256(format!("wharf network {} {name}", engine.inner().instance).as_bytes()).hex()
}

/// A network that somebody named.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// `bridge`, `host` or `none`.
    BuiltIn(&'static str),
    /// One that a user made.
    Made(Arc<NetworkDoc>),
}

impl Found {
    pub(crate) fn name(&self) -> &str {
        match self {
            Found::BuiltIn(name) => name,
            Found::Made(doc) => &doc.name,
        }
    }

    pub(crate) fn id(&self, engine: &Engine) -> String {
        match self {
            Found::BuiltIn(name) => built_in_id(engine, name),
            Found::Made(doc) => doc.id.clone(),
        }
    }

    /// Its driver, as events and lists have it.
    pub(crate) fn driver(&self) -> &'static str {
        match self {
            Found::BuiltIn("none") => "null",
            Found::BuiltIn(name) => name,
            Found::Made(_) => "bridge",
        }
    }
}

impl Engine {
    /// Finds a network by name, id, or the beginning of an id.
    ///
    /// # Errors
    /// [`EngineError::NoSuchNetwork`], and docker's sentence for a beginning that several have.
    pub(crate) fn find_network(&self, wanted: &str) -> Result<Found> {
        let built_in = |is_it: &dyn Fn(&str) -> bool| {
            NAMES
                .into_iter()
                .filter(|known| self.has_network(known))
                .find(|known| is_it(known))
                .map(Found::BuiltIn)
        };
        if let Some(found) =
            built_in(&|known| known == wanted || built_in_id(self, known) == wanted)
        {
            return Ok(found);
        }
        if let Some(doc) = self.inner().networks.find(wanted)? {
            return Ok(Found::Made(doc));
        }
        let begins =
            |known: &str| wanted.len() >= 4 && built_in_id(self, known).starts_with(wanted);
        built_in(&begins).ok_or_else(|| EngineError::NoSuchNetwork {
            name: wanted.to_owned(),
        })
    }

    /// Lists networks: filters `dangling driver id label name scope type`.
    pub async fn network_list(&self, filters: Filters) -> Result<Vec<Network>> {
        filters.check(&[
            "dangling", "driver", "id", "label", "label!", "name", "scope", "type",
        ])?;
        for kind in filters.get("type") {
            if !matches!(kind, "builtin" | "custom") {
                return Err(EngineError::invalid(format!(
                    "invalid filter: 'type'='{kind}'"
                )));
            }
        }
        let dangling = filters.flag("dangling").map_err(|_| {
            EngineError::invalid(
                "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
            )
        })?;
        let built_in = NAMES
            .into_iter()
            .filter(|name| self.has_network(name))
            .map(Found::BuiltIn);
        let made = self.inner().networks.all().into_iter().map(Found::Made);
        let (names, ids) = (filters.patterns("name"), filters.patterns("id"));
        let mut list: Vec<Network> = built_in
            .chain(made)
            .filter(|found| {
                let (kind, unused) = match found {
                    Found::BuiltIn(_) => ("builtin", false),
                    Found::Made(doc) => {
                        ("custom", self.inner().networks.members(&doc.id).is_empty())
                    }
                };
                filters.any("type", |wanted| wanted == kind)
                    && dangling.is_none_or(|wanted| wanted == unused)
            })
            .map(|found| self.describe_network(&found, false))
            .collect();
        list.retain(|network| {
            names.match_any(&[&network.name])
                && ids.match_any(&[&network.id])
                && filters.any("driver", |wanted| network.driver == wanted)
                && filters.any("scope", |wanted| network.scope == wanted)
                && filters.labels_match(network.labels.as_ref().unwrap_or(&BTreeMap::new()))
        });
        Ok(list)
    }

    /// One network with the containers on it.
    pub async fn network_inspect(&self, name: &str) -> Result<Network> {
        let found = self.find_network(name)?;
        Ok(self.describe_network(&found, true))
    }

    fn has_network(&self, name: &str) -> bool {
        name != "bridge" || self.inner().network.is_some()
    }

    pub(crate) fn describe_network(&self, found: &Found, members: bool) -> Network {
        let mut network = Network {
            name: found.name().to_owned(),
            id: found.id(self),
            created: clock::rfc3339(self.inner().opened),
            scope: "local".to_owned(),
            driver: found.driver().to_owned(),
            enable_ipv4: true,
            ipam: Ipam {
                driver: "default".to_owned(),
                ..Default::default()
            },
            options: Some(BTreeMap::new()),
            labels: Some(BTreeMap::new()),
            containers: Some(if members {
                self.members(found)
            } else {
                BTreeMap::new()
            }),
            ..Default::default()
        };
        match found {
            Found::BuiltIn("bridge") => self.describe_bridge(&mut network),
            Found::BuiltIn(_) => {}
            Found::Made(doc) => describe_made(doc, &mut network),
        }
        network
    }

    fn describe_bridge(&self, network: &mut Network) {
        let Some(home) = &self.inner().network else {
            return;
        };
        let bridge = home.bridge_info();
        let mtu = home.mtu().unwrap_or(1500).to_string();
        network.ipam.config = Some(vec![IpamConfig {
            subnet: bridge.subnet.to_string(),
            gateway: bridge.gateway.to_string(),
            ..Default::default()
        }]);
        network.options = Some(
            [
                ("com.docker.network.bridge.default_bridge", "true"),
                ("com.docker.network.bridge.enable_icc", "true"),
                ("com.docker.network.bridge.enable_ip_masquerade", "true"),
                ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
                ("com.docker.network.bridge.name", bridge.name.as_str()),
                ("com.docker.network.driver.mtu", mtu.as_str()),
            ]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        );
    }

    fn members(&self, found: &Found) -> BTreeMap<String, EndpointResource> {
        let containers: Vec<Arc<Container>> = match found {
            Found::BuiltIn(_) => self.registry().all(),
            Found::Made(doc) => {
                let ids = self.inner().networks.members(&doc.id);
                ids.iter()
                    .filter_map(|id| self.registry().find(id).ok())
                    .collect()
            }
        };
        containers
            .into_iter()
            .filter_map(|container| {
                let run = container.run();
                let endpoint = match found {
                    Found::Made(doc) => &run.joined.iter().find(|one| one.network == doc.id)?.place,
                    Found::BuiltIn("bridge") => run.endpoint.as_ref()?,
                    // Who is on the host's network, or on none, has no place on it.
                    Found::BuiltIn(name) => {
                        let is_on = container.spec.host.network_mode == *name && run.status.is_up();
                        return is_on.then(|| {
                            let resource = EndpointResource {
                                name: container.name(),
                                ..Default::default()
                            };
                            (container.id().to_string(), resource)
                        });
                    }
                };
                Some((container.id().to_string(), resource(&container, endpoint)))
            })
            .collect()
    }
}

fn resource(container: &Container, endpoint: &EndpointRecord) -> EndpointResource {
    EndpointResource {
        name: container.name(),
        endpoint_id: endpoint.id.clone(),
        mac_address: endpoint.mac.clone(),
        ipv4_address: format!("{}/{}", endpoint.address, endpoint.prefix),
        ipv6_address: endpoint
            .ipv6
            .map(|place| format!("{}/{}", place.address, place.prefix))
            .unwrap_or_default(),
    }
}

fn describe_made(doc: &NetworkDoc, network: &mut Network) {
    network.created = clock::rfc3339(doc.created);
    network.internal = doc.internal;
    network.attachable = doc.attachable;
    network.options = Some(doc.options.clone());
    network.labels = Some(doc.labels.clone());
    network.ipam.options = doc.ipam_options.clone();
    network.enable_ipv6 = doc.ipv6.is_some();
    let block = |(base, prefix)| Subnet::containing(base, prefix);
    let mut configs = vec![IpamConfig {
        subnet: doc
            .subnet()
            .map(|subnet| subnet.to_string())
            .unwrap_or_default(),
        ip_range: doc
            .range
            .and_then(block)
            .map(|range| range.to_string())
            .unwrap_or_default(),
        gateway: doc.gateway.to_string(),
        auxiliary_addresses: doc
            .auxiliary
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    }];
    configs.extend(doc.ipv6.as_ref().map(Ipv6Doc::describe));
    network.ipam.config = Some(configs);
}
