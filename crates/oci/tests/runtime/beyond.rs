//! What would reach beyond the container is refused: the host's kernel parameters and names, its root's identity, limits
//! that are none, and states from which nothing goes on.

use std::fs;

use serde_json::{Value, json};

use crate::support::Bundle;

/// The bundle's namespaces with `path` for one of a kind, or without that one.
fn namespaces(bundle: &mut Bundle, kind: &str, path: Option<&str>) {
    let list = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|one| one["type"] != kind);
    list.extend(path.map(|path| json!({"type": kind, "path": path})));
}

#[test]
fn kernel_parameters_of_the_host_are_not_written() {
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let before = read("/proc/sys/vm/swappiness");
    let other = if before == "59\n" { "58" } else { "59" };
    for (name, value) in [
        ("vm.swappiness", other),
        ("vm/swappiness", other),
        ("kernel.core_uses_pid", "1"),
        ("user.max_user_namespaces", "100"),
    ] {
        let mut bundle = Bundle::new("true");
        bundle.config["linux"]["sysctl"] = json!({name: value});
        let words = format!("sysctl \"{name}\" is not in a separate kernel namespace");
        bundle.refused("run", &[&words], name);
    }
    assert_eq!(read("/proc/sys/vm/swappiness"), before);
    let mut bundle = Bundle::new("true");
    bundle.config["linux"]["sysctl"] = json!({"kernel.hostname": "x"});
    let words =
        "\"kernel.hostname\" is not allowed as it conflicts with the OCI \"hostname\" field";
    bundle.refused("run", &[words], "host name");
}

#[test]
fn parameters_need_a_namespace_that_is_not_the_hosts() {
    for (kind, file, name, words) in [
        (
            "network",
            "net",
            "net.ipv4.ip_unprivileged_port_start",
            "not allowed in host network namespace",
        ),
        (
            "ipc",
            "ipc",
            "kernel.shmmni",
            "is not allowed in the hosts ipc namespace",
        ),
        (
            "ipc",
            "ipc",
            "fs.mqueue.msg_max",
            "is not allowed in the hosts ipc namespace",
        ),
        (
            "uts",
            "uts",
            "kernel.domainname",
            "is not in a separate kernel namespace",
        ),
    ] {
        let own = format!("/proc/self/ns/{file}");
        let first = format!("/proc/1/ns/{file}");
        let parameter = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = fs::read_to_string(&parameter).unwrap();
        // Not everywhere may root look into the first process's.
        let first = fs::File::open(&first).ok().map(|_| first.as_str());
        for path in [None, Some(own.as_str()), first] {
            let mut bundle = Bundle::new("true");
            namespaces(&mut bundle, kind, path);
            bundle.config.as_object_mut().unwrap().remove("hostname");
            bundle.config["linux"]["sysctl"] = json!({name: "17"});
            let told = format!("sysctl \"{name}\" {words}");
            bundle.refused("run", &[&told], &format!("{name} {path:?}"));
        }
        assert_eq!(fs::read_to_string(&parameter).unwrap(), before, "{name}");
    }
}

#[test]
fn parameters_of_the_containers_namespaces_are_set() {
    let mut bundle = Bundle::new(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni \
        /proc/sys/fs/mqueue/msg_max /proc/sys/kernel/domainname",
    );
    bundle.config["linux"]["sysctl"] = json!({
        "net/ipv4/ip_unprivileged_port_start": "17", "kernel.shmmni": "18",
        "fs.mqueue.msg_max": "19", "kernel.domainname": "twenty",
    });
    assert_eq!(bundle.run(&["run", "ID"]).good(), "17\n18\n19\ntwenty\n");
}

#[test]
fn names_are_not_set_for_the_host() {
    for (field, what) in [("hostname", "hostname"), ("domainname", "domainname")] {
        for path in [None, Some("/proc/self/ns/uts")] {
            let mut bundle = Bundle::new("true");
            namespaces(&mut bundle, "uts", path);
            bundle.config.as_object_mut().unwrap().remove("hostname");
            bundle.config[field] = json!("of-nobody");
            let words = format!("unable to set {what} without a private UTS namespace");
            bundle.refused("run", &[&words], &format!("{path:?}"));
        }
    }
}

#[test]
fn maps_and_clocks_need_their_namespaces() {
    let one = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    for (field, value, words) in [
        ("uidMappings", &one, "user namespace mappings specified"),
        ("gidMappings", &one, "user namespace mappings specified"),
        (
            "timeOffsets",
            &json!({"boottime": {"secs": 1}}),
            "time namespace offsets specified",
        ),
    ] {
        let mut bundle = Bundle::new("true");
        bundle.config["linux"][field] = value.clone();
        bundle.refused("run", &[words], field);
    }
}

#[test]
fn ids_that_stand_for_the_callers_are_refused() {
    const WORDS: &str = "unable to setup user: uids and gids must be in range 0-2147483647";
    for user in [
        json!({"uid": u32::MAX, "gid": 0}),
        json!({"uid": 0, "gid": u32::MAX}),
        json!({"uid": 1u32 << 31, "gid": 0}),
        json!({"uid": 0, "gid": 0, "additionalGids": [7, u32::MAX]}),
    ] {
        let mut bundle = Bundle::new("id");
        bundle.config["process"]["user"] = user.clone();
        bundle.refused("run", &[WORDS], &user.to_string());
    }
    let bundle = Bundle::new("sleep 1000");
    bundle.quietly(&["run", "-d", "ID"]);
    for words in [
        &["exec", "-u", "4294967295", "ID", "id"][..],
        &["exec", "-u", "7:4294967295", "ID", "id"],
        &["exec", "-g", "4294967295", "ID", "id"],
    ] {
        let ended = bundle.run(words);
        assert_eq!(ended.status, Some(255), "{ended:?}");
        assert!(ended.sentence().ends_with(WORDS), "{words:?}");
    }
    bundle.run(&["delete", "-f", "ID"]).good();
}

#[test]
fn a_created_container_that_is_held_goes_on_when_it_is_let_go() {
    let bundle = Bundle::new("echo runs");
    bundle.create(&[]);
    bundle.run(&["pause", "ID"]).good();
    assert_eq!(bundle.status(), "paused");
    assert_eq!(
        bundle.run(&["start", "ID"]).sentence(),
        "cannot start a container in the paused state"
    );
    assert_eq!(
        bundle.run(&["exec", "ID", "true"]).sentence(),
        "exec failed: cannot exec in a paused container (use --ignore-paused to override)"
    );
    assert_eq!(
        bundle.run(&["pause", "ID"]).sentence(),
        "container already paused"
    );
    assert_eq!(
        bundle.run(&["delete", "ID"]).sentence(),
        format!(
            "cannot delete container {} that is not stopped: paused",
            bundle.id
        )
    );
    bundle.run(&["resume", "ID"]).good();
    assert_eq!(bundle.status(), "created");
    assert_eq!(bundle.out(), "");
    bundle.run(&["start", "ID"]).good();
    bundle.await_out("runs\n");
    bundle.await_status("stopped");
    bundle.run(&["delete", "ID"]).good();
}

#[test]
fn a_created_container_that_is_held_can_be_removed() {
    for words in [&["delete", "--force", "ID"][..], &["kill", "ID", "KILL"]] {
        let bundle = Bundle::new("echo runs");
        bundle.create(&[]);
        bundle.run(&["pause", "ID"]).good();
        bundle.run(words).good();
        if words[0] == "kill" {
            bundle.await_status("stopped");
            bundle.run(&["delete", "ID"]).good();
        }
    }
}

#[test]
fn a_process_that_was_killed_on_its_way_is_told() {
    for limit in [4096, 16384] {
        for words in [&["create", "ID"][..], &["run", "ID"], &["run", "-d", "ID"]] {
            let mut bundle = Bundle::new("true");
            bundle.config["linux"]["resources"]["memory"] = json!({"limit": limit});
            let ended = bundle.run(words);
            assert_eq!(ended.status, Some(1), "{words:?} {ended:?}");
            let told = ended.sentence();
            assert!(told.contains("is the memory limit too low?"), "{told}");
        }
    }
}

#[test]
fn limits_of_memory_are_numbers_or_none() {
    for field in ["limit", "swap", "reservation"] {
        let mut bundle = Bundle::new("true");
        let memory = &mut bundle.config["linux"]["resources"]["memory"];
        *memory = json!({"limit": 64 << 20});
        memory[field] = Value::from(-5);
        let name = format!("linux.resources.memory.{field}");
        bundle.refused("run", &[&name, "invalid argument", "-5"], field);
    }
    let mut bundle = Bundle::new("true");
    bundle.config["linux"]["resources"]["memory"] = json!({"limit": -1, "swap": -1});
    bundle.run(&["run", "ID"]).good();
}
