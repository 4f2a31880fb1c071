//! The handle, what it holds, and how it opens and closes.

use std::future::Future;
use std::sync::{Arc, Mutex};

use image::ContentStore;
use network::Network;
use runtime::cgroup;
use shim::launcher::Launcher;
use snapshot::LayerStore;
use tokio::sync::{Notify, RwLock, watch};
use types::InstanceId;
use volume::VolumeStore;

use crate::cleaner::Cleaner;
use crate::compile::security::Filters;
use crate::config::EngineConfig;
use crate::containers::exec::Execs;
use crate::containers::host_time::HostTime;
use crate::containers::logs::Follow;
use crate::containers::registry::Registry;
use crate::containers::spares::Spares;
use crate::events::Hub;
use crate::groups::Hierarchy;
use crate::host::Host;
use crate::images::index::Index;
use crate::images::layers::Unpacking;
use crate::lock::Lock;
use crate::networks::Networks;
use crate::networks::names::Names;
use crate::outcome::{EngineError, Result};
use crate::paths::Paths;
use crate::places::{Kind, Places};
use crate::store::Store;
use crate::volumes::Volumes;

/// One engine; clones are handles to the same one.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What an engine holds.
pub(crate) struct Inner {
    pub(crate) config: EngineConfig,
    pub(crate) paths: Paths,
    pub(crate) instance: InstanceId,
    pub(crate) host: Host,
    pub(crate) store: Store,
    pub(crate) hub: Arc<Hub>,
    pub(crate) registry: Registry,
    pub(crate) images: Arc<Index>,
    /// Held for reading while something begins to use an image or volume, for writing while some are removed.
    pub(crate) gate: RwLock<()>,
    pub(crate) content: ContentStore,
    pub(crate) layers: LayerStore,
    pub(crate) volumes: Volumes,
    pub(crate) volume_store: VolumeStore,
    /// `None` when the daemon was told to have no bridge.
    pub(crate) network: Option<Network>,
    /// Networks that users made.
    pub(crate) networks: Networks,
    /// Names on them.
    pub(crate) names: Names,
    pub(crate) groups: cgroup::Parent,
    /// The turn to make or remove other groups' parents.
    pub(crate) parents: std::sync::Mutex<()>,
    /// Mounted hierarchies of version 1, for containers to see their groups in.
    pub(crate) hierarchies: Vec<Hierarchy>,
    pub(crate) launcher: Launcher,
    /// Threads of the pool for what may wait without end.
    pub(crate) places: Places,
    pub(crate) cleaner: Cleaner,
    /// Roots made ahead.
    pub(crate) spares: Arc<Spares>,
    /// Compiled filters of system calls.
    pub(crate) filters: Filters,
    /// Told when the network has something to do that nobody waits for.
    pub(crate) tending: Arc<Notify>,
    pub(crate) follow: Follow,
    /// Time of the host's processors.
    pub(crate) host_time: HostTime,
    /// When this engine was opened, nanoseconds since 1970.
    pub(crate) opened: i64,
    /// Layers that are being unpacked.
    pub(crate) unpacking: Unpacking,
    pub(crate) execs: Mutex<Execs>,
    /// True once the engine closes: long answers end.
    pub(crate) closing: watch::Sender<bool>,
    /// The last to go.
    #[allow(dead_code, reason = "held for its effect")]
    pub(crate) lock: Lock,
}

impl Engine {
    pub(crate) fn from_inner(inner: Inner) -> Engine {
        Engine {
            inner: Arc::new(inner),
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.inner.paths
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(crate) fn images(&self) -> &Arc<Index> {
        &self.inner.images
    }

    /// Ready when the engine begins to close.
    pub(crate) fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.inner.closing.subscribe();
        async move {
            // The sender lives in the engine: that it is gone means the same.
            let _ = closing.wait_for(|closing| *closing).await;
        }
    }

    /// Runs an operation to its end even if whoever asked goes away: half-made containers arise from dropped
    /// futures.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        if *self.inner.closing.borrow() {
            return Err(EngineError::Closing);
        }
        tokio::spawn(work)
            .await
            .map_err(|_| EngineError::Panicked { operation })?
    }

    /// Runs something that blocks on a thread for such things.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = self.clone();
        tokio::task::spawn_blocking(move || work(&engine))
            .await
            .map_err(|_| EngineError::Panicked { operation })?
    }

    /// [`Engine::blocking`] for what may wait without end, and therefore has so many threads and no more.
    pub(crate) async fn blocking_of<T: Send + 'static>(
        &self,
        kind: &Kind,
        operation: &'static str,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = kind.take().await;
        self.blocking(operation, move |engine| {
            // Until it has ended, whether anybody waits for it or not.
            let _place = place;
            work(engine)
        })
        .await
    }
}
