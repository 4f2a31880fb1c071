//! The three networks that every engine has.

use std::collections::BTreeMap;

use api_types::{EndpointResource, Ipam, IpamConfig, Network};
use types::Digest;

use crate::clock;
use crate::engine::Engine;
use crate::filters::Filters;
use crate::outcome::{EngineError, Result};

const NAMES: [&str; 3] = ["bridge", "host", "none"];

/// A network's id: it follows from the instance and the name, so that it never changes.
pub(crate) fn id_of(engine: &Engine, name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    Digest::sha256(format!("wharf network {} {name}", engine.inner().instance).as_bytes()).hex()
}

/// Whether a filter's text names this network by its name.
pub(crate) fn is_named(wanted: &str, name: &str) -> bool {
    wanted == name
}

impl Engine {
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
        let mut list: Vec<Network> = NAMES
            .iter()
            .filter(|name| self.has_network(name))
            .map(|name| self.describe_network(name, false))
            .collect();
        let (names, ids) = (filters.patterns("name"), filters.patterns("id"));
        list.retain(|network| {
            names.match_any(&[&network.name])
                && ids.match_any(&[&network.id])
                && filters.any("driver", |wanted| network.driver == wanted)
                && filters.any("scope", |wanted| network.scope == wanted)
                && filters.any("type", |wanted| wanted == "builtin")
                && dangling != Some(true)
                && filters.labels_match(&BTreeMap::new())
        });
        Ok(list)
    }

    /// One network with the containers on it.
    pub async fn network_inspect(&self, name: &str) -> Result<Network> {
        let found = NAMES
            .iter()
            .filter(|known| self.has_network(known))
            .find(|known| {
                **known == name || (name.len() >= 4 && id_of(self, known).starts_with(name))
            });
        match found {
            Some(known) => Ok(self.describe_network(known, true)),
            None => Err(EngineError::NoSuchNetwork {
                name: name.to_owned(),
            }),
        }
    }

    fn has_network(&self, name: &str) -> bool {
        name != "bridge" || self.inner().network.is_some()
    }

    fn describe_network(&self, name: &str, members: bool) -> Network {
        let driver = if name == "none" { "null" } else { name };
        let mut network = Network {
            name: name.to_owned(),
            id: id_of(self, name),
            created: clock::rfc3339(self.inner().opened),
            scope: "local".to_owned(),
            driver: driver.to_owned(),
            enable_ipv4: true,
            ipam: Ipam {
                driver: "default".to_owned(),
                ..Default::default()
            },
            options: Some(BTreeMap::new()),
            labels: Some(BTreeMap::new()),
            containers: Some(if members {
                self.members(name)
            } else {
                BTreeMap::new()
            }),
            ..Default::default()
        };
        if let (Some(bridge), "bridge") = (
            self.inner()
                .network
                .as_ref()
                .map(|network| network.bridge_info()),
            name,
        ) {
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
                    ("com.docker.network.driver.mtu", "1500"),
                ]
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            );
        }
        network
    }

    fn members(&self, network: &str) -> BTreeMap<String, EndpointResource> {
        self.registry()
            .all()
            .into_iter()
            .filter(|container| {
                container.spec.host.network_mode == network && container.run().status.is_up()
            })
            .map(|container| {
                let run = container.run();
                let endpoint = run.endpoint.as_ref();
                let resource = EndpointResource {
                    name: container.name(),
                    endpoint_id: endpoint
                        .map(|endpoint| endpoint.id.clone())
                        .unwrap_or_default(),
                    mac_address: endpoint
                        .map(|endpoint| endpoint.mac.clone())
                        .unwrap_or_default(),
                    ipv4_address: endpoint
                        .map(|endpoint| format!("{}/{}", endpoint.address, endpoint.prefix))
                        .unwrap_or_default(),
                    ipv6_address: String::new(),
                };
                (container.id().to_string(), resource)
            })
            .collect()
    }
}
