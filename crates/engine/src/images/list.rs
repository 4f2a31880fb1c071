//! `images` and `image inspect`.

use std::collections::{BTreeMap, BTreeSet};

use api_types::{GraphDriver, ImageInspect, ImageMetadata, ImageSummary, RootFs};
use types::{Platform, Reference};

use super::index::{Image, State, repository_of};
use super::pattern::Pattern;
use super::pull::familiar;
use crate::clock;
use crate::engine::Engine;
use crate::options::ImageListOptions;
use crate::outcome::Result;

/// Tags of an image, familiar, in order.
fn tags(state: &State, image: &Image) -> Vec<String> {
    state
        .names_of(&image.id)
        .map(|(name, _)| name)
        .filter(|name| !name.contains('@'))
        .map(familiar)
        .collect()
}

/// `repository@digest` for each name that came from a registry.
fn digests(state: &State, image: &Image) -> Vec<String> {
    let all: BTreeSet<String> = state
        .names_of(&image.id)
        .filter_map(|(name, target)| {
            Some(format!(
                "{}@{}",
                familiar(repository_of(name)),
                target.remote?
            ))
        })
        .collect();
    all.into_iter().collect()
}

impl Engine {
    /// Lists images, the newest first.
    pub async fn image_list(&self, options: ImageListOptions) -> Result<Vec<ImageSummary>> {
        let filters = &options.filters;
        filters.check(&[
            "before",
            "dangling",
            "label",
            "label!",
            "reference",
            "since",
            "until",
        ])?;
        let bound = |key: &str| {
            filters
                .get(key)
                .next()
                .map(|name| self.images().find(name).map(|image| image.created))
                .transpose()
        };
        let (before, since) = (bound("before")?, bound("since")?);
        let until = filters.until()?;
        let dangling = filters.flag("dangling")?;
        let patterns = filters.get("reference").map(Pattern::parse);
        let patterns: Vec<Pattern> = patterns.collect::<Result<_>>()?;
        let named = |tag: &String| patterns.iter().any(|one| reference_matches(one, tag));
        let users = self.registry().all();
        let state = self.images().read();
        let mut list: Vec<ImageSummary> = state
            .images
            .values()
            .filter_map(|image| {
                let mut tags = tags(&state, image);
                let labels = image.config.labels.clone().unwrap_or_default();
                let shown = dangling.is_none_or(|wanted| wanted == tags.is_empty())
                    && filters.labels_match(&labels)
                    && (patterns.is_empty() || tags.iter().any(named))
                    && before.is_none_or(|bound| image.created < bound)
                    && since.is_none_or(|bound| image.created > bound)
                    && until.is_none_or(|bound| image.created < bound);
                if shown && !patterns.is_empty() {
                    tags.retain(named);
                }
                let containers = users
                    .iter()
                    .filter(|container| container.spec.image == image.id.to_string())
                    .count();
                shown.then(|| ImageSummary {
                    containers: if options.shared_size {
                        containers as i64
                    } else {
                        -1
                    },
                    created: image.created / 1_000_000_000,
                    id: image.id.to_string(),
                    labels: image.config.labels.clone(),
                    repo_digests: digests(&state, image),
                    repo_tags: tags,
                    shared_size: if options.shared_size {
                        shared_size(&state, image)
                    } else {
                        -1
                    },
                    size: state.shown_size(image) as i64,
                    ..Default::default()
                })
            })
            .collect();
        list.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(list)
    }

    /// Tells everything about an image, which must be for one of the platforms, if any is given.
    pub async fn image_inspect(&self, image: &str, platforms: &[Platform]) -> Result<ImageInspect> {
        let state = self.images().read();
        let image = state.find_for(image, platforms)?;
        let document = image.parsed.document();
        let lower: Vec<String> = state
            .layer_numbers(&image)
            .unwrap_or_default()
            .into_iter()
            .map(|layer| self.inner().layers.layer_path(layer).display().to_string())
            .collect();
        // As docker: the top layer is the upper folder, the others are the lower ones.
        let mut data = BTreeMap::new();
        if let Some((upper, rest)) = lower.split_first() {
            let layer = upper.strip_suffix("/fs").unwrap_or(upper);
            data.insert("MergedDir".to_owned(), format!("{layer}/merged"));
            data.insert("UpperDir".to_owned(), upper.clone());
            data.insert("WorkDir".to_owned(), format!("{layer}/work"));
            if !rest.is_empty() {
                data.insert("LowerDir".to_owned(), rest.join(":"));
            }
        }
        Ok(ImageInspect {
            id: image.id.to_string(),
            repo_tags: tags(&state, &image),
            repo_digests: digests(&state, &image),
            comment: document.comment.clone(),
            created: document.created.clone().unwrap_or_default(),
            docker_version: document.docker_version.clone(),
            author: document.author.clone(),
            config: Some(image.config.clone()),
            architecture: document.architecture.clone(),
            variant: document.variant.clone().unwrap_or_default(),
            os: document.os.clone(),
            os_version: document.os_version.clone().unwrap_or_default(),
            size: state.shown_size(&image) as i64,
            graph_driver: Some(GraphDriver {
                name: "overlay2".to_owned(),
                data: Some(data),
            }),
            root_fs: RootFs {
                kind: "layers".to_owned(),
                layers: image
                    .parsed
                    .diff_ids()
                    .iter()
                    .map(|diff| diff.to_string())
                    .collect(),
            },
            metadata: ImageMetadata {
                last_tag_time: clock::rfc3339(image.doc.tagged),
            },
            ..Default::default()
        })
    }
}

/// Bytes of layers that other images have too.
fn shared_size(state: &State, image: &Image) -> i64 {
    let others: BTreeSet<_> = state
        .images
        .values()
        .filter(|other| other.id != image.id)
        .flat_map(|other| &other.chains)
        .collect();
    image
        .chains
        .iter()
        .filter(|chain| others.contains(chain))
        .filter_map(|chain| state.layers.get(chain))
        .map(|layer| layer.size as i64)
        .sum()
}

/// Whether a familiar reference matches a pattern, with or without its tag.
fn reference_matches(pattern: &Pattern, tag: &str) -> bool {
    let bare = repository_of(tag);
    let full = Reference::parse_normalized(tag)
        .map(|reference| reference.to_string())
        .unwrap_or_default();
    [tag, bare, full.as_str(), repository_of(&full)]
        .iter()
        .any(|text| pattern.matches(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference_matches(pattern: &str, tag: &str) -> bool {
        super::reference_matches(&Pattern::parse(pattern).unwrap(), tag)
    }

    #[test]
    fn references_match_patterns() {
        assert!(
            reference_matches("deb*", "debian:latest")
                && reference_matches("debian:lat*", "debian:latest")
        );
        assert!(
            reference_matches("debian", "debian:latest")
                && reference_matches("docker.io/library/debian", "debian:latest")
        );
        assert!(
            !reference_matches("deb", "debian:latest") && !reference_matches("*", "a/b:latest")
        );
    }
}
