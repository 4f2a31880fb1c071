//! What the daemon's flags and daemon.json decide about an engine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use api_types::{AddressPool, HostConfig, Ulimit};
use image::registry::Proxies;
use network::{Pool, Pools, Subnet};

use crate::compile::{logging, modes::Modes, security};
use crate::outcome::{EngineError, Result};

/// The names of the one runtime that there is, the engine's own: tools ask for runc.
pub const RUNTIMES: [&str; 3] = ["runc", "io.containerd.runc.v2", "wharf"];

/// Bounds of transfers from and to registries; 0 leaves one to the registry's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transfers {
    /// Layers of one pull that are fetched at a time.
    pub downloads: usize,
    /// Layers of one push that are sent at a time.
    pub uploads: usize,
    /// How often a layer is tried that gets no further.
    pub attempts: u32,
}

/// What containers have that say nothing else. Each is written into the container when it is made, but for the resolver's
/// settings and the host's address, which are looked up at each start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContainerDefaults {
    /// `host` or `private`; empty leaves it to the engine.
    pub cgroupns_mode: String,
    /// `shareable` or `private`; empty leaves it to the engine.
    pub ipc_mode: String,
    /// Bytes of /dev/shm; 0 leaves it to the engine.
    pub shm_size: i64,
    /// Limits, each for those that do not name this one.
    pub ulimits: Vec<Ulimit>,
    /// Whether an init reaps and passes signals on.
    pub init: bool,
    /// Whether programs gain no privileges by what they execute.
    pub no_new_privileges: bool,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Domains that names are searched in.
    pub dns_search: Vec<String>,
    /// What `host-gateway` stands for; the bridge's address when `None`.
    pub host_gateway: Option<IpAddr>,
}

impl ContainerDefaults {
    /// Whether a container could have them.
    ///
    /// # Errors
    /// The sentence that such a container would get.
    pub fn check(&self) -> Result<()> {
        let mut host = HostConfig::default();
        self.apply(&mut host);
        Modes::parse(&host)?;
        security::rlimits(&host).map(drop)
    }

    /// Writes them where a request says nothing.
    pub(crate) fn apply(&self, host: &mut HostConfig) {
        for (asked, default) in [
            (&mut host.cgroupns_mode, &self.cgroupns_mode),
            (&mut host.ipc_mode, &self.ipc_mode),
        ] {
            if asked.is_empty() {
                asked.clone_from(default);
            }
        }
        if host.shm_size == 0 {
            host.shm_size = self.shm_size;
        }
        for ulimit in &self.ulimits {
            let asked = host.ulimits.get_or_insert_default();
            if !asked.iter().any(|other| other.name == ulimit.name) {
                asked.push(ulimit.clone());
            }
        }
        if self.init {
            host.init.get_or_insert(true);
        }
        let options = host.security_opt.get_or_insert_default();
        let says = |option: &String| option.starts_with("no-new-privileges");
        if self.no_new_privileges && !options.iter().any(says) {
            options.push("no-new-privileges".to_owned());
        }
        if options.is_empty() {
            host.security_opt = None;
        }
    }
}

/// Settings of one engine; they do not change while it is open.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Images, layers, volumes, containers and the store live below `data_root/v1`.
    pub data_root: PathBuf,
    /// Sockets, journals and the lock live below `exec_root/v1`; void after a reboot.
    pub exec_root: PathBuf,
    /// Name of an existing bridge to use, `none` for no bridge network at all; chosen by the engine when `None`.
    pub bridge: Option<String>,
    /// Address and prefix of the bridge (`172.17.0.1/16`); chosen from the host's routes when `None`.
    pub bip: Option<String>,
    /// The longest packet on the bridge, in bytes; the kernel's choice when `None`.
    pub mtu: Option<u32>,
    /// Registries (host or host:port) that may be spoken to without TLS, besides the loopback ones.
    pub insecure_registries: Vec<String>,
    /// Mirrors of registries by name (`docker.io`), tried in order before these.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Who stands between the engine and registries.
    pub proxies: Proxies,
    /// Whether ports are published at IPv6 addresses too, which a process of the engine reads.
    pub userland_proxy: bool,
    /// The runtime of containers that name none, one of [`RUNTIMES`].
    pub default_runtime: String,
    /// Whether containers go on when the engine closes gracefully.
    pub live_restore: bool,
    /// Cgroup below which containers' groups are made that name none themselves; the engine's own when `None`.
    pub cgroup_parent: Option<String>,
    /// Log driver of containers that name none: `json-file`, `local`, `syslog`, `journald` or `none`.
    pub log_driver: String,
    /// Options of that driver, where a container says nothing else.
    pub log_opts: BTreeMap<String, String>,
    /// The daemon's own labels, shown by `info`.
    pub labels: Vec<String>,
    /// Whether `info` says that the daemon runs in debug mode.
    pub debug: bool,
    /// The soft limit of open files with which containers begin; that of this process when `None`.
    pub open_files: Option<u64>,
    /// What containers have that say nothing else.
    pub containers: ContainerDefaults,
    /// Where networks take their subnets from that name none.
    pub address_pools: Vec<AddressPool>,
    /// The host's address for published ports of the bridge network that name none.
    pub host_ip: Ipv4Addr,
    /// Layers of one pull that are fetched at a time, of one push that are sent at a time, and how often a layer is tried
    /// without getting further; 0 leaves it to the registry's client.
    pub transfers: Transfers,
    /// What the program was built from, for `version`.
    pub build: types::Build,
    /// How many network sandboxes are kept ready; 0 makes each on demand.
    pub sandbox_stock: usize,
}

impl EngineConfig {
    /// Whether an engine could run with this, as far as that can be told without one.
    ///
    /// # Errors
    /// A sentence for the first setting that is wrong.
    pub fn check(&self) -> Result<()> {
        logging::read_logging(&self.log_driver, &self.log_opts)
            .map_err(|error| EngineError::invalid(format!("failed to set log opts: {error}")))?;
        self.pools()?;
        self.containers.check()
    }

    /// The address pools as the network has them.
    pub(crate) fn pools(&self) -> Result<Pools> {
        let read = |pool: &AddressPool| {
            let (address, prefix) = pool.base.split_once('/')?;
            let block = Subnet::containing(address.parse().ok()?, prefix.parse().ok()?)?;
            Pool::new(block, u8::try_from(pool.size).ok()?)
        };
        let pools = self.address_pools.iter().map(|pool| {
            read(pool).ok_or_else(|| {
                EngineError::invalid(format!(
                    "invalid default address pool {} with networks of {} bits: a block of IPv4 addresses is expected that has room for one",
                    pool.base, pool.size
                ))
            })
        });
        Ok(Pools::new(pools.collect::<Result<_>>()?))
    }

    /// The defaults of the daemon for two roots.
    pub fn new(data_root: impl Into<PathBuf>, exec_root: impl Into<PathBuf>) -> EngineConfig {
        EngineConfig {
            data_root: data_root.into(),
            exec_root: exec_root.into(),
            bridge: None,
            bip: None,
            mtu: None,
            insecure_registries: Vec::new(),
            mirrors: BTreeMap::new(),
            proxies: Proxies::default(),
            userland_proxy: true,
            default_runtime: "runc".to_owned(),
            live_restore: true,
            cgroup_parent: None,
            log_driver: "json-file".to_owned(),
            log_opts: Default::default(),
            labels: Vec::new(),
            debug: false,
            open_files: None,
            containers: ContainerDefaults::default(),
            address_pools: Vec::new(),
            host_ip: Ipv4Addr::UNSPECIFIED,
            transfers: Transfers::default(),
            build: types::Build::default(),
            sandbox_stock: 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> ContainerDefaults {
        ContainerDefaults {
            ipc_mode: "shareable".to_owned(),
            shm_size: 1 << 20,
            ulimits: vec![
                Ulimit::parse("nofile=10").unwrap(),
                Ulimit::parse("core=0").unwrap(),
            ],
            init: true,
            no_new_privileges: true,
            ..ContainerDefaults::default()
        }
    }

    #[test]
    fn what_a_container_says_goes_before_the_daemon_s_word() {
        let mut silent = HostConfig::default();
        defaults().apply(&mut silent);
        assert_eq!(
            (silent.ipc_mode.as_str(), silent.shm_size),
            ("shareable", 1 << 20)
        );
        assert_eq!(silent.init, Some(true));
        assert_eq!(silent.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(silent.ulimits.unwrap(), defaults().ulimits);
        let mut loud = HostConfig {
            ipc_mode: "host".to_owned(),
            shm_size: 5,
            ulimits: Some(vec![Ulimit::parse("nofile=20").unwrap()]),
            init: Some(false),
            security_opt: Some(vec!["no-new-privileges=false".to_owned()]),
            ..HostConfig::default()
        };
        defaults().apply(&mut loud);
        assert_eq!((loud.ipc_mode.as_str(), loud.shm_size), ("host", 5));
        assert_eq!(loud.init, Some(false));
        assert_eq!(loud.security_opt.unwrap(), ["no-new-privileges=false"]);
        let limits = loud.ulimits.unwrap();
        assert_eq!(
            limits.iter().map(|one| one.soft).collect::<Vec<_>>(),
            [20, 0]
        );
        let mut untouched = HostConfig::default();
        ContainerDefaults::default().apply(&mut untouched);
        assert_eq!(untouched, HostConfig::default());
    }

    #[test]
    fn what_no_container_could_have_is_refused() {
        defaults().check().unwrap();
        let wrong = ContainerDefaults {
            ipc_mode: "sideways".to_owned(),
            ..defaults()
        };
        assert!(wrong.check().is_err());
    }
}
