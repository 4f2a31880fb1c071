//! What an engine finds when it opens: rows, shims, journals, tombstones, and what nobody owns.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use network::Live;

use crate::cleaner::remove_tree;
use crate::containers::exec::Exec;
use crate::containers::publish::binding_of;
use crate::containers::record::{Spec, Status};
use crate::containers::registry::Container;
use crate::engine::Engine;
use crate::images::index::{Image, Target};
use crate::networks::{self, NetworkDoc, places};
use crate::outcome::{Class, EngineError, Result};
use crate::store::rows::{self, ContainerRow, NetworkRow};
use crate::store::{Durability, ImageRow, LayerRow, LayerState, TombstoneRow, VolumeRow, schema};

/// How long a full disk is given before something is written down again.
const PAUSE: Duration = Duration::from_secs(2);
/// How long processes that nobody knows may take to end, all together.
const ENDING: Duration = Duration::from_secs(5);

/// All rows at once.
struct Rows {
    containers: Vec<ContainerRow>,
    images: Vec<ImageRow>,
    names: Vec<(String, String, String)>,
    layers: Vec<LayerRow>,
    volumes: Vec<VolumeRow>,
    networks: Vec<NetworkRow>,
    execs: Vec<(String, String)>,
    tombstones: Vec<TombstoneRow>,
    boot_id: Option<String>,
}

impl Engine {
    /// Brings memory, rows and the kernel into agreement; see the module.
    pub(crate) async fn recover(&self) -> Result<()> {
        let rows = self.read_rows().await?;
        let rebooted = rows
            .boot_id
            .as_deref()
            .is_some_and(|boot| boot != self.inner().host.boot_id);
        self.take_rows(&rows)?;
        let graves = rows.tombstones.iter().filter_map(|tombstone| {
            let grave = self.volume_grave(tombstone);
            Some(grave.file_name()?.to_string_lossy().into_owned())
        });
        let buried: HashSet<String> = rows
            .tombstones
            .iter()
            .map(|tombstone| tombstone.key.clone())
            .chain(graves)
            .collect();
        self.blocking("recover", move |engine| {
            engine.remove_orphans(&buried)?;
            engine.recover_volume_mounts();
            engine.recover_network()
        })
        .await?;
        let tombstones = rows.tombstones;
        self.blocking("recover", move |engine| {
            tombstones
                .into_iter()
                .for_each(|tombstone| engine.queue_tombstone(tombstone));
            Ok(())
        })
        .await?;
        for container in self.registry().all() {
            if container.run().status.is_up() {
                self.follow_again(&container, rebooted).await;
            }
        }
        self.unpause_after_crash().await;
        self.bury_unstarted().await;
        match self.note_start().await {
            Err(error) if error.class() == Class::Exhausted => {
                tracing::warn!(%error, "this start is not written down yet");
                self.note_start_later();
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Removes containers with `--rm` that do not run: whoever made them to be started was cut off, and nobody else
    /// takes them away.
    async fn bury_unstarted(&self) {
        for container in self.registry().all() {
            if container.spec.host.auto_remove
                && !container.run().status.is_up()
                && let Err(error) = self.bury(&container, true, None).await
            {
                let container = container.id().short();
                tracing::warn!(%error, container, "a container with --rm that was not started stays");
            }
        }
    }

    /// Writes down which boot of the host this is.
    async fn note_start(&self) -> Result<()> {
        let boot_id = self.inner().host.boot_id.clone();
        self.commit(Durability::Kill, Vec::new(), move |connection| {
            schema::set_meta(connection, "boot", &boot_id)
        })
        .await
    }

    /// [`Engine::note_start`] until the disk has room for it.
    fn note_start_later(&self) {
        let engine = self.clone();
        // Ends with its success, or with the engine.
        tokio::spawn(async move {
            while engine.pause_unless_closing().await {
                if engine.note_start().await.is_ok() {
                    return;
                }
            }
        });
    }

    /// Waits before something is tried again; false when the engine closes.
    async fn pause_unless_closing(&self) -> bool {
        let closing = self.closing();
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => true,
            () = closing => false,
        }
    }

    async fn read_rows(&self) -> Result<Rows> {
        self.store()
            .read(|connection| {
                Ok(Rows {
                    containers: ContainerRow::all(connection)?,
                    images: ImageRow::all(connection)?,
                    names: rows::refs::all(connection)?,
                    layers: LayerRow::all(connection)?,
                    volumes: VolumeRow::all(connection)?,
                    networks: NetworkRow::all(connection)?,
                    execs: rows::execs::all(connection)?,
                    tombstones: TombstoneRow::all(connection)?,
                    boot_id: schema::meta(connection, "boot")?,
                })
            })
            .await
    }

    /// Fills memory from the rows.
    fn take_rows(&self, rows: &Rows) -> Result<()> {
        for row in &rows.containers {
            let (spec, run) = Spec::read(row)?;
            self.registry()
                .add(Container::new(spec, row.name.clone(), run));
        }
        {
            let mut volumes = self.inner().volumes.lock();
            for row in &rows.volumes {
                volumes.insert(
                    row.name.clone(),
                    rows::from_json(&format!("volume {}", row.name), &row.doc)?,
                );
            }
        }
        for row in &rows.networks {
            let what = format!("network {}", row.name);
            let doc: NetworkDoc = rows::from_json(&what, &row.doc)?;
            if doc.version > NetworkDoc::VERSION {
                return Err(EngineError::StoreNewer {
                    path: what,
                    found: doc.version.into(),
                    known: NetworkDoc::VERSION.into(),
                });
            }
            self.inner().networks.add(doc, false)?;
        }
        {
            let mut execs = self
                .inner()
                .execs
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            for (id, doc) in &rows.execs {
                execs.insert(id.clone(), Arc::new(Exec::read(id, doc)?));
            }
        }
        self.take_images(rows)
    }

    /// Images whose layers are all there; a layer that was being made is void.
    fn take_images(&self, rows: &Rows) -> Result<()> {
        let ready: Vec<u64> = rows
            .layers
            .iter()
            .filter(|layer| layer.state == LayerState::Ready)
            .map(|layer| layer.number)
            .collect();
        let recovered = self.inner().layers.recover(&ready)?;
        for number in &recovered.missing {
            tracing::error!(
                layer = number,
                "a layer's folder is missing; images that need it must be pulled again"
            );
        }
        for fault in &recovered.faults {
            tracing::error!("{fault}: it is tried again at the next start");
        }
        let mut void: Vec<u64> = recovered.missing;
        let mut state = self.images().write();
        for number in recovered.stuck {
            state.layer_numbers_above(number);
        }
        for layer in &rows.layers {
            state.layer_numbers_above(layer.number);
            match layer.chain.parse() {
                Ok(chain) if layer.state == LayerState::Ready && !void.contains(&layer.number) => {
                    state.layers.insert(chain, layer.clone());
                }
                _ => void.push(layer.number),
            }
        }
        for row in &rows.images {
            let image = Image::read(row)?;
            state.images.insert(image.id, Arc::new(image));
        }
        for (name, image, target) in &rows.names {
            let Ok(image) = image.parse() else { continue };
            if state.images.contains_key(&image) {
                state.names.insert(
                    name.clone(),
                    Target {
                        image,
                        remote: target.parse().ok(),
                    },
                );
            }
        }
        drop(state);
        self.store().write_later(
            move |connection| {
                void.iter()
                    .try_for_each(|number| LayerRow::delete(connection, *number))
            },
            |()| (),
        );
        Ok(())
    }

    /// Removes folders, sockets and control groups that no row owns: of creates and removals that a crash cut short. Data
    /// that somebody wrote stays: a row may be missing because the store is an older copy, or a new one. What can not be
    /// removed stays as well, and is told: it is no reason to leave the containers that run to themselves.
    fn remove_orphans(&self, buried: &HashSet<String>) -> Result<()> {
        let here = |id: &str| {
            self.registry()
                .find(id)
                .ok()
                .filter(|container| container.id().as_str() == id)
        };
        let known = |id: &str| here(id).is_some() || buried.contains(id);
        // A shim whose row does not say that it runs was never told of to anybody: its start is undone.
        let live = |id: &str| here(id).is_some_and(|container| container.run().status.is_up());
        for name in list_folder(&self.paths().containers())? {
            let folder = self.paths().containers().join(&name);
            if known(&name) {
                continue;
            }
            if is_as_created(&folder) {
                try_to_remove(&folder);
            } else {
                tracing::warn!(
                    folder = %folder.display(),
                    "a folder with data belongs to no container and is left alone; remove it if nobody needs its files and log"
                );
            }
        }
        remove_unowned(&self.paths().tombstones(), known)?;
        remove_unowned(&self.paths().shims(), live)?;
        for name in list_folder(&self.paths().temporary())? {
            try_to_remove(&self.paths().temporary().join(name));
        }
        let mut orphans = self.inner().groups.children()?;
        orphans.retain(|name| !live(name) && !buried.contains(name));
        self.remove_groups(&orphans);
        self.remove_left_groups(|name| known(name) && !live(name))?;
        for error in self.inner().volume_store.left() {
            tracing::warn!(%error, "something that a crash left stays");
        }
        let volumes: HashSet<String> = self.inner().volumes.lock().keys().cloned().collect();
        for name in self.inner().volume_store.list()? {
            if volumes.contains(&name) || buried.contains(&name) {
                continue;
            }
            // A create that was cut leaves an empty folder. Anything else is somebody's data, and the store was lost.
            if is_empty(&self.inner().volume_store.path(&name)) {
                if let Err(error) = self.inner().volume_store.remove(&name) {
                    tracing::warn!(%error, "something that a crash left stays");
                }
            } else {
                tracing::warn!(
                    volume = name,
                    "a folder with data belongs to no volume and is left alone; `volume create` of that name takes it up"
                );
            }
        }
        Ok(())
    }

    /// Removes control groups with everything in them. A process that waits for a file system that does not answer ends
    /// when that does: its group is left to the next start of its container, or of the daemon.
    fn remove_groups(&self, names: &[String]) {
        let deadline = Instant::now() + ENDING;
        let mut killed = Vec::new();
        for name in names {
            let group = self.inner().groups.group(name).and_then(|group| {
                group.kill()?;
                Ok(group)
            });
            killed.push((name, group));
        }
        for (name, group) in killed {
            let removed = group.and_then(|group| {
                let patience = deadline.saturating_duration_since(Instant::now());
                match group.wait_empty(patience)? {
                    true => group.remove().map(|()| true),
                    false => Ok(false),
                }
            });
            match removed {
                Ok(true) => {}
                Ok(false) => tracing::warn!(
                    group = name.as_str(),
                    "a process that nobody knows does not end, although it was killed; its control group stays"
                ),
                Err(error) => {
                    tracing::warn!(%error, group = name.as_str(), "a control group that nobody owns stays")
                }
            }
        }
    }

    /// Tells the network who is connected.
    fn recover_network(&self) -> Result<()> {
        let Some(network) = &self.inner().network else {
            return Ok(());
        };
        for doc in self.inner().networks.all() {
            networks::raise_again(network, &doc);
        }
        let mut live = Vec::new();
        for container in self.registry().all() {
            let run = container.run();
            if !run.is_connected() || !run.status.is_up() {
                continue;
            }
            let wanted = places::wanted(&container.spec, &run);
            let way_out = self.way_out_of(&container, &run, &wanted);
            let home = run.endpoint.as_ref();
            let home = home.map(|record| places::place_endpoint(&container, network::HOME, record));
            let joined = run
                .joined
                .iter()
                .map(|joined| places::endpoint(&container, joined));
            for endpoint in home.into_iter().chain(joined) {
                let leads = way_out
                    .as_ref()
                    .is_some_and(|way| way.endpoint.network == endpoint.network);
                let published = run.published.iter().filter(|_| leads);
                let bindings = published.map(binding_of).collect();
                live.push(Live { endpoint, bindings });
            }
            for joined in &run.joined {
                // One that is gone is told below.
                let _ = self.inner().networks.join(&joined.network, container.id());
            }
        }
        let stranded = network.recover(&live)?;
        for stranded in &stranded {
            tracing::warn!(
                container = stranded.container.short(), why = %stranded.why,
                "a running container is not in its network's subnet any more: it has no such network until it is restarted"
            );
        }
        if let Err(error) = self.recover_names(&stranded) {
            tracing::error!(%error, "names on networks are not answered, and ports of IPv6 addresses not read");
        }
        Ok(())
    }

    /// Starts containers whose policy asks for it and that nobody stopped, after a reboot.
    pub(crate) async fn restart_by_policy(&self) {
        for container in self.registry().all() {
            let run = container.run();
            // As docker: `always` is started even if somebody stopped it. An end that nobody heard has a sentence;
            // what failed so often that its shim gave up has none.
            let wanted = match run.host(&container.spec).restart_policy.name.as_str() {
                "always" => true,
                "unless-stopped" => !run.stopped_by_user,
                "on-failure" => !run.stopped_by_user && run.exit_code != 0 && !run.error.is_empty(),
                _ => false,
            };
            if !wanted || run.status != Status::Exited {
                continue;
            }
            let engine = self.clone();
            // Ends with the start.
            tokio::spawn(async move {
                let _turn = container.turn.lock().await;
                // As in docker, restarts count anew with the host.
                if container.run().status == Status::Exited
                    && let Err(error) = engine.start_in_turn(&container, 0).await
                {
                    tracing::warn!(%error, container = container.id().short(), "a container could not be started again");
                }
            });
        }
    }
}

fn remove_unowned(folder: &std::path::Path, has_owner: impl Fn(&str) -> bool) -> Result<()> {
    for name in list_folder(folder)? {
        if !has_owner(&name) {
            try_to_remove(&folder.join(&name));
        }
    }
    Ok(())
}

/// Removes what nobody needs, or tells why it stays.
fn try_to_remove(path: &std::path::Path) {
    if let Err(error) = remove_tree(path) {
        tracing::warn!(%error, "something that a crash left stays");
    }
}

/// Whether nothing was written in a container's folder since a create made it: no file of the container, no line of a log.
/// What can not be looked at counts as written.
fn is_as_created(folder: &std::path::Path) -> bool {
    let no_log = |entries: fs::ReadDir| {
        entries.into_iter().all(|entry| {
            entry.is_ok_and(|entry| {
                !entry.file_name().to_string_lossy().contains("-json.log")
                    || entry.metadata().is_ok_and(|file| file.len() == 0)
            })
        })
    };
    is_empty(&folder.join("upper")) && fs::read_dir(folder).is_ok_and(no_log)
}

/// Whether nothing is in a folder, or there is no such folder. What can not be looked at has something in it.
fn is_empty(folder: &std::path::Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn list_folder(path: &std::path::Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(path).map_err(EngineError::io(format!("list {}", path.display())))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect())
}
