//! What a registry has under a name, without fetching it.

use http::StatusCode;
use types::Reference;

use super::error::RegistryError;
use super::sources::Sources;
use super::{Client, Credentials, Inspected};
use crate::config::MAX_CONFIG_BYTES;
use crate::error::ImageError;
use crate::manifest::{self, Descriptor, Document, Manifest, PlatformEntry};

/// Asks mirrors and registry in turn.
pub(super) async fn inspect(
    client: &Client,
    reference: &Reference,
    credentials: Option<Credentials>,
) -> Result<Inspected, ImageError> {
    let reference = reference.clone().with_default_tag();
    let (sources, raw) = Sources::find(client, &reference, credentials)
        .await
        .map_err(told)?;
    let (media_type, platforms) = match manifest::parse(&raw.bytes, raw.content_type.as_deref())? {
        Document::Index(index) => {
            let entries = index.manifests.into_iter();
            let platforms = entries.map(|entry| *entry.platform.unwrap_or_default());
            (index.media_type, platforms.collect())
        }
        Document::Manifest(manifest) => {
            let platform = platform_of(&sources, &manifest).await;
            (manifest.media_type, platform.into_iter().collect())
        }
    };
    Ok(Inspected {
        target: Descriptor {
            media_type,
            digest: raw.digest,
            size: raw.bytes.len() as u64,
            annotations: Default::default(),
            platform: None,
        },
        platforms,
    })
}

/// What the configuration says that a manifest is for. Of what is no image nothing is known.
async fn platform_of(sources: &Sources, manifest: &Manifest) -> Option<PlatformEntry> {
    let config = manifest.config.digest;
    let text = match sources.small_blob(config, MAX_CONFIG_BYTES).await {
        Ok(text) => text,
        Err(error) => {
            tracing::debug!(%config, %error, "the platform of a manifest is not known");
            return None;
        }
    };
    let platform: PlatformEntry = serde_json::from_slice(&text).ok()?;
    (!platform.os.is_empty() || !platform.architecture.is_empty()).then_some(platform)
}

/// A refusal as docker tells it where nothing is pulled: the registry's words alone, with its status.
fn told(error: ImageError) -> ImageError {
    let ImageError::Registry(error) = error else {
        return error;
    };
    let (status, answer) = match error {
        RegistryError::ManifestUnknown { answer, .. }
        | RegistryError::NameUnknown { answer, .. } => (StatusCode::NOT_FOUND, answer),
        RegistryError::Denied { answer, .. } => (StatusCode::FORBIDDEN, answer),
        RegistryError::Unauthorized { answer, .. } => (StatusCode::UNAUTHORIZED, answer),
        RegistryError::Answer { status, answer } => (status, answer),
        other => return other.into(),
    };
    RegistryError::Told { status, answer }.into()
}
