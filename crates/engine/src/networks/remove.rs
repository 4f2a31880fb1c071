//! Removing networks: the row goes at once, the bridge follows from its tombstone.

use std::sync::Arc;

use api_types::NetworksPruneReport;

use super::{Found, NetworkDoc};
use crate::cleaner::{self, Job};
use crate::engine::Engine;
use crate::events;
use crate::filters::Filters;
use crate::outcome::{EngineError, Result};
use crate::store::rows::NetworkRow;
use crate::store::{Durability, TombstoneRow};

/// A tombstone of a network says by this which one, and which bridge.
const SEPARATOR: char = ' ';

impl Engine {
    /// Removes a network that no container is on.
    ///
    /// # Errors
    /// Docker's sentences for one that is used or built in.
    pub async fn network_remove(&self, name: &str) -> Result<()> {
        let doc = match self.find_network(name)? {
            Found::BuiltIn(name) => {
                return Err(EngineError::forbidden(format!(
                    "{name} is a pre-defined network and cannot be removed"
                )));
            }
            Found::Made(doc) => doc,
        };
        let engine = self.clone();
        self.to_the_end(
            "network remove",
            async move { engine.bury_network(doc).await },
        )
        .await
    }

    async fn bury_network(&self, doc: Arc<NetworkDoc>) -> Result<()> {
        let changing = Arc::clone(&self.inner().networks.changing)
            .read_owned()
            .await;
        match self.inner().networks.close(&doc.id) {
            Ok(()) => {}
            Err(members) if members.is_empty() => {
                return Err(EngineError::NoSuchNetwork {
                    name: doc.name.clone(),
                });
            }
            Err(members) => return Err(self.in_use(&doc, &members)),
        }
        let key = format!("{}{SEPARATOR}{}", doc.id, doc.bridge);
        let id = doc.id.clone();
        let buried = self
            .commit(
                Durability::PowerCut,
                vec![doc.event("destroy")],
                move |connection| {
                    NetworkRow::delete(connection, &id)?;
                    let sequence = TombstoneRow::insert(connection, cleaner::NETWORK, &key)?;
                    Ok(TombstoneRow {
                        sequence,
                        kind: cleaner::NETWORK.to_owned(),
                        key,
                    })
                },
            )
            .await;
        let tombstone = match buried {
            Ok(tombstone) => tombstone,
            Err(error) => {
                self.inner().networks.set_closed(&doc.id, false);
                return Err(error);
            }
        };
        self.inner().networks.remove(&doc.id);
        self.inner().cleaner.announce(1);
        // Whoever makes a network next waits until the bridge is gone.
        let job = Job {
            tombstone,
            release: None,
            held: Some(changing),
        };
        self.blocking("network remove", move |engine| {
            engine.inner().cleaner.queue(job);
            Ok(())
        })
        .await
    }

    fn in_use(&self, doc: &NetworkDoc, members: &[String]) -> EngineError {
        let list: Vec<String> = members
            .iter()
            .filter_map(|id| self.registry().find(id).ok())
            .map(|container| {
                let run = container.run();
                let place = run.joined.iter().find(|one| one.network == doc.id);
                let endpoint = place.map(|one| one.place.id.as_str()).unwrap_or_default();
                format!(
                    "name:\"{}\" id:\"{}\"",
                    container.name(),
                    endpoint.get(..12).unwrap_or(endpoint)
                )
            })
            .collect();
        EngineError::forbidden(format!(
            "error while removing network: network {} has active endpoints ({})",
            doc.name,
            list.join(", ")
        ))
    }

    /// Removes what is left of a network.
    pub(crate) fn clean_network(&self, tombstone: &TombstoneRow) -> Result<()> {
        let key = tombstone.key.split_once(SEPARATOR);
        if let (Some(network), Some((id, bridge))) = (&self.inner().network, key) {
            network.remove_segment(id, bridge)?;
        }
        Ok(())
    }

    /// Removes networks that no container is on.
    pub async fn prune_networks(&self, filters: Filters) -> Result<NetworksPruneReport> {
        filters.check(&["label", "label!", "until"])?;
        let until = filters.until()?;
        let mut report = NetworksPruneReport::default();
        let mut all = self.inner().networks.all();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        for doc in all {
            let old_enough = until.is_none_or(|until| doc.created < until);
            if !old_enough
                || !filters.labels_match(&doc.labels)
                || !self.inner().networks.members(&doc.id).is_empty()
            {
                continue;
            }
            let (engine, name) = (self.clone(), doc.name.clone());
            let removed = self
                .to_the_end(
                    "network prune",
                    async move { engine.bury_network(doc).await },
                )
                .await;
            match removed {
                Ok(()) => report.networks_deleted.get_or_insert_default().push(name),
                // Somebody removed or joined it meanwhile.
                Err(EngineError::NoSuchNetwork { .. } | EngineError::Forbidden { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.tell_later(events::pruned("network", 0));
        Ok(report)
    }
}
