//! Everything between "start this" and a running process, in one blocking function with one undo.

use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use api_types::texts;
use network::{Binding, Endpoint, HostPort, PortMapping};
use runtime::cgroup::Group;
use shim::ShimConn;
use shim::protocol::{
    Health, Launch, LogConfig, Message, Refusal, Reply, RestartKind, RestartPolicy, Slot,
};

use super::attach::Client;
use super::files::clone_path;
use super::record::{EndpointRecord, PublishedRecord};
use super::registry::Container;
use crate::compile::modes::{IpcMode, Modes, NetworkMode, PidMode};
use crate::compile::mounts::Source;
use crate::compile::plan::{Descriptors, Net, OpenMount, Parts, namespace_of, plan};
use crate::compile::{keys, limits, policy, ports};
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::paths;
use crate::volumes::VolumeDoc;

/// A container that runs.
pub(crate) struct Launched {
    pub(crate) connection: ShimConn,
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    /// Nanoseconds since 1970.
    pub(crate) time: i64,
    pub(crate) endpoint: Option<EndpointRecord>,
    pub(crate) published: Vec<PublishedRecord>,
    /// Volumes that this start filled or used for the first time.
    pub(crate) used_volumes: Vec<String>,
}

/// What a start has made so far; dropped before the start succeeded, it is unmade.
struct Undo<'a> {
    engine: &'a Engine,
    container: &'a Container,
    endpoint: Option<Endpoint>,
    group: Option<Group>,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if let (Some(network), Some(endpoint)) = (&self.engine.inner().network, &self.endpoint)
            && let Err(error) = network.detach(endpoint)
        {
            tracing::warn!(%error, "a failed start could not give its network back");
        }
        if let Some(group) = &self.group
            && let Err(error) = group.kill().and_then(|()| group.remove())
        {
            tracing::warn!(%error, "a failed start could not remove its control group");
        }
        if let Err(error) =
            crate::cleaner::remove_tree(&self.engine.paths().shim(self.container.id()))
        {
            tracing::warn!(%error, "a failed start could not remove its supervisor's folder");
        }
    }
}

impl Engine {
    /// Starts a container's first process: root, network, mounts, control group, plan, shim.
    ///
    /// # Errors
    /// [`EngineError::StartFailed`] with docker's chain of words when the process could not reach its program. Then,
    /// as after every other error, nothing is left of what was made.
    pub(crate) fn launch(&self, container: &Container, clients: &[Client]) -> Result<Launched> {
        let spec = &container.spec;
        let modes = Modes::parse(&spec.host)?;
        let mut undo = Undo {
            engine: self,
            container,
            endpoint: None,
            group: None,
            armed: true,
        };
        let mut descriptors = Descriptors::default();

        let (journal, listener) = self.make_shim_folder(container)?;
        let folder = paths::open_folder(&self.paths().container(container.id()))?;
        let root = self.mount_root(container, folder.as_fd())?;
        let net = self.open_network(container, &modes, &mut undo)?;
        let address = undo.endpoint.as_ref().map(|endpoint| endpoint.address);
        let files = self.etc_files(container, &modes, address)?;
        let (published, reservations) = self.publish(container, undo.endpoint.as_ref())?;
        let mut used_volumes = Vec::new();
        let mounts = self.open_mounts(container, &root, &mut used_volumes)?;

        let group = self
            .inner()
            .groups
            .create(container.id().as_str(), &self.resources(container)?)?;
        let group = undo.group.insert(group);
        let (tasks, unified) = group.entry_fds()?;
        let (kill, oom) = (group.kill_fd()?, group.oom_fd()?);

        let version = self.inner().groups.layout().version();
        let parts = Parts {
            config: &spec.config,
            host: &spec.host,
            modes: &modes,
            short_id: container.id().short(),
            root,
            net,
            pid: match &modes.pid {
                PidMode::Container(name) => Some(namespace_of(self.neighbour(name)?, "pid")?),
                _ => None,
            },
            ipc: match &modes.ipc {
                IpcMode::Container(name) => Some(self.join_ipc(name)?),
                _ => None,
            },
            tasks,
            unified,
            cgroup_view: self.cgroup_view(container, &mut descriptors)?,
            host_ipc: host_ipc(&modes)?,
            cgroup_private: modes
                .cgroup_private
                .unwrap_or(version == 2 && !spec.host.privileged),
            mounts,
            files,
            filters: &self.inner().filters,
        };
        let planned = plan(parts, &mut descriptors)?;
        let mut launch = Launch::new(
            container.id().clone(),
            planned.plan.encode(),
            slot(&mut descriptors, journal),
            slot(&mut descriptors, listener),
        );
        launch.cgroups = vec![slot(&mut descriptors, kill)];
        launch.oom_events = oom.map(|file| slot(&mut descriptors, file));
        launch.health = planned.health.map(|(check, plan)| Health {
            plan,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        });
        self.describe(container, &mut launch, folder, &mut descriptors)?;
        for reservation in reservations {
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
                .push(client.attachment(slot, spec.config.tty)?);
        }

        let (connection, started) = self.hand_over(&launch, &descriptors)?;
        let (pid, start_ticks, time) = started;
        undo.armed = false;
        Ok(Launched {
            connection,
            pid,
            start_ticks,
            time: i64::try_from(time).unwrap_or(i64::MAX),
            endpoint: undo.endpoint.as_ref().map(endpoint_record).transpose()?,
            published,
            used_volumes,
        })
    }

    /// A fresh journal and the socket on which later daemons connect.
    fn make_shim_folder(&self, container: &Container) -> Result<(OwnedFd, OwnedFd)> {
        let path = self.paths().shim(container.id());
        crate::cleaner::remove_tree(&path)?;
        paths::make_folder(&path, 0o700)?;
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

    fn mount_root(
        &self,
        container: &Container,
        folder: std::os::fd::BorrowedFd<'_>,
    ) -> Result<OwnedFd> {
        let spec = &container.spec;
        self.inner().layers.prepare_upper(folder, &spec.layers)?;
        let options = snapshot::MountOptions {
            volatile: spec.host.auto_remove,
            read_only: false,
            init: true,
        };
        Ok(self
            .inner()
            .layers
            .mount(&spec.layers, Some(folder), &options)?)
    }

    /// The process of a neighbour that runs.
    fn neighbour(&self, name: &str) -> Result<u32> {
        let neighbour = self.registry().find(name)?;
        match neighbour.run().pid {
            0 => Err(EngineError::conflict(format!(
                "cannot join namespace of a non running container: {}",
                neighbour.id()
            ))),
            pid => Ok(pid),
        }
    }

    fn join_ipc(&self, name: &str) -> Result<(OwnedFd, OwnedFd)> {
        let neighbour = self.registry().find(name)?;
        if neighbour.spec.host.ipc_mode != "shareable" {
            return Err(EngineError::invalid(format!(
                "cannot join IPC of a container that is not shareable: {} has the IPC mode {}",
                neighbour.id(),
                neighbour.spec.host.ipc_mode
            )));
        }
        let pid = self.neighbour(name)?;
        Ok((
            namespace_of(pid, "ipc")?,
            crate::neighbour::shared_memory(pid)?,
        ))
    }

    fn open_network(
        &self,
        container: &Container,
        modes: &Modes,
        undo: &mut Undo<'_>,
    ) -> Result<Net> {
        match &modes.network {
            NetworkMode::Host => Ok(Net::Host),
            NetworkMode::None => Ok(Net::Join(network::loopback_only()?, true)),
            NetworkMode::Container(name) => Ok(Net::Join(
                namespace_of(self.neighbour(name)?, "net")?,
                false,
            )),
            NetworkMode::Bridge => {
                let network =
                    self.inner()
                        .network
                        .as_ref()
                        .ok_or_else(|| EngineError::NoSuchNetwork {
                            name: "bridge".to_owned(),
                        })?;
                let attached = network.attach(network.take_sandbox()?, container.id(), None)?;
                undo.endpoint = Some(attached.endpoint);
                Ok(Net::Join(attached.netns, true))
            }
        }
    }

    fn publish(
        &self,
        container: &Container,
        endpoint: Option<&Endpoint>,
    ) -> Result<(Vec<PublishedRecord>, Vec<OwnedFd>)> {
        let wanted = ports::wanted(&container.spec.config, &container.spec.host)?;
        let (Some(network), Some(endpoint)) = (&self.inner().network, endpoint) else {
            return Ok(Default::default());
        };
        if wanted.is_empty() {
            return Ok(Default::default());
        }
        let mappings: Vec<PortMapping> = wanted.iter().map(mapping).collect();
        let published =
            network
                .publish(endpoint, &mappings)
                .map_err(|error| EngineError::Ports {
                    sentence: error.at_endpoint(&container.name(), container.id()),
                })?;
        let records = published
            .iter()
            .map(|published| published_record(&published.binding))
            .collect();
        Ok((
            records,
            published
                .into_iter()
                .map(|published| published.reservation)
                .collect(),
        ))
    }

    /// Opens the sources of all mounts; a volume that was never used is filled from the image first.
    fn open_mounts<'a>(
        &self,
        container: &'a Container,
        root: &OwnedFd,
        used: &mut Vec<String>,
    ) -> Result<Vec<OpenMount<'a>>> {
        container.spec.mounts.iter().map(|spec| match &spec.source {
            Source::Tmpfs { .. } => Ok(OpenMount { spec, tree: None, folder: true }),
            Source::Bind { path, create, recursive } => {
                let path = Path::new(path);
                if !path.exists() {
                    if !create {
                        return Err(EngineError::invalid(format!(
                            "invalid mount config for type \"bind\": bind source path does not exist: {}",
                            path.display()
                        )));
                    }
                    std::fs::create_dir_all(path).map_err(|source| {
                        EngineError::invalid(format!("error while creating mount source path '{}': {}", path.display(), crate::outcome::words(&source)))
                    })?;
                }
                Ok(OpenMount { spec, tree: Some(clone_path(path, *recursive)?), folder: path.is_dir() })
            }
            Source::Volume { name, copy, subpath, .. } => {
                let fresh = self.inner().volumes.lock().get(name).is_some_and(|doc: &VolumeDoc| !doc.used);
                let store = &self.inner().volume_store;
                if fresh {
                    if *copy {
                        store.copy_up(root.as_fd(), Path::new(&spec.target), name)?;
                    }
                    used.push(name.clone());
                }
                let subpath = (!subpath.is_empty()).then(|| Path::new(subpath.as_str()));
                let tree = store.open_tree(name, subpath, &volume::BindOptions::default())?;
                let folder = rustix::fs::fstat(&tree).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir());
                Ok(OpenMount { spec, tree: Some(tree), folder })
            }
        }).collect()
    }

    /// Limits of the control group.
    fn resources(&self, container: &Container) -> Result<runtime::cgroup::Resources> {
        let host = &container.spec.host;
        let set = |value: i64| (value != 0).then_some(value);
        let (quota, period) = match host.nano_cpus {
            0 => (
                set(host.cpu_quota),
                set(host.cpu_period).map(i64::unsigned_abs),
            ),
            nano => {
                let (quota, period) = runtime::cgroup::quota_of_cpus(nano.unsigned_abs());
                (Some(quota), Some(period))
            }
        };
        let devices = if host.privileged {
            None
        } else {
            let mut rules = runtime::cgroup::default_device_rules();
            rules.extend(
                crate::compile::security::devices(host)?
                    .into_iter()
                    .map(|device| device.rule),
            );
            rules.extend(
                host.device_cgroup_rules
                    .iter()
                    .flatten()
                    .filter_map(|rule| runtime::cgroup::DeviceRule::parse(rule)),
            );
            Some(rules)
        };
        Ok(runtime::cgroup::Resources {
            memory: set(host.memory),
            memory_swap: set(host.memory_swap),
            memory_reservation: set(host.memory_reservation),
            cpu_shares: set(host.cpu_shares).map(i64::unsigned_abs),
            cpu_quota: quota,
            cpu_period: period.or_else(|| quota.map(|_| limits::CFS_PERIOD.unsigned_abs())),
            cpuset_cpus: (!host.cpuset_cpus.is_empty()).then(|| host.cpuset_cpus.clone()),
            cpuset_mems: (!host.cpuset_mems.is_empty()).then(|| host.cpuset_mems.clone()),
            pids_max: host.pids_limit,
            devices,
            ..Default::default()
        })
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
        let mut log_host = host.clone();
        let logging = policy::logging(
            &mut log_host,
            &self.config().log_driver,
            &self.config().log_opts,
        )?;
        if logging.kept {
            launch.log = LogConfig::JsonFile {
                folder: slot(descriptors, folder),
                name: paths::log_name(container.id()),
                max_size: if logging.max_size == u64::MAX {
                    0
                } else {
                    logging.max_size
                },
                max_files: logging.max_file,
                attrs: Vec::new(),
            };
        }
        launch.restart = restart_policy(host);
        if !config.stop_signal.is_empty() {
            launch.stop_signal =
                u8::try_from(policy::parse_signal(&config.stop_signal)?).unwrap_or(15);
        }
        launch.tty = config.tty;
        launch.open_stdin = config.open_stdin;
        launch.stdin_once = config.stdin_once;
        launch.detach_keys = keys::DEFAULT.to_vec();
        Ok(())
    }

    /// Sends the launch and waits for the process to reach its program. A shim that died in between is asked for once
    /// more: nothing ran.
    fn hand_over(
        &self,
        launch: &Launch,
        descriptors: &Descriptors,
    ) -> Result<(ShimConn, (u32, u64, u64))> {
        let mut again = true;
        loop {
            let connection = self
                .inner()
                .launcher
                .launch(launch, &descriptors.borrow())?;
            match first_answer(&connection) {
                Ok(started) => return Ok((connection, started)),
                Err(shim::ShimError::Closed) if again => again = false,
                Err(error) => return Err(start_failure(error)),
            }
        }
    }
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

/// What a container finds at /dev when it shares the host's IPC.
fn host_ipc(modes: &Modes) -> Result<Vec<(&'static str, OwnedFd)>> {
    if modes.ipc != IpcMode::Host {
        return Ok(Vec::new());
    }
    ["/dev/shm", "/dev/mqueue"]
        .into_iter()
        .filter(|path| Path::new(path).is_dir())
        .map(|path| Ok((path, clone_path(Path::new(path), true)?)))
        .collect()
}

/// Docker's chain of words around a fault of the runtime.
fn start_failure(error: shim::ShimError) -> EngineError {
    match error {
        shim::ShimError::Refused {
            refusal: Refusal::Fault { text, .. },
        } => EngineError::StartFailed {
            exit_code: exit_code_of(&text),
            sentence: format!(
                "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: {text}: unknown"
            ),
        },
        other => EngineError::from(other),
    }
}

/// The status that docker derives from the words of a failed start: 127 for what was not found, 126 for what may not
/// be executed, else 128.
pub(crate) fn exit_code_of(text: &str) -> i64 {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match () {
        () if has(&[
            texts::EXECUTABLE_NOT_FOUND,
            texts::NO_SUCH_FILE,
            "not a directory",
        ]) =>
        {
            127
        }
        () if has(&[texts::PERMISSION_DENIED, texts::IS_A_DIRECTORY]) => 126,
        () => 128,
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

fn mapping(wanted: &ports::Wanted) -> PortMapping {
    PortMapping {
        protocol: protocol(wanted.protocol),
        host_ip: IpAddr::V4(wanted.host_ip),
        host_port: match (wanted.host_port, wanted.host_port_last) {
            (0, _) => HostPort::Any,
            (first, last) if first == last => HostPort::Exactly(first),
            (first, last) => HostPort::FirstOf(first, last),
        },
        container_port: wanted.container_port,
    }
}

pub(crate) fn protocol(protocol: ports::Protocol) -> network::Protocol {
    match protocol {
        ports::Protocol::Tcp => network::Protocol::Tcp,
        ports::Protocol::Udp => network::Protocol::Udp,
    }
}

fn published_record(binding: &Binding) -> PublishedRecord {
    PublishedRecord {
        protocol: match binding.protocol {
            network::Protocol::Tcp => ports::Protocol::Tcp,
            network::Protocol::Udp => ports::Protocol::Udp,
        },
        container_port: binding.container_port,
        host_ip: match binding.host_ip {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        },
        host_port: binding.host_port,
    }
}

fn endpoint_record(endpoint: &Endpoint) -> Result<EndpointRecord> {
    Ok(EndpointRecord {
        id: types::ContainerId::random()
            .map_err(EngineError::io("draw an id"))?
            .into(),
        address: endpoint.address,
        prefix: endpoint.prefix,
        gateway: endpoint.gateway,
        mac: endpoint.mac.to_string(),
        link: endpoint.veth.clone(),
    })
}
