//! What configurations say, seen from within the container.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::Bundle;

#[test]
fn the_exit_status_is_the_programs() {
    for (script, status) in [("exit 0", 0), ("exit 7", 7)] {
        let bundle = Bundle::new(script);
        assert_eq!(bundle.run(&["run", "ID"]).status, Some(status), "{script}");
    }
}

#[test]
fn streams_are_the_callers() {
    let bundle = Bundle::new("cat; echo told >&2");
    fs::write(bundle.path("in"), "asked").unwrap();
    let ended = bundle
        .command(&["run", "ID"])
        .stdin(Stdio::from(fs::File::open(bundle.path("in")).unwrap()))
        .output()
        .unwrap();
    assert_eq!(
        (ended.stdout, ended.stderr),
        (b"asked".to_vec(), b"told\n".to_vec())
    );
}

#[test]
fn the_sample_bundle_is_closed_off() {
    let script = "echo $$; cat /proc/sys/kernel/hostname; grep -E 'Cap(Eff|Bnd)|NoNewPrivs' /proc/self/status;
        ulimit -n; touch /x 2>&1; cat /proc/keys; echo 1 2>&1 >/proc/sys/kernel/hostname; ls /proc/self/fd; id -u";
    let bundle = Bundle::new(script);
    let ended = bundle.run(&["run", "ID"]);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(
        lines,
        [
            "1",
            "wharf",
            "CapEff:\t0000000020000420",
            "CapBnd:\t0000000020000420",
            "NoNewPrivs:\t1",
            "1024",
            "touch: /x: Read-only file system",
            "sh: can't create /proc/sys/kernel/hostname: Read-only file system",
            // What hides the keys is empty. Three streams, and the listing's own descriptor.
            "0",
            "1",
            "2",
            "3",
            "0",
        ],
        "{ended:?}"
    );
}

#[test]
fn mounts_have_their_options() {
    let mut bundle = Bundle::new(
        "grep -E ' /(data|mnt|a|run) ' /proc/self/mounts; cat /data/file /a; touch /data/no",
    );
    fs::create_dir(bundle.path("data")).unwrap();
    fs::write(bundle.path("data/file"), "of the host\n").unwrap();
    let data = bundle.path("data");
    // A relative source is the bundle's.
    for mount in [
        json!({"destination": "/data", "type": "bind", "source": data, "options": ["rbind", "ro", "nosuid"]}),
        json!({"destination": "/a", "type": "none", "source": "data/file", "options": ["bind"]}),
        json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["noexec", "size=64k", "mode=700"]}),
    ] {
        bundle.push("/mounts", mount);
    }
    bundle.config["root"]["readonly"] = json!(false);
    let ended = bundle.run(&["run", "ID"]);
    assert_eq!(ended.status, Some(1), "{ended:?}");
    let line = |place: &str| {
        let found = ended.out.lines().find(|line| line.contains(place));
        found
            .unwrap_or_else(|| panic!("{place}: {ended:?}"))
            .to_owned()
    };
    assert!(line(" /data ").contains(" ro,nosuid"));
    assert!(line(" /mnt ").contains("noexec") && line(" /mnt ").contains("size=64k"));
    assert!(
        ended.out.ends_with("of the host\nof the host\n"),
        "{ended:?}"
    );
    assert!(ended.err.contains("Read-only file system"), "{ended:?}");
}

#[test]
fn a_seccomp_profile_counts() {
    let mut bundle = Bundle::new("mkdir /tmp/x; echo $?");
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    });
    let script = "busybox mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status";
    bundle.config["process"]["args"] = json!(["sh", "-c", script]);
    let out = bundle.run(&["run", "ID"]).out;
    assert_eq!(
        out,
        "mkdir: can't create directory '/tmp/x': Operation not supported\nSeccomp:\t2\n"
    );
}

#[test]
fn a_profile_that_does_not_know_the_calls_of_a_look_at_the_program_does_not_hide_it() {
    for errno in [1, 38] {
        for name in ["/bin/true", "true"] {
            let mut bundle = Bundle::new("");
            bundle.config["process"]["args"] = json!([name]);
            // The filter is in force before the program is looked for.
            bundle.config["process"]["noNewPrivileges"] = json!(false);
            bundle.config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{
                    "names": ["faccessat", "faccessat2", "newfstatat", "stat", "statx"],
                    "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
                }],
            });
            bundle.run(&["run", "ID"]).good();
            bundle.create(&[]);
            bundle.run(&["start", "ID"]).good();
            bundle.await_status("stopped");
            bundle.run(&["delete", "ID"]).good();
        }
    }
}

#[test]
fn a_container_has_groups_of_its_own_and_sees_them() {
    let mut bundle = Bundle::new(
        "cat /proc/self/cgroup; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max",
    );
    if fs::metadata("/sys/fs/cgroup/memory").is_err() {
        // On version 2 alone the one tree is there.
        bundle.config["process"]["args"] = json!([
            "sh",
            "-c",
            "cat /proc/self/cgroup; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"
        ]);
    }
    bundle.config["linux"]["resources"]["memory"] = json!({"limit": 33_554_432});
    bundle.config["linux"]["resources"]["pids"] = json!({"limit": 77});
    // A letter that runc passes over.
    bundle.push(
        "/linux/resources/devices",
        json!({"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwa"}),
    );
    let out = bundle.run(&["run", "ID"]).good();
    assert!(out.ends_with("33554432\n77\n"), "{out}");
    for controller in ["memory", "cpuacct", "cpuset", "freezer", "pids", ""] {
        let line = out.lines().find(|line| {
            line.split(':')
                .nth(1)
                .unwrap_or_default()
                .split(',')
                .any(|one| one == controller)
        });
        if let Some(line) = line {
            assert!(line.ends_with(&format!(":/{}", bundle.id)), "{line}");
        }
    }
}

#[test]
fn the_unified_tree_is_shown_by_its_name() {
    let script = "cat /sys/fs/cgroup/cgroup.procs; busybox mount | grep -c 'on /sys/fs/cgroup'; busybox mount | grep -c 'on /sys/fs/cgroup type cgroup2'; cat /proc/self/cgroup | grep ^0:";
    for own_view in [false, true] {
        let mut bundle = Bundle::new(script);
        for mount in bundle.config["mounts"].as_array_mut().unwrap() {
            if mount["type"] == "cgroup" {
                mount["type"] = json!("cgroup2");
            }
        }
        if own_view {
            bundle.push("/linux/namespaces", json!({"type": "cgroup"}));
        }
        let out = bundle.run(&["run", "ID"]).good();
        let group = if own_view {
            "/".to_owned()
        } else {
            format!("/{}", bundle.id)
        };
        let lines: Vec<&str> = out.lines().collect();
        let (processes, rest) = lines.split_at(lines.len() - 3);
        // The shell and the program that tells.
        assert!(processes.contains(&"1") && processes.len() == 2, "{out}");
        assert_eq!(rest, ["1", "1", &format!("0::{group}")], "{out}");
    }
}

#[test]
fn limits_that_cannot_be_raised_are_lowered_with_one_warning() {
    let mut bundle = Bundle::new("ulimit -n");
    let limit = |kind: &str| json!({"type": kind, "soft": 1_073_741_816, "hard": 1_073_741_816});
    bundle.config["process"]["rlimits"] = json!([limit("RLIMIT_NOFILE")]);
    let ended = bundle.run(&["run", "ID"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let own = sys::process::capabilities().unwrap().effective & (1 << 24) != 0;
    let hard = match own {
        true => fs::read_to_string("/proc/sys/fs/nr_open")
            .unwrap()
            .trim()
            .parse()
            .unwrap(),
        false => sys::process::limit(libc::RLIMIT_NOFILE).unwrap().1,
    };
    if hard >= 1_073_741_816 {
        assert_eq!(ended.out, "1073741816\n");
        return;
    }
    assert_eq!(ended.out, format!("{hard}\n"));
    assert_eq!(ended.err.matches("level=warning").count(), 1, "{ended:?}");
    assert!(ended.err.contains("RLIMIT_NOFILE"), "{ended:?}");
    // Not once more on the streams of each further process.
    bundle.config["process"]["args"] = json!(["sleep", "1000"]);
    bundle.quietly(&["--log", "log", "run", "-d", "ID"]);
    let told = bundle.run(&["exec", "ID", "sh", "-c", "ulimit -n"]).good();
    assert_eq!(told, format!("{hard}\n"));
    bundle.run(&["delete", "--force", "ID"]).good();
    // Nor where they are to be the container's alone, as podman's monitor makes it: then a log has it, or nobody.
    bundle.create(&[]);
    bundle.run(&["delete", "--force", "ID"]).good();
    bundle.quietly(&["--log", "its-log", "create", "ID"]);
    bundle.run(&["delete", "--force", "ID"]).good();
    let log = fs::read_to_string(bundle.path("its-log")).unwrap();
    assert_eq!(log.matches("RLIMIT_NOFILE").count(), 1, "{log}");
}

#[test]
fn descriptors_are_preserved_by_number() {
    let bundle = Bundle::new("cat /proc/self/fd/3; ls /proc/self/fd");
    fs::write(bundle.path("kept"), "kept\n").unwrap();
    let line = format!(
        "exec 3<{} 4<&- 5</dev/null; exec {} --root {} run --preserve-fds 1 {}",
        bundle.path("kept").display(),
        crate::support::program(),
        bundle.path("root").display(),
        bundle.id
    );
    drop(bundle.command(&[]));
    let ended = std::process::Command::new("sh")
        .args(["-c", &line])
        .current_dir(bundle.path(""))
        .output()
        .unwrap();
    // The listing's own is the fourth: what was open at 5 is not there.
    assert_eq!(
        String::from_utf8_lossy(&ended.stdout),
        "kept\n0\n1\n2\n3\n4\n",
        "{ended:?}"
    );
    let missing = bundle
        .run(&["run", "--preserve-fds", "900", "ID"])
        .sentence();
    assert!(
        missing.contains("preserved-fd") && missing.ends_with("is present"),
        "{missing}"
    );
}

#[test]
fn home_is_that_of_the_user() {
    let mut bundle = Bundle::new("echo $HOME");
    bundle.config["process"]["user"] = json!({"uid": 7, "gid": 7});
    assert_eq!(bundle.run(&["run", "ID"]).good(), "/seven\n");
}

/// Sets a field, whose folders are made.
pub(crate) fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for key in pointer.trim_start_matches('/').split('/') {
        at = match at {
            Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
            other => &mut other[key],
        };
    }
    *at = value;
}

#[test]
fn bad_configurations_give_one_clear_line() {
    let cases = [
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/ociVersion", Value::Null, "ociVersion"),
        ("/process", Value::Null, "process"),
        ("/process/args", json!([]), "args must not be empty"),
        ("/process/args", json!("sh"), "process.args: invalid type"),
        ("/process/cwd", json!("tmp"), "Cwd must be an absolute path"),
        (
            "/process/user/uid",
            json!(-1),
            "process.user.uid: invalid value",
        ),
        ("/root", Value::Null, "root: it is missing"),
        (
            "/root/path",
            json!("/nowhere/at/all"),
            "no such file or directory",
        ),
        ("/mounts/0/destination", json!("/"), "mounts[0].destination"),
        ("/mounts/0/type", json!("nofs"), "/proc"),
        (
            "/linux/namespaces/0/path",
            json!("/proc/self/nothing"),
            "no such file or directory",
        ),
        (
            "/linux/namespaces/0/type",
            json!("moon"),
            "linux.namespaces[0].type",
        ),
        ("/linux/namespaces/0/type", json!("mount"), "two namespaces"),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_MAYBE"}),
            "linux.seccomp",
        ),
        (
            "/linux/resources/devices/0/access",
            json!("rwx"),
            "linux.resources.devices[0].access",
        ),
        (
            "/process/rlimits/0/type",
            json!("RLIMIT_X"),
            "process.rlimits[0].type",
        ),
    ];
    for (pointer, value, words) in cases {
        let mut bundle = Bundle::new("true");
        set(&mut bundle.config, pointer, value.clone());
        for verb in ["run", "create"] {
            let sentence = bundle.run(&[verb, "ID"]).sentence();
            assert!(sentence.contains(words), "{pointer} {value}: {sentence}");
        }
    }
    let bundle = Bundle::new("true");
    bundle.command(&[]);
    for (text, words) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "invalid type"),
        ("\u{1}", "expected value"),
    ] {
        fs::write(bundle.path("config.json"), text).unwrap();
        let ended = std::process::Command::new(crate::support::program())
            .arg("--root")
            .arg(bundle.path("root"))
            .args(["run", "--bundle"])
            .arg(bundle.path(""))
            .arg(&bundle.id)
            .output()
            .unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(
            told.contains(words) && told.lines().count() == 1,
            "{text:?}: {told}"
        );
    }
}

#[test]
fn clocks_of_a_container_may_differ() {
    let mut bundle = Bundle::new("cat /proc/uptime; sleep 1000");
    bundle.push("/linux/namespaces", json!({"type": "time"}));
    bundle.config["linux"]["timeOffsets"] = json!({
        "boottime": {"secs": 1_000_000_000},
        "monotonic": {"secs": 1_000_000_000, "nanosecs": 5},
    });
    bundle.quietly(&["run", "-d", "ID"]);
    let later =
        |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap() > 1_000_000_000;
    let joined = bundle.run(&["exec", "ID", "cat", "/proc/uptime"]).good();
    assert!(later(&joined), "{joined}");
    let first = bundle.out();
    assert!(later(&first), "{first}");
    bundle.run(&["delete", "--force", "ID"]).good();
    bundle.config["linux"]["timeOffsets"] = json!({"realtime": {"secs": 1}});
    let sentence = bundle.run(&["run", "ID"]).sentence();
    assert!(sentence.contains("linux.timeOffsets"), "{sentence}");
}

#[test]
fn the_root_may_cover_the_callers() {
    let script = "cat /proc/sys/kernel/hostname; ls -d /usr/share 2>&1; grep -cE '^[^ ]+ [^ ]+ [^ ]+ [^ ]+ / ' /proc/self/mountinfo; cd ..; pwd";
    let bundle = Bundle::new(script);
    let out = bundle.run(&["run", "--no-pivot", "ID"]).out;
    assert_eq!(
        out,
        "wharf\nls: /usr/share: No such file or directory\n1\n/\n"
    );
    let mut bundle = Bundle::new(script);
    bundle.config["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}]});
    assert_eq!(bundle.run(&["run", "--no-pivot", "ID"]).out, out);
}

#[test]
fn further_processes_share_the_keyring() {
    let mut bundle = Bundle::new("sleep 1000");
    bundle.config["linux"]["maskedPaths"] = json!([]);
    bundle.quietly(&["run", "-d", "ID"]);
    // A keyring that another process made anew would be the second of the name.
    let name = format!("_ses.{}", bundle.id);
    let count = bundle
        .run(&["exec", "ID", "grep", "-c", &name, "/proc/keys"])
        .good();
    assert_eq!(count, "1\n");
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn no_release_agent_is_within_reach() {
    // It would run on the host, as its root.
    let script = "busybox find /sys/fs/cgroup -name release_agent -o -name notify_on_release | busybox head -n 3 | busybox wc -l;
        for f in $(busybox find /sys/fs/cgroup -name release_agent); do echo /x 2>/dev/null >$f && echo written; done;
        for f in $(busybox find /sys/fs/cgroup -name notify_on_release | busybox head -n 3); do (echo 1 >$f) 2>/dev/null && echo written; done;
        busybox mkdir /tmp/x; mount -t cgroup -o memory none /tmp/x 2>/dev/null || echo refused";
    let mut bundle = Bundle::new(script);
    bundle.push(
        "/mounts",
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
    );
    let out = bundle.run(&["run", "ID"]).out;
    assert!(
        out.ends_with("refused\n") && !out.contains("written"),
        "{out}"
    );
    if fs::metadata("/sys/fs/cgroup/memory").is_ok() {
        assert!(out.starts_with("3\n"), "there are some: {out}");
    }
}
