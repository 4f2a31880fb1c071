//! The daemon's configuration: flags over `daemon.json` over defaults.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use engine::{AddressPool, ContainerDefaults, Proxies, Transfers};
use thiserror::Error;

use crate::file::{self, File};
use crate::flags::Invocation;
use crate::given::Given;
use crate::{containers, registries};

/// Where `daemon.json` is looked for when nothing else is said; it need not exist there.
const DEFAULT_FILE: &str = "/etc/wharf/daemon.json";
const DATA_ROOT: &str = "/var/lib/wharf";
const EXEC_ROOT: &str = "/run/wharf";
const PIDFILE: &str = "/run/wharf.pid";

/// Why the configuration can not be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file was named, or exists, and can not be read.
    #[error("unable to configure the daemon with file {path:?}: {source}")]
    Read {
        /// The configuration file.
        path: PathBuf,
        /// What reading it gave.
        source: io::Error,
    },
    /// Not JSON, or of a wrong type.
    #[error("unable to configure the daemon with file {path:?}: {source}")]
    Parse {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong, with its line.
        source: serde_json::Error,
    },
    /// The same setting in both places, as dockerd refuses it.
    #[error(
        "unable to configure the daemon with file {path:?}: the following directives are specified \
         both as a flag and in the configuration file: {names}"
    )]
    Twice {
        /// The configuration file.
        path: PathBuf,
        /// The settings, with comma and space between them.
        names: String,
    },
    /// `--log-level loud`.
    #[error("invalid log level {level:?}: it is one of debug, info, warn, error, fatal")]
    LogLevel {
        /// What was asked for.
        level: String,
    },
    /// `--insecure-registry 'a b'`.
    #[error("{sentence}")]
    Registry {
        /// Docker's sentence.
        sentence: String,
    },
    /// `--default-runtime kata`.
    #[error(
        "specified default runtime '{name}' does not exist: containers run by wharf's own, which is called wharf, runc or io.containerd.runc.v2"
    )]
    Runtime {
        /// What was asked for.
        name: String,
    },
    /// What containers could not have, and what is no number or address.
    #[error("{sentence}")]
    Value {
        /// Docker's sentence, or one that names the setting.
        sentence: String,
    },
    /// `--bip 10.0.0.0`.
    #[error(
        "invalid value {value:?} for --bip: an IPv4 address and a prefix length are expected, as in 172.30.0.1/16"
    )]
    Bip {
        /// What was asked for.
        value: String,
    },
    /// A bridge of somebody else's, or none, and an address for one of ours.
    #[error("--bridge and --bip exclude each other: an address is for the bridge that wharf makes")]
    BridgeAndBip,
    /// A key that is not supported.
    #[error("unable to configure the daemon with file {path:?}: {sentence}")]
    Key {
        /// The configuration file.
        path: PathBuf,
        /// Whose key it is, if anybody's.
        sentence: String,
    },
    /// A folder that is not absolute.
    #[error("--{name} must be an absolute path, not {path:?}")]
    Relative {
        /// The flag.
        name: &'static str,
        /// What was given.
        path: PathBuf,
    },
}

/// What the daemon runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Sockets that were asked for; empty means the default ones.
    pub hosts: Vec<String>,
    /// Name or number of the group whose members may use unix sockets; empty for none, and `docker`, where there is one, if
    /// nothing was said.
    pub group: Option<String>,
    /// The longest packet on the default bridge, in bytes.
    pub mtu: Option<u32>,
    /// Folder of what persists.
    pub data_root: PathBuf,
    /// Folder of run-time state.
    pub exec_root: PathBuf,
    /// File that holds the daemon's pid.
    pub pidfile: PathBuf,
    /// One of tracing's levels.
    pub log_level: String,
    /// A bridge that exists, `none`, or nothing: an own one.
    pub bridge: Option<String>,
    /// Address and prefix length of the own bridge.
    pub bip: Option<(std::net::Ipv4Addr, u8)>,
    /// Control group below which containers' groups are made that name none; nothing: the engine's own.
    pub cgroup_parent: Option<String>,
    /// The runtime of containers that name none.
    pub default_runtime: String,
    /// Whether ports are published at IPv6 addresses too.
    pub userland_proxy: bool,
    /// Log driver of containers that name none.
    pub log_driver: String,
    /// Options of that driver.
    pub log_opts: BTreeMap<String, String>,
    /// Registries that are spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// Addresses that are asked before a registry, by its name.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Who stands between the daemon and registries.
    pub proxies: Proxies,
    /// What containers have that say nothing else.
    pub containers: ContainerDefaults,
    /// Where networks take their subnets from that name none.
    pub address_pools: Vec<AddressPool>,
    /// The host's address for published ports of the bridge network that name none.
    pub host_ip: Ipv4Addr,
    /// Bounds of pulls and pushes.
    pub transfers: Transfers,
    /// Whether containers go on when the daemon is stopped.
    pub live_restore: bool,
    /// The daemon's own labels.
    pub labels: Vec<String>,
}

impl Config {
    /// Joins what was typed with the configuration file and the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] says which setting, or which file, can not be used.
    pub fn load(typed: &Invocation) -> Result<Self, ConfigError> {
        let path = PathBuf::from(typed.value("config-file").unwrap_or(DEFAULT_FILE));
        let file = &mut file::read(&path, typed)?;
        let given = Given(typed);
        let (bridge, bip) = bridge(given, file)?;
        let exec_root = given.folder("exec-root", file.exec_root.take(), EXEC_ROOT.into())?;
        let pidfile = pidfile(&exec_root);
        Ok(Config {
            hosts: given.list("host", file.hosts.take()),
            group: given
                .0
                .value("group")
                .map(str::to_owned)
                .or(file.group.take()),
            mtu: mtu(given, file)?,
            data_root: given.folder("data-root", file.data_root.take(), DATA_ROOT.into())?,
            pidfile: given.folder("pidfile", file.pidfile.take(), pidfile)?,
            exec_root,
            log_level: log_level(given, file)?,
            bridge,
            bip,
            cgroup_parent: given
                .text("cgroup-parent", file.cgroup_parent.take())
                .filter(|path| !path.trim_matches('/').is_empty()),
            default_runtime: runtime(given.text("default-runtime", file.default_runtime.take()))?,
            userland_proxy: given.switch("userland-proxy", file.userland_proxy, true),
            log_driver: given
                .text("log-driver", file.log_driver.take())
                .unwrap_or_else(|| "json-file".to_owned()),
            log_opts: file
                .log_opts
                .take()
                .unwrap_or_else(|| options(&typed.list("log-opt"))),
            insecure_registries: insecure(given, file)?,
            mirrors: mirrors(
                given.list("registry-mirror", file.registry_mirrors.take()),
                file.mirrors.take().unwrap_or_default(),
            )?,
            proxies: proxies(given, file),
            containers: containers::defaults(given, file)?,
            address_pools: containers::address_pools(given, file)?,
            host_ip: host_ip(given, file)?,
            transfers: transfers(given, file)?,
            live_restore: given.switch("live-restore", file.live_restore, true),
            labels: given.list("label", file.labels.take()),
        })
    }
}

/// A bridge that exists, or an address for the own one.
#[allow(
    clippy::type_complexity,
    reason = "two settings that exclude each other"
)]
fn bridge(
    given: Given<'_>,
    file: &mut File,
) -> Result<(Option<String>, Option<(Ipv4Addr, u8)>), ConfigError> {
    let bridge = given.text("bridge", file.bridge.take());
    let bip = given.text("bip", file.bip.take());
    let bip = bip.map(|value| read_bip(&value)).transpose()?;
    match bridge.is_some() && bip.is_some() {
        true => Err(ConfigError::BridgeAndBip),
        false => Ok((bridge, bip)),
    }
}

/// Daemons with roots of their own run side by side without being told one more path.
fn pidfile(exec_root: &Path) -> PathBuf {
    match exec_root == Path::new(EXEC_ROOT) {
        true => PathBuf::from(PIDFILE),
        false => exec_root.join("wharf.pid"),
    }
}

fn insecure(given: Given<'_>, file: &mut File) -> Result<Vec<String>, ConfigError> {
    given
        .list("insecure-registry", file.insecure_registries.take())
        .iter()
        .map(|entry| registries::insecure(entry))
        .collect::<Result<_, _>>()
        .map_err(|sentence| ConfigError::Registry { sentence })
}

fn proxies(given: Given<'_>, file: &mut File) -> Proxies {
    let in_file = file.proxies.take().unwrap_or_default();
    let proxy = |flag, in_file, variable| {
        let said = given.text(flag, in_file);
        said.unwrap_or_else(|| environment(variable))
    };
    Proxies {
        http: proxy("http-proxy", in_file.http_proxy, "HTTP_PROXY"),
        https: proxy("https-proxy", in_file.https_proxy, "HTTPS_PROXY"),
        none: proxy("no-proxy", in_file.no_proxy, "NO_PROXY"),
    }
}

fn host_ip(given: Given<'_>, file: &mut File) -> Result<Ipv4Addr, ConfigError> {
    let Some(text) = given.text("ip", file.ip.take()) else {
        return Ok(Ipv4Addr::UNSPECIFIED);
    };
    text.parse().map_err(|_| ConfigError::Value {
        sentence: format!("invalid value {text:?} for --ip: no IPv4 address"),
    })
}

fn mtu(given: Given<'_>, file: &File) -> Result<Option<u32>, ConfigError> {
    match given.number("mtu", file.mtu)? {
        0 => Ok(None),
        // What the kernel takes for a veth (`ETH_MIN_MTU`, `ETH_MAX_MTU`).
        mtu if (68..=65535).contains(&mtu) => Ok(Some(mtu)),
        mtu => Err(ConfigError::Value {
            sentence: format!("invalid value {mtu} for --mtu: not between 68 and 65535"),
        }),
    }
}

fn transfers(given: Given<'_>, file: &File) -> Result<Transfers, ConfigError> {
    let number = |flag, in_file| given.number(flag, in_file);
    Ok(Transfers {
        downloads: number("max-concurrent-downloads", file.max_concurrent_downloads)? as usize,
        uploads: number("max-concurrent-uploads", file.max_concurrent_uploads)? as usize,
        attempts: number("max-download-attempts", file.max_download_attempts)?,
    })
}

fn runtime(asked: Option<String>) -> Result<String, ConfigError> {
    match asked {
        None => Ok("runc".to_owned()),
        Some(name) if engine::RUNTIMES.contains(&name.as_str()) => Ok(name),
        Some(name) => Err(ConfigError::Runtime { name }),
    }
}

/// `NAME=VALUE`; a name alone has an empty value, as dockerd has it.
fn options(typed: &[String]) -> BTreeMap<String, String> {
    let pair = |option: &String| match option.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (option.clone(), String::new()),
    };
    typed.iter().map(pair).collect()
}

/// Those of docker.io, then those of any registry, the same one included.
fn mirrors(
    of_default: Vec<String>,
    of_any: BTreeMap<String, Vec<String>>,
) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
    let wrong = |sentence| ConfigError::Registry { sentence };
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let default = ("docker.io".to_owned(), of_default);
    for (name, addresses) in std::iter::once(default).chain(of_any) {
        let name = registries::with_mirrors(&name).map_err(wrong)?;
        for address in addresses {
            let address = registries::mirror(&address).map_err(wrong)?;
            all.entry(name.clone()).or_default().push(address);
        }
    }
    Ok(all)
}

/// A variable by this name or, as curl has it, in small letters; empty for none.
fn environment(name: &str) -> String {
    [name.to_owned(), name.to_ascii_lowercase()]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .unwrap_or_default()
}

/// dockerd's words for the levels, as tracing names them.
fn log_level(given: Given<'_>, file: &mut File) -> Result<String, ConfigError> {
    let level = given.text("log-level", file.log_level.take());
    if given.switch("debug", file.debug, false) {
        return Ok("debug".to_owned());
    }
    let level = level.unwrap_or_else(|| "info".to_owned());
    match level.as_str() {
        "trace" | "debug" | "info" | "warn" | "error" => Ok(level),
        "fatal" | "panic" => Ok("error".to_owned()),
        _ => Err(ConfigError::LogLevel { level }),
    }
}

fn read_bip(value: &str) -> Result<(std::net::Ipv4Addr, u8), ConfigError> {
    let parsed = value
        .split_once('/')
        .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse::<u8>().ok()?)));
    parsed
        .filter(|(_, prefix)| (8..=30).contains(prefix))
        .ok_or_else(|| ConfigError::Bip {
            value: value.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load(args: &[&str], file: Option<&str>) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let path = folder.path().join("daemon.json");
        if let Some(text) = file {
            fs::write(&path, text).unwrap();
            args.push(format!("--config-file={}", path.display()));
        }
        Config::load(&Invocation::parse(args).unwrap())
    }

    #[test]
    fn the_file_fills_what_no_flag_says() {
        let config = load(
            &["--data-root=/d"],
            Some(r#"{"exec-root": "/e", "bip": "10.9.0.1/24", "debug": true}"#),
        )
        .unwrap();
        assert_eq!(config.data_root, Path::new("/d"));
        assert_eq!(config.exec_root, Path::new("/e"));
        assert_eq!(config.bip, Some(([10, 9, 0, 1].into(), 24)));
        assert_eq!(config.log_level, "debug");
    }

    #[test]
    fn proxies_come_from_flags_or_the_file() {
        let file = r#"{"proxies": {"http-proxy": "http://h:1", "no-proxy": "*.a"}}"#;
        let proxies = load(&["--https-proxy=http://s:2"], Some(file))
            .unwrap()
            .proxies;
        assert_eq!(
            [proxies.http, proxies.https, proxies.none],
            ["http://h:1", "http://s:2", "*.a"]
        );
        let error = load(&["--no-proxy=b"], Some(file)).unwrap_err().to_string();
        assert!(error.ends_with("configuration file: no-proxy"), "{error}");
        load(&[], Some(r#"{"proxies": {"ftp-proxy": "x"}}"#)).unwrap_err();
    }

    #[test]
    fn the_log_of_containers_comes_from_flags_or_the_file() {
        let none = load(&[], Some("{}")).unwrap();
        assert_eq!(
            (none.log_driver.as_str(), none.log_opts.len()),
            ("json-file", 0)
        );
        let file = r#"{"log-driver": "local", "log-opts": {"max-size": "1m"}}"#;
        let filed = load(&[], Some(file)).unwrap();
        assert_eq!(filed.log_driver, "local");
        assert_eq!(filed.log_opts["max-size"], "1m");
        let flags = ["--log-driver=none", "--log-opt=tag=a=b", "--log-opt", "x"];
        let typed = load(&flags, Some("{}")).unwrap();
        assert_eq!(typed.log_driver, "none");
        assert_eq!(
            (&*typed.log_opts["tag"], &*typed.log_opts["x"]),
            ("a=b", "")
        );
        let both = load(&["--log-opt=a=b"], Some(file))
            .unwrap_err()
            .to_string();
        assert!(both.ends_with("configuration file: log-opts"), "{both}");
        load(&[], Some(r#"{"log-opts": {"max-file": 3}}"#)).unwrap_err();
    }

    #[test]
    fn the_runtime_is_the_own_one_by_its_names() {
        let runtime = |args: &[&str]| load(args, Some("{}")).map(|config| config.default_runtime);
        assert_eq!(runtime(&[]).unwrap(), "runc");
        assert_eq!(runtime(&["--default-runtime=wharf"]).unwrap(), "wharf");
        let told = runtime(&["--default-runtime", "kata"])
            .unwrap_err()
            .to_string();
        assert!(told.starts_with("specified default runtime 'kata' does not exist"));
    }

    #[test]
    fn ports_are_of_both_families_unless_the_proxy_is_off() {
        let proxy = |args: &[&str], file: &str| load(args, Some(file)).unwrap().userland_proxy;
        assert!(proxy(&[], "{}") && proxy(&["--userland-proxy"], "{}"));
        assert!(!proxy(&["--userland-proxy=false"], "{}"));
        assert!(!proxy(&[], r#"{"userland-proxy": false}"#));
        assert!(proxy(&[], r#"{"userland-proxy": true}"#));
    }

    #[test]
    fn mirrors_are_for_docker_io_or_for_any_registry() {
        let file = r#"{
            "registry-mirrors": ["http://hub:1"],
            "mirrors": {"ghcr.example": ["http://any:2/ghcr"], "docker.io": ["http://any:2"]}
        }"#;
        let mirrors = load(&[], Some(file)).unwrap().mirrors;
        assert_eq!(mirrors["docker.io"], ["http://hub:1/", "http://any:2/"]);
        assert_eq!(mirrors["ghcr.example"], ["http://any:2/ghcr/"]);
        let typed = load(&["--registry-mirror=http://hub:1"], None).unwrap();
        assert_eq!(typed.mirrors["docker.io"], ["http://hub:1/"]);
        for (file, sentence) in [
            (
                r#"{"registry-mirrors": ["hub"]}"#,
                "invalid mirror: no scheme",
            ),
            (
                r#"{"mirrors": {"x": ["ftp://y"]}}"#,
                "invalid mirror: unsupported",
            ),
            (
                r#"{"mirrors": {"x y": []}}"#,
                "mirrors of \"x y\": this is no",
            ),
        ] {
            let told = load(&[], Some(file)).unwrap_err().to_string();
            assert!(told.starts_with(sentence), "{told}");
        }
    }

    #[test]
    fn a_daemon_with_an_exec_root_of_its_own_has_a_pid_file_of_its_own() {
        let pidfile = |args: &[&str]| load(args, Some("{}")).unwrap().pidfile;
        assert_eq!(pidfile(&[]), Path::new("/run/wharf.pid"));
        assert_eq!(
            pidfile(&["--exec-root=/run/wharf"]),
            Path::new("/run/wharf.pid")
        );
        assert_eq!(pidfile(&["--exec-root=/e"]), Path::new("/e/wharf.pid"));
        assert_eq!(
            pidfile(&["--exec-root=/e", "--pidfile=/p"]),
            Path::new("/p")
        );
    }

    #[test]
    fn a_setting_in_both_places_is_refused_by_name() {
        let error = load(&["--data-root=/d"], Some(r#"{"data-root": "/e"}"#))
            .unwrap_err()
            .to_string();
        assert!(error.ends_with("configuration file: data-root"), "{error}");
    }

    #[test]
    fn a_key_that_is_not_supported_is_refused_by_name() {
        let error = load(&[], Some(r#"{"tlsverify": false}"#))
            .unwrap_err()
            .to_string();
        assert!(error.contains("tlsverify"), "{error}");
    }

    #[test]
    fn keys_are_nobody_s_or_dockerd_s() {
        let refused = |text: &str| load(&[], Some(text)).unwrap_err().to_string();
        let theirs = refused(r#"{"tls": true, "runtimes": {}, "debug": true}"#);
        let sentence = "wharf does not support these options of dockerd yet: tls, runtimes";
        assert!(theirs.ends_with(sentence), "{theirs}");
        let nobodys = refused(r#"{"tls": true, "loud": true}"#);
        let sentence = "the following directives don't match any configuration option: loud";
        assert!(nobodys.ends_with(sentence), "{nobodys}");
    }

    #[test]
    fn a_setting_that_holds_anyway_is_passed_over_and_another_refused() {
        let held = r#"{"icc": true, "storage-driver": "overlay2", "features": {"buildkit": true},
            "exec-opts": ["native.cgroupdriver=cgroupfs"], "ipv6": false, "debug": true}"#;
        assert_eq!(load(&[], Some(held)).unwrap().log_level, "debug");
        for (text, told) in [
            (r#"{"icc": false}"#, "icc (false)"),
            (r#"{"storage-driver": "zfs"}"#, "storage-driver (zfs)"),
            (
                r#"{"exec-opts": ["native.cgroupdriver=systemd"]}"#,
                "exec-opts (native.cgroupdriver=systemd)",
            ),
            (r#"{"features": {"x": true}}"#, "features (x=true)"),
        ] {
            let refused = load(&[], Some(text)).unwrap_err().to_string();
            let sentence = "wharf does not support this setting of dockerd yet: ";
            assert!(refused.ends_with(&format!("{sentence}{told}")), "{refused}");
        }
    }

    #[test]
    fn an_empty_text_says_nothing() {
        let texts = [
            "data-root",
            "exec-root",
            "pidfile",
            "log-level",
            "bridge",
            "bip",
            "ip",
            "cgroup-parent",
            "default-cgroupns-mode",
            "default-ipc-mode",
            "default-runtime",
            "host-gateway-ip",
            "log-driver",
            "storage-driver",
            "log-format",
        ];
        let fields = texts.map(|key| format!("{key:?}: \"\""));
        let file = format!("{{{}}}", fields.join(","));
        let empty = load(&[], Some(&file)).unwrap();
        assert_eq!(empty, load(&[], Some("{}")).unwrap());
    }

    #[test]
    fn what_containers_have_comes_from_flags_or_the_file() {
        let file = r#"{
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64, "Soft": 32}},
            "default-shm-size": "128M", "default-ipc-mode": "shareable", "init": true,
            "default-cgroupns-mode": "host", "no-new-privileges": true,
            "dns": ["10.0.0.2"], "dns-search": ["a.example"], "dns-opts": ["ndots:2"],
            "host-gateway-ip": "10.0.0.9", "labels": ["a=b"], "live-restore": false,
            "default-address-pools": [{"base": "10.9.0.0/16", "size": 24}],
            "ip": "127.0.0.1", "max-concurrent-downloads": 7, "mtu": 1400, "group": "adm"
        }"#;
        let filed = load(&[], Some(file)).unwrap();
        let typed = load(
            &[
                "--default-ulimit=nofile=32:64",
                "--default-shm-size=128m",
                "--default-ipc-mode=shareable",
                "--init",
                "--default-cgroupns-mode=host",
                "--no-new-privileges",
                "--dns=10.0.0.2",
                "--dns-search=a.example",
                "--dns-opt=ndots:2",
                "--host-gateway-ip=10.0.0.9",
                "--label=a=b",
                "--live-restore=false",
                "--default-address-pool=base=10.9.0.0/16,size=24",
                "--ip=127.0.0.1",
                "--max-concurrent-downloads=7",
                "--mtu=1400",
                "-G=adm",
            ],
            Some("{}"),
        )
        .unwrap();
        let comparable = |config: &Config| Config {
            pidfile: PathBuf::new(),
            ..config.clone()
        };
        assert_eq!(comparable(&filed), comparable(&typed));
        assert_eq!(filed.containers.shm_size, 128 << 20);
        assert_eq!(filed.containers.ulimits[0].soft, 32);
        assert!(!filed.live_restore && load(&[], Some("{}")).unwrap().live_restore);
        assert_eq!(filed.address_pools[0].size, 24);
        assert_eq!((filed.transfers.downloads, filed.transfers.uploads), (7, 0));
        let twice = load(&["--dns=10.0.0.3"], Some(file))
            .unwrap_err()
            .to_string();
        assert!(twice.ends_with("configuration file: dns"), "{twice}");
    }

    #[test]
    fn an_address_is_for_the_own_bridge() {
        for bridge in ["none", "br0"] {
            assert!(matches!(
                load(&["--bridge", bridge], Some(r#"{"bip": "10.9.0.1/24"}"#)),
                Err(ConfigError::BridgeAndBip)
            ));
        }
    }

    #[test]
    fn what_can_not_be_used_is_a_sentence() {
        assert!(matches!(
            load(&["-l", "loud"], None),
            Err(ConfigError::LogLevel { .. })
        ));
        assert!(matches!(
            load(&["--bip", "10.0.0.1"], None),
            Err(ConfigError::Bip { .. })
        ));
        assert!(matches!(
            load(&["--data-root", "x"], None),
            Err(ConfigError::Relative { .. })
        ));
        assert!(matches!(
            load(&["--config-file", "/nonexistent"], None),
            Err(ConfigError::Read { .. })
        ));
        let listed = [
            load(&["--insecure-registry", "a b"], None),
            load(&[], Some(r#"{"insecure-registries": ["a b"]}"#)),
        ];
        for refused in listed {
            assert_eq!(
                refused.unwrap_err().to_string(),
                "insecure registry a b is not valid: invalid host \"a b\""
            );
        }
        for text in ["{", "[]", "3", "{} x"] {
            assert!(matches!(
                load(&[], Some(text)),
                Err(ConfigError::Parse { .. })
            ));
        }
    }
}
