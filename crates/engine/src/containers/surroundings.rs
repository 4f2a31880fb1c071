//! What a container runs in besides its files: network, names, published ports, control group.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use api_types::HostConfig;
use network::{Binding, Endpoint, HostPort, PortMapping};
use runtime::cgroup::Group;

use super::launch::group_failure;
use super::record::{EndpointRecord, PublishedRecord};
use super::registry::Container;
use crate::compile::modes::{Modes, NetworkMode};
use crate::compile::plan::Net;
use crate::compile::{limits, ports};
use crate::engine::Engine;
use crate::outcome::{EngineError, Result};

/// The surroundings of a start. Dropped before [`Surroundings::keep`], all of it is unmade.
pub(super) struct Surroundings {
    engine: Engine,
    container: Arc<Container>,
    endpoint: Option<Endpoint>,
    group: Option<Group>,
    net: Option<Net>,
    files: Vec<(&'static str, OwnedFd)>,
    published: Vec<PublishedRecord>,
    reservations: Vec<OwnedFd>,
    tasks: Vec<OwnedFd>,
    unified: Option<OwnedFd>,
    kill: Option<OwnedFd>,
    oom: Option<OwnedFd>,
    kept: bool,
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        if self.kept {
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
    }
}

impl Surroundings {
    /// Makes them.
    pub(super) fn make(engine: &Engine, container: &Arc<Container>) -> Result<Surroundings> {
        let modes = Modes::parse(&container.spec.host)?;
        let mut made = Surroundings {
            engine: engine.clone(),
            container: Arc::clone(container),
            endpoint: None,
            group: None,
            net: None,
            files: Vec::new(),
            published: Vec::new(),
            reservations: Vec::new(),
            tasks: Vec::new(),
            unified: None,
            kill: None,
            oom: None,
            kept: false,
        };
        made.open_network(&modes)?;
        let address = made.endpoint.as_ref().map(|endpoint| endpoint.address);
        made.files = engine.etc_files(container, &modes, address)?;
        made.publish()?;
        let resources = engine.resources_of(container.run().host(&container.spec))?;
        let group = engine
            .inner()
            .groups
            .create(container.id().as_str(), &resources)
            .map_err(group_failure)?;
        let group = made.group.insert(group);
        (made.tasks, made.unified) = group.entry_fds()?;
        made.kill = Some(group.kill_fd()?);
        made.oom = group.oom_fd()?;
        Ok(made)
    }

    fn open_network(&mut self, modes: &Modes) -> Result<()> {
        let engine = self.engine.clone();
        self.net = Some(match &modes.network {
            NetworkMode::Host => Net::Host,
            NetworkMode::None => Net::Join(network::loopback_only()?, true),
            NetworkMode::Container(name) => {
                Net::Join(engine.network_neighbour(name)?.namespace("net")?, false)
            }
            NetworkMode::Unknown(name) => {
                return Err(networking(EngineError::NoSuchNetwork {
                    name: name.clone(),
                }));
            }
            // As in Docker, a daemon without a bridge gives whoever does not ask for another network a loopback alone.
            NetworkMode::Bridge => match engine.inner().network.as_ref() {
                None => Net::Join(network::loopback_only()?, true),
                Some(network) => {
                    let attached =
                        network.attach(network.take_sandbox()?, self.container.id(), None)?;
                    self.endpoint = Some(attached.endpoint);
                    Net::Join(attached.netns, true)
                }
            },
        });
        Ok(())
    }

    fn publish(&mut self) -> Result<()> {
        let spec = &self.container.spec;
        let wanted = ports::wanted(&spec.config, &spec.host)?;
        let (Some(network), Some(endpoint)) = (&self.engine.inner().network, &self.endpoint) else {
            return Ok(());
        };
        if wanted.is_empty() {
            return Ok(());
        }
        let mappings: Vec<PortMapping> = wanted.iter().map(mapping).collect();
        let published = network.publish(endpoint, &mappings).map_err(|error| {
            networking(EngineError::Ports {
                sentence: error.at_endpoint(&self.container.name(), self.container.id()),
            })
        })?;
        for port in published {
            self.published.push(published_record(&port.binding));
            self.reservations.push(port.reservation);
        }
        Ok(())
    }

    /// The network namespace, once.
    pub(super) fn take_net(&mut self) -> Net {
        self.net.take().unwrap_or(Net::Host)
    }

    /// Files of /etc, once.
    pub(super) fn take_files(&mut self) -> Vec<(&'static str, OwnedFd)> {
        std::mem::take(&mut self.files)
    }

    /// Sockets that keep published ports from others, once.
    pub(super) fn take_reservations(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.reservations)
    }

    /// `tasks` files of the group, once.
    pub(super) fn take_tasks(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.tasks)
    }

    /// Folders of version 1 groups that the container is in together with others.
    pub(super) fn shared_groups(&self) -> Vec<PathBuf> {
        self.group.as_ref().map(Group::shared).unwrap_or_default()
    }

    /// The group's folder in the unified tree, once.
    pub(super) fn take_unified(&mut self) -> Option<OwnedFd> {
        self.unified.take()
    }

    /// The folder from which the group is killed, once.
    pub(super) fn take_kill(&mut self) -> Option<OwnedFd> {
        self.kill.take()
    }

    /// The file that counts kills for want of memory, once.
    pub(super) fn take_oom(&mut self) -> Option<OwnedFd> {
        self.oom.take()
    }

    /// The start succeeded: nothing is unmade.
    pub(super) fn keep(mut self) -> (Option<Endpoint>, Vec<PublishedRecord>) {
        self.kept = true;
        (self.endpoint.take(), std::mem::take(&mut self.published))
    }
}

impl Engine {
    /// Limits of the control group.
    pub(super) fn resources_of(&self, host: &HostConfig) -> Result<runtime::cgroup::Resources> {
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
                crate::compile::devices::devices(host)?
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
            memory_swappiness: host.memory_swappiness.map(i64::unsigned_abs),
            oom_kill_disable: host.oom_kill_disable.filter(|disable| *disable),
            cpu_shares: set(host.cpu_shares).map(i64::unsigned_abs),
            cpu_quota: quota,
            cpu_period: period.or_else(|| quota.map(|_| limits::CFS_PERIOD.unsigned_abs())),
            cpuset_cpus: (!host.cpuset_cpus.is_empty()).then(|| host.cpuset_cpus.clone()),
            cpuset_mems: (!host.cpuset_mems.is_empty()).then(|| host.cpuset_mems.clone()),
            pids_max: host.pids_limit,
            block_io: crate::compile::block_io::compile(host)?,
            devices,
            ..Default::default()
        })
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

pub(super) fn endpoint_record(endpoint: &Endpoint) -> Result<EndpointRecord> {
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

/// A fault of a container's network, in docker's words.
fn networking(source: EngineError) -> EngineError {
    EngineError::Networking {
        doing: "failed to set up container networking",
        source: Box::new(source),
    }
}
