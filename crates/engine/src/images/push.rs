//! Pushing: an image under its name to its registry.

use std::collections::HashMap;
use std::sync::Arc;

use api_types::{AuthConfig, Progress, PushResult};
use image::registry::{PushRequest, Pushed};
use types::{Digest, Platform, Reference};

use super::index::{Image, Lease, State, Target, repository_of};
use super::progress::Reporter;
use super::pull::{blob_doc, parse_platform};
use super::registries::credentials;
use crate::engine::Engine;
use crate::events;
use crate::options::ProgressSender;
use crate::outcome::{EngineError, Result};
use crate::store::{Durability, rows};

/// Repositories that a layer may be mounted from.
const MAX_MOUNTS: usize = 4;

impl Engine {
    /// Pushes an image, or without a tag all tags of a repository. Progress goes to `progress` in docker's words; when
    /// nobody takes it any more, the push is given up: the registry keeps the layers that it has by then.
    pub async fn push(
        &self,
        reference: &str,
        platform: Option<String>,
        auth: Option<AuthConfig>,
        progress: ProgressSender,
    ) -> Result<()> {
        let reference = Reference::parse_normalized(reference)
            .map_err(|error| EngineError::invalid(error.to_string()))?;
        if reference.digest().is_some() {
            return Err(EngineError::invalid("cannot push a digest reference"));
        }
        let platform = parse_platform(platform)?;
        let engine = self.clone();
        self.to_the_end("push", async move {
            let reporter = Arc::new(Reporter::new(progress));
            let name = reference.name();
            reporter.line("", format!("The push refers to repository [{name}]"));
            let wanted = engine.to_push(&reference)?;
            let auth = auth.and_then(credentials);
            for tagged in wanted {
                let one = engine.push_one(&tagged, platform.as_ref(), auth.clone(), &reporter);
                let pushed = tokio::select! {
                    pushed = one => pushed,
                    () = reporter.gone() => {
                        Err(EngineError::conflict("the push was given up"))
                    }
                };
                // Packed layers that took the place of others, or blobs that were made for the occasion.
                engine.collect_quietly().await;
                pushed?;
            }
            Ok(())
        })
        .await
    }

    /// The names to push.
    fn to_push(&self, reference: &Reference) -> Result<Vec<Reference>> {
        let state = self.images().read();
        let repository = reference.name();
        let tags: Vec<Reference> = state
            .names
            .keys()
            .filter(|name| repository_of(name) == repository && !name.contains('@'))
            .filter_map(|name| Reference::parse_normalized(name).ok())
            .collect();
        if tags.is_empty() {
            let name = reference.familiar_name();
            return Err(EngineError::NothingToPush {
                sentence: format!("An image does not exist locally with the tag: {name}"),
            });
        }
        let Some(tag) = reference.tag() else {
            return Ok(tags);
        };
        match tags.into_iter().find(|known| known.tag() == Some(tag)) {
            Some(known) => Ok(vec![known]),
            None => Err(EngineError::NothingToPush {
                sentence: format!("tag does not exist: {}", reference.familiar()),
            }),
        }
    }

    async fn push_one(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        credentials: Option<image::registry::Credentials>,
        reporter: &Arc<Reporter>,
    ) -> Result<()> {
        let name = reference.to_string();
        let platforms: Vec<Platform> = platform.cloned().into_iter().collect();
        let image = self
            .images()
            .read()
            .find_for(&reference.familiar(), &platforms)?;
        if image.doc.manifest.is_none() {
            self.unpacked_layers(&image).await?;
        }
        let (wanted, known) = (Arc::clone(&image), reference.clone());
        let (request, lease) = self
            .blocking("push", move |engine| {
                let mut lease = Lease::new(engine.images());
                let saved = engine.with_content(&wanted, Vec::new(), &mut lease)?;
                let state = engine.images().read();
                let request = PushRequest {
                    mounts: mounts(&state, &known, &saved.layers),
                    pack: is_ours(&state, &wanted),
                    reference: known,
                    credentials,
                    manifest: saved.manifest,
                    layers: saved.layers,
                };
                drop(state);
                Ok((request, lease))
            })
            .await?;
        let progress: Arc<dyn image::Progress> = Arc::new(Told(Arc::clone(reporter)));
        let content = &self.inner().content;
        let pushed = self
            .registry_client()
            .push(request, content, progress)
            .await?;
        let (digest, size) = (pushed.manifest.digest, pushed.manifest.size);
        self.keep_pushed(&name, &image, pushed).await?;
        drop(lease);
        let tag = reference.tag().unwrap_or(types::DEFAULT_TAG);
        reporter.line("", format!("{tag}: digest: {digest} size: {size}"));
        let aux = PushResult {
            tag: tag.to_owned(),
            digest: digest.to_string(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
        };
        reporter.program(&aux);
        Ok(())
    }

    /// Writes down where the image is now, and in which form: layers that were packed take the place of those that were
    /// not, so that they are not packed again.
    async fn keep_pushed(&self, name: &str, image: &Image, pushed: Pushed) -> Result<()> {
        let (digest, packed) = (pushed.manifest.digest, !pushed.staged.is_empty());
        let replaces = packed && !image.doc.built_in;
        let _lease = if replaces {
            let blobs: Vec<Digest> = pushed.staged.iter().map(image::Staged::digest).collect();
            let staged = pushed.staged;
            let kept = self.blocking("push", move |engine| {
                let mut lease = Lease::new(engine.images());
                lease.add_blobs(blobs);
                engine.inner().content.commit(staged)?;
                Ok(lease)
            });
            Some(kept.await?)
        } else {
            None
        };
        let row = match replaces {
            false => None,
            true => {
                let mut doc = image.doc.clone();
                doc.manifest = Some(digest);
                doc.blobs = pushed.layers.iter().map(blob_doc).collect();
                Some(Image::parse(doc)?)
            }
        };
        let _gate = self.inner().gate.read().await;
        let id = image.id;
        let still = {
            let state = self.images().read();
            let known = state.images.contains_key(&id);
            let named = state.names.get(name);
            known.then(|| named.is_some_and(|target| target.image == id))
        };
        // What was removed meanwhile stays removed.
        let Some(is_named) = still else {
            return Ok(());
        };
        let reference = super::pull::familiar(name);
        let bare = super::pull::bare(&reference);
        let told = events::event(
            "image",
            "push",
            &reference,
            [("name".to_owned(), bare)].into(),
        );
        let written = row.as_ref().map(Image::row).transpose()?;
        let key = name.to_owned();
        self.commit(Durability::PowerCut, vec![told], move |connection| {
            if let Some(row) = &written {
                row.put(connection)?;
            }
            if is_named {
                rows::refs::put(connection, &key, &id.to_string(), &digest.to_string())?;
            }
            Ok(())
        })
        .await?;
        let mut state = self.images().write();
        if let Some(image) = row {
            state.images.insert(id, Arc::new(image));
        }
        if is_named {
            let target = Target {
                image: id,
                remote: Some(digest),
            };
            state.names.insert(name.to_owned(), target);
        }
        Ok(())
    }
}

/// Whether an image came with no manifest that a registry knows: then its layers may be packed. Those of the image inside
/// the program are made anew each time.
fn is_ours(state: &State, image: &Image) -> bool {
    let mut names = state.names_of(&image.id);
    image.doc.manifest.is_none() || names.all(|(_, target)| target.remote.is_none())
}

/// For each layer: other repositories of the same registry that have it, as far as is known here.
fn mounts(
    state: &State,
    reference: &Reference,
    layers: &[image::Layer],
) -> HashMap<Digest, Vec<String>> {
    let mut all: HashMap<Digest, Vec<String>> = HashMap::new();
    let wanted: std::collections::HashSet<Digest> =
        layers.iter().map(|layer| layer.digest).collect();
    for (name, target) in &state.names {
        let Some(image) = state
            .images
            .get(&target.image)
            .filter(|_| target.remote.is_some())
        else {
            continue;
        };
        let Ok(known) = Reference::parse_normalized(name) else {
            continue;
        };
        if known.domain() != reference.domain() || known.path() == reference.path() {
            continue;
        }
        for blob in &image.doc.blobs {
            if wanted.contains(&blob.digest) {
                let list = all.entry(blob.digest).or_default();
                if list.len() < MAX_MOUNTS && !list.iter().any(|path| path == known.path()) {
                    list.push(known.path().to_owned());
                }
            }
        }
    }
    all
}

/// Passes progress on.
struct Told(Arc<Reporter>);

impl image::Progress for Told {
    fn status(&self, id: &str, text: &str, amount: Option<(u64, u64)>) {
        self.0.status(id, text, amount);
    }
}

/// The last line, for programs.
impl Reporter {
    fn program(&self, result: &PushResult) {
        self.tell(Progress {
            aux: serde_json::to_value(result).ok(),
            ..Progress::default()
        });
    }
}
