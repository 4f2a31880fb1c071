//! Groups that systemd makes. What needs it is looked at where it runs: in the emulated machine (`tests/vm`).

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundles::set;
use crate::rootless::{Home, USER};
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
        assert!(
            refused.contains("systemd not running on this host"),
            "{refused}"
        );
    }
}

#[test]
fn annotations_that_are_no_properties_are_told() {
    let (mut bundle, _) = scoped("true");
    for (name, text, told) in [
        ("TimeoutStopSec", "soon", "\"soon\" is not understood"),
        ("TimeoutStopSec", "'5'", "not a number"),
        ("Timeout-Stop", "5", "\"Timeout-Stop\" is no name"),
    ] {
        let name = format!("org.systemd.property.{name}");
        bundle.config["annotations"] = json!({ &name: text });
        let refused = bundle.run(&["--systemd-cgroup", "run", "ID"]).sentence();
        let field = format!("annotations.{name}: ");
        assert!(
            refused.contains(&field) && refused.contains(told),
            "{refused}"
        );
    }
    // They are of no meaning where systemd makes no groups.
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.id));
    bundle.run(&["run", "ID"]).good();
}

#[test]
fn annotations_are_properties_of_the_scope() {
    if !is_running() {
        testkit::skip("systemd does not run here");
        return;
    }
    let (mut bundle, unit) = scoped("sleep 1000");
    bundle.config["annotations"] = json!({
        "org.systemd.property.TimeoutStopSec": "7",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.SendSIGHUP": "true",
        "org.systemd.property.Documentation": "['man:wharf(1)', \"man:wharf(8)\"]",
        "org.systemd.property.CPUShares": "uint64 512",
        // The configuration's own limits win.
        "org.systemd.property.TasksMax": "uint64 7",
        "another": "one",
    });
    set(
        &mut bundle.config,
        "/linux/resources/pids",
        json!({"limit": 33}),
    );
    bundle.quietly(&["--systemd-cgroup", "run", "-d", "ID"]);
    for (name, value) in [
        ("TimeoutStopUSec", "7s"),
        ("CollectMode", "inactive-or-failed"),
        ("SendSIGHUP", "yes"),
        ("Documentation", "\"man:wharf(1)\" \"man:wharf(8)\""),
        ("CPUShares", "512"),
        ("TasksMax", "33"),
    ] {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    bundle.run(&["delete", "--force", "ID"]).good();
    bundle.config["annotations"] = json!({"org.systemd.property.NoSuchThing": "1"});
    let refused = bundle.run(&["--systemd-cgroup", "run", "ID"]).sentence();
    assert!(refused.contains("NoSuchThing"), "{refused}");
    assert_eq!(property(&unit, "LoadState"), "not-found");
}

/// Whether there is a manager of the user that tests run as, in whose session the environment is.
fn has_user() -> bool {
    let there = Path::new(&format!("/run/user/{USER}/systemd/private")).exists();
    assert!(there || std::env::var_os("WHARF_SYSTEMD_USER").is_none());
    there
}

fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn a_users_own_manager_holds_the_container() {
    if !has_user() {
        testkit::skip("systemd does not run here");
        return;
    }
    let mut home = Home::new();
    home.configure("exec busybox sleep 1000", |config| {
        config["annotations"] = json!({"org.systemd.property.TimeoutStopSec": "7"});
        config["linux"]["resources"] = json!({"pids": {"limit": 33}});
    });
    if !is_unified() {
        let refused = home.run(&["--systemd-cgroup", "run", "box"]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains("groups of version 2 only"), "{told}");
        return;
    }
    // By the bus of the session, and where there is none by the manager's own socket.
    let private = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(private.path(), open).unwrap();
    let socket = format!("/run/user/{USER}/systemd");
    std::os::unix::fs::symlink(socket, private.path().join("systemd")).unwrap();
    for folder in [Path::new(&format!("/run/user/{USER}")), private.path()] {
        home.env = vec![("XDG_RUNTIME_DIR", folder.to_owned())];
        holds_a_users_container(&home);
    }
}

fn holds_a_users_container(home: &Home) {
    let place =
        format!("/user.slice/user-{USER}.slice/user@{USER}.service/user.slice/wharf-box.scope");
    home.quiet(&["--systemd-cgroup", "run", "-d", "box"]);
    let state: Value = serde_json::from_str(&home.good(&["state", "box"])).unwrap();
    let group = std::fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).unwrap();
    assert_eq!(group.trim_end(), format!("0::{place}"));
    let folder = Path::new("/sys/fs/cgroup").join(&place[1..]);
    let limit = || std::fs::read_to_string(folder.join("pids.max")).unwrap();
    assert_eq!(limit(), "33\n");
    // Who stood in for it is gone, and the command is not in there.
    let pids = home.good(&["ps", "-f", "json", "box"]);
    assert_eq!(pids.trim(), format!("[{}]", state["pid"]));
    let exec = home.good(&["exec", "box", "busybox", "cat", "/proc/self/cgroup"]);
    assert!(
        exec.trim_end().ends_with("/wharf-box.scope") || exec == "0::/\n",
        "{exec}"
    );
    home.good(&["pause", "box"]);
    let frozen = std::fs::read_to_string(folder.join("cgroup.events")).unwrap();
    assert!(frozen.contains("frozen 1"), "{frozen}");
    home.good(&["resume", "box"]);
    home.good(&["update", "--pids-limit", "44", "box"]);
    assert_eq!(limit(), "44\n");
    home.good(&["delete", "--force", "box"]);
    assert!(!folder.exists());
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
