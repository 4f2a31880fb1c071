//! Ending containers: stop, kill, restart.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shim::protocol::{Request, StopRequest};

use super::record::Status;
use super::registry::Container;
use super::underway::START;
use crate::compile::policy::parse_signal;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// Time between the stop signal and SIGKILL when nobody says otherwise.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// How much longer than its grace a stop may take before the control group is killed from here.
const SLACK: Duration = Duration::from_secs(5);

impl Engine {
    /// Stops a container: its signal, a wait of `timeout` seconds (negative: without end), then SIGKILL to all of it.
    /// A start under way that does not end within that time is given up.
    ///
    /// # Errors
    /// [`EngineError::NotModified`] when it does not run.
    pub async fn stop(&self, id: &str, timeout: Option<i64>, signal: Option<String>) -> Result<()> {
        let container = self.registry().find(id)?;
        let engine = self.clone();
        let name = id.to_owned();
        self.to_the_end("stop", async move {
            let _turn = match container.grace(timeout) {
                Some(grace) => container.turn_within(grace).await,
                None => container.turn.lock().await,
            };
            if !container.run().status.is_up() {
                return Err(EngineError::NotModified);
            }
            let signal = asked_signal(signal, || format!("cannot stop container: {name}"))?;
            engine.stop_in_turn(&container, timeout, signal).await
        })
        .await
    }

    /// Stops a container whose turn the caller has.
    pub(crate) async fn stop_in_turn(
        &self,
        container: &Arc<Container>,
        timeout: Option<i64>,
        signal: Option<i32>,
    ) -> Result<()> {
        self.change(
            container,
            Vec::new(),
            |run| run.stopped_by_user = true,
            |_| Ok(()),
        )
        .await?;
        self.halt(container, timeout, signal).await
    }

    /// As [`Engine::stop_in_turn`], without a word of who wants it.
    async fn halt(
        &self,
        container: &Arc<Container>,
        timeout: Option<i64>,
        signal: Option<i32>,
    ) -> Result<()> {
        let grace = container.grace(timeout);
        if container.run().status == Status::Paused {
            self.thaw(container).await?;
        }
        let number = signal.and_then(|signal| u8::try_from(signal).ok());
        let shown = match (signal, container.spec.config.stop_signal.as_str()) {
            (Some(signal), _) => signal,
            (None, "") => 15,
            (None, text) => parse_signal(text)?,
        };
        let killed = |engine: &Engine| {
            engine.tell_later(container.event("kill", &[("signal", "9".to_owned())]));
        };
        self.tell_later(container.event("kill", &[("signal", shown.to_string())]));
        if shown != 9 && grace.is_some_and(|grace| grace.is_zero()) {
            // Without grace both signals are sent, however fast the first one works.
            killed(self);
        }
        container.stopping.store(true, Ordering::Relaxed);
        let request = StopRequest {
            signal: number,
            grace: grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)),
        };
        let asked = match container.live_link() {
            Ok(_) => container.ask(&Request::Stop(request)).await.map(drop),
            // It waits for a restart that the engine itself would make: nothing runs.
            Err(_) => self.settle_without_shim(container).await,
        };
        if let Err(error) = asked
            && container.run().status.is_up()
        {
            tracing::warn!(%error, container = container.id().short(), "a supervisor does not take a stop: the control group is killed");
            self.kill_group(container).await?;
        }
        if let Some(grace) = grace
            && shown != 9
            && !grace.is_zero()
            && tokio::time::timeout(grace, container.ended())
                .await
                .is_err()
        {
            killed(self);
        }
        let ended = match grace {
            Some(_) => tokio::time::timeout(SLACK, container.ended()).await.is_ok(),
            None => {
                container.ended().await;
                true
            }
        };
        if !ended {
            self.kill_group(container).await?;
            if tokio::time::timeout(SLACK, container.ended())
                .await
                .is_err()
            {
                container.stopping.store(false, Ordering::Relaxed);
                return Err(EngineError::conflict(format!(
                    "cannot stop container: {}: tried to kill container, but did not receive an exit event",
                    container.id()
                )));
            }
        }
        if container.stopping.swap(false, Ordering::Relaxed) {
            self.tell_later(container.event("stop", &[]));
        }
        Ok(())
    }

    /// Stops a container because its engine closes: the next engine starts it again if its policy says so.
    pub(crate) async fn stop_for_closing(&self, container: &Arc<Container>) -> Result<()> {
        self.halt(container, None, None).await?;
        self.change(
            container,
            Vec::new(),
            |run| {
                // As docker: what did not end well is due by `on-failure`.
                if run.exit_code != 0 && run.error.is_empty() {
                    run.error = "the engine was closed".to_owned();
                }
            },
            |_| Ok(()),
        )
        .await
    }

    /// A container between two runs that no shim has any more.
    async fn settle_without_shim(&self, container: &Arc<Container>) -> Result<()> {
        self.change(
            container,
            Vec::new(),
            |run| run.status = Status::Exited,
            |_| Ok(()),
        )
        .await?;
        self.release_volumes_of(container).await;
        container.progress.send_modify(|progress| {
            progress.up = false;
            progress.between_runs = false;
        });
        Ok(())
    }

    async fn kill_group(&self, container: &Container) -> Result<()> {
        let group = self.group_place(container);
        self.blocking("kill", move |engine| Ok(engine.group_at(&group)?.kill()?))
            .await
    }

    /// Sends a signal, SIGKILL by default; after SIGKILL it waits for the end.
    ///
    /// # Errors
    /// Docker's sentence when the container does not run.
    pub async fn kill(&self, id: &str, signal: Option<String>) -> Result<()> {
        let signal = asked_signal(signal, || format!("cannot kill container: {id}"))?.unwrap_or(9);
        let container = self.registry().find(id).map_err(|error| match error {
            EngineError::NoSuchContainer { name } => EngineError::NothingToKill { name },
            other => other,
        })?;
        let engine = self.clone();
        // Not in turn: a stop that waits for its grace to end must be cut short.
        self.to_the_end("kill", async move {
            container.settled_within(START).await;
            engine.kill_now(&container, signal).await
        })
        .await
    }

    async fn kill_now(&self, container: &Arc<Container>, signal: i32) -> Result<()> {
        container.live_link().map_err(|_| not_running(container))?;
        let stops = match container.spec.config.stop_signal.as_str() {
            "" => 15,
            text => parse_signal(text)?,
        };
        if signal == 9 || signal == stops {
            self.change(
                container,
                Vec::new(),
                |run| run.stopped_by_user = true,
                |_| Ok(()),
            )
            .await?;
            container.ask(&Request::StopIntent(true)).await?;
        }
        if signal == 9 {
            self.kill_by_shim(container).await?;
        } else {
            self.send_signal(container, signal, stops).await?;
        }
        self.tell_later(container.event("kill", &[("signal", signal.to_string())]));
        if signal == 9 {
            self.see_it_end(container).await?;
        }
        Ok(())
    }

    /// Has the shim kill its container, which may be frozen.
    async fn kill_by_shim(&self, container: &Arc<Container>) -> Result<()> {
        let request = StopRequest {
            signal: Some(9),
            grace: Some(0),
        };
        let paused = container.run().status == Status::Paused;
        let mut asked = Ok(());
        if paused {
            self.kill_group(container).await?;
            // Once thawed it is dead, and its supervisor may be gone before it is asked anything.
            asked = self.thaw(container).await;
        }
        if asked.is_ok() {
            asked = container.ask(&Request::Stop(request)).await.map(drop);
        }
        match asked {
            Err(error) if container.run().status.is_up() => Err(error),
            Err(_) if !paused => Err(not_running(container)),
            _ => Ok(()),
        }
    }

    /// Has the shim pass a signal on; `stops` is the one that is to end the container.
    async fn send_signal(&self, container: &Arc<Container>, signal: i32, stops: i32) -> Result<()> {
        let signal = u8::try_from(signal).unwrap_or(15);
        container
            .ask(&Request::Signal { signal, exec: None })
            .await
            .map_err(|error| match error {
                EngineError::Shim {
                    source:
                        shim::ShimError::Refused {
                            refusal: shim::protocol::Refusal::NotRunning,
                        },
                } => not_running(container),
                other => other,
            })?;
        // As docker: what may end a frozen container shall reach it. With a stop signal of its own, only that.
        let may_end = signal_ends(container, i32::from(signal), stops);
        if may_end && container.run().status == Status::Paused {
            self.thaw(container).await?;
        }
        Ok(())
    }

    /// Waits for the end of a container that was killed, and kills it past its shim if that does not come.
    async fn see_it_end(&self, container: &Arc<Container>) -> Result<()> {
        let ended = async || tokio::time::timeout(SLACK, container.ended()).await.is_ok();
        if ended().await {
            return Ok(());
        }
        self.kill_group(container).await?;
        if ended().await {
            return Ok(());
        }
        Err(EngineError::conflict(format!(
            "cannot kill container: {}: tried to kill container, but did not receive an exit event",
            container.id()
        )))
    }

    /// Stops a container if it runs, and starts it.
    pub async fn restart(
        &self,
        id: &str,
        timeout: Option<i64>,
        signal: Option<String>,
    ) -> Result<()> {
        let container = self.registry().find(id)?;
        let engine = self.clone();
        let name = id.to_owned();
        self.to_the_end("restart", async move {
            let _turn = container.turn.lock().await;
            if container.run().status.is_up() {
                let signal = asked_signal(signal, || format!("Cannot restart container {name}"))?;
                container.keep.store(true, Ordering::Relaxed);
                let stopped = engine.stop_in_turn(&container, timeout, signal).await;
                container.keep.store(false, Ordering::Relaxed);
                stopped?;
            }
            engine.start_in_turn(&container, 0).await?;
            engine.tell_later(container.event("restart", &[]));
            Ok(())
        })
        .await
    }
}

/// The signal that a request names, if it names one; `what` begins the sentence that refuses it.
fn asked_signal(signal: Option<String>, what: impl FnOnce() -> String) -> Result<Option<i32>> {
    match signal.filter(|signal| !signal.is_empty()) {
        None => Ok(None),
        Some(text) => match parse_signal(&text) {
            Ok(number) => Ok(Some(number)),
            Err(error) => {
                let reason = match text.parse::<i64>() {
                    Ok(number) if number != 0 => {
                        format!("the linux daemon does not support signal {number}")
                    }
                    _ => error.to_string(),
                };
                Err(EngineError::invalid(format!("{}: {reason}", what())))
            }
        },
    }
}

impl Container {
    /// How long a stop waits before it kills, where `timeout` seconds were asked for; `None` is without end.
    fn grace(&self, timeout: Option<i64>) -> Option<Duration> {
        match timeout.or(self.spec.config.stop_timeout) {
            Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
            None => Some(GRACE),
        }
    }

    /// Ready when it does not run and no restart is due, or when it is gone.
    pub(crate) async fn ended(&self) {
        let mut progress = self.progress.subscribe();
        // The sender lives in the container.
        let _ = progress
            .wait_for(|progress| !progress.up || progress.removed)
            .await;
    }
}

/// Whether docker counts a signal as meant to end the container.
fn signal_ends(container: &Container, signal: i32, stops: i32) -> bool {
    container.spec.config.stop_signal.is_empty() || signal == stops
}

fn not_running(container: &Container) -> EngineError {
    EngineError::conflict(format!(
        "cannot kill container: {}: container {} is not running",
        container.name(),
        container.id()
    ))
}
