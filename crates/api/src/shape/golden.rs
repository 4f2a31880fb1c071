//! The bodies, in the shape of an old version, have the members that dockerd wrote in that version.
//!
//! `tests/golden` holds what dockerd 20.10 answered at 1.24, 1.30 and 1.41. Each test makes our body of the same
//! situation in its newest shape, brings it into the old one, and compares names and kinds of values: nothing that
//! dockerd had is missing, nothing is there that it did not have.

use std::collections::BTreeMap;
use std::path::PathBuf;

use api_types::*;
use serde::Serialize;
use serde_json::Value;

use super::{Kind, disk_usage, reshape};
use crate::version::Version;

/// Those of whole answers, differences by name, are compared in `tests/tests/e2e/documents.rs`, newer versions too.
const VERSIONS: [u16; 3] = [24, 30, 41];

fn golden(version: u16, name: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = folder.join(format!("1.{version}/{name}.json"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let recorded: Value = serde_json::from_slice(&text).unwrap();
    recorded["body"].clone()
}

/// The kind of a value, or that it is nothing.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Collects what differs. Of lists the first elements are compared.
fn compare(path: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, value) in theirs {
                match ours.get(name) {
                    None => found.push(format!("{path}.{name} is missing")),
                    Some(our_value) => compare(&format!("{path}.{name}"), value, our_value, found),
                }
            }
            let added = ours.keys().filter(|name| !theirs.contains_key(*name));
            found.extend(added.map(|name| format!("{path}.{name} is too much")));
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if let (Some(theirs), Some(ours)) = (theirs.first(), ours.first()) {
                compare(&format!("{path}[0]"), theirs, ours, found);
            }
        }
        _ if kind(theirs) != kind(ours) => {
            found.push(format!("{path} is {} and not {}", kind(ours), kind(theirs)))
        }
        _ => {}
    }
}

/// Compares a body with what was recorded under a name, in every recorded version.
fn check<T: Serialize>(name: &str, shape: Option<Kind>, body: &T) {
    for minor in VERSIONS {
        let mut ours = serde_json::to_value(body).unwrap();
        if let Some(shape) = shape {
            reshape(shape, Version(minor), &mut ours);
        }
        let mut found = Vec::new();
        compare(name, &golden(minor, name), &ours, &mut found);
        assert!(found.is_empty(), "1.{minor}: {found:#?}");
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn endpoint() -> EndpointSettings {
    EndpointSettings {
        ip_address: "172.17.0.2".into(),
        dns_names: Some(words(["golden"])),
        ..Default::default()
    }
}

fn mount() -> MountPoint {
    MountPoint {
        kind: "volume".into(),
        name: "golden".into(),
        driver: "local".into(),
        rw: true,
        ..Default::default()
    }
}

/// The container of the recording.
fn container() -> ContainerInspect {
    let published = PortBinding {
        host_ip: "127.0.0.1".into(),
        host_port: "32768".into(),
    };
    let ports = PortMap::from([("80/tcp".to_owned(), Some(vec![published]))]);
    ContainerInspect {
        args: vec![],
        config: Config {
            cmd: Some(words(["cat"]).into()),
            env: Some(words(["A=b"])),
            exposed_ports: BTreeMap::from([("80/tcp".to_owned(), Empty)]),
            labels: pairs([("a", "b")]),
            open_stdin: true,
            ..Default::default()
        },
        graph_driver: Some(GraphDriver {
            data: Some(pairs([
                ("LowerDir", ""),
                ("MergedDir", ""),
                ("UpperDir", ""),
                ("WorkDir", ""),
            ])),
            name: "overlay2".into(),
        }),
        host_config: HostConfig {
            annotations: pairs([("not", "known then")]),
            binds: Some(words(["golden:/data"])),
            log_config: LogConfig {
                config: Some(BTreeMap::new()),
                ..Default::default()
            },
            masked_paths: Some(words(["/proc/acpi"])),
            oom_kill_disable: Some(false),
            port_bindings: Some(ports.clone()),
            readonly_paths: Some(words(["/proc/bus"])),
            runtime: "runc".into(),
            ..Default::default()
        },
        image_manifest_descriptor: Some(Descriptor::default()),
        mounts: vec![mount()],
        network_settings: NetworkSettings {
            networks: BTreeMap::from([("bridge".to_owned(), endpoint())]),
            ports,
            ..Default::default()
        },
        size_root_fs: Some(1_982_312),
        size_rw: Some(0),
        ..Default::default()
    }
}

fn summary() -> ContainerSummary {
    ContainerSummary {
        health: Some(ContainerHealthSummary::default()),
        host_config: SummaryHostConfig {
            annotations: pairs([("not", "known then")]),
            network_mode: "default".into(),
        },
        image_manifest_descriptor: Some(Descriptor::default()),
        labels: pairs([("a", "b")]),
        mounts: vec![mount()],
        names: words(["/golden"]),
        network_settings: SummaryNetworkSettings {
            networks: BTreeMap::from([("bridge".to_owned(), endpoint())]),
        },
        ports: vec![PortSummary {
            ip: "127.0.0.1".into(),
            private_port: 80,
            public_port: 32768,
            kind: "tcp".into(),
        }],
        size_root_fs: 1_982_312,
        ..Default::default()
    }
}

#[test]
fn a_container() {
    check("container-running", Some(Kind::Container), &container());
}

#[test]
fn a_list_of_containers() {
    check("containers", Some(Kind::ContainerList), &[summary()]);
}

#[test]
fn an_image() {
    let data = pairs([("MergedDir", ""), ("UpperDir", ""), ("WorkDir", "")]);
    let image = ImageInspect {
        comment: "Imported from -".into(),
        config: Some(ImageConfig {
            cmd: Some(words(["sh"]).into()),
            env: Some(words(["PATH=/bin"])),
            ..Default::default()
        }),
        created: "2026-01-01T00:00:00Z".into(),
        descriptor: Some(Descriptor::default()),
        graph_driver: Some(GraphDriver {
            data: Some(data),
            name: "overlay2".into(),
        }),
        metadata: ImageMetadata {
            last_tag_time: "2026-01-01T00:00:00Z".into(),
        },
        root_fs: RootFs {
            kind: "layers".into(),
            layers: words(["sha256:0"]),
        },
        ..Default::default()
    };
    check("image", Some(Kind::Image), &image);
}

#[test]
fn a_list_of_images() {
    let mut found = Vec::new();
    for minor in VERSIONS {
        let image = ImageSummary {
            descriptor: Some(Descriptor::default()),
            repo_tags: words(["box:latest"]),
            ..Default::default()
        };
        let mut ours = serde_json::to_value([image]).unwrap();
        reshape(Kind::ImageList, Version(minor), &mut ours);
        compare("images", &golden(minor, "images"), &ours, &mut found);
    }
    // No digests are an empty list, as with newer daemons.
    found.retain(|difference| difference != "images[0].RepoDigests is list and not null");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn engine_and_host() {
    let commit = Commit { id: "x".into() };
    let info = SystemInfo {
        cgroup_version: "1".into(),
        containerd: Some(ContainerdInfo::default()),
        driver_status: Some(vec![]),
        firewall_backend: Some(FirewallInfo::default()),
        init_commit: commit.clone(),
        plugins: Plugins {
            authorization: None,
            log: Some(words(["json-file"])),
            network: Some(words(["bridge"])),
            volume: Some(words(["local"])),
        },
        registry_config: RegistryConfig {
            index_configs: BTreeMap::from([("docker.io".to_owned(), IndexInfo::default())]),
            mirrors: Some(vec![]),
            ..Default::default()
        },
        runc_commit: commit,
        runtimes: BTreeMap::from([(
            "runc".to_owned(),
            Runtime {
                path: "runc".into(),
                status: pairs([("not", "known then")]),
                ..Default::default()
            },
        )]),
        security_options: words(["name=seccomp,profile=builtin"]),
        ..Default::default()
    };
    for minor in VERSIONS {
        let mut ours = serde_json::to_value(&info).unwrap();
        reshape(Kind::Info, Version(minor), &mut ours);
        let mut theirs = golden(minor, "info");
        // Its runtimes have other names.
        for gone in ["io.containerd.runc.v2", "io.containerd.runtime.v1.linux"] {
            theirs["Runtimes"]
                .as_object_mut()
                .unwrap()
                .shift_remove(gone);
        }
        let mut found = Vec::new();
        compare("info", &theirs, &ours, &mut found);
        assert!(found.is_empty(), "1.{minor}: {found:#?}");
    }
}

#[test]
fn events_of_containers_images_and_volumes() {
    for minor in VERSIONS {
        let recorded = golden(minor, "events");
        let mut kinds = 0;
        for theirs in recorded.as_array().unwrap() {
            // Ours is made out of what newer versions have of theirs.
            let newest: Event = serde_json::from_value(theirs.clone()).unwrap();
            let newest = Event {
                time: 1,
                time_nano: 1,
                ..newest
            };
            let mut ours = serde_json::to_value(&newest).unwrap();
            reshape(Kind::Event, Version(minor), &mut ours);
            for member in ["Type", "Action", "Actor", "status", "id", "from", "scope"] {
                assert_eq!(
                    ours.get(member),
                    theirs.get(member),
                    "1.{minor}: {member} of {theirs}"
                );
            }
            kinds += 1;
        }
        assert!(kinds > 10, "only {kinds} events were recorded");
    }
}

#[test]
fn networks() {
    let network = Network {
        containers: Some(BTreeMap::from([(
            "<id>".to_owned(),
            EndpointResource::default(),
        )])),
        ipam: Ipam {
            config: Some(vec![]),
            ..Default::default()
        },
        labels: Some(BTreeMap::new()),
        options: Some(pairs([
            ("com.docker.network.bridge.default_bridge", ""),
            ("com.docker.network.bridge.enable_icc", ""),
            ("com.docker.network.bridge.enable_ip_masquerade", ""),
            ("com.docker.network.bridge.host_binding_ipv4", ""),
            ("com.docker.network.bridge.name", ""),
            ("com.docker.network.driver.mtu", ""),
        ])),
        ..Default::default()
    };
    check("network", Some(Kind::Network), &network);
    check(
        "networks",
        Some(Kind::NetworkList),
        &[Network {
            containers: None,
            ..network
        }],
    );
}

#[test]
fn disk_usage_of_everything() {
    let usage = DiskUsage {
        build_cache_usage: None,
        container_usage: Some(Usage {
            items: vec![summary()],
            ..Default::default()
        }),
        image_usage: Some(Usage {
            items: vec![ImageSummary::default()],
            ..Default::default()
        }),
        volume_usage: Some(Usage {
            items: vec![Volume::default()],
            ..Default::default()
        }),
    };
    for minor in VERSIONS {
        let mut theirs = golden(minor, "df");
        // Both differ only in what else was recorded.
        theirs["Images"] = Value::Array(vec![]);
        theirs["Volumes"] = Value::Array(vec![]);
        let ours = disk_usage(usage.clone(), Version(minor), false).unwrap();
        let mut found = Vec::new();
        compare("df", &theirs, &ours, &mut found);
        assert!(found.is_empty(), "1.{minor}: {found:#?}");
    }
}

#[test]
fn the_end_of_a_wait() {
    check(
        "wait",
        Some(Kind::Wait),
        &WaitResponse {
            error: None,
            status_code: 137,
        },
    );
}

#[test]
fn what_is_the_same_in_every_version() {
    let volume = Volume {
        created_at: "2026-01-01T00:00:00Z".into(),
        labels: Some(pairs([("a", "b")])),
        ..Default::default()
    };
    check("volume", None, &volume);
    check(
        "volume-create",
        None,
        &Volume {
            options: volume.options.clone(),
            ..volume.clone()
        },
    );
    check(
        "volumes",
        None,
        &VolumeList {
            volumes: vec![volume],
            warnings: None,
        },
    );
    check("create", None, &ContainerCreated::default());
    check("exec-create", None, &IdResponse::default());
    check(
        "history",
        None,
        &[HistoryItem {
            tags: Some(vec![]),
            ..Default::default()
        }],
    );
    check("no-container", None, &ErrorResponse::default());
    check(
        "prune-containers",
        None,
        &ContainersPruneReport {
            containers_deleted: Some(vec![]),
            space_reclaimed: 0,
        },
    );
    check(
        "prune-containers-none",
        None,
        &ContainersPruneReport::default(),
    );
    check("prune-images-none", None, &ImagesPruneReport::default());
    check("prune-networks-none", None, &NetworksPruneReport::default());
    check("prune-volumes-none", None, &VolumesPruneReport::default());
    check(
        "untag",
        None,
        &[ImageDeleted {
            untagged: "golden:1".into(),
            ..Default::default()
        }],
    );
    let process = ExecProcess {
        arguments: Some(vec![]),
        privileged: Some(false),
        ..Default::default()
    };
    check(
        "exec",
        None,
        &ExecInspect {
            exit_code: Some(0),
            process_config: process,
            ..Default::default()
        },
    );
}
