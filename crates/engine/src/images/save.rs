//! Saving images as an archive that docker of every age reads.

use std::io::Write;
use std::sync::Arc;

use image::archive::{self, SaveImage};
use image::{Descriptor, Layer};
use types::Reference;

use super::index::{Image, repository_of};
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// Manifests are small; see the image crate's own limit.
const MANIFEST_LIMIT: u64 = 4 << 20;

impl Engine {
    /// Writes images; nothing is written when one of the names is wrong. A name without a tag saves all of its
    /// repository's tags.
    pub async fn save(&self, names: Vec<String>, archive: Box<dyn Write + Send>) -> Result<()> {
        let images = self
            .to_save(&names)?
            .into_iter()
            .map(|(image, refs)| self.with_content(&image, refs))
            .collect::<Result<Vec<_>>>()?;
        self.blocking("save", move |engine| {
            Ok(archive::save(archive, &engine.inner().content, &images)?)
        })
        .await
    }

    /// The images that names mean, each once, with the names that it is saved under; an id saves none.
    fn to_save(&self, names: &[String]) -> Result<Vec<(Arc<Image>, Vec<Reference>)>> {
        let state = self.images().read();
        let mut all: Vec<(Arc<Image>, Vec<Reference>)> = Vec::new();
        let mut add = |image: &Arc<Image>, reference: Option<Reference>| {
            let at = match all.iter().position(|(have, _)| have.id == image.id) {
                Some(at) => at,
                None => {
                    all.push((Arc::clone(image), Vec::new()));
                    all.len() - 1
                }
            };
            if let Some(reference) = reference
                && !all[at].1.contains(&reference)
            {
                all[at].1.push(reference);
            }
        };
        for name in names {
            let parsed = Reference::parse_normalized(name).ok();
            if let Some(reference) = &parsed
                && reference.tag().is_none()
                && reference.digest().is_none()
            {
                let repository = reference.name();
                let mut found = false;
                for (full, target) in &state.names {
                    let tagged = repository_of(full) == repository && !full.contains('@');
                    if let Some(image) = state.images.get(&target.image)
                        && tagged
                    {
                        found = true;
                        add(image, Reference::parse_normalized(full).ok());
                    }
                }
                if found {
                    continue;
                }
            }
            // Docker's words: a name with a tag is looked for among the names, others among the ids as well.
            let tagged = parsed
                .filter(|reference| reference.tag().is_some() || reference.digest().is_some());
            let image = state.find(name).map_err(|error| match (error, &tagged) {
                (EngineError::NoSuchImage { .. }, Some(_)) => EngineError::NoSuchReference,
                (EngineError::NoSuchImage { .. }, None) => {
                    EngineError::NoSuchImage { name: name.clone() }
                }
                (other, _) => other,
            })?;
            let named = tagged.filter(|reference| state.resolve(reference).is_some());
            add(&image, named);
        }
        Ok(all)
    }

    fn with_content(&self, image: &Image, refs: Vec<Reference>) -> Result<SaveImage> {
        let Some(manifest) = image.doc.manifest else {
            return Err(EngineError::unsupported(
                "saving the image that is built into the program",
            ));
        };
        let content = self.inner().content.read(&manifest, MANIFEST_LIMIT)?;
        let media_type = serde_json::from_slice::<serde_json::Value>(&content)
            .ok()
            .and_then(|value| value.get("mediaType")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| image::manifest::media_type::OCI_MANIFEST.to_owned());
        let layers = image
            .doc
            .blobs
            .iter()
            .zip(image.parsed.diff_ids())
            .map(|(blob, diff_id)| Layer {
                digest: blob.digest,
                size: blob.size,
                media_type: blob.media_type.clone(),
                diff_id: *diff_id,
            })
            .collect();
        let manifest = Descriptor {
            media_type,
            digest: manifest,
            size: content.len() as u64,
            annotations: Default::default(),
            platform: None,
        };
        Ok(SaveImage {
            manifest,
            config: image.id,
            layers,
            refs,
        })
    }
}
