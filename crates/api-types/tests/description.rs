//! The bodies have the names and types of the published description of the API.
//!
//! The table beside this file is derived from the description by `description.py`. What differs is listed here, each
//! with its reason; a difference that is not listed fails, and so does one that is listed and gone.

use std::collections::{BTreeMap, BTreeSet};

use api_types::*;

const TABLE: &str = include_str!("description-1.55.tsv");

/// Members of the description that the bodies do not have.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("SwarmInfo", "Nodes", "there is no swarm"),
    ("SwarmInfo", "Managers", "there is no swarm"),
    ("SwarmInfo", "Cluster", "there is no swarm"),
    (
        "ImageInspect",
        "Manifests",
        "only an image store with several platforms has them",
    ),
    ("ImageInspect", "Identity", "signatures are not looked at"),
    (
        "ImageSummary",
        "Manifests",
        "only an image store with several platforms has them",
    ),
    ("OCIDescriptor", "data", "never embedded"),
    ("Volume", "ClusterVolume", "there is no swarm"),
    (
        "SystemInfo",
        "DiscoveredDevices",
        "devices of drivers are not built",
    ),
    ("SystemInfo", "NRI", "not built"),
    ("NetworkInspect", "Services", "there is no swarm"),
    (
        "NetworkInspect",
        "Status",
        "figures of addresses are not built",
    ),
];

/// Members of the bodies that the description does not have.
const ADDED: &[(&str, &str, &str)] = &[
    (
        "ContainerConfig",
        "MacAddress",
        "read from clients before 1.52",
    ),
    (
        "HostConfig",
        "KernelMemory",
        "read from clients before 1.42",
    ),
    (
        "HostConfig",
        "KernelMemoryTCP",
        "read from clients before 1.52",
    ),
    ("Mount", "ClusterOptions", "to refuse it by name"),
    ("ImageInspect", "Parent", "still written when it is set"),
    (
        "ImageInspect",
        "DockerVersion",
        "still written when it is set",
    ),
    ("AuthConfig", "auth", "written by clients"),
    ("AuthConfig", "identitytoken", "written by clients"),
    ("AuthConfig", "registrytoken", "written by clients"),
    (
        "CreateImageInfo",
        "stream",
        "lines of a load and of a build",
    ),
    ("CreateImageInfo", "progress", "written for old clients"),
    ("CreateImageInfo", "error", "written for old clients"),
    ("CreateImageInfo", "aux", "lines of a build"),
    ("ProgressDetail", "start", "written by the engine"),
    ("ProgressDetail", "hidecounts", "written by the engine"),
    ("ProgressDetail", "units", "written by the engine"),
];

/// Members whose type differs on purpose.
const OTHER_TYPE: &[(&str, &str, &str)] = &[
    (
        "SystemVersion.Components",
        "Details",
        "described without its members, which are always strings",
    ),
    ("SystemInfo", "GenericResources", "always null"),
    ("SwarmInfo", "RemoteManagers", "always null"),
    (
        "VolumeCreateRequest",
        "ClusterVolumeSpec",
        "only read to refuse it by name",
    ),
];

type Table = BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>;

fn table() -> Table {
    let mut table = Table::new();
    for line in TABLE.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let [body, member, kind, flag] = fields[..] else {
            panic!("a line of four fields is expected: {line}")
        };
        if flag != "path" {
            table.entry(body).or_default().insert(member, kind);
        }
    }
    table
}

/// The bodies by their names in the description.
macro_rules! described {
    ($($body:ident => $name:literal),* $(,)?) => {
        &[$((stringify!($body), $name, $body::MEMBERS)),*]
    };
}

type Described = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const BODIES: &[Described] = described! {
    Actor => "EventActor",
    AddressPool => "SystemInfo.DefaultAddressPools",
    AuthConfig => "AuthConfig",
    AuthResponse => "AuthResponse",
    BindOptions => "Mount.BindOptions",
    BuildCache => "BuildCache",
    Commit => "Commit",
    Component => "SystemVersion.Components",
    Config => "ContainerConfig",
    ContainerCreated => "ContainerCreateResponse",
    ContainerHealthSummary => "ContainerSummary.Health",
    ContainerInspect => "ContainerInspectResponse",
    ContainerState => "ContainerState",
    ContainerSummary => "ContainerSummary",
    ContainerdInfo => "ContainerdInfo",
    ContainerdNamespaces => "ContainerdInfo.Namespaces",
    ContainersPruneReport => "POST /containers/prune 200",
    Descriptor => "OCIDescriptor",
    DescriptorPlatform => "OCIPlatform",
    Device => "DeviceMapping",
    DistributionInspect => "DistributionInspect",
    DeviceRequest => "DeviceRequest",
    DiskUsage => "GET /system/df 200",
    EndpointIpamConfig => "EndpointIPAMConfig",
    EndpointResource => "EndpointResource",
    EndpointSettings => "EndpointSettings",
    ErrorDetail => "ErrorDetail",
    ErrorResponse => "ErrorResponse",
    Event => "EventMessage",
    ExecCreate => "POST /containers/{id}/exec",
    ExecInspect => "GET /exec/{id}/json 200",
    ExecProcess => "ProcessConfig",
    ExecStart => "POST /exec/{id}/start",
    FirewallInfo => "FirewallInfo",
    GraphDriver => "DriverData",
    Health => "Health",
    HealthConfig => "HealthConfig",
    HealthResult => "HealthcheckResult",
    HistoryItem => "ImageHistoryResponseItem",
    HostConfig => "HostConfig",
    IdResponse => "IDResponse",
    ImageConfig => "ImageConfig",
    ImageDeleted => "ImageDeleteResponseItem",
    ImageInspect => "ImageInspect",
    ImageMetadata => "ImageInspect.Metadata",
    ImageMountOptions => "Mount.ImageOptions",
    ImageSummary => "ImageSummary",
    ImagesPruneReport => "POST /images/prune 200",
    IndexInfo => "IndexInfo",
    Ipam => "IPAM",
    IpamConfig => "IPAMConfig",
    LogConfig => "HostConfig.LogConfig",
    Mount => "Mount",
    MountPoint => "MountPoint",
    Network => "NetworkInspect",
    NetworkConfigRef => "ConfigReference",
    NetworkConnect => "NetworkConnectRequest",
    NetworkCreate => "POST /networks/create",
    NetworkCreated => "NetworkCreateResponse",
    NetworkDisconnect => "NetworkDisconnectRequest",
    NetworkPeer => "PeerInfo",
    NetworkSettings => "NetworkSettings",
    NetworkingConfig => "NetworkingConfig",
    NetworksPruneReport => "POST /networks/prune 200",
    PathChange => "FilesystemChange",
    Platform => "SystemVersion.Platform",
    Plugins => "PluginsInfo",
    PortBinding => "PortBinding",
    PortSummary => "PortSummary",
    Progress => "CreateImageInfo",
    ProgressDetail => "ProgressDetail",
    RegistryConfig => "RegistryServiceConfig",
    RestartPolicy => "RestartPolicy",
    RootFs => "ImageInspect.RootFS",
    RootFsStorage => "RootFSStorage",
    Runtime => "Runtime",
    Snapshot => "RootFSStorageSnapshot",
    ContainerStats => "ContainerStatsResponse",
    PidsStats => "ContainerPidsStats",
    BlkioEntry => "ContainerBlkioStatEntry",
    BlkioStats => "ContainerBlkioStats",
    StorageStats => "ContainerStorageStats",
    CpuStats => "ContainerCPUStats",
    CpuUsage => "ContainerCPUUsage",
    ThrottlingData => "ContainerThrottlingData",
    MemoryStats => "ContainerMemoryStats",
    NetworkStats => "ContainerNetworkStats",
    Storage => "Storage",
    SummaryHostConfig => "ContainerSummary.HostConfig",
    SummaryNetworkSettings => "ContainerSummary.NetworkSettings",
    SwarmInfo => "SwarmInfo",
    SystemInfo => "SystemInfo",
    ThrottleDevice => "ThrottleDevice",
    TmpfsOptions => "Mount.TmpfsOptions",
    TopResponse => "ContainerTopResponse",
    Ulimit => "HostConfig.Ulimits",
    UpdateResponse => "ContainerUpdateResponse",
    Version => "SystemVersion",
    Volume => "Volume",
    VolumeCreate => "VolumeCreateRequest",
    VolumeDriverConfig => "Mount.VolumeOptions.DriverConfig",
    VolumeList => "VolumeListResponse",
    VolumeOptions => "Mount.VolumeOptions",
    VolumeUsage => "Volume.UsageData",
    VolumesPruneReport => "POST /volumes/prune 200",
    WaitError => "ContainerWaitExitError",
    WaitResponse => "ContainerWaitResponse",
    WeightDevice => "HostConfig.BlkioWeightDevice",
};

fn differences() -> BTreeSet<(String, String)> {
    let table = table();
    let mut found = BTreeSet::new();
    for &(body, name, members) in BODIES {
        let described = table
            .get(name)
            .unwrap_or_else(|| panic!("the description has no {name} (for {body})"));
        for member in described
            .keys()
            .filter(|member| !members.iter().any(|(ours, _)| ours == *member))
        {
            found.insert((name.to_owned(), (*member).to_owned()));
        }
        for (member, _) in members
            .iter()
            .filter(|(member, _)| !described.contains_key(member))
        {
            found.insert((name.to_owned(), (*member).to_owned()));
        }
    }
    found
}

#[test]
fn bodies_have_the_members_of_the_description() {
    let listed: BTreeSet<_> = LEFT_OUT
        .iter()
        .chain(ADDED)
        .map(|(body, member, _)| ((*body).to_owned(), (*member).to_owned()))
        .collect();
    let found = differences();
    let unexpected: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(
        unexpected.is_empty(),
        "differences that are not listed: {unexpected:#?}"
    );
    assert!(
        gone.is_empty(),
        "listed differences that are gone: {gone:#?}"
    );
}

/// The type of the description that a type here stands for: bodies by their names there.
fn described_type(ours: &str) -> String {
    let ours = ours.trim().trim_start_matches("crate::");
    if let Some(inner) = ours
        .strip_prefix("Option<")
        .and_then(|rest| rest.strip_suffix('>'))
    {
        return described_type(inner);
    }
    if let Some(inner) = ours
        .strip_prefix("Vec<")
        .and_then(|rest| rest.strip_suffix('>'))
    {
        return format!("[{}]", described_type(inner));
    }
    if let Some(inner) = ours
        .strip_prefix("BTreeMap<String,")
        .and_then(|rest| rest.strip_suffix('>'))
    {
        return format!("{{{}}}", described_type(inner));
    }
    if let Some((inner, _)) = ours.strip_prefix('[').and_then(|rest| rest.split_once(';')) {
        return format!("[{}]", described_type(inner));
    }
    match ours {
        "String" => "string".to_owned(),
        "bool" => "boolean".to_owned(),
        "i64" | "u64" | "u32" | "u16" | "u8" => "integer".to_owned(),
        "Words" => "[string]".to_owned(),
        "PortMap" => "{[PortBinding]}".to_owned(),
        "Empty" | "serde_json::Value" => "object".to_owned(),
        "Usage<ImageSummary>" => "ImagesDiskUsage".to_owned(),
        "Usage<ContainerSummary>" => "ContainersDiskUsage".to_owned(),
        "Usage<Volume>" => "VolumesDiskUsage".to_owned(),
        "Usage<BuildCache>" => "BuildCacheDiskUsage".to_owned(),
        body => BODIES
            .iter()
            .find(|(name, ..)| *name == body)
            .map_or_else(|| body.to_owned(), |(_, name, _)| (*name).to_owned()),
    }
}

#[test]
fn members_have_the_types_of_the_description() {
    let table = table();
    let mut wrong = Vec::new();
    for &(_, name, members) in BODIES {
        for (member, ours) in members {
            let Some(theirs) = table[name].get(member) else {
                continue;
            };
            if OTHER_TYPE
                .iter()
                .any(|(body, other, _)| (body, other) == (&name, member))
            {
                continue;
            }
            let ours = described_type(ours);
            if ours != *theirs {
                wrong.push(format!(
                    "{name}.{member}: {ours} here, {theirs} in the description"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
