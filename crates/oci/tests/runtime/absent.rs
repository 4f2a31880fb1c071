//! Configurations that are well formed and name what is not there: namespaces, users, devices, files.

use serde_json::{Value, json};

use crate::bundles::set;
use crate::support::Bundle;

/// Tries each change of the sample configuration by both verbs; what is told has the words.
#[track_caller]
fn refused(cases: &[(&str, Value, &[&str])]) {
    let mut bundle = Bundle::new("true");
    let plain = bundle.config.clone();
    for (pointer, value, words) in cases {
        bundle.config = plain.clone();
        set(&mut bundle.config, pointer, value.clone());
        for verb in ["run", "create"] {
            bundle.refused(verb, words, &format!("{pointer} {value}"));
        }
    }
}

#[test]
fn versions_to_come_are_refused() {
    for version in ["1.99.0", "2.0.0", "1.4.0-rc.1"] {
        let words: &[&str] = &["ociVersion", version, "newer than what this runtime knows"];
        refused(&[("/ociVersion", json!(version), words)]);
    }
}

#[test]
fn namespaces_have_to_be_there_and_of_their_kind() {
    let mut bundle = Bundle::new("true");
    let plain = bundle.config["linux"]["namespaces"].clone();
    for kind in [
        "pid", "network", "ipc", "uts", "mount", "user", "cgroup", "time",
    ] {
        for (path, words) in [
            ("/proc/self/ns/nothing", "no such file or directory"),
            ("/etc/passwd", "namespace"),
            ("/dev/null", "namespace"),
            // A namespace, but of another kind.
            (
                if kind == "ipc" {
                    "/proc/self/ns/uts"
                } else {
                    "/proc/self/ns/ipc"
                },
                "namespace",
            ),
            ("proc/self/ns/ipc", "is no absolute path"),
        ] {
            let list = plain.as_array().unwrap().iter();
            let mut list: Vec<Value> = list.filter(|one| one["type"] != kind).cloned().collect();
            list.push(json!({"type": kind, "path": path}));
            let field = format!("linux.namespaces[{}].path", list.len() - 1);
            bundle.config["linux"]["namespaces"] = json!(list);
            let field = if words.starts_with("no such") {
                path
            } else {
                field.as_str()
            };
            bundle.refused("create", &[field, words], &format!("{kind} {path}"));
        }
    }
}

#[test]
fn users_have_to_be_mapped() {
    let mut bundle = Bundle::new("true");
    bundle.push("/linux/namespaces", json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 300_000, "size": 1000}]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    let plain = bundle.config.clone();
    for (pointer, value, words) in [
        ("/process/user/uid", json!(1000), "setuid"),
        ("/process/user/gid", json!(1000), "setgid"),
        (
            "/process/user/additionalGids",
            json!([5, 1000]),
            "setgroups",
        ),
        ("/linux/uidMappings", Value::Null, "linux.uidMappings"),
        ("/linux/gidMappings", json!([]), "linux.gidMappings"),
        ("/linux/uidMappings/0/size", json!(0), "id maps"),
        (
            "/linux/uidMappings/0/containerID",
            json!(5),
            "user namespace",
        ),
    ] {
        bundle.config = plain.clone();
        set(&mut bundle.config, pointer, value.clone());
        for verb in ["run", "create"] {
            bundle.refused(verb, &[words], &format!("{pointer} {value}"));
        }
    }
}

#[test]
fn devices_and_files_have_to_be_there() {
    let mount =
        |kind: &str, source: &str| json!([{"destination": "/x", "type": kind, "source": source}]);
    refused(&[
        (
            "/root/path",
            json!("nowhere"),
            &["no such file or directory"],
        ),
        ("/root/path", json!("/etc/passwd"), &[]),
        (
            "/mounts",
            mount("bind", "/no/such/source"),
            &["/x", "no such file or directory"],
        ),
        ("/mounts", mount("ext4", "/dev/no-such-device"), &["/x"]),
        (
            "/mounts",
            mount("no-such-file-system", "x"),
            &["/x", "no such device"],
        ),
        (
            "/linux/netDevices",
            json!({"wharf-none0": {}}),
            &["wharf-none0", "no such device"],
        ),
        ("/linux/netDevices", json!({"lo": {}}), &["lo"]),
        (
            "/linux/netDevices",
            json!({"a b": {}}),
            &["linux.netDevices", "a b"],
        ),
        (
            "/linux/resources/hugepageLimits",
            json!([{"pageSize": "3KB", "limit": 0}]),
            &["3KB"],
        ),
        (
            "/linux/resources/blockIO",
            json!({"throttleReadBpsDevice": [{"major": 251, "minor": 7777, "rate": 1000}]}),
            &["unable to apply cgroup configuration"],
        ),
        (
            "/linux/resources/network",
            json!({"priorities": [{"name": "wharf-none0", "priority": 1}]}),
            &["unable to apply cgroup configuration"],
        ),
        (
            "/linux/resources/cpu",
            json!({"cpus": "4000"}),
            &["unable to apply cgroup configuration"],
        ),
        (
            "/linux/resources/cpu",
            json!({"mems": "900"}),
            &["unable to apply cgroup configuration"],
        ),
        (
            "/linux/resources/unified",
            json!({"no.such.key": "1"}),
            &["no.such.key"],
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": -1, "minor": 0}]),
            &["linux.devices[0].major"],
        ),
        (
            "/linux/sysctl",
            json!({"net.no_such": "1"}),
            &["net.no_such"],
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "900"}),
            &["memory policy"],
        ),
        (
            "/hooks",
            json!({"createRuntime": [{"path": "/no/such/hook"}]}),
            &["hook #0", "no such file or directory"],
        ),
        (
            "/hooks",
            json!({"poststop": [{"path": "relative"}]}),
            &["hooks.poststop[0].path"],
        ),
        (
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/socket",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
            }),
            &["/no/such/socket"],
        ),
        (
            "/linux/intelRdt",
            json!({"closID": "a"}),
            &["linux.intelRdt", "resctrl file system"],
        ),
        ("/linux/intelRdt", json!({}), &["linux.intelRdt"]),
        (
            "/linux/intelRdt",
            json!({"closID": "../a"}),
            &["linux.intelRdt.closID"],
        ),
        (
            "/vm",
            json!({"kernel": {"path": "/x"}}),
            &["vm is not supported"],
        ),
    ]);
}
