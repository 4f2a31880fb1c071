//! `images` and `image inspect`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use api_types::{GraphDriver, ImageInspect, ImageMetadata, ImageSummary, RootFs};
use types::{Digest, Platform, Reference};

use super::built_in::NAMES;
use super::index::{Image, State, Target, repository_of};
use super::pattern::Pattern;
use super::pull::familiar;
use crate::clock;
use crate::engine::Engine;
use crate::options::ImageListOptions;
use crate::outcome::Result;

/// The seconds that Go makes of no time: an image may have none.
const NO_TIME: i64 = -62_135_596_800;

/// A name, and what it means.
type Named<'a> = (&'a str, &'a Target);

/// Tags among an image's names, familiar, in order.
fn tags<'a>(names: impl IntoIterator<Item = Named<'a>>) -> Vec<String> {
    names
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !name.contains('@'))
        .map(familiar)
        .collect()
}

/// `repository@digest` for each name that came from a registry.
fn digests<'a>(names: impl IntoIterator<Item = Named<'a>>) -> Vec<String> {
    let all: BTreeSet<String> = names
        .into_iter()
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

/// Whether an image is the program's own and nobody gave it a name: who lists images, to remove them all for example,
/// means what was pulled, loaded or made.
fn nobody_brought(image: &Image, names: &[Named<'_>]) -> bool {
    image.doc.built_in && names.iter().all(|(name, _)| NAMES.contains(name))
}

impl Engine {
    /// Lists images, the newest first. The one that is in the program is left out as intermediate images are.
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
        let until = filters.earliest()?;
        let dangling = filters.flag("dangling")?;
        let patterns = filters.get("reference").map(Pattern::parse);
        let patterns: Vec<Pattern> = patterns.collect::<Result<_>>()?;
        let named = |tag: &String| patterns.iter().any(|one| reference_matches(one, tag));
        let mut users: HashMap<String, i64> = HashMap::new();
        if options.shared_size {
            for container in self.registry().all() {
                *users.entry(container.spec.image.clone()).or_default() += 1;
            }
        }
        let state = self.images().read();
        let mut names: HashMap<&Digest, Vec<Named<'_>>> = HashMap::new();
        for (name, target) in &state.names {
            names
                .entry(&target.image)
                .or_default()
                .push((name.as_str(), target));
        }
        let sharing = options.shared_size.then(|| Sharing::among(&state));
        let mut list: Vec<ImageSummary> = state
            .images
            .values()
            .filter_map(|image| {
                let id = image.id.to_string();
                let names = names.get(&image.id).map_or(&[][..], Vec::as_slice);
                let mut tags = tags(names.iter().copied());
                let mut digests = digests(names.iter().copied());
                let labels = image.config.labels.clone().unwrap_or_default();
                let listed = options.all || !patterns.is_empty() || !nobody_brought(image, names);
                let shown = listed
                    && dangling.is_none_or(|wanted| wanted == tags.is_empty())
                    && filters.labels_match(&labels)
                    && (patterns.is_empty() || tags.iter().chain(&digests).any(named))
                    && before.is_none_or(|bound| image.created < bound)
                    && since.is_none_or(|bound| image.created > bound)
                    && until.is_none_or(|bound| image.created < bound);
                if shown && !patterns.is_empty() {
                    tags.retain(named);
                    digests.retain(named);
                }
                shown.then(|| ImageSummary {
                    containers: match options.shared_size {
                        true => users.get(&id).copied().unwrap_or(0),
                        false => -1,
                    },
                    created: match image.created {
                        0 => NO_TIME,
                        created => created / 1_000_000_000,
                    },
                    id,
                    labels: image.config.labels.clone(),
                    repo_digests: digests,
                    repo_tags: tags,
                    shared_size: sharing.as_ref().map_or(-1, |sharing| sharing.size(image)),
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
            repo_tags: tags(state.names_of(&image.id)),
            repo_digests: digests(state.names_of(&image.id)),
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

/// How many images have a layer. A chain id names the layers below as well, so an image has each once.
struct Sharing<'a> {
    state: &'a State,
    images: HashMap<&'a Digest, usize>,
}

impl<'a> Sharing<'a> {
    fn among(state: &'a State) -> Sharing<'a> {
        let mut images = HashMap::new();
        for chain in state.images.values().flat_map(|image| &image.chains) {
            *images.entry(chain).or_default() += 1;
        }
        Sharing { state, images }
    }

    /// Bytes of an image's layers that other images have too.
    fn size(&self, image: &Image) -> i64 {
        let chains = image.chains.iter();
        chains
            .filter(|chain| self.images.get(chain).is_some_and(|&count| count > 1))
            .filter_map(|chain| self.state.layers.get(chain))
            .map(|layer| layer.size as i64)
            .sum()
    }
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
