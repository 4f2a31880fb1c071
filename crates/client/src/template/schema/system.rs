//! The engine and the client: `info` and `version`.

use super::{embedded, field, maybe, maybe_named, named, pointer, structure};
use crate::template::value::{ANY_LIST, ANY_MAP, BOOL, INT, INT64, TEXT, TEXT_MAP, TEXTS, Type};

static PAIR: Type = Type::List("[2]string", &TEXT);
static PAIRS: Type = Type::List("", &PAIR);
static NET: Type = Type::Text("registry.NetIPNet");
static NETS: Type = Type::List("", &NET_POINTER);
static INDEXES: Type = Type::Map("", &TEXT, &INDEX);
static RESOURCES: Type = Type::List("", &RESOURCE);
static RUNTIMES: Type = Type::Map("", &TEXT, &RUNTIME);
static NODE_STATE: Type = Type::Text("swarm.LocalNodeState");
static ISOLATION: Type = Type::Text("container.Isolation");
static SWARM_PEERS: Type = Type::List("", &SWARM_PEER);
static POOLS: Type = Type::List("", &POOL);
static DEVICES: Type = Type::List("", &DEVICE);
static COMPONENTS: Type = Type::List("", &COMPONENT);

pointer! {
    INFO_POINTER = INFO;
    CLIENT_INFO = CLIENT_INFO_OF;
    NET_POINTER = NET;
    REGISTRY_CONFIG = REGISTRY_CONFIG_OF;
    INDEX = INDEX_OF;
    NAMED_RESOURCE = NAMED_RESOURCE_OF;
    DISCRETE_RESOURCE = DISCRETE_RESOURCE_OF;
    CLUSTER = CLUSTER_OF;
    FIREWALL = FIREWALL_OF;
    CONTAINERD = CONTAINERD_OF;
    PLATFORM_INFO = NAME_OF;
    SERVER = SERVER_OF;
}

structure! {
    /// What `info` shows.
    pub(crate) DOCKER_INFO = "system.dockerInfo" [
        embedded("Info", &INFO_POINTER),
        maybe("ServerErrors", &TEXTS),
        named("UserName", "", &TEXT),
        maybe("ClientInfo", &CLIENT_INFO),
        maybe("ClientErrors", &TEXTS),
    ];
    INFO = "system.Info" [
        field("ID", &TEXT),
        field("Containers", &INT),
        field("ContainersRunning", &INT),
        field("ContainersPaused", &INT),
        field("ContainersStopped", &INT),
        field("Images", &INT),
        field("Driver", &TEXT),
        field("DriverStatus", &PAIRS),
        maybe("SystemStatus", &PAIRS),
        field("Plugins", &PLUGINS),
        field("MemoryLimit", &BOOL),
        field("SwapLimit", &BOOL),
        maybe("KernelMemory", &BOOL),
        maybe("KernelMemoryTCP", &BOOL),
        named("CPUCfsPeriod", "CpuCfsPeriod", &BOOL),
        named("CPUCfsQuota", "CpuCfsQuota", &BOOL),
        field("CPUShares", &BOOL),
        field("CPUSet", &BOOL),
        field("PidsLimit", &BOOL),
        field("IPv4Forwarding", &BOOL),
        field("Debug", &BOOL),
        field("NFd", &INT),
        field("OomKillDisable", &BOOL),
        field("NGoroutines", &INT),
        field("SystemTime", &TEXT),
        field("LoggingDriver", &TEXT),
        field("CgroupDriver", &TEXT),
        maybe("CgroupVersion", &TEXT),
        field("NEventsListener", &INT),
        field("KernelVersion", &TEXT),
        field("OperatingSystem", &TEXT),
        field("OSVersion", &TEXT),
        field("OSType", &TEXT),
        field("Architecture", &TEXT),
        field("IndexServerAddress", &TEXT),
        field("RegistryConfig", &REGISTRY_CONFIG),
        field("NCPU", &INT),
        field("MemTotal", &INT64),
        field("GenericResources", &RESOURCES),
        field("DockerRootDir", &TEXT),
        named("HTTPProxy", "HttpProxy", &TEXT),
        named("HTTPSProxy", "HttpsProxy", &TEXT),
        field("NoProxy", &TEXT),
        field("Name", &TEXT),
        field("Labels", &TEXTS),
        field("ExperimentalBuild", &BOOL),
        field("ServerVersion", &TEXT),
        field("Runtimes", &RUNTIMES),
        field("DefaultRuntime", &TEXT),
        field("Swarm", &SWARM),
        field("LiveRestoreEnabled", &BOOL),
        field("Isolation", &ISOLATION),
        field("InitBinary", &TEXT),
        field("ContainerdCommit", &COMMIT),
        field("RuncCommit", &COMMIT),
        field("InitCommit", &COMMIT),
        field("SecurityOptions", &TEXTS),
        maybe("ProductLicense", &TEXT),
        maybe("DefaultAddressPools", &POOLS),
        maybe("FirewallBackend", &FIREWALL),
        field("CDISpecDirs", &TEXTS),
        maybe("DiscoveredDevices", &DEVICES),
        maybe("Containerd", &CONTAINERD),
        field("Warnings", &TEXTS),
    ];
    PLUGINS = "system.PluginsInfo" [
        field("Volume", &TEXTS),
        field("Network", &TEXTS),
        field("Authorization", &TEXTS),
        field("Log", &TEXTS),
    ];
    // In the order in which docker's JSON has it.
    REGISTRY_CONFIG_OF = "registry.ServiceConfig" [
        named("AllowNondistributableArtifactsCIDRs", "", &NETS),
        named("AllowNondistributableArtifactsHostnames", "", &TEXTS),
        field("IndexConfigs", &INDEXES),
        field("InsecureRegistryCIDRs", &NETS),
        field("Mirrors", &TEXTS),
        named("ExtraFields", "", &ANY_MAP),
    ];
    INDEX_OF = "registry.IndexInfo" [
        field("Mirrors", &TEXTS),
        field("Name", &TEXT),
        field("Official", &BOOL),
        field("Secure", &BOOL),
    ];
    RESOURCE = "swarm.GenericResource" [
        maybe("NamedResourceSpec", &NAMED_RESOURCE),
        maybe("DiscreteResourceSpec", &DISCRETE_RESOURCE),
    ];
    NAMED_RESOURCE_OF = "swarm.NamedGenericResource" [maybe("Kind", &TEXT), maybe("Value", &TEXT)];
    DISCRETE_RESOURCE_OF = "swarm.DiscreteGenericResource" [
        maybe("Kind", &TEXT),
        maybe("Value", &INT64),
    ];
    RUNTIME = "system.RuntimeWithStatus" [
        embedded("Runtime", &RUNTIME_OF),
        maybe_named("Status", "status", &TEXT_MAP),
    ];
    RUNTIME_OF = "system.Runtime" [
        maybe_named("Path", "path", &TEXT),
        maybe_named("Args", "runtimeArgs", &TEXTS),
        maybe_named("Type", "runtimeType", &TEXT),
        maybe_named("Options", "options", &ANY_MAP),
    ];
    SWARM = "swarm.Info" [
        field("NodeID", &TEXT),
        field("NodeAddr", &TEXT),
        field("LocalNodeState", &NODE_STATE),
        field("ControlAvailable", &BOOL),
        field("Error", &TEXT),
        field("RemoteManagers", &SWARM_PEERS),
        maybe("Nodes", &INT),
        maybe("Managers", &INT),
        maybe("Cluster", &CLUSTER),
        maybe("Warnings", &TEXTS),
    ];
    SWARM_PEER = "swarm.Peer" [field("NodeID", &TEXT), field("Addr", &TEXT)];
    // There are no swarms: it is never more than nil.
    CLUSTER_OF = "swarm.ClusterInfo" [field("ID", &TEXT)];
    COMMIT = "system.Commit" [field("ID", &TEXT), maybe("Expected", &TEXT)];
    POOL = "system.NetworkAddressPool" [field("Base", &TEXT), field("Size", &INT)];
    FIREWALL_OF = "system.FirewallInfo" [field("Driver", &TEXT), maybe("Info", &PAIRS)];
    DEVICE = "system.DeviceInfo" [field("Source", &TEXT), field("ID", &TEXT)];
    CONTAINERD_OF = "system.ContainerdInfo" [
        maybe("Address", &TEXT),
        field("Namespaces", &NAMESPACES),
    ];
    NAMESPACES = "system.ContainerdNamespaces" [field("Containers", &TEXT), field("Plugins", &TEXT)];
    CLIENT_INFO_OF = "system.clientInfo" [
        field("Debug", &BOOL),
        embedded("clientVersion", &CLIENT),
        field("Plugins", &ANY_LIST),
        field("Warnings", &TEXTS),
    ];

    /// What `version` shows.
    pub(crate) VERSION_INFO = "system.versionInfo" [
        field("Client", &CLIENT),
        field("Server", &SERVER),
    ];
    CLIENT = "system.clientVersion" [
        maybe("Platform", &PLATFORM_INFO),
        maybe("Version", &TEXT),
        maybe_named("APIVersion", "ApiVersion", &TEXT),
        maybe("DefaultAPIVersion", &TEXT),
        maybe("GitCommit", &TEXT),
        maybe("GoVersion", &TEXT),
        maybe("Os", &TEXT),
        maybe("Arch", &TEXT),
        maybe("BuildTime", &TEXT),
        field("Context", &TEXT),
    ];
    NAME_OF = "system.platformInfo" [maybe("Name", &TEXT)];
    PLATFORM = "struct { Name string }" [field("Name", &TEXT)];
    SERVER_OF = "types.Version" [
        field("Platform", &PLATFORM),
        maybe("Components", &COMPONENTS),
        field("Version", &TEXT),
        named("APIVersion", "ApiVersion", &TEXT),
        maybe("MinAPIVersion", &TEXT),
        field("GitCommit", &TEXT),
        field("GoVersion", &TEXT),
        field("Os", &TEXT),
        field("Arch", &TEXT),
        maybe("KernelVersion", &TEXT),
        maybe("Experimental", &BOOL),
        maybe("BuildTime", &TEXT),
    ];
    COMPONENT = "types.ComponentVersion" [
        field("Name", &TEXT),
        field("Version", &TEXT),
        maybe("Details", &TEXT_MAP),
    ];
}
