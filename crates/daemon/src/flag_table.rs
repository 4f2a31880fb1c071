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
    flag(
        "default-address-pool",
        None,
        Takes::List,
        "Block of addresses that networks get theirs of, and the length of their prefixes: base=10.9.0.0/16,size=24",
    ),
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
    ),
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
    ),
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
    ),
    flag(
        "live-restore",
        None,
        Takes::Switch,
        "Containers go on when the daemon is stopped (default true)",
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

/// dockerd's other flags: known, so that the refusal can say more than "unknown flag".
pub(crate) const REFUSED: &[&str] = &[
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
    "default-gateway",
    "default-gateway-v6",
    "default-network-opt",
    "firewall-backend",
    "fixed-cidr",
    "fixed-cidr-v6",
    "group",
    "init-path",
    "ip-forward-no-drop",
    "metrics-addr",
    "mtu",
    "network-control-plane-mtu",
    "node-generic-resource",
    "oom-score-adjust",
    "rootless",
    "seccomp-profile",
    "shutdown-timeout",
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
