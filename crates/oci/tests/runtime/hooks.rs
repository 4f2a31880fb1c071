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
        let words =
            "error running hook #0: error running hook: exit status 3, stdout: , stderr: because";
        assert!(sentence.contains(words), "{kind}: {sentence}");
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
