//! Another name for an image.

use types::Reference;

use super::index::Target;
use crate::engine::Engine;
use crate::events;
use crate::outcome::{EngineError, Result};
use crate::store::{Durability, rows};

impl Engine {
    /// Gives an image the name `repo:tag`; what had that name before loses it.
    pub async fn image_tag(&self, image: &str, repo: &str, tag: Option<String>) -> Result<()> {
        let invalid = |error: types::ReferenceError| EngineError::invalid(error.to_string());
        let mut reference = Reference::parse_normalized(repo).map_err(invalid)?;
        if reference.digest().is_some() {
            return Err(EngineError::invalid(
                "refusing to create a tag with a digest reference",
            ));
        }
        if matches!(reference.familiar_name().as_str(), "sha256" | "sha512") {
            return Err(EngineError::invalid(
                "refusing to create an ambiguous tag using digest algorithm as name",
            ));
        }
        if let Some(tag) = tag.filter(|tag| !tag.is_empty()) {
            reference = reference.with_tag(&tag).map_err(invalid)?;
        }
        let reference = reference.with_default_tag();
        let image = self.images().find(image)?;
        let engine = self.clone();
        self.to_the_end("tag", async move {
            let _gate = engine.inner().gate.read().await;
            let id = image.id;
            if !engine.images().read().images.contains_key(&id) {
                return Err(EngineError::NoSuchImage {
                    name: id.to_string(),
                });
            }
            let (name, shown) = (reference.to_string(), reference.familiar());
            let told = events::event(
                "image",
                "tag",
                id.to_string(),
                [("name".to_owned(), shown)].into(),
            );
            let row = name.clone();
            engine
                .commit(Durability::PowerCut, vec![told], move |connection| {
                    rows::refs::put(connection, &row, &id.to_string(), "")
                })
                .await?;
            engine.images().write().names.insert(
                name,
                Target {
                    image: id,
                    remote: None,
                },
            );
            Ok(())
        })
        .await
    }
}
