//! User namespaces that exist, and other namespaces beside new ones.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::Bundle;

/// A container that sleeps, and its process's number.
fn sleeping(users: bool) -> (Bundle, u64) {
    let mut bundle = Bundle::new("sleep 1000");
    if users {
        with_users(&mut bundle);
    }
    bundle.quietly(&["run", "-d", "ID"]);
    let pid = bundle.state()["pid"].as_u64().unwrap();
    (bundle, pid)
}

fn with_users(bundle: &mut Bundle) {
    bundle.push("/linux/namespaces", json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
}

/// Makes the container join namespaces of a process.
fn join(bundle: &mut Bundle, pid: u64, kinds: &[(&str, &str)]) {
    for (kind, file) in kinds {
        let path = format!("/proc/{pid}/ns/{file}");
        let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|one| one["type"] != *kind);
        namespaces.push(json!({"type": kind, "path": path}));
    }
}

const TELL: &str = "for n in user net ipc pid uts mnt; do busybox readlink /proc/self/ns/$n; done";

/// Which of the namespaces that [`TELL`] tells are those of the process.
fn shared(told: &str, pid: u64) -> Vec<&'static str> {
    let kinds = ["user", "net", "ipc", "pid", "uts", "mnt"];
    let same = |kind: &&str| {
        let own = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        told.lines().any(|line| line == own.to_string_lossy())
    };
    kinds.into_iter().filter(same).collect()
}

#[test]
fn a_user_namespace_is_joined() {
    let (other, pid) = sleeping(true);
    let script = format!(
        "busybox cut -c1-32 /proc/self/uid_map; cat /proc/sys/kernel/hostname; echo $$; touch /dev/null && mount -t tmpfs none /tmp && echo mounted; {TELL}"
    );
    let mut bundle = Bundle::new(&script);
    bundle.config["hostname"] = json!("joined");
    for set in ["bounding", "effective", "permitted"] {
        bundle.config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
    }
    join(&mut bundle, pid, &[("user", "user"), ("network", "net")]);
    let told = bundle.run(&["run", "ID"]).good();
    let start = format!(
        "{:>10} {:>10} {:>10}\njoined\n1\nmounted\n",
        0, 100_000, 1000
    );
    assert!(told.starts_with(&start), "{told}");
    assert_eq!(shared(&told, pid), ["user", "net"]);
    // Its processes share it too, further ones included, and join all of another's.
    let mut bundle = Bundle::new("sleep 1000");
    bundle.config["hostname"] = json!(null);
    join(
        &mut bundle,
        pid,
        &[
            ("user", "user"),
            ("network", "net"),
            ("pid", "pid"),
            ("ipc", "ipc"),
            ("uts", "uts"),
        ],
    );
    bundle.quietly(&["run", "-d", "ID"]);
    let told = bundle.run(&["exec", "ID", "sh", "-c", TELL]).good();
    assert_eq!(shared(&told, pid), ["user", "net", "ipc", "pid", "uts"]);
    let own = bundle.state()["pid"].as_u64().unwrap();
    assert_eq!(shared(&told, own).len(), 6, "{told}");
    bundle.run(&["delete", "--force", "ID"]).good();
    other.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn a_new_user_namespace_joins_others_that_are_not_its_own() {
    let (other, pid) = sleeping(false);
    let mut bundle = Bundle::new(&format!("busybox cut -c12-21 /proc/self/uid_map; {TELL}"));
    with_users(&mut bundle);
    bundle.config["hostname"] = json!(null);
    join(
        &mut bundle,
        pid,
        &[("network", "net"), ("ipc", "ipc"), ("uts", "uts")],
    );
    // What another namespace's owner may mount alone.
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| {
        mount["type"] != "sysfs" && mount["type"] != "mqueue" && mount["type"] != "cgroup"
    });
    let told = bundle.run(&["run", "ID"]).good();
    assert!(told.starts_with("    100000\n"), "{told}");
    assert_eq!(shared(&told, pid), ["net", "ipc", "uts"]);
    other.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn a_users_container_may_be_preferred_when_memory_is_short() {
    let mut bundle = Bundle::new("cat /proc/self/oom_score_adj");
    bundle.push("/linux/namespaces", json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 300_000, "size": 1000}]);
    bundle.config["linux"]["uidMappings"] = map.clone();
    bundle.config["linux"]["gidMappings"] = map;
    bundle.config["process"]["oomScoreAdj"] = json!(300);
    assert_eq!(bundle.run(&["run", "ID"]).good(), "300\n");
    bundle.push("/linux/namespaces", json!({"type": "time"}));
    bundle.config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
    bundle.config["process"]["args"] = json!(["cat", "/proc/uptime"]);
    let uptime = bundle.run(&["run", "ID"]).good();
    let seconds = uptime.split('.').next().unwrap();
    assert!(seconds.parse::<u64>().unwrap() > 1_000_000_000, "{uptime}");
}

#[test]
fn a_mount_namespace_is_joined_and_given_the_containers_root() {
    // It says its line from within its own namespace.
    let mut other = Command::new("unshare")
        .args(["--mount", "sh", "-c", "echo here; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    other.stdout.take().unwrap().read_exact(&mut line).unwrap();
    let pid = u64::from(other.id());
    let mut bundle = Bundle::new(&format!("cat /etc/passwd; {TELL}"));
    join(&mut bundle, pid, &[("mount", "mnt")]);
    let told = bundle.run(&["run", "ID"]).good();
    assert!(told.contains("seven:x:7:7"), "{told}");
    assert_eq!(shared(&told, pid), ["user", "mnt"]);
    other.kill().unwrap();
    other.wait().unwrap();

    let mut bundle = Bundle::new("true");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|one| one["type"] != "mount");
    namespaces.push(json!({"type": "mount", "path": "/proc/self/ns/mnt"}));
    let sentence = bundle.run(&["run", "ID"]).sentence();
    assert!(
        sentence.contains("is the caller's own, whose root may not be changed"),
        "{sentence}"
    );
}

#[test]
fn what_is_no_such_namespace_is_told() {
    let mut bundle = Bundle::new("true");
    bundle.push(
        "/linux/namespaces",
        json!({"type": "user", "path": "/proc/self/ns/net"}),
    );
    let sentence = bundle.run(&["run", "ID"]).sentence();
    assert!(
        sentence.contains("is a namespace, but no user namespace"),
        "{sentence}"
    );
}

/// A user namespace may make a procfs for processes of its own alone.
#[test]
fn parameters_are_set_where_the_processes_are_the_callers() {
    let script = "busybox tr '\\t' ' ' </proc/sys/net/ipv4/ping_group_range";
    let mut bundle = Bundle::new(script);
    with_users(&mut bundle);
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ping_group_range": "0 7"});
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|one| one["type"] != "pid");
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    let proc = mounts
        .iter_mut()
        .find(|mount| mount["destination"] == "/proc");
    *proc.unwrap() = json!({
        "destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"],
    });
    assert_eq!(bundle.run(&["run", "ID"]).good(), "0 7\n");
}
