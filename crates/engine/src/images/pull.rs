//! Pulling: layers are unpacked while others are still on their way.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use api_types::AuthConfig;
use image::compression::PacedBy;
use image::registry::{Credentials, LayerReady, PullObserver, PullRequest, Pulled};
use image::words;
use tokio::sync::mpsc;
use types::{Digest, Platform, Reference};

use super::index::{BlobDoc, Image, Lease, Target};
use super::layers::{self, LAYER_LIMIT};
use super::progress::{Counted, Reporter};
use super::registries::credentials;
use crate::engine::Engine;
use crate::events;
use crate::options::ProgressSender;
use crate::outcome::{EngineError, Result};
use crate::store::{Durability, rows};

/// An image that came from elsewhere, all of whose blobs and layers are here.
pub(crate) struct Arrived {
    pub(crate) config: String,
    pub(crate) manifest: Option<Digest>,
    pub(crate) blobs: Vec<BlobDoc>,
    /// Full references with what each pointed to in its registry.
    pub(crate) names: Vec<(String, Option<Digest>)>,
}

/// What is to be pulled: without tag and digest, all tags.
struct Wanted {
    reference: Reference,
    platform: Option<Platform>,
    credentials: Option<Credentials>,
}

fn given_up() -> EngineError {
    EngineError::conflict("the pull was given up")
}

/// Hears from the registry's client.
struct Observer {
    engine: Engine,
    reporter: Arc<Reporter>,
    lease: SharedLease,
    /// The last to go: who waits for its end may take the lease for ended.
    told: mpsc::UnboundedSender<Told>,
}

/// Blobs and layers of an image on its way: those that are here already stay, even if the image that brought them goes.
type SharedLease = Arc<Mutex<Lease>>;

/// What the unpacker hears, bounded by the number of layers.
enum Told {
    /// The chain ids of the image, the lowest first.
    Chains(Vec<Digest>),
    /// A layer that is not unpacked can be.
    Ready(LayerReady),
}

impl image::Progress for Observer {
    fn message(&self, id: &str, text: &str) {
        self.reporter.message(id, text);
    }

    fn status(&self, id: &str, text: &str, amount: Option<(u64, u64)>) {
        self.reporter.status(id, text, amount);
    }
}

impl PullObserver for Observer {
    fn needs(&self, blobs: &[Digest]) {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.add_blobs(blobs.iter().copied());
    }

    fn has_image(&self, id: &Digest) -> bool {
        self.engine.images().read().images.contains_key(id)
    }

    fn has_layer(&self, _layer: &image::Layer, chain_id: &Digest) -> bool {
        self.engine.layer(chain_id).is_some()
    }

    fn layers(&self, _layers: &[image::Layer], chain_ids: &[Digest]) {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        chain_ids.iter().for_each(|chain| lease.add(*chain));
        // The unpacker ends early only with its own failure.
        let _ = self.told.send(Told::Chains(chain_ids.to_vec()));
    }

    fn layer_ready(&self, layer: LayerReady) {
        let _ = self.told.send(Told::Ready(layer));
    }
}

impl Engine {
    /// Pulls an image and gives it its name; of a repository without a tag all that it has. Progress goes to `progress` in
    /// docker's words; when nobody takes it any more, the pull is given up: what came of its blobs waits for the next one,
    /// nothing else stays but the images before it.
    pub async fn pull(
        &self,
        reference: &str,
        platform: Option<String>,
        auth: Option<AuthConfig>,
        progress: ProgressSender,
    ) -> Result<()> {
        let wanted = Wanted {
            reference: Reference::parse_normalized(reference)
                .map_err(|error| EngineError::invalid(error.to_string()))?,
            platform: parse_platform(platform)?,
            credentials: auth.and_then(credentials),
        };
        let engine = self.clone();
        self.to_the_end("pull", async move {
            let pulled = engine.pull_wanted(wanted, progress).await;
            // After the last of its leases has ended.
            engine.collect_quietly().await;
            pulled
        })
        .await
    }

    async fn pull_wanted(&self, wanted: Wanted, progress: ProgressSender) -> Result<()> {
        let reporter = Arc::new(Reporter::new(progress));
        let Wanted {
            reference,
            platform,
            credentials,
        } = wanted;
        let all = reference.tag().is_none() && reference.digest().is_none();
        let tagged = match all {
            false => vec![reference.clone()],
            true => {
                let client = self.registry_client();
                tokio::select! {
                    tags = client.tags(&reference, credentials.clone()) => tags?,
                    () = reporter.gone() => return Err(given_up()),
                }
            }
        };
        let mut fresh = false;
        for reference in tagged {
            let request = PullRequest {
                reference,
                platform: platform.clone(),
                credentials: credentials.clone(),
            };
            fresh |= self.pull_one(request, &reporter).await?;
        }
        let familiar = reference.familiar();
        let sentence = if fresh {
            "Downloaded newer image for"
        } else {
            "Image is up to date for"
        };
        reporter.line("", format!("Status: {sentence} {familiar}"));
        if let Some(platform) = platform
            && let Err(other @ EngineError::WrongPlatform { .. }) = self
                .images()
                .read()
                .find_for(&reference.to_string(), &[platform])
        {
            reporter.line("", format!("WARNING: {other}"));
        }
        Ok(())
    }

    /// Pulls one image; whether its name meant something else before.
    async fn pull_one(&self, request: PullRequest, reporter: &Arc<Reporter>) -> Result<bool> {
        let lease: SharedLease = Arc::new(Mutex::new(Lease::new(self.images())));
        let reference = request.reference.clone();
        let pulled = self.transfer(request, reporter, &lease).await?;
        let (target, fresh) = self.keep_pulled(&reference, pulled).await?;
        reporter.line("", format!("Digest: {target}"));
        Ok(fresh)
    }

    /// Fetches and unpacks an image. Its blobs and layers stay as long as the lease.
    async fn transfer(
        &self,
        request: PullRequest,
        reporter: &Arc<Reporter>,
        lease: &SharedLease,
    ) -> Result<Pulled> {
        let (told, hears) = mpsc::unbounded_channel();
        let observer = Arc::new(Observer {
            engine: self.clone(),
            reporter: Arc::clone(reporter),
            lease: Arc::clone(lease),
            told,
        });
        let client = self.registry_client();
        let mut unpacker = tokio::spawn(unpack_in_order(self.clone(), hears, Arc::clone(reporter)));
        let panicked = |_| EngineError::Panicked { operation: "pull" };
        let name = request.reference.familiar();
        let both = async {
            // The observer, and with it the channel of the unpacker, goes with the call.
            let pulled = client.pull(request, &self.inner().content, observer).await;
            (pulled, (&mut unpacker).await.map_err(panicked))
        };
        let finished = tokio::select! {
            finished = both => Some(finished),
            () = reporter.gone() => None,
        };
        match finished {
            Some((Err(error), _)) => Err(error.into()),
            Some((Ok(pulled), unpacked)) => unpacked?.map(|()| pulled),
            None => {
                tracing::info!(image = %name, "the pull is given up: nobody waits for it");
                reporter.give_up();
                // Nothing half-unpacked stays.
                let _ = unpacker.await.map_err(panicked)?;
                Err(given_up())
            }
        }
    }

    /// Writes the image down; whether its name meant something else before.
    async fn keep_pulled(&self, reference: &Reference, pulled: Pulled) -> Result<(Digest, bool)> {
        let target = pulled.target.digest;
        let arrived = Arrived {
            config: config_text(&pulled.config)?,
            manifest: Some(pulled.manifest_descriptor.digest),
            blobs: pulled.layers.iter().map(blob_doc).collect(),
            names: vec![(reference.to_string(), Some(target))],
        };
        let before = self
            .images()
            .read()
            .names
            .get(&reference.to_string())
            .copied();
        let image = self.keep(arrived, "pull").await?;
        let fresh = before.is_none_or(|before| before.image != image.id);
        Ok((target, fresh))
    }

    /// Makes the rows of an image that arrived, after its layers are on the disk for good.
    pub(crate) async fn keep(&self, arrived: Arrived, action: &str) -> Result<Arc<Image>> {
        self.blocking("sync", |engine| Ok(engine.inner().layers.sync()?))
            .await?;
        let mut image = Image::parse(Image::document(
            arrived.config,
            arrived.manifest,
            arrived.blobs,
            false,
        ))?;
        image.doc.tagged = crate::clock::now();
        // The image inside the program stays that, whoever brings it once more.
        let known = self.images().read().images.get(&image.id).cloned();
        image.doc.built_in = known.is_some_and(|known| known.doc.built_in);
        let (row, id) = (image.row()?, image.id);
        let names = arrived.names;
        let told = names
            .iter()
            .map(|(name, _)| {
                let familiar = familiar(name);
                // A name that is given here belongs to the image, as in `tag`.
                let (actor, name) = match action {
                    "tag" => (id.to_string(), familiar),
                    "load" => (id.to_string(), id.to_string()),
                    _ => (familiar.clone(), bare(&familiar)),
                };
                events::event("image", action, actor, [("name".to_owned(), name)].into())
            })
            .collect();
        let rows = names.clone();
        let _gate = self.inner().gate.read().await;
        if let Some(gone) = self.images().read().missing_layer(&image) {
            return Err(layers::missing(gone));
        }
        self.commit(Durability::PowerCut, told, move |connection| {
            row.put(connection)?;
            rows.iter().try_for_each(|(name, remote)| {
                rows::refs::put(
                    connection,
                    name,
                    &id.to_string(),
                    &remote.map(|digest| digest.to_string()).unwrap_or_default(),
                )
            })
        })
        .await?;
        let image = Arc::new(image);
        let mut state = self.images().write();
        state.images.insert(id, Arc::clone(&image));
        for (name, remote) in names {
            state.names.insert(name, Target { image: id, remote });
        }
        Ok(image)
    }
}

/// Unpacks layers from the lowest up, each as soon as it and those below it are there, those that were here before
/// included.
async fn unpack_in_order(
    engine: Engine,
    mut hears: mpsc::UnboundedReceiver<Told>,
    reporter: Arc<Reporter>,
) -> Result<()> {
    let mut waiting = std::collections::BTreeMap::new();
    let (mut chains, mut done) = (Vec::new(), 0);
    while let Some(told) = hears.recv().await {
        match told {
            Told::Chains(all) => chains = all,
            Told::Ready(layer) => {
                waiting.insert(layer.index, layer);
            }
        }
        while let Some(chain) = chains.get(done) {
            if engine.layer(chain).is_none() {
                let Some(layer) = waiting.remove(&done) else {
                    break;
                };
                unpack(&engine, layer, &chains[..done], &reporter).await?;
            }
            done += 1;
        }
    }
    // A pull that failed tells its own fault.
    match chains.get(done) {
        Some(chain) => Err(layers::missing(chain)),
        None => Ok(()),
    }
}

async fn unpack(
    engine: &Engine,
    layer: LayerReady,
    parents: &[Digest],
    reporter: &Arc<Reporter>,
) -> Result<()> {
    let short = layer.layer.digest.short();
    let counter = Arc::clone(reporter);
    let (name, total, content) = (short.clone(), layer.layer.size, layer.content);
    let (diff, blob) = (layer.layer.diff_id, layer.layer.digest);
    engine
        .ensure_layer(layer.chain_id, parents, diff, blob, move || {
            let counted = Counted {
                inner: content,
                done: 0,
                total,
                id: name,
                text: words::EXTRACTING,
                reporter: counter,
            };
            plain(counted)
        })
        .await?;
    reporter.line(&short, words::PULL_COMPLETE);
    Ok(())
}

/// The uncompressed stream of a blob.
pub(crate) fn plain(blob: impl Read + Send + 'static) -> Result<Box<dyn Read + Send>> {
    let (reader, _) = image::compression::reader(blob, LAYER_LIMIT, PacedBy::Disk)
        .map_err(EngineError::io("read a layer"))?;
    Ok(reader)
}

pub(crate) fn parse_platform(platform: Option<String>) -> Result<Option<Platform>> {
    platform
        .filter(|platform| !platform.is_empty())
        .map(|text| {
            text.parse()
                .map_err(|error: types::PlatformError| EngineError::invalid(error.to_string()))
        })
        .transpose()
}

pub(crate) fn config_text(config: &image::ImageConfig) -> Result<String> {
    String::from_utf8(config.raw().to_vec())
        .map_err(|_| EngineError::invalid("the image's configuration is not UTF-8"))
}

pub(crate) fn blob_doc(layer: &image::Layer) -> BlobDoc {
    BlobDoc {
        media_type: layer.media_type.clone(),
        digest: layer.digest,
        size: layer.size,
    }
}

/// The familiar form of a full reference.
pub(crate) fn familiar(name: &str) -> String {
    Reference::parse_normalized(name)
        .map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

/// A familiar reference without its tag.
pub(super) fn bare(familiar: &str) -> String {
    super::index::repository_of(familiar).to_owned()
}
