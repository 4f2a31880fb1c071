//! The registry client of the engine, for commands of the client that ask no engine.

use client::{Access, Described, Document, Index, Registries, RegistryFault, RemoteImage};
use image::ImageError;
use image::registry::{
    Client, ClientOptions, Credentials, IndexPush, Proxies, RegistryError, RemoteDocument,
};
use types::Reference;

/// A client for each command.
pub(crate) struct Clients;

impl Registries for Clients {
    fn describe(&self, name: &Reference, access: &Access) -> Result<Described, RegistryFault> {
        let client = client(name, access);
        let found = wait(client.describe(name, credentials(access)))?;
        let images = found.images.into_iter().map(|image| RemoteImage {
            platform: image
                .platform
                .and_then(|platform| serde_json::to_value(platform).ok()),
            manifest: Document {
                media_type: image.manifest.media_type,
                digest: image.manifest.digest,
                bytes: image.manifest.bytes,
            },
            config: image.config,
            blobs: image.blobs,
        });
        Ok(Described {
            is_index: found.is_index,
            images: images.collect(),
        })
    }

    fn push_index(&self, index: &Index, access: &Access) -> Result<(), RegistryFault> {
        let client = client(&index.name, access);
        let images = index.images.iter().map(|(from, image)| {
            let image = image::registry::RemoteImage {
                platform: None,
                manifest: document(&image.manifest),
                config: Vec::new(),
                blobs: image.blobs.clone(),
            };
            (from.clone(), image)
        });
        let request = IndexPush {
            reference: index.name.clone(),
            credentials: credentials(access),
            images: images.collect(),
            index: document(&index.document),
        };
        wait(client.push_index(request))
    }
}

fn document(document: &Document) -> RemoteDocument {
    RemoteDocument {
        media_type: document.media_type.clone(),
        digest: document.digest,
        bytes: document.bytes.clone(),
    }
}

fn client(name: &Reference, access: &Access) -> Client {
    let insecure = match access.insecure {
        true => vec![name.domain().to_owned()],
        false => Vec::new(),
    };
    Client::new(ClientOptions {
        insecure,
        proxies: Proxies::of_environment(),
        ..ClientOptions::default()
    })
}

fn credentials(access: &Access) -> Option<Credentials> {
    let auth = access.auth.clone()?;
    Some(Credentials {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identity_token,
        registry_token: auth.registry_token,
    })
}

/// Does what is to be done, on this thread.
fn wait<T>(work: impl Future<Output = Result<T, ImageError>>) -> Result<T, RegistryFault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RegistryFault {
            is_missing: false,
            sentence: format!("cannot begin to speak to a registry: {error}"),
        })?;
    runtime.block_on(work).map_err(|error| RegistryFault {
        is_missing: matches!(
            error,
            ImageError::Registry(
                RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }
            )
        ),
        sentence: error.to_string(),
    })
}
