//! Networks, and how containers are connected to them.

use std::collections::BTreeMap;

use crate::host_config::PortMap;
use crate::wire::wire;

wire! {
    /// The networks that a new container joins.
    pub struct NetworkingConfig {
        /// By network name.
        endpoints_config: Option<BTreeMap<String, EndpointSettings>> = "EndpointsConfig",
    }
}

wire! {
    /// A container's connection to one network: what was asked for, and what was given.
    pub struct EndpointSettings {
        /// Addresses that were asked for.
        ipam_config: Option<EndpointIpamConfig> = "IPAMConfig",
        /// Links that hold on this network.
        links: Option<Vec<String>> = "Links",
        /// Further names of the container.
        aliases: Option<Vec<String>> = "Aliases",
        /// Options of the network's driver.
        driver_opts: Option<BTreeMap<String, String>> = "DriverOpts",
        /// Which network gives the default route: the highest.
        gw_priority: i64 = "GwPriority",
        /// The network's id.
        network_id: String = "NetworkID",
        /// The connection's id; empty while the container does not run.
        endpoint_id: String = "EndpointID",
        /// IPv4 gateway.
        gateway: String = "Gateway",
        /// IPv4 address.
        ip_address: String = "IPAddress",
        /// Hardware address.
        mac_address: String = "MacAddress",
        /// Length of the IPv4 network's prefix.
        ip_prefix_len: i64 = "IPPrefixLen",
        /// IPv6 gateway.
        ipv6_gateway: String = "IPv6Gateway",
        /// IPv6 address.
        global_ipv6_address: String = "GlobalIPv6Address",
        /// Length of the IPv6 network's prefix.
        global_ipv6_prefix_len: i64 = "GlobalIPv6PrefixLen",
        /// Names under which others find the container.
        dns_names: Option<Vec<String>> = "DNSNames",
    }
}

wire! {
    /// Addresses that a container asks for.
    pub struct EndpointIpamConfig {
        /// IPv4 address.
        ipv4_address: String = "IPv4Address" omitempty,
        /// IPv6 address.
        ipv6_address: String = "IPv6Address" omitempty,
        /// Link-local addresses.
        link_local_ips: Vec<String> = "LinkLocalIPs" omitempty,
    }
}

wire! {
    /// A container's network as a whole.
    pub struct NetworkSettings {
        /// Id of the network namespace; empty while the container does not run.
        sandbox_id: String = "SandboxID",
        /// Path of the network namespace.
        sandbox_key: String = "SandboxKey",
        /// Exposed ports, with the host ports that reach them.
        ports: PortMap = "Ports",
        /// Connections by network name.
        networks: BTreeMap<String, EndpointSettings> = "Networks",
    }
}

wire! {
    /// One network.
    pub struct Network {
        /// Name.
        name: String = "Name",
        /// Id.
        id: String = "Id",
        /// When it was made (RFC 3339 with nanoseconds).
        created: String = "Created",
        /// `local` or `swarm`.
        scope: String = "Scope",
        /// Driver.
        driver: String = "Driver",
        /// Whether it has IPv4 addresses.
        enable_ipv4: bool = "EnableIPv4",
        /// Whether it has IPv6 addresses.
        enable_ipv6: bool = "EnableIPv6",
        /// Its addresses.
        ipam: Ipam = "IPAM",
        /// Whether it has no way out.
        internal: bool = "Internal",
        /// Whether containers may join a swarm's network.
        attachable: bool = "Attachable",
        /// Whether it is a swarm's routing mesh.
        ingress: bool = "Ingress",
        /// Network that holds the configuration.
        config_from: NetworkConfigRef = "ConfigFrom",
        /// Whether it holds a configuration only.
        config_only: bool = "ConfigOnly",
        /// Options of the driver.
        options: Option<BTreeMap<String, String>> = "Options",
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// Other members of a swarm's network.
        peers: Vec<NetworkPeer> = "Peers" omitempty,
        /// Connections by container id: only in the answer about one network, where it is never absent.
        containers: Option<BTreeMap<String, EndpointResource>> = "Containers" omitempty,
    }
}

wire! {
    /// Another member of a swarm's network.
    pub struct NetworkPeer {
        /// Name.
        name: String = "Name",
        /// Address.
        ip: String = "IP",
    }
}

wire! {
    /// Network that holds the configuration of another.
    pub struct NetworkConfigRef {
        /// Its name.
        network: String = "Network",
    }
}

wire! {
    /// The addresses of a network.
    pub struct Ipam {
        /// Driver.
        driver: String = "Driver",
        /// Options of the driver.
        options: Option<BTreeMap<String, String>> = "Options",
        /// Subnets.
        config: Option<Vec<IpamConfig>> = "Config",
    }
}

wire! {
    /// One subnet.
    pub struct IpamConfig {
        /// `ADDRESS/PREFIX`.
        subnet: String = "Subnet" omitempty,
        /// The part of it that containers get.
        ip_range: String = "IPRange" omitempty,
        /// The network's own address.
        gateway: String = "Gateway" omitempty,
        /// Addresses that containers do not get, by name.
        auxiliary_addresses: BTreeMap<String, String> = "AuxiliaryAddresses" omitempty,
    }
}

wire! {
    /// A container's connection as its network shows it.
    pub struct EndpointResource {
        /// The container's name.
        name: String = "Name",
        /// The connection's id.
        endpoint_id: String = "EndpointID",
        /// Hardware address.
        mac_address: String = "MacAddress",
        /// `ADDRESS/PREFIX`.
        ipv4_address: String = "IPv4Address",
        /// `ADDRESS/PREFIX`.
        ipv6_address: String = "IPv6Address",
    }
}

wire! {
    /// A network to be made.
    pub struct NetworkCreate {
        /// Name.
        name: String = "Name",
        /// Driver; empty for `bridge`.
        driver: String = "Driver",
        /// `local` or `swarm`.
        scope: String = "Scope",
        /// Whether it has IPv4 addresses; `null` for yes.
        enable_ipv4: Option<bool> = "EnableIPv4" omitempty,
        /// Whether it has IPv6 addresses; `null` for no.
        enable_ipv6: Option<bool> = "EnableIPv6" omitempty,
        /// Its addresses.
        ipam: Option<Ipam> = "IPAM",
        /// Whether it has no way out.
        internal: bool = "Internal",
        /// Whether containers may join a swarm's network.
        attachable: bool = "Attachable",
        /// Whether it is a swarm's routing mesh.
        ingress: bool = "Ingress",
        /// Whether it holds a configuration only.
        config_only: bool = "ConfigOnly",
        /// Network that holds the configuration.
        config_from: Option<NetworkConfigRef> = "ConfigFrom",
        /// Options of the driver.
        options: Option<BTreeMap<String, String>> = "Options",
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
    }
}

wire! {
    /// A network that was made.
    pub struct NetworkCreated {
        /// Its id.
        id: String = "Id",
        /// What the user should know.
        warning: String = "Warning",
    }
}

wire! {
    /// A container that is to be connected to a network.
    pub struct NetworkConnect {
        /// Its name or id.
        container: String = "Container",
        /// What it asks for there.
        endpoint_config: Option<EndpointSettings> = "EndpointConfig",
    }
}

wire! {
    /// A container that is to be disconnected from a network.
    pub struct NetworkDisconnect {
        /// Its name or id.
        container: String = "Container",
        /// Whether it does not matter what state the container is in.
        force: bool = "Force",
    }
}
