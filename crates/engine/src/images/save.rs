//! Saving images as an archive that docker of every age reads.

use std::io::Write;

use image::archive::{self, SaveImage};
use image::{Descriptor, Layer};
use types::Reference;

use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// Manifests are small; see the image crate's own limit.
const MANIFEST_LIMIT: u64 = 4 << 20;

impl Engine {
    /// Writes images; nothing is written when one of the names is wrong. A name without a tag saves all of its
    /// repository's tags.
    pub async fn save(&self, names: Vec<String>, archive: Box<dyn Write + Send>) -> Result<()> {
        let images = names
            .iter()
            .map(|name| self.to_save(name))
            .collect::<Result<Vec<_>>>()?;
        self.blocking("save", move |engine| {
            Ok(archive::save(archive, &engine.inner().content, &images)?)
        })
        .await
    }

    fn to_save(&self, name: &str) -> Result<SaveImage> {
        let image = self.images().find(name)?;
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
        let refs = match Reference::parse_normalized(name) {
            // An id is saved without a name.
            Ok(reference) if self.images().read().resolve(&reference).is_some() => {
                vec![reference.with_default_tag()]
            }
            _ => Vec::new(),
        };
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
