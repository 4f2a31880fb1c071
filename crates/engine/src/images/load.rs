//! Loading archives.

use std::io::Read;
use std::sync::Arc;

use image::archive::{self, LoadOptions, Loaded};
use image::words;

use super::index::Lease;
use super::progress::Reporter;
use super::pull::{Arrived, Counted, blob_doc, config_text, plain};
use crate::engine::Engine;
use crate::options::ProgressSender;
use crate::outcome::Result;

impl Engine {
    /// Loads the images of a docker-archive or an OCI archive, compressed or not.
    pub async fn load(
        &self,
        archive: Box<dyn Read + Send>,
        quiet: bool,
        progress: ProgressSender,
    ) -> Result<()> {
        let engine = self.clone();
        self.to_the_end("load", async move {
            engine.load_checked(archive, quiet, progress).await
        })
        .await
    }

    async fn load_checked(
        &self,
        archive: Box<dyn Read + Send>,
        quiet: bool,
        progress: ProgressSender,
    ) -> Result<()> {
        let reporter = Arc::new(Reporter::new(progress));
        let transfer = self.inner().transfers.read().await;
        let loaded = self
            .blocking("load", move |engine| {
                Ok(archive::load(
                    archive,
                    &engine.inner().content,
                    &LoadOptions::default(),
                )?)
            })
            .await;
        let outcome = match loaded {
            Ok(loaded) => self.keep_loaded(loaded, quiet, &reporter).await,
            Err(error) => Err(error),
        };
        drop(transfer);
        if outcome.is_err() {
            self.collect().await?;
        }
        outcome
    }

    async fn keep_loaded(
        &self,
        loaded: Vec<Loaded>,
        quiet: bool,
        reporter: &Arc<Reporter>,
    ) -> Result<()> {
        for image in loaded {
            let mut lease = Lease::new(self.images());
            let chains = image.config.chain_ids();
            for (position, (layer, chain)) in image.layers.iter().zip(&chains).enumerate() {
                lease.add(*chain);
                if self.layer(chain).is_some() {
                    continue;
                }
                let blob = self.inner().content.blob(&layer.digest)?;
                let (total, id) = (layer.size, layer.diff_id.short());
                let counter = Arc::clone(reporter);
                self.ensure_layer(*chain, &chains[..position], layer.diff_id, move || {
                    if quiet {
                        return plain(blob);
                    }
                    plain(Counted {
                        inner: blob,
                        done: 0,
                        total,
                        id,
                        text: words::LOADING_LAYER,
                        reporter: counter,
                    })
                })
                .await?;
            }
            let arrived = Arrived {
                config: config_text(&image.config)?,
                manifest: Some(image.manifest.digest),
                blobs: image.layers.iter().map(blob_doc).collect(),
                names: image
                    .refs
                    .iter()
                    .map(|name| (name.clone().with_default_tag().to_string(), None))
                    .collect(),
            };
            let kept = self.keep(arrived, "load").await?;
            if image.refs.is_empty() {
                reporter
                    .stream(format!("Loaded image ID: {}\n", kept.id))
                    .await;
            }
            for name in image.refs {
                reporter
                    .stream(format!(
                        "Loaded image: {}\n",
                        name.with_default_tag().familiar()
                    ))
                    .await;
            }
        }
        Ok(())
    }
}
