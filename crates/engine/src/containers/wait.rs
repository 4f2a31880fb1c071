//! Waiting for an end.

use api_types::WaitResponse;

use crate::engine::Engine;
use crate::options::{WaitCondition, WaitHandle};
use crate::outcome::{EngineError, Result};

impl Engine {
    /// Subscribes to a container's end before it returns: nothing that happens later is missed.
    pub async fn wait(&self, id: &str, condition: WaitCondition) -> Result<WaitHandle> {
        let container = self.registry().find(id)?;
        let mut progress = container.progress.subscribe();
        let before = progress.borrow_and_update().exits;
        Ok(Box::pin(async move {
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
}
