//! Loading archives.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use image::archive::{self, LoadOptions, Loaded};
use image::pace::Paced;
use image::words;
use types::{Digest, Platform};

use super::index::Lease;
use super::progress::{Counted, Reporter};
use super::pull::{Arrived, blob_doc, config_text, plain};
use crate::engine::Engine;
use crate::options::ProgressSender;
use crate::outcome::Result;

impl Engine {
    /// Loads the images of a docker-archive or an OCI archive, compressed or not: those for one of the platforms, if any
    /// is given. Reading the archive may answer that it would block, see [`Paced`]; who does not send it gives way to
    /// others when too many do that.
    pub async fn load(
        &self,
        archive: Box<dyn Read + Send>,
        platforms: Vec<Platform>,
        quiet: bool,
        progress: ProgressSender,
    ) -> Result<()> {
        let engine = self.clone();
        self.to_the_end("load", async move {
            engine
                .load_checked(archive, platforms, quiet, progress)
                .await
        })
        .await
    }

    async fn load_checked(
        &self,
        archive: Box<dyn Read + Send>,
        platforms: Vec<Platform>,
        quiet: bool,
        progress: ProgressSender,
    ) -> Result<()> {
        let reporter = Arc::new(Reporter::new(progress));
        let options = LoadOptions {
            platforms,
            ..LoadOptions::default()
        };
        let place = self.inner().places.loads.take().await;
        let loaded = self
            .blocking("load", move |engine| {
                let archive = Paced::new(archive, move || place.is_wanted());
                let mut lease = Lease::new(engine.images());
                let loaded = archive::load(archive, &engine.inner().content, &options, |blob| {
                    lease.add_blobs([blob])
                })?;
                Ok((loaded, lease))
            })
            .await;
        let outcome = match loaded {
            Ok((loaded, _lease)) => self.keep_loaded(loaded, quiet, &reporter).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            self.collect_quietly().await;
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
                let (parents, diff) = (&chains[..position], layer.diff_id);
                self.ensure_layer(*chain, parents, diff, diff, move || {
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
            let replaced = self.replaced(&arrived.names);
            let kept = self.keep(arrived, "load").await?;
            if image.refs.is_empty() {
                reporter
                    .stream(format!("Loaded image ID: {}\n", kept.id))
                    .await;
            }
            for name in image.refs {
                let name = name.with_default_tag();
                let former = replaced.get(&name.to_string()).filter(|id| **id != kept.id);
                let name = name.familiar();
                if let Some(former) = former {
                    reporter
                        .stream(format!(
                            "The image {name} already exists, renaming the old one with ID {former} to empty string\n"
                        ))
                        .await;
                }
                reporter.stream(format!("Loaded image: {name}\n")).await;
            }
        }
        Ok(())
    }

    /// Which images have these names now.
    fn replaced(&self, names: &[(String, Option<Digest>)]) -> HashMap<String, Digest> {
        let state = self.images().read();
        let known = names.iter().filter_map(|(name, _)| {
            let target = state.names.get(name)?;
            Some((name.clone(), target.image))
        });
        known.collect()
    }
}
