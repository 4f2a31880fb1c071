//! Images made of containers and of archives: `docker commit` and `docker import`.

use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;

use api_types::Config;
use image::Layer;
use image::compression::{self, PacedBy};
use image::manifest::media_type;
use image::pace::Paced;
use serde_json::{Value, json};
use types::{Digest, Platform, Reference};

use super::built_in::manifest;
use super::index::{Image, Lease};
use super::layers::LAYER_LIMIT;
use super::pull::{Arrived, blob_doc, plain};
use super::recipe;
use crate::clock;
use crate::compile::merge;
use crate::containers::record::Status;
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::options::{CommitOptions, ImportOptions};
use crate::outcome::{EngineError, Result};
use crate::paths;
use crate::store::rows;

/// What is known of an image that is to be made before its layer is.
struct Draft {
    /// Its configuration without layers and history.
    document: Value,
    history: Vec<Value>,
    /// How its layer came to be.
    step: Value,
    /// Layers below, the lowest first.
    layers: Vec<Layer>,
    name: Option<Reference>,
}

/// A layer as a blob, staged; nothing for one without any entry.
type NewLayer = Option<image::Staged>;

impl Engine {
    /// Makes an image of what a container has changed of its own, and gives its id.
    pub async fn image_commit(&self, name: &str, options: CommitOptions) -> Result<String> {
        let container = self.registry().find(name)?;
        let reference = reference(&options.repo, &options.tag)?;
        let mut config = match options.config.clone() {
            Some(config) => config,
            None => container.spec.config.clone(),
        };
        recipe::apply(&mut config, &options.changes)?;
        merge::merge(&mut config, &of_container(&container.spec.config)?);
        let engine = self.clone();
        self.to_the_end("commit", async move {
            let paused = options.pause && container.run().status == Status::Running;
            if paused {
                engine.pause_for_commit(&container).await?;
            }
            let made = engine
                .commit_paused(&container, config, reference, &options)
                .await;
            if paused && let Err(error) = engine.unpause_after_commit(&container).await {
                tracing::warn!(%error, container = container.id().short(), "a container stays paused after it was committed");
            }
            if made.is_err() {
                engine.collect_quietly().await;
            }
            made
        })
        .await
    }

    async fn commit_paused(
        &self,
        container: &Arc<Container>,
        config: Config,
        name: Option<Reference>,
        options: &CommitOptions,
    ) -> Result<String> {
        let mut lease = Lease::new(self.images());
        let parent = self.images().find(&container.spec.image)?;
        self.unpacked_layers(&parent).await?;
        for chain in &parent.chains {
            lease.add(*chain);
        }
        let (target, image) = (Arc::clone(container), Arc::clone(&parent));
        let kind = &self.inner().places.copies;
        let (layer, below, mut lease) = self
            .blocking_of(kind, "commit", move |engine| {
                let saved = engine.with_content(&image, Vec::new(), &mut lease)?;
                let layer = engine.changed_layer(&target)?;
                Ok((layer, saved.layers, lease))
            })
            .await?;
        let created = clock::rfc3339(clock::now());
        let raw: Value = rows::from_json("an image", &parent.doc.config)?;
        let mut document = json!({
            "architecture": raw["architecture"],
            "os": raw["os"],
            "author": options.author,
            "comment": options.comment,
            "container": container.id().as_str(),
            "container_config": container.spec.config,
            "config": config,
            "created": created,
        });
        for same in ["variant", "os.version"] {
            if let Some(value) = raw.get(same) {
                document[same] = value.clone();
            }
        }
        let command = container.spec.config.cmd.as_ref();
        let mut step = json!({
            "created": created,
            "created_by": command.map(|words| words.0.join(" ")).unwrap_or_default(),
        });
        for (field, text) in [("author", &options.author), ("comment", &options.comment)] {
            if !text.is_empty() {
                step[field] = text.as_str().into();
            }
        }
        let draft = Draft {
            document,
            history: raw["history"].as_array().cloned().unwrap_or_default(),
            step,
            layers: below,
            name,
        };
        let shown = draft.name.as_ref().map(Reference::familiar);
        let image = self.make_image(draft, layer, &mut lease, "tag").await?;
        let id = image.id.to_string();
        let mut attributes = vec![
            ("comment", options.comment.clone()),
            ("imageID", id.clone()),
        ];
        attributes.extend(shown.map(|name| ("imageRef", name)));
        self.tell_later(container.event("commit", &attributes));
        Ok(id)
    }

    /// Makes an image of an archive, compressed or not, and gives its id. Reading may answer that it would block, see
    /// [`Paced`].
    pub async fn image_import(
        &self,
        options: ImportOptions,
        archive: Box<dyn Read + Send>,
    ) -> Result<String> {
        let (name, platform, config) = import_request(&options)?;
        let engine = self.clone();
        self.to_the_end("import", async move {
            let made = engine
                .import(&options, name, platform, config, archive)
                .await;
            if made.is_err() {
                engine.collect_quietly().await;
            }
            made
        })
        .await
    }

    /// Whether an import is asked for as it can be.
    pub(super) fn check_import(&self, options: &ImportOptions) -> Result<()> {
        import_request(options).map(drop)
    }

    async fn import(
        &self,
        options: &ImportOptions,
        name: Option<Reference>,
        platform: Platform,
        config: Config,
        archive: Box<dyn Read + Send>,
    ) -> Result<String> {
        let place = self.inner().places.loads.take().await;
        let layer = self
            .blocking("import", move |engine| {
                let archive = Paced::new(archive, move || place.is_wanted());
                let (mut archive, _) = compression::reader(archive, LAYER_LIMIT, PacedBy::Client)
                    .map_err(EngineError::io("read the archive"))?;
                let mut writer = engine.inner().content.writer(None, false)?;
                std::io::copy(&mut archive, &mut writer)
                    .map_err(EngineError::io("read the archive"))?;
                Ok(writer.finish()?)
            })
            .await?;
        let created = clock::rfc3339(clock::now());
        let comment = match options.message.as_str() {
            "" => format!("Imported from {}", options.source),
            message => message.to_owned(),
        };
        let mut document = json!({
            "architecture": platform.architecture(),
            "os": platform.os(),
            "comment": comment,
            "config": config,
            "created": created,
        });
        if let Some(variant) = platform.variant() {
            document["variant"] = variant.into();
        }
        let draft = Draft {
            document,
            history: Vec::new(),
            step: json!({"created": created, "comment": comment}),
            layers: Vec::new(),
            name,
        };
        let mut lease = Lease::new(self.images());
        let image = self
            .make_image(draft, Some(layer), &mut lease, "tag")
            .await?;
        let id = image.id.to_string();
        let name = [("name".to_owned(), id.clone())].into();
        self.tell_later(crate::events::event("image", "import", &id, name));
        Ok(id)
    }

    /// What a container has changed as a layer's archive. Blocks.
    fn changed_layer(&self, container: &Container) -> Result<NewLayer> {
        let folder = paths::open_folder(&self.paths().container(container.id()))?;
        let layers = &self.inner().layers;
        if !layers.has_upper(folder.as_fd()) {
            return Ok(None);
        }
        let mut writer = self.inner().content.writer(None, false)?;
        let length = layers.write_changes(&container.spec.layers, folder.as_fd(), &mut writer)?;
        // What was removed meanwhile is not all there.
        if container.progress.borrow().removed {
            return Err(EngineError::NoSuchContainer {
                name: container.id().to_string(),
            });
        }
        let staged = writer.finish()?;
        Ok(Some(staged).filter(|_| length > snapshot::tar::END as u64))
    }

    /// Writes blobs, layer and rows of a new image.
    async fn make_image(
        &self,
        draft: Draft,
        layer: NewLayer,
        lease: &mut Lease,
        action: &'static str,
    ) -> Result<Arc<Image>> {
        let Draft {
            mut document,
            mut history,
            mut step,
            mut layers,
            name,
        } = draft;
        if let Some(layer) = &layer {
            layers.push(Layer {
                digest: layer.digest(),
                size: layer.size(),
                media_type: media_type::OCI_LAYER.to_owned(),
                diff_id: layer.digest(),
            });
        } else {
            step["empty_layer"] = true.into();
        }
        history.push(step);
        let diffs: Vec<_> = layers
            .iter()
            .map(|layer| layer.diff_id.to_string())
            .collect();
        document["rootfs"] = json!({"type": "layers", "diff_ids": diffs});
        document["history"] = history.into();
        let config = rows::to_json("an image", &document)?;
        let blobs: Vec<_> = layers.iter().map(blob_doc).collect();
        let mut image = Image::parse(Image::document(config.clone(), None, blobs.clone(), false))?;
        if image.chains.len() > types::MAX_LAYERS {
            return Err(EngineError::conflict(format!(
                "max depth exceeded: an image has at most {} layers",
                types::MAX_LAYERS
            )));
        }
        lease.add_blobs(layers.iter().map(|layer| layer.digest));
        lease.add_blobs([image.id]);
        let text = manifest(&image, &blobs)
            .to_json()
            .map_err(image::ImageError::from)?;
        let digest = Digest::sha256(&text);
        lease.add_blobs([digest]);
        for chain in &image.chains {
            lease.add(*chain);
        }
        let whole = config.clone();
        self.blocking("commit", move |engine| {
            let content = &engine.inner().content;
            let mut group = vec![content.stage(whole.as_bytes())?, content.stage(&text)?];
            group.extend(layer);
            Ok(content.commit(group)?)
        })
        .await?;
        if let Some(top) = layers.last()
            && let Some((chain, parents)) = image.chains.split_last()
        {
            let blob = self.inner().content.blob(&top.digest)?;
            let (diff, name) = (top.diff_id, top.digest);
            self.ensure_layer(*chain, parents, diff, name, move || plain(blob))
                .await?;
        }
        image.doc.manifest = Some(digest);
        let arrived = Arrived {
            config,
            manifest: Some(digest),
            blobs,
            names: name
                .map(|name| (name.to_string(), None))
                .into_iter()
                .collect(),
        };
        self.keep(arrived, action).await
    }
}

/// Name, platform and configuration of an image that is imported.
fn import_request(options: &ImportOptions) -> Result<(Option<Reference>, Platform, Config)> {
    let name = reference(&options.repo, &options.tag)?;
    let platform = match options.platform.as_str() {
        "" => Platform::host(),
        text => text
            .parse()
            .map_err(|error: types::PlatformError| EngineError::invalid(error.to_string()))?,
    };
    if platform.os() != "linux" {
        return Err(EngineError::invalid("operating system is not supported"));
    }
    let mut config = Config::default();
    recipe::apply(&mut config, &options.changes)?;
    Ok((name, platform, config))
}

/// The name that a new image gets, if any.
///
/// # Errors
/// Docker's sentences.
fn reference(repo: &str, tag: &str) -> Result<Option<Reference>> {
    let invalid = |error: types::ReferenceError| EngineError::invalid(error.to_string());
    if repo.is_empty() {
        return Ok(None);
    }
    let mut reference = Reference::parse_normalized(repo).map_err(invalid)?;
    if reference.digest().is_some() {
        return Err(EngineError::invalid("cannot import digest reference"));
    }
    if !tag.is_empty() {
        reference = reference.with_tag(tag).map_err(invalid)?;
    }
    Ok(Some(reference.with_default_tag()))
}

/// What a container's configuration hands down: the same fields as an image's.
fn of_container(config: &Config) -> Result<api_types::ImageConfig> {
    let text = rows::to_json("a container", config)?;
    rows::from_json("a container", &text)
}
