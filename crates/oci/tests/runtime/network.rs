//! Network devices that the container gets from its caller. Each case has a network namespace of its own for a host.

use std::process::Command;

use serde_json::json;

use crate::support::Bundle;

/// Runs `ip` with words, where the calling thread is.
#[track_caller]
fn ip(words: &str) -> String {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {words}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn in_a_host_of_its_own(case: impl FnOnce() + Send) {
    sys::namespace::in_new_netns(case).unwrap();
}

#[test]
fn devices_move_with_their_addresses() {
    in_a_host_of_its_own(|| {
        ip("link add one mtu 1400 type veth peer name other");
        ip("link add two type veth peer name far");
        ip("link set one up");
        ip("addr add 10.66.77.2/24 broadcast 10.66.77.255 dev one");
        ip("addr add 10.66.78.2 peer 10.66.78.3/32 dev one");
        ip("addr add fd00:66::2/64 dev one nodad");
        // Neither of these is for all to reach for good.
        ip("addr add 10.66.79.2/24 scope link dev one");
        ip("addr add fd00:67::2/64 dev one valid_lft 1000 preferred_lft 1000 nodad");
        let mut bundle = Bundle::new(
            "busybox ip addr show eth5; busybox ip link show veth0; busybox ip route show dev eth5",
        );
        bundle.config["linux"]["netDevices"] =
            json!({"one": {"name": "eth5"}, "two": {"name": "veth%d"}});
        let ended = bundle.run(&["run", "ID"]);
        let out = ended.out.as_str();
        assert_eq!(ended.status, Some(0), "{ended:?}");
        for told in [
            "mtu 1400",
            "eth5@",
            "veth0@",
            ",UP",
            "inet 10.66.77.2/24 brd 10.66.77.255 scope global eth5",
            "inet 10.66.78.2 peer 10.66.78.3/32 scope global eth5",
            "inet6 fd00:66::2/64 scope global",
            "10.66.77.0/24",
        ] {
            assert!(out.contains(told), "{told}: {out}");
        }
        assert!(
            !out.contains("10.66.79.2") && !out.contains("fd00:67"),
            "{out}"
        );
        assert!(out.matches(",UP").count() >= 2, "{out}");
        let left = ip("-o link show");
        assert!(!left.contains(" one@") && !left.contains(" two@"), "{left}");
    });
}

#[test]
fn devices_move_before_hooks_look_and_into_joined_namespaces() {
    in_a_host_of_its_own(|| {
        ip("link add one type veth peer name other");
        let joined = sys::namespace::new_netns().unwrap();
        let mut bundle = Bundle::new("busybox ip -o link show one");
        let path = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            std::os::fd::AsRawFd::as_raw_fd(&joined)
        );
        for namespace in bundle.config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "network" {
                namespace["path"] = json!(path);
            }
        }
        let seen = bundle.path("seen");
        bundle.config["hooks"] = json!({"createRuntime": [{
            "path": "/bin/sh",
            "args": ["sh", "-c", format!("ls /sys/class/net >/dev/null; ip -o link >{}", seen.display())],
            "env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"],
        }]});
        bundle.config["linux"]["netDevices"] = json!({"one": {}});
        let out = bundle.run(&["run", "ID"]).good();
        assert!(out.contains(": one@") && out.contains(",UP"), "{out}");
        let seen = std::fs::read_to_string(seen).unwrap();
        assert!(seen.contains("other@") && !seen.contains(" one@"), "{seen}");
    });
}

#[test]
fn devices_that_cannot_move_are_named_and_stay() {
    in_a_host_of_its_own(|| {
        ip("link add one type veth peer name other");
        let mut bundle = Bundle::new("true");
        for (devices, words) in [
            (json!({"one": {"name": "lo"}}), "has a device \"lo\""),
            (
                json!({"none": {}}),
                "network device \"none\": no such device",
            ),
            (
                json!({"lo": {"name": "lo1"}}),
                "network device \"lo\": moving it",
            ),
            (
                json!({"one": {"name": "x"}, "other": {"name": "x"}}),
                "two of them are called \"x\"",
            ),
            (
                json!({"one": {"name": "a/b"}}),
                "is no name of a network device",
            ),
        ] {
            bundle.config["linux"]["netDevices"] = devices.clone();
            bundle.refused("run", &[words], &devices.to_string());
            assert!(ip("-o link show").contains(" one@"), "{devices}");
        }
        let list = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|one| one["type"] != "network");
        bundle.config["linux"]["netDevices"] = json!({"one": {}});
        bundle.refused(
            "run",
            &["linux.netDevices: they need a network namespace"],
            "none",
        );
    });
}
