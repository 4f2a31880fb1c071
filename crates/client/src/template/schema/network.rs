//! Networks.

use super::{field, maybe, maybe_named, named, pointer, structure};
use crate::template::value::{BOOL, INT, TEXT, TEXT_MAP, TEXTS, Type};

static TIME: Type = Type::Time;
static POOLS: Type = Type::List("", &POOL);
static CONTAINERS: Type = Type::Map("", &TEXT, &ENDPOINT_RESOURCE);
static PEERS: Type = Type::List("", &PEER);
static SERVICES: Type = Type::Map("", &TEXT, &SERVICE);
static TASKS: Type = Type::List("", &TASK);

/// A container's part of its networks, by their names.
pub(super) static ENDPOINTS: Type = Type::Map("", &TEXT, &ENDPOINT);

pointer! {
    ENDPOINT = ENDPOINT_OF;
    ENDPOINT_IPAM = ENDPOINT_IPAM_OF;
}

structure! {
    /// A network as `inspect` tells of it.
    pub(crate) INSPECT = "network.Inspect" [
        field("Name", &TEXT),
        named("ID", "Id", &TEXT),
        field("Created", &TIME),
        field("Scope", &TEXT),
        field("Driver", &TEXT),
        field("EnableIPv4", &BOOL),
        field("EnableIPv6", &BOOL),
        field("IPAM", &IPAM),
        field("Internal", &BOOL),
        field("Attachable", &BOOL),
        field("Ingress", &BOOL),
        field("ConfigFrom", &CONFIG_FROM),
        field("ConfigOnly", &BOOL),
        field("Containers", &CONTAINERS),
        field("Options", &TEXT_MAP),
        field("Labels", &TEXT_MAP),
        maybe("Peers", &PEERS),
        maybe("Services", &SERVICES),
    ];
    IPAM = "network.IPAM" [
        field("Driver", &TEXT),
        field("Options", &TEXT_MAP),
        field("Config", &POOLS),
    ];
    POOL = "network.IPAMConfig" [
        maybe("Subnet", &TEXT),
        maybe("IPRange", &TEXT),
        maybe("Gateway", &TEXT),
        maybe_named("AuxAddress", "AuxiliaryAddresses", &TEXT_MAP),
    ];
    CONFIG_FROM = "network.ConfigReference" [field("Network", &TEXT)];
    ENDPOINT_RESOURCE = "network.EndpointResource" [
        field("Name", &TEXT),
        field("EndpointID", &TEXT),
        field("MacAddress", &TEXT),
        field("IPv4Address", &TEXT),
        field("IPv6Address", &TEXT),
    ];
    PEER = "network.PeerInfo" [field("Name", &TEXT), field("IP", &TEXT)];
    SERVICE = "network.ServiceInfo" [
        field("VIP", &TEXT),
        field("Ports", &TEXTS),
        field("LocalLBIndex", &INT),
        field("Tasks", &TASKS),
    ];
    TASK = "network.Task" [
        field("Name", &TEXT),
        field("EndpointID", &TEXT),
        field("EndpointIP", &TEXT),
        field("Info", &TEXT_MAP),
    ];
    ENDPOINT_OF = "network.EndpointSettings" [
        field("IPAMConfig", &ENDPOINT_IPAM),
        field("Links", &TEXTS),
        field("Aliases", &TEXTS),
        field("MacAddress", &TEXT),
        field("DriverOpts", &TEXT_MAP),
        field("GwPriority", &INT),
        field("NetworkID", &TEXT),
        field("EndpointID", &TEXT),
        field("Gateway", &TEXT),
        field("IPAddress", &TEXT),
        field("IPPrefixLen", &INT),
        field("IPv6Gateway", &TEXT),
        field("GlobalIPv6Address", &TEXT),
        field("GlobalIPv6PrefixLen", &INT),
        field("DNSNames", &TEXTS),
    ];
    ENDPOINT_IPAM_OF = "network.EndpointIPAMConfig" [
        maybe("IPv4Address", &TEXT),
        maybe("IPv6Address", &TEXT),
        maybe("LinkLocalIPs", &TEXTS),
    ];
}
