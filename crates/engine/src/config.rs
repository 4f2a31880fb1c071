//! What the daemon's flags and daemon.json decide about an engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::registry::Proxies;

/// The names of the one runtime that there is, the engine's own: tools ask for runc.
pub const RUNTIMES: [&str; 3] = ["runc", "io.containerd.runc.v2", "wharf"];

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
    /// What the program was built from, for `version`.
    pub build: types::Build,
    /// How many network sandboxes are kept ready; 0 makes each on demand.
    pub sandbox_stock: usize,
}

impl EngineConfig {
    /// The defaults of the daemon for two roots.
    pub fn new(data_root: impl Into<PathBuf>, exec_root: impl Into<PathBuf>) -> EngineConfig {
        EngineConfig {
            data_root: data_root.into(),
            exec_root: exec_root.into(),
            bridge: None,
            bip: None,
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
            build: types::Build::default(),
            sandbox_stock: 2,
        }
    }
}
