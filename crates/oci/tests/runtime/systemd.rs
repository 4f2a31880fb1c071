//! Groups that systemd makes. What needs it is looked at where it runs: in the emulated machine (`tests/vm`).

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundles::set;
use crate::support::Bundle;

/// Whether systemd is there, which it has to be where the tests are run for it.
fn is_running() -> bool {
    let running = Path::new("/run/systemd/private").exists();
    assert!(running || std::env::var_os("WHARF_SYSTEMD").is_none());
    running
}

/// A property of a unit as systemd knows it.
fn property(unit: &str, name: &str) -> String {
    let output = Command::new("systemctl")
        .args(["show", "--value", "-p", name, unit])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn reload() {
    let status = Command::new("systemctl").arg("daemon-reload").status();
    assert!(status.unwrap().success());
}

/// A bundle whose group is a scope, and the scope's name.
fn scoped(script: &str) -> (Bundle, String) {
    let mut bundle = Bundle::new(script);
    let path = format!("wharf-test.slice:wharf:{}", bundle.id);
    bundle.config["linux"]["cgroupsPath"] = json!(path);
    let unit = format!("wharf-{}.scope", bundle.id);
    (bundle, unit)
}

#[test]
fn paths_of_other_forms_and_a_host_without_systemd_are_told() {
    let mut bundle = Bundle::new("true");
    let refused = bundle.run(&["--systemd-cgroup", "run", "ID"]).sentence();
    let words = format!(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/{}\" instead",
        bundle.id
    );
    assert!(refused.ends_with(&words), "{refused}");
    bundle.config["linux"]["cgroupsPath"] = json!("a.slice:b:c");
    let refused = bundle.run(&["run", "ID"]).sentence();
    assert!(refused.contains("--systemd-cgroup"), "{refused}");
    if !is_running() {
        let refused = bundle.run(&["--systemd-cgroup", "run", "ID"]).sentence();
        assert!(refused.contains("systemd: cannot connect"), "{refused}");
    }
}

#[test]
fn a_scope_holds_the_container() {
    if !is_running() {
        testkit::skip("systemd does not run here");
        return;
    }
    let (bundle, unit) = scoped("sleep 1000");
    bundle.quietly(&["--systemd-cgroup", "run", "-d", "ID"]);
    assert_eq!(property(&unit, "ActiveState"), "active");
    let pid = bundle.state()["pid"].to_string();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let place = format!("/wharf.slice/wharf-test.slice/{unit}");
    for line in groups.lines() {
        let mounted = !line.starts_with("0::") || line != "0::/";
        assert!(!mounted || line.ends_with(&place), "{groups}");
    }
    // It is in there alone: who stood in for it is gone.
    let pids = bundle.run(&["ps", "-f", "json", "ID"]).good();
    assert_eq!(pids.trim(), format!("[{pid}]"));
    let exec = bundle
        .run(&["exec", "ID", "cat", "/proc/self/cgroup"])
        .good();
    assert!(exec.lines().count() == groups.lines().count(), "{exec}");
    bundle.run(&["pause", "ID"]).good();
    assert_eq!(bundle.status(), "paused");
    bundle.run(&["resume", "ID"]).good();
    let again = bundle.run(&["--systemd-cgroup", "run", "ID"]).sentence();
    assert!(
        again.ends_with("container with given ID already exists"),
        "{again}"
    );
    bundle.run(&["delete", "--force", "ID"]).good();
    assert_eq!(property(&unit, "LoadState"), "not-found");
    for top in [
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup/pids",
    ] {
        assert!(!Path::new(&format!("{top}{place}")).exists());
    }
}

#[test]
fn limits_survive_a_reload_of_systemd() {
    if !is_running() {
        testkit::skip("systemd does not run here");
        return;
    }
    let hog = "busybox dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null";
    let (mut bundle, unit) = scoped(&format!("{hog}; echo $?; sleep 1000"));
    let memory = json!({"limit": 16 << 20, "swap": 16 << 20});
    set(&mut bundle.config, "/linux/resources/memory", memory);
    set(
        &mut bundle.config,
        "/linux/resources/pids",
        json!({"limit": 33}),
    );
    let cpu = json!({"quota": 50_000, "period": 100_000});
    set(&mut bundle.config, "/linux/resources/cpu", cpu);
    bundle.quietly(&["--systemd-cgroup", "run", "-d", "ID"]);
    let limits = || {
        let text = bundle.run(&["events", "--stats", "ID"]).good();
        let stats: Value = serde_json::from_str(&text).unwrap();
        let at = |pointer: &str| stats.pointer(pointer).unwrap().as_u64().unwrap();
        (at("/data/memory/usage/limit"), at("/data/pids/limit"))
    };
    assert_eq!(limits(), (16 << 20, 33));
    assert_eq!(property(&unit, "TasksMax"), "33");
    assert_eq!(property(&unit, "CPUQuotaPerSecUSec"), "500ms");
    reload();
    assert_eq!(limits(), (16 << 20, 33));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while bundle.out() != "137\n" {
        assert!(std::time::Instant::now() < deadline, "{}", bundle.out());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(bundle.state()["oomKilled"], json!(true));
    let words = [
        "update",
        "--memory",
        "32m",
        "--memory-swap",
        "32m",
        "--pids-limit",
        "44",
        "ID",
    ];
    bundle.run(&words).good();
    assert_eq!(limits(), (32 << 20, 44));
    assert_eq!(property(&unit, "TasksMax"), "44");
    reload();
    assert_eq!(limits(), (32 << 20, 44));
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn devices_stay_denied_after_a_reload_of_systemd() {
    if !is_running() {
        testkit::skip("systemd does not run here");
        return;
    }
    let (bundle, _) = scoped("sleep 1000");
    bundle.quietly(&["--systemd-cgroup", "run", "-d", "ID"]);
    let open = || {
        let line = "busybox mknod /tmp/log c 1 11 2>/dev/null; busybox dd if=/tmp/log count=0 2>&1 | grep -c permitted
            busybox dd if=/dev/zero of=/dev/null count=1 2>/dev/null && echo usual";
        bundle
            .run(&["exec", "--cap", "CAP_MKNOD", "ID", "sh", "-c", line])
            .out
    };
    let before = open();
    reload();
    assert_eq!(open(), before);
    assert!(before.contains("usual"), "{before}");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn a_container_that_cannot_be_made_leaves_no_scope() {
    if !is_running() {
        testkit::skip("systemd does not run here");
        return;
    }
    let (mut bundle, unit) = scoped("true");
    bundle.config["process"]["args"] = json!(["/nope"]);
    let refused = bundle.run(&["--systemd-cgroup", "run", "ID"]).sentence();
    assert!(refused.contains("no such file"), "{refused}");
    assert_eq!(property(&unit, "LoadState"), "not-found");
    bundle.config["process"]["args"] = json!(["true"]);
    set(
        &mut bundle.config,
        "/linux/resources/cpu",
        json!({"cpus": "4000"}),
    );
    let refused = bundle.run(&["--systemd-cgroup", "run", "ID"]).sentence();
    assert!(refused.contains("4000"), "{refused}");
    assert_eq!(property(&unit, "LoadState"), "not-found");
    // One that ends by itself takes its scope with it.
    bundle.config["linux"]["resources"] = json!({});
    bundle.run(&["--systemd-cgroup", "run", "ID"]).good();
    assert_eq!(property(&unit, "LoadState"), "not-found");
}
