//! Opening an engine, recovery included, and closing it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use image::ContentStore;
use network::{NetConfig, Network};
use runtime::cgroup;
use shim::launcher::Launcher;
use snapshot::LayerStore;
use tokio::sync::{Notify, RwLock, watch};
use types::InstanceId;
use volume::VolumeStore;

use crate::cleaner::Cleaner;
use crate::config::EngineConfig;
use crate::containers::host_time::HostTime;
use crate::containers::logs::Follow;
use crate::containers::registry::Registry;
use crate::containers::stop::GRACE;
use crate::engine::{Engine, Inner};
use crate::events::Hub;
use crate::host::{Host, check_kernel};
use crate::lock::Lock;
use crate::networks::names::Names;
use crate::outcome::{Class, EngineError, Result};
use crate::paths::Paths;
use crate::places::Places;
use crate::store::Store;

/// Quiet time before the network fills its stock: a start that follows another at once is not delayed by it.
const QUIET: Duration = Duration::from_millis(10);
/// The longest that it waits for such a time.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long what is being let go is waited for when the engine closes.
const PARTING: Duration = Duration::from_secs(15);
/// How often addresses that rest are looked at when nothing happens.
const TENDING: Duration = Duration::from_secs(30);

impl Engine {
    /// Opens the engine of two roots: takes their lock, brings the store up to date, finds what the former daemon
    /// left running, removes what nobody owns. When it returns, everything that a client may be told is true.
    ///
    /// # Errors
    /// [`EngineError::Locked`] when another daemon has the roots, [`EngineError::StoreNewer`], and what the host
    /// lacks, by name.
    pub async fn open(config: EngineConfig) -> Result<Engine> {
        let follow = Follow::new()?;
        let opening = tokio::task::spawn_blocking(move || Engine::prepare(config, follow));
        let engine = opening
            .await
            .map_err(|_| EngineError::Panicked { operation: "open" })??;
        engine.tell_events();
        engine.start_cleaner()?;
        engine.recover().await?;
        spare_full_disk(
            engine.ensure_built_in().await,
            "the built-in image is not renewed",
        )?;
        spare_full_disk(engine.collect().await, "what no image needs is not removed")?;
        engine.pass_log_changes_on();
        engine.tend_in_background();
        engine.follow_names();
        engine.restart_by_policy().await;
        Ok(engine)
    }

    fn prepare(config: EngineConfig, follow: Follow) -> Result<Engine> {
        config.check()?;
        let host = Host::read();
        check_kernel(&host.kernel)?;
        let paths = Paths::make(&config.data_root, &config.exec_root)?;
        let lock = Lock::take(&paths.lock())?;
        let store = Store::open(&paths.store()).map_err(|error| in_use(error, &paths))?;
        let instance = InstanceId::of_data_root(&paths.data_root);
        let content = ContentStore::open(&paths.data)?;
        let layers = LayerStore::open(&paths.data)?;
        let volume_store = VolumeStore::open(&paths.data)?;
        let network = open_network(&config, &instance)?;
        let parent = format!("wharf-{instance}");
        let groups = cgroup::Parent::open(&cgroup::Layout::detect()?, &parent)?;
        let launcher = Launcher::spawn(config.open_files)?;
        Ok(Engine::from_inner(Inner {
            instance,
            host,
            store,
            hub: Arc::new(Hub::new()),
            registry: Registry::default(),
            images: Arc::default(),
            gate: RwLock::default(),
            content,
            layers,
            volumes: Default::default(),
            volume_store,
            network,
            networks: Default::default(),
            names: Names::new(paths.names()),
            paths,
            groups,
            parents: Default::default(),
            hierarchies: crate::groups::hierarchies(),
            launcher,
            places: Places::new(),
            cleaner: Cleaner::new(),
            spares: Default::default(),
            execs: Default::default(),
            filters: Default::default(),
            follow,
            host_time: HostTime::default(),
            opened: crate::clock::now(),
            unpacking: Default::default(),
            tending: Arc::new(Notify::new()),
            closing: watch::Sender::new(false),
            lock,
            config,
        }))
    }

    /// Closes gracefully: long answers end, what is queued is done, containers live on unless `live_restore` is off or the
    /// host goes down: nobody would end them by their own signals later.
    /// When no container lives, the engine's bridge, firewall table and control groups go too.
    pub async fn close(&self) -> Result<()> {
        if !self.config().live_restore || self.is_host_going_down().await {
            self.stop_all().await;
        }
        if self.inner().closing.send_replace(true) {
            return Ok(());
        }
        self.blocking("close", |engine| {
            engine.inner().cleaner.drain();
            engine.drop_spares()
        })
        .await?;
        let live = self
            .registry()
            .all()
            .iter()
            .any(|container| container.run().status.is_up());
        let deadline = tokio::time::Instant::now() + PARTING;
        for container in self.registry().all() {
            // What hangs in the kernel ends with the daemon, and is found by the next.
            let _ = tokio::time::timeout_at(deadline, container.retired()).await;
        }
        self.blocking("close", move |engine| {
            if !live {
                engine.remove_kernel_objects();
            }
            engine.store().close();
            Ok(())
        })
        .await
    }

    async fn is_host_going_down(&self) -> bool {
        let asked = self
            .blocking("close", |_| Ok(runtime::systemd::is_host_going_down()))
            .await;
        match asked {
            Ok(Ok(true)) => {
                tracing::info!("the host goes down: containers are stopped");
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "whether the host goes down is not known; containers go on");
                false
            }
            Ok(Ok(false)) | Err(_) => false,
        }
    }

    async fn stop_all(&self) {
        let mut stopping = tokio::task::JoinSet::new();
        for container in self.registry().all() {
            let engine = self.clone();
            stopping.spawn(async move {
                let _turn = container.turn_within(GRACE).await;
                if container.run().status.is_up()
                    && let Err(error) = engine.stop_for_closing(&container).await
                {
                    tracing::warn!(%error, container = container.id().short(), "a container could not be stopped");
                }
            });
        }
        while stopping.join_next().await.is_some() {}
    }

    fn remove_kernel_objects(&self) {
        if let Err(error) = self.dismiss_names() {
            tracing::warn!(%error, "the helper for names could not be ended");
        }
        if let Some(network) = &self.inner().network
            && let Err(error) = network.tear_down()
        {
            tracing::warn!(%error, "the network could not be removed");
        }
        match self.inner().groups.clone().remove() {
            Ok(true) => {}
            Ok(false) => tracing::warn!("the engine's control group still has members"),
            Err(error) => {
                tracing::warn!(%error, "the engine's control groups could not be removed")
            }
        }
    }

    async fn give_memory_back(&self) {
        let given = self
            .blocking("tend", |_| Ok(sys::memory::give_back()))
            .await;
        if let Ok(Err(error)) = given {
            tracing::debug!(%error, "memory is not given back");
        }
    }

    /// One task: fills the stock of sandboxes and roots a moment after a start, and frees addresses that rest.
    fn tend_in_background(&self) {
        let engine = self.clone();
        let closing = self.closing();
        let tending = Arc::clone(&self.inner().tending);
        tending.notify_one();
        tokio::spawn(async move {
            tokio::pin!(closing);
            let mut worked = false;
            let mut looked = Instant::now();
            loop {
                tokio::select! {
                    () = tending.notified() => worked = true,
                    () = tokio::time::sleep(TENDING) => {
                        engine.forget_old_execs();
                        // Once after work: at rest the daemon is as small as it was at its start.
                        if std::mem::take(&mut worked) {
                            engine.give_memory_back().await;
                        }
                    }
                    () = &mut closing => return,
                }
                // Each start and end begins the quiet time anew, up to a limit.
                let quiet = async {
                    while tokio::time::timeout(QUIET, tending.notified())
                        .await
                        .is_ok()
                    {}
                };
                let _ = tokio::time::timeout(PATIENCE, quiet).await;
                let look = looked.elapsed() >= TENDING;
                if look {
                    looked = Instant::now();
                }
                let tended = engine
                    .blocking("tend", move |engine| {
                        if *engine.inner().closing.borrow() {
                            return Ok(());
                        }
                        if let Some(network) = &engine.inner().network {
                            network.tend()?;
                            // Somebody may have flushed it, or it may be new.
                            if look && network.pass_docker()? {
                                tracing::info!(
                                    "the chain DOCKER-USER lets this engine's bridges through again"
                                );
                            }
                        }
                        engine.tend_spares()
                    })
                    .await;
                if let Err(error) = tended {
                    tracing::warn!(%error, "what is kept ready for the next start could not be made");
                }
            }
        });
    }

    /// Jobs of the cleaner that are not done.
    #[doc(hidden)]
    pub fn cleaning(&self) -> u64 {
        self.inner().cleaner.waiting()
    }
}

/// The store's file is open for as long as a daemon is: who finds it locked shares the data root with one whose exec
/// root, and with it the lock, is another.
fn in_use(error: EngineError, paths: &Paths) -> EngineError {
    match error {
        EngineError::Store { source }
            if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) =>
        {
            EngineError::DataRootInUse {
                path: paths.data_root.display().to_string(),
            }
        }
        other => other,
    }
}

/// A full disk stops no daemon from looking after what is there: what can wait for the next start is told.
fn spare_full_disk(outcome: Result<()>, what: &str) -> Result<()> {
    match outcome {
        Err(error) if error.class() == Class::Exhausted => {
            tracing::warn!(%error, "{what}");
            Ok(())
        }
        outcome => outcome,
    }
}

fn open_network(config: &EngineConfig, instance: &InstanceId) -> Result<Option<Network>> {
    if config.bridge.as_deref() == Some("none") {
        return Ok(None);
    }
    let bip = config
        .bip
        .as_deref()
        .map(|text| {
            text.parse()
                .map_err(|error: network::HostAddressError| EngineError::invalid(error.to_string()))
        })
        .transpose()?;
    let config = NetConfig {
        instance: instance.clone(),
        bridge: config.bridge.clone(),
        bip,
        pools: config.pools()?,
        mtu: config.mtu,
        stock: config.sandbox_stock,
    };
    let network = Network::open(config)?;
    if network.notes().forwarding_switched_on {
        tracing::info!("net.ipv4.ip_forward was off and is on now: containers need it");
    }
    if network.pass_docker()? {
        tracing::info!(
            "Docker's daemon is on this host too: its chain DOCKER-USER lets {} through now",
            network.bridge_info().name
        );
    }
    for chain in network.dropping_chains().unwrap_or_default() {
        tracing::warn!(
            "{chain} drops forwarded packets: containers reach nobody and are not reached from outside until it accepts those from and to {}",
            network.bridge_info().name
        );
    }
    Ok(Some(network))
}
