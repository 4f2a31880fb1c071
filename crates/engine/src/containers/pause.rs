//! Freezing all processes of a container, and thawing them.

use shim::protocol::Request;

use super::record::Status;
use super::registry::Container;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

impl Engine {
    /// Freezes a container.
    pub async fn pause(&self, id: &str) -> Result<()> {
        let container = self.registry().find(id)?;
        let engine = self.clone();
        self.to_the_end("pause", async move {
            let _turn = container.turn.lock().await;
            if container.must_run()? == Status::Paused {
                return Err(EngineError::conflict(format!(
                    "Container {} is already paused",
                    container.id()
                )));
            }
            engine.freeze(&container, true).await?;
            let told = container.event("pause", &[]);
            engine
                .change(
                    &container,
                    vec![told],
                    |run| {
                        if run.status == Status::Running {
                            run.status = Status::Paused;
                        }
                    },
                    |_| Ok(()),
                )
                .await
        })
        .await
    }

    /// Thaws a container.
    pub async fn unpause(&self, id: &str) -> Result<()> {
        let container = self.registry().find(id)?;
        let engine = self.clone();
        self.to_the_end("unpause", async move {
            let _turn = container.turn.lock().await;
            if container.run().status != Status::Paused {
                return Err(EngineError::conflict(format!(
                    "Container {} is not paused",
                    container.id()
                )));
            }
            engine.thaw(&container).await
        })
        .await
    }

    pub(crate) async fn thaw(&self, container: &Container) -> Result<()> {
        self.freeze(container, false).await?;
        let told = container.event("unpause", &[]);
        self.change(
            container,
            vec![told],
            |run| {
                if run.status == Status::Paused {
                    run.status = Status::Running;
                }
            },
            |_| Ok(()),
        )
        .await
    }

    async fn freeze(&self, container: &Container, frozen: bool) -> Result<()> {
        // A check that can not run must not count as failed.
        if container.run().health.is_some()
            && let Ok(link) = container.live_link()
        {
            link.tell(&Request::SuspendHealth(frozen));
        }
        let id = container.id().to_string();
        self.blocking("pause", move |engine| {
            Ok(engine.inner().groups.group(&id)?.freeze(frozen)?)
        })
        .await
    }
}
