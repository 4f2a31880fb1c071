//! Removing: names, ports, volumes and the row go in one transaction; the rest follows from its tombstone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::{ContainersPruneReport, texts};

use super::registry::Container;
use crate::cleaner::{self, Job};
use crate::compile::mounts::Source;
use crate::engine::Engine;
use crate::events;
use crate::filters::Filters;
use crate::options::RemoveOptions;
use crate::outcome::{EngineError, Result};
use crate::store::rows::ContainerRow;
use crate::store::{Durability, TombstoneRow, VolumeRow};

/// How long a removal by force waits for a start under way before it is given up.
const PATIENCE: Duration = Duration::from_secs(2);

impl Engine {
    /// Removes a container; `force` gives up a start of it that hangs.
    ///
    /// # Errors
    /// Docker's sentence when it runs and `force` is not given.
    pub async fn remove(&self, id: &str, options: RemoveOptions) -> Result<()> {
        if options.link {
            return self.remove_link(id).await;
        }
        let container = self.registry().find(id)?;
        let engine = self.clone();
        let name = id.to_owned();
        self.to_the_end("remove", async move {
            let status = container.run().status;
            if status.is_up() {
                if !options.force {
                    return Err(EngineError::conflict(texts::remove_running(
                        &name,
                        status.name(),
                    )));
                }
                engine.kill_for_removal(&container).await?;
            }
            let _turn = match options.force {
                true => container.turn_within(PATIENCE).await,
                false => container.turn.lock().await,
            };
            if container.progress.borrow().removed {
                // Somebody else was faster, or it removed itself when it was killed.
                return if options.force {
                    Ok(())
                } else {
                    Err(EngineError::NoSuchContainer {
                        name: container.id().to_string(),
                    })
                };
            }
            let status = container.run().status;
            if status.is_up() && !options.force {
                // It was being started.
                return Err(EngineError::conflict(texts::remove_running(
                    &name,
                    status.name(),
                )));
            }
            if status.is_up() {
                engine.stop_in_turn(&container, Some(0), Some(9)).await?;
            }
            engine.bury(&container, options.volumes, None).await
        })
        .await
    }

    /// Ends a container before its turn comes: whoever has the turn may be waiting for it to end.
    async fn kill_for_removal(&self, container: &Arc<Container>) -> Result<()> {
        match self.kill(container.id().as_str(), None).await {
            Err(error) if container.run().status.is_up() => {
                tracing::debug!(%error, "a container that is to be removed is stopped in its turn");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The removal itself: `told` are events that go before `destroy`. Removing twice is harmless.
    pub(crate) async fn bury(
        &self,
        container: &Arc<Container>,
        volumes: bool,
        told: Option<Vec<api_types::Event>>,
    ) -> Result<()> {
        self.release_volumes_of(container).await;
        let anonymous = if volumes {
            anonymous_volumes(container)
        } else {
            Vec::new()
        };
        // With volumes to remove nobody else may begin to use them meanwhile.
        let _gate = match anonymous.is_empty() {
            true => None,
            false => Some(self.inner().gate.write().await),
        };
        let _writing = container.writing.lock().await;
        if container.progress.borrow().removed {
            return Ok(());
        }
        if told.is_none() {
            let run = container.run();
            self.give_network_back(container, &run).await;
        }
        let anonymous = self.unused_elsewhere(container, anonymous);
        let mut events = told.unwrap_or_default();
        for name in &anonymous {
            events.push(events::event(
                "volume",
                "destroy",
                name,
                BTreeMap::from([("driver".to_owned(), "local".to_owned())]),
            ));
        }
        events.push(container.event("destroy", &[]));
        let durability = if container.spec.host.auto_remove {
            Durability::Kill
        } else {
            Durability::PowerCut
        };
        let (id, names) = (container.id().to_string(), anonymous.clone());
        let (tombstones, showing) = self
            .commit_showing(durability, events, move |connection| {
                ContainerRow::delete(connection, &id)?;
                let sequence = TombstoneRow::insert(connection, cleaner::CONTAINER, &id)?;
                let mut tombstones = vec![TombstoneRow {
                    sequence,
                    kind: cleaner::CONTAINER.to_owned(),
                    key: id,
                }];
                for name in names {
                    VolumeRow::delete(connection, &name)?;
                    let sequence = TombstoneRow::insert(connection, cleaner::VOLUME, &name)?;
                    tombstones.push(TombstoneRow {
                        sequence,
                        kind: cleaner::VOLUME.to_owned(),
                        key: name,
                    });
                }
                Ok(tombstones)
            })
            .await?;
        self.buried(container, &anonymous, tombstones, showing)
            .await;
        Ok(())
    }

    /// Memory follows the store; cleaning is queued.
    async fn buried(
        &self,
        container: &Arc<Container>,
        volumes: &[String],
        tombstones: Vec<TombstoneRow>,
        showing: events::Showing,
    ) {
        self.registry().remove(container);
        {
            let mut known = self.inner().volumes.lock();
            volumes.iter().for_each(|name| {
                known.remove(name);
            });
        }
        self.forget_execs(container);
        container.tickets.take();
        let link = container.set_link(None);
        self.inner().cleaner.announce(tombstones.len());
        let tombstones = self.away_with_volumes(tombstones).await;
        container.progress.send_modify(|progress| {
            progress.removed = true;
            if progress.up && !progress.between_runs {
                progress.exits += 1;
            }
            progress.up = false;
            progress.between_runs = false;
        });
        drop(showing);
        for tombstone in tombstones {
            let release = match (&link, tombstone.kind.as_str()) {
                (Some(link), cleaner::CONTAINER) => {
                    let (link, runtime) = (Arc::clone(link), tokio::runtime::Handle::current());
                    let id = container.id().clone();
                    let release: Box<dyn FnOnce() + Send> =
                        Box::new(move || runtime.block_on(link.release(&id)));
                    Some(release)
                }
                _ => None,
            };
            let engine = self.clone();
            // The queue is bounded: when it is full the remover waits, on a thread for such things.
            let job = Job {
                tombstone,
                release,
                held: None,
            };
            match engine.inner().cleaner.try_queue(job) {
                Ok(()) => {}
                Err(job) => {
                    let _ = self
                        .blocking("remove", move |engine| {
                            engine.inner().cleaner.queue(*job);
                            Ok(())
                        })
                        .await;
                }
            }
        }
    }

    /// Moves the volumes among what was removed away, on a thread for such things.
    async fn away_with_volumes(&self, tombstones: Vec<TombstoneRow>) -> Vec<TombstoneRow> {
        let is_volume = |one: &&TombstoneRow| one.kind == cleaner::VOLUME;
        let volumes: Vec<TombstoneRow> = tombstones.iter().filter(is_volume).cloned().collect();
        if !volumes.is_empty() {
            let _ = self
                .blocking("remove", move |engine| {
                    for tombstone in &volumes {
                        engine.move_volume_away(tombstone);
                    }
                    Ok(())
                })
                .await;
        }
        tombstones
    }

    /// Of these volumes, the ones that no other container uses.
    fn unused_elsewhere(&self, container: &Container, names: Vec<String>) -> Vec<String> {
        if names.is_empty() {
            return names;
        }
        let others = self.registry().all();
        names
            .into_iter()
            .filter(|name| {
                !others.iter().filter(|other| other.id() != container.id()).any(|other| {
                    other.spec.mounts.iter().any(|mount| matches!(&mount.source, Source::Volume { name: used, .. } if used == name))
                })
            })
            .collect()
    }

    /// Removes all containers that do not run.
    pub async fn prune_containers(&self, filters: Filters) -> Result<ContainersPruneReport> {
        filters.check(&["label", "label!", "until"])?;
        let until = filters.until()?;
        let mut report = ContainersPruneReport::default();
        for container in self.registry().all() {
            let old_enough = until.is_none_or(|until| container.spec.created < until);
            if container.run().status.is_up()
                || !old_enough
                || !filters.labels_match(&container.spec.config.labels)
            {
                continue;
            }
            let id = container.id().to_string();
            let size = self.writable_size(&container).await.unwrap_or(0);
            match self.remove(&id, RemoveOptions::default()).await {
                Ok(()) => {
                    report.containers_deleted.get_or_insert_default().push(id);
                    report.space_reclaimed += size;
                }
                // Somebody removed or started it meanwhile.
                Err(EngineError::NoSuchContainer { .. } | EngineError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.tell_later(events::pruned("container", report.space_reclaimed));
        Ok(report)
    }
}

fn anonymous_volumes(container: &Container) -> Vec<String> {
    container
        .spec
        .mounts
        .iter()
        .filter_map(|mount| match &mount.source {
            Source::Volume {
                name,
                anonymous: true,
                ..
            } => Some(name.clone()),
            _ => None,
        })
        .collect()
}
