//! Manifests alone: what a name is made of, and an index that is put together of manifests that are there.

use std::sync::Arc;

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use types::{Digest, Reference};

use super::auth::Scope;
use super::error::RegistryError;
use super::payload::Payload;
use super::session::Session;
use super::sources::Sources;
use super::{Client, Credentials, endpoint, upload};
use crate::config::MAX_CONFIG_BYTES;
use crate::error::ImageError;
use crate::manifest::{self, Document, Manifest, ManifestError, PlatformEntry};

/// Bytes of all documents of one name.
const MOST_BYTES: usize = 64 << 20;

/// A manifest or an index as it stands in a registry.
#[derive(Debug, Clone)]
pub struct RemoteDocument {
    /// Docker's or OCI's name of what it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its text.
    pub bytes: Vec<u8>,
}

/// An image for one platform.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    /// What the index says that it is for, if there is one.
    pub platform: Option<PlatformEntry>,
    /// Its manifest.
    pub manifest: RemoteDocument,
    /// Its configuration's text.
    pub config: Vec<u8>,
    /// Its blobs: the configuration, and the layers.
    pub blobs: Vec<Digest>,
}

/// What a name points to, with all that it is made of but for layers.
#[derive(Debug, Clone)]
pub struct Described {
    /// Whether that is an index.
    pub is_index: bool,
    /// The images, in the index's order; the one, if there is no index.
    pub images: Vec<RemoteImage>,
}

/// An index that is put together of manifests that are in a registry.
#[derive(Debug, Clone)]
pub struct IndexPush {
    /// The index's name, with a tag.
    pub reference: Reference,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// Images of other repositories of the same registry, by these repositories' names: their blobs are mounted, and their
    /// manifests sent.
    pub images: Vec<(Reference, RemoteImage)>,
    /// The index.
    pub index: RemoteDocument,
}

/// Fetches manifests and configurations, from mirrors and the registry in turn.
pub(super) async fn describe(
    client: &Client,
    reference: &Reference,
    credentials: Option<Credentials>,
) -> Result<Described, ImageError> {
    let reference = reference.clone().with_default_tag();
    let (sources, raw) = Sources::find(client, &reference, credentials).await?;
    let index = match manifest::parse(&raw.bytes, raw.content_type.as_deref())? {
        Document::Manifest(manifest) => {
            let document = (raw.digest, raw.bytes);
            let images = vec![image(&sources, None, manifest, document).await?];
            return Ok(Described {
                is_index: false,
                images,
            });
        }
        Document::Index(index) => index,
    };
    let mut images = Vec::new();
    let mut bytes = 0;
    for entry in index.manifests {
        let raw = sources.manifest(entry.digest).await?;
        let kind = raw.content_type.as_deref().or(Some(&entry.media_type));
        let Document::Manifest(manifest) = manifest::parse(&raw.bytes, kind)? else {
            let reason = "an index within an index".to_owned();
            return Err(ManifestError::Form { reason }.into());
        };
        let platform = Some(*entry.platform.unwrap_or_default());
        let image = image(&sources, platform, manifest, (raw.digest, raw.bytes)).await?;
        bytes += image.manifest.bytes.len() + image.config.len();
        if bytes > MOST_BYTES {
            return Err(ImageError::TooLarge {
                what: format!("what {reference} is made of"),
                limit: MOST_BYTES as u64,
            });
        }
        images.push(image);
    }
    Ok(Described {
        is_index: true,
        images,
    })
}

async fn image(
    sources: &Sources,
    platform: Option<PlatformEntry>,
    manifest: Manifest,
    (digest, bytes): (Digest, Vec<u8>),
) -> Result<RemoteImage, ImageError> {
    let config = manifest.config.digest;
    let layers = manifest.layers.iter().map(|layer| layer.digest);
    Ok(RemoteImage {
        platform,
        config: sources.small_blob(config, MAX_CONFIG_BYTES).await?,
        blobs: [config].into_iter().chain(layers).collect(),
        manifest: RemoteDocument {
            media_type: manifest.media_type,
            digest,
            bytes,
        },
    })
}

/// Sends an index, after what its images lack in the repository.
pub(super) async fn push_index(client: &Client, request: IndexPush) -> Result<(), ImageError> {
    let reference = &request.reference;
    let endpoint = endpoint::registry(&client.inner.options, reference.domain())?;
    let credentials = request.credentials.clone();
    let session = Session::open(client, endpoint, reference, Scope::Push, credentials).await?;
    let attempts = client.inner.options.attempts;
    for (from, image) in &request.images {
        for blob in &image.blobs {
            if !upload::mount(&session, blob, from.path()).await? {
                let answer = format!("error mounting {}@{blob} to {reference}", from.name());
                return Err(RegistryError::Refused { answer }.into());
            }
        }
        let name = image.manifest.digest.to_string();
        put(&session, &name, &image.manifest, attempts).await?;
    }
    let name = reference.tag().unwrap_or(types::DEFAULT_TAG);
    put(&session, name, &request.index, attempts).await
}

/// Sends a manifest or an index by a name: a tag, or its digest.
pub(super) async fn put(
    session: &Session,
    name: &str,
    document: &RemoteDocument,
    attempts: u32,
) -> Result<(), ImageError> {
    let url = session.url(session.manifest_path(name));
    let mut headers = HeaderMap::new();
    if let Ok(kind) = HeaderValue::from_str(&document.media_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    let payload = Payload::Whole(document.bytes.clone().into());
    let mut tried = 1;
    loop {
        let sent = Arc::default();
        let put = session.request_with(Method::PUT, &url, &headers, &payload, &sent);
        match put.await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_passing() && tried < attempts => {
                tracing::debug!(%error, "a manifest was not taken; trying again");
                upload::pause(tried).await;
                tried += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
