//! An image: which manifest, which blobs, in which order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use types::{Digest, Platform, Reference};

use super::auth::Scope;
use super::download::{self, Fetched, Wanted};
use super::endpoint;
use super::error::RegistryError;
use super::session::{RawManifest, Session};
use super::sources::{Sources, reference_name};
use super::{Client, Credentials, LayerReady, PullObserver, PullRequest, Pulled};
use crate::config::{ImageConfig, MAX_CONFIG_BYTES};
use crate::error::ImageError;
use crate::manifest::{self, Descriptor, Document, Layer, Manifest, ManifestError};
use crate::progress::{Progress, Silent, words};
use crate::store::{ContentStore, Staged};

/// Layers that are fetched at the same time, by all pulls: each holds a thread that writes it down.
static DOWNLOADS: Semaphore = Semaphore::const_new(64);

/// How long to wait for threads that still write, once a disk is full.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn pull(
    client: &Client,
    request: PullRequest,
    store: &ContentStore,
    observer: Arc<dyn PullObserver>,
) -> Result<Pulled, ImageError> {
    let reference = request.reference.clone().with_default_tag();
    let (sources, raw) = Sources::find(client, &reference, request.credentials.clone()).await?;
    let sources = Arc::new(sources);
    let name = reference_name(&reference);
    observer.message(&name, &format!("Pulling from {}", reference.path()));

    let chosen = match choose(&sources, raw, request.platform.as_ref()).await {
        Ok(chosen) => chosen,
        Err(error) => return Err(sent_by(sources.registry().await, &reference, error)),
    };
    chosen.manifest.check_image()?;
    let configuration = chosen.manifest.config.digest;
    tell_needs(&chosen, &observer).await?;
    let (config, config_blob) = fetch_config(&sources, store, &chosen.manifest).await?;
    // As docker, what has no index is taken as it is: the caller tells of another platform.
    let promised = chosen.index_bytes.as_ref().and(request.platform.as_ref());
    check_platform(&reference, &config, promised)?;
    let layers = chosen.manifest.layers_with(config.diff_ids())?;

    let mut documents = vec![chosen.bytes];
    documents.extend(chosen.index_bytes);
    let kept = async {
        let blobs = fetch_layers(client, &sources, store, &config, &layers, observer).await?;
        commit(store, blobs, config_blob, documents).await
    };
    if let Err(error) = kept.await {
        if error.is_disk_full() {
            give_back(store, &layers, None).await;
        }
        // Another try would end the same way: nothing is kept for it.
        if let ImageError::DigestMismatch { .. } = error {
            give_back(store, &layers, Some(&configuration)).await;
        }
        return Err(error);
    }
    Ok(Pulled {
        reference,
        target: chosen.target,
        manifest_descriptor: chosen.descriptor,
        manifest: chosen.manifest,
        config,
        layers,
    })
}

pub(super) async fn resolve(
    client: &Client,
    reference: &Reference,
    credentials: Option<Credentials>,
) -> Result<Descriptor, ImageError> {
    let reference = reference.clone().with_default_tag();
    let mut last = None;
    for endpoint in endpoint::endpoints(&client.inner.options, &reference)? {
        let asked = async {
            let scope = Scope::Pull;
            let session =
                Session::open(client, endpoint, &reference, scope, credentials.clone()).await?;
            let name = reference_name(&reference);
            if let (Some(digest), media_type, Some(size)) = session.head_manifest(&name).await? {
                let media_type = media_type.unwrap_or_default();
                return Ok(descriptor(media_type, digest, size));
            }
            // Not every registry answers HEAD in full.
            let raw = session.manifest(&name, reference.digest().copied()).await?;
            let media_type = raw.content_type.clone().unwrap_or_default();
            Ok(descriptor(media_type, raw.digest, raw.bytes.len() as u64))
        };
        match asked.await {
            Ok(found) => return Ok(found),
            Err::<_, RegistryError>(error) => last = Some(error),
        }
    }
    Err(last.map_or(
        ImageError::Interrupted {
            what: "no endpoint",
        },
        ImageError::from,
    ))
}

fn descriptor(media_type: String, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type,
        digest,
        size,
        annotations: Default::default(),
        platform: None,
    }
}

/// The manifest for the platform, with the index that led to it.
struct Chosen {
    target: Descriptor,
    descriptor: Descriptor,
    manifest: Manifest,
    bytes: Vec<u8>,
    index_bytes: Option<Vec<u8>>,
}

/// Names image and registry where what came as a manifest is none.
fn sent_by(registry: String, reference: &Reference, error: ImageError) -> ImageError {
    match error {
        ImageError::Manifest(
            source @ (ManifestError::Json { .. } | ManifestError::Form { .. }),
        ) => ImageError::RemoteManifest {
            reference: reference.familiar(),
            registry,
            source,
        },
        other => other,
    }
}

async fn choose(
    sources: &Sources,
    raw: RawManifest,
    platform: Option<&Platform>,
) -> Result<Chosen, ImageError> {
    let index = match manifest::parse(&raw.bytes, raw.content_type.as_deref())? {
        Document::Manifest(manifest) => {
            let size = raw.bytes.len() as u64;
            let found = descriptor(manifest.media_type.clone(), raw.digest, size);
            let (target, bytes) = (found.clone(), raw.bytes);
            return Ok(Chosen {
                target,
                descriptor: found,
                manifest,
                bytes,
                index_bytes: None,
            });
        }
        Document::Index(index) => index,
    };
    let wanted = platform.cloned().unwrap_or_else(Platform::host);
    let entry = index.select(&wanted)?;
    let one = sources.manifest(entry.digest).await?;
    let kind = one.content_type.as_deref().or(Some(&entry.media_type));
    let Document::Manifest(manifest) = manifest::parse(&one.bytes, kind)? else {
        let reason = "an index within an index".to_owned();
        return Err(ManifestError::Form { reason }.into());
    };
    Ok(Chosen {
        target: descriptor(index.media_type.clone(), raw.digest, raw.bytes.len() as u64),
        descriptor: descriptor(
            manifest.media_type.clone(),
            one.digest,
            one.bytes.len() as u64,
        ),
        manifest,
        bytes: one.bytes,
        index_bytes: Some(raw.bytes),
    })
}

/// Tells the observer which blobs the image is made of, on a thread that may wait.
async fn tell_needs(chosen: &Chosen, observer: &Arc<dyn PullObserver>) -> Result<(), ImageError> {
    let own = [
        chosen.target.digest,
        chosen.descriptor.digest,
        chosen.manifest.config.digest,
    ];
    let layers = chosen.manifest.layers.iter().map(|layer| layer.digest);
    let blobs: Vec<Digest> = own.into_iter().chain(layers).collect();
    let observer = Arc::clone(observer);
    tokio::task::spawn_blocking(move || observer.needs(&blobs))
        .await
        .map_err(|_| ImageError::Interrupted {
            what: "keeping blobs",
        })
}

/// An index must not lie about what was chosen of it. Else only the operating system must fit: another architecture may be
/// emulated.
fn check_platform(
    reference: &Reference,
    config: &ImageConfig,
    promised: Option<&Platform>,
) -> Result<(), ImageError> {
    let actual = config.platform();
    match promised {
        Some(wanted) if !wanted.matches(&actual) => Err(ImageError::PlatformMismatch {
            reference: reference.familiar(),
            wanted: Box::new(wanted.clone()),
            actual: Box::new(actual),
        }),
        _ if actual.os() != "linux" => Err(ManifestError::OperatingSystem {
            os: actual.os().to_owned(),
        }
        .into()),
        _ => Ok(()),
    }
}

async fn fetch_config(
    sources: &Sources,
    store: &ContentStore,
    manifest: &Manifest,
) -> Result<(ImageConfig, Option<Staged>), ImageError> {
    let Descriptor { digest, size, .. } = manifest.config;
    if size > MAX_CONFIG_BYTES {
        let what = format!("image configuration {digest}");
        return Err(ImageError::TooLarge {
            what,
            limit: MAX_CONFIG_BYTES,
        });
    }
    let silent: Arc<dyn Progress> = Arc::new(Silent);
    let wanted = Wanted { digest, size };
    let fetched = sources.blob(store, wanted, &silent).await?;
    let (bytes, staged) = match fetched {
        Fetched::Present => (store.read(&digest, MAX_CONFIG_BYTES)?, None),
        Fetched::Staged(staged) => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut staged.reader(), &mut bytes)
                .map_err(crate::store::failed("read", &store.path(&digest)))?;
            (bytes, Some(staged))
        }
    };
    Ok((ImageConfig::parse(bytes)?, staged))
}

/// Fetches all layers, a few at a time, the lowest first, and hands each over as soon as it is
/// complete. A blob that occurs at several places is fetched once.
async fn fetch_layers(
    client: &Client,
    sources: &Arc<Sources>,
    store: &ContentStore,
    config: &ImageConfig,
    layers: &[Layer],
    observer: Arc<dyn PullObserver>,
) -> Result<Vec<Staged>, ImageError> {
    let (image, chain_ids) = (&config.digest(), &config.chain_ids()[..]);
    let options = &client.inner.options;
    observer.layers(layers, chain_ids);
    let (missing, there) = missing_layers(store, layers, chain_ids, &*observer);
    // Docker's daemon looks at no layer of an image that it has.
    if !observer.has_image(image) {
        for digest in there {
            observer.status(&digest.short(), words::ALREADY_EXISTS, None);
        }
    }
    for (place, places) in missing.iter().enumerate() {
        let id = places[0].1.digest.short();
        observer.status(&id, words::PULLING_FS_LAYER, None);
        if place >= options.parallel_layers {
            observer.status(&id, words::WAITING, None);
        }
    }
    let turns = Arc::new(Semaphore::new(options.parallel_layers.max(1)));
    let mut tasks = JoinSet::new();
    for places in missing {
        let job = LayerJob {
            sources: Arc::clone(sources),
            store: store.clone(),
            observer: Arc::clone(&observer),
            places,
        };
        let turns = Arc::clone(&turns);
        tasks.spawn(async move {
            // Neither is ever closed.
            let _turn = turns.acquire().await;
            let _place = DOWNLOADS.acquire().await;
            job.run().await
        });
    }
    let mut staged = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let done = done.map_err(|_| ImageError::Interrupted {
            what: "fetching a layer",
        })?;
        match done {
            Ok(blob) => staged.extend(blob),
            Err(error) => {
                tasks.shutdown().await;
                return Err(error);
            }
        }
    }
    Ok(staged)
}

/// Removes what has come of layers for which there is no room: on a full disk, being able to
/// continue is worth less than the space. Those that another pull fills, or has filled and is to
/// commit, are left to it.
async fn give_back(store: &ContentStore, layers: &[Layer], configuration: Option<&Digest>) {
    let digests = layers.iter().map(|layer| &layer.digest);
    let all = async {
        for digest in digests.chain(configuration) {
            let mine = store.fill(digest).await;
            let (store, digest) = (store.clone(), *digest);
            // To remove a large file takes the disk a while.
            let discarded = download::on_disk(move || {
                let _mine = mine;
                store.discard_partial(&digest)
            });
            if let Err(error) = discarded.await.and_then(|discarded| discarded) {
                tracing::warn!(%error, "a partial blob stays");
            }
        }
    };
    if tokio::time::timeout(GIVE_BACK_WITHIN, all).await.is_err() {
        tracing::debug!("another pull fills a layer that did not fit");
    }
}

/// A layer's place in the image, the layer, and its chain id.
type Place = (usize, Layer, Digest);

/// The layers that are not both stored and unpacked, grouped by blob, in the image's order; and the blobs of those that
/// are.
fn missing_layers(
    store: &ContentStore,
    layers: &[Layer],
    chain_ids: &[Digest],
    observer: &dyn PullObserver,
) -> (Vec<Vec<Place>>, Vec<Digest>) {
    let mut groups: Vec<Vec<Place>> = Vec::new();
    let mut present = Vec::new();
    let mut group_of: HashMap<Digest, usize> = HashMap::new();
    for (index, (layer, chain_id)) in layers.iter().zip(chain_ids).enumerate() {
        let group = *group_of.entry(layer.digest).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push((index, layer.clone(), *chain_id));
    }
    groups.retain(|places| {
        let there = store.contains(&places[0].1.digest)
            && places
                .iter()
                .all(|(_, layer, chain_id)| observer.has_layer(layer, chain_id));
        if there {
            present.push(places[0].1.digest);
        }
        !there
    });
    (groups, present)
}

/// One blob and the layers that it is.
struct LayerJob {
    sources: Arc<Sources>,
    store: ContentStore,
    observer: Arc<dyn PullObserver>,
    places: Vec<Place>,
}

impl LayerJob {
    async fn run(self) -> Result<Option<Staged>, ImageError> {
        let Some((_, first, _)) = self.places.first() else {
            return Ok(None);
        };
        let id = first.digest.short();
        let progress: Arc<dyn Progress> = self.observer.clone();
        let wanted = Wanted {
            digest: first.digest,
            size: first.size,
        };
        let fetched = self.sources.blob(&self.store, wanted, &progress).await?;
        let (content, staged) = match fetched {
            Fetched::Present => (self.store.blob(&first.digest)?, None),
            Fetched::Staged(staged) => (staged.reader(), Some(staged)),
        };
        self.observer.status(&id, words::DOWNLOAD_COMPLETE, None);
        for (index, layer, chain_id) in self.places {
            // A layer can be unpacked already, from a blob of another compression.
            if self.observer.has_layer(&layer, &chain_id) {
                self.observer.status(&id, words::ALREADY_EXISTS, None);
                continue;
            }
            let content = content.clone();
            self.observer.layer_ready(LayerReady {
                index,
                layer,
                chain_id,
                content,
            });
        }
        Ok(staged)
    }
}

/// Puts everything to disk as one group, in a thread.
async fn commit(
    store: &ContentStore,
    mut group: Vec<Staged>,
    config: Option<Staged>,
    documents: Vec<Vec<u8>>,
) -> Result<(), ImageError> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || {
        group.extend(config);
        for bytes in &documents {
            if !store.contains(&Digest::sha256(bytes)) {
                group.push(store.stage(bytes)?);
            }
        }
        store.commit(group)
    })
    .await
    .map_err(|_| ImageError::Interrupted {
        what: "putting an image to disk",
    })?
}
