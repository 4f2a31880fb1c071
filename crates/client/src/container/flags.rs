//! The flags of `run` and `create`, and of `exec`.
//!
//! `docs/flags.md` lists each with its test, or as refused; a test compares that table with this
//! one.

use super::config::Attachments;
use super::{disks, environment, gpus, mounts, networks, resources, security, values};
use crate::flag::Flag;

/// Flags that `run` and `create` share.
pub(crate) const CONTAINER: &[Flag] = &[
    Flag::list(
        "add-host",
        "list",
        "Add a custom host-to-IP mapping (host:ip)",
    )
    .checked(networks::host),
    Flag::list("annotation", "map", "Add an annotation to the container"),
    Flag::list("attach", "list", "Attach to STDIN, STDOUT or STDERR")
        .checked(Attachments::stream)
        .letter('a'),
    resources::BLKIO_WEIGHT,
    Flag::list("blkio-weight-device", "list", "Block IO weight of a device")
        .checked(disks::device_weight_checked),
    Flag::list("cap-add", "list", "Add Linux capabilities"),
    Flag::list("cap-drop", "list", "Drop Linux capabilities"),
    Flag::one(
        "cgroup-parent",
        "string",
        "Parent cgroup of the container's",
    ),
    Flag::one(
        "cgroupns",
        "string",
        "Cgroup namespace to use (host|private)",
    ),
    Flag::one("cidfile", "string", "Write the container ID to the file"),
    Flag::one("cpu-count", "int", "CPU count (Windows only)"),
    Flag::one("cpu-percent", "int", "CPU percent (Windows only)"),
    resources::CPU_PERIOD,
    resources::CPU_QUOTA,
    resources::CPU_RT_PERIOD,
    resources::CPU_RT_RUNTIME,
    resources::CPU_SHARES,
    resources::CPUS,
    resources::CPUSET_CPUS,
    resources::CPUSET_MEMS,
    Flag::list("device", "list", "Add a host device to the container"),
    Flag::list(
        "device-cgroup-rule",
        "list",
        "Add a rule to the allowed devices",
    )
    .checked(security::device_rule),
    Flag::list("device-read-bps", "list", "Limit read rate from a device")
        .checked(disks::bytes_checked),
    Flag::list(
        "device-read-iops",
        "list",
        "Limit reads a second from a device",
    )
    .checked(disks::requests_checked),
    Flag::list("device-write-bps", "list", "Limit write rate to a device")
        .checked(disks::bytes_checked),
    Flag::list(
        "device-write-iops",
        "list",
        "Limit writes a second to a device",
    )
    .checked(disks::requests_checked),
    Flag::switch(
        "disable-content-trust",
        "Skip image verification: there is none",
    ),
    Flag::list("dns", "list", "Set custom DNS servers").checked(networks::resolver),
    Flag::list("dns-option", "list", "Set DNS options").also("dns-opt"),
    Flag::list("dns-search", "list", "Set custom DNS search domains").checked(networks::domain),
    Flag::one("domainname", "string", "Container NIS domain name"),
    Flag::one(
        "entrypoint",
        "string",
        "Overwrite the default ENTRYPOINT of the image",
    ),
    Flag::list("env", "list", "Set environment variables")
        .checked(environment::variable)
        .letter('e'),
    Flag::list(
        "env-file",
        "list",
        "Read in a file of environment variables",
    ),
    Flag::list("expose", "list", "Expose a port or a range of ports"),
    Flag::list("gpus", "gpu-request", "GPU devices to add to the container").checked(gpus::checked),
    Flag::list("group-add", "list", "Add additional groups to join"),
    Flag::one("health-cmd", "string", "Command to run to check health"),
    Flag::one(
        "health-interval",
        "duration",
        "Time between running the check (ms|s|m|h) (default 0s)",
    )
    .checked(values::duration_checked),
    Flag::one(
        "health-retries",
        "int",
        "Consecutive failures needed to report unhealthy",
    ),
    Flag::one(
        "health-start-interval",
        "duration",
        "Time between checks during the start period (ms|s|m|h) (default 0s)",
    )
    .checked(values::duration_checked),
    Flag::one(
        "health-start-period",
        "duration",
        "Start period before retries count (ms|s|m|h) (default 0s)",
    )
    .checked(values::duration_checked),
    Flag::one(
        "health-timeout",
        "duration",
        "Maximum time to allow one check to run (ms|s|m|h) (default 0s)",
    )
    .checked(values::duration_checked),
    Flag::one("hostname", "string", "Container host name").letter('h'),
    Flag::switch(
        "init",
        "Run an init that forwards signals and reaps processes",
    ),
    Flag::switch("interactive", "Keep STDIN open even if not attached").letter('i'),
    Flag::one(
        "io-maxbandwidth",
        "bytes",
        "Maximum IO bandwidth of the system drive (Windows only)",
    )
    .checked(values::bytes_checked),
    Flag::one(
        "io-maxiops",
        "uint",
        "Maximum IOps of the system drive (Windows only)",
    ),
    Flag::one("ip", "string", "IPv4 address (e.g., 172.30.100.104)"),
    Flag::one("ip6", "string", "IPv6 address (e.g., 2001:db8::33)"),
    Flag::one("ipc", "string", "IPC mode to use"),
    Flag::one(
        "isolation",
        "string",
        "Container isolation technology (Windows only)",
    ),
    resources::KERNEL_MEMORY,
    Flag::list("label", "list", "Set meta data on a container")
        .checked(environment::label)
        .letter('l'),
    Flag::list(
        "label-file",
        "list",
        "Read in a line delimited file of labels",
    ),
    Flag::list("link", "list", "Add link to another container").checked(networks::link),
    Flag::list(
        "link-local-ip",
        "list",
        "Container IPv4/IPv6 link-local addresses",
    ),
    Flag::one("log-driver", "string", "Logging driver for the container"),
    Flag::list("log-opt", "list", "Log driver options"),
    Flag::one(
        "mac-address",
        "string",
        "Container MAC address (e.g., 92:d0:c6:0a:29:33)",
    ),
    resources::MEMORY,
    resources::MEMORY_RESERVATION,
    resources::MEMORY_SWAP,
    Flag::one(
        "memory-swappiness",
        "int",
        "Tune container memory swappiness (0 to 100)",
    ),
    Flag::list(
        "mount",
        "mount",
        "Attach a filesystem mount to the container",
    )
    .checked(mounts::mount_checked),
    Flag::one("name", "string", "Assign a name to the container"),
    Flag::list("network", "network", "Connect a container to a network")
        .checked(networks::network_checked)
        .also("net"),
    Flag::list(
        "network-alias",
        "list",
        "Add network-scoped alias for the container",
    )
    .also("net-alias"),
    Flag::switch(
        "no-healthcheck",
        "Disable any container-specified HEALTHCHECK",
    ),
    Flag::switch("oom-kill-disable", "Disable OOM Killer"),
    Flag::one(
        "oom-score-adj",
        "int",
        "Tune host's OOM preferences (-1000 to 1000)",
    ),
    Flag::one("pid", "string", "PID namespace to use"),
    resources::PIDS_LIMIT,
    Flag::one(
        "platform",
        "string",
        "Set platform if server is multi-platform capable",
    ),
    Flag::switch("privileged", "Give extended privileges to this container"),
    Flag::list(
        "publish",
        "list",
        "Publish a container's port(s) to the host",
    )
    .letter('p'),
    Flag::switch("publish-all", "Publish all exposed ports to random ports").letter('P'),
    Flag::one(
        "pull",
        "string",
        "Pull image before running (\"always\", \"missing\", \"never\")",
    ),
    Flag::switch("quiet", "Suppress the pull output").letter('q'),
    Flag::switch(
        "read-only",
        "Mount the container's root filesystem as read only",
    ),
    resources::RESTART,
    Flag::switch(
        "rm",
        "Remove the container and its anonymous volumes when it exits",
    ),
    Flag::one("runtime", "string", "Runtime to use for this container"),
    Flag::list("security-opt", "list", "Security Options"),
    Flag::one("shm-size", "bytes", "Size of /dev/shm").checked(values::bytes_checked),
    Flag::one("stop-signal", "string", "Signal to stop the container"),
    Flag::one(
        "stop-timeout",
        "int",
        "Timeout (in seconds) to stop a container",
    ),
    Flag::list(
        "storage-opt",
        "list",
        "Storage driver options for the container",
    ),
    Flag::list("sysctl", "map", "Sysctl options").checked(networks::sysctl),
    Flag::list("tmpfs", "list", "Mount a tmpfs directory"),
    Flag::switch("tty", "Allocate a pseudo-TTY").letter('t'),
    Flag::list("ulimit", "ulimit", "Ulimit options").checked(values::ulimit_checked),
    Flag::switch(
        "use-api-socket",
        "Bind mount the engine's API socket and credentials",
    ),
    Flag::one(
        "user",
        "string",
        "Username or UID (format: <name|uid>[:<group|gid>])",
    )
    .letter('u'),
    Flag::one("userns", "string", "User namespace to use"),
    Flag::one("uts", "string", "UTS namespace to use"),
    Flag::list("volume", "list", "Bind mount a volume").letter('v'),
    Flag::one(
        "volume-driver",
        "string",
        "Optional volume driver for the container",
    ),
    Flag::list(
        "volumes-from",
        "list",
        "Mount volumes from the specified container(s)",
    ),
    Flag::one(
        "workdir",
        "string",
        "Working directory inside the container",
    )
    .letter('w'),
];

/// Flags of `run` alone.
pub(crate) const RUN: &[Flag] = &[
    Flag::switch(
        "detach",
        "Run container in background and print container ID",
    )
    .letter('d'),
    Flag::one(
        "detach-keys",
        "string",
        "Override the key sequence for detaching a container",
    ),
    Flag::switch(
        "sig-proxy",
        "Proxy received signals to the process (default true)",
    ),
];

/// Flags of `exec`.
pub(crate) const EXEC: &[Flag] = &[
    Flag::switch("detach", "Detached mode: run command in the background").letter('d'),
    Flag::one(
        "detach-keys",
        "string",
        "Override the key sequence for detaching a container",
    ),
    Flag::list("env", "list", "Set environment variables")
        .checked(environment::variable)
        .letter('e'),
    Flag::list(
        "env-file",
        "list",
        "Read in a file of environment variables",
    ),
    Flag::switch("interactive", "Keep STDIN open even if not attached").letter('i'),
    Flag::switch("privileged", "Give extended privileges to the command"),
    Flag::switch("tty", "Allocate a pseudo-TTY").letter('t'),
    Flag::one(
        "user",
        "string",
        "Username or UID (format: \"<name|uid>[:<group|gid>]\")",
    )
    .letter('u'),
    Flag::one(
        "workdir",
        "string",
        "Working directory inside the container",
    )
    .letter('w'),
];
