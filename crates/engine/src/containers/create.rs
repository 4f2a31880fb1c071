//! Making a container: everything is checked before anything is made.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use api_types::{Config, HostConfig};
use sys::beneath::Root;
use types::{ContainerId, Platform};

use super::names;
use super::record::{Run, Spec};
use super::registry::Container;
use super::spares::Spare;
use crate::clock;
use crate::compile::modes::{self, Modes, NetworkMode};
use crate::compile::mounts::{MountSpec, Source};
use crate::compile::{self, log_remote, logging, merge};
use crate::engine::Engine;
use crate::events;
use crate::images::index::Image;
use crate::local_driver;
use crate::options::{CreateRequest, Created};
use crate::outcome::{EngineError, Result};
use crate::paths;
use crate::store::{Durability, VolumeRow};
use crate::volumes::{self, VolumeDoc};

impl Engine {
    /// Makes a container from an image.
    ///
    /// # Errors
    /// [`EngineError::NoSuchImage`], after which clients pull; [`EngineError::NameInUse`]; docker's sentences for
    /// settings that make no sense; [`EngineError::Unsupported`] for what is not built.
    pub async fn create(
        &self,
        name: Option<String>,
        request: CreateRequest,
        platform: Option<String>,
    ) -> Result<Created> {
        let engine = self.clone();
        self.to_the_end("create", async move {
            engine.create_checked(name, request, platform).await
        })
        .await
    }

    async fn create_checked(
        &self,
        name: Option<String>,
        request: CreateRequest,
        platform: Option<String>,
    ) -> Result<Created> {
        let name = name.filter(|name| !name.is_empty());
        let name = name
            .as_deref()
            .map(names::check)
            .transpose()?
            .map(str::to_owned);
        let id = ContainerId::random().map_err(EngineError::io("draw an id"))?;
        let mut mounts = request.host_config.mounts.iter();
        let logs_elsewhere = match request.host_config.log_config.kind.as_str() {
            "" | "default" => self.config().log_driver == "syslog",
            driver => driver == "syslog",
        };
        if mounts.any(|mount| mount.kind == "bind") || logs_elsewhere {
            // Before the gate, which nobody may keep while a file system does not answer.
            let image = self.find_image_for(&request, platform.as_deref())?;
            let draft = self.draft(&id, request.clone(), &image)?;
            self.check_sources(&draft.mounts).await?;
            if draft.host.log_config.kind == "syslog" {
                let kind = &self.inner().places.sources;
                let log = draft.host.log_config;
                self.blocking_of(kind, "create", move |_| log_remote::look_for(&log))
                    .await?;
            }
        }
        let published = request.host_config.port_bindings.as_ref();
        if request.host_config.publish_all_ports || published.is_some_and(|ports| !ports.is_empty())
        {
            let engine = self.clone();
            // Ends by itself. A start waits for it if it has to.
            tokio::task::spawn_blocking(move || engine.expect_doors());
        }
        let _gate = self.inner().gate.read().await;
        let image = self.find_image_for(&request, platform.as_deref())?;
        let mut draft = self.draft(&id, request, &image)?;
        if platform.as_deref().is_none_or(str::is_empty) {
            draft.warnings.extend(foreign(&image.parsed.platform()));
        }
        let driver = draft.host.volume_driver.as_str();
        let mut new_volumes = name_volumes(self, driver, &mut draft.mounts)?;
        let names = new_volumes.keys().cloned().collect();
        let _claim = self.inner().volumes.claim(names).await;
        {
            // Whoever had the claim may have made some.
            let known = self.inner().volumes.lock();
            new_volumes.retain(|name, _| !known.contains_key(name));
        }
        let layers = self.unpacked_layers(&image).await?;
        let folder = &draft.config.working_dir;
        if !matches!(folder.as_str(), "" | "/") && *folder != image.config.working_dir {
            self.check_working_folder(&layers, folder).await?;
        }

        let name = match name {
            Some(name) => {
                self.registry().reserve(&name, &id)?;
                name
            }
            None => names::draw(|name| self.registry().reserve(name, &id).is_err())?,
        };
        let Draft {
            config,
            host,
            networking,
            mounts,
            command,
            warnings,
        } = draft;
        let spec = Spec::new(
            id.clone(),
            clock::now(),
            image.id.to_string(),
            config,
            host,
            networking,
            command,
            layers,
            mounts,
        );
        match self.make(&name, spec, new_volumes).await {
            Ok(container) => {
                self.registry().add(container);
                Ok(Created {
                    id: id.to_string(),
                    warnings,
                })
            }
            Err(error) => {
                self.registry().release(&name, &id);
                Err(error)
            }
        }
    }

    /// Refuses to begin in what the image has as a file.
    async fn check_working_folder(&self, layers: &[u64], folder: &str) -> Result<()> {
        let (layers, folder) = (layers.to_owned(), folder.to_owned());
        self.blocking("create", move |engine| {
            let options = snapshot::MountOptions::default();
            let root = engine.inner().layers.mount(&layers, None, &options)?;
            let found = Root::new(root.as_fd()).open_dir(&folder);
            match found {
                Err(error) if error.kind() == ErrorKind::NotADirectory => {
                    Err(EngineError::NotAFolder { path: folder })
                }
                // What is missing is made at the start.
                _ => Ok(()),
            }
        })
        .await
    }

    /// The image of a request. What makes no sense with any image is told before a missing one, as docker does it: nobody
    /// has to wait for a pull to be told.
    fn find_image_for(
        &self,
        request: &CreateRequest,
        platform: Option<&str>,
    ) -> Result<Arc<Image>> {
        let found = self.find_image(&request.config.image, platform);
        if let Err(EngineError::NoSuchImage { .. }) = found {
            let CreateRequest {
                mut config,
                host_config: mut host,
                networking_config: networking,
                ..
            } = request.clone();
            Modes::parse(&host)?.check(&config, &host)?;
            compile::check(&mut config, &mut host, &networking, self)?;
        }
        found
    }

    fn find_image(&self, wanted: &str, platform: Option<&str>) -> Result<Arc<Image>> {
        if wanted.is_empty() {
            return Err(EngineError::invalid("invalid reference format"));
        }
        // Which images there are comes first: whoever asks for an unknown one is told so.
        let image = self.images().find(wanted)?;
        let platform = crate::images::pull::parse_platform(platform.map(str::to_owned))?;
        match platform {
            Some(platform) => self.images().read().find_for(wanted, &[platform]),
            None => Ok(image),
        }
    }

    /// Inherits, checks and writes the defaults down; makes nothing.
    fn draft(&self, id: &ContainerId, request: CreateRequest, image: &Image) -> Result<Draft> {
        let CreateRequest {
            mut config,
            host_config: mut host,
            networking_config: networking,
            only_top_read_only,
        } = request;
        self.config().containers.apply(&mut host);
        // What contradicts a mode is what was asked for, not what the image brings along.
        Modes::parse(&host)?.check(&config, &host)?;
        merge::merge(&mut config, &image.config);
        let command = merge::command(&config);
        if command.is_empty() {
            return Err(EngineError::invalid("no command specified"));
        }
        let modes = compile::check(&mut config, &mut host, &networking, self)?;
        self.check_neighbours(&modes, &mut config, &mut host)?;
        self.resolve_links(&mut host)?;
        let warnings = self.step_back(&modes, &mut host);
        modes::normalise(&mut host);
        // Docker writes it down where the kernel could switch its killer off, which version 2 can not.
        let killer = self.inner().groups.layout().version() == 1;
        host.oom_kill_disable = killer.then(|| host.oom_kill_disable == Some(true));
        let parent = self.config().cgroup_parent.as_deref();
        if let Some(parent) = parent.filter(|_| host.cgroup_parent.is_empty()) {
            host.cgroup_parent = parent.to_owned();
        }
        crate::group_parents::checked(&host.cgroup_parent, self.inner().groups.path())?;
        if host.runtime.is_empty() {
            host.runtime = self.config().default_runtime.clone();
        }
        if config.hostname.is_empty() {
            config.hostname = match (&modes.network, modes.uts_host) {
                (NetworkMode::Host, _) | (_, true) => self.inner().host.name.clone(),
                _ => id.short().to_owned(),
            };
        }
        let borrowed = self.borrowed_mounts(&host)?;
        let mut mounts = compile::mounts::collect(&config, &host, borrowed)?;
        if only_top_read_only {
            compile::mounts::keep_below_writable(&mut mounts);
        }
        Ok(Draft {
            command,
            config,
            host,
            networking,
            mounts,
            warnings,
        })
    }

    /// What the containers of `--volumes-from` have mounted.
    fn borrowed_mounts(&self, host: &HostConfig) -> Result<Vec<MountSpec>> {
        let mut borrowed = Vec::new();
        for text in host.volumes_from.iter().flatten() {
            let (name, read_only) = compile::mounts::parse_from(text)?;
            let lender = self.lender(name)?;
            borrowed.extend(compile::mounts::lent(&lender.spec.mounts, read_only));
        }
        Ok(borrowed)
    }

    /// The id of a container whose namespace is asked for.
    fn neighbour_id(&self, name: &str) -> Result<ContainerId> {
        Ok(self.lender(name)?.id().clone())
    }

    /// A container whose namespace or mounts are asked for. That there is none is a wrong argument and not what was
    /// looked for: clients take a 404 for a missing image, and pull.
    fn lender(&self, name: &str) -> Result<Arc<Container>> {
        match self.registry().find(name) {
            Ok(container) => Ok(container),
            Err(error @ EngineError::NoSuchContainer { .. }) => {
                Err(EngineError::invalid(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Resolves `container:NAME` to ids, and refuses neighbours that do not exist; that of the network may appear until
    /// the start, as in docker.
    fn check_neighbours(
        &self,
        modes: &Modes,
        config: &mut Config,
        host: &mut HostConfig,
    ) -> Result<()> {
        if let NetworkMode::Container(name) = &modes.network {
            match self.registry().find(name) {
                Ok(neighbour) => {
                    host.network_mode = format!("container:{}", neighbour.id());
                    // Who shares the addresses has the name that they are known by.
                    if !modes.uts_host {
                        config.hostname = neighbour.spec.config.hostname.clone();
                        config.domainname = neighbour.spec.config.domainname.clone();
                    }
                }
                Err(EngineError::NoSuchContainer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if let compile::modes::IpcMode::Container(name) = &modes.ipc {
            host.ipc_mode = format!("container:{}", self.neighbour_id(name)?);
        }
        if let compile::modes::PidMode::Container(name) = &modes.pid {
            host.pid_mode = format!("container:{}", self.neighbour_id(name)?);
        }
        Ok(())
    }

    /// Steps back from what this host can not do and nobody needs, in docker's words.
    fn step_back(&self, modes: &Modes, host: &mut HostConfig) -> Vec<String> {
        let mut warnings = Vec::new();
        let layout = self.inner().groups.layout();
        // What a host can do is asked of its files, so only where a request wants to know.
        if compile::limits::asks_what_is_rare(host) {
            warnings = compile::limits::step_back(host, &layout.support());
        }
        if host.memory > 0 && host.memory_swap != -1 && !layout.support().swap_limit {
            host.memory_swap = -1;
            warnings.push("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.".to_owned());
        }
        let published = host
            .port_bindings
            .as_ref()
            .is_some_and(|ports| !ports.is_empty());
        if modes.network == NetworkMode::Host && (published || host.publish_all_ports) {
            warnings.push("Published ports are discarded when using host network mode".to_owned());
        }
        warnings.extend(compile::security::without_effect(host));
        warnings
    }

    /// Makes the folders, then the row that owns them. Folders without a row are removed at the next start.
    async fn make(
        &self,
        name: &str,
        spec: Spec,
        new_volumes: BTreeMap<String, VolumeDoc>,
    ) -> Result<Arc<Container>> {
        let run = Run::new();
        let row = spec.row(name, &run)?;
        let volume_rows: Vec<VolumeRow> = new_volumes
            .iter()
            .map(|(name, doc)| doc.row(name))
            .collect::<Result<_>>()?;
        let (id, layers) = (spec.id.clone(), spec.layers.clone());
        let volume_names: Vec<String> = new_volumes.keys().cloned().collect();
        let spare = if spec.host.auto_remove && volume_names.is_empty() {
            self.inner().spares.take(&layers)
        } else {
            None
        };
        let (folder, prepared_root) = spare.map(Spare::split).unzip();
        let (made_volumes, created) = if folder.is_some() {
            (Vec::new(), Ok(()))
        } else {
            self.blocking("create", move |engine| {
                let folder = engine.paths().container(&id);
                let mut made = Vec::new();
                let outcome = engine.make_folders(&folder, &layers, volume_names, &mut made);
                Ok((made, outcome))
            })
            .await?
        };
        let durability = if spec.host.auto_remove {
            Durability::Kill
        } else {
            Durability::PowerCut
        };
        let container = Container::new(spec, name.to_owned(), run);
        container.swap_prepared_root(prepared_root);
        let told = told_of(&container, &volume_rows);
        let place = self.paths().container(container.id());
        let is_kept = logging::is_kept(&container.spec.host.log_config.kind);
        let log = is_kept.then(|| self.paths().log(container.id()));
        let committed = match created {
            Ok(()) => {
                self.commit(durability, told, move |connection| {
                    if let Some(folder) = folder {
                        folder.give_to(&place, log.as_deref())?;
                    }
                    volume_rows.iter().try_for_each(|row| row.put(connection))?;
                    row.insert(connection)
                })
                .await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = committed {
            self.unmake(&container, made_volumes).await;
            return Err(error);
        }
        self.inner().volumes.lock().extend(new_volumes);
        Ok(container)
    }

    /// Removes what was made of a container that will not be. The first failure is the one to tell; what stays is removed
    /// at the next start.
    async fn unmake(&self, container: &Container, volumes: Vec<String>) {
        self.unmake_volume_folders(volumes).await;
        let folder = self.paths().container(container.id());
        let removed = self
            .blocking("create", move |_| crate::cleaner::remove_tree(&folder))
            .await;
        if let Err(error) = removed {
            tracing::warn!(%error, "the folder of a container that was not made stays");
        }
    }

    /// `made` are the volumes that were not there, also when something fails.
    fn make_folders(
        &self,
        folder: &Path,
        layers: &[u64],
        volumes: Vec<String>,
        made: &mut Vec<String>,
    ) -> Result<()> {
        paths::make_folder(folder, 0o710)?;
        let opened = paths::open_folder(folder)?;
        self.inner().layers.prepare_upper(opened.as_fd(), layers)?;
        for name in volumes {
            if self.inner().volume_store.create(&name)? {
                made.push(name);
            }
        }
        Ok(())
    }
}

/// Docker's warning about an image that this processor may not run.
fn foreign(image: &Platform) -> Option<String> {
    let host = Platform::host();
    (!host.matches(image)).then(|| {
        let level = match Platform::host_level() {
            Some(level) => format!("{host}/v{level}"),
            None => host.to_string(),
        };
        format!(
            "The requested image's platform ({image}) does not match the detected host platform \
             ({level}) and no specific platform was requested"
        )
    })
}

/// A request after all checks.
struct Draft {
    config: Config,
    host: HostConfig,
    networking: api_types::NetworkingConfig,
    mounts: Vec<MountSpec>,
    command: Vec<String>,
    warnings: Vec<String>,
}

/// Gives anonymous volumes their names, and lists the volumes that do not exist yet. Another driver than `local` matters
/// only where there is a volume.
fn name_volumes(
    engine: &Engine,
    driver: &str,
    mounts: &mut [MountSpec],
) -> Result<BTreeMap<String, VolumeDoc>> {
    let known: HashSet<String> = engine.inner().volumes.lock().keys().cloned().collect();
    let mut new: BTreeMap<String, VolumeDoc> = BTreeMap::new();
    for mount in mounts {
        let Source::Volume {
            name,
            anonymous,
            labels,
            options,
            ..
        } = &mut mount.source
        else {
            continue;
        };
        if name.is_empty() {
            *name = volumes::draw_name()?;
        }
        if !matches!(driver, "" | "local") {
            return Err(EngineError::NoSuchPlugin {
                volume: name.clone(),
                name: driver.to_owned(),
            });
        }
        if !known.contains(name) {
            local_driver::check(name, options)?;
            new.entry(name.clone())
                .or_insert_with(|| VolumeDoc::new(*anonymous, labels.clone(), options.clone()));
        }
    }
    Ok(new)
}

impl Container {
    /// What every event about a container carries: labels, image and name.
    pub(crate) fn event_attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.spec.config.labels.clone();
        attributes.insert("image".to_owned(), self.spec.config.image.clone());
        attributes.insert("name".to_owned(), self.name());
        attributes
    }

    /// The events that docker tells about what a container is connected to: volumes mounted and networks joined at its
    /// start (`true`), the reverse at its end. `home`: whether the engine's own
    /// bridge is among them; `joined`: the user networks.
    pub(crate) fn connection_events(
        &self,
        engine: &Engine,
        joins: bool,
        home: bool,
        joined: &[String],
    ) -> Vec<api_types::Event> {
        let mut told = Vec::new();
        for mount in &self.spec.mounts {
            let Source::Volume { name, .. } = &mount.source else {
                continue;
            };
            let mut attributes = BTreeMap::from([
                ("container".to_owned(), self.id().to_string()),
                ("driver".to_owned(), "local".to_owned()),
            ]);
            if joins {
                attributes.insert("destination".to_owned(), mount.target.clone());
                attributes.insert("propagation".to_owned(), mount.propagation.clone());
                attributes.insert("read/write".to_owned(), (!mount.read_only).to_string());
            }
            told.push(events::event(
                "volume",
                if joins { "mount" } else { "unmount" },
                name,
                attributes,
            ));
        }
        let mode = self.spec.host.network_mode.as_str();
        let action = if joins { "connect" } else { "disconnect" };
        let is_built_in = matches!(mode, "bridge" | "host" | "none");
        if is_built_in && self.run().changed_networks.is_none() {
            told.push(engine.event_of(self, mode, action));
        } else if home {
            told.push(engine.event_of(self, network::HOME, action));
        }
        for network in joined {
            told.push(engine.event_of(self, network, action));
        }
        told
    }

    /// An event about this container, of now.
    pub(crate) fn event(
        &self,
        action: impl Into<String>,
        more: &[(&str, String)],
    ) -> api_types::Event {
        let mut attributes = self.event_attributes();
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        );
        events::event("container", action, self.id().as_str(), attributes)
    }
}

/// What is told of a container and its volumes that are made.
fn told_of(container: &Container, volumes: &[VolumeRow]) -> Vec<api_types::Event> {
    let volumes = volumes.iter().map(|row| {
        let attributes = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        events::event("volume", "create", &row.name, attributes)
    });
    let created = events::event(
        "container",
        "create",
        container.id().as_str(),
        container.event_attributes(),
    );
    volumes.chain([created]).collect()
}
