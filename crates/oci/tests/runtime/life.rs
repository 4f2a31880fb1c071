//! A container's life, a command a step.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;

use serde_json::Value;

use crate::support::Bundle;

#[test]
fn a_container_is_created_started_and_deleted() {
    let bundle = Bundle::new("echo runs; sleep 1000");
    let pid_file = bundle.path("pid");
    bundle.create(&["--pid-file", pid_file.to_str().unwrap()]);
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    let pid = state["pid"].as_i64().unwrap();
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid.to_string());
    let program = || fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(!program().ends_with("busybox"));
    // A container that executes it again, or waits for its end, cannot write to it.
    let mount = rustix::fs::statvfs(format!("/proc/{pid}/exe")).unwrap();
    assert!(mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    assert_eq!(bundle.out(), "");
    let shown = || fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(shown(), format!("wharf-runtime init {}\0", bundle.id));
    bundle.run(&["start", "ID"]).good();
    // The shell, or already what it ends with.
    assert!(!shown().contains("init"), "{}", shown());
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/exe"))
            .unwrap()
            .file_name()
            .unwrap(),
        "busybox"
    );
    assert_eq!(bundle.status(), "running");
    assert_eq!(
        bundle.run(&["start", "ID"]).sentence(),
        "cannot start an already running container"
    );
    assert_eq!(
        bundle.run(&["delete", "ID"]).sentence(),
        format!(
            "cannot delete container {} that is not stopped: running",
            bundle.id
        )
    );
    bundle.run(&["kill", "ID", "KILL"]).good();
    bundle.await_status("stopped");
    assert_eq!(bundle.state()["pid"], 0);
    assert_eq!(
        bundle.run(&["kill", "ID"]).sentence(),
        "container not running"
    );
    // A stopped container has no processes, which is no error.
    assert_eq!(bundle.run(&["ps", "ID"]).good().lines().count(), 1);
    assert_eq!(bundle.run(&["ps", "-f", "json", "ID"]).good(), "[]\n");
    assert_eq!(
        bundle.run(&["start", "ID"]).sentence(),
        "cannot start a container that has stopped"
    );
    assert_eq!(bundle.out(), "runs\n");
    bundle.run(&["delete", "ID"]).good();
    assert_eq!(
        bundle.run(&["state", "ID"]).sentence(),
        "container does not exist"
    );
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn a_program_that_is_about_to_end_can_be_deleted() {
    let bundle = Bundle::new("exec busybox usleep 20000");
    // However slow the machine is, not all of them have ended by then.
    let mut at_once = 0;
    for _ in 0..10 {
        bundle.create(&[]);
        bundle.run(&["start", "ID"]).good();
        if bundle.run(&["delete", "ID"]).status == Some(0) {
            at_once += 1;
        } else {
            bundle.run(&["delete", "--force", "ID"]).good();
        }
    }
    assert!(at_once > 0);
}

#[test]
fn what_keeps_a_program_from_running_is_told_by_create() {
    for (program, words) in [
        ("nope", "exec: \"nope\": executable file not found in $PATH"),
        (
            "/nope",
            "exec: \"/nope\": stat /nope: no such file or directory",
        ),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        ("/etc", "exec: \"/etc\": is a directory: permission denied"),
    ] {
        let mut bundle = Bundle::new("");
        bundle.config["process"]["args"] = serde_json::json!([program]);
        for verb in ["create", "run"] {
            assert_eq!(
                bundle.run(&[verb, "ID"]).sentence(),
                format!("wharf-runtime {verb} failed: unable to start container process: {words}")
            );
        }
    }
}

#[test]
fn a_program_that_the_kernel_refuses_is_told_as_a_shell_would() {
    let script = tempfile::tempdir().unwrap();
    let path = script.path().join("run.sh");
    fs::write(&path, "#!/nowhere/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut bundle = Bundle::new("");
    bundle.config["process"]["args"] = serde_json::json!(["/mnt/run.sh"]);
    bundle.push(
        "/mounts",
        serde_json::json!({
            "destination": "/mnt", "type": "bind", "source": script.path(), "options": ["bind"],
        }),
    );
    let words = "exec /mnt/run.sh: no such file or directory";
    let ended = bundle.run(&["run", "ID"]);
    assert_eq!((ended.status, ended.err), (Some(1), format!("{words}\n")));
    // Whoever reads the log finds it there.
    let ended = bundle.run(&["--log", "log", "run", "ID"]);
    assert_eq!(ended.status, Some(1));
    let log = fs::read_to_string(bundle.path("log")).unwrap();
    assert!(log.contains(words) && log.contains("level=error"), "{log}");
}

#[test]
fn every_verb_says_what_it_takes() {
    let bundle = Bundle::new("");
    let all = bundle.run(&["--help"]).good();
    for verb in [
        "create",
        "start",
        "run",
        "exec",
        "state",
        "list",
        "ps",
        "kill",
        "pause",
        "resume",
        "update",
        "checkpoint",
        "restore",
        "events",
        "delete",
        "spec",
        "features",
    ] {
        assert!(all.contains(&format!("\n  {verb} ")), "{verb}: {all}");
        for flag in ["-h", "--help"] {
            let told = bundle.run(&[verb, flag]).good();
            assert!(told.contains(&format!("runtime {verb}")), "{verb}: {told}");
        }
    }
    let told = bundle.run(&["exec", "-h"]).good();
    assert!(told.contains("--env, -e VALUE\n"), "{told}");
}

#[test]
fn a_created_container_can_be_deleted() {
    let bundle = Bundle::new("echo runs");
    bundle.create(&[]);
    bundle.run(&["delete", "ID"]).good();
    assert_eq!(bundle.out(), "");
}

#[test]
fn a_created_container_ends_by_a_signal() {
    for signal in ["TERM", "INT", "HUP"] {
        let bundle = Bundle::new("echo runs");
        bundle.create(&[]);
        bundle.run(&["kill", "ID", signal]).good();
        bundle.await_status("stopped");
        bundle.run(&["delete", "ID"]).good();
        assert_eq!(bundle.out(), "");
    }
}

#[test]
fn names_are_taken_once() {
    let bundle = Bundle::new("sleep 1000");
    bundle.create(&[]);
    assert!(
        bundle
            .run(&["create", "ID"])
            .sentence()
            .ends_with("container with given ID already exists")
    );
    assert!(
        bundle
            .run(&["run", "a/b"])
            .sentence()
            .ends_with("invalid container ID format")
    );
    assert_eq!(bundle.status(), "created");
    bundle.run(&["delete", "ID"]).good();
}

#[test]
fn a_container_is_paused_and_resumed() {
    let bundle = Bundle::new("while :; do :; done");
    bundle.quietly(&["run", "-d", "ID"]);
    let used = || {
        let text = bundle.run(&["events", "--stats", "ID"]).good();
        let stats: Value = serde_json::from_str(&text).unwrap();
        stats["data"]["cpu"]["usage"]["total"].as_u64().unwrap()
    };
    bundle.run(&["pause", "ID"]).good();
    assert_eq!(bundle.status(), "paused");
    assert_eq!(
        bundle.run(&["pause", "ID"]).sentence(),
        "container already paused"
    );
    let before = used();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(used(), before, "no progress while it is held");
    bundle.run(&["resume", "ID"]).good();
    assert_eq!(
        bundle.run(&["resume", "ID"]).sentence(),
        "container not paused"
    );
    while used() == before {}
    bundle.run(&["pause", "ID"]).good();
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn killing_a_container_that_shares_its_pid_namespace_kills_all_of_it() {
    for first_is_gone in [false, true] {
        let mut bundle = Bundle::new("sleep 1000 & sleep 1000 & wait");
        let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|one| one["type"] != "pid");
        bundle.quietly(&["run", "-d", "ID"]);
        let pids = || -> Vec<i32> {
            let told = bundle.run(&["ps", "-f", "json", "ID"]).good();
            serde_json::from_str(&told).unwrap()
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let mut all = pids();
        while all.len() < 3 {
            assert!(std::time::Instant::now() < deadline, "{all:?}");
            all = pids();
        }
        let pidfds: Vec<_> = all
            .iter()
            .map(|pid| sys::process::pidfd_open(*pid).unwrap())
            .collect();
        if first_is_gone {
            let first = bundle.state()["pid"].as_i64().unwrap();
            let place = all.iter().position(|pid| i64::from(*pid) == first).unwrap();
            sys::process::pidfd_send_signal(pidfds[place].as_fd(), libc::SIGKILL).unwrap();
            bundle.await_status("stopped");
        }
        bundle.run(&["kill", "ID", "KILL"]).good();
        for pidfd in &pidfds {
            let mut polled = [rustix::event::PollFd::new(
                pidfd,
                rustix::event::PollFlags::IN,
            )];
            let patience = rustix::event::Timespec {
                tv_sec: 60,
                tv_nsec: 0,
            };
            assert_eq!(rustix::event::poll(&mut polled, Some(&patience)), Ok(1));
        }
        bundle.await_status("stopped");
        assert_eq!(
            bundle.run(&["kill", "ID", "KILL"]).sentence(),
            "container not running"
        );
        bundle.run(&["delete", "ID"]).good();
    }
}

#[test]
fn containers_are_listed() {
    let bundle = Bundle::new("sleep 1000");
    assert_eq!(bundle.run(&["list", "-f", "json"]).good(), "null");
    bundle.create(&[]);
    assert_eq!(
        bundle.run(&["list", "-q"]).good(),
        format!("{}\n", bundle.id)
    );
    let listed: Value =
        serde_json::from_str(&bundle.run(&["list", "--format=json"]).good()).unwrap();
    assert_eq!(listed[0]["id"], bundle.id.as_str());
    assert_eq!(listed[0]["status"], "created");
    let table = bundle.run(&["list"]).good();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.starts_with("ID "), "{table}");
    let pids: Value =
        serde_json::from_str(&bundle.run(&["ps", "-f", "json", "ID"]).good()).unwrap();
    assert_eq!(pids, serde_json::json!([bundle.state()["pid"]]));
    bundle.run(&["delete", "ID"]).good();
}

#[test]
fn limits_are_changed_while_it_runs() {
    let bundle = Bundle::new("sleep 1000");
    bundle.quietly(&["run", "-d", "ID"]);
    let limits = || {
        let stats: Value =
            serde_json::from_str(&bundle.run(&["events", "--stats", "ID"]).good()).unwrap();
        let limit = |pointer: &str| stats.pointer(pointer).unwrap().as_u64().unwrap();
        (limit("/data/memory/usage/limit"), limit("/data/pids/limit"))
    };
    bundle
        .run(&["update", "--memory", "32m", "--pids-limit", "20", "ID"])
        .good();
    assert_eq!(limits(), (32 << 20, 20));
    fs::write(bundle.path("r.json"), r#"{"memory": {"limit": 67108864}}"#).unwrap();
    bundle.run(&["update", "-r", "r.json", "ID"]).good();
    let sentence = bundle.run(&["update", "--l3-cache-schema", "L3:0=f", "ID"]);
    let sentence = sentence.sentence();
    assert!(sentence.contains("no class of service"), "{sentence}");
    assert_eq!(limits(), (64 << 20, 20));
    // Behind the name, too.
    bundle
        .run(&["update", "ID", "--memory", "48m", "--pids-limit=30"])
        .good();
    assert_eq!(limits(), (48 << 20, 30));
    bundle.run(&["delete", "ID", "--force"]).good();
}

#[test]
fn signals_reach_the_process_through_a_waiting_run() {
    let bundle = Bundle::new("trap 'exit 5' USR1; echo ready; while :; do sleep 0.01; done");
    let mut run = bundle
        .command(&["run", "ID"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = run.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    sys::process::kill(run.id().cast_signed(), libc::SIGUSR1).unwrap();
    let status = run.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(5), None));
}

#[test]
fn errors_go_to_the_log_in_its_form() {
    let bundle = Bundle::new("true");
    let log = bundle.path("log");
    let words = [
        "--log",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "start",
        "ID",
    ];
    let ended = bundle.run(&words);
    assert_eq!(
        (ended.status, ended.err.as_str()),
        (Some(1), "container does not exist\n")
    );
    let line: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!(
        (line["level"].as_str(), line["msg"].as_str()),
        (Some("error"), Some("container does not exist"))
    );
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn what_a_killed_command_left_can_be_deleted() {
    let bundle = Bundle::new("true");
    fs::create_dir_all(bundle.path("root").join(&bundle.id)).unwrap();
    assert_eq!(
        bundle.run(&["state", "ID"]).sentence(),
        "container does not exist"
    );
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn what_is_built_is_told() {
    let bundle = Bundle::new("true");
    let features: Value = serde_json::from_str(&bundle.run(&["features"]).good()).unwrap();
    let namespaces = features["linux"]["namespaces"].as_array().unwrap();
    assert_eq!(namespaces.len(), 8, "{namespaces:?}");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    let linux = &features["linux"];
    assert_eq!(linux["netDevices"]["enabled"], true);
    assert_eq!(linux["intelRdt"]["enabled"], true);
    let modes = linux["memoryPolicy"]["modes"].as_array().unwrap();
    assert_eq!(modes.len(), 7, "{modes:?}");
    let version = features["annotations"]["org.wharf.landlock"]
        .as_str()
        .unwrap();
    assert_eq!(version, sys::process::landlock_version().to_string());
    let options = features["mountOptions"].as_array().unwrap();
    for word in ["async", "dirsync", "iversion", "lazytime", "mand", "sync"] {
        assert!(options.contains(&serde_json::json!(word)), "{word}");
    }
    assert_eq!(
        features["potentiallyUnsafeConfigAnnotations"],
        serde_json::json!(["org.systemd.property.", "org.wharf.landlock"])
    );
}
