//! An image to a registry: its layers, its configuration, and last its manifest.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use types::Digest;

use super::auth::Scope;
use super::documents::{self, RemoteDocument};
use super::download::on_disk;
use super::endpoint;
use super::session::Session;
use super::upload::{self, Blob, Outcome};
use super::{Client, PushRequest, Pushed};
use crate::compression::{self, Compression, PacedBy};
use crate::error::ImageError;
use crate::manifest::{
    self, Descriptor, Document, Layer, MAX_MANIFEST_BYTES, Manifest, ManifestError, media_type,
};
use crate::progress::{Progress, words};
use crate::store::{BlobReader, ContentStore, Staged};

/// Layers that are sent at the same time, by all pushes: each holds a thread that reads it.
static UPLOADS: Semaphore = Semaphore::const_new(64);

/// Bytes that one layer may unpack to.
const LAYER_LIMIT: u64 = 1 << 42;

pub(super) async fn push(
    client: &Client,
    request: PushRequest,
    store: &ContentStore,
    progress: Arc<dyn Progress>,
) -> Result<Pushed, ImageError> {
    let endpoint = endpoint::registry(&client.inner.options, request.reference.domain())?;
    let credentials = request.credentials.clone();
    let (reference, scope) = (&request.reference, Scope::Push);
    let session = Session::open(client, endpoint, reference, scope, credentials).await?;
    let session = Arc::new(session);
    let bytes = store.read(&request.manifest.digest, MAX_MANIFEST_BYTES)?;
    let kind = Some(request.manifest.media_type.as_str());
    let Document::Manifest(manifest) = manifest::parse(&bytes, kind)? else {
        let reason = "an index where a manifest is wanted".to_owned();
        return Err(ManifestError::Form { reason }.into());
    };
    let sent = send_layers(client, &session, &request, store, progress).await?;
    send_config(client, &session, &manifest.config, store).await?;
    let (descriptor, bytes) = match sent.iter().any(|one| one.packed.is_some()) {
        false => (request.manifest.clone(), bytes),
        true => repacked(&request, manifest, &sent)?,
    };
    let attempts = client.inner.options.attempts;
    let document = RemoteDocument {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest,
        bytes,
    };
    let name = reference.tag().unwrap_or(types::DEFAULT_TAG);
    documents::put(&session, name, &document, attempts).await?;
    let mut layers = request.layers;
    let mut staged = Vec::new();
    for one in sent {
        for place in &one.places {
            layers[*place].digest = one.digest;
            layers[*place].size = one.size;
            if one.packed.is_some() {
                layers[*place].media_type = packed_type(&layers[*place].media_type).to_owned();
            }
        }
        staged.extend(one.packed);
    }
    if !staged.is_empty() {
        staged.push(store.stage(&document.bytes)?);
    }
    Ok(Pushed {
        manifest: descriptor,
        layers,
        staged,
    })
}

/// A layer that is in the registry.
struct Sent {
    /// Its places in the image.
    places: Vec<usize>,
    digest: Digest,
    size: u64,
    /// It was packed to be sent.
    packed: Option<Staged>,
}

/// Sends all layers, a few at a time, the top one first as docker does. A blob that occurs at several places is sent once.
async fn send_layers(
    client: &Client,
    session: &Arc<Session>,
    request: &PushRequest,
    store: &ContentStore,
    progress: Arc<dyn Progress>,
) -> Result<Vec<Sent>, ImageError> {
    let options = &client.inner.options;
    let mut groups: Vec<(Layer, Vec<usize>)> = Vec::new();
    let mut group_of: HashMap<Digest, usize> = HashMap::new();
    for (place, layer) in request.layers.iter().enumerate().rev() {
        let group = *group_of.entry(layer.digest).or_insert_with(|| {
            groups.push((layer.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(place);
    }
    for (layer, _) in &groups {
        progress.status(&layer.diff_id.short(), words::PREPARING, None);
    }
    for (layer, _) in groups.iter().skip(options.parallel_uploads) {
        progress.status(&layer.diff_id.short(), words::WAITING, None);
    }
    let turns = Arc::new(Semaphore::new(options.parallel_uploads.max(1)));
    let mut tasks = JoinSet::new();
    for (layer, places) in groups {
        let job = LayerJob {
            session: Arc::clone(session),
            store: store.clone(),
            progress: Arc::clone(&progress),
            attempts: options.attempts,
            mounts: request.mounts.get(&layer.digest).cloned(),
            pack: request.pack,
            layer,
            places,
        };
        let turns = Arc::clone(&turns);
        tasks.spawn(async move {
            // Neither is ever closed.
            let _turn = turns.acquire().await;
            let _place = UPLOADS.acquire().await;
            job.run().await
        });
    }
    let mut sent = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let done = done.map_err(|_| ImageError::Interrupted {
            what: "sending a layer",
        })?;
        match done {
            Ok(one) => sent.push(one),
            Err(error) => {
                tasks.shutdown().await;
                return Err(error);
            }
        }
    }
    Ok(sent)
}

/// One layer on its way.
struct LayerJob {
    session: Arc<Session>,
    store: ContentStore,
    progress: Arc<dyn Progress>,
    attempts: u32,
    mounts: Option<Vec<String>>,
    pack: bool,
    layer: Layer,
    places: Vec<usize>,
}

impl LayerJob {
    async fn run(self) -> Result<Sent, ImageError> {
        let id = self.layer.diff_id.short();
        let content = self.store.blob(&self.layer.digest)?;
        let packed = match self.pack {
            true => pack(&self.store, &self.layer.digest, content.clone()).await?,
            false => None,
        };
        let blob = match &packed {
            Some(staged) => Blob {
                digest: staged.digest(),
                size: staged.size(),
                content: staged.reader(),
            },
            None => Blob {
                digest: self.layer.digest,
                size: self.layer.size,
                content,
            },
        };
        let mounts = self.mounts.unwrap_or_default();
        let report = |sent| {
            self.progress
                .status(&id, words::PUSHING, Some((sent, blob.size)));
        };
        let outcome = upload::upload(&self.session, &blob, &mounts, self.attempts, &report).await?;
        let told = match outcome {
            Outcome::Exists => words::LAYER_ALREADY_EXISTS.to_owned(),
            Outcome::Mounted(from) => format!("{}{from}", words::MOUNTED_FROM),
            Outcome::Sent => words::PUSHED.to_owned(),
        };
        self.progress.status(&id, &told, None);
        Ok(Sent {
            places: self.places,
            digest: blob.digest,
            size: blob.size,
            packed,
        })
    }
}

/// Packs a layer with gzip unless it is packed in a way that every engine reads.
async fn pack(
    store: &ContentStore,
    layer: &Digest,
    content: BlobReader,
) -> Result<Option<Staged>, ImageError> {
    let (store, path) = (store.clone(), store.path(layer));
    on_disk(move || {
        let mut start = Vec::new();
        let failed = |source| crate::store::failed("pack", &path)(source);
        content
            .clone()
            .take(6)
            .read_to_end(&mut start)
            .map_err(failed)?;
        if matches!(
            Compression::detect(&start),
            Compression::Gzip | Compression::Zstd
        ) {
            return Ok(None);
        }
        let (mut plain, _) =
            compression::reader(content, LAYER_LIMIT, PacedBy::Disk).map_err(failed)?;
        let writer = store.writer(None, false)?;
        // The same content gives the same blob each time, so that a registry that has it is asked for it by its digest.
        let mut packer = flate2::write::GzEncoder::new(writer, flate2::Compression::default());
        std::io::copy(&mut plain, &mut packer).map_err(failed)?;
        let writer = packer.finish().map_err(failed)?;
        writer.finish().map(Some)
    })
    .await?
}

/// The name of a layer's kind once it is packed with gzip, in the words of the one who named it before.
fn packed_type(plain: &str) -> &'static str {
    match plain {
        media_type::DOCKER_LAYER => media_type::DOCKER_LAYER_GZIP,
        _ => media_type::OCI_LAYER_GZIP,
    }
}

/// The manifest of an image some of whose layers were packed.
fn repacked(
    request: &PushRequest,
    mut manifest: Manifest,
    sent: &[Sent],
) -> Result<(Descriptor, Vec<u8>), ImageError> {
    for one in sent.iter().filter(|one| one.packed.is_some()) {
        for place in &one.places {
            let layer = manifest.layers.get_mut(*place);
            let layer = layer.ok_or(ManifestError::LayerCount {
                layers: request.layers.len(),
                diff_ids: *place,
            })?;
            layer.media_type = packed_type(&layer.media_type).to_owned();
            (layer.digest, layer.size) = (one.digest, one.size);
        }
    }
    let bytes = manifest.to_json()?;
    let descriptor = Descriptor {
        media_type: manifest.media_type,
        digest: Digest::sha256(&bytes),
        size: bytes.len() as u64,
        ..request.manifest.clone()
    };
    Ok((descriptor, bytes))
}

async fn send_config(
    client: &Client,
    session: &Session,
    config: &Descriptor,
    store: &ContentStore,
) -> Result<(), ImageError> {
    let content = store.blob(&config.digest)?;
    let size = store.size(&config.digest).unwrap_or(config.size);
    let blob = Blob {
        digest: config.digest,
        size,
        content,
    };
    upload::upload(session, &blob, &[], client.inner.options.attempts, &|_| ()).await?;
    Ok(())
}
