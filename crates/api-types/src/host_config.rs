//! The part of a container's configuration that depends on the host.

use std::collections::BTreeMap;

use crate::mount::Mount;
use crate::wire::wire;

/// Published ports by container port (`80/tcp`). A port without bindings may be `null`.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

wire! {
    /// What the host gives a container: files, network, limits, privileges.
    pub struct HostConfig {
        /// `SOURCE:TARGET[:OPTIONS]`, the source being a host path or a volume's name.
        binds: Option<Vec<String>> = "Binds",
        /// Where the client wrote the id; only kept.
        container_id_file: String = "ContainerIDFile",
        /// Where output goes.
        log_config: LogConfig = "LogConfig",
        /// `default`, `bridge`, `host`, `none`, `container:ID` or a network's name.
        network_mode: String = "NetworkMode",
        /// Host ports by container port.
        port_bindings: Option<PortMap> = "PortBindings",
        /// What happens after the process ended.
        restart_policy: RestartPolicy = "RestartPolicy",
        /// Whether the container is removed when its process ends.
        auto_remove: bool = "AutoRemove",
        /// Driver of volumes that are made for `Binds`.
        volume_driver: String = "VolumeDriver",
        /// Containers whose volumes are taken over, `NAME[:ro|rw]`.
        volumes_from: Option<Vec<String>> = "VolumesFrom",
        /// First size of the terminal: rows, columns; zeros when not known.
        console_size: [u32; 2] = "ConsoleSize",
        /// Words for the runtime.
        annotations: BTreeMap<String, String> = "Annotations" omitempty,
        /// Capabilities beside the default ones.
        cap_add: Option<Vec<String>> = "CapAdd",
        /// Default capabilities to do without.
        cap_drop: Option<Vec<String>> = "CapDrop",
        /// `host`, `private` or empty for the daemon's default.
        cgroupns_mode: String = "CgroupnsMode",
        /// Name servers.
        dns: Option<Vec<String>> = "Dns",
        /// Options of the resolver.
        dns_options: Option<Vec<String>> = "DnsOptions",
        /// Search domains.
        dns_search: Option<Vec<String>> = "DnsSearch",
        /// Lines for /etc/hosts, `NAME:ADDRESS`.
        extra_hosts: Option<Vec<String>> = "ExtraHosts",
        /// Groups of the process beside its own.
        group_add: Option<Vec<String>> = "GroupAdd",
        /// `none`, `private`, `shareable`, `host`, `container:ID` or empty for the daemon's default.
        ipc_mode: String = "IpcMode",
        /// Cgroup to join, `container:ID`.
        cgroup: String = "Cgroup",
        /// Links to other containers, `NAME:ALIAS`.
        links: Option<Vec<String>> = "Links",
        /// Preference of the kernel when memory is out, -1000 to 1000.
        oom_score_adj: i64 = "OomScoreAdj",
        /// Empty, `host` or `container:ID`.
        pid_mode: String = "PidMode",
        /// Whether the container gets every capability and device.
        privileged: bool = "Privileged",
        /// Whether every exposed port is published at a port of the host's choice.
        publish_all_ports: bool = "PublishAllPorts",
        /// Whether the root is mounted read-only.
        readonly_rootfs: bool = "ReadonlyRootfs",
        /// `no-new-privileges`, `seccomp=…`, `label=…`, `apparmor=…`, `systempaths=unconfined`.
        security_opt: Option<Vec<String>> = "SecurityOpt",
        /// Options of the storage driver, such as `size`.
        storage_opt: BTreeMap<String, String> = "StorageOpt" omitempty,
        /// Temporary file systems: options by target.
        tmpfs: BTreeMap<String, String> = "Tmpfs" omitempty,
        /// Empty or `host`.
        uts_mode: String = "UTSMode",
        /// Empty or `host`.
        userns_mode: String = "UsernsMode",
        /// Bytes of /dev/shm; zero for the default.
        shm_size: i64 = "ShmSize",
        /// Kernel settings of the container's namespaces.
        sysctls: BTreeMap<String, String> = "Sysctls" omitempty,
        /// Name of the OCI runtime; empty for the default.
        runtime: String = "Runtime" omitempty,
        /// Isolation (Windows): empty or `default` here.
        isolation: String = "Isolation",
        /// Share of the processors against other containers.
        cpu_shares: i64 = "CpuShares",
        /// Bytes of memory; zero for no limit.
        memory: i64 = "Memory",
        /// Processors in units of 10⁻⁹.
        nano_cpus: i64 = "NanoCpus",
        /// Cgroup below which the container's is made.
        cgroup_parent: String = "CgroupParent",
        /// Weight for block devices, 10 to 1000; zero for none.
        blkio_weight: u16 = "BlkioWeight",
        /// Weights by device.
        blkio_weight_device: Option<Vec<WeightDevice>> = "BlkioWeightDevice",
        /// Bytes per second, reading.
        blkio_device_read_bps: Option<Vec<ThrottleDevice>> = "BlkioDeviceReadBps",
        /// Bytes per second, writing.
        blkio_device_write_bps: Option<Vec<ThrottleDevice>> = "BlkioDeviceWriteBps",
        /// Operations per second, reading.
        blkio_device_read_iops: Option<Vec<ThrottleDevice>> = "BlkioDeviceReadIOps",
        /// Operations per second, writing.
        blkio_device_write_iops: Option<Vec<ThrottleDevice>> = "BlkioDeviceWriteIOps",
        /// Period of the processor quota, in microseconds.
        cpu_period: i64 = "CpuPeriod",
        /// Processor time per period, in microseconds.
        cpu_quota: i64 = "CpuQuota",
        /// Period of the real-time quota, in microseconds.
        cpu_realtime_period: i64 = "CpuRealtimePeriod",
        /// Real-time processor time per period, in microseconds.
        cpu_realtime_runtime: i64 = "CpuRealtimeRuntime",
        /// Processors to run on, `0-2,4`.
        cpuset_cpus: String = "CpusetCpus",
        /// Memory nodes to use, `0-1`.
        cpuset_mems: String = "CpusetMems",
        /// Devices of the host.
        devices: Option<Vec<Device>> = "Devices",
        /// Rules of the device cgroup, `c 13:* rwm`.
        device_cgroup_rules: Option<Vec<String>> = "DeviceCgroupRules",
        /// Devices that a driver provides.
        device_requests: Option<Vec<DeviceRequest>> = "DeviceRequests",
        /// Bytes of kernel memory; clients before 1.42 may set it.
        kernel_memory: i64 = "KernelMemory" omitempty,
        /// Bytes of TCP buffers; clients before 1.52 may set it.
        kernel_memory_tcp: i64 = "KernelMemoryTCP" omitempty,
        /// Soft limit of memory, in bytes.
        memory_reservation: i64 = "MemoryReservation",
        /// Bytes of memory and swap together; -1 for unlimited swap.
        memory_swap: i64 = "MemorySwap",
        /// Willingness to swap, 0 to 100.
        memory_swappiness: Option<i64> = "MemorySwappiness",
        /// Whether processes wait instead of being killed when memory is out.
        oom_kill_disable: Option<bool> = "OomKillDisable",
        /// Number of processes; none, zero or -1 for no limit.
        pids_limit: Option<i64> = "PidsLimit",
        /// Resource limits of the process.
        ulimits: Option<Vec<Ulimit>> = "Ulimits",
        /// Processors (Windows).
        cpu_count: i64 = "CpuCount",
        /// Percent of processors (Windows).
        cpu_percent: i64 = "CpuPercent",
        /// Operations per second of the system drive (Windows).
        io_maximum_iops: u64 = "IOMaximumIOps",
        /// Bytes per second of the system drive (Windows).
        io_maximum_bandwidth: u64 = "IOMaximumBandwidth",
        /// Mounts in their long form.
        mounts: Vec<Mount> = "Mounts" omitempty,
        /// Paths that are hidden; `null` for the default list, empty for none.
        masked_paths: Option<Vec<String>> = "MaskedPaths",
        /// Paths that are read-only; `null` for the default list, empty for none.
        readonly_paths: Option<Vec<String>> = "ReadonlyPaths",
        /// Whether PID 1 is a small init; `null` for the daemon's default.
        init: Option<bool> = "Init" omitempty,
    }
}

wire! {
    /// Where a container's output goes.
    pub struct LogConfig {
        /// Driver; empty for the daemon's default.
        kind: String = "Type",
        /// Options of the driver.
        config: Option<BTreeMap<String, String>> = "Config",
    }
}

wire! {
    /// What happens after the process ended.
    pub struct RestartPolicy {
        /// Empty or `no`, `always`, `unless-stopped`, `on-failure`.
        name: String = "Name",
        /// How often `on-failure` tries; zero for ever.
        maximum_retry_count: i64 = "MaximumRetryCount",
    }
}

wire! {
    /// An address and port of the host.
    pub struct PortBinding {
        /// Address; empty for all.
        host_ip: String = "HostIp",
        /// Port, range, or empty for one of the host's choice.
        host_port: String = "HostPort",
    }
}

wire! {
    /// The weight of one block device.
    pub struct WeightDevice {
        /// Path of the device.
        path: String = "Path",
        /// Weight, 10 to 1000.
        weight: u16 = "Weight",
    }
}

wire! {
    /// The limit of one block device.
    pub struct ThrottleDevice {
        /// Path of the device.
        path: String = "Path",
        /// Bytes or operations per second.
        rate: u64 = "Rate",
    }
}

wire! {
    /// A device of the host.
    pub struct Device {
        /// Path on the host.
        path_on_host: String = "PathOnHost",
        /// Path in the container.
        path_in_container: String = "PathInContainer",
        /// Letters out of `rwm`.
        cgroup_permissions: String = "CgroupPermissions",
    }
}

wire! {
    /// Devices that a driver provides.
    pub struct DeviceRequest {
        /// Name of the driver.
        driver: String = "Driver",
        /// How many; -1 for all.
        count: i64 = "Count",
        /// Which, instead of how many.
        device_ids: Option<Vec<String>> = "DeviceIDs",
        /// What they must be able to do: an `or` of `and`s.
        capabilities: Option<Vec<Vec<String>>> = "Capabilities",
        /// Options of the driver.
        options: Option<BTreeMap<String, String>> = "Options",
    }
}

wire! {
    /// One resource limit.
    pub struct Ulimit {
        /// Name without `RLIMIT_`, in lower case.
        name: String = "Name",
        /// Upper bound; -1 for none.
        hard: i64 = "Hard",
        /// Value in force; -1 for none.
        soft: i64 = "Soft",
    }
}
