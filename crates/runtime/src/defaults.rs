//! What a container has when nobody asks for anything else: Docker's defaults.

use std::path::Path;
use std::sync::LazyLock;

use crate::plan::{Device, DeviceKind, MountAttrs, MountEntry, MountKind, TargetKind, attr};

/// The environment's PATH.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The size of /dev/shm in bytes.
pub const SHM_SIZE: u64 = 64 << 20;

/// Kernel parameters of a network namespace that is the container's own: ports below 1024 and ICMP echo need no rights.
pub const NETWORK_SYSCTLS: [(&str, &str); 2] = [
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

/// The mounts of a container that is not privileged, without cgroups: /proc, /dev, /dev/pts, /sys, /dev/mqueue and
/// /dev/shm of [`SHM_SIZE`].
pub fn mounts() -> Vec<MountEntry> {
    let plain = MountAttrs::NO_SUID_NO_DEV_NO_EXEC;
    vec![
        file_system("/proc", "proc", plain, &[]),
        dev(),
        file_system(
            "/dev/pts",
            "devpts",
            MountAttrs::NO_SUID_NO_EXEC,
            &DEVPTS_OPTIONS,
        ),
        file_system("/sys", "sysfs", plain.read_only(), &[]),
        file_system("/dev/mqueue", "mqueue", plain, &[]),
        shm(SHM_SIZE),
    ]
}

/// Options of a container's devpts; `gid` is the group `tty`.
pub const DEVPTS_OPTIONS: [(&str, &str); 3] =
    [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];

/// /dev: an empty tmpfs that device nodes are made in.
pub fn dev() -> MountEntry {
    let attrs = MountAttrs::of(attr::NO_SUID | attr::STRICT_ATIME);
    file_system(
        "/dev",
        "tmpfs",
        attrs,
        &[("mode", "755"), ("size", "65536k")],
    )
}

/// /dev/shm of `size` bytes.
pub fn shm(size: u64) -> MountEntry {
    let size = size.to_string();
    let options = [("mode", "1777"), ("size", size.as_str())];
    let mut entry = file_system(
        "/dev/shm",
        "tmpfs",
        MountAttrs::NO_SUID_NO_DEV_NO_EXEC,
        &options,
    );
    if let MountKind::Fs { source, .. } = &mut entry.kind {
        *source = "shm".to_owned();
    }
    entry
}

/// A new file system at a folder.
pub fn file_system(
    target: &str,
    fstype: &str,
    attrs: MountAttrs,
    options: &[(&str, &str)],
) -> MountEntry {
    let options = options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned())));
    MountEntry {
        target: target.to_owned(),
        kind: MountKind::Fs {
            fstype: fstype.to_owned(),
            source: String::new(),
            options: options.collect(),
        },
        attrs,
        propagation: None,
        create_target: TargetKind::Dir,
    }
}

/// /sys/fs/cgroup where version 2 rules alone: read-only, rooted at the process's cgroup namespace.
pub fn cgroup_unified() -> MountEntry {
    let attrs = MountAttrs::NO_SUID_NO_DEV_NO_EXEC.read_only();
    file_system("/sys/fs/cgroup", "cgroup2", attrs, &[])
}

/// /sys/fs/cgroup where version 1 has controllers: a read-only tmpfs with a folder for each hierarchy.
///
/// `hierarchies` are (folder's name, what is mounted there): the container's group, as [`MountKind::Bind`] or
/// [`MountKind::Detached`]; with a cgroup namespace of its own [`cgroup_hierarchy`].
pub fn cgroup_hierarchies(hierarchies: Vec<(String, MountKind)>) -> Vec<MountEntry> {
    let attrs = MountAttrs::NO_SUID_NO_DEV_NO_EXEC.read_only();
    let mut mounts = vec![file_system(
        "/sys/fs/cgroup",
        "tmpfs",
        attrs,
        &[("mode", "755")],
    )];
    mounts.extend(hierarchies.into_iter().map(|(name, kind)| MountEntry {
        target: format!("/sys/fs/cgroup/{name}"),
        kind,
        attrs,
        propagation: None,
        create_target: TargetKind::Dir,
    }));
    mounts
}

/// A version 1 hierarchy as the process's cgroup namespace shows it; `controllers` as in its mount options, for
/// instance `cpu` and `cpuacct`, or `name=systemd`.
pub fn cgroup_hierarchy(controllers: &[&str]) -> MountKind {
    let option = |controller: &&str| match controller.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => ((*controller).to_owned(), None),
    };
    let options = controllers.iter().map(option).collect();
    MountKind::Fs {
        fstype: "cgroup".to_owned(),
        source: String::new(),
        options,
    }
}

/// What changes for a privileged container: nothing is read-only, and no path is hidden or protected.
pub fn privileged_mounts() -> Vec<MountEntry> {
    let mut mounts = mounts();
    for mount in &mut mounts {
        mount.attrs.set &= !attr::READ_ONLY;
    }
    mounts
}

/// The device nodes that every container has.
pub fn devices() -> Vec<Device> {
    let nodes = [
        ("null", 3),
        ("zero", 5),
        ("full", 7),
        ("random", 8),
        ("urandom", 9),
    ];
    let memory = nodes.map(|(name, minor)| character(name, 1, minor));
    let mut devices = memory.to_vec();
    devices.push(character("tty", 5, 0));
    devices
}

fn character(name: &str, major: u32, minor: u32) -> Device {
    Device {
        path: format!("/dev/{name}"),
        kind: DeviceKind::Char,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        bind: None,
    }
}

/// The links that every container has in /dev: (what it says, where it is).
///
/// That to the kernel's memory only where the kernel has been built with it (`CONFIG_PROC_KCORE`).
pub fn links() -> Vec<(String, String)> {
    static HAS_KCORE: LazyLock<bool> = LazyLock::new(|| Path::new("/proc/kcore").exists());
    let kcore = HAS_KCORE.then_some(("/proc/kcore", "/dev/core"));
    let always = [
        ("pts/ptmx", "/dev/ptmx"),
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ];
    always
        .into_iter()
        .chain(kcore)
        .map(|(says, at)| (says.to_owned(), at.to_owned()))
        .collect()
}

/// Paths that tell or control too much of the host to be seen.
pub fn masked_paths() -> Vec<String> {
    [
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Paths that control the host and may only be read.
pub fn readonly_paths() -> Vec<String> {
    [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ]
    .map(str::to_owned)
    .to_vec()
}
