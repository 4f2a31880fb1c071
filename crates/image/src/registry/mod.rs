//! Fetching images from registries that speak the distribution API.

mod auth;
mod documents;
mod download;
mod endpoint;
mod error;
mod inspect;
mod login;
mod payload;
mod proxy;
mod pull;
mod push;
mod remote;
mod resolve;
mod search;
mod session;
mod sources;
mod tags;
mod tls;
mod transport;
mod tunnel;
mod upload;
mod url;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use types::{Digest, Platform, Reference};

pub use documents::{Described, IndexPush, RemoteDocument, RemoteImage};
pub use error::{RegistryError, TransportFault};
pub use proxy::{Proxies, masked};
pub use remote::Remote;
pub use resolve::addresses;
pub use search::SearchResult;
pub use transport::Timeouts;

use crate::config::ImageConfig;
use crate::error::ImageError;
use crate::manifest::{Descriptor, Layer, Manifest, PlatformEntry};
use crate::progress::Progress;
use crate::store::{BlobReader, ContentStore, Staged};
use transport::Transport;

/// How a client behaves. The default is docker's behaviour.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Registries that are spoken to over plain http, or, if they want that, over https without
    /// knowing them: `host`, `host:port` or `address/bits`. Those on a loopback address always
    /// are.
    pub insecure: Vec<String>,
    /// For registries by name (`docker.io`): base addresses that are asked before them, such as
    /// `http://mirror:5000` or `https://cache.example/prefix`. They get no credentials.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Who stands between us and registries, mirrors and token servers.
    pub proxies: Proxies,
    /// Each holds for some registries a folder `host:port` with authorities (`*.crt`) to trust
    /// and a certificate (`*.cert`, `*.key`) to show. The first that has one counts.
    pub certificates: Vec<PathBuf>,
    /// How long to wait for a peer.
    pub timeouts: Timeouts,
    /// Layers of one pull that are fetched at the same time.
    pub parallel_layers: usize,
    /// Layers of one push that are sent at the same time.
    pub parallel_uploads: usize,
    /// How often a blob is tried without getting further.
    pub attempts: u32,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            insecure: Vec::new(),
            mirrors: BTreeMap::new(),
            proxies: Proxies::default(),
            certificates: ["/etc/wharf/certs.d", "/etc/docker/certs.d"]
                .map(PathBuf::from)
                .to_vec(),
            timeouts: Timeouts::default(),
            parallel_layers: 3,
            parallel_uploads: 5,
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

    /// Whether the image with this configuration is here already: of its layers that are here nothing is told then.
    fn has_image(&self, _id: &Digest) -> bool {
        false
    }

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

/// What a registry has under a name.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// What the name points to: an index, or a manifest.
    pub target: Descriptor,
    /// What it is for: an index's entries as they stand there, or what a manifest's configuration says. Empty where that
    /// is not known.
    pub platforms: Vec<PlatformEntry>,
}

/// What to push.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The image's name there, with a tag.
    pub reference: Reference,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// The image's manifest.
    pub manifest: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
    /// For layers by their blobs: other repositories of the same registry that should have them.
    pub mounts: HashMap<Digest, Vec<String>>,
    /// Whether layers that are not packed, or in a way that not every engine reads, are packed with gzip. That changes
    /// the manifest.
    pub pack: bool,
}

/// An image that is in a registry.
#[derive(Debug)]
pub struct Pushed {
    /// Its manifest there.
    pub manifest: Descriptor,
    /// Its layers there, the lowest first.
    pub layers: Vec<Layer>,
    /// What was made of it on the way: layers that were packed and the manifest that names them. Not in the store as long
    /// as it is not committed; nothing if the image was sent as it is.
    pub staged: Vec<Staged>,
}

/// Fetches and sends images. Clones share connections.
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

    /// Sends an image from `store` to its registry.
    ///
    /// Blobs that are there are not sent, those of other repositories are mounted where the registry allows it, broken
    /// uploads are continued. The first line of progress and the last, with the digest, are the caller's.
    ///
    /// # Errors
    /// [`ImageError`]; the registry may then have some of the blobs, and no name for them.
    pub async fn push(
        &self,
        request: PushRequest,
        store: &ContentStore,
        progress: Arc<dyn Progress>,
    ) -> Result<Pushed, ImageError> {
        push::push(self, request, store, progress).await
    }

    /// Asks whether a registry (`host[:port]`, `docker.io`) knows somebody. Gives the identity token that stands for the
    /// password from now on, empty if the registry has none.
    ///
    /// # Errors
    /// [`ImageError::Registry`].
    pub async fn login(
        &self,
        registry: &str,
        credentials: &Credentials,
    ) -> Result<String, ImageError> {
        Ok(login::login(self, registry, credentials).await?)
    }

    /// Finds at most `limit` repositories by words, where a registry offers that.
    ///
    /// # Errors
    /// [`ImageError::Registry`].
    pub async fn search(
        &self,
        registry: &str,
        term: &str,
        limit: usize,
        credentials: Option<Credentials>,
    ) -> Result<Vec<SearchResult>, ImageError> {
        Ok(search::search(self, registry, term, limit, credentials).await?)
    }

    /// The tags of a repository, as full references, from a mirror or the registry.
    ///
    /// # Errors
    /// [`ImageError::Registry`], for more than 10,000 tags too.
    pub async fn tags(
        &self,
        repository: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Vec<Reference>, ImageError> {
        tags::tags(self, repository, credentials).await
    }

    /// Begins to fetch a file from a web server, `http://` where the address has no scheme. Redirections are followed.
    ///
    /// # Errors
    /// [`ImageError::Registry`], in the words of docker's daemon.
    pub async fn open(&self, address: &str) -> Result<Remote, ImageError> {
        remote::open(self, address).await
    }

    /// Asks what a reference names and which platforms that is for, without keeping anything.
    ///
    /// # Errors
    /// [`ImageError`]; what a registry refuses is told in its words ([`RegistryError::Told`]).
    pub async fn inspect(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Inspected, ImageError> {
        inspect::inspect(self, reference, credentials).await
    }

    /// Fetches what a name points to, with configurations and without layers.
    ///
    /// # Errors
    /// [`ImageError`].
    pub async fn describe(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Described, ImageError> {
        documents::describe(self, reference, credentials).await
    }

    /// Sends an index of images that are in the same registry.
    ///
    /// # Errors
    /// [`ImageError`]; the repository may then have some of what is missing, and no name for it.
    pub async fn push_index(&self, request: IndexPush) -> Result<(), ImageError> {
        documents::push_index(self, request).await
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
