//! `history`: how an image was built, as far as it says.

use api_types::HistoryItem;
use types::Platform;

use super::pull::familiar;
use crate::clock;
use crate::engine::Engine;
use crate::outcome::Result;

impl Engine {
    /// The steps of an image's build, the last one first. The image must be for one of the platforms, if any is given.
    pub async fn image_history(
        &self,
        image: &str,
        platforms: &[Platform],
    ) -> Result<Vec<HistoryItem>> {
        let state = self.images().read();
        let image = state.find_for(image, platforms)?;
        let mut layers = image
            .chains
            .iter()
            .map(|chain| state.layers.get(chain).map_or(0, |layer| layer.size as i64));
        let mut items: Vec<HistoryItem> = image
            .parsed
            .document()
            .history
            .iter()
            .map(|step| HistoryItem {
                comment: step.comment.clone(),
                created: step
                    .created
                    .as_deref()
                    .and_then(clock::parse_rfc3339)
                    .unwrap_or(0)
                    / 1_000_000_000,
                created_by: step.created_by.clone(),
                id: "<missing>".to_owned(),
                size: if step.empty_layer {
                    0
                } else {
                    layers.next().unwrap_or(0)
                },
                tags: None,
            })
            .collect();
        items.reverse();
        if let Some(newest) = items.first_mut() {
            newest.id = image.id.to_string();
            let tags: Vec<String> = state
                .names_of(&image.id)
                .map(|(name, _)| familiar(name))
                .collect();
            newest.tags = (!tags.is_empty()).then_some(tags);
        }
        Ok(items)
    }
}
