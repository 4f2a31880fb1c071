//! The flags of dockerd: those that decide something here, those that say what holds anyway, those that are refused.

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Takes {
    /// Nothing, or `=true` / `=false`.
    Switch,
    /// One value; the last one given counts.
    Value,
    /// A value each time it is given.
    List,
}

/// A flag that the daemon honours.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) takes: Takes,
    pub(crate) help: &'static str,
    /// The key of the file that says the same; none for a flag alone.
    pub(crate) key: Option<&'static str>,
}

/// A flag whose key has its name.
const fn flag(name: &'static str, short: Option<char>, takes: Takes, help: &'static str) -> Flag {
    Flag {
        name,
        short,
        takes,
        help,
        key: Some(name),
    }
}

impl Flag {
    /// The same with a key of another name.
    const fn key(self, key: &'static str) -> Flag {
        Flag {
            key: Some(key),
            ..self
        }
    }

    /// The same without a key.
    const fn alone(self) -> Flag {
        Flag { key: None, ..self }
    }
}

/// Every flag that is honoured; parser and help come from this table.
pub(crate) const FLAGS: &[Flag] = &[
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
    ).alone(),
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
    flag("help", None, Takes::Switch, "Print this text").alone(),
    flag(
        "host",
        Some('H'),
        Takes::List,
        "Socket to listen on: unix://PATH, tcp://LOOPBACK:PORT or fd://",
    )
    .key("hosts"),
    flag(
        "http-proxy",
        None,
        Takes::Value,
        "Proxy for registries over http (default $HTTP_PROXY)",
    ).alone(),
    flag(
        "https-proxy",
        None,
        Takes::Value,
        "Proxy for registries over https (default $HTTPS_PROXY)",
    ).alone(),
    flag(
        "insecure-registry",
        None,
        Takes::List,
        "Registry (HOST[:PORT] or CIDR) that is spoken to without TLS",
    ).key("insecure-registries"),
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
    ).key("log-opts"),
    flag(
        "no-proxy",
        None,
        Takes::Value,
        "Hosts, domains and networks that are reached without (default $NO_PROXY)",
    ).alone(),
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
    ).key("registry-mirrors"),
    flag(
        "validate",
        None,
        Takes::Switch,
        "Read flags and the configuration file, tell what is wrong with them, and end",
    ).alone(),
    flag(
        "userland-proxy",
        None,
        Takes::Switch,
        "Publish ports at IPv6 addresses too, by a process that reads them (default true)",
    ),
    flag("version", Some('v'), Takes::Switch, "Print the version").alone(),
    flag(
        "default-address-pool",
        None,
        Takes::List,
        "Block of addresses that networks get theirs of, and the length of their prefixes: base=10.9.0.0/16,size=24",
    ).key("default-address-pools"),
    flag(
        "default-cgroupns-mode",
        None,
        Takes::Value,
        "Cgroup namespace of containers that ask for none: \"host\" or \"private\"",
    ),
    flag(
        "default-ipc-mode",
        None,
        Takes::Value,
        "IPC namespace of containers that ask for none: \"shareable\" or \"private\" (default)",
    ),
    flag(
        "default-shm-size",
        None,
        Takes::Value,
        "Size of /dev/shm of containers that ask for none (default 64MiB)",
    ),
    flag(
        "default-ulimit",
        None,
        Takes::List,
        "Limit of processes of containers that ask for none: NAME=SOFT[:HARD]",
    ).key("default-ulimits"),
    flag(
        "dns",
        None,
        Takes::List,
        "Name server of containers that ask for none",
    ),
    flag(
        "dns-opt",
        None,
        Takes::List,
        "Option of the resolver of containers that ask for none",
    ).key("dns-opts"),
    flag(
        "dns-search",
        None,
        Takes::List,
        "Domain that containers search names in which ask for none",
    ),
    flag(
        "host-gateway-ip",
        None,
        Takes::Value,
        "Address that \"host-gateway\" stands for in --add-host (default that of the bridge)",
    ),
    flag(
        "init",
        None,
        Takes::Switch,
        "Have an init reap and pass signals on in containers that do not say",
    ),
    flag(
        "ip",
        None,
        Takes::Value,
        "Address of the host for published ports of the bridge network that name none (default 0.0.0.0)",
    ),
    flag(
        "label",
        None,
        Takes::List,
        "Label of the daemon, shown by info: NAME=VALUE",
    ).key("labels"),
    flag(
        "live-restore",
        None,
        Takes::Switch,
        "Containers go on when the daemon is stopped (default true)",
    ),
    flag(
        "group",
        Some('G'),
        Takes::Value,
        "Group whose members may use the unix sockets (default \"docker\", where there is one)",
    ),
    flag(
        "mtu",
        None,
        Takes::Value,
        "The longest packet on the default bridge, in bytes (default the kernel's choice)",
    ),
    flag(
        "max-concurrent-downloads",
        None,
        Takes::Value,
        "Layers of a pull that are fetched at a time (default 3)",
    ),
    flag(
        "max-concurrent-uploads",
        None,
        Takes::Value,
        "Layers of a push that are sent at a time (default 5)",
    ),
    flag(
        "max-download-attempts",
        None,
        Takes::Value,
        "How often a layer is tried that gets no further (default 5)",
    ),
    flag(
        "no-new-privileges",
        None,
        Takes::Switch,
        "Programs of containers gain no privileges, unless they ask for it",
    ),
];

/// dockerd's other settings by flag and by key: known, so that the refusal can say more than "unknown".
const REFUSED: &[(&str, &str)] = &[
    ("add-runtime", "runtimes"),
    ("allow-direct-routing", "allow-direct-routing"),
    ("authorization-plugin", "authorization-plugins"),
    ("bip6", "bip6"),
    ("bridge-accept-fwmark", "bridge-accept-fwmark"),
    ("cdi-spec-dir", "cdi-spec-dirs"),
    ("containerd", "containerd"),
    ("containerd-namespace", "containerd-namespace"),
    (
        "containerd-plugins-namespace",
        "containerd-plugins-namespace",
    ),
    ("cpu-rt-period", "cpu-rt-period"),
    ("cpu-rt-runtime", "cpu-rt-runtime"),
    ("cri-containerd", "cri-containerd"),
    ("default-gateway", "default-gateway"),
    ("default-gateway-v6", "default-gateway-v6"),
    ("default-network-opt", "default-network-opts"),
    ("firewall-backend", "firewall-backend"),
    ("fixed-cidr", "fixed-cidr"),
    ("fixed-cidr-v6", "fixed-cidr-v6"),
    ("init-path", "init-path"),
    ("ip-forward-no-drop", "ip-forward-no-drop"),
    ("metrics-addr", "metrics-addr"),
    ("network-control-plane-mtu", "network-control-plane-mtu"),
    ("node-generic-resource", "node-generic-resources"),
    ("oom-score-adjust", "oom-score-adjust"),
    ("rootless", "rootless"),
    ("seccomp-profile", "seccomp-profile"),
    ("shutdown-timeout", "shutdown-timeout"),
    ("storage-opt", "storage-opts"),
    (
        "swarm-default-advertise-addr",
        "swarm-default-advertise-addr",
    ),
    ("tls", "tls"),
    ("tlscacert", "tlscacert"),
    ("tlscert", "tlscert"),
    ("tlskey", "tlskey"),
    ("tlsverify", "tlsverify"),
    ("userland-proxy-path", "userland-proxy-path"),
    ("userns-remap", "userns-remap"),
];

/// dockerd's other keys for which there is no flag.
const REFUSED_KEYS: &[&str] = &["builder", "min-api-version"];

/// Keys of the file for which there is no flag.
const KEYS: &[&str] = &["mirrors", "proxies"];

/// dockerd's settings that decide nothing here, by flag and by key of the file, with the values that say what holds anyway:
/// any other is refused.
const HELD: &[(&str, &str, &[&str])] = &[
    ("exec-opt", "exec-opts", &["native.cgroupdriver=cgroupfs"]),
    ("experimental", "experimental", &["false"]),
    // What they switch is always there, or is a part of dockerd that there is none of.
    (
        "feature",
        "features",
        &[
            "buildkit=true",
            "cdi=false",
            "containerd-snapshotter=true",
            "containerd-snapshotter=false",
        ],
    ),
    ("icc", "icc", &["true"]),
    ("ip-forward", "ip-forward", &["true"]),
    ("ip-masq", "ip-masq", &["true"]),
    ("ip6tables", "ip6tables", &["true", "false"]),
    ("iptables", "iptables", &["true"]),
    ("ipv6", "ipv6", &["false"]),
    ("log-format", "log-format", &["text"]),
    ("raw-logs", "raw-logs", &["false"]),
    ("selinux-enabled", "selinux-enabled", &["false"]),
    (
        "storage-driver",
        "storage-driver",
        &["overlay2", "overlayfs"],
    ),
];

/// What a flag may say that decides nothing; none for all others.
pub(crate) fn held_flag(name: &str) -> Option<(&'static str, &'static [&'static str])> {
    let found = HELD.iter().find(|(flag, _, _)| *flag == name);
    found.map(|(flag, _, values)| (*flag, *values))
}

/// The same for a key of the file.
pub(crate) fn held_key(name: &str) -> Option<&'static [&'static str]> {
    let found = HELD.iter().find(|(_, key, _)| *key == name);
    found.map(|(_, _, values)| *values)
}

/// The flag that says the same as a key.
pub(crate) fn flag_of(key: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.key == Some(key))
}

/// Whether the file may have a key.
pub(crate) fn is_key(key: &str) -> bool {
    flag_of(key).is_some() || KEYS.contains(&key)
}

/// Whether dockerd has a flag of this name, and this engine has none.
pub(crate) fn is_refused_flag(name: &str) -> bool {
    REFUSED.iter().any(|(flag, _)| *flag == name)
}

/// The same for a key of the file.
pub(crate) fn is_refused_key(key: &str) -> bool {
    REFUSED_KEYS.contains(&key) || REFUSED.iter().any(|(_, of_file)| *of_file == key)
}
