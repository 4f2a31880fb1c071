//! What shims tell: starts, exits, restarts, in order, each into the store before anybody hears of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shim::protocol::{Event, EventKind, HealthState, Request, RestartOutlook};

use super::link::Link;
use super::record::{HealthRecord, Run, Status};
use super::registry::Container;
use crate::engine::Engine;
use crate::events;
use crate::networks::places;
use crate::outcome::Result;
use crate::store::rows;

/// An exit as it is written down.
#[derive(Debug, Clone)]
pub(crate) struct Exit {
    pub(crate) code: i64,
    pub(crate) oom: bool,
    /// Nanoseconds since 1970.
    pub(crate) time: i64,
    /// A sentence for an end that the program did not cause.
    pub(crate) error: String,
    pub(crate) restart: RestartOutlook,
    /// Its number in the journal; 0 when it comes from elsewhere.
    pub(crate) sequence: u64,
}

impl Engine {
    /// Takes one event; true when the container ended for good.
    pub(crate) async fn hear(
        &self,
        container: &Arc<Container>,
        link: &Arc<Link>,
        event: Event,
    ) -> Result<bool> {
        let Event {
            sequence,
            time,
            kind,
        } = event;
        if sequence != 0 && sequence <= container.run().cursor {
            return Ok(false);
        }
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let exit = |code: i64, oom, error, restart| Exit {
            code,
            oom,
            time,
            error,
            restart,
            sequence,
        };
        let ended = match kind {
            EventKind::Started {
                pid,
                start_ticks,
                restarts,
                ..
            } => {
                self.heard_start(container, sequence, time, pid, start_ticks, restarts)
                    .await?;
                false
            }
            EventKind::StartFailed { exit_code, text } => {
                let exit = exit(i64::from(exit_code), false, text, RestartOutlook::None);
                self.exited(container, exit, Some(link)).await?
            }
            EventKind::Exited {
                code, oom, restart, ..
            } => {
                let exit = exit(i64::from(code), oom, String::new(), restart);
                self.exited(container, exit, Some(link)).await?
            }
            EventKind::RestartCancelled => {
                let run = container.run();
                let exit = exit(
                    run.exit_code,
                    run.oom_killed,
                    String::new(),
                    RestartOutlook::None,
                );
                self.settled(container, exit, Some(link), Vec::new())
                    .await?
            }
            EventKind::ExecExited { id, code } => {
                self.exec_exited(container, id.as_str(), i64::from(code), sequence, time)
                    .await?;
                false
            }
            EventKind::Health {
                state,
                failing_streak,
            } => {
                self.heard_health(container, sequence, state, failing_streak)
                    .await?;
                false
            }
            EventKind::LinesLost { lines } => {
                tracing::warn!(
                    container = container.id().short(),
                    lines,
                    "lines of a container's output were lost: its log did not take them"
                );
                false
            }
            EventKind::Detached { exec, .. } => {
                let action = match exec {
                    Some(_) => "exec_detach",
                    None => "detach",
                };
                self.tell_later(container.event(action, &[]));
                false
            }
        };
        if sequence != 0 && !ended {
            link.tell(&Request::Acknowledge { sequence });
        }
        Ok(ended)
    }

    /// The result of a health check that changes what is told of the container.
    async fn heard_health(
        &self,
        container: &Arc<Container>,
        sequence: u64,
        state: HealthState,
        failing_streak: u32,
    ) -> Result<()> {
        let word = match state {
            HealthState::Starting => "starting",
            HealthState::Healthy => "healthy",
            HealthState::Unhealthy => "unhealthy",
        };
        let told = container.event(format!("health_status: {word}"), &[]);
        self.change(
            container,
            vec![told],
            move |run| {
                run.cursor = sequence;
                run.health = Some(HealthRecord {
                    state: word.to_owned(),
                    failing_streak,
                });
            },
            |_| Ok(()),
        )
        .await
    }

    /// A start that the shim made by itself; the first one is known already.
    async fn heard_start(
        &self,
        container: &Arc<Container>,
        sequence: u64,
        time: i64,
        pid: u32,
        start_ticks: u64,
        restarts: u32,
    ) -> Result<()> {
        let run = container.run();
        if run.pid == pid && run.start_ticks == start_ticks {
            // Nothing changes but the cursor, which goes with the next write.
            return Ok(());
        }
        let told = events::at(
            time,
            "container",
            "start",
            container.id().as_str(),
            container.event_attributes(),
        );
        self.change(
            container,
            vec![told],
            move |run| {
                run.status = Status::Running;
                run.pid = pid;
                run.start_ticks = start_ticks;
                run.started_at = time;
                run.restarts = run.restarts_before.saturating_add(restarts);
                run.error.clear();
                run.cursor = sequence;
                run.begin_health();
            },
            |_| Ok(()),
        )
        .await?;
        container.progress.send_modify(|progress| {
            progress.up = true;
            progress.between_runs = false;
        });
        if container.run().asks {
            // Should the helper have been made again while nothing of the container ran.
            let target = Arc::clone(container);
            let told = self
                .blocking("names", move |engine| engine.refresh_names(&target))
                .await;
            if let Err(error) = told {
                tracing::warn!(%error, container = container.id().short(), "a container is not served with names");
            }
        }
        Ok(())
    }

    /// Writes an exit down and tells waiters; true when no restart follows.
    pub(crate) async fn exited(
        &self,
        container: &Arc<Container>,
        exit: Exit,
        link: Option<&Arc<Link>>,
    ) -> Result<bool> {
        let lasted = (exit.time - container.run().started_at).max(0) / 1_000_000_000;
        let mut attributes = container.event_attributes();
        let mut told = Vec::new();
        if exit.oom {
            told.push(events::at(
                exit.time,
                "container",
                "oom",
                container.id().as_str(),
                attributes.clone(),
            ));
        }
        attributes.insert("exitCode".to_owned(), exit.code.to_string());
        attributes.insert("execDuration".to_owned(), lasted.to_string());
        told.push(events::at(
            exit.time,
            "container",
            "die",
            container.id().as_str(),
            attributes,
        ));
        match exit.restart {
            RestartOutlook::None => self.settled(container, exit, link, told).await,
            RestartOutlook::After { .. } => {
                self.between_runs(container, &exit, told).await?;
                Ok(false)
            }
            RestartOutlook::ByDaemon { delay } => {
                // The next run gets a place of its own.
                self.disconnect(container, &mut told).await;
                self.between_runs(container, &exit, told).await?;
                self.restart_later(container, link, Duration::from_millis(delay));
                Ok(true)
            }
        }
    }

    async fn between_runs(
        &self,
        container: &Arc<Container>,
        exit: &Exit,
        told: Vec<api_types::Event>,
    ) -> Result<()> {
        let (exit, code) = (exit.clone(), exit.code);
        // Without its shim nothing else of it goes on either.
        let is_over = matches!(exit.restart, RestartOutlook::ByDaemon { .. });
        let id = container.id().to_string();
        self.change(
            container,
            told,
            move |run| {
                run.status = Status::Restarting;
                run.pid = 0;
                run.exit_code = exit.code;
                run.oom_killed = exit.oom;
                run.finished_at = exit.time;
                run.error = exit.error;
                run.cursor = exit.sequence.max(run.cursor);
                run.end_health();
            },
            move |connection| {
                if is_over {
                    rows::execs::delete_of(connection, &id)?;
                    rows::endpoints::delete(connection, &id)?;
                }
                Ok(())
            },
        )
        .await?;
        if is_over {
            self.end_execs(container);
        }
        container.progress.send_modify(|progress| {
            progress.exits += 1;
            progress.exit_code = code;
            progress.between_runs = true;
        });
        Ok(())
    }

    /// The end of a container for which no restart is due.
    pub(crate) async fn settled(
        &self,
        container: &Arc<Container>,
        exit: Exit,
        link: Option<&Arc<Link>>,
        mut told: Vec<api_types::Event>,
    ) -> Result<bool> {
        self.disconnect(container, &mut told).await;
        if container.stopping.swap(false, Ordering::Relaxed) {
            told.push(container.event("stop", &[]));
        }
        self.release_volumes_of(container).await;
        let (code, sequence) = (exit.code, exit.sequence);
        if container.spec.host.auto_remove && !container.keep.load(Ordering::Relaxed) {
            container
                .progress
                .send_modify(|progress| progress.exit_code = code);
            container.tickets.take();
            self.bury(container, true, Some(told)).await?;
            acknowledge(link, sequence);
            return Ok(true);
        }
        let id = container.id().to_string();
        self.change(
            container,
            told,
            move |run| {
                run.status = Status::Exited;
                run.pid = 0;
                run.exit_code = exit.code;
                run.oom_killed = exit.oom;
                run.finished_at = exit.time;
                if !exit.error.is_empty() {
                    run.error = exit.error;
                }
                run.cursor = exit.sequence.max(run.cursor);
                run.end_health();
                run.leave_all();
            },
            move |connection| {
                rows::execs::delete_of(connection, &id)?;
                rows::endpoints::delete(connection, &id)
            },
        )
        .await?;
        self.end_execs(container);
        self.retire(container, link.cloned());
        container.progress.send_modify(|progress| {
            if !progress.between_runs {
                progress.exits += 1;
            }
            progress.exit_code = code;
            progress.up = false;
            progress.between_runs = false;
        });
        acknowledge(link, sequence);
        Ok(true)
    }

    /// Takes a container off its network; what is to be told of that joins `told`.
    pub(crate) async fn disconnect(
        &self,
        container: &Arc<Container>,
        told: &mut Vec<api_types::Event>,
    ) {
        let before = container.run();
        let joined: Vec<String> = before
            .joined
            .iter()
            .map(|one| one.network.clone())
            .collect();
        told.extend(container.connection_events(self, false, before.endpoint.is_some(), &joined));
        if before.is_connected() || before.asks || before.doors().next().is_some() {
            // If this end has to be written down again, the address may be somebody else's by then.
            let writing = container.writing.lock().await;
            let mut run = (*container.run()).clone();
            run.leave_all();
            container.set_run(run);
            drop(writing);
            self.give_network_back(container, &before).await;
        }
    }

    /// Closes published ports and frees addresses: before anybody hears that the container ended.
    pub(crate) async fn give_network_back(&self, container: &Arc<Container>, run: &Arc<Run>) {
        let doors = run.doors().next().is_some();
        if !run.is_connected() && !run.asks && !doors {
            return;
        }
        let outcome = match &self.inner().network {
            // Not worth a thread: an address is put back into a list.
            Some(_) if run.published.is_empty() && !doors => Ok(()),
            Some(_) => {
                let id = container.id().clone();
                let unpublish = move |engine: &Engine| {
                    if doors {
                        engine.close_doors(&id);
                    }
                    match &engine.inner().network {
                        Some(network) => Ok(network.unpublish(&id)?),
                        None => Ok(()),
                    }
                };
                self.blocking("network", unpublish).await
            }
            None => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::error!(%error, container = container.id().short(), "a container's network could not be given back");
        }
        if let (Some(network), Some(record)) = (&self.inner().network, &run.endpoint) {
            network.release(&places::place_endpoint(container, network::HOME, record));
        }
        if run.asks || !run.joined.is_empty() {
            let (target, run) = (Arc::clone(container), Arc::clone(run));
            let left = self
                .blocking("network", move |engine| {
                    engine.leave_networks(&target, &run.joined, run.asks);
                    Ok(())
                })
                .await;
            if let Err(error) = left {
                tracing::error!(%error, container = container.id().short(), "a container's networks were not left");
            }
        }
        self.tend_network();
    }

    /// Lets the shim go and removes control groups and sockets, in the background; a new start waits for it.
    pub(crate) fn retire(&self, container: &Arc<Container>, link: Option<Arc<Link>>) {
        container.set_link(None);
        let Ok(guard) = Arc::clone(&container.retiring).try_lock_owned() else {
            return;
        };
        let (engine, container) = (self.clone(), Arc::clone(container));
        // Ends by itself: each step is bounded. A new start of the container waits for it.
        tokio::spawn(async move {
            let _guard = guard;
            if let Some(link) = link {
                link.release(container.id()).await;
            }
            let outcome = engine
                .blocking("retire", move |engine| {
                    engine.remove_group(container.id().as_str())?;
                    crate::cleaner::remove_tree(&engine.paths().shim(container.id()))
                })
                .await;
            if let Err(error) = outcome {
                tracing::warn!(%error, "what a container used could not be removed; the next start of the engine tries again");
            }
        });
    }

    /// Starts a container again whose shim could not.
    pub(crate) fn restart_later(
        &self,
        container: &Arc<Container>,
        link: Option<&Arc<Link>>,
        delay: Duration,
    ) {
        self.retire(container, link.cloned());
        let (engine, container) = (self.clone(), Arc::clone(container));
        let closing = self.closing();
        // Ends with the start, or when somebody stopped or removed the container, or the engine closes.
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = closing => return,
            }
            let _turn = container.turn.lock().await;
            if container.run().status != Status::Restarting {
                return;
            }
            container.retired().await;
            // The next shim counts from one. Should this daemon end before the start is written down, the next one must
            // not take its first words for old ones.
            let fresh = engine
                .change(
                    &container,
                    Vec::new(),
                    |run| {
                        run.cursor = 0;
                        run.restarts = run.restarts.saturating_add(1);
                        run.restarts_before = run.restarts;
                    },
                    |_| Ok(()),
                )
                .await;
            if fresh.is_ok()
                && let Err(error) = engine
                    .start_in_turn(&container, container.run().restarts)
                    .await
            {
                tracing::warn!(%error, container = container.id().short(), "a restart failed");
            }
        });
    }
}

/// Tells the shim that an end shows: its clients hear of it now.
fn acknowledge(link: Option<&Arc<Link>>, sequence: u64) {
    if let (Some(link), true) = (link, sequence != 0) {
        link.tell(&Request::Acknowledge { sequence });
    }
}
