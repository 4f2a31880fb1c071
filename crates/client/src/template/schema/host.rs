//! What of a container's configuration is the host's.

use super::container::{PORT_MAP, STR_SLICE};
use super::{embedded, field, maybe, named, pointer, structure};
use crate::template::value::{BOOL, INT, INT64, Is, Struct, TEXT, TEXT_MAP, TEXTS, Type};

static UINT: Type = Type::Uint("uint");
static UINT16: Type = Type::Uint("uint16");
static UINT64: Type = Type::Uint("uint64");
static CONSOLE_SIZE: Type = Type::List("[2]uint", &UINT);
static TEXT_LISTS: Type = Type::List("", &TEXTS);
static WEIGHTS: Type = Type::List("", &WEIGHT);
static THROTTLES: Type = Type::List("", &THROTTLE);
static DEVICES: Type = Type::List("", &DEVICE);
static DEVICE_REQUESTS: Type = Type::List("", &DEVICE_REQUEST);
static ULIMITS: Type = Type::List("", &ULIMIT);
static MOUNTS: Type = Type::List("", &MOUNT);
static NETWORK_MODE: Type = Type::Text("container.NetworkMode");
static RESTART_MODE: Type = Type::Text("container.RestartPolicyMode");
static CGROUPNS_MODE: Type = Type::Text("container.CgroupnsMode");
static IPC_MODE: Type = Type::Text("container.IpcMode");
static CGROUP_SPEC: Type = Type::Text("container.CgroupSpec");
static PID_MODE: Type = Type::Text("container.PidMode");
static UTS_MODE: Type = Type::Text("container.UTSMode");
static USERNS_MODE: Type = Type::Text("container.UsernsMode");
static ISOLATION: Type = Type::Text("container.Isolation");
static MOUNT_TYPE: Type = Type::Text("mount.Type");
static CONSISTENCY: Type = Type::Text("mount.Consistency");
static PROPAGATION: Type = Type::Text("mount.Propagation");
static FILE_MODE: Type = Type::Uint("fs.FileMode");

/// A limit prints itself: `nofile=100:200`.
static ULIMIT_OF: Type = Type::Struct(&Struct {
    name: "units.Ulimit",
    fields: &[
        field("Name", &TEXT),
        field("Hard", &INT64),
        field("Soft", &INT64),
    ],
    text: Some(|limit| {
        let text = |name| limit.field(name).and_then(Result::ok).map(|value| value.is);
        let (Some(Is::Text(name)), Some(Is::Int(soft)), Some(Is::Int(hard))) =
            (text("Name"), text("Soft"), text("Hard"))
        else {
            return String::new();
        };
        format!("{name}={soft}:{hard}")
    }),
});

pointer! {
    NUMBER = INT64;
    FLAG = BOOL;
    WEIGHT = WEIGHT_OF;
    THROTTLE = THROTTLE_OF;
    ULIMIT = ULIMIT_OF;
    BIND = BIND_OF;
    VOLUME = VOLUME_OF;
    IMAGE = IMAGE_OF;
    TMPFS = TMPFS_OF;
    CLUSTER = CLUSTER_OF;
    DRIVER = DRIVER_OF;
}

structure! {
    HOST_CONFIG_OF = "container.HostConfig" [
        field("Binds", &TEXTS),
        field("ContainerIDFile", &TEXT),
        field("LogConfig", &LOG_CONFIG),
        field("NetworkMode", &NETWORK_MODE),
        field("PortBindings", &PORT_MAP),
        field("RestartPolicy", &RESTART_POLICY),
        field("AutoRemove", &BOOL),
        field("VolumeDriver", &TEXT),
        field("VolumesFrom", &TEXTS),
        field("ConsoleSize", &CONSOLE_SIZE),
        maybe("Annotations", &TEXT_MAP),
        field("CapAdd", &STR_SLICE),
        field("CapDrop", &STR_SLICE),
        field("CgroupnsMode", &CGROUPNS_MODE),
        named("DNS", "Dns", &TEXTS),
        named("DNSOptions", "DnsOptions", &TEXTS),
        named("DNSSearch", "DnsSearch", &TEXTS),
        field("ExtraHosts", &TEXTS),
        field("GroupAdd", &TEXTS),
        field("IpcMode", &IPC_MODE),
        field("Cgroup", &CGROUP_SPEC),
        field("Links", &TEXTS),
        field("OomScoreAdj", &INT),
        field("PidMode", &PID_MODE),
        field("Privileged", &BOOL),
        field("PublishAllPorts", &BOOL),
        field("ReadonlyRootfs", &BOOL),
        field("SecurityOpt", &TEXTS),
        maybe("StorageOpt", &TEXT_MAP),
        maybe("Tmpfs", &TEXT_MAP),
        field("UTSMode", &UTS_MODE),
        field("UsernsMode", &USERNS_MODE),
        field("ShmSize", &INT64),
        maybe("Sysctls", &TEXT_MAP),
        maybe("Runtime", &TEXT),
        field("Isolation", &ISOLATION),
        embedded("Resources", &RESOURCES),
        maybe("Mounts", &MOUNTS),
        field("MaskedPaths", &TEXTS),
        field("ReadonlyPaths", &TEXTS),
        maybe("Init", &FLAG),
    ];
    RESOURCES = "container.Resources" [
        named("CPUShares", "CpuShares", &INT64),
        field("Memory", &INT64),
        named("NanoCPUs", "NanoCpus", &INT64),
        field("CgroupParent", &TEXT),
        field("BlkioWeight", &UINT16),
        field("BlkioWeightDevice", &WEIGHTS),
        field("BlkioDeviceReadBps", &THROTTLES),
        field("BlkioDeviceWriteBps", &THROTTLES),
        field("BlkioDeviceReadIOps", &THROTTLES),
        field("BlkioDeviceWriteIOps", &THROTTLES),
        named("CPUPeriod", "CpuPeriod", &INT64),
        named("CPUQuota", "CpuQuota", &INT64),
        named("CPURealtimePeriod", "CpuRealtimePeriod", &INT64),
        named("CPURealtimeRuntime", "CpuRealtimeRuntime", &INT64),
        field("CpusetCpus", &TEXT),
        field("CpusetMems", &TEXT),
        field("Devices", &DEVICES),
        field("DeviceCgroupRules", &TEXTS),
        field("DeviceRequests", &DEVICE_REQUESTS),
        maybe("KernelMemory", &INT64),
        maybe("KernelMemoryTCP", &INT64),
        field("MemoryReservation", &INT64),
        field("MemorySwap", &INT64),
        field("MemorySwappiness", &NUMBER),
        field("OomKillDisable", &FLAG),
        field("PidsLimit", &NUMBER),
        field("Ulimits", &ULIMITS),
        named("CPUCount", "CpuCount", &INT64),
        named("CPUPercent", "CpuPercent", &INT64),
        field("IOMaximumIOps", &UINT64),
        field("IOMaximumBandwidth", &UINT64),
    ];
    LOG_CONFIG = "container.LogConfig" [field("Type", &TEXT), field("Config", &TEXT_MAP)];
    RESTART_POLICY = "container.RestartPolicy" [
        field("Name", &RESTART_MODE),
        field("MaximumRetryCount", &INT),
    ];
    WEIGHT_OF = "blkiodev.WeightDevice" [field("Path", &TEXT), field("Weight", &UINT16)];
    THROTTLE_OF = "blkiodev.ThrottleDevice" [field("Path", &TEXT), field("Rate", &UINT64)];
    DEVICE = "container.DeviceMapping" [
        field("PathOnHost", &TEXT),
        field("PathInContainer", &TEXT),
        field("CgroupPermissions", &TEXT),
    ];
    DEVICE_REQUEST = "container.DeviceRequest" [
        field("Driver", &TEXT),
        field("Count", &INT),
        field("DeviceIDs", &TEXTS),
        field("Capabilities", &TEXT_LISTS),
        field("Options", &TEXT_MAP),
    ];
    MOUNT = "mount.Mount" [
        maybe("Type", &MOUNT_TYPE),
        maybe("Source", &TEXT),
        maybe("Target", &TEXT),
        maybe("ReadOnly", &BOOL),
        maybe("Consistency", &CONSISTENCY),
        maybe("BindOptions", &BIND),
        maybe("VolumeOptions", &VOLUME),
        maybe("ImageOptions", &IMAGE),
        maybe("TmpfsOptions", &TMPFS),
        maybe("ClusterOptions", &CLUSTER),
    ];
    BIND_OF = "mount.BindOptions" [
        maybe("Propagation", &PROPAGATION),
        maybe("NonRecursive", &BOOL),
        maybe("CreateMountpoint", &BOOL),
        maybe("ReadOnlyNonRecursive", &BOOL),
        maybe("ReadOnlyForceRecursive", &BOOL),
    ];
    VOLUME_OF = "mount.VolumeOptions" [
        maybe("NoCopy", &BOOL),
        maybe("Labels", &TEXT_MAP),
        maybe("Subpath", &TEXT),
        maybe("DriverConfig", &DRIVER),
    ];
    DRIVER_OF = "mount.Driver" [maybe("Name", &TEXT), maybe("Options", &TEXT_MAP)];
    IMAGE_OF = "mount.ImageOptions" [maybe("Subpath", &TEXT)];
    TMPFS_OF = "mount.TmpfsOptions" [
        maybe("SizeBytes", &INT64),
        maybe("Mode", &FILE_MODE),
        maybe("Options", &TEXT_LISTS),
    ];
    CLUSTER_OF = "mount.ClusterOptions" [];
}

/// What of a container's configuration is the host's.
pub(super) static HOST_CONFIG: Type = Type::Pointer(&HOST_CONFIG_OF);
