//! Removing images that nobody uses.

use std::collections::{HashMap, HashSet};

use api_types::ImagesPruneReport;
use types::Reference;

use super::index::Image;

use crate::engine::Engine;
use crate::events;
use crate::filters::Filters;
use crate::outcome::{EngineError, Result};

impl Engine {
    /// Removes images without a name; with the filter `dangling=false` all that no container uses. What is left of
    /// transfers that were given up is of no image: it goes too, unless labels or a time narrow the choice.
    pub async fn prune_images(&self, filters: Filters) -> Result<ImagesPruneReport> {
        let engine = self.clone();
        self.to_the_end(
            "image prune",
            async move { engine.prune_chosen(filters).await },
        )
        .await
    }

    async fn prune_chosen(&self, filters: Filters) -> Result<ImagesPruneReport> {
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
        let chosen = &|image: &Image| {
            until.is_none_or(|until| image.created < until)
                && filters.labels_match(&image.config.labels.clone().unwrap_or_default())
        };
        let mut report = ImagesPruneReport::default();
        for wanted in self.doomed(dangling, chosen) {
            // Whoever makes a container or a name of it has his turn between two, and then it stays.
            let _gate = self.inner().gate.write().await;
            if !self.doomed(dangling, chosen).contains(&wanted) {
                continue;
            }
            match self.remove_image(&wanted, true).await {
                Ok(mut removed) => report
                    .images_deleted
                    .get_or_insert_default()
                    .append(&mut removed),
                Err(EngineError::Conflict { .. } | EngineError::NoSuchImage { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.collect_quietly().await;
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

    /// What goes: images by their ids that nobody needs, and with `dangling` off the names of the others that say no more
    /// than another one, which is that of a container or, as in docker, the last in order.
    fn doomed(&self, dangling: bool, chosen: &impl Fn(&Image) -> bool) -> Vec<String> {
        let mut used: HashMap<String, HashSet<String>> = HashMap::new();
        for container in self.registry().all() {
            let spec = &container.spec;
            let name = Reference::parse_normalized(&spec.config.image);
            used.entry(spec.image.clone())
                .or_default()
                .extend(name.ok().map(|name| name.to_string()));
        }
        let state = self.images().read();
        let mut doomed = Vec::new();
        for image in state.images.values() {
            if image.doc.built_in || !chosen(image) {
                continue;
            }
            let names: Vec<&str> = state.names_of(&image.id).map(|(name, _)| name).collect();
            match used.get(&image.id.to_string()) {
                None if dangling && !names.is_empty() => {}
                None => doomed.push(image.id.to_string()),
                Some(_) if dangling => {}
                Some(by) => doomed.extend(superfluous(&names, by)),
            }
        }
        doomed
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

/// The tags of an image that containers use, but for those that containers name, or the last where none does.
fn superfluous(names: &[&str], by: &HashSet<String>) -> Vec<String> {
    let is_tag = |name: &&&str| !name.contains('@');
    let kept: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| by.contains(*name))
        .collect();
    let last = names.iter().rfind(is_tag).copied();
    names
        .iter()
        .filter(is_tag)
        .filter(|name| match kept.is_empty() {
            true => Some(**name) != last,
            false => !kept.contains(*name),
        })
        .map(|name| (*name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_in_use_keeps_one_name_or_those_that_are_used() {
        let names = ["a/box:1", "a/box:2", "a/box@sha256:77", "b/box:9"];
        let goes =
            |by: &[&str]| superfluous(&names, &by.iter().map(|one| (*one).to_owned()).collect());
        assert_eq!(goes(&[]), ["a/box:1", "a/box:2"]);
        assert_eq!(goes(&["a/box:1"]), ["a/box:2", "b/box:9"]);
        assert_eq!(goes(&["elsewhere:1"]), ["a/box:1", "a/box:2"]);
        assert!(superfluous(&["a:1"], &HashSet::new()).is_empty());
    }
}
