//! Freezing all processes of a container, and thawing them.

use std::sync::Arc;

use shim::protocol::Request;

use super::record::{Run, Status};
use super::registry::Container;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

impl Engine {
    /// Freezes a container.
    pub async fn pause(&self, id: &str) -> Result<()> {
        let container = self.registry().find(id)?;
        self.pause_container(container, false).await
    }

    /// Freezes a container for as long as an image is made of it. One that somebody froze meanwhile stays so.
    pub(crate) async fn pause_for_commit(&self, container: &Arc<Container>) -> Result<()> {
        self.pause_container(Arc::clone(container), true).await
    }

    /// Thaws a container that was frozen for a commit, unless somebody did that already.
    pub(crate) async fn unpause_after_commit(&self, container: &Arc<Container>) -> Result<()> {
        let _turn = container.turn.lock().await;
        let run = container.run();
        if run.status == Status::Paused && run.paused_for_commit {
            self.thaw(container).await?;
        }
        Ok(())
    }

    /// Thaws what a commit froze that was cut off.
    pub(crate) async fn unpause_after_crash(&self) {
        for container in self.registry().all() {
            let run = container.run();
            if run.status.is_up()
                && run.paused_for_commit
                && let Err(error) = self.thaw(&container).await
            {
                tracing::warn!(%error, container = container.id().short(), "a container stays frozen that was to be committed");
            }
        }
    }

    async fn pause_container(&self, container: Arc<Container>, for_commit: bool) -> Result<()> {
        let engine = self.clone();
        self.to_the_end("pause", async move {
            let _turn = container.turn.lock().await;
            if container.must_run()? == Status::Paused {
                return Err(EngineError::conflict(format!(
                    "Container {} is already paused",
                    container.id()
                )));
            }
            if for_commit {
                // Written before it is done: the next daemon knows what to undo.
                let note = |run: &mut Run| run.paused_for_commit = true;
                engine
                    .change(&container, Vec::new(), note, |_| Ok(()))
                    .await?;
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
                            run.paused_for_commit = for_commit;
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
                run.paused_for_commit = false;
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
        let group = self.group_place(container);
        self.blocking("pause", move |engine| {
            Ok(engine.group_at(&group)?.freeze(frozen)?)
        })
        .await
    }
}
