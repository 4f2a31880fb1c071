//! Everything between "start this" and a running process: two halves side by side, one plan, one message.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use api_types::Config;
use shim::ShimConn;
use shim::protocol::{
    Health, Launch, LogConfig, Message, Refusal, Reply, RestartKind, RestartPolicy, Slot,
};
use tokio::task::JoinHandle;

use super::attach::Client;
use super::record::{EndpointRecord, JoinedRecord, PublishedRecord};
use super::registry::Container;
use super::sources::host_ipc;
use super::surroundings::{Kept, Surroundings};
use super::underway::Underway;
use crate::compile::modes::{IpcMode, Modes, PidMode};
use crate::compile::plan::{Descriptors, Parts, Planned, plan};
use crate::compile::{log_tag, logging, policy};
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::paths;
use crate::places::Turn;

/// A container that runs.
pub(crate) struct Launched {
    pub(crate) connection: Arc<ShimConn>,
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    /// Nanoseconds since 1970.
    pub(crate) time: i64,
    pub(crate) endpoint: Option<EndpointRecord>,
    pub(crate) joined: Vec<JoinedRecord>,
    /// It asks the engine for names.
    pub(crate) asks: bool,
    /// How many helpers for names had died when it was told of.
    pub(crate) epoch: u64,
    pub(crate) published: Vec<PublishedRecord>,
    /// Volumes that this start filled or used for the first time.
    pub(crate) used_volumes: Vec<String>,
}

impl Launched {
    /// Networks with the container's address on each.
    pub(super) fn addresses(&self) -> Vec<(String, String)> {
        let home = self.endpoint.iter().map(|place| (network::HOME, place));
        let joined = self
            .joined
            .iter()
            .map(|one| (one.network.as_str(), &one.place));
        home.chain(joined)
            .map(|(network, place)| (network.to_owned(), place.address.to_string()))
            .collect()
    }

    /// Ids of the user networks that it is on.
    pub(super) fn networks(&self) -> Vec<String> {
        self.joined.iter().map(|one| one.network.clone()).collect()
    }
}

/// A supervisor's folder; dropped before the start succeeded, it is removed, and volumes are used no more.
struct ShimFolder<'a> {
    engine: &'a Engine,
    container: &'a Container,
    wanted: bool,
}

impl Drop for ShimFolder<'_> {
    fn drop(&mut self) {
        if self.wanted {
            return;
        }
        let path = self.engine.paths().shim(self.container.id());
        if let Err(error) = crate::cleaner::remove_tree(&path) {
            tracing::warn!(%error, "a failed start could not remove its supervisor's folder");
        }
        self.engine.release_volumes(self.container);
    }
}

impl Engine {
    /// Sets off a container's first process: root, network, mounts, control group, plan, shim. It goes to its end on
    /// threads that may block, whether anybody waits for it or not.
    ///
    /// # Errors
    /// The task ends with [`EngineError::StartFailed`] with docker's chain of words when the process could not reach
    /// its program. Then, as after every other error, nothing is left of what was made.
    pub(crate) fn launch(
        &self,
        container: &Arc<Container>,
        clients: Vec<Client>,
        restarts: u32,
        underway: &Arc<Underway>,
        turn: Turn,
    ) -> JoinHandle<Result<Launched>> {
        // Network and control group on another thread than file systems: they need nothing of each other. Threads take
        // tasks in order, so that what is waited for has always been begun.
        let (engine, target) = (self.clone(), Arc::clone(container));
        let surroundings =
            tokio::task::spawn_blocking(move || Surroundings::make(&engine, &target));
        let (engine, target) = (self.clone(), Arc::clone(container));
        let underway = Arc::clone(underway);
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            engine.launch_with(&target, &clients, restarts, surroundings, &underway)
        })
    }

    fn launch_with(
        &self,
        container: &Container,
        clients: &[Client],
        restarts: u32,
        surroundings: JoinHandle<Result<Surroundings>>,
        underway: &Underway,
    ) -> Result<Launched> {
        let epoch = self.names_epoch();
        let prepared = self.prepare_files(container);
        let surroundings = tokio::runtime::Handle::current()
            .block_on(surroundings)
            .map_err(|_| EngineError::Panicked { operation: "start" })?;
        let (mut shim_folder, prepared) = prepared?;
        let mut surroundings = surroundings?;

        let mut descriptors = Descriptors::default();
        let planned = self.plan_of(
            container,
            prepared.root,
            prepared.mounts,
            &mut surroundings,
            &mut descriptors,
        )?;
        let mut launch = Launch::new(
            container.id().clone(),
            planned.plan.encode(),
            slot(&mut descriptors, prepared.journal),
            slot(&mut descriptors, prepared.listener),
        );
        launch.restarts_before = restarts;
        launch.cgroups = surroundings
            .take_kill()
            .map(|folder| slot(&mut descriptors, folder))
            .into_iter()
            .collect();
        launch.oom_events = surroundings
            .take_oom()
            .map(|file| slot(&mut descriptors, file));
        launch.health = planned.health.map(|(check, plan)| Health {
            plan,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        });
        self.describe(container, &mut launch, prepared.folder, &mut descriptors)?;
        for reservation in surroundings.take_reservations() {
            descriptors.add(reservation);
        }
        for client in clients {
            let socket = client
                .socket
                .try_clone()
                .map_err(EngineError::io("copy a client's connection"))?;
            let slot = slot(&mut descriptors, socket);
            launch
                .attachments
                .push(client.attachment(slot, container.spec.config.tty)?);
        }

        let (connection, (pid, start_ticks, time)) =
            self.hand_over(&launch, &descriptors, underway)?;
        shim_folder.wanted = true;
        let Kept {
            endpoint,
            joined,
            published,
        } = surroundings.keep()?;
        Ok(Launched {
            connection,
            pid,
            start_ticks,
            time: i64::try_from(time).unwrap_or(i64::MAX),
            endpoint,
            asks: !joined.is_empty(),
            epoch,
            joined,
            published,
            used_volumes: prepared.used_volumes,
        })
    }

    /// The half that has to do with file systems.
    fn prepare_files<'a>(
        &'a self,
        container: &'a Container,
    ) -> Result<(ShimFolder<'a>, Prepared<'a>)> {
        let shim_folder = ShimFolder {
            engine: self,
            container,
            wanted: false,
        };
        let (journal, listener) = self.make_shim_folder(container)?;
        let folder = paths::open_folder(&self.paths().container(container.id()))?;
        let root = self.mount_root(container, folder.as_fd())?;
        let mut used_volumes = Vec::new();
        let mounts = self.open_mounts(container, &root, &mut used_volumes)?;
        Ok((
            shim_folder,
            Prepared {
                journal,
                listener,
                folder,
                root,
                mounts,
                used_volumes,
            },
        ))
    }

    fn plan_of(
        &self,
        container: &Container,
        root: OwnedFd,
        mounts: Vec<crate::compile::plan::OpenMount<'_>>,
        surroundings: &mut Surroundings,
        descriptors: &mut Descriptors,
    ) -> Result<Planned> {
        let spec = &container.spec;
        let modes = Modes::parse(&spec.host)?;
        let version = self.inner().groups.layout().version();
        let cgroup_private = modes.cgroup_private.unwrap_or(version == 2);
        let net = surroundings.take_net();
        let (ipc, shm) = match &modes.ipc {
            IpcMode::Container(name) => self
                .join_ipc(name)
                .map(|(ipc, shm)| (Some(ipc), Some(shm)))?,
            _ => (None, None),
        };
        let linked = self.link_environment(container)?;
        let config = match linked.is_empty() {
            true => Cow::Borrowed(&spec.config),
            // What the container says itself comes later, and counts.
            false => Cow::Owned(with_environment(&spec.config, linked)),
        };
        let parts = Parts {
            config: &config,
            host: &spec.host,
            id: container.id(),
            root,
            net,
            pid: match &modes.pid {
                PidMode::Container(name) => Some(self.join_pid(name)?),
                _ => None,
            },
            ipc,
            shm,
            tasks: surroundings.take_tasks(),
            unified: surroundings.take_unified(),
            cgroup_view: self.cgroup_view(
                container,
                cgroup_private,
                &surroundings.shared_groups(),
                descriptors,
            )?,
            host_ipc: host_ipc(&modes)?,
            cgroup_private,
            mounts,
            files: surroundings.take_files(),
            filters: &self.inner().filters,
            modes: &modes,
        };
        plan(parts, descriptors)
    }

    /// A fresh journal and the socket on which later daemons connect.
    fn make_shim_folder(&self, container: &Container) -> Result<(OwnedFd, OwnedFd)> {
        let path = self.paths().shim(container.id());
        let make = || std::fs::DirBuilder::new().mode(0o700).create(&path);
        // Of a former run there is something only if nobody had the time to remove it.
        let made = make().or_else(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                crate::cleaner::remove_tree(&path).map_err(std::io::Error::other)?;
                make()
            }
            _ => Err(error),
        });
        made.map_err(EngineError::io("make a supervisor's folder"))?;
        let folder = paths::open_folder(&path)?;
        let journal = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path.join("journal"))
            .map_err(EngineError::io("make an exit journal"))?;
        let listener = sys::fdpass::listen_at(folder.as_fd(), "sock", 16)
            .map_err(EngineError::io("listen for a supervisor"))?;
        Ok((journal.into(), listener))
    }

    fn mount_root(&self, container: &Container, folder: BorrowedFd<'_>) -> Result<OwnedFd> {
        if let Some(root) = container.swap_prepared_root(None) {
            return Ok(root);
        }
        let spec = &container.spec;
        self.inner().layers.prepare_upper(folder, &spec.layers)?;
        let options = snapshot::MountOptions {
            volatile: spec.host.auto_remove,
            ..super::spares::volatile_root()
        };
        Ok(self
            .inner()
            .layers
            .mount(&spec.layers, Some(folder), &options)?)
    }

    /// Policy, log and terminal settings of the shim.
    fn describe(
        &self,
        container: &Container,
        launch: &mut Launch,
        folder: OwnedFd,
        descriptors: &mut Descriptors,
    ) -> Result<()> {
        let (config, host) = (&container.spec.config, &container.spec.host);
        let log = &host.log_config;
        let none = BTreeMap::new();
        let options = log.config.as_ref().unwrap_or(&none);
        let logging = logging::read_logging(&log.kind, options)?;
        if logging.kept {
            let name = container.name();
            let info = log_tag::Info {
                id: container.id().as_str(),
                name: &name,
                image: &container.spec.image,
                image_name: &config.image,
                path: &container.spec.path,
                args: &container.spec.args,
                env: config.env.as_deref().unwrap_or_default(),
                labels: &config.labels,
                options,
            };
            let carried = logging::attributes(&info)?;
            let destination = logging.destination.as_ref();
            launch.log = LogConfig::JsonFile {
                folder: slot(descriptors, folder),
                name: paths::log_name(container.id()),
                max_size: if logging.max_size == u64::MAX {
                    0
                } else {
                    logging.max_size
                },
                max_files: logging.max_file,
                attrs: logging::object(&carried)?,
                buffer: logging.buffer,
                remote: destination
                    .map(|destination| destination.open(&info, &carried, descriptors))
                    .transpose()?,
            };
        }
        launch.restart = restart_policy(container.run().host(&container.spec));
        if !config.stop_signal.is_empty() {
            launch.stop_signal =
                u8::try_from(policy::parse_signal(&config.stop_signal)?).unwrap_or(15);
        }
        launch.tty = config.tty;
        launch.open_stdin = config.open_stdin;
        launch.stdin_once = config.stdin_once;
        launch.detach_keys = types::detach::DEFAULT_KEYS.to_vec();
        Ok(())
    }

    /// Sends the launch and waits for the process to reach its program. A shim that died in between is asked for once
    /// more: nothing ran.
    fn hand_over(
        &self,
        launch: &Launch,
        descriptors: &Descriptors,
        underway: &Underway,
    ) -> Result<(Arc<ShimConn>, (u32, u64, u64))> {
        let mut again = true;
        loop {
            if underway.is_given_up() {
                return Err(EngineError::GivenUp);
            }
            let (connection, replaced) = self
                .inner()
                .launcher
                .launch(launch, &descriptors.borrow())?;
            if let Some(replaced) = replaced {
                tracing::warn!(
                    pid = replaced.dead,
                    end = %replaced.end,
                    made = replaced.pid,
                    "the launcher had died; another one was made in its place, and no container was touched by it"
                );
            }
            let connection = Arc::new(connection);
            underway.asked(&connection);
            match first_answer(&connection) {
                Ok(started) => return Ok((connection, started)),
                Err(shim::ShimError::Closed) if again => again = false,
                Err(error) => return Err(start_failure(error)),
            }
        }
    }
}

/// What the first half gives.
struct Prepared<'a> {
    journal: OwnedFd,
    listener: OwnedFd,
    /// The container's own folder.
    folder: OwnedFd,
    root: OwnedFd,
    mounts: Vec<crate::compile::plan::OpenMount<'a>>,
    used_volumes: Vec<String>,
}

fn first_answer(connection: &ShimConn) -> std::result::Result<(u32, u64, u64), shim::ShimError> {
    loop {
        if let Message::Answer(answer) = connection.recv_blocking()?.message
            && answer.number == 0
        {
            return match answer.result? {
                Reply::Started {
                    pid,
                    start_ticks,
                    time,
                } => Ok((pid, start_ticks, time)),
                other => Err(Refusal::Invalid {
                    text: format!("an answer to a start that is none: {other:?}"),
                }
                .into()),
            };
        }
    }
}

/// Docker's chain of words around a fault of the runtime.
fn start_failure(error: shim::ShimError) -> EngineError {
    match error {
        shim::ShimError::Refused {
            refusal:
                Refusal::Fault {
                    text,
                    exit_code,
                    errno,
                    ..
                },
        } => start_failed(CREATE_FAILED, &text, exit_code, errno),
        other => EngineError::from(other),
    }
}

/// What docker says that a start tried.
const CREATE_FAILED: &str = "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed";

/// A configuration with variables before its own.
pub(super) fn with_environment(config: &Config, mut before: Vec<String>) -> Config {
    before.extend(config.env.iter().flatten().cloned());
    Config {
        env: Some(before),
        ..config.clone()
    }
}

/// A value that a control group did not take, in runc's words.
pub(super) fn group_failure(error: runtime::cgroup::CgroupError) -> EngineError {
    match error {
        runtime::cgroup::CgroupError::Write {
            path,
            value,
            source,
        } => {
            let errno = source.raw_os_error().unwrap_or(0);
            let why = crate::outcome::words(&source);
            let text = format!(
                "error during container init: error setting cgroup config for procHooks process: failed to write {value:?}: write {}: {why}",
                path.display()
            );
            start_failed(CREATE_FAILED, &text, 128, errno)
        }
        other => other.into(),
    }
}

/// A fault of the runtime that ended a start: `attempt` is what docker says was tried, `exit_code` the runtime's
/// status for it. What docker adds to the kernel's reason, so that clients tell what happened, is added here.
pub(crate) fn start_failed(attempt: &str, text: &str, exit_code: u8, errno: i32) -> EngineError {
    let hint = match errno {
        libc::EISDIR => ": permission denied",
        libc::ENOTDIR => {
            ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"
        }
        _ => "",
    };
    EngineError::StartFailed {
        exit_code: exit_code.into(),
        sentence: format!("{attempt}: unable to start container process: {text}: unknown{hint}"),
    }
}

fn slot(descriptors: &mut Descriptors, descriptor: OwnedFd) -> Slot {
    Slot(descriptors.add(descriptor))
}

/// The shim's words for a restart policy.
pub(crate) fn restart_policy(host: &api_types::HostConfig) -> RestartPolicy {
    let kind = match host.restart_policy.name.as_str() {
        "on-failure" => RestartKind::OnFailure,
        "always" => RestartKind::Always,
        "unless-stopped" => RestartKind::UnlessStopped,
        _ => RestartKind::No,
    };
    RestartPolicy {
        kind,
        max_retries: u32::try_from(host.restart_policy.maximum_retry_count).unwrap_or(0),
    }
}
