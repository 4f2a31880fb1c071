//! The daemon's configuration: flags over `daemon.json` over defaults.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use engine::Proxies;
use serde::Deserialize;
use thiserror::Error;

use crate::flags::{Invocation, is_dockerd_s};
use crate::registries;

/// Where `daemon.json` is looked for when nothing else is said; it need not exist there.
const DEFAULT_FILE: &str = "/etc/wharf/daemon.json";
/// A configuration file larger than this is not one.
const FILE_LIMIT: u64 = 1 << 20;
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

/// The keys of `daemon.json` that are honoured. Any other key is an error that names it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    hosts: Option<Vec<String>>,
    data_root: Option<PathBuf>,
    exec_root: Option<PathBuf>,
    pidfile: Option<PathBuf>,
    log_level: Option<String>,
    debug: Option<bool>,
    bridge: Option<String>,
    bip: Option<String>,
    cgroup_parent: Option<String>,
    default_runtime: Option<String>,
    userland_proxy: Option<bool>,
    log_driver: Option<String>,
    log_opts: Option<BTreeMap<String, String>>,
    insecure_registries: Option<Vec<String>>,
    registry_mirrors: Option<Vec<String>>,
    /// Mirrors of any registry, by its name: wharf's own key.
    mirrors: Option<BTreeMap<String, Vec<String>>>,
    proxies: Option<FileProxies>,
}

/// The object `proxies` of `daemon.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct FileProxies {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
}

/// Whether the file has a setting.
type InFile = fn(&File) -> bool;

/// The settings by flag and by key.
const SETTINGS: [(&str, &str, InFile); 15] = [
    ("host", "hosts", |file| file.hosts.is_some()),
    ("data-root", "data-root", |file| file.data_root.is_some()),
    ("exec-root", "exec-root", |file| file.exec_root.is_some()),
    ("pidfile", "pidfile", |file| file.pidfile.is_some()),
    ("log-level", "log-level", |file| file.log_level.is_some()),
    ("debug", "debug", |file| file.debug.is_some()),
    ("bridge", "bridge", |file| file.bridge.is_some()),
    ("bip", "bip", |file| file.bip.is_some()),
    ("cgroup-parent", "cgroup-parent", |file| {
        file.cgroup_parent.is_some()
    }),
    ("default-runtime", "default-runtime", |file| {
        file.default_runtime.is_some()
    }),
    ("userland-proxy", "userland-proxy", |file| {
        file.userland_proxy.is_some()
    }),
    ("log-driver", "log-driver", |file| file.log_driver.is_some()),
    ("log-opt", "log-opts", |file| file.log_opts.is_some()),
    ("insecure-registry", "insecure-registries", |file| {
        file.insecure_registries.is_some()
    }),
    ("registry-mirror", "registry-mirrors", |file| {
        file.registry_mirrors.is_some()
    }),
];
/// Keys that stand for several flags, or for none.
const OTHERS: [&str; 2] = ["mirrors", "proxies"];

fn is_known(key: &str) -> bool {
    OTHERS.contains(&key) || SETTINGS.iter().any(|(_, known, _)| *known == key)
}

/// What the daemon runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Sockets that were asked for; empty means the default ones.
    pub hosts: Vec<String>,
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
}

impl Config {
    /// Joins what was typed with the configuration file and the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] says which setting, or which file, can not be used.
    pub fn load(typed: &Invocation) -> Result<Self, ConfigError> {
        let path = PathBuf::from(typed.value("config-file").unwrap_or(DEFAULT_FILE));
        let mut file = read(&path, typed.given("config-file"))?;
        refuse_twice(&path, typed, &file)?;
        let text = |name: &str, from_file: Option<String>| {
            typed.value(name).map(str::to_owned).or(from_file)
        };
        let folder = |name: &'static str, from_file: Option<PathBuf>, default: PathBuf| {
            let path = typed
                .value(name)
                .map(PathBuf::from)
                .or(from_file)
                .unwrap_or(default);
            if path.is_absolute() {
                Ok(path)
            } else {
                Err(ConfigError::Relative { name, path })
            }
        };
        let in_file = file.proxies.take().unwrap_or_default();
        let list = |name: &str, from_file: Option<Vec<String>>| match from_file {
            Some(list) => list,
            None => typed.list(name),
        };
        let debug = typed.switch("debug") || file.debug == Some(true);
        let level = if debug {
            "debug".to_owned()
        } else {
            text("log-level", file.log_level).unwrap_or_else(|| "info".to_owned())
        };
        let bridge = text("bridge", file.bridge).filter(|name| !name.is_empty());
        let bip = text("bip", file.bip).map(|value| bip(&value)).transpose()?;
        if bridge.is_some() && bip.is_some() {
            return Err(ConfigError::BridgeAndBip);
        }
        let exec_root = folder("exec-root", file.exec_root, EXEC_ROOT.into())?;
        // Daemons with roots of their own run side by side without being told one more path.
        let pidfile = if exec_root == Path::new(EXEC_ROOT) {
            PathBuf::from(PIDFILE)
        } else {
            exec_root.join("wharf.pid")
        };
        Ok(Config {
            hosts: list("host", file.hosts),
            data_root: folder("data-root", file.data_root, DATA_ROOT.into())?,
            pidfile: folder("pidfile", file.pidfile, pidfile)?,
            exec_root,
            log_level: log_level(level)?,
            bridge,
            bip,
            cgroup_parent: text("cgroup-parent", file.cgroup_parent)
                .filter(|path| !path.trim_matches('/').is_empty()),
            default_runtime: runtime(text("default-runtime", file.default_runtime))?,
            userland_proxy: match typed.given("userland-proxy") {
                true => typed.switch("userland-proxy"),
                false => file.userland_proxy != Some(false),
            },
            log_driver: text("log-driver", file.log_driver)
                .filter(|driver| !driver.is_empty())
                .unwrap_or_else(|| "json-file".to_owned()),
            log_opts: file
                .log_opts
                .unwrap_or_else(|| options(&typed.list("log-opt"))),
            insecure_registries: list("insecure-registry", file.insecure_registries)
                .iter()
                .map(|entry| registries::insecure(entry))
                .collect::<Result<_, _>>()
                .map_err(|sentence| ConfigError::Registry { sentence })?,
            mirrors: mirrors(
                list("registry-mirror", file.registry_mirrors),
                file.mirrors.unwrap_or_default(),
            )
            .map_err(|sentence| ConfigError::Registry { sentence })?,
            proxies: Proxies {
                http: text("http-proxy", in_file.http_proxy)
                    .unwrap_or_else(|| environment("HTTP_PROXY")),
                https: text("https-proxy", in_file.https_proxy)
                    .unwrap_or_else(|| environment("HTTPS_PROXY")),
                none: text("no-proxy", in_file.no_proxy).unwrap_or_else(|| environment("NO_PROXY")),
            },
        })
    }
}

fn runtime(asked: Option<String>) -> Result<String, ConfigError> {
    match asked.filter(|name| !name.is_empty()) {
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
) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let default = ("docker.io".to_owned(), of_default);
    for (name, addresses) in std::iter::once(default).chain(of_any) {
        let name = registries::with_mirrors(&name)?;
        for address in addresses {
            let address = registries::mirror(&address)?;
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

fn read(path: &Path, named: bool) -> Result<File, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let text = match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_LIMIT => {
            return Err(failed(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "larger than 1 MiB",
            )));
        }
        Ok(_) => fs::read_to_string(path).map_err(failed)?,
        Err(source) if source.kind() == io::ErrorKind::NotFound && !named => {
            return Ok(File::default());
        }
        Err(source) => return Err(failed(source)),
    };
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let failed = |source| ConfigError::Parse {
        path: path.to_owned(),
        source,
    };
    // A list would be taken for the values of an object.
    let keys = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text)
        .map_err(failed)?;
    if let Some(sentence) = refused_keys(keys.keys()) {
        let path = path.to_owned();
        return Err(ConfigError::Key { path, sentence });
    }
    serde_json::from_str(&text).map_err(failed)
}

/// Why keys are not taken: dockerd knows them, by the name of the flag or by that of several, or nobody does.
fn refused_keys<'a>(keys: impl Iterator<Item = &'a String>) -> Option<String> {
    let (theirs, nobodys): (Vec<_>, Vec<_>) = keys
        .map(String::as_str)
        .filter(|key| !is_known(key))
        .partition(|key| is_dockerd_s(key));
    if !nobodys.is_empty() {
        Some(format!(
            "the following directives don't match any configuration option: {}",
            nobodys.join(", ")
        ))
    } else if !theirs.is_empty() {
        Some(format!(
            "wharf does not support these options of dockerd yet: {}",
            theirs.join(", ")
        ))
    } else {
        None
    }
}

fn refuse_twice(path: &Path, typed: &Invocation, file: &File) -> Result<(), ConfigError> {
    let proxies = file.proxies.as_ref();
    let proxy = |of: fn(&FileProxies) -> &Option<String>| {
        proxies.is_some_and(|proxies| of(proxies).is_some())
    };
    let of_proxies = [
        ("http-proxy", proxy(|proxies| &proxies.http_proxy)),
        ("https-proxy", proxy(|proxies| &proxies.https_proxy)),
        ("no-proxy", proxy(|proxies| &proxies.no_proxy)),
    ];
    let both = of_proxies
        .into_iter()
        .map(|(name, in_file)| (name, name, in_file))
        .chain(SETTINGS.map(|(flag, key, has)| (flag, key, has(file))));
    let names: Vec<_> = both
        .filter(|(flag, _, in_file)| *in_file && typed.given(flag))
        .map(|(_, key, _)| key)
        .collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::Twice {
            path: path.to_owned(),
            names: names.join(", "),
        })
    }
}

/// dockerd's words for the levels, as tracing names them.
fn log_level(level: String) -> Result<String, ConfigError> {
    match level.as_str() {
        "trace" | "debug" | "info" | "warn" | "error" => Ok(level),
        "fatal" | "panic" => Ok("error".to_owned()),
        _ => Err(ConfigError::LogLevel { level }),
    }
}

fn bip(value: &str) -> Result<(std::net::Ipv4Addr, u8), ConfigError> {
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
    fn every_key_of_the_file_is_known() {
        // serde names them all when it refuses another one.
        let refused = serde_json::from_str::<File>(r#"{"x":1}"#)
            .unwrap_err()
            .to_string();
        let (_, expected) = refused.split_once("expected one of ").unwrap();
        let keys: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
        assert_eq!(keys.len(), SETTINGS.len() + OTHERS.len(), "{keys:?}");
        for key in keys {
            assert!(is_known(key), "{key}");
        }
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
        let error = load(&[], Some(r#"{"iptables": false}"#))
            .unwrap_err()
            .to_string();
        assert!(error.contains("iptables"), "{error}");
    }

    #[test]
    fn keys_are_nobody_s_or_dockerd_s() {
        let refused = |text: &str| load(&[], Some(text)).unwrap_err().to_string();
        let theirs = refused(r#"{"icc": true, "live-restore": true, "debug": true}"#);
        let sentence = "wharf does not support these options of dockerd yet: icc, live-restore";
        assert!(theirs.ends_with(sentence), "{theirs}");
        let nobodys = refused(r#"{"icc": true, "loud": true}"#);
        let sentence = "the following directives don't match any configuration option: loud";
        assert!(nobodys.ends_with(sentence), "{nobodys}");
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
