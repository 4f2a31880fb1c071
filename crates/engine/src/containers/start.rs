//! Starting: the turn of one container, from its row to a running process and back to its row.

use std::sync::Arc;

use super::launch::Launched;
use super::link::Link;
use super::record::{HealthRecord, Run, Status};
use super::registry::Container;
use crate::clock;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::store::Durability;
use crate::store::rows::{self, ContainerRow};
use crate::volumes::VolumeDoc;

impl Engine {
    /// Starts a container that does not run. Ready when its program runs.
    ///
    /// # Errors
    /// [`EngineError::NotModified`] when it runs; [`EngineError::StartFailed`] with the words from which clients
    /// derive 126 and 127.
    pub async fn start(&self, id: &str, detach_keys: Option<String>) -> Result<()> {
        if let Some(text) = detach_keys.filter(|text| !text.is_empty()) {
            crate::compile::keys::parse(&text, "detach")?;
        }
        let engine = self.clone();
        let container = self.registry().find(id)?;
        self.to_the_end("start", async move {
            let _turn = container.turn.lock().await;
            match container.run().status {
                Status::Paused => {
                    return Err(EngineError::conflict(
                        "cannot start a paused container, try unpause instead",
                    ));
                }
                status if status.is_up() => return Err(EngineError::NotModified),
                _ => {}
            }
            engine.start_in_turn(&container, 0).await
        })
        .await
    }

    /// Starts a container whose turn the caller has; `restarts`: how many by its policy there were in a row, this one
    /// included.
    pub(crate) async fn start_in_turn(
        &self,
        container: &Arc<Container>,
        restarts: u32,
    ) -> Result<()> {
        if container.progress.borrow().removed {
            return Err(EngineError::NoSuchContainer {
                name: container.id().to_string(),
            });
        }
        let _starting = container.starting();
        let outcome = match self.launched(container, restarts).await {
            Ok(launched) => self.started(container, launched, restarts).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            container.tickets.take();
            self.start_failed(container, error).await;
        }
        outcome
    }

    /// Waits for a launch, or until it is given up.
    async fn launched(&self, container: &Arc<Container>, restarts: u32) -> Result<Launched> {
        let begun = container.begin();
        let ready = async {
            // The former run's shim lets go of the root before a new mount uses the same folders.
            container.retired().await;
            self.inner().places.launches.turn().await
        };
        let turn = tokio::select! {
            turn = ready => turn,
            () = begun.underway.given_up() => return Err(EngineError::GivenUp),
        };
        let clients = container.tickets.collect().await;
        let mut launch = self.launch(container, clients, restarts, &begun.underway, turn);
        tokio::select! {
            biased;
            launched = &mut launch => launched.map_err(|_| EngineError::Panicked { operation: "start" })?,
            () = begun.underway.given_up() => {
                self.abandon(container, launch);
                Err(EngineError::GivenUp)
            }
        }
    }

    /// Writes down that a container runs and follows it. One that can not be written down is ended: nothing runs of
    /// which the engine does not know.
    async fn started(
        &self,
        container: &Arc<Container>,
        launched: Launched,
        restarts: u32,
    ) -> Result<()> {
        let link = match self.write_start(container, &launched, restarts).await {
            Ok(link) => link,
            Err(error) => {
                self.undo(container, launched).await;
                return Err(error);
            }
        };
        container.set_link(Some(Arc::clone(&link)));
        container.progress.send_modify(|progress| {
            progress.up = true;
            progress.between_runs = false;
        });
        if launched.asks && launched.epoch != self.names_epoch() {
            let target = Arc::clone(container);
            let told = self
                .blocking("names", move |engine| engine.refresh_names(&target))
                .await;
            if let Err(error) = told {
                tracing::warn!(%error, container = container.id().short(), "a container is not served with names");
            }
        }
        self.watch(Arc::clone(container), link);
        self.tend_network();
        Ok(())
    }

    async fn write_start(
        &self,
        container: &Arc<Container>,
        launched: &Launched,
        restarts: u32,
    ) -> Result<Arc<Link>> {
        let used = self.rows_of_used(&launched.used_volumes)?;
        let networks = launched.networks();
        let mut told =
            container.connection_events(self, true, launched.endpoint.is_some(), &networks);
        told.push(container.event("start", &[]));
        let addresses = launched.addresses();
        let id = container.id().to_string();
        let link = Link::new(Arc::clone(&launched.connection))?;
        let checked = crate::compile::health::parse(&container.spec.config)?.is_some();
        self.change(
            container,
            told,
            move |run| {
                run.status = Status::Running;
                run.pid = launched.pid;
                run.start_ticks = launched.start_ticks;
                run.started_at = launched.time;
                run.finished_at = run.finished_at.min(launched.time);
                run.exit_code = 0;
                run.error.clear();
                run.oom_killed = false;
                run.cursor = 0;
                run.stopped_by_user = false;
                run.restarts = restarts;
                run.restarts_before = restarts;
                run.health = checked.then(|| HealthRecord {
                    state: "starting".to_owned(),
                    failing_streak: 0,
                });
                run.leave_all();
                run.endpoint.clone_from(&launched.endpoint);
                run.joined.clone_from(&launched.joined);
                run.asks = launched.asks;
                run.published.clone_from(&launched.published);
            },
            move |connection| {
                used.iter().try_for_each(|row| row.put(connection))?;
                addresses.iter().try_for_each(|(network, address)| {
                    rows::endpoints::put(connection, network, &id, address)
                })
            },
        )
        .await?;
        let mut volumes = self.inner().volumes.lock();
        for name in &launched.used_volumes {
            if let Some(doc) = volumes.get_mut(name) {
                doc.used = true;
            }
        }
        Ok(link)
    }

    /// Writes down why a start failed; a container that removes itself is gone then.
    async fn start_failed(&self, container: &Arc<Container>, error: &EngineError) {
        let exit_code = match error {
            EngineError::StartFailed { exit_code, .. } => *exit_code,
            _ => 128,
        };
        let sentence = error.to_string();
        // Of one that was given up, too, whatever it hangs in; and of a restart that did not get so far.
        self.release_volumes_of(container).await;
        let outcome = self
            .change(
                container,
                Vec::new(),
                move |run| {
                    run.exit_code = exit_code;
                    run.error = sentence;
                    run.pid = 0;
                    if run.status != Status::Created {
                        run.status = Status::Exited;
                        run.finished_at = clock::now();
                    }
                },
                |_| Ok(()),
            )
            .await;
        if let Err(error) = outcome {
            tracing::error!(%error, container = container.id().short(), "the failure of a start could not be written down");
        }
        if container.spec.host.auto_remove
            && let Err(error) = self.bury(container, true, None).await
        {
            tracing::error!(%error, container = container.id().short(), "a container that failed to start could not be removed");
        }
    }

    /// Volumes that are used for the first time, as rows that say so.
    fn rows_of_used(&self, names: &[String]) -> Result<Vec<crate::store::VolumeRow>> {
        let volumes = self.inner().volumes.lock();
        names
            .iter()
            .filter_map(|name| {
                let used = VolumeDoc {
                    used: true,
                    ..volumes.get(name)?.clone()
                };
                Some(used.row(name))
            })
            .collect()
    }

    /// Commits a change of the part of a container that changes, and shows it to readers.
    pub(crate) async fn change(
        &self,
        container: &Container,
        events: Vec<api_types::Event>,
        edit: impl FnOnce(&mut Run),
        more: impl FnOnce(&rusqlite::Connection) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let edit = |run: &mut Run| {
            edit(run);
            Ok(())
        };
        self.change_if(container, events, edit, more).await
    }

    /// [`Engine::change`] by whoever looks first whether what it was about is still so.
    ///
    /// # Errors
    /// What `edit` says, and those of [`Engine::change`]; nothing is changed then.
    pub(crate) async fn change_if(
        &self,
        container: &Container,
        events: Vec<api_types::Event>,
        edit: impl FnOnce(&mut Run) -> Result<()>,
        more: impl FnOnce(&rusqlite::Connection) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let _writing = container.writing.lock().await;
        if container.progress.borrow().removed {
            return Err(EngineError::NoSuchContainer {
                name: container.id().to_string(),
            });
        }
        let before = container.run();
        let mut run = (*before).clone();
        edit(&mut run)?;
        let (state, doc) = run.columns()?;
        let id = container.id().to_string();
        let durability = match run.has_another_fate(&before, &container.spec) {
            true => Durability::PowerCut,
            false => Durability::Kill,
        };
        self.commit(durability, events, move |connection| {
            ContainerRow::set_run(connection, &id, state, &doc)?;
            more(connection)
        })
        .await?;
        container.set_run(run);
        Ok(())
    }

    /// Has the network do in the background what nobody waits for.
    pub(crate) fn tend_network(&self) {
        self.inner().tending.notify_one();
    }
}
