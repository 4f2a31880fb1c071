//! Making a network: its bridge, then its row.

use std::collections::BTreeMap;

use api_types::{Event, NetworkCreate};
use network::Subnet;
use types::ContainerId;

use super::request::{self, Chosen};
use super::{Found, NetworkDoc};
use crate::clock;
use crate::engine::Engine;
use crate::events;
use crate::outcome::{EngineError, Result};
use crate::store::Durability;
use crate::store::rows::{self, NetworkRow};

impl NetworkDoc {
    fn row(&self) -> Result<NetworkRow> {
        Ok(NetworkRow {
            id: self.id.clone(),
            name: self.name.clone(),
            doc: rows::to_json("a network", self)?,
        })
    }

    /// An event about the network.
    pub(super) fn event(&self, action: &str) -> Event {
        let attributes = BTreeMap::from([
            ("name".to_owned(), self.name.clone()),
            ("type".to_owned(), "bridge".to_owned()),
        ]);
        events::event("network", action, &self.id, attributes)
    }
}

impl Engine {
    /// Makes a network of the driver `bridge`, and gives its id.
    ///
    /// # Errors
    /// Docker's sentences for a name that is taken and for addresses that others have; [`EngineError::Unsupported`] for
    /// what is not built.
    pub async fn network_create(&self, request: NetworkCreate) -> Result<String> {
        if request.name.is_empty() {
            return Err(EngineError::invalid("invalid name: name is empty"));
        }
        if matches!(
            request.name.as_str(),
            "bridge" | "host" | "none" | "default"
        ) {
            return Err(EngineError::forbidden(format!(
                "operation is not permitted on predefined {} network ",
                request.name
            )));
        }
        request::check(&request)?;
        if self.inner().network.is_none() {
            return Err(EngineError::unsupported(
                "making networks in a daemon without a bridge (--bridge none)",
            ));
        }
        let chosen = request::chosen(request.ipam.as_ref())?;
        let options = request::options(&request)?;
        let engine = self.clone();
        self.to_the_end("network create", async move {
            let _changing = engine.inner().networks.changing.write().await;
            if let Ok(Found::Made(other)) = engine.find_network(&request.name)
                && other.name == request.name
            {
                return Err(EngineError::conflict(format!(
                    "network with name {} already exists",
                    request.name
                )));
            }
            let id = ContainerId::random().map_err(EngineError::io("draw an id"))?;
            let doc = engine
                .blocking("network create", move |engine| {
                    engine.draft_network(id, request, chosen, options)
                })
                .await?;
            engine.make_network(doc).await
        })
        .await
    }

    /// Everything about a network before it is made.
    fn draft_network(
        &self,
        id: ContainerId,
        request: NetworkCreate,
        chosen: Option<Chosen>,
        options: request::Options,
    ) -> Result<NetworkDoc> {
        let network = self.inner().network.as_ref().ok_or(EngineError::Closing)?;
        let is_chosen = chosen.is_some();
        let Chosen {
            subnet,
            gateway,
            range,
            auxiliary,
        } = match chosen {
            Some(chosen) if network.overlaps(chosen.subnet)? => {
                return Err(EngineError::forbidden(
                    "invalid pool request: Pool overlaps with other one on this address space",
                ));
            }
            Some(chosen) => chosen,
            None => Chosen {
                subnet: network.free_subnet()?,
                gateway: None,
                range: None,
                auxiliary: BTreeMap::new(),
            },
        };
        let gateway = match gateway {
            Some(gateway) if auxiliary.values().any(|other| *other == gateway) => {
                return Err(EngineError::forbidden(format!(
                    "failed to allocate gateway ({gateway}): Address already in use"
                )));
            }
            Some(gateway) => gateway,
            // As docker: the first address that is given out.
            None => first_of(subnet, range, &auxiliary).ok_or_else(|| {
                EngineError::invalid(format!(
                    "no available IPv4 addresses on this network's address pool {subnet}"
                ))
            })?,
        };
        let bridge = options
            .bridge
            .unwrap_or_else(|| format!("br-{}", id.short()));
        Ok(NetworkDoc {
            version: NetworkDoc::VERSION,
            id: id.to_string(),
            name: request.name,
            created: clock::now(),
            bridge,
            base: subnet.base(),
            prefix: subnet.prefix(),
            gateway,
            range: range.map(|range| (range.base(), range.prefix())),
            auxiliary,
            chosen: is_chosen,
            internal: options.internal,
            attachable: request.attachable,
            among: options.among,
            masqueraded: options.masqueraded,
            mtu: options.mtu,
            host_ip: options.host_ip,
            options: request.options.unwrap_or_default(),
            ipam_options: request.ipam.and_then(|ipam| ipam.options),
            labels: request.labels.unwrap_or_default(),
        })
    }

    /// A bridge that no row owns is removed at the next start.
    async fn make_network(&self, doc: NetworkDoc) -> Result<String> {
        let id = doc.id.clone();
        let row = doc.row()?;
        let told = doc.event("create");
        let segment = doc
            .segment()
            .ok_or_else(|| EngineError::invalid(format!("network {} has no subnet", doc.name)))?;
        let networks = &self.inner().networks;
        networks.add(doc, true)?;
        let raised = self
            .blocking("network create", move |engine| {
                let network = engine
                    .inner()
                    .network
                    .as_ref()
                    .ok_or(EngineError::Closing)?;
                Ok(network.add_segment(&segment)?)
            })
            .await;
        let made = match raised {
            Ok(()) => {
                self.commit(Durability::PowerCut, vec![told], move |connection| {
                    row.insert(connection)
                })
                .await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = made {
            self.unmake_network(&id).await;
            return Err(error);
        }
        networks.set_closed(&id, false);
        Ok(id)
    }

    async fn unmake_network(&self, id: &str) {
        let Some(doc) = self.inner().networks.get(id) else {
            return;
        };
        self.inner().networks.remove(id);
        let undone = self
            .blocking("network create", move |engine| {
                match &engine.inner().network {
                    Some(network) => Ok(network.remove_segment(&doc.id, &doc.bridge)?),
                    None => Ok(()),
                }
            })
            .await;
        if let Err(error) = undone {
            tracing::warn!(%error, "the bridge of a network that was not made stays until the next start");
        }
    }
}

/// The first address of a network that is given out.
fn first_of(
    subnet: Subnet,
    range: Option<Subnet>,
    auxiliary: &BTreeMap<String, std::net::Ipv4Addr>,
) -> Option<std::net::Ipv4Addr> {
    let range = range.unwrap_or(subnet);
    (range.base().to_bits()..=range.broadcast().to_bits())
        .map(std::net::Ipv4Addr::from_bits)
        .filter(|address| *address != subnet.base() && *address != subnet.broadcast())
        .find(|address| !auxiliary.values().any(|other| other == address))
}
