//! The engine and its host.

use std::collections::BTreeMap;

use crate::wire::wire;

wire! {
    /// The engine's version.
    pub struct Version {
        /// What is running.
        platform: Platform = "Platform",
        /// Its parts.
        components: Vec<Component> = "Components" omitempty,
        /// Version of the engine.
        version: String = "Version",
        /// Newest version of the API.
        api_version: String = "ApiVersion",
        /// Oldest version of the API.
        min_api_version: String = "MinAPIVersion" omitempty,
        /// Revision of the source.
        git_commit: String = "GitCommit",
        /// Version of the compiler's language.
        go_version: String = "GoVersion",
        /// Operating system.
        os: String = "Os",
        /// Processor, in Go's words.
        arch: String = "Arch",
        /// Version of the kernel.
        kernel_version: String = "KernelVersion" omitempty,
        /// Whether experimental features are on.
        experimental: bool = "Experimental" omitempty,
        /// When the engine was built (RFC 3339).
        build_time: String = "BuildTime" omitempty,
    }
}

wire! {
    /// What is running.
    pub struct Platform {
        /// Name for people.
        name: String = "Name",
    }
}

wire! {
    /// One part of the engine.
    pub struct Component {
        /// Name.
        name: String = "Name",
        /// Version.
        version: String = "Version",
        /// More.
        details: BTreeMap<String, String> = "Details" omitempty,
    }
}

wire! {
    /// Everything about the engine and its host.
    pub struct SystemInfo {
        /// Id of the engine.
        id: String = "ID",
        /// Number of containers.
        containers: i64 = "Containers",
        /// Of them, how many run.
        containers_running: i64 = "ContainersRunning",
        /// Of them, how many are paused.
        containers_paused: i64 = "ContainersPaused",
        /// Of them, how many do not run.
        containers_stopped: i64 = "ContainersStopped",
        /// Number of images.
        images: i64 = "Images",
        /// Storage driver.
        driver: String = "Driver",
        /// What the storage driver says: name and value.
        driver_status: Option<Vec<[String; 2]>> = "DriverStatus",
        /// Drivers by kind.
        plugins: Plugins = "Plugins",
        /// Whether memory can be limited.
        memory_limit: bool = "MemoryLimit",
        /// Whether swap can be limited.
        swap_limit: bool = "SwapLimit",
        /// Whether the processor's period can be set.
        cpu_cfs_period: bool = "CpuCfsPeriod",
        /// Whether the processor's quota can be set.
        cpu_cfs_quota: bool = "CpuCfsQuota",
        /// Whether shares of the processor can be set.
        cpu_shares: bool = "CPUShares",
        /// Whether processors can be chosen.
        cpu_set: bool = "CPUSet",
        /// Whether the number of processes can be limited.
        pids_limit: bool = "PidsLimit",
        /// Whether the host forwards IPv4.
        ipv4_forwarding: bool = "IPv4Forwarding",
        /// Whether the daemon logs more.
        debug: bool = "Debug",
        /// Open descriptors of the daemon, when it debugs.
        nfd: i64 = "NFd",
        /// Whether the kernel's killer can be switched off.
        oom_kill_disable: bool = "OomKillDisable",
        /// Tasks of the daemon, when it debugs.
        ngoroutines: i64 = "NGoroutines",
        /// The host's time (RFC 3339 with nanoseconds).
        system_time: String = "SystemTime",
        /// Default log driver.
        logging_driver: String = "LoggingDriver",
        /// `cgroupfs`, `systemd` or `none`.
        cgroup_driver: String = "CgroupDriver",
        /// `1` or `2`.
        cgroup_version: String = "CgroupVersion" omitempty,
        /// Clients that follow events.
        nevents_listener: i64 = "NEventsListener",
        /// Version of the kernel.
        kernel_version: String = "KernelVersion",
        /// Name of the operating system.
        operating_system: String = "OperatingSystem",
        /// Version of the operating system.
        os_version: String = "OSVersion",
        /// `linux`.
        os_type: String = "OSType",
        /// Processor, in the kernel's words.
        architecture: String = "Architecture",
        /// The registry for names without one.
        index_server_address: String = "IndexServerAddress",
        /// Registries.
        registry_config: RegistryConfig = "RegistryConfig",
        /// Number of processors.
        ncpu: i64 = "NCPU",
        /// Bytes of memory.
        mem_total: i64 = "MemTotal",
        /// Other resources of a swarm's node.
        generic_resources: Option<Vec<serde_json::Value>> = "GenericResources",
        /// Where everything is kept.
        docker_root_dir: String = "DockerRootDir",
        /// Proxy for HTTP.
        http_proxy: String = "HttpProxy",
        /// Proxy for HTTPS.
        https_proxy: String = "HttpsProxy",
        /// What goes without a proxy.
        no_proxy: String = "NoProxy",
        /// Name of the host.
        name: String = "Name",
        /// Labels of the daemon.
        labels: Vec<String> = "Labels",
        /// Whether experimental features are on.
        experimental_build: bool = "ExperimentalBuild",
        /// Version of the engine.
        server_version: String = "ServerVersion",
        /// Runtimes by name.
        runtimes: BTreeMap<String, Runtime> = "Runtimes",
        /// The runtime for containers that name none.
        default_runtime: String = "DefaultRuntime",
        /// The swarm, of which there is none.
        swarm: SwarmInfo = "Swarm",
        /// Whether containers outlive the daemon.
        live_restore_enabled: bool = "LiveRestoreEnabled",
        /// Isolation (Windows).
        isolation: String = "Isolation",
        /// The program that is PID 1 with `--init`.
        init_binary: String = "InitBinary",
        /// Revision of containerd.
        containerd_commit: Commit = "ContainerdCommit",
        /// Revision of the OCI runtime.
        runc_commit: Commit = "RuncCommit",
        /// Revision of the init.
        init_commit: Commit = "InitCommit",
        /// Security features, each `name=NAME[,KEY=VALUE…]`.
        security_options: Vec<String> = "SecurityOptions",
        /// Licence of the product.
        product_license: String = "ProductLicense" omitempty,
        /// Where new networks' addresses come from.
        default_address_pools: Vec<AddressPool> = "DefaultAddressPools" omitempty,
        /// What filters packets.
        firewall_backend: Option<FirewallInfo> = "FirewallBackend" omitempty,
        /// Folders with descriptions of devices.
        cdi_spec_dirs: Vec<String> = "CDISpecDirs",
        /// The containerd in use, if there is one.
        containerd: Option<ContainerdInfo> = "Containerd" omitempty,
        /// What the user should know.
        warnings: Option<Vec<String>> = "Warnings",
    }
}

wire! {
    /// Drivers by kind.
    pub struct Plugins {
        /// Of volumes.
        volume: Option<Vec<String>> = "Volume",
        /// Of networks.
        network: Option<Vec<String>> = "Network",
        /// Of authorization.
        authorization: Option<Vec<String>> = "Authorization",
        /// Of logs.
        log: Option<Vec<String>> = "Log",
    }
}

wire! {
    /// Registries.
    pub struct RegistryConfig {
        /// Networks whose registries need no TLS.
        insecure_registry_cidrs: Vec<String> = "InsecureRegistryCIDRs",
        /// Registries by name.
        index_configs: BTreeMap<String, IndexInfo> = "IndexConfigs",
        /// Mirrors of the default registry.
        mirrors: Option<Vec<String>> = "Mirrors",
    }
}

wire! {
    /// One registry.
    pub struct IndexInfo {
        /// Name.
        name: String = "Name",
        /// Its mirrors.
        mirrors: Vec<String> = "Mirrors",
        /// Whether it needs TLS.
        secure: bool = "Secure",
        /// Whether it is the default registry.
        official: bool = "Official",
    }
}

wire! {
    /// A runtime.
    pub struct Runtime {
        /// Its program.
        path: String = "path" omitempty,
        /// Arguments before its own.
        runtime_args: Vec<String> = "runtimeArgs" omitempty,
        /// What it says of itself.
        status: BTreeMap<String, String> = "status" omitempty,
    }
}

wire! {
    /// A swarm.
    pub struct SwarmInfo {
        /// This node.
        node_id: String = "NodeID",
        /// Its address.
        node_addr: String = "NodeAddr",
        /// `inactive`: there is no swarm.
        local_node_state: String = "LocalNodeState",
        /// Whether this node manages.
        control_available: bool = "ControlAvailable",
        /// Why it failed.
        error: String = "Error",
        /// Other managers.
        remote_managers: Option<Vec<serde_json::Value>> = "RemoteManagers",
    }
}

wire! {
    /// A revision.
    pub struct Commit {
        /// Its id.
        id: String = "ID",
    }
}

wire! {
    /// A range of addresses for new networks.
    pub struct AddressPool {
        /// `ADDRESS/PREFIX`.
        base: String = "Base",
        /// Prefix of each network.
        size: i64 = "Size",
    }
}

wire! {
    /// What filters packets.
    pub struct FirewallInfo {
        /// `nftables`, `iptables`, …
        driver: String = "Driver",
        /// More: name and value.
        info: Vec<[String; 2]> = "Info" omitempty,
    }
}

wire! {
    /// The containerd in use.
    pub struct ContainerdInfo {
        /// Its socket.
        address: String = "Address" omitempty,
        /// Its namespaces.
        namespaces: ContainerdNamespaces = "Namespaces",
    }
}

wire! {
    /// The namespaces in containerd.
    pub struct ContainerdNamespaces {
        /// Of containers.
        containers: String = "Containers",
        /// Of plugins.
        plugins: String = "Plugins",
    }
}

wire! {
    /// Credentials for a registry.
    pub struct AuthConfig {
        /// User.
        username: String = "username" omitempty,
        /// Password.
        password: String = "password" omitempty,
        /// Both, in base 64.
        auth: String = "auth" omitempty,
        /// Registry.
        server_address: String = "serveraddress" omitempty,
        /// A token for new tokens.
        identity_token: String = "identitytoken" omitempty,
        /// A token for the registry itself.
        registry_token: String = "registrytoken" omitempty,
    }
}

wire! {
    /// The answer to a login.
    pub struct AuthResponse {
        /// A sentence.
        status: String = "Status",
        /// A token for new tokens.
        identity_token: String = "IdentityToken" omitempty,
    }
}
