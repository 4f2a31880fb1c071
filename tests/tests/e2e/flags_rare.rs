//! Flags of `run` and `exec` that are used less often, each by its effect.

use std::time::Duration;

use testkit::{Engine, Terminal, eventually};

use crate::flags::{refused, shows};

/// A field of a container that was created with these flags, by both clients.
#[track_caller]
fn keeps(engine: &Engine, flags: &[&str], field: &str, expected: &str) {
    for client in [Engine::d, Engine::w] {
        let mut args = vec!["create", "--name", "kept"];
        args.extend(flags);
        args.extend(["busybox", "true"]);
        client(engine, &args).ok();
        let shown = client(engine, &["inspect", "-f", field, "kept"]).ok();
        assert_eq!(shown.text(), expected, "{flags:?} {field}");
        client(engine, &["rm", "kept"]).ok();
    }
}

#[test]
fn limits_of_groups() {
    Engine::run(|engine| {
        engine.load_busybox();
        let version = engine.w(&["info", "--format", "{{.CgroupVersion}}"]).ok();
        let (quota, mems, soft) = match version.text() {
            "2" => (("cpu.max", "20000 50000"), "cpuset.mems", "memory.low"),
            _ => (
                (
                    "cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us",
                    "20000\n50000",
                ),
                "cpuset/cpuset.mems",
                "memory/memory.soft_limit_in_bytes",
            ),
        };
        let read = |flags: &[&str], file: &str, limit: &str| {
            shows(engine, flags, &format!("cat /sys/fs/cgroup/{file}"), limit);
        };
        read(
            &["--cpu-period", "50000", "--cpu-quota", "20000"],
            quota.0,
            quota.1,
        );
        read(&["--cpuset-mems", "0"], mems, "0");
        read(
            &["-m", "64m", "--memory-reservation", "32m"],
            soft,
            "33554432",
        );
        shows(
            engine,
            &["--oom-score-adj", "500"],
            "cat /proc/self/oom_score_adj",
            "500",
        );
        refused(engine, &["--oom-score-adj", "5000"], "[-1000, 1000]");
    });
}

/// A loop device on an empty file, gone with the value.
struct Loop(String);

impl Loop {
    fn new(engine: &Engine) -> Loop {
        let file = engine.folder().join("disk");
        std::fs::File::create(&file)
            .unwrap()
            .set_len(8 << 20)
            .unwrap();
        let losetup = |words: &[&str]| {
            let mut command = std::process::Command::new("busybox");
            let output = command.arg("losetup").args(words).output().unwrap();
            let path = String::from_utf8(output.stdout).unwrap().trim().to_owned();
            output.status.success().then_some(path)
        };
        // Between the two another test may take it.
        let mut tries = (0..20).filter_map(|_| {
            let path = losetup(&["-f"]).expect("a free loop device");
            losetup(&[&path, file.to_str().unwrap()]).map(|_| path)
        });
        Loop(tries.next().expect("a loop device"))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("busybox");
        command.args(["losetup", "-d", &self.0]).status().unwrap();
    }
}

#[test]
fn disks_have_rates_and_weights() {
    Engine::run(|engine| {
        engine.load_busybox();
        let disk = Loop::new(engine);
        let node = format!("{}:/dev/disk", disk.0);
        let write = "dd if=/dev/zero of=/dev/disk bs=64k count=8 oflag=direct 2>&1 | grep -c '8+0 records out'";
        let read = "dd if=/dev/disk of=/dev/null bs=64k count=8 iflag=direct 2>&1 | grep -c '8+0 records out'";
        // Half a megabyte at one a second, and eight requests at sixteen a second; a first piece is free.
        for (flag, rate, line) in [
            ("--device-write-bps", "1mb", write),
            ("--device-read-bps", "1mb", read),
            ("--device-write-iops", "16", write),
            ("--device-read-iops", "16", read),
        ] {
            let limit = format!("{}:{rate}", disk.0);
            let start = std::time::Instant::now();
            shows(engine, &["--device", &node, flag, &limit], line, "1");
            let both = start.elapsed();
            assert!(both > Duration::from_millis(600), "{flag}: {both:?}");
            // Docker's client takes a start that fails with these words for a missing program.
            let missing = ["run", "--rm", flag, "/dev/nope:1", "busybox", "true"];
            let done = engine.w(&missing).fails_with(127);
            assert!(
                done.stderr.contains("stat /dev/nope: no such file"),
                "{done:?}"
            );
        }
        refused(engine, &["--blkio-weight", "5"], "10 to 1000");
        refused(
            engine,
            &["--blkio-weight-device", "/dev/null"],
            "bad format: /dev/null",
        );
        let scheduler = format!(
            "/sys/block/{}/queue/scheduler",
            disk.0.trim_start_matches("/dev/")
        );
        if std::fs::write(scheduler, "bfq").is_err() {
            testkit::skip("the kernel has no scheduler bfq");
            return;
        }
        let minor = disk.0.trim_start_matches("/dev/loop");
        let weight = format!("{}:200", disk.0);
        let flags = ["--blkio-weight", "300", "--blkio-weight-device", &weight];
        let line =
            "cd /sys/fs/cgroup; cat blkio/blkio.bfq.weight_device io.bfq.weight 2>/dev/null; true";
        shows(engine, &flags, line, &format!("default 300\n7:{minor} 200"));
    });
}

#[test]
fn want_of_memory_has_its_rules() {
    Engine::run(|engine| {
        engine.load_busybox();
        let version = engine.w(&["info", "--format", "{{.CgroupVersion}}"]).ok();
        let killer = ["-m", "64m", "--oom-kill-disable"];
        let swap = ["--memory-swappiness", "7"];
        refused(engine, &["--memory-swappiness", "101"], "range is 0-100");
        if version.text() == "2" {
            for (flags, words) in [
                (&killer[..], "OomKillDisable discarded"),
                (&swap[..], "Memory swappiness discarded"),
            ] {
                let mut args = vec!["create"];
                args.extend(flags);
                args.push("busybox");
                let created = engine.w(&args).ok();
                assert!(created.stderr.contains(words), "{created:?}");
                engine.w(&["rm", created.text()]).ok();
            }
            return;
        }
        let groups = "/sys/fs/cgroup/memory";
        let line = format!("grep disable {groups}/memory.oom_control");
        shows(engine, &killer, &line, "oom_kill_disable 1");
        shows(
            engine,
            &swap,
            &format!("cat {groups}/memory.swappiness"),
            "7",
        );
        shows(engine, &["-m", "64m"], &line, "oom_kill_disable 0");
    });
}

#[test]
fn what_is_kept_of_a_container() {
    Engine::run(|engine| {
        engine.load_busybox();
        keeps(
            engine,
            &["--label", "a=b", "-l", "c"],
            "{{json .Config.Labels}}",
            r#"{"a":"b","c":""}"#,
        );
        let file = engine.folder().join("labels");
        std::fs::write(&file, "# words\none=1\ntwo=2=3\n").unwrap();
        keeps(
            engine,
            &["--label-file", file.to_str().unwrap()],
            "{{json .Config.Labels}}",
            r#"{"one":"1","two":"2=3"}"#,
        );
        keeps(
            engine,
            &["--no-healthcheck"],
            "{{json .Config.Healthcheck.Test}}",
            r#"["NONE"]"#,
        );
        keeps(
            engine,
            &["--stop-signal", "USR1", "--stop-timeout", "3"],
            "{{.Config.StopSignal}} {{.Config.StopTimeout}}",
            "USR1 3",
        );
        keeps(engine, &["--rm"], "{{.HostConfig.AutoRemove}}", "true");
        keeps(
            engine,
            &["--disable-content-trust"],
            "{{.Config.Image}}",
            "busybox",
        );
        keeps(
            engine,
            &["--volume-driver", "local", "-v", "made:/v"],
            "{{.HostConfig.VolumeDriver}} {{(index .Mounts 0).Driver}}",
            "local local",
        );
        // Another one matters only where there is a volume.
        keeps(
            engine,
            &["--volume-driver", "other"],
            "{{.HostConfig.VolumeDriver}}",
            "other",
        );
        // Docker's client takes the 404 for a missing image, on any engine, and would pull it.
        let wants = [
            "create",
            "--pull",
            "never",
            "--volume-driver",
            "other",
            "-v",
            "v:/v",
            "busybox",
        ];
        let refused = engine.d(&wants).fails_with(1);
        let words = "volume plugin other: plugin \"other\" not found";
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        let refused = engine.w(&[&["create"], &wants[3..]].concat()).fails_with(1);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        keeps(
            engine,
            &["--log-driver", "json-file", "--log-opt", "max-size=1m"],
            "{{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config \"max-size\"}}",
            "json-file 1m",
        );
        keeps(
            engine,
            &["--userns", "host"],
            "{{.HostConfig.UsernsMode}}",
            "host",
        );
        keeps(
            engine,
            &["--platform", "linux/amd64"],
            "{{.Platform}}",
            "linux",
        );
    });
}

#[test]
fn names_of_the_kernel() {
    Engine::run(|engine| {
        engine.load_busybox();
        shows(
            engine,
            &["-h", "box", "--domainname", "example.org"],
            "cat /proc/sys/kernel/domainname; hostname",
            "example.org\nbox",
        );
        shows(
            engine,
            &[
                "--sysctl",
                "net.ipv4.ip_forward=1",
                "--sysctl",
                "kernel.msgmax=9000",
            ],
            "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax",
            "1\n9000",
        );
        shows(
            engine,
            &["--userns", "host"],
            "awk '{print $1, $2}' /proc/self/uid_map",
            "0 0",
        );
        for client in [Engine::d, Engine::w] {
            let done = client(
                engine,
                &[
                    "run",
                    "--rm",
                    "--sysctl",
                    "vm.swappiness=1",
                    "busybox",
                    "true",
                ],
            );
            assert_eq!(done.status, 125, "{}", done.stderr);
            assert!(done.stderr.contains("vm.swappiness"), "{}", done.stderr);
        }
    });
}

#[test]
fn parameters_of_the_host_are_not_a_containers_through_another_one() {
    Engine::run(|engine| {
        engine.load_busybox();
        let sharing = ["--net", "host", "--ipc", "host", "busybox", "top"];
        let run = ["run", "-d", "--name", "shares"];
        engine.w(&[&run[..], &sharing].concat()).ok();
        // What shares the host's IPC can not be joined at all.
        let words = "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace";
        for client in [Engine::d, Engine::w] {
            let run = ["run", "--rm", "--net", "container:shares"];
            let sysctl = ["--sysctl", "net.ipv4.ip_forward=1", "busybox", "true"];
            let done = client(engine, &[&run[..], &sysctl].concat());
            assert_eq!(done.status, 125, "{}", done.stderr);
            assert!(done.stderr.contains(words), "{}", done.stderr);
        }
        engine.w(&["rm", "-f", "shares"]).ok();
    });
}

#[test]
fn logs_go_where_they_are_sent() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let none = [
                "run",
                "--name",
                "mute",
                "--log-driver",
                "none",
                "busybox",
                "echo",
                "x",
            ];
            assert_eq!(client(engine, &none).ok().text(), "x");
            let logs = client(engine, &["logs", "mute"]).fails_with(1);
            assert!(
                logs.stderr
                    .contains("configured logging driver does not support reading"),
                "{}",
                logs.stderr
            );
            client(engine, &["rm", "mute"]).ok();
            let options = ["--log-opt", "max-size=20k", "--log-opt", "max-file=2"];
            let mut args = vec!["run", "--name", "short"];
            args.extend(options);
            args.extend(["busybox", "seq", "10000"]);
            client(engine, &args).ok();
            let logs = client(engine, &["logs", "short"]).ok().stdout;
            assert!(logs.ends_with("9999\n10000\n") && logs.lines().count() < 2000);
            client(engine, &["rm", "short"]).ok();
        }
    });
}

#[test]
fn exposed_ports_are_published() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let ports = ["--expose", "81", "--expose", "90-91/udp", "-P"];
            let mut args = vec!["run", "-d", "--name", "web"];
            args.extend(ports);
            args.extend(["busybox", "sleep", "1000"]);
            client(engine, &args).ok();
            for port in ["81/tcp", "90/udp", "91/udp"] {
                let shown = client(engine, &["port", "web", port]).ok();
                assert!(shown.stdout.starts_with("0.0.0.0:"), "{}", shown.stdout);
            }
            client(engine, &["rm", "-f", "web"]).ok();
        }
    });
}

#[test]
fn streams_are_chosen() {
    Engine::run(|engine| {
        engine.load_busybox();
        let line = "echo out; echo err >&2";
        for client in [Engine::d, Engine::w] {
            let out = [
                "run", "--rm", "--attach", "stdout", "busybox", "sh", "-c", line,
            ];
            let done = client(engine, &out).ok();
            assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", ""));
            let both = [
                "run", "--rm", "-a", "STDERR", "-a", "stdout", "busybox", "sh", "-c", line,
            ];
            let done = client(engine, &both).ok();
            assert_eq!(
                (done.stdout.as_str(), done.stderr.as_str()),
                ("out\n", "err\n")
            );
        }
    });
}

#[test]
fn signals_are_handed_on_or_not() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = "trap 'echo got; exit 6' TERM; echo ready; while :; do sleep 0.05; done";
        for wharf in [false, true] {
            for proxied in [true, false] {
                let flag = format!("--sig-proxy={proxied}");
                let args = ["run", "--name", "t", &flag, "busybox", "sh", "-c", script];
                let args = args.map(|word| if word == "t" { "told" } else { word });
                let mut command = if wharf {
                    engine.wharf(&args)
                } else {
                    engine.docker(&args)
                };
                command.stdout(std::process::Stdio::piped());
                let mut child = command.spawn().unwrap();
                eventually("it runs", Duration::from_secs(10), || {
                    let logs = engine.d(&["logs", "told"]);
                    logs.stdout.contains("ready").then_some(())
                });
                // nsenter executes the client: one process.
                let kill = ["-TERM", &child.id().to_string()];
                std::process::Command::new("kill")
                    .args(kill)
                    .status()
                    .unwrap();
                let state = [
                    "inspect",
                    "-f",
                    "{{.State.Running}} {{.State.ExitCode}}",
                    "told",
                ];
                if proxied {
                    assert_eq!(child.wait().unwrap().code(), Some(6));
                    assert_eq!(engine.d(&state).ok().text(), "false 6");
                } else {
                    std::thread::sleep(Duration::from_millis(500));
                    assert_eq!(engine.d(&state).ok().text(), "true 0");
                    // Whether the client itself ends by the signal is left open.
                    let _ = child.kill();
                    child.wait().unwrap();
                }
                engine.d(&["rm", "-f", "told"]).ok();
            }
        }
    });
}

#[test]
fn other_keys_detach() {
    Engine::run(|engine| {
        engine.load_busybox();
        for wharf in [false, true] {
            let start = |args: &[&str]| {
                let command = if wharf {
                    engine.wharf(args)
                } else {
                    engine.docker(args)
                };
                Terminal::start(command, 30, 100)
            };
            let mut terminal = start(&[
                "run",
                "-it",
                "--name",
                "term",
                "--detach-keys",
                "ctrl-x,x",
                "busybox",
                "sh",
            ]);
            terminal.expect("/ #");
            terminal.send("\x18x");
            assert_eq!(terminal.finish().0, 0);
            let mut terminal = start(&["exec", "-it", "--detach-keys", "ctrl-a", "term", "sh"]);
            terminal.expect("/ #");
            terminal.send("\x01");
            let (status, shown) = terminal.finish();
            assert_eq!(status, 1);
            assert!(shown.ends_with("read escape sequence\r\n"), "{shown}");
            let mut terminal = start(&["attach", "--detach-keys", "ctrl-a", "term"]);
            // The shell draws its line anew when it is told the size of the terminal.
            terminal.send("echo at''tached\n");
            terminal.expect("attached");
            terminal.send("\x01");
            let (status, shown) = terminal.finish();
            assert_eq!(status, 1);
            assert!(shown.ends_with("read escape sequence\r\n"), "{shown}");
            engine.d(&["stop", "-t", "0", "term"]).ok();
            let mut terminal = start(&["start", "-ai", "--detach-keys", "ctrl-a", "term"]);
            terminal.expect("/ #");
            terminal.send("\x01");
            assert_eq!(terminal.finish().0, 0);
            let running = ["inspect", "-f", "{{.State.Running}}", "term"];
            assert_eq!(engine.d(&running).ok().text(), "true");
            engine.d(&["rm", "-f", "term"]).ok();
        }
    });
}

#[test]
fn flags_of_exec() {
    Engine::run(|engine| {
        engine.load_busybox();
        let file = engine.folder().join("env");
        std::fs::write(&file, "B=from file\n").unwrap();
        let file = file.to_str().unwrap();
        engine
            .d(&[
                "run", "-d", "--name", "box", "-e", "A=1", "busybox", "sleep", "1000",
            ])
            .ok();
        for client in [Engine::d, Engine::w] {
            let shows = |flags: &[&str], line: &str, expected: &str| {
                let mut args = vec!["exec"];
                args.extend(flags);
                args.extend(["box", "sh", "-c", line]);
                let done = client(engine, &args).ok();
                assert_eq!(done.text(), expected, "{flags:?} {line}");
            };
            shows(
                &["--env", "C=3", "--env-file", file],
                "echo $A-$B-$C",
                "1-from file-3",
            );
            shows(
                &["--user", "app"],
                "id -u; id -g; id -G",
                "1000\n1000\n1000 2000",
            );
            shows(&["--workdir", "/tmp"], "pwd", "/tmp");
            let effective = "grep CapEff /proc/self/status | awk '{print $2}'";
            shows(&[], effective, "00000000a80425fb");
            shows(
                &["--privileged"],
                "mount -t tmpfs none /home && echo mounted && umount /home",
                "mounted",
            );
            shows(&["--tty"], "tty", "/dev/pts/0");
            shows(&["--detach"], "echo from detached > /tmp/there", "");
            let there = || client(engine, &["exec", "box", "cat", "/tmp/there"]);
            eventually("the detached one wrote", Duration::from_secs(10), || {
                (there().stdout == "from detached\n").then_some(())
            });
            client(engine, &["exec", "box", "rm", "/tmp/there"]).ok();
        }
        for command in [
            engine.docker(&["exec", "--interactive", "box", "cat"]),
            engine.wharf(&["exec", "--interactive", "box", "cat"]),
        ] {
            assert_eq!(testkit::run(command, b"words").ok().stdout, "words");
        }
    });
}
