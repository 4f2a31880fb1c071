//! Another name for a container.

use std::sync::Arc;

use super::names;
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::store::Durability;
use crate::store::rows::ContainerRow;

impl Engine {
    /// Renames a container, running or not.
    pub async fn rename(&self, id: &str, new_name: &str) -> Result<()> {
        let container = self.registry().find(id)?;
        if new_name.is_empty() {
            return Err(EngineError::invalid(
                "Neither old nor new names may be empty",
            ));
        }
        let new_name = names::check(new_name)
            .map_err(|_| {
                let bare = new_name.strip_prefix('/').unwrap_or(new_name);
                EngineError::invalid(format!(
                    "Error when allocating new name: {}",
                    names::refusal(&format!("/{bare}"))
                ))
            })?
            .to_owned();
        let engine = self.clone();
        self.to_the_end("rename", async move {
            let _turn = container.turn.lock().await;
            let old_name = container.name();
            if old_name == new_name {
                return Err(EngineError::invalid(
                    "Renaming a container with the same name as its current name",
                ));
            }
            engine
                .registry()
                .reserve(&new_name, container.id())
                .map_err(|error| {
                    EngineError::conflict(format!("Error when allocating new name: {error}"))
                })?;
            let _writing = container.writing.lock().await;
            let mut told = container.event("rename", &[("oldName", format!("/{old_name}"))]);
            told.actor
                .attributes
                .insert("name".to_owned(), new_name.clone());
            let (row, name) = (container.id().to_string(), new_name.clone());
            let renamed = engine
                .commit(Durability::PowerCut, vec![told], move |connection| {
                    ContainerRow::rename(connection, &row, &name)
                })
                .await;
            match renamed {
                Ok(()) => {
                    container.set_name(new_name);
                    engine.registry().release(&old_name, container.id());
                    let target = Arc::clone(&container);
                    engine
                        .blocking("rename", move |engine| engine.refresh_names(&target))
                        .await
                }
                Err(error) => {
                    engine.registry().release(&new_name, container.id());
                    Err(error)
                }
            }
        })
        .await
    }
}
