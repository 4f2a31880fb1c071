//! Containers.

use super::host::HOST_CONFIG;
use super::image::{DESCRIPTOR, DRIVER_DATA, HEALTHCHECK};
use super::network::ENDPOINTS;
use super::{embedded, field, maybe, named, pointer, structure};
use crate::template::value::{BOOL, INT, INT64, TEXT, TEXT_MAP, TEXTS, Type};

pub(super) static STR_SLICE: Type = Type::List("strslice.StrSlice", &TEXT);
pub(super) static PORT: Type = Type::Text("nat.Port");
/// What a set holds beside its keys.
static NOTHING: Type = Type::Struct(&crate::template::value::Struct {
    name: "struct {}",
    fields: &[],
    text: None,
});
pub(super) static TEXT_SET: Type = Type::Map("", &TEXT, &NOTHING);
static PORT_SET: Type = Type::Map("nat.PortSet", &PORT, &NOTHING);
pub(super) static PORT_MAP: Type = Type::Map("nat.PortMap", &PORT, &BINDINGS);
static BINDINGS: Type = Type::List("", &BINDING);
static MOUNT_POINTS: Type = Type::List("", &MOUNT_POINT);
static MOUNT_TYPE: Type = Type::Text("mount.Type");
static PROPAGATION: Type = Type::Text("mount.Propagation");
static RESULTS: Type = Type::List("", &RESULT);
static TIME: Type = Type::Time;
static ADDRESSES: Type = Type::List("", &ADDRESS);

pointer! {
    BASE = BASE_OF;
    STATE = STATE_OF;
    HEALTH = HEALTH_OF;
    RESULT = RESULT_OF;
    CONFIG_POINTER = CONFIG;
    NETWORK_SETTINGS = NETWORK_SETTINGS_OF;
    NUMBER = INT64;
    SHORT = INT;
}

structure! {
    /// A container as `inspect` tells of it.
    pub(crate) INSPECT = "container.InspectResponse" [
        embedded("ContainerJSONBase", &BASE),
        field("Mounts", &MOUNT_POINTS),
        field("Config", &CONFIG_POINTER),
        field("NetworkSettings", &NETWORK_SETTINGS),
        maybe("ImageManifestDescriptor", &DESCRIPTOR),
    ];
    BASE_OF = "container.ContainerJSONBase" [
        named("ID", "Id", &TEXT),
        field("Created", &TEXT),
        field("Path", &TEXT),
        field("Args", &TEXTS),
        field("State", &STATE),
        field("Image", &TEXT),
        field("ResolvConfPath", &TEXT),
        field("HostnamePath", &TEXT),
        field("HostsPath", &TEXT),
        field("LogPath", &TEXT),
        field("Name", &TEXT),
        field("RestartCount", &INT),
        field("Driver", &TEXT),
        field("Platform", &TEXT),
        field("MountLabel", &TEXT),
        field("ProcessLabel", &TEXT),
        field("AppArmorProfile", &TEXT),
        field("ExecIDs", &TEXTS),
        field("HostConfig", &HOST_CONFIG),
        field("GraphDriver", &DRIVER_DATA),
        maybe("SizeRw", &NUMBER),
        maybe("SizeRootFs", &NUMBER),
    ];
    STATE_OF = "container.State" [
        field("Status", &TEXT),
        field("Running", &BOOL),
        field("Paused", &BOOL),
        field("Restarting", &BOOL),
        field("OOMKilled", &BOOL),
        field("Dead", &BOOL),
        field("Pid", &INT),
        field("ExitCode", &INT),
        field("Error", &TEXT),
        field("StartedAt", &TEXT),
        field("FinishedAt", &TEXT),
        maybe("Health", &HEALTH),
    ];
    HEALTH_OF = "container.Health" [
        field("Status", &TEXT),
        field("FailingStreak", &INT),
        field("Log", &RESULTS),
    ];
    RESULT_OF = "container.HealthcheckResult" [
        field("Start", &TIME),
        field("End", &TIME),
        field("ExitCode", &INT),
        field("Output", &TEXT),
    ];
    MOUNT_POINT = "container.MountPoint" [
        maybe("Type", &MOUNT_TYPE),
        maybe("Name", &TEXT),
        field("Source", &TEXT),
        field("Destination", &TEXT),
        maybe("Driver", &TEXT),
        field("Mode", &TEXT),
        field("RW", &BOOL),
        field("Propagation", &PROPAGATION),
    ];
    /// What a container is made from, beside its host's part.
    pub(super) CONFIG = "container.Config" [
        field("Hostname", &TEXT),
        field("Domainname", &TEXT),
        field("User", &TEXT),
        field("AttachStdin", &BOOL),
        field("AttachStdout", &BOOL),
        field("AttachStderr", &BOOL),
        maybe("ExposedPorts", &PORT_SET),
        field("Tty", &BOOL),
        field("OpenStdin", &BOOL),
        field("StdinOnce", &BOOL),
        field("Env", &TEXTS),
        field("Cmd", &STR_SLICE),
        maybe("Healthcheck", &HEALTHCHECK),
        maybe("ArgsEscaped", &BOOL),
        field("Image", &TEXT),
        field("Volumes", &TEXT_SET),
        field("WorkingDir", &TEXT),
        field("Entrypoint", &STR_SLICE),
        maybe("NetworkDisabled", &BOOL),
        maybe("MacAddress", &TEXT),
        field("OnBuild", &TEXTS),
        field("Labels", &TEXT_MAP),
        maybe("StopSignal", &TEXT),
        maybe("StopTimeout", &SHORT),
        maybe("Shell", &STR_SLICE),
    ];
    NETWORK_SETTINGS_OF = "container.NetworkSettings" [
        embedded("NetworkSettingsBase", &NETWORK_SETTINGS_BASE),
        embedded("DefaultNetworkSettings", &DEFAULT_NETWORK_SETTINGS),
        field("Networks", &ENDPOINTS),
    ];
    NETWORK_SETTINGS_BASE = "container.NetworkSettingsBase" [
        field("Bridge", &TEXT),
        field("SandboxID", &TEXT),
        field("SandboxKey", &TEXT),
        field("Ports", &PORT_MAP),
        field("HairpinMode", &BOOL),
        field("LinkLocalIPv6Address", &TEXT),
        field("LinkLocalIPv6PrefixLen", &INT),
        field("SecondaryIPAddresses", &ADDRESSES),
        field("SecondaryIPv6Addresses", &ADDRESSES),
    ];
    DEFAULT_NETWORK_SETTINGS = "container.DefaultNetworkSettings" [
        field("EndpointID", &TEXT),
        field("Gateway", &TEXT),
        field("GlobalIPv6Address", &TEXT),
        field("GlobalIPv6PrefixLen", &INT),
        field("IPAddress", &TEXT),
        field("IPPrefixLen", &INT),
        field("IPv6Gateway", &TEXT),
        field("MacAddress", &TEXT),
    ];
    BINDING = "nat.PortBinding" [
        named("HostIP", "HostIp", &TEXT),
        field("HostPort", &TEXT),
    ];
    ADDRESS = "network.Address" [field("Addr", &TEXT), field("PrefixLen", &INT)];
}
