//! What a container runs in besides its files: network, names, published ports, control group.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use api_types::HostConfig;
use network::Endpoint;
use runtime::cgroup::Group;

use super::launch::group_failure;
use super::record::{EndpointRecord, Ipv6Record, JoinedRecord, PublishedRecord};
use super::registry::Container;
use crate::compile::limits;
use crate::compile::modes::{Modes, NetworkMode};
use crate::compile::plan::Net;
use crate::engine::Engine;
use crate::networks::names::Named;
use crate::networks::places::{self, Place, Taken, Wanted};
use crate::outcome::{EngineError, Result};

/// The surroundings of a start. Dropped before [`Surroundings::keep`], all of it is unmade.
pub(super) struct Surroundings {
    engine: Engine,
    container: Arc<Container>,
    /// Its place on the engine's own bridge.
    endpoint: Option<Endpoint>,
    /// Its places on user networks.
    taken: Vec<Taken>,
    group: Option<Group>,
    net: Option<Net>,
    files: Vec<(&'static str, OwnedFd)>,
    /// Name of the network that leads out, where there are several.
    way: Option<String>,
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
        self.engine.leave_places(&self.container, &self.taken);
        if self.published.iter().any(|port| port.host_ip.is_ipv6()) {
            self.engine.close_doors(self.container.id());
        }
        if let Some(network) = &self.engine.inner().network
            && let Err(error) = network.unpublish(self.container.id())
        {
            tracing::warn!(%error, "a failed start could not give its ports back");
        }
        if let (Some(network), Some(endpoint)) = (&self.engine.inner().network, &self.endpoint) {
            network.release(endpoint);
        }
        if self.group.is_some()
            && let Err(error) = self.engine.remove_group(self.container.id().as_str())
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
            taken: Vec::new(),
            group: None,
            net: None,
            files: Vec::new(),
            way: None,
            published: Vec::new(),
            reservations: Vec::new(),
            tasks: Vec::new(),
            unified: None,
            kill: None,
            oom: None,
            kept: false,
        };
        made.open_network(&modes)?;
        let addresses: Vec<IpAddr> = made.endpoints().flat_map(Endpoint::addresses).collect();
        made.files = engine.etc_files(container, &modes, &addresses, !made.taken.is_empty())?;
        made.publish()?;
        let resources = engine.resources_of(container.run().host(&container.spec))?;
        let group = engine
            .create_group(container, &resources)?
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
            _ if self.container.spec.config.network_disabled => {
                Net::Join(network::loopback_only()?, true)
            }
            NetworkMode::Host => Net::Host,
            NetworkMode::Container(name) => {
                Net::Join(engine.network_neighbour(name)?.namespace("net")?, false)
            }
            NetworkMode::None | NetworkMode::Bridge | NetworkMode::User(_) => {
                Net::Join(self.join_networks(modes)?, true)
            }
        });
        Ok(())
    }

    /// A namespace with a link to each network that the container is to be on.
    fn join_networks(&mut self, modes: &Modes) -> Result<OwnedFd> {
        let container = Arc::clone(&self.container);
        let run = container.run();
        let alone = run.changed_networks.is_none() && container.spec.is_on_one_network();
        let inner = self.engine.inner();
        match (&modes.network, &inner.network) {
            (NetworkMode::None, _) if alone => Ok(network::loopback_only()?),
            // As in Docker, a daemon without a bridge gives whoever does not ask for another network a loopback alone.
            (NetworkMode::Bridge, None) if alone => Ok(network::loopback_only()?),
            (NetworkMode::Bridge, Some(network)) if alone => {
                let attached = network.attach(network.take_sandbox()?, container.id(), None)?;
                let endpoint = self.endpoint.insert(attached.endpoint);
                let asked = container.spec.networking.endpoints_config.as_ref();
                let asked = asked.and_then(|all| all.get("bridge").or_else(|| all.get("default")));
                if let Some(asked) = asked {
                    places::adorn(network, attached.netns.as_fd(), "eth0", asked, endpoint)?;
                }
                Ok(attached.netns)
            }
            _ => {
                let mut wanted = places::wanted(&container.spec, &run);
                if wanted.len() == 1 {
                    wanted.remove("none");
                }
                self.take_places(&wanted).map_err(networking)
            }
        }
    }

    fn take_places(&mut self, wanted: &Wanted) -> Result<OwnedFd> {
        let engine = self.engine.clone();
        let container = Arc::clone(&self.container);
        let main = &container.spec.host.network_mode;
        let places = engine.places_of(wanted, main)?;
        let Some(network) = engine
            .inner()
            .network
            .as_ref()
            .filter(|_| !places.is_empty())
        else {
            return Ok(network::loopback_only()?);
        };
        let name = |place: &Place| place.name.clone();
        let way = places::way_out(places.iter()).map(name);
        let way6 = places::way_out6(places.iter()).map(name);
        let mut netns = None;
        for (number, place) in places.into_iter().enumerate() {
            let is_way = way.as_ref() == Some(&place.name);
            let is_way6 = way6.as_ref() == Some(&place.name);
            let interface = format!("eth{number}");
            let (link, gateway, ipv6) = match (&place.doc, &netns) {
                // Always the first.
                (None, _) => {
                    let attached = network.attach(network.take_sandbox()?, container.id(), None)?;
                    let endpoint = self.endpoint.insert(attached.endpoint);
                    netns = Some(attached.netns);
                    (interface, endpoint.gateway, endpoint.ipv6)
                }
                (Some(_), held) => {
                    let own = match held {
                        None => Some(network::loopback_only()?),
                        Some(_) => None,
                    };
                    let inside = own.as_ref().or(held.as_ref()).ok_or(EngineError::Closing)?;
                    let taken = engine.take_place(&container, inside, place, interface)?;
                    let endpoint = &taken.endpoint;
                    let found = (taken.interface.clone(), endpoint.gateway, endpoint.ipv6);
                    self.taken.push(taken);
                    netns = own.or(netns);
                    found
                }
            };
            if let (true, Some(netns)) = (is_way, &netns) {
                network.set_gateway(netns.as_fd(), Some((&link, gateway)))?;
            }
            if let (true, Some(netns), Some(ipv6)) = (is_way6, &netns, ipv6) {
                network.set_ipv6_gateway(netns.as_fd(), (&link, ipv6.gateway))?;
            }
        }
        self.way = way;
        let netns = netns.ok_or(EngineError::Closing)?;
        let named: Vec<Named> = self.taken.iter().filter_map(Named::of).collect();
        if !named.is_empty() {
            let home = self.endpoint.is_some();
            engine.tell_names(&container, &named, home, Some(netns.as_fd()), true)?;
        }
        Ok(netns)
    }

    /// Every place on a network.
    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoint
            .iter()
            .chain(self.taken.iter().map(|taken| &taken.endpoint))
    }

    /// The place by which the container is reached from outside, and the host's address for ports that name none.
    fn way_out(&self) -> Option<(&Endpoint, Ipv4Addr)> {
        let of_bridge = self.engine.config().host_ip;
        match &self.way {
            None if self.taken.is_empty() => Some((self.endpoint.as_ref()?, of_bridge)),
            None => None,
            Some(name) => {
                let taken = self.taken.iter().find(|taken| taken.place.name == *name);
                match taken {
                    Some(taken) => {
                        let doc = taken.place.doc.as_ref();
                        let host_ip = doc.map_or(of_bridge, |doc| doc.host_ip);
                        Some((&taken.endpoint, host_ip))
                    }
                    None => Some((self.endpoint.as_ref()?, of_bridge)),
                }
            }
        }
    }

    fn publish(&mut self) -> Result<()> {
        let engine = self.engine.clone();
        let Some((endpoint, host_ip)) = self.way_out() else {
            return Ok(());
        };
        (self.published, self.reservations) =
            engine.publish_ports(&self.container, endpoint, host_ip)?;
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
    ///
    /// # Errors
    /// What hinders the drawing of an id; then everything is unmade.
    pub(super) fn keep(mut self) -> Result<Kept> {
        let kept = Kept {
            endpoint: self.endpoint.as_ref().map(endpoint_record).transpose()?,
            joined: self
                .taken
                .iter()
                .map(Taken::record)
                .collect::<Result<_>>()?,
            published: std::mem::take(&mut self.published),
        };
        self.kept = true;
        Ok(kept)
    }
}

/// What a container has of the network once it runs.
pub(super) struct Kept {
    pub(super) endpoint: Option<EndpointRecord>,
    pub(super) joined: Vec<JoinedRecord>,
    pub(super) published: Vec<PublishedRecord>,
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
            cpu_rt_runtime: set(host.cpu_realtime_runtime),
            cpu_rt_period: set(host.cpu_realtime_period).map(i64::unsigned_abs),
            cpuset_cpus: (!host.cpuset_cpus.is_empty()).then(|| host.cpuset_cpus.clone()),
            cpuset_mems: (!host.cpuset_mems.is_empty()).then(|| host.cpuset_mems.clone()),
            pids_max: host.pids_limit,
            block_io: crate::compile::block_io::compile(host)?,
            devices,
            ..Default::default()
        })
    }
}

pub(crate) fn endpoint_record(endpoint: &Endpoint) -> Result<EndpointRecord> {
    Ok(EndpointRecord {
        id: types::ContainerId::random()
            .map_err(EngineError::io("draw an id"))?
            .into(),
        address: endpoint.address,
        prefix: endpoint.prefix,
        gateway: endpoint.gateway,
        mac: endpoint.mac.to_string(),
        link: endpoint.veth.clone(),
        ipv6: endpoint.ipv6.map(|place| Ipv6Record {
            address: place.address,
            prefix: place.prefix,
            gateway: place.gateway,
        }),
    })
}

/// A fault of a container's network, in docker's words.
pub(super) fn networking(source: EngineError) -> EngineError {
    EngineError::Networking {
        doing: "failed to set up container networking",
        source: Box::new(source),
    }
}
