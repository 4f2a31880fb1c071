//! Control groups from the configuration to what a container feels of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bundles::set;
use crate::support::{Bundle, program};

/// What takes more memory than a container of 16 MB has, in a process beside the first one.
const HOG: &str = "busybox dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null";

fn small(bundle: &mut Bundle) {
    let memory = json!({"limit": 16 << 20, "swap": 16 << 20});
    set(&mut bundle.config, "/linux/resources/memory", memory);
}

#[test]
fn the_container_is_in_every_hierarchy() {
    let bundle = Bundle::new("sleep 1000");
    bundle.quietly(&["run", "-d", "ID"]);
    let groups = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let pid = bundle.state()["pid"].to_string();
    let exec = bundle
        .run(&["exec", "ID", "cat", "/proc/self/cgroup"])
        .good();
    // A hierarchy may be there and not mounted, as that of another test.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mounted = |line: &&str| {
        let controllers = line.split(':').nth(1).unwrap();
        let options = format!(",{controllers} ");
        mounts.lines().any(|mount| match controllers {
            "" => mount.contains(" cgroup2 "),
            _ => mount.contains(&options) && mount.contains(" cgroup "),
        })
    };
    let inside = groups(&pid);
    let own: Vec<&str> = inside.lines().filter(mounted).collect();
    assert!(!own.is_empty());
    for line in own {
        assert!(line.ends_with(&format!("/{}", bundle.id)), "{line}");
    }
    assert_eq!(exec.lines().count(), groups("self").lines().count());
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn a_group_with_processes_or_that_is_held_is_nobody_elses() {
    let mut bundle = Bundle::new("sleep 1000");
    let other = Bundle::new("");
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/{}", other.id));
    bundle.quietly(&["run", "-d", "ID"]);
    for verb in ["create", "run"] {
        let sentence = other.run(&[verb, "ID"]).sentence();
        assert!(
            sentence.contains("container's cgroup is not empty: 1 process(es) found"),
            "{sentence}"
        );
    }
    assert_eq!(bundle.status(), "running");
    bundle.run(&["delete", "--force", "ID"]).good();

    let version_1 = Path::new("/sys/fs/cgroup/freezer").is_dir();
    let (folder, file, frozen) = match version_1 {
        true => ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"),
        false => ("/sys/fs/cgroup", "cgroup.freeze", "1"),
    };
    let group = Path::new(folder).join(&other.id);
    fs::create_dir(&group).unwrap();
    fs::write(group.join(file), frozen).unwrap();
    for verb in ["create", "run"] {
        let sentence = other.run(&[verb, "ID"]).sentence();
        assert!(
            sentence.ends_with("container's cgroup unexpectedly frozen"),
            "{sentence}"
        );
    }
    // It is as it was.
    let state = fs::read_to_string(group.join(file)).unwrap();
    assert_eq!(state.trim(), frozen);
    fs::remove_dir(&group).unwrap();
}

#[test]
fn want_of_memory_is_told_at_once() {
    // The first process waits until somebody listens.
    let mut bundle = Bundle::new(&format!(
        "until [ -e /tmp/go ]; do sleep 0.01; done; {HOG}; {HOG}; sleep 1000"
    ));
    small(&mut bundle);
    bundle.push(
        "/mounts",
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
    );
    bundle.quietly(&["run", "-d", "ID"]);
    assert_eq!(bundle.state().get("oomKilled"), None);
    let mut events = bundle
        .command(&["events", "--interval", "1h", "ID"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its watch is there when it waits.
    let waits = || {
        let wchan = std::fs::read_to_string(format!("/proc/{}/stat", events.id())).unwrap();
        let calls = std::fs::read_to_string(format!("/proc/{}/syscall", events.id()));
        let waits = calls.is_ok_and(|call| call.starts_with("271 ") || call.starts_with("7 "));
        waits && wchan.contains(") S ")
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !waits() {
        assert!(Instant::now() < deadline, "no watch");
        std::thread::sleep(Duration::from_millis(5));
    }
    bundle.run(&["exec", "ID", "touch", "/tmp/go"]).good();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(event, json!({"type": "oom", "id": bundle.id}));
    assert_eq!(bundle.state()["oomKilled"], json!(true));
    bundle.run(&["delete", "--force", "ID"]).good();
    // It ends with the container, long before the interval.
    assert!(events.wait().unwrap().success());
}

/// The paths of all fields of a document, without what is in lists.
fn paths(at: &str, value: &Value, all: &mut Vec<String>) {
    if let Value::Object(fields) = value {
        for (name, value) in fields {
            let path = format!("{at}/{name}");
            all.push(path.clone());
            paths(&path, value, all);
        }
    }
}

#[test]
fn figures_have_runcs_names() {
    if Command::new("runc").arg("--version").output().is_err() {
        testkit::skip("runc is not installed");
        return;
    }
    let bundle = Bundle::new("while :; do :; done");
    bundle.quietly(&["run", "-d", "ID"]);
    let ours: Value =
        serde_json::from_str(&bundle.run(&["events", "--stats", "ID"]).good()).unwrap();
    bundle.run(&["delete", "--force", "ID"]).good();
    let root = bundle.path("runc");
    let runc = |words: &[&str]| {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&root).args(words);
        command.current_dir(bundle.path("")).stdin(Stdio::null());
        command
    };
    let quiet = runc(&["run", "-d", &bundle.id])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    if !quiet.success() {
        testkit::skip("runc can run no container here");
        return;
    }
    let output = runc(&["events", "--stats", &bundle.id]).output().unwrap();
    runc(&["delete", "--force", &bundle.id]).status().unwrap();
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (mut mine, mut needed) = (Vec::new(), Vec::new());
    paths("", &ours, &mut mine);
    paths("", &theirs, &mut needed);
    // runc describes the features of resctrl there, which this kernel has not.
    needed.retain(|path| !path.starts_with("/data/intel_rdt/"));
    let missing: Vec<&String> = needed.iter().filter(|path| !mine.contains(path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(needed.len() > 40, "{needed:?}");
    for path in [
        "/data/memory/usage/limit",
        "/data/cpuset/cpus",
        "/data/memory/swap/limit",
    ] {
        assert_eq!(ours.pointer(path), theirs.pointer(path), "{path}");
    }
}

#[test]
fn an_update_that_is_refused_changes_nothing() {
    let mut bundle = Bundle::new(
        "busybox dd if=/dev/zero bs=48M count=2 2>/dev/null | (echo; busybox sleep 1000; cat >/dev/null)",
    );
    let memory = json!({"limit": 200 << 20, "swap": 200 << 20});
    set(&mut bundle.config, "/linux/resources/memory", memory);
    bundle.quietly(&["run", "-d", "ID"]);
    let memory = || {
        let text = bundle.run(&["events", "--stats", "ID"]).good();
        let stats: Value = serde_json::from_str(&text).unwrap();
        stats["data"]["memory"].clone()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while memory()["usage"]["usage"].as_u64().unwrap() < 40 << 20 {
        assert!(Instant::now() < deadline, "{}", memory());
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = r#"{"memory": {"limit": 16777216, "swap": 16777216, "checkBeforeUpdate": true}}"#;
    std::fs::write(bundle.path("r.json"), text).unwrap();
    let refused = bundle.run(&["update", "-r", "r.json", "ID"]).sentence();
    let words = [
        "rejecting memory",
        "unable to set memory limit to 16777216 (current usage:",
    ];
    assert!(
        words.iter().any(|words| refused.contains(words)),
        "{refused}"
    );
    assert_eq!(memory()["usage"]["limit"], json!(200 << 20));
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.state().get("oomKilled"), None);
    let told = bundle.run(&["update", "--kernel-memory", "1m", "ID"]);
    assert!(
        told.status == Some(0) && told.err.contains("Kernel memory settings are ignored"),
        "{told:?}"
    );
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn real_time_is_given_by_an_update() {
    let bundle = Bundle::new("sleep 1000");
    bundle.quietly(&["run", "-d", "ID"]);
    let update = |period: &str, runtime: &str| {
        let words = ["--cpu-rt-period", period, "--cpu-rt-runtime", runtime];
        bundle.run(&[&["update"], &words[..], &["ID"]].concat())
    };
    if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        let refused = update("500000", "10000").sentence();
        assert!(refused.contains("real-time"), "{refused}");
        bundle.run(&["delete", "--force", "ID"]).good();
        return;
    }
    let mut process = bundle.config["process"].clone();
    process["args"] = json!(["busybox", "cut", "-d ", "-f40,41", "/proc/self/stat"]);
    process["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 7});
    fs::write(bundle.path("process"), process.to_string()).unwrap();
    let exec = || bundle.run(&["exec", "--process", "process", "ID"]);
    let told = exec().sentence();
    assert!(told.contains("operation not permitted"), "{told}");
    update("500000", "10000").good();
    // Priority and policy of a process that may run so now.
    assert_eq!(exec().good(), "7 1\n");
    // Of more than the group above has nothing comes, and what was there stays.
    let refused = update("1000000", "999999").sentence();
    assert!(refused.contains("real time"), "{refused}");
    assert_eq!(exec().good(), "7 1\n");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn resources_of_every_kind_are_read() {
    // A wrong value of each is refused by the kernel, or by what knows it, in a sentence with its name.
    let cases = [
        ("blockIO", json!({"weight": 5_000}), "weight"),
        (
            "blockIO",
            json!({"weightDevice": [{"major": 9999, "minor": 1, "weight": 100}]}),
            "9999:1 ",
        ),
        ("blockIO", json!({"leafWeight": 100}), "leaf weight"),
        (
            "blockIO",
            json!({"throttleReadBpsDevice": [{"major": 9999, "minor": 1, "rate": 100}]}),
            "9999:1 ",
        ),
        (
            "blockIO",
            json!({"throttleWriteBpsDevice": [{"major": 9999, "minor": 2, "rate": 100}]}),
            "9999:2 ",
        ),
        (
            "blockIO",
            json!({"throttleReadIOPSDevice": [{"major": 9999, "minor": 3, "rate": 100}]}),
            "9999:3 ",
        ),
        (
            "blockIO",
            json!({"throttleWriteIOPSDevice": [{"major": 9999, "minor": 4, "rate": 100}]}),
            "9999:4 ",
        ),
        (
            "blockIO",
            json!({"throttleWriteIOPSDevice": [{"major": -1, "minor": 4, "rate": 100}]}),
            "blockIO.throttleWriteIOPSDevice[0].major",
        ),
        (
            "hugepageLimits",
            json!([{"pageSize": "3MB", "limit": 1}]),
            "\"3MB\"",
        ),
        ("unified", json!({"a/b": "1"}), "\"a/b\""),
        ("unified", json!({"nope.max": "1"}), "\"nope.max\""),
        ("rdma", json!({"none0": {"hcaHandles": 1}}), "rdma"),
        (
            "network",
            json!({"classID": 1, "priorities": []}),
            "net_cls",
        ),
        (
            "network",
            json!({"priorities": [{"name": "nope0", "priority": 1}]}),
            "net_prio",
        ),
        (
            "cpu",
            json!({"burst": 1_000_000_000_000_000_u64, "quota": 50_000}),
            "50000",
        ),
        ("cpu", json!({"idle": 7}), "cpu.idle"),
        ("cpu", json!({"realtimeRuntime": 2_000_000}), "real"),
        ("memory", json!({"swappiness": 1_000}), "swappiness"),
    ];
    for (name, value, words) in cases {
        let mut bundle = Bundle::new("true");
        set(
            &mut bundle.config,
            &format!("/linux/resources/{name}"),
            value.clone(),
        );
        let ended = bundle.run(&["run", "ID"]);
        assert_ne!(ended.status, Some(0), "{name} {value}");
        let sentence = ended.sentence();
        assert!(sentence.contains(words), "{name} {value}: {sentence}");
    }
}

/// Runs a line of the shell in mount and network namespaces of its own, with a hierarchy of version 1 mounted at
/// `$TOP` that this host has not; `None` where the kernel has it not either.
fn beside(bundle: &Bundle, controllers: &str, line: &str) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let first = controllers.split(',').next().unwrap();
    if mounts.contains(first) {
        return None;
    }
    let top = bundle.path("top");
    std::fs::create_dir_all(&top).unwrap();
    drop(bundle.command(&[]));
    let script =
        format!("ip link set lo up; mount -t cgroup -o {controllers} none $TOP || exit 77; {line}");
    let output = Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c", &script])
        .env("TOP", &top)
        .env(
            "RUN",
            format!("{} --root {}", program(), bundle.path("root").display()),
        )
        .current_dir(bundle.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.code() == Some(77) {
        return None;
    }
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}{told}");
    Some(out)
}

#[test]
fn packets_have_their_groups_class_and_priority() {
    // A packet to nobody, in the network that the caller is in.
    let mut bundle = Bundle::new("busybox nc -w 1 127.0.0.1 9; sleep 1000");
    let network = json!({"classID": 0x10_0001, "priorities": [{"name": "lo", "priority": 5}]});
    set(&mut bundle.config, "/linux/resources/network", network);
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|one| one["type"] != "network");
    let line = format!(
        "nft add table inet t && nft add chain inet t out '{{ type filter hook output priority 0; }}'
        nft add rule inet t out meta cgroup 1048577 counter
        nft add rule inet t out tcp dport 9 meta cgroup != 1048577 counter
        $RUN run -d --bundle . {id} >/dev/null 2>&1 || exit 1
        grep 'lo 5' $TOP/{id}/net_prio.ifpriomap
        n=0
        until nft list chain inet t out | grep -q 'cgroup 1048577 counter packets [1-9]'; do
          n=$((n + 1)); [ $n -lt 600 ] || break; sleep 0.05
        done
        nft list chain inet t out
        $RUN delete --force {id}; ls $TOP",
        id = bundle.id
    );
    let Some(told) = beside(&bundle, "net_cls,net_prio", &line) else {
        return;
    };
    assert!(told.starts_with("lo 5\n"), "{told}");
    let packets = |rule: &str| {
        let line = told.lines().find(|line| line.contains(rule)).unwrap();
        let count = line.split("packets ").nth(1).unwrap();
        count.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(packets("meta cgroup 1048577") > 0, "{told}");
    assert_eq!(packets("meta cgroup != 1048577"), 0, "{told}");
    assert!(!told.contains(&bundle.id), "the group is gone: {told}");
}

#[test]
fn a_relative_path_begins_at_the_callers_groups() {
    let mut bundle = Bundle::new("sleep 1000");
    // Of version 1 one hierarchy will do; of version 2 the group above the caller's counts.
    let top = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
        .into_iter()
        .find(|top| std::path::Path::new(top).join("cgroup.procs").exists())
        .unwrap();
    let caller = std::path::Path::new(top).join(format!("{}-caller", bundle.id));
    let v2 = top == "/sys/fs/cgroup";
    let inner = if v2 {
        caller.join("inner")
    } else {
        caller.clone()
    };
    for name in [Some(format!("{}-box", bundle.id)), None] {
        let path = name.as_ref().map(|name| json!(format!("a/../{name}")));
        bundle.config["linux"]["cgroupsPath"] = path.unwrap_or_default();
        std::fs::create_dir_all(&inner).unwrap();
        drop(bundle.command(&[]));
        let line = format!(
            "echo $$ > {}/cgroup.procs; exec {} --root {} run -d {}",
            inner.display(),
            program(),
            bundle.path("root").display(),
            bundle.id
        );
        let status = Command::new("sh")
            .args(["-c", &line])
            .current_dir(bundle.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        let group = caller.join(name.as_ref().unwrap_or(&bundle.id));
        let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
        assert_eq!(members.trim(), bundle.state()["pid"].to_string());
        // Other commands, which are elsewhere, find it.
        bundle.run(&["pause", "ID"]).good();
        assert_eq!(bundle.status(), "paused");
        bundle.run(&["resume", "ID"]).good();
        bundle.run(&["exec", "ID", "true"]).good();
        if !v2 {
            // Inside it has the hierarchy's own name.
            let file = "/sys/fs/cgroup/pids/pids.max";
            bundle.run(&["exec", "ID", "cat", file]).good();
        }
        bundle.run(&["delete", "--force", "ID"]).good();
        assert!(!group.exists());
        if v2 {
            std::fs::remove_dir(&inner).unwrap();
        }
        std::fs::remove_dir(&caller).unwrap();
    }
}
