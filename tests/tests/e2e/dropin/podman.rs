//! Under Debian's podman and buildah, for root.

use std::time::Duration;

use testkit::{Terminal, eventually, run};

use super::{COUNT, Elsewhere, check_groups, missing, stands_still};

#[test]
fn under_podman_and_buildah() {
    if missing("/usr/bin/podman") || missing("/usr/bin/buildah") {
        return;
    }
    let here = Elsewhere::new();
    let storage = [
        ("--root", here.at("root")),
        ("--runroot", here.at("run")),
        ("--storage-driver", "vfs".to_owned()),
    ];
    let command = |program: &str, args: &[&str]| {
        let mut command = here.sandbox.command(program);
        command.args(storage.iter().flat_map(|(flag, value)| [*flag, value]));
        if program == "podman" {
            let (runtime, tmp) = (here.runtime(), here.at("tmp"));
            command.args([
                "--runtime",
                &runtime,
                "--tmpdir",
                &tmp,
                "--events-backend",
                "file",
            ]);
            command.args(["--cgroup-manager", "cgroupfs"]);
        }
        command.args(args);
        command
    };
    let podman = |args: &[&str]| run(command("podman", args), b"");
    podman(&[
        "load",
        "-q",
        "-i",
        testkit::image::busybox().to_str().unwrap(),
    ])
    .ok();
    let parent = format!("/wharf-podman-{}", std::process::id());
    let alone = ["--network", "none", "--cgroup-parent", &parent];
    let told = podman(
        &[
            &["run", "--rm"],
            &alone[..],
            &[
                "-u",
                "app",
                "--read-only",
                "--tmpfs",
                "/t:size=1m",
                "busybox",
                "sh",
                "-c",
                "id -u; touch /x 2>/dev/null || touch /t/x && echo there; exit 7",
            ],
        ]
        .concat(),
    );
    assert_eq!(told.fails_with(7).stdout, "1000\nthere\n");
    podman(
        &[
            &["run", "-d", "--name", "drop", "-m", "64m"],
            &["--log-driver", "k8s-file", "--health-cmd", "test -e /ok"][..],
            &alone[..],
            &["busybox", "sh", "-c", COUNT],
        ]
        .concat(),
    )
    .ok();
    let logs = || podman(&["logs", "drop"]).ok().stdout;
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
    assert_eq!(
        podman(&["exec", "drop", "sh", "-c", limit]).ok().text(),
        "67108864"
    );
    assert_eq!(podman(&["exec", "drop", "sh", "-c", "exit 9"]).status, 9);
    // Conmon has no log of the runtime's: what it says is the container's output.
    let nofile = ["--ulimit", "nofile=100:100000000", "busybox"];
    let told = podman(
        &[
            &["run", "--rm"],
            &alone[..],
            &nofile,
            &["sh", "-c", "ulimit -Sn"],
        ]
        .concat(),
    );
    let told = told.ok();
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("100\n", ""));
    let oddities = [
        "--privileged",
        "--systemd=always",
        "--tmpfs=/etc",
        "--umask=77",
        "--cpus=0.5",
    ];
    let script = "test -e /etc/passwd && umask; grep -c ' /run/lock tmpfs' /proc/mounts; mkdir /m && mount -t tmpfs t /m && echo mounted";
    let told = podman(
        &[
            &["run", "--rm"],
            &alone[..],
            &oddities,
            &["busybox", "sh", "-c", script],
        ]
        .concat(),
    );
    assert_eq!(told.ok().stdout, "0077\n1\nmounted\n");
    let others = [
        "--pid=container:drop",
        "--ipc=container:drop",
        "--network=container:drop",
    ];
    let around = &alone[2..];
    let script = "grep -c 'i=0' /proc/1/cmdline; for of in 1 self; do readlink /proc/$of/ns/net; done | sort -u | wc -l";
    let told = podman(
        &[
            &["run", "--rm"],
            around,
            &others,
            &["busybox", "sh", "-c", script],
        ]
        .concat(),
    );
    assert_eq!(told.ok().stdout, "1\n1\n");
    let users = [
        "--uidmap=0:100000:5000",
        "busybox",
        "cut",
        "-c1-32",
        "/proc/self/uid_map",
    ];
    let told = podman(&[&["run", "--rm"], &alone[..], &users].concat());
    assert_eq!(
        told.ok().stdout,
        format!("{:>10} {:>10} {:>10}\n", 0, 100_000, 5000)
    );
    podman(&["exec", "drop", "/etc"]).fails_with(126);
    podman(&["exec", "drop", "/nope"]).fails_with(127);
    podman(&["healthcheck", "run", "drop"]).fails_with(1);
    podman(&["exec", "drop", "touch", "/ok"]).ok();
    podman(&["healthcheck", "run", "drop"]).ok();
    podman(&["update", "-m", "32m", "drop"]).ok();
    assert_eq!(
        podman(&["exec", "drop", "sh", "-c", limit]).ok().text(),
        "33554432"
    );
    let usage = podman(&["stats", "--no-stream", "--format", "{{.Name}}", "drop"]);
    assert_eq!(usage.ok().text(), "drop");
    let top = podman(&["top", "drop", "comm"]).ok();
    assert!(top.stdout.contains("sh"), "{top:?}");
    podman(&["pause", "drop"]).ok();
    assert!(stands_still(logs));
    podman(&["unpause", "drop"]).ok();
    let lines = logs().lines().count();
    eventually("it goes on", Duration::from_secs(20), || {
        (logs().lines().count() > lines).then_some(())
    });
    let ours = podman(&["inspect", "-f", "{{.OCIRuntime}}", "drop"]).ok();
    assert_eq!(ours.text(), here.runtime());
    podman(&["kill", "drop"]).ok();
    assert_eq!(podman(&["wait", "drop"]).ok().text(), "137");
    podman(&["rm", "drop"]).ok();
    let mut terminal = Terminal::start(
        command(
            "podman",
            &[&["run", "--rm", "-it"], &alone[..], &["busybox", "sh"]].concat(),
        ),
        30,
        100,
    );
    terminal.expect("/ # ");
    terminal.send("tty\n");
    terminal.expect("/dev/pts/0\r");
    terminal.resize(44, 123);
    terminal.send("until stty size | grep '44 123'; do sleep 0.1; done; exit 5\n");
    terminal.expect("44 123\r\n");
    assert_eq!(terminal.finish().0, 5);
    let buildah = |args: &[&str]| run(command("buildah", args), b"");
    let working = buildah(&["from", "--pull-never", "localhost/busybox"]).ok();
    let runtime = here.runtime();
    let within = |words: &[&str]| {
        let head = [
            "run",
            "--runtime",
            &runtime,
            "--isolation",
            "oci",
            working.text(),
        ];
        buildah(&[&head[..], words].concat())
    };
    within(&["sh", "-c", "echo built >/file"]).ok();
    assert_eq!(within(&["cat", "/file"]).ok().stdout, "built\n");
    within(&["sh", "-c", "exit 4"]).fails_with(4);
    buildah(&["rm", working.text()]).ok();
    podman(&["rmi", "-f", "busybox"]).ok();
    check_groups(parent.trim_start_matches('/'));
}
