//! `info`, `version`, `system df`.

use std::collections::{BTreeMap, HashSet};

use api_types::{
    Commit, Component, ContainerSummary, DiskUsage, FirewallInfo, ImageSummary, IndexInfo,
    Platform, Plugins, RegistryConfig, Runtime, SwarmInfo, SystemInfo, Usage, Version, Volume,
    texts,
};

use image::registry::masked;

use crate::clock;
use crate::compile::logging;
use crate::config::RUNTIMES;
use crate::containers::record::Status;
use crate::engine::Engine;
use crate::options::{ImageListOptions, ListOptions};
use crate::outcome::Result;

/// The version of docker's engine whose behaviour this one has: tools decide by it what they may ask.
const ENGINE_VERSION: &str = "28.2.2";
/// This program's own version.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What one must look for elsewhere than in memory.
struct Looked {
    warnings: Vec<String>,
    driver_status: Vec<[String; 2]>,
    forwarding: bool,
    descriptors: i64,
    threads: i64,
}

impl Looked {
    fn at(engine: &Engine) -> Looked {
        let count = |folder| std::fs::read_dir(folder).map_or(-1, |all| all.count() as i64);
        Looked {
            warnings: engine.warnings(),
            driver_status: engine.driver_status(),
            forwarding: std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
                .is_ok_and(|text| text.trim() == "1"),
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }
}

impl Engine {
    /// Facts about the engine and its host.
    pub async fn info(&self) -> Result<SystemInfo> {
        // The firewall's rules, which a start may be changing, and file systems.
        let looked = self
            .blocking("info", |engine| Ok(Looked::at(engine)))
            .await?;
        let containers = self.registry().all();
        let count = |test: fn(Status) -> bool| {
            containers
                .iter()
                .filter(|container| test(container.run().status))
                .count() as i64
        };
        let layout = self.inner().groups.layout();
        let running = count(|status| matches!(status, Status::Running | Status::Restarting));
        let paused = count(|status| status == Status::Paused);
        Ok(SystemInfo {
            id: self.id(),
            containers: containers.len() as i64,
            containers_running: running,
            containers_paused: paused,
            containers_stopped: containers.len() as i64 - running - paused,
            images: self.images().read().images.len() as i64,
            driver: "overlay2".to_owned(),
            driver_status: Some(looked.driver_status),
            plugins: plugins(),
            ipv4_forwarding: looked.forwarding,
            debug: self.config().debug,
            nfd: looked.descriptors,
            ngoroutines: looked.threads,
            system_time: clock::rfc3339(clock::now()),
            logging_driver: self.config().log_driver.clone(),
            cgroup_driver: "cgroupfs".to_owned(),
            cgroup_version: layout.version().to_string(),
            nevents_listener: self.hub().listeners() as i64,
            index_server_address: "https://index.docker.io/v1/".to_owned(),
            registry_config: self.registry_config(),
            docker_root_dir: self.paths().data_root.display().to_string(),
            http_proxy: masked(&self.config().proxies.http),
            https_proxy: masked(&self.config().proxies.https),
            no_proxy: self.config().proxies.none.clone(),
            labels: self.config().labels.clone(),
            server_version: ENGINE_VERSION.to_owned(),
            runtimes: self.runtimes(),
            default_runtime: self.config().default_runtime.clone(),
            swarm: SwarmInfo {
                local_node_state: "inactive".to_owned(),
                ..Default::default()
            },
            live_restore_enabled: self.config().live_restore,
            init_binary: "wharf".to_owned(),
            containerd_commit: own_part(),
            runc_commit: own_part(),
            init_commit: own_part(),
            security_options: self.security_options(),
            default_address_pools: self.config().address_pools.clone(),
            firewall_backend: self.inner().network.as_ref().map(|_| FirewallInfo {
                driver: "nftables".to_owned(),
                ..Default::default()
            }),
            warnings: Some(looked.warnings),
            ..self.facts()
        })
    }

    /// What the host is, and what its control groups can limit.
    fn facts(&self) -> SystemInfo {
        let host = &self.inner().host;
        let support = self.inner().groups.layout().support();
        SystemInfo {
            memory_limit: support.memory_limit,
            swap_limit: support.swap_limit,
            cpu_cfs_period: support.cpu_quota,
            cpu_cfs_quota: support.cpu_quota,
            cpu_shares: support.cpu_shares,
            cpu_set: support.cpuset,
            pids_limit: support.pids_limit,
            oom_kill_disable: support.oom_kill_disable,
            kernel_version: host.kernel.clone(),
            operating_system: host.system.clone(),
            os_version: host.system_version.clone(),
            os_type: "linux".to_owned(),
            architecture: host.machine.clone(),
            ncpu: host.processors as i64,
            mem_total: host.memory as i64,
            name: host.name.clone(),
            ..Default::default()
        }
    }

    /// A name of this engine that stays: 36 characters as docker's.
    fn id(&self) -> String {
        let hex =
            types::Digest::sha256(self.paths().data_root.as_os_str().as_encoded_bytes()).hex();
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..32]
        )
    }

    fn driver_status(&self) -> Vec<[String; 2]> {
        [
            ("Backing Filesystem", file_system(&self.paths().data)),
            ("Supports d_type", "true".to_owned()),
            ("Using metacopy", "false".to_owned()),
            ("Native Overlay Diff", "true".to_owned()),
            ("userxattr", "false".to_owned()),
        ]
        .map(|(key, value)| [key.to_owned(), value])
        .to_vec()
    }

    fn registry_config(&self) -> RegistryConfig {
        let mut insecure = vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()];
        insecure.extend(
            self.config()
                .insecure_registries
                .iter()
                .filter(|name| name.contains('/'))
                .cloned(),
        );
        let of = |name: &str| self.config().mirrors.get(name).cloned().unwrap_or_default();
        let mirrors = of("docker.io");
        let mut indexes = BTreeMap::from([(
            "docker.io".to_owned(),
            IndexInfo {
                name: "docker.io".to_owned(),
                mirrors: mirrors.clone(),
                secure: true,
                official: true,
            },
        )]);
        let is_listed = |name: &str| self.config().insecure_registries.iter().any(|l| l == name);
        let listed = self.config().insecure_registries.iter();
        let names = listed.filter(|name| !name.contains('/'));
        for name in names.chain(self.config().mirrors.keys()) {
            if name != "docker.io" || is_listed(name) {
                let index = IndexInfo {
                    name: name.clone(),
                    mirrors: of(name),
                    secure: !is_listed(name),
                    official: false,
                };
                indexes.insert(name.clone(), index);
            }
        }
        RegistryConfig {
            insecure_registry_cidrs: insecure,
            index_configs: indexes,
            mirrors: Some(mirrors),
        }
    }

    /// The engine's own runtime under the names by which tools ask for it.
    fn runtimes(&self) -> BTreeMap<String, Runtime> {
        RUNTIMES
            .map(|name| {
                (
                    name.to_owned(),
                    Runtime {
                        path: "wharf".to_owned(),
                        ..Default::default()
                    },
                )
            })
            .into()
    }

    fn security_options(&self) -> Vec<String> {
        let mut options = vec!["name=seccomp,profile=builtin".to_owned()];
        if self.inner().groups.layout().version() == 2 {
            options.push("name=cgroupns".to_owned());
        }
        options
    }

    /// What this host can not do, one sentence each.
    fn warnings(&self) -> Vec<String> {
        let support = self.inner().groups.layout().support();
        let mut warnings = Vec::new();
        let mut unless = |has: bool, what: &str| {
            if !has {
                warnings.push(format!("WARNING: No {what} support"));
            }
        };
        unless(support.memory_limit, "memory limit");
        unless(support.swap_limit, "swap limit");
        unless(support.cpu_quota, "cpu cfs quota");
        unless(support.cpu_shares, "cpu shares");
        unless(support.cpuset, "cpuset");
        unless(support.pids_limit, "pids limit");
        let resource = runtime::caps::Capability::SYS_RESOURCE;
        if !runtime::caps::host_bounding_set().contains(resource) {
            warnings.push(
                "WARNING: CAP_SYS_RESOURCE is missing: resource limits and OOM scores below the host's own can not be given".to_owned(),
            );
        }
        let handed_down = self.inner().groups.layout().handed_down();
        if !handed_down.is_empty() {
            warnings.push(format!(
                "WARNING: the unified cgroup tree hands down {}, at the request of a container or of another program: no hierarchy of version 1 can have it meanwhile",
                handed_down.join(", ")
            ));
        }
        if crate::compile::security::has_apparmor() {
            warnings.push(
                "WARNING: No AppArmor support: containers run without a profile of it".to_owned(),
            );
        }
        if let Some(network) = &self.inner().network {
            for chain in network.dropping_chains().unwrap_or_default() {
                warnings.push(format!(
                    "WARNING: {chain} drops forwarded packets: containers reach nobody and are not reached from other hosts until it accepts those from and to {}",
                    network.bridge_info().name
                ));
            }
        }
        warnings
    }

    /// Versions of the engine and its parts.
    pub async fn version(&self) -> Result<Version> {
        let host = &self.inner().host;
        let architecture = types::Platform::host().architecture().to_owned();
        let build = self.config().build;
        let details = [
            ("ApiVersion", texts::API_VERSION),
            ("Arch", architecture.as_str()),
            ("BuildTime", build.time),
            ("Experimental", "false"),
            ("GitCommit", build.commit),
            ("GoVersion", "none"),
            ("KernelVersion", host.kernel.as_str()),
            ("MinAPIVersion", texts::MIN_API_VERSION),
            ("Os", "linux"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let component = |name: &str, version: &str, details| Component {
            name: name.to_owned(),
            version: version.to_owned(),
            details,
        };
        Ok(Version {
            platform: Platform {
                name: format!("Wharf {OWN_VERSION}"),
            },
            components: vec![
                component("Engine", ENGINE_VERSION, details),
                component("wharf", OWN_VERSION, BTreeMap::new()),
            ],
            version: ENGINE_VERSION.to_owned(),
            api_version: texts::API_VERSION.to_owned(),
            min_api_version: texts::MIN_API_VERSION.to_owned(),
            git_commit: build.commit.to_owned(),
            build_time: build.time.to_owned(),
            go_version: "none".to_owned(),
            os: "linux".to_owned(),
            arch: architecture,
            kernel_version: host.kernel.clone(),
            ..Default::default()
        })
    }

    /// What the engine's things take on the disk.
    pub async fn df(&self) -> Result<DiskUsage> {
        let mut images = self
            .image_list(ImageListOptions {
                all: true,
                shared_size: true,
                ..Default::default()
            })
            .await?;
        // What is told here lies on the disk.
        for summary in &mut images {
            let state = self.images().read();
            if let Ok(image) = state.find(&summary.id) {
                summary.size = state.size_of(&image) as i64;
            }
        }
        let mut containers = self
            .list(ListOptions {
                all: true,
                size: true,
                ..Default::default()
            })
            .await?;
        // What a container takes on the disk is its whole folder: its log and its files of /etc as well.
        for container in &mut containers {
            container.size_rw = self.folder_size(&container.id).await.unwrap_or(0) as i64;
        }
        let volumes = self.volume_usages().await?;
        let bytes = self.bytes_on_disk().await?;
        let used = containers
            .iter()
            .map(|container| container.image_id.clone())
            .collect();
        Ok(DiskUsage {
            image_usage: Some(usage_of_images(images, &used, bytes)),
            container_usage: Some(usage_of_containers(containers)),
            volume_usage: Some(usage_of_volumes(volumes)),
            build_cache_usage: Some(Usage::default()),
        })
    }

    /// Bytes of all blobs and unpacked layers.
    async fn bytes_on_disk(&self) -> Result<i64> {
        self.blocking("system df", |engine| {
            let numbers: Vec<u64> = engine
                .images()
                .read()
                .layers
                .values()
                .map(|layer| layer.number)
                .collect();
            let mut bytes = engine.inner().content.usage()?;
            for number in numbers {
                bytes += engine.inner().layers.usage(number)?.bytes;
            }
            Ok(bytes as i64)
        })
        .await
    }
}

/// `used` are the ids of images that containers have; all together take so many bytes.
fn usage_of_images(
    images: Vec<ImageSummary>,
    used: &HashSet<String>,
    bytes: i64,
) -> Usage<ImageSummary> {
    let active: Vec<_> = images
        .iter()
        .filter(|image| used.contains(&image.id))
        .collect();
    // As Docker counts it: all but what containers' images have for themselves. An image's size is that of its files,
    // which may be more than they take.
    let in_images: i64 = active
        .iter()
        .map(|image| image.size - image.shared_size.max(0))
        .sum();
    Usage {
        active_count: active.len() as i64,
        total_count: images.len() as i64,
        total_size: bytes,
        reclaimable: (bytes - in_images).max(0),
        items: images,
    }
}

fn usage_of_containers(containers: Vec<ContainerSummary>) -> Usage<ContainerSummary> {
    let (active, others): (Vec<_>, Vec<_>) = containers
        .iter()
        .partition(|container| container.state == "running");
    Usage {
        active_count: active.len() as i64,
        total_count: containers.len() as i64,
        total_size: containers.iter().map(|container| container.size_rw).sum(),
        reclaimable: others.iter().map(|container| container.size_rw).sum(),
        items: containers,
    }
}

fn usage_of_volumes(volumes: Vec<Volume>) -> Usage<Volume> {
    let size = |volume: &Volume| {
        let usage = volume.usage_data.as_ref();
        usage.map_or(0, |usage| usage.size.max(0))
    };
    let is_used = |volume: &&Volume| {
        let usage = volume.usage_data.as_ref();
        usage.is_some_and(|usage| usage.ref_count > 0)
    };
    let (active, others): (Vec<_>, Vec<_>) = volumes.iter().partition(is_used);
    Usage {
        active_count: active.len() as i64,
        total_count: volumes.len() as i64,
        total_size: volumes.iter().map(size).sum(),
        reclaimable: others.into_iter().map(size).sum(),
        items: volumes,
    }
}

/// What can be chosen by name.
fn plugins() -> Plugins {
    Plugins {
        volume: Some(vec!["local".to_owned()]),
        network: Some(vec![
            "bridge".to_owned(),
            "host".to_owned(),
            "null".to_owned(),
        ]),
        authorization: None,
        log: Some(logging::KEPT.map(str::to_owned).into()),
    }
}

/// What stands for containerd, runc and init: this program, so each has its version.
fn own_part() -> Commit {
    Commit {
        id: format!("wharf {OWN_VERSION}"),
    }
}

/// The name of the file system that holds a path.
fn file_system(path: &std::path::Path) -> String {
    match rustix::fs::statfs(path).map(|facts| facts.f_type as u64) {
        Ok(0xEF53) => "extfs",
        Ok(0x5846_5342) => "xfs",
        Ok(0x9123_683E) => "btrfs",
        Ok(0x0102_1994) => "tmpfs",
        Ok(0x794C_7630) => "overlayfs",
        Ok(0xF2F5_2010) => "f2fs",
        Ok(0x2FC1_2FC1) => "zfs",
        _ => "unknown",
    }
    .to_owned()
}
