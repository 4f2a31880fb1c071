//! The command line of the daemon: dockerd's flags, each honoured or refused by name.

use thiserror::Error;

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Takes {
    /// Nothing, or `=true` / `=false`.
    Switch,
    /// One value; the last one given counts.
    Value,
    /// A value each time it is given.
    List,
}

/// A flag that the daemon honours.
struct Flag {
    name: &'static str,
    short: Option<char>,
    takes: Takes,
    help: &'static str,
}

const fn flag(name: &'static str, short: Option<char>, takes: Takes, help: &'static str) -> Flag {
    Flag {
        name,
        short,
        takes,
        help,
    }
}

/// Every flag that is honoured; parser and help come from this table.
const FLAGS: &[Flag] = &[
    flag(
        "bip",
        None,
        Takes::Value,
        "Address and prefix of the default bridge",
    ),
    flag(
        "cgroup-parent",
        None,
        Takes::Value,
        "Control group below which containers' groups are made (default the engine's own)",
    ),
    flag(
        "bridge",
        Some('b'),
        Takes::Value,
        "Use this bridge; \"none\" turns the bridge network off",
    ),
    flag(
        "config-file",
        None,
        Takes::Value,
        "Configuration file (default \"/etc/wharf/daemon.json\")",
    ),
    flag(
        "data-root",
        None,
        Takes::Value,
        "Folder of what persists (default \"/var/lib/wharf\")",
    ),
    flag("debug", Some('D'), Takes::Switch, "Log at level debug"),
    flag(
        "default-runtime",
        None,
        Takes::Value,
        "Runtime that containers have which name none: \"runc\" or \"wharf\", both the engine's own",
    ),
    flag(
        "exec-root",
        None,
        Takes::Value,
        "Folder of run-time state (default \"/run/wharf\")",
    ),
    flag("help", None, Takes::Switch, "Print this text"),
    flag(
        "host",
        Some('H'),
        Takes::List,
        "Socket to listen on: unix://PATH, tcp://LOOPBACK:PORT or fd://",
    ),
    flag(
        "http-proxy",
        None,
        Takes::Value,
        "Proxy for registries over http (default $HTTP_PROXY)",
    ),
    flag(
        "https-proxy",
        None,
        Takes::Value,
        "Proxy for registries over https (default $HTTPS_PROXY)",
    ),
    flag(
        "insecure-registry",
        None,
        Takes::List,
        "Registry (HOST[:PORT] or CIDR) that is spoken to without TLS",
    ),
    flag(
        "log-driver",
        None,
        Takes::Value,
        "Log driver of containers that name none (default \"json-file\")",
    ),
    flag(
        "log-level",
        Some('l'),
        Takes::Value,
        "debug, info, warn, error or fatal (default \"info\")",
    ),
    flag(
        "log-opt",
        None,
        Takes::List,
        "Option of that log driver: NAME=VALUE",
    ),
    flag(
        "no-proxy",
        None,
        Takes::Value,
        "Hosts, domains and networks that are reached without (default $NO_PROXY)",
    ),
    flag(
        "pidfile",
        Some('p'),
        Takes::Value,
        "File that holds the daemon's pid (default \"/run/wharf.pid\", or wharf.pid in another exec root)",
    ),
    flag(
        "registry-mirror",
        None,
        Takes::List,
        "Mirror of docker.io that is asked first: http[s]://HOST[:PORT]",
    ),
    flag(
        "validate",
        None,
        Takes::Switch,
        "Read flags and the configuration file, tell what is wrong with them, and end",
    ),
    flag(
        "userland-proxy",
        None,
        Takes::Switch,
        "Publish ports at IPv6 addresses too, by a process that reads them (default true)",
    ),
    flag("version", Some('v'), Takes::Switch, "Print the version"),
];

/// dockerd's other flags: known, so that the refusal can say more than "unknown flag".
const REFUSED: &[&str] = &[
    "add-runtime",
    "allow-direct-routing",
    "authorization-plugin",
    "bip6",
    "bridge-accept-fwmark",
    "cdi-spec-dir",
    "containerd",
    "containerd-namespace",
    "containerd-plugins-namespace",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cri-containerd",
    "default-address-pool",
    "default-cgroupns-mode",
    "default-gateway",
    "default-gateway-v6",
    "default-ipc-mode",
    "default-network-opt",
    "default-shm-size",
    "default-ulimit",
    "dns",
    "dns-opt",
    "dns-search",
    "exec-opt",
    "experimental",
    "feature",
    "firewall-backend",
    "fixed-cidr",
    "fixed-cidr-v6",
    "group",
    "host-gateway-ip",
    "icc",
    "init",
    "init-path",
    "ip",
    "ip-forward",
    "ip-forward-no-drop",
    "ip-masq",
    "ip6tables",
    "iptables",
    "ipv6",
    "label",
    "live-restore",
    "log-format",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "metrics-addr",
    "mtu",
    "network-control-plane-mtu",
    "no-new-privileges",
    "node-generic-resource",
    "oom-score-adjust",
    "raw-logs",
    "rootless",
    "seccomp-profile",
    "selinux-enabled",
    "shutdown-timeout",
    "storage-driver",
    "storage-opt",
    "swarm-default-advertise-addr",
    "tls",
    "tlscacert",
    "tlscert",
    "tlskey",
    "tlsverify",
    "userland-proxy-path",
    "userns-remap",
];

/// Whether dockerd has a setting of this name that this engine has not: what may be given several times as a flag is a
/// plural in the file, and a few exist there alone.
pub(crate) fn is_dockerd_s(key: &str) -> bool {
    const ONLY_IN_THE_FILE: [&str; 5] = [
        "builder",
        "default-network-opts",
        "min-api-version",
        "runtimes",
        "swarm-default-advertise-addr",
    ];
    let singular = key.strip_suffix('s').unwrap_or(key);
    REFUSED.contains(&key) || REFUSED.contains(&singular) || ONLY_IN_THE_FILE.contains(&key)
}

/// Why the command line was not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FlagError {
    /// No such flag in dockerd either.
    #[error("unknown flag: {flag}")]
    Unknown {
        /// The flag as typed.
        flag: String,
    },
    /// dockerd has it, this engine does not.
    #[error("--{name} is a flag of dockerd that wharf does not support yet")]
    Refused {
        /// The flag's long name.
        name: String,
    },
    /// A flag that takes a value came last.
    #[error("flag needs an argument: --{name}")]
    NoValue {
        /// The flag's long name.
        name: &'static str,
    },
    /// `--debug=perhaps`.
    #[error("invalid argument {value:?} for \"--{name}\": true or false is expected")]
    NotBoolean {
        /// The flag's long name.
        name: &'static str,
        /// What was typed.
        value: String,
    },
    /// An argument that is no flag.
    #[error("the daemon takes no arguments, but got {argument:?}")]
    Argument {
        /// What was typed.
        argument: String,
    },
}

/// What was typed, flag by flag, before any default or file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    values: Vec<(&'static str, String)>,
}

impl Invocation {
    /// Reads the arguments behind `wharf daemon`.
    ///
    /// # Errors
    /// [`FlagError`] names the first argument that is not understood.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, FlagError> {
        let mut args = args.into_iter();
        let mut parsed = Invocation::default();
        while let Some(arg) = args.next() {
            if let Some(long) = arg.strip_prefix("--").filter(|long| !long.is_empty()) {
                let (name, inline) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let flag = FLAGS
                    .iter()
                    .find(|flag| flag.name == name)
                    .ok_or_else(|| unknown(name, &arg))?;
                parsed.take(flag, inline, &mut args)?;
            } else if let Some(shorts) = arg.strip_prefix('-').filter(|shorts| !shorts.is_empty()) {
                parsed.shorts(shorts, &arg, &mut args)?;
            } else {
                return Err(FlagError::Argument { argument: arg });
            }
        }
        Ok(parsed)
    }

    /// A cluster of short flags: `-D`, `-Dl debug`, `-Hunix:///x`, `-H=unix:///x`.
    fn shorts(
        &mut self,
        mut rest: &str,
        arg: &str,
        args: &mut impl Iterator<Item = String>,
    ) -> Result<(), FlagError> {
        while let Some(short) = rest.chars().next() {
            let flag = FLAGS
                .iter()
                .find(|flag| flag.short == Some(short))
                .ok_or_else(|| FlagError::Unknown {
                    flag: arg.to_owned(),
                })?;
            rest = &rest[short.len_utf8()..];
            if flag.takes == Takes::Switch && !rest.starts_with('=') {
                self.take(flag, None, args)?;
                continue;
            }
            let inline =
                (!rest.is_empty()).then(|| rest.strip_prefix('=').unwrap_or(rest).to_owned());
            return self.take(flag, inline, args);
        }
        Ok(())
    }

    fn take(
        &mut self,
        flag: &Flag,
        inline: Option<String>,
        args: &mut impl Iterator<Item = String>,
    ) -> Result<(), FlagError> {
        let value = match (flag.takes, inline) {
            (Takes::Switch, None) => "true".to_owned(),
            (Takes::Switch, Some(value)) => match value.as_str() {
                "true" | "1" | "t" => "true".to_owned(),
                "false" | "0" | "f" => "false".to_owned(),
                _ => {
                    return Err(FlagError::NotBoolean {
                        name: flag.name,
                        value,
                    });
                }
            },
            (_, Some(value)) => value,
            (_, None) => args.next().ok_or(FlagError::NoValue { name: flag.name })?,
        };
        if flag.takes != Takes::List {
            self.values.retain(|(name, _)| *name != flag.name);
        }
        self.values.push((flag.name, value));
        Ok(())
    }

    /// The value of a flag that is given once.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a flag that may be repeated, in order.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.values
            .iter()
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Whether a switch was turned on.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// Whether a flag was given at all.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

fn unknown(name: &str, typed: &str) -> FlagError {
    if REFUSED.contains(&name) {
        FlagError::Refused {
            name: name.to_owned(),
        }
    } else {
        FlagError::Unknown {
            flag: typed.split('=').next().unwrap_or(typed).to_owned(),
        }
    }
}

/// The help text, from the table of flags.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "Usage:  wharf daemon [OPTIONS]\n\nThe container engine's daemon\n\nOptions:\n",
    );
    for flag in FLAGS {
        let short = flag
            .short
            .map_or("    ".to_owned(), |short| format!("-{short}, "));
        let value = match flag.takes {
            Takes::Switch => "",
            Takes::Value => " string",
            Takes::List => " list",
        };
        text.push_str(&format!(
            "  {short}--{:<27} {}\n",
            format!("{}{value}", flag.name),
            flag.help
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Invocation, FlagError> {
        Invocation::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn every_way_of_writing_a_flag_is_understood() {
        let parsed = parse(&[
            "-D",
            "-Hunix:///a",
            "-H",
            "unix:///b",
            "--host=unix:///c",
            "--data-root",
            "/x",
            "-l=warn",
        ])
        .unwrap();
        assert!(parsed.switch("debug"));
        assert_eq!(parsed.list("host"), ["unix:///a", "unix:///b", "unix:///c"]);
        assert_eq!(parsed.value("data-root"), Some("/x"));
        assert_eq!(parsed.value("log-level"), Some("warn"));
        assert!(!parse(&["--debug=false"]).unwrap().switch("debug"));
    }

    #[test]
    fn the_last_value_counts() {
        assert_eq!(
            parse(&["-p", "/a", "--pidfile", "/b"])
                .unwrap()
                .value("pidfile"),
            Some("/b")
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(
            parse(&["--frobnicate"]).unwrap_err().to_string(),
            "unknown flag: --frobnicate"
        );
        assert!(
            parse(&["--iptables=false"])
                .unwrap_err()
                .to_string()
                .starts_with("--iptables is a flag of dockerd")
        );
        assert_eq!(
            parse(&["--bip"]).unwrap_err(),
            FlagError::NoValue { name: "bip" }
        );
        assert!(matches!(
            parse(&["start"]).unwrap_err(),
            FlagError::Argument { .. }
        ));
        assert!(matches!(
            parse(&["--debug=perhaps"]).unwrap_err(),
            FlagError::NotBoolean { .. }
        ));
    }

    #[test]
    fn help_shows_every_flag_and_no_flag_is_both_honoured_and_refused() {
        let text = help();
        for flag in FLAGS {
            assert!(text.contains(&format!("--{}", flag.name)));
            assert!(!REFUSED.contains(&flag.name));
        }
    }
}
