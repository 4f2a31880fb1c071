//! Making a network: its bridge, then its row.

use std::collections::BTreeMap;

use api_types::{Event, NetworkCreate};
use network::{Network, SegmentConfig};
use types::ContainerId;

use super::chosen::{self, Blocks, Chosen};
use super::ipv6::Ipv6Doc;
use super::request;
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
        let options = request::options(&request)?;
        let blocks = chosen::blocks(request.ipam.as_ref(), options.ipv6)?;
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
                    engine.draft_network(id, request, blocks, options)
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
        blocks: Blocks,
        options: request::Options,
    ) -> Result<NetworkDoc> {
        let network = self.inner().network.as_ref().ok_or(EngineError::Closing)?;
        let is_chosen = blocks.ipv4.is_some();
        let chosen = match blocks.ipv4 {
            Some(chosen) if network.overlaps(chosen.subnet) => {
                return Err(EngineError::forbidden(
                    "invalid pool request: Pool overlaps with other one on this address space",
                ));
            }
            Some(chosen) => chosen,
            None => Chosen::all_of(network.free_subnet()?),
        };
        let foreign = match &options.bridge {
            Some(name) => {
                self.refuse_second_use(name)?;
                network.is_foreign_bridge(name)?
            }
            None => false,
        };
        let mut others = network.others_in(chosen.subnet)?;
        others.retain(|name| options.bridge.as_ref() != Some(name));
        if !others.is_empty() {
            tracing::warn!(
                network = request.name, subnet = %chosen.subnet,
                "links of this host have addresses of a network's subnet: {}", others.join(", ")
            );
        }
        let ipv6 = match options.ipv6 {
            true => Some(Ipv6Doc::draft(network, blocks.ipv6)?),
            false => None,
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
            base: chosen.subnet.base(),
            prefix: chosen.subnet.prefix(),
            gateway: chosen.bridge_address()?,
            range: chosen.range.map(|range| (range.base(), range.prefix())),
            auxiliary: chosen.auxiliary,
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
            ipv6,
            foreign,
        })
    }

    /// Docker's sentence for a bridge that another network is on.
    fn refuse_second_use(&self, bridge: &str) -> Result<()> {
        let home = self.inner().network.as_ref();
        let is_home = home.is_some_and(|network| network.bridge_info().name == bridge);
        let made = self.inner().networks.all();
        let other = made.iter().find(|doc| doc.bridge == bridge);
        let other = other.map(|doc| doc.name.as_str());
        match other.or(is_home.then_some("bridge")) {
            Some(other) => Err(EngineError::forbidden(format!(
                "conflicts with network {other}: networks have same bridge name ({bridge})"
            ))),
            None => Ok(()),
        }
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
                raise(network, &segment)
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

/// Makes a network's bridge, and has the host forward what it needs for that.
///
/// # Errors
/// Those of the network.
fn raise(network: &Network, segment: &SegmentConfig) -> Result<()> {
    if segment.ipv6.is_some() && network.forward_ipv6()? {
        tracing::warn!(
            "forwarding of IPv6 was off on this host and is on now, for a network with IPv6: the host routes what others send it, too"
        );
    }
    Ok(network.add_segment(segment)?)
}

/// The same of a network that there was before this daemon. What IPv6 alone hinders takes nobody's IPv4, and a bridge that
/// can not be used at all stays with those who are on it.
pub(crate) fn raise_again(network: &Network, doc: &NetworkDoc) {
    let Some(mut segment) = doc.segment() else {
        return;
    };
    let mut raised = raise(network, &segment);
    if let (Err(error), true) = (&raised, segment.ipv6.is_some()) {
        tracing::error!(%error, network = doc.name, "a network has no IPv6 any more");
        segment.ipv6 = None;
        raised = raise(network, &segment);
    }
    if let Err(error) = raised {
        tracing::error!(%error, network = doc.name, "the bridge of a network could not be made: nobody can join it");
        network.spare_bridge(&segment.bridge);
    }
}
