//! Removing images that nobody uses.

use api_types::ImagesPruneReport;

use crate::engine::Engine;
use crate::events;
use crate::filters::Filters;
use crate::outcome::{EngineError, Result};

impl Engine {
    /// Removes images without a name; with the filter `dangling=false` all that no container uses. What is left of
    /// transfers that were given up is of no image: it goes too, unless labels or a time narrow the choice.
    pub async fn prune_images(&self, filters: Filters) -> Result<ImagesPruneReport> {
        filters.check(&["dangling", "label", "label!", "until"])?;
        let dangling = !filters
            .get("dangling")
            .any(|value| matches!(value, "false" | "0"));
        let until = filters
            .get("until")
            .next()
            .map(crate::options::parse_time)
            .transpose()?;
        let before = self.image_bytes();
        let used = self.images_of_containers();
        let candidates: Vec<_> = {
            let state = self.images().read();
            state
                .images
                .values()
                .filter(|image| {
                    let named = state.names_of(&image.id).next().is_some();
                    let kept = (named && dangling)
                        || image.doc.built_in
                        || used.contains(&image.id.to_string());
                    !kept
                        && until.is_none_or(|until| image.created < until)
                        && filters.labels_match(&image.config.labels.clone().unwrap_or_default())
                })
                .map(|image| image.id)
                .collect()
        };
        let mut report = ImagesPruneReport::default();
        for id in candidates {
            match self.image_remove(&id.to_string(), None, true).await {
                Ok(mut removed) => report
                    .images_deleted
                    .get_or_insert_default()
                    .append(&mut removed),
                // A container was made from it, or somebody removed it meanwhile.
                Err(EngineError::Conflict { .. } | EngineError::NoSuchImage { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        report.space_reclaimed = before.saturating_sub(self.image_bytes());
        if !["label", "label!", "until"]
            .iter()
            .any(|key| filters.has(key))
        {
            report.space_reclaimed += self.prune_partials().await?;
        }
        self.tell_later(events::pruned("image", report.space_reclaimed));
        Ok(report)
    }

    /// Bytes of all layers.
    pub(crate) fn image_bytes(&self) -> u64 {
        self.images()
            .read()
            .layers
            .values()
            .map(|layer| layer.size)
            .sum()
    }
}
