//! Under Debian's dockerd, as a further runtime and as the only one.

use std::time::Duration;

use testkit::{Engine, Kind, Options, eventually};

use super::{COUNT, check_groups, missing, runtime, stands_still};

#[test]
fn under_dockerd() {
    if missing("/usr/sbin/dockerd") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = runtime(folder.path());
    for default in [true, false] {
        let mut flags = vec![
            format!("--add-runtime=wharf={}", path.display()),
            "--bridge=none".to_owned(),
        ];
        if default {
            flags.push("--default-runtime=wharf".to_owned());
        }
        let options = Options {
            flags,
            ..Options::default()
        };
        let engine = Engine::start(Kind::Dockerd, options);
        engine.load_busybox();
        let more: &[&str] = if default {
            &[]
        } else {
            &["--runtime", "wharf"]
        };
        if default {
            a_days_flags(&engine);
            states(&engine);
            compose(&engine);
        } else {
            docker_containers(&engine, more);
        }
        engine.stop_daemon();
    }
}

fn docker_containers(engine: &Engine, more: &[&str]) {
    let d = |head: &[&str], rest: &[&str]| engine.d(&[head, more, rest].concat());
    let told = d(
        &["run", "--rm"],
        &["-u", "app", "busybox", "sh", "-c", "id -u; exit 7"],
    );
    assert_eq!(told.fails_with(7).stdout, "1000\n");
    d(
        &["run", "-d", "--name", "drop", "-m", "64m"],
        &["busybox", "sh", "-c", COUNT],
    )
    .ok();
    let inspect = |what: &str| {
        engine
            .d(&["inspect", "-f", what, "drop"])
            .ok()
            .text()
            .to_owned()
    };
    assert_eq!(inspect("{{.HostConfig.Runtime}}"), "wharf");
    let exec = |words: &[&str]| engine.d(&[&["exec", "drop"], words].concat());
    let limit = || {
        let file = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
        exec(&["sh", "-c", file]).ok().text().to_owned()
    };
    assert_eq!(limit(), "67108864");
    engine
        .d(&["update", "-m", "32m", "--memory-swap", "64m", "drop"])
        .ok();
    assert_eq!(limit(), "33554432");
    assert_eq!(exec(&["sh", "-c", "exit 9"]).status, 9);
    let logs = || engine.d(&["logs", "drop"]).ok().stdout;
    engine.d(&["pause", "drop"]).ok();
    assert_eq!(inspect("{{.State.Status}}"), "paused");
    assert!(stands_still(logs));
    engine.d(&["unpause", "drop"]).ok();
    let lines = logs().lines().count();
    eventually("it goes on", Duration::from_secs(20), || {
        (logs().lines().count() > lines).then_some(())
    });
    let top = engine.d(&["top", "drop"]).ok();
    assert!(
        top.stdout.contains("sleep 0.02") || top.stdout.contains("sh -c"),
        "{}",
        top.stdout
    );
    engine.d(&["kill", "drop"]).ok();
    assert_eq!(engine.d(&["wait", "drop"]).ok().text(), "137");
    engine.d(&["rm", "drop"]).ok();
    let mut terminal =
        engine.terminal(&[&["run", "--rm", "-it"], more, &["busybox", "sh"]].concat());
    terminal.expect("/ # ");
    // The client tells the size when the program runs already.
    terminal.send("tty; until stty size 2>/dev/null | grep '30 100'; do sleep 0.1; done\n");
    terminal.expect("/dev/pts/0\r\n30 100\r\n");
    resize(&mut terminal);
    terminal.send("until stty size | grep '44 123'; do sleep 0.1; done; exit 5\n");
    terminal.expect("44 123\r\n");
    assert_eq!(terminal.finish().0, 5);
    // What cannot be executed is told in the words that the daemon looks for.
    let refused = d(&["run", "--rm"], &["busybox", "/nope"]).fails_with(127);
    assert!(
        refused.stderr.contains("no such file or directory"),
        "{}",
        refused.stderr
    );
    d(&["run", "--rm"], &["busybox", "/etc"]).fails_with(126);
}

/// Each flag by what the container sees of it.
fn a_days_flags(engine: &Engine) {
    let parent = format!("/wharf-dockerd-{}", std::process::id());
    let profile = engine.folder().join("deny.json");
    let denied = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}"#;
    std::fs::write(&profile, denied).unwrap();
    let seccomp = format!("seccomp={}", profile.display());
    let flags = [
        "--init",
        "--cgroup-parent",
        &parent,
        "--device-cgroup-rule",
        "c 1:11 rwm",
        "--cpus",
        "0.5",
        "-m",
        "64m",
        "--pids-limit",
        "33",
        "--cpuset-cpus",
        "0",
        "--read-only",
        "--tmpfs",
        "/t:size=1m,mode=711,uid=5,dev",
        "--ulimit",
        "nofile=100:200",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--security-opt",
        &seccomp,
        "--security-opt",
        "no-new-privileges",
        "--oom-score-adj",
        "500",
        "--shm-size",
        "7m",
        "--group-add",
        "55",
        "--hostname",
        "box",
        "--cap-add",
        "MKNOD",
    ];
    let script = "cat /proc/1/comm; grep -c \"$PARENT\" /proc/self/cgroup | grep -qv '^0' && echo below;
        cd /t; mknod k c 1 11 && true >k && echo ours; mknod m c 10 237; { true >m; } 2>/dev/null || echo foreign;
        cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us 2>/dev/null || cut -d ' ' -f 1 cpu.max;
        cat pids/pids.max pids.max cpuset/cpuset.cpus cpuset.cpus 2>/dev/null;
        touch /x 2>/dev/null || stat -c '%a %u' /t; ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_forward;
        mkdir /t/d 2>/dev/null || echo denied; grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj;
        df /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2; id -G; hostname";
    let environment = format!("PARENT={parent}");
    let told = engine.d(&[
        &["run", "--rm", "-e", &environment][..],
        &flags[..],
        &["busybox", "sh", "-c", script],
    ]
    .concat());
    let expected = "docker-init\nbelow\nours\nforeign\n50000\n33\n0\n711 5\n100\n200\n1\ndenied\nNoNewPrivs:\t1\n500\n7168\n0 55\nbox\n";
    assert_eq!(told.ok().stdout, expected);
    check_groups(parent.trim_start_matches('/'));
    // A limit above what is allowed here is lowered, and nothing of that is in the container's output.
    let nofile = ["run", "--rm", "--ulimit", "nofile=100:100000000", "busybox"];
    let told = engine
        .d(&[&nofile[..], &["sh", "-c", "ulimit -Sn"]].concat())
        .ok();
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("100\n", ""));
    let script = "grep -c Seccomp:.0 /proc/self/status; mkdir /t && mount -t tmpfs t /t && echo mounted; test -c /dev/kmsg && echo kmsg";
    let told = engine.d(&["run", "--rm", "--privileged", "busybox", "sh", "-c", script]);
    assert_eq!(told.ok().stdout, "1\nmounted\nkmsg\n");
}

/// Docker's client tells the first size before it listens to signals: one that comes between is lost.
fn resize(terminal: &mut testkit::Terminal) {
    terminal.resize(44, 123);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100));
        terminal.signal(28);
    }
}

/// What other containers see of one, and how containers end.
fn states(engine: &Engine) {
    let d = |words: &[&str]| engine.d(words);
    d(&[
        "run",
        "-d",
        "--name",
        "one",
        "--ipc",
        "shareable",
        "busybox",
        "sleep",
        "1000",
    ])
    .ok();
    let shared = [
        "--ipc=container:one",
        "--network=container:one",
        "--pid=container:one",
    ];
    let script = "cat /proc/1/cmdline | tr '\\0' ' '; for of in 1 self; do readlink /proc/$of/ns/ipc; done | sort -u | wc -l";
    let told = d(&[
        &["run", "--rm"][..],
        &shared[..],
        &["busybox", "sh", "-c", script],
    ]
    .concat());
    assert_eq!(told.ok().stdout, "sleep 1000 1\n");
    let host = [
        "--pid=host",
        "--ipc=host",
        "--uts=host",
        "--network=host",
        "--userns=host",
    ];
    let script = "for kind in pid ipc uts net; do readlink /proc/self/ns/$kind; done";
    let told = d(&[
        &["run", "--rm"][..],
        &host[..],
        &["busybox", "sh", "-c", script],
    ]
    .concat());
    let holder = engine.sandbox().holder();
    let of_host = ["pid", "ipc", "uts", "net"].map(|kind| {
        let path = std::fs::read_link(format!("/proc/{holder}/ns/{kind}")).unwrap();
        format!("{}\n", path.display())
    });
    assert_eq!(told.ok().stdout, of_host.concat());
    let usage = d(&["stats", "--no-stream", "--format", "{{.Name}}", "one"]);
    assert_eq!(usage.ok().text(), "one");
    let mut terminal = engine.terminal(&["exec", "-it", "one", "sh"]);
    terminal.expect("/ # ");
    terminal.send("until stty size 2>/dev/null | grep '30 100'; do sleep 0.1; done\n");
    terminal.expect("30 100\r\n");
    resize(&mut terminal);
    terminal.send("until stty size | grep '44 123'; do sleep 0.1; done; exit 6\n");
    terminal.expect("44 123\r\n");
    assert_eq!(terminal.finish().0, 6);
    d(&["exec", "one", "/etc"]).fails_with(126);
    d(&["exec", "one", "/nope"]).fails_with(126);
    d(&["restart", "-t", "0", "one"]).ok();
    let shown = |name: &str, what: &str| d(&["inspect", "-f", what, name]).ok().text().to_owned();
    assert_eq!(shown("one", "{{.State.Status}}"), "running");
    d(&["rm", "-f", "one"]).ok();
    let trap = "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.05; done";
    d(&["run", "-d", "--name", "two", "busybox", "sh", "-c", trap]).ok();
    eventually("it listens", Duration::from_secs(20), || {
        (d(&["logs", "two"]).stdout == "up\n").then_some(())
    });
    d(&["stop", "-t", "30", "two"]).ok();
    assert_eq!(shown("two", "{{.State.ExitCode}}"), "3");
    assert_eq!(d(&["logs", "two"]).ok().stdout, "up\nterm\n");
    d(&["rm", "two"]).ok();
    let oom = [
        "run",
        "--name",
        "oom",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "tail",
        "/dev/zero",
    ];
    // `OOMKilled` stays false with any runtime where the unified tree is mounted beside version 1: containerd 1.6 looks for
    // all of its hierarchies and does not find them.
    d(&oom).fails_with(137);
    d(&["rm", "oom"]).ok();
    let policy = [
        "run",
        "-d",
        "--name",
        "again",
        "--restart",
        "on-failure:2",
        "busybox",
        "false",
    ];
    d(&policy).ok();
    eventually("it has begun anew twice", Duration::from_secs(60), || {
        let told = shown(
            "again",
            "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}",
        );
        (told == "2 exited 1").then_some(())
    });
    d(&["rm", "again"]).ok();
}

/// A file of docker-compose's, up and down.
fn compose(engine: &Engine) {
    if missing("/usr/bin/docker-compose") {
        return;
    }
    let folder = engine.folder().join("drop");
    std::fs::create_dir(&folder).unwrap();
    let file = "version: '2.4'
services:
  one:
    image: busybox
    runtime: wharf
    network_mode: none
    init: true
    mem_limit: 50m
    ulimits: {nofile: 77}
    tmpfs: [/t]
    volumes: ['kept:/kept']
    command: sh -c 'ulimit -n; touch /kept/file; exec sleep 1000'
  two:
    image: busybox
    network_mode: 'service:one'
    volumes: ['kept:/kept']
    command: sh -c 'until test -e /kept/file; do sleep 0.05; done; exit 4'
volumes: {kept: {}}
";
    std::fs::write(folder.join("docker-compose.yml"), file).unwrap();
    let run = |words: &[&str]| {
        let mut command = engine.sandbox().command("docker-compose");
        command
            .args(["-H", &format!("unix://{}", engine.socket().display())])
            .arg("--project-directory")
            .arg(&folder)
            .arg("-f")
            .arg(folder.join("docker-compose.yml"))
            .args(words)
            .env("HOME", engine.folder());
        testkit::run(command, b"")
    };
    run(&["up", "-d"]).ok();
    let told = engine.d(&["wait", "drop_two_1"]).ok();
    assert_eq!(told.text(), "4");
    assert_eq!(engine.d(&["logs", "drop_one_1"]).ok().stdout, "77\n");
    run(&["exec", "-T", "one", "sh", "-c", "exit 9"]).fails_with(9);
    run(&["down", "-v", "-t", "5"]).ok();
    assert_eq!(engine.d(&["ps", "-aq"]).ok().stdout, "");
}
