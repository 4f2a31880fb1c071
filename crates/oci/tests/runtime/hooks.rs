//! Hooks of all kinds.

use std::fs;

use serde_json::{Value, json};

use crate::support::Bundle;

/// A hook that adds its kind, the status that it reads and where it is to a file.
fn hook(bundle: &Bundle, kind: &str) -> Value {
    let log = bundle.path("hooks");
    let script = format!(
        "read -r state; echo \"{kind} $0 $A $(echo $state | grep -o '\"status\":\"[a-z]*\"' | cut -d'\"' -f4) \
         $(cat /proc/sys/kernel/hostname)\" >>{}",
        log.display()
    );
    json!({"path": "/bin/sh", "args": ["sh", "-c", script, "name"], "env": ["A=b", "PATH=/bin:/usr/bin"]})
}

#[test]
fn hooks_run_in_their_order_and_places() {
    let mut bundle = Bundle::new("true");
    let mut hooks = json!({});
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ] {
        hooks[kind] = json!([hook(&bundle, kind)]);
    }
    // Its path and its files are the container's.
    hooks["startContainer"] = json!([{
        "path": "/bin/busybox",
        "args": ["sh", "-c", "grep -q '\"status\":\"created\"' && cat /proc/sys/kernel/hostname >/tmp/seen"],
    }]);
    bundle.config["hooks"] = hooks;
    fs::create_dir(bundle.path("seen")).unwrap();
    let source = bundle.path("seen");
    bundle.push(
        "/mounts",
        json!({"destination": "/tmp", "type": "bind", "source": source, "options": ["bind"]}),
    );
    bundle.run(&["run", "ID"]).good();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    let told = fs::read_to_string(bundle.path("hooks")).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(
        lines,
        [
            format!("prestart name b creating {host}"),
            format!("createRuntime name b creating {host}"),
            // The namespace is new, and has its name later.
            format!("createContainer name b creating {host}"),
            format!("poststart name b running {host}"),
            format!("poststop name b stopped {host}"),
        ]
    );
    assert_eq!(
        fs::read_to_string(bundle.path("seen/seen")).unwrap(),
        "wharf\n"
    );
}

#[test]
fn a_hook_that_fails_or_takes_too_long_ends_the_container() {
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
    ] {
        let mut bundle = Bundle::new("sleep 1000");
        let poststop = hook(&bundle, "poststop");
        let path = if kind == "startContainer" {
            "/bin/busybox"
        } else {
            "/bin/sh"
        };
        let failing = json!({"path": path, "args": ["sh", "-c", "echo because >&2; exit 3"]});
        bundle.config["hooks"] = json!({ kind: [failing], "poststop": [poststop] });
        let sentence = bundle.run(&["run", "ID"]).sentence();
        let words = format!(
            "error running {kind} hook #0: error running hook: exit status 3, stdout: , stderr: because"
        );
        assert!(sentence.contains(&words), "{kind}: {sentence}");
        let told = fs::read_to_string(bundle.path("hooks")).unwrap();
        assert!(told.starts_with("poststop "), "{kind}: {told}");
    }
    let mut bundle = Bundle::new("true");
    bundle.config["hooks"] = json!({"createRuntime": [
        {"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1},
    ]});
    let sentence = bundle.run(&["run", "ID"]).sentence();
    assert!(
        sentence.contains("hook ran past specified timeout of 1.0s"),
        "{sentence}"
    );
    bundle.config["hooks"] = json!({"createRuntime": [{"path": "/nope"}]});
    let sentence = bundle.run(&["run", "ID"]).sentence();
    assert!(sentence.contains("no such file or directory"), "{sentence}");
}

#[test]
fn a_start_that_a_hook_prevents_is_told_to_the_hooks_after_it() {
    let mut bundle = Bundle::new("sleep 1000");
    let hooks = json!({
        "startContainer": [{"path": "/bin/busybox", "args": ["sh", "-c", "exit 3"]}],
        "poststart": [hook(&bundle, "poststart"), hook(&bundle, "poststart")],
        "poststop": [hook(&bundle, "poststop")],
    });
    bundle.config["hooks"] = hooks;
    bundle.create(&[]);
    let sentence = bundle.run(&["start", "ID"]).sentence();
    assert!(
        sentence.contains("error running startContainer hook #0"),
        "{sentence}"
    );
    assert_eq!(bundle.status(), "stopped");
    bundle.run(&["delete", "ID"]).good();
    let told = fs::read_to_string(bundle.path("hooks")).unwrap();
    let seen: Vec<&str> = told.split_inclusive(" stopped ").collect();
    assert_eq!(seen.len(), 4, "{told}");
    let kinds: Vec<&str> = told
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(kinds, ["poststart", "poststart", "poststop"]);
}

#[test]
fn a_hook_after_the_end_that_fails_is_told_by_delete() {
    let mut bundle = Bundle::new("true");
    let failing = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo because >&2; exit 3"]});
    let log = bundle.path("hooks");
    let log = log.display();
    let hooks = json!({"poststop": [
        line(&format!("echo first >>{log}")),
        failing,
        line(&format!("echo third >>{log}")),
    ]});
    bundle.config["hooks"] = hooks;
    bundle.create(&[]);
    bundle.run(&["start", "ID"]).good();
    bundle.await_status("stopped");
    let sentence = bundle.run(&["delete", "ID"]).sentence();
    let words = "error running poststop hook #1: error running hook: exit status 3, stdout: , stderr: because";
    assert!(sentence.contains(words), "{sentence}");
    let seen = || fs::read_to_string(bundle.path("hooks")).unwrap();
    assert_eq!(seen(), "first\n");
    // It is gone all the same.
    let again = bundle.run(&["delete", "ID"]).sentence();
    assert!(again.ends_with("container does not exist"), "{again}");
    // Whoever ran it has the program's status, and a warning.
    let ended = bundle.run(&["run", "ID"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(
        ended.err.contains("level=warning") && ended.err.contains("poststop hook #1"),
        "{ended:?}"
    );
    assert_eq!(seen(), "first\nfirst\nthird\n");
}

#[test]
fn a_hook_that_starts_the_container_is_under_its_filter() {
    for privileged in [true, false] {
        let mut bundle = Bundle::new("true");
        bundle.config["process"]["noNewPrivileges"] = json!(!privileged);
        bundle.config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}],
        });
        let hook = json!({"path": "/bin/busybox", "args": ["mkdir", "/tmp/made"]});
        bundle.config["hooks"] = json!({"startContainer": [hook]});
        let sentence = bundle.run(&["run", "ID"]).sentence();
        assert!(
            sentence.contains("error running hook: signal: bad system call"),
            "{sentence}"
        );
    }
}

#[test]
fn a_hook_that_starts_the_container_has_its_environment() {
    let mut bundle = Bundle::new("true");
    bundle.config["process"]["env"] = json!(["ONE=two", "ONE=three"]);
    let args = ["sh", "-c", "echo $ONE $HOME; exit 3"];
    let mut hook = json!({"path": "/bin/busybox", "args": args});
    bundle.config["hooks"] = json!({"startContainer": [hook]});
    let sentence = bundle.run(&["run", "ID"]).sentence();
    assert!(sentence.contains("stdout: three /root\n"), "{sentence}");
    hook["env"] = json!([]);
    bundle.config["hooks"] = json!({"startContainer": [hook]});
    let sentence = bundle.run(&["run", "ID"]).sentence();
    assert!(sentence.contains("stdout: \n"), "{sentence}");
}

/// A hook that runs a line of the host's shell; the state is in `$state`, its process's number in `$pid`.
fn line(text: &str) -> Value {
    let script = format!(
        "set -e; read -r state || :; pid=$(echo \"$state\" | grep -o '\"pid\":[0-9]*' | cut -d: -f2); {text}"
    );
    json!({"path": "/bin/sh", "args": ["sh", "-ec", script], "env": ["PATH=/sbin:/bin:/usr/sbin:/usr/bin"]})
}

#[test]
fn hooks_see_the_mounts_and_add_to_them() {
    let mut bundle =
        Bundle::new("cat /tmp/file /sys/file; ls /mnt; grep -c wharf-oci-rootfs /proc/self/mounts");
    let root = bundle.config["root"]["path"].as_str().unwrap().to_owned();
    bundle.push(
        "/mounts",
        json!({"destination": "/mnt", "type": "tmpfs", "source": "seen", "options": ["size=64k"]}),
    );
    let log = bundle.path("log");
    let log = log.display();
    let enter = "nsenter -t $pid -m";
    bundle.config["hooks"] = json!({
        "prestart": [line(&format!(
            "{enter} grep -o ' {root}/mnt .*seen' /proc/self/mountinfo >>{log}; {enter} touch {root}/mnt/by-prestart"
        ))],
        "createRuntime": [line(&format!(
            "{enter} mount -t tmpfs none {root}/tmp; {enter} sh -c 'echo runtime >{root}/tmp/file'"
        ))],
        "createContainer": [line(&format!(
            "echo $pid $(pwd) >>{log}; mount -t tmpfs none {root}/sys; echo container >{root}/sys/file"
        ))],
    });
    let ended = bundle.run(&["run", "ID"]);
    assert_eq!(
        ended.out, "runtime\ncontainer\nby-prestart\n0\n",
        "{ended:?}"
    );
    let told = fs::read_to_string(bundle.path("log")).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with(&format!(" {root}/mnt ")), "{told}");
    // The process's number is the container's, the folder its root.
    assert_eq!(lines[1], format!("1 {root}"));
    // Nothing of it reached the host.
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&root), "{mounts}");
}

#[test]
fn hooks_find_the_namespaces_that_are_joined() {
    let other = Bundle::new("sleep 1000");
    other.quietly(&["run", "-d", "ID"]);
    let pid = other.state()["pid"].as_i64().unwrap();
    let net = format!("/proc/{pid}/ns/net");
    let mut bundle = Bundle::new("true");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    for namespace in namespaces {
        if namespace["type"] == "network" {
            namespace["path"] = json!(net);
        }
    }
    let log = bundle.path("log");
    let tell = line(&format!("readlink /proc/$pid/ns/net >{}", log.display()));
    bundle.config["hooks"] = json!({"createRuntime": [tell]});
    bundle.run(&["run", "ID"]).good();
    let seen = fs::read_to_string(&log).unwrap();
    assert_eq!(seen.trim(), fs::read_link(&net).unwrap().to_string_lossy());
    other.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn hooks_in_the_container_are_in_its_groups() {
    let mut bundle = Bundle::new("true");
    bundle.config["linux"]["resources"]["pids"] = json!({"limit": 50});
    let log = bundle.path("log");
    bundle.config["hooks"] = json!({
        "createContainer": [line(&format!("grep pids /proc/self/cgroup >{} || cat /proc/self/cgroup >{0}", log.display()))],
    });
    bundle.run(&["run", "ID"]).good();
    let seen = fs::read_to_string(&log).unwrap();
    assert!(seen.contains(&bundle.id), "{seen}");
}
