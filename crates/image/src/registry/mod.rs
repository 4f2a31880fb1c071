//! Fetching images from registries that speak the distribution API.

mod auth;
mod download;
mod error;
mod proxy;
mod pull;
mod resolve;
mod session;
mod tls;
mod transport;
mod tunnel;
mod url;

use std::path::PathBuf;
use std::sync::Arc;

use types::{Digest, Platform, Reference};

pub use error::{RegistryError, TransportFault};
pub use proxy::{Proxies, masked};
pub use transport::Timeouts;

use crate::config::ImageConfig;
use crate::error::ImageError;
use crate::manifest::{Descriptor, Layer, Manifest};
use crate::progress::Progress;
use crate::store::{BlobReader, ContentStore};
use transport::Transport;

/// How a client behaves. The default is docker's behaviour.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Registries that are spoken to over plain http, or, if they want that, over https without
    /// knowing them: `host`, `host:port` or `address/bits`. Those on a loopback address always
    /// are.
    pub insecure: Vec<String>,
    /// Base addresses that are asked before docker.io, such as `http://mirror:5000`. They get
    /// no credentials.
    pub mirrors: Vec<String>,
    /// Who stands between us and registries, mirrors and token servers.
    pub proxies: Proxies,
    /// Holds for some registries a folder `host:port` with authorities (`*.crt`) to trust and a
    /// certificate (`*.cert`, `*.key`) to show.
    pub certificates: PathBuf,
    /// How long to wait for a peer.
    pub timeouts: Timeouts,
    /// Layers of one pull that are fetched at the same time.
    pub parallel_layers: usize,
    /// How often a blob is tried without getting further.
    pub attempts: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            proxies: Proxies::default(),
            certificates: PathBuf::from("/etc/docker/certs.d"),
            timeouts: Timeouts::default(),
            parallel_layers: 3,
            attempts: 6,
        }
    }
}

/// Who the user is to a registry.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Account name.
    pub username: String,
    /// Password or access token.
    pub password: String,
    /// A token that is exchanged for access tokens, instead of a password.
    pub identity_token: String,
    /// An access token that is sent as it is.
    pub registry_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets never reach a log.
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The image; without tag and digest, `latest`.
    pub reference: Reference,
    /// For which platform; the host's if `None`, and then an image that is for one platform
    /// only is taken whatever its architecture.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Option<Credentials>,
}

/// A layer whose blob is complete and verified.
#[derive(Debug)]
pub struct LayerReady {
    /// Its place, 0 the lowest.
    pub index: usize,
    /// The layer.
    pub layer: Layer,
    /// Names the layer and all below it.
    pub chain_id: Digest,
    /// The blob, compressed as it came.
    pub content: BlobReader,
}

/// Who follows a pull. Called from the runtime's threads: must not block for long.
pub trait PullObserver: Progress {
    /// The blobs that the image is made of, its manifest and configuration included: told once,
    /// before the store is asked for any of them. From now on nobody may remove them. Called on
    /// a thread that may block.
    fn needs(&self, _blobs: &[Digest]) {}

    /// Whether the layer is unpacked already, so that it need not be handed over.
    fn has_layer(&self, _layer: &Layer, _chain_id: &Digest) -> bool {
        false
    }

    /// The image's layers and their chain ids, the lowest first: told once, before anything is
    /// asked or said about one of them.
    fn layers(&self, _layers: &[Layer], _chain_ids: &[Digest]) {}

    /// A layer can be unpacked; others may still be on their way. Layers become ready in any
    /// order, and each place of the image is told once.
    fn layer_ready(&self, layer: LayerReady);
}

/// An image whose blobs are all in the content store.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// What was asked for, with its tag or digest.
    pub reference: Reference,
    /// What the reference named: an index, or the manifest itself. Its digest is what
    /// `name@sha256:…` shows.
    pub target: Descriptor,
    /// The manifest of the image.
    pub manifest_descriptor: Descriptor,
    /// The manifest's content.
    pub manifest: Manifest,
    /// The configuration; its digest is the image's id.
    pub config: ImageConfig,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// Fetches images. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: ClientOptions,
    transport: Transport,
}

impl Client {
    /// A client without any connection yet.
    pub fn new(options: ClientOptions) -> Client {
        let transport = Transport::new(&options);
        Client {
            inner: Arc::new(Inner { options, transport }),
        }
    }

    /// Fetches an image into `store`.
    ///
    /// Blobs that are there are not fetched, those that a former pull began are continued. The
    /// first line of progress is docker's "Pulling from"; the last two, with the digest and
    /// whether the image is new, are the caller's. Dropping the future ends the pull and keeps
    /// what came.
    ///
    /// # Errors
    /// [`ImageError`]; nothing of the image is in the store then, except blobs that it shares
    /// with others.
    pub async fn pull(
        &self,
        request: PullRequest,
        store: &ContentStore,
        observer: Arc<dyn PullObserver>,
    ) -> Result<Pulled, ImageError> {
        pull::pull(self, request, store, observer).await
    }

    /// Asks what a reference names without fetching it.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn resolve(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Descriptor, ImageError> {
        pull::resolve(self, reference, credentials).await
    }
}
