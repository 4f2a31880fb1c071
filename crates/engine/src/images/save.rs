//! Saving images as an archive that docker of every age reads.

use std::io::Write;
use std::sync::Arc;

use image::archive::{self, SaveImage};
use image::pace::Paced;
use image::{Descriptor, Layer};
use types::{Platform, Reference};

use super::index::{Image, Lease, repository_of};
use super::pull::familiar;
use crate::engine::Engine;
use crate::events;
use crate::outcome::{EngineError, Result};

/// Manifests are small; see the image crate's own limit.
const MANIFEST_LIMIT: u64 = 4 << 20;

impl Engine {
    /// Writes images; nothing is written when one of the names is wrong, or one of the images is for none of the
    /// platforms, if any is given. A name without a tag saves all of its repository's tags.
    /// Writing the archive may answer that it would block, see [`Paced`]; who does not take it gives way to others when
    /// too many do that.
    pub async fn save(
        &self,
        names: Vec<String>,
        platforms: Vec<Platform>,
        archive: Box<dyn Write + Send>,
    ) -> Result<()> {
        let images = self.to_save(&names, &platforms)?;
        let told: Vec<_> = images
            .iter()
            .map(|(image, _)| image.id.to_string())
            .collect();
        let built_in = images.iter().any(|(image, _)| image.doc.manifest.is_none());
        for (image, _) in &images {
            if image.doc.manifest.is_none() {
                self.unpacked_layers(image).await?;
            }
        }
        let place = self.inner().places.saves.take().await;
        let saved = self
            .blocking("save", move |engine| {
                let archive = Paced::new(archive, move || place.is_wanted());
                let mut lease = Lease::new(engine.images());
                let images = images
                    .into_iter()
                    .map(|(image, refs)| engine.with_content(&image, refs, &mut lease))
                    .collect::<Result<Vec<_>>>()?;
                Ok(archive::save(archive, &engine.inner().content, &images)?)
            })
            .await;
        if saved.is_ok() {
            for id in told {
                let name = [("name".to_owned(), id.clone())].into();
                self.tell_later(events::event("image", "save", id, name));
            }
        }
        if built_in {
            // Its blobs were made for the occasion.
            self.collect_quietly().await;
        }
        saved
    }

    /// The images that names mean, each once, with the names that it is saved under; an id saves none.
    fn to_save(
        &self,
        names: &[String],
        platforms: &[Platform],
    ) -> Result<Vec<(Arc<Image>, Vec<Reference>)>> {
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
                for full in state.names.keys() {
                    if repository_of(full) == repository && !full.contains('@') {
                        found = true;
                        let image = state.find_for(&familiar(full), platforms)?;
                        add(&image, Reference::parse_normalized(full).ok());
                    }
                }
                if found {
                    continue;
                }
            }
            // Docker's words: a name with a tag is looked for among the names, others among the ids as well.
            let tagged = parsed
                .filter(|reference| reference.tag().is_some() || reference.digest().is_some());
            let image =
                state
                    .find_for(name, platforms)
                    .map_err(|error| match (error, &tagged) {
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

    /// What is to be written of an image. Its blobs are there as long as the lease. Blocks.
    pub(super) fn with_content(
        &self,
        image: &Image,
        refs: Vec<Reference>,
        lease: &mut Lease,
    ) -> Result<SaveImage> {
        let (manifest, blobs) = match image.doc.manifest {
            Some(manifest) => {
                lease.add_blobs(image.blobs());
                (manifest, image.doc.blobs.clone())
            }
            None => self.built_in_blobs(image, lease)?,
        };
        let content = self.inner().content.read(&manifest, MANIFEST_LIMIT)?;
        let media_type = serde_json::from_slice::<serde_json::Value>(&content)
            .ok()
            .and_then(|value| value.get("mediaType")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| image::manifest::media_type::OCI_MANIFEST.to_owned());
        let layers = blobs
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
