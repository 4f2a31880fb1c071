//! Named and anonymous volumes: rows, and who uses them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api_types::{Volume, VolumeCreate, VolumeUsage, VolumesPruneReport};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::cleaner::{self, Job};
use crate::clock;
use crate::compile::mounts::{Source, volume_name};
use crate::engine::Engine;
use crate::events;
use crate::filters::Filters;
use crate::local_driver;
use crate::outcome::{EngineError, Result};
use crate::store::{Durability, TombstoneRow, VolumeRow, rows};

/// What the store keeps of a volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VolumeDoc {
    pub(crate) version: u32,
    /// Nanoseconds since 1970.
    pub(crate) created: i64,
    pub(crate) anonymous: bool,
    pub(crate) labels: BTreeMap<String, String>,
    /// Options of the driver: what the volume is, where it is not just a folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) options: BTreeMap<String, String>,
    /// Whether it was filled from an image, or has been used without.
    pub(crate) used: bool,
}

/// The label by which docker marks volumes that nobody named.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
/// How long a removal waits for who mounts or unmounts the volume.
const PATIENCE: Duration = Duration::from_secs(5);

impl VolumeDoc {
    pub(crate) fn new(
        anonymous: bool,
        mut labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> VolumeDoc {
        if anonymous {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
        }
        VolumeDoc {
            version: 1,
            created: clock::now(),
            anonymous,
            labels,
            options,
            used: false,
        }
    }

    pub(crate) fn row(&self, name: &str) -> Result<VolumeRow> {
        Ok(VolumeRow {
            name: name.to_owned(),
            anonymous: self.anonymous,
            doc: rows::to_json("a volume", self)?,
        })
    }
}

/// All volumes in memory: a mirror of their rows.
#[derive(Default)]
pub(crate) struct Volumes {
    by_name: Mutex<HashMap<String, VolumeDoc>>,
    /// Names of which somebody is making a volume.
    claimed: Mutex<HashSet<String>>,
    released: Notify,
}

/// Names of which nobody else makes volumes as long as this lives: what the holder finds missing stays so until it
/// makes it, and what it made and could not write down is nobody's.
pub(crate) struct Claim<'a> {
    volumes: &'a Volumes,
    names: Vec<String>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.names.is_empty() {
            return;
        }
        let mut claimed = self.volumes.claims();
        self.names.iter().for_each(|name| {
            claimed.remove(name);
        });
        self.volumes.released.notify_waiters();
    }
}

impl Volumes {
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<String, VolumeDoc>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claims(&self) -> MutexGuard<'_, HashSet<String>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims all of these names at once, as soon as nobody else has any of them.
    pub(crate) async fn claim(&self, names: Vec<String>) -> Claim<'_> {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if self.try_claim(&names) {
                return Claim {
                    volumes: self,
                    names,
                };
            }
            released.await;
        }
    }

    /// Claims a name if nobody else has it.
    fn claim_if_free(&self, name: &str) -> Option<Claim<'_>> {
        let names = vec![name.to_owned()];
        self.try_claim(&names).then(|| Claim {
            volumes: self,
            names,
        })
    }

    fn try_claim(&self, names: &[String]) -> bool {
        if names.is_empty() {
            return true;
        }
        let mut claimed = self.claims();
        let free = names.iter().all(|name| !claimed.contains(name));
        if free {
            claimed.extend(names.iter().cloned());
        }
        free
    }
}

/// A name for a volume that got none: 64 hex digits.
pub(crate) fn draw_name() -> Result<String> {
    types::ContainerId::random()
        .map(String::from)
        .map_err(EngineError::io("draw a volume's name"))
}

impl Engine {
    /// Makes a volume, or gives the one of that name when its labels agree.
    pub async fn volume_create(&self, request: VolumeCreate) -> Result<Volume> {
        if !matches!(request.driver.as_str(), "" | "local") {
            return Err(EngineError::NoSuchPlugin {
                volume: request.name,
                name: request.driver,
            });
        }
        if request.cluster_volume_spec.is_some() {
            return Err(EngineError::unsupported("ClusterVolumeSpec"));
        }
        let anonymous = request.name.is_empty();
        let name = if anonymous {
            draw_name()?
        } else {
            volume_name(&request.name)?.to_owned()
        };
        let labels = request.labels.unwrap_or_default();
        let options = request.driver_opts;
        let engine = self.clone();
        self.to_the_end("volume create", async move {
            let _gate = engine.inner().gate.read().await;
            let _claim = engine.inner().volumes.claim(vec![name.clone()]).await;
            let present = engine.inner().volumes.lock().get(&name).cloned();
            let doc = match present {
                Some(doc) => doc,
                None => {
                    local_driver::check(&name, &options)?;
                    let doc = VolumeDoc::new(anonymous, labels, options);
                    let row = doc.row(&name)?;
                    let made = engine.make_volume_folder(&name).await?;
                    let created = events::event(
                        "volume",
                        "create",
                        &name,
                        BTreeMap::from([("driver".to_owned(), "local".to_owned())]),
                    );
                    let committed = engine
                        .commit(Durability::PowerCut, vec![created], move |connection| {
                            row.put(connection)
                        })
                        .await;
                    if let Err(error) = committed {
                        let made = made.then(|| name.clone()).into_iter().collect();
                        engine.unmake_volume_folders(made).await;
                        return Err(error);
                    }
                    engine
                        .inner()
                        .volumes
                        .lock()
                        .insert(name.clone(), doc.clone());
                    doc
                }
            };
            Ok(engine.volume_answer(&name, &doc))
        })
        .await
    }

    async fn make_volume_folder(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.blocking("volume create", move |engine| {
            Ok(engine.inner().volume_store.create(&name)?)
        })
        .await
    }

    /// Removes folders of volumes that the caller made, has claimed, and could not write down.
    pub(crate) async fn unmake_volume_folders(&self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let removed = self
            .blocking("volume create", move |engine| {
                names
                    .iter()
                    .try_for_each(|name| Ok(engine.inner().volume_store.remove(name)?))
            })
            .await;
        if let Err(error) = removed {
            tracing::warn!(%error, "a folder of a volume that was not made stays: the next start removes it if it is empty");
        }
    }

    fn volume_answer(&self, name: &str, doc: &VolumeDoc) -> Volume {
        Volume {
            created_at: clock::rfc3339(doc.created - doc.created.rem_euclid(1_000_000_000)),
            driver: "local".to_owned(),
            labels: if doc.labels.is_empty() {
                None
            } else {
                Some(doc.labels.clone())
            },
            mountpoint: self.inner().volume_store.path(name).display().to_string(),
            name: name.to_owned(),
            options: (!doc.options.is_empty()).then(|| doc.options.clone()),
            scope: "local".to_owned(),
            ..Default::default()
        }
    }

    /// Names of volumes with the number of containers that use each.
    pub(crate) fn volume_users(&self) -> HashMap<String, i64> {
        let mut users = HashMap::new();
        for container in self.registry().all() {
            for mount in &container.spec.mounts {
                if let Source::Volume { name, .. } = &mount.source {
                    *users.entry(name.clone()).or_default() += 1;
                }
            }
        }
        users
    }

    /// Lists volumes: filters `dangling driver label label! name`.
    pub async fn volume_list(&self, filters: Filters) -> Result<Vec<Volume>> {
        filters.check(&["dangling", "driver", "label", "label!", "name"])?;
        let dangling = filters.flag("dangling")?;
        let users = self.volume_users();
        let names = filters.patterns("name");
        let mut volumes: Vec<Volume> = self
            .inner()
            .volumes
            .lock()
            .iter()
            .filter(|(name, doc)| {
                let unused = !users.contains_key(*name);
                dangling.is_none_or(|wanted| wanted == unused)
                    && filters.any("driver", |wanted| wanted == "local")
                    && names.match_any(&[name.as_str()])
                    && filters.labels_match(&doc.labels)
            })
            .map(|(name, doc)| self.volume_answer(name, doc))
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// One volume by its name.
    pub async fn volume_inspect(&self, name: &str) -> Result<Volume> {
        let doc = self.inner().volumes.lock().get(name).cloned();
        let doc = doc.ok_or_else(|| EngineError::NoSuchVolume {
            name: name.to_owned(),
        })?;
        Ok(self.volume_answer(name, &doc))
    }

    /// Removes a volume that no container uses. `force` finds a missing one removed already.
    pub async fn volume_remove(&self, name: &str, force: bool) -> Result<()> {
        let engine = self.clone();
        let name = name.to_owned();
        self.to_the_end("volume remove", async move {
            engine.detach_before_removal(&name).await;
            let _gate = engine.inner().gate.write().await;
            if !engine.inner().volumes.lock().contains_key(&name) {
                return if force { Ok(()) } else { Err(EngineError::NoSuchVolume { name }) };
            }
            let users: Vec<String> = engine
                .registry()
                .all()
                .iter()
                .filter(|container| {
                    container.spec.mounts.iter().any(|mount| matches!(&mount.source, Source::Volume { name: used, .. } if *used == name))
                })
                .map(|container| container.id().to_string())
                .collect();
            if !users.is_empty() {
                return Err(EngineError::conflict(format!("remove {name}: volume is in use - [{}]", users.join(", "))));
            }
            engine.bury_volumes(vec![name]).await
        })
        .await
    }

    /// Ends the mount of a volume that is about to be removed, which may take long: everybody waits for the gate. What
    /// stands in the way is found again, and told, in [`Engine::bury_volumes`].
    async fn detach_before_removal(&self, name: &str) {
        let doc = self.inner().volumes.lock().get(name).cloned();
        if doc.is_none_or(|doc| doc.options.is_empty()) {
            return;
        }
        let name = name.to_owned();
        let places = &self.inner().places.sources;
        let detached = self.blocking_of(places, "volume remove", move |engine| {
            Ok(engine.inner().volume_store.detach_unused(&name, PATIENCE)?)
        });
        if let Err(error) = detached.await {
            tracing::debug!(%error, "a volume that is to be removed is not unmounted");
        }
    }

    /// Removes rows of volumes and leaves tombstones; the caller holds the gate and knows that no container has them.
    ///
    /// # Errors
    /// A conflict when a volume is mounted for a start that was given up and has not let go: nobody may wait for that
    /// with the gate.
    async fn bury_volumes(&self, names: Vec<String>) -> Result<()> {
        // What is mounted on a volume is not the volume's, and stays as it is.
        let mounted: Vec<String> = {
            let volumes = self.inner().volumes.lock();
            let has_options = |name: &&String| {
                let doc = volumes.get(name.as_str());
                doc.is_some_and(|doc| !doc.options.is_empty())
            };
            names.iter().filter(has_options).cloned().collect()
        };
        if !mounted.is_empty() {
            self.blocking("volume remove", move |engine| {
                mounted.iter().try_for_each(|name| {
                    Ok(engine
                        .inner()
                        .volume_store
                        .detach_unused(name, Duration::ZERO)?)
                })
            })
            .await?;
        }
        let told = names
            .iter()
            .map(|name| {
                events::event(
                    "volume",
                    "destroy",
                    name,
                    BTreeMap::from([("driver".to_owned(), "local".to_owned())]),
                )
            })
            .collect();
        let rows = names.clone();
        let (tombstones, showing) = self
            .commit_showing(Durability::PowerCut, told, move |connection| {
                rows.into_iter()
                    .map(|name| {
                        VolumeRow::delete(connection, &name)?;
                        let sequence = TombstoneRow::insert(connection, cleaner::VOLUME, &name)?;
                        Ok(TombstoneRow {
                            sequence,
                            kind: cleaner::VOLUME.to_owned(),
                            key: name,
                        })
                    })
                    .collect::<Result<Vec<_>>>()
            })
            .await?;
        {
            let mut volumes = self.inner().volumes.lock();
            for name in &names {
                volumes.remove(name);
            }
        }
        // Inside the gate, since a volume of the same name may be made right after; emptying it can wait.
        self.blocking("volume remove", move |engine| {
            for tombstone in &tombstones {
                engine.move_volume_away(tombstone);
            }
            drop(showing);
            for tombstone in tombstones {
                engine.queue_tombstone(tombstone);
            }
            Ok(())
        })
        .await
    }

    /// Nobody who was told that a volume is gone finds its folder: emptying it can wait.
    pub(crate) fn move_volume_away(&self, tombstone: &TombstoneRow) {
        let grave = self.volume_grave(tombstone);
        let folder = self.inner().volume_store.path(&tombstone.key);
        let moved = folder
            .parent()
            .map(|folder| std::fs::rename(folder, &grave));
        if let Some(Err(error)) = moved {
            tracing::warn!(%error, volume = tombstone.key, "a removed volume could not be moved away");
        }
    }

    /// Where a removed volume waits for being emptied.
    pub(crate) fn volume_grave(&self, tombstone: &TombstoneRow) -> std::path::PathBuf {
        self.paths()
            .tombstones()
            .join(format!("volume-{}", tombstone.sequence))
    }

    /// Removes what is left of a volume, unless another one has its name by now.
    pub(crate) fn clean_volume(&self, tombstone: &TombstoneRow) -> Result<()> {
        cleaner::remove_tree(&self.volume_grave(tombstone))?;
        // Who makes one of that name right now has its folder before it is known.
        let volumes = &self.inner().volumes;
        let Some(_claim) = volumes.claim_if_free(&tombstone.key) else {
            return Ok(());
        };
        if volumes.lock().contains_key(&tombstone.key) {
            return Ok(());
        }
        Ok(self.inner().volume_store.remove(&tombstone.key)?)
    }

    /// Removes anonymous volumes that no container uses, with the filter `all=true` named ones too.
    pub async fn prune_volumes(&self, filters: Filters) -> Result<VolumesPruneReport> {
        filters.check(&["all", "label", "label!"])?;
        let all = match filters.flag("all") {
            Ok(all) => all.unwrap_or(false),
            Err(_) => {
                let value = filters.get("all").next().unwrap_or_default();
                return Err(EngineError::invalid(format!(
                    "invalid filter 'all': strconv.ParseBool: parsing \"{value}\": invalid syntax"
                )));
            }
        };
        let engine = self.clone();
        self.to_the_end("volume prune", async move {
            // A walk through large volumes takes long, and everybody waits for the gate.
            let names = engine.to_prune(&filters, all);
            let sizes = engine
                .blocking("volume prune", move |engine| {
                    let size = |name: &String| engine.inner().volume_store.usage(name).unwrap_or(0);
                    let sizes = names.into_iter().map(|name| (size(&name), name));
                    Ok(sizes
                        .map(|(size, name)| (name, size))
                        .collect::<HashMap<_, _>>())
                })
                .await?;
            let _gate = engine.inner().gate.write().await;
            let mut names = engine.to_prune(&filters, all);
            names.retain(|name| sizes.contains_key(name));
            engine.bury_volumes(names.clone()).await?;
            let reclaimed = names.iter().filter_map(|name| sizes.get(name)).sum();
            engine.tell_later(events::pruned("volume", reclaimed));
            Ok(VolumesPruneReport {
                space_reclaimed: reclaimed,
                volumes_deleted: names,
            })
        })
        .await
    }

    /// Volumes that no container uses and that a prune is to remove.
    fn to_prune(&self, filters: &Filters, all: bool) -> Vec<String> {
        let users = self.volume_users();
        let volumes = self.inner().volumes.lock();
        volumes
            .iter()
            .filter(|(name, doc)| {
                // As in docker, what is more than a folder is left alone.
                !users.contains_key(*name)
                    && (all || doc.anonymous)
                    && doc.options.is_empty()
                    && filters.labels_match(&doc.labels)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// All volumes with their sizes, for `system df`.
    pub(crate) async fn volume_usages(&self) -> Result<Vec<Volume>> {
        let users = self.volume_users();
        let mut volumes = self.volume_list(Filters::default()).await?;
        // As in docker: what is more than a folder takes its room elsewhere.
        volumes.retain(|volume| volume.options.is_none());
        self.blocking("system df", move |engine| {
            for volume in &mut volumes {
                let size = engine
                    .inner()
                    .volume_store
                    .usage(&volume.name)
                    .map_or(-1, |bytes| bytes as i64);
                let ref_count = users.get(&volume.name).copied().unwrap_or(0);
                volume.usage_data = Some(VolumeUsage { ref_count, size });
            }
            Ok(volumes)
        })
        .await
    }

    /// The job of a tombstone whose shim has nothing to let go.
    pub(crate) fn queue_tombstone(&self, tombstone: TombstoneRow) {
        self.inner().cleaner.announce(1);
        self.inner().cleaner.queue(Job {
            tombstone,
            release: None,
            held: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_somebody_is_making_is_nobody_elses_to_remove() {
        let volumes = Volumes::default();
        let making = volumes.claim(vec!["vol".to_owned()]).await;
        assert!(volumes.claim_if_free("vol").is_none());
        drop(making);
        let removing = volumes.claim_if_free("vol");
        assert!(removing.is_some() && volumes.claim_if_free("vol").is_none());
        drop(removing);
        assert!(volumes.claim_if_free("vol").is_some());
    }
}
