//! Waiting for an end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use api_types::{Event, WaitResponse};
use types::ContainerId;

use crate::clock;
use crate::engine::Engine;
use crate::options::{WaitCondition, WaitHandle};
use crate::outcome::{EngineError, Result};
use crate::store::rows;

/// How long the end of a container that was removed is remembered, in nanoseconds, if not more has happened since than
/// is kept of events.
const MEMORY: i64 = 600 * 1_000_000_000;

impl Engine {
    /// Tells, now and later, whether anybody was ever attached to a container's output.
    pub fn listened(&self, id: &str) -> Option<Arc<AtomicBool>> {
        let container = self.registry().find(id).ok()?;
        Some(Arc::clone(&container.listened))
    }

    /// Subscribes to a container's end before it returns: nothing that happens later is missed.
    pub async fn wait(&self, id: &str, condition: WaitCondition) -> Result<WaitHandle> {
        let container = match self.registry().find(id) {
            Err(missing @ EngineError::NoSuchContainer { .. }) => {
                let status_code = self.remembered(id).await?.ok_or(missing)?;
                return Ok(Box::pin(std::future::ready(Ok(WaitResponse {
                    error: None,
                    status_code,
                }))));
            }
            found => found?,
        };
        let mut progress = container.progress.subscribe();
        let before = progress.borrow_and_update().exits;
        Ok(Box::pin(async move {
            if matches!(condition, WaitCondition::NotRunning) {
                container.settled().await;
            }
            let reached = progress
                .wait_for(|now| match condition {
                    WaitCondition::NotRunning => !now.up || now.between_runs || now.removed,
                    WaitCondition::NextExit => now.exits > before || now.removed,
                    WaitCondition::Removed => now.removed,
                })
                .await
                .map(|now| now.exit_code);
            // Held until here: the sender lives in the container.
            drop(container);
            let status_code = reached.map_err(|_| EngineError::Closing)?;
            Ok(WaitResponse {
                error: None,
                status_code,
            })
        }))
    }

    /// The status with which a container ended that was removed lately: a client that was cut off by the daemon's end
    /// asks for it by the full id.
    async fn remembered(&self, id: &str) -> Result<Option<i64>> {
        let Ok(id) = id.parse::<ContainerId>() else {
            return Ok(None);
        };
        let since = clock::now() - MEMORY;
        let told = self
            .store()
            .read(move |connection| rows::events::last(connection, since, "die", id.as_str()))
            .await?;
        let event = told.and_then(|told| serde_json::from_str::<Event>(&told).ok());
        let code = event.and_then(|event| event.actor.attributes.get("exitCode")?.parse().ok());
        Ok(code)
    }
}
