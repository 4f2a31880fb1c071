//! Flags of `run`, each by its effect inside the container.

use testkit::{Engine, Kind};

/// Runs a shell line in a container with these flags, with both clients, and compares the output.
#[track_caller]
pub(crate) fn shows(engine: &Engine, flags: &[&str], line: &str, expected: &str) {
    for client in [Engine::d, Engine::w] {
        let mut args = vec!["run", "--rm"];
        args.extend(flags);
        args.extend(["busybox", "sh", "-c", line]);
        let done = client(engine, &args);
        assert_eq!(
            (done.status, done.stdout.trim()),
            (0, expected),
            "{flags:?} {line}: {}",
            done.stderr
        );
    }
}

/// The same flags are refused with this text.
#[track_caller]
pub(crate) fn refused(engine: &Engine, flags: &[&str], text: &str) {
    for client in [Engine::d, Engine::w] {
        let mut args = vec!["run", "--rm"];
        args.extend(flags);
        args.extend(["busybox", "true"]);
        let done = client(engine, &args).fails_with(125);
        assert!(
            done.stderr.to_lowercase().contains(&text.to_lowercase()),
            "{flags:?}: {}",
            done.stderr
        );
    }
}

#[test]
fn identity_and_environment() {
    Engine::run(|engine| {
        engine.load_busybox();
        shows(engine, &["-h", "box"], "hostname", "box");
        shows(
            engine,
            &["-u", "app"],
            "id -u; id -g; id -G",
            "1000\n1000\n1000 2000",
        );
        shows(engine, &["-u", "7:8"], "id -u; id -g", "7\n8");
        shows(
            engine,
            &["-u", "root", "--group-add", "extra"],
            "id -G",
            "0 2000",
        );
        shows(engine, &["-w", "/made/here"], "pwd", "/made/here");
        shows(
            engine,
            &["-e", "A=1", "-e", "B"],
            "echo $A-$B-$HOME",
            "1--/root",
        );
        shows(engine, &["-e", "HOME="], "echo $HOME", "/root");
        shows(engine, &["-e", "HOME=/h"], "echo $HOME", "/h");
        shows(engine, &["--entrypoint", "echo"], "-n", "sh -c -n".trim());
        shows(engine, &["--label", "a=b"], "echo fine", "fine");
        refused(
            engine,
            &["-u", "nobody-here"],
            "unable to find user nobody-here: no matching entries in passwd file",
        );
        let file = engine.folder().join("env");
        std::fs::write(&file, "# words\nA=from file\n").unwrap();
        shows(
            engine,
            &["--env-file", file.to_str().unwrap()],
            "echo $A",
            "from file",
        );
        let id_file = engine.folder().join("cid");
        engine
            .w(&[
                "run",
                "--rm",
                "--cidfile",
                id_file.to_str().unwrap(),
                "busybox",
                "true",
            ])
            .ok();
        assert_eq!(std::fs::read_to_string(&id_file).unwrap().len(), 64);
        refused(
            engine,
            &["--cidfile", id_file.to_str().unwrap()],
            "container ID file found",
        );
    });
}

#[test]
fn resources() {
    Engine::run(|engine| {
        engine.load_busybox();
        let version = engine.w(&["info", "--format", "{{.CgroupVersion}}"]).ok();
        // 512 shares of the usual 1,024 are a weight of 59 of the usual 100, by the curve that
        // maps the one range on the other.
        let limits = match version.text() {
            "2" => [
                ("-m", "64m", "memory.max", "67108864"),
                ("--pids-limit", "50", "pids.max", "50"),
                ("--cpus", "1.5", "cpu.max", "150000 100000"),
                ("--cpu-shares", "512", "cpu.weight", "59"),
            ],
            _ => [
                ("-m", "64m", "memory/memory.limit_in_bytes", "67108864"),
                ("--pids-limit", "50", "pids/pids.max", "50"),
                ("--cpus", "1.5", "cpu/cpu.cfs_quota_us", "150000"),
                ("--cpu-shares", "512", "cpu/cpu.shares", "512"),
            ],
        };
        for (flag, value, file, limit) in limits {
            let read = format!("cat /sys/fs/cgroup/{file}");
            shows(engine, &[flag, value], &read, limit);
        }
        shows(engine, &["--cpuset-cpus", "0"], "nproc", "1");
        shows(
            engine,
            &["--ulimit", "nofile=100:200"],
            "ulimit -n; ulimit -Hn",
            "100\n200",
        );
        shows(
            engine,
            &["--shm-size", "8m"],
            "df -k /dev/shm | tail -1 | awk '{print $2}'",
            "8192",
        );
        refused(engine, &["-m", "1k"], "Minimum memory limit allowed is 6MB");
        refused(engine, &["--cpus", "1000"], "range of CPUs is from 0.01 to");
        refused(
            engine,
            &["--cpuset-cpus", "900"],
            "Requested CPUs are not available",
        );
        let killed = engine.d(&[
            "run",
            "--name",
            "oom",
            "-m",
            "32m",
            "--memory-swap",
            "32m",
            "busybox",
            "sh",
            "-c",
            "dd if=/dev/zero of=/dev/shm/x bs=1M count=60; tail /dev/zero",
        ]);
        assert_ne!(killed.status, 0);
    });
}

#[test]
fn privileges() {
    Engine::run(|engine| {
        engine.load_busybox();
        let effective = "grep CapEff /proc/self/status | awk '{print $2}'";
        shows(engine, &[], effective, "00000000a80425fb");
        shows(
            engine,
            &["--cap-drop", "ALL"],
            effective,
            "0000000000000000",
        );
        shows(
            engine,
            &["--cap-drop", "ALL", "--cap-add", "net_admin"],
            effective,
            "0000000000001000",
        );
        shows(engine, &[], "grep -c ^Seccomp:.*2 /proc/self/status", "1");
        shows(
            engine,
            &["--security-opt", "seccomp=unconfined"],
            "grep -c ^Seccomp:.*0 /proc/self/status",
            "1",
        );
        shows(
            engine,
            &["--security-opt", "no-new-privileges"],
            "grep NoNewPrivs /proc/self/status | awk '{print $2}'",
            "1",
        );
        shows(
            engine,
            &["--security-opt", "systempaths=unconfined"],
            "grep -c ' /proc/' /proc/self/mounts; true",
            "0",
        );
        shows(
            engine,
            &["--privileged"],
            "grep -c ^Seccomp:.*0 /proc/self/status; mount -t tmpfs none /tmp && echo mounted",
            "1\nmounted",
        );
        shows(
            engine,
            &[],
            "mount -t tmpfs none /tmp 2>/dev/null || echo no",
            "no",
        );
        shows(
            engine,
            &["--device", "/dev/loop-control:/dev/here:r"],
            "test -c /dev/here && echo there",
            "there",
        );
        shows(
            engine,
            &["--read-only"],
            "for f in /x /etc/hosts /etc/hostname /etc/resolv.conf; do touch $f 2>/dev/null || echo no; done | uniq -c | awk '{print $1 $2}'",
            "4no",
        );
        shows(
            engine,
            &["--tmpfs", "/t:shared"],
            "grep -c ' /t .*shared:' /proc/self/mountinfo",
            "1",
        );
        shows(
            engine,
            &["--read-only", "--tmpfs", "/t:size=1m"],
            "touch /t/x && df -k /t | tail -1 | awk '{print $2}'",
            "1024",
        );
        refused(
            engine,
            &["--cap-add", "NONSENSE"],
            "invalid CapAdd: unknown capability: \"CAP_NONSENSE\"",
        );
        refused(
            engine,
            &["--security-opt", "nonsense"],
            "invalid --security-opt",
        );
    });
}

#[test]
fn programs_find_their_groups() {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        testkit::skip("there are no hierarchies of version 1");
        return;
    }
    Engine::run(|engine| {
        engine.load_busybox();
        // The Java virtual machine needs all four, and takes a file from the mount whose root is the process's group.
        let script = "for c in cpu cpuacct cpuset memory; do \
            root=$(awk -v at=/sys/fs/cgroup/$c '$5 == at {print $4}' /proc/self/mountinfo); \
            grep -q \":$c:$root\\$\" /proc/self/cgroup && test \"$root\" != / && echo $c; done";
        let all = "cpu\ncpuacct\ncpuset\nmemory";
        shows(engine, &[], script, all);
        shows(engine, &["--cpuset-cpus", "0"], script, all);
        engine
            .w(&["run", "-d", "--name", "long", "busybox", "sleep", "1000"])
            .ok();
        let groups = [
            "exec",
            "long",
            "diff",
            "/proc/1/cgroup",
            "/proc/self/cgroup",
        ];
        engine.w(&groups).ok();
        engine.w(&["rm", "-f", "long"]).ok();
    });
}

#[test]
fn options_without_effect_are_told() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        for (option, folder) in [
            ("apparmor=strict", "/sys/kernel/security/apparmor"),
            ("label=type:strict_t", "/sys/fs/selinux/enforce"),
        ] {
            let created = engine.w(&["create", "--security-opt", option, "wharf/isolation"]);
            if std::path::Path::new(folder).exists() {
                assert!(created.stderr.contains("is not supported"), "{created:?}");
                continue;
            }
            let created = created.ok();
            let told = format!("The security option {option} has no effect");
            assert!(created.stderr.contains(&told), "{created:?}");
            engine.w(&["rm", created.text()]).ok();
        }
    });
}

#[test]
fn networks_are_of_one_s_own() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["network", "create", "--subnet", "10.82.0.0/24", "mine"])
            .ok();
        for client in [Engine::d, Engine::w] {
            let args = ["run", "--rm", "--network", "mine", "--ip", "10.82.0.99"];
            let done = client(
                engine,
                &[&args[..], &["busybox", "hostname", "-i"]].concat(),
            )
            .ok();
            assert_eq!(done.text(), "10.82.0.99");
        }
    });
}

#[test]
fn namespaces() {
    Engine::run(|engine| {
        engine.load_busybox();
        let inside = |flags: &[&str], kind: &str| {
            let mut args = vec!["run", "--rm"];
            args.extend(flags);
            let path = format!("/proc/self/ns/{kind}");
            args.extend(["busybox", "readlink", &path]);
            engine.w(&args).ok().text().to_owned()
        };
        let daemon = engine.daemon();
        let outside = |kind: &str| {
            std::fs::read_link(daemon.folder.join("ns").join(kind))
                .unwrap()
                .display()
                .to_string()
        };
        for (flag, kind) in [
            ("--network", "net"),
            ("--pid", "pid"),
            ("--ipc", "ipc"),
            ("--uts", "uts"),
            ("--cgroupns", "cgroup"),
        ] {
            assert_eq!(inside(&[flag, "host"], kind), outside(kind), "{flag} host");
            let other = if kind == "cgroup" {
                vec!["--cgroupns", "private"]
            } else {
                vec![]
            };
            assert_ne!(inside(&other, kind), outside(kind), "{flag} of its own");
        }
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "cc",
                "--ipc",
                "shareable",
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        let of_c = |kind: &str| {
            engine
                .d(&["exec", "cc", "readlink", &format!("/proc/self/ns/{kind}")])
                .ok()
                .text()
                .to_owned()
        };
        for (flag, kind) in [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc")] {
            assert_eq!(
                inside(&[flag, "container:cc"], kind),
                of_c(kind),
                "{flag} container:cc"
            );
        }
    });
}

#[test]
fn names_and_resolver() {
    Engine::run(|engine| {
        engine.load_busybox();
        shows(
            engine,
            &["--add-host", "far:10.1.2.3"],
            "grep far /etc/hosts",
            "10.1.2.3\tfar",
        );
        shows(
            engine,
            &[
                "--dns",
                "9.9.9.9",
                "--dns-search",
                "example.org",
                "--dns-option",
                "ndots:2",
            ],
            // Docker 20.10 writes them in another order.
            "grep -v '^#' /etc/resolv.conf | sed '/^$/d' | sort",
            "nameserver 9.9.9.9\noptions ndots:2\nsearch example.org",
        );
        refused(engine, &["--dns", "nine"], "nine");
        refused(
            engine,
            &["--add-host", "nothing"],
            "bad format for add-host",
        );
    });
}

#[test]
fn addresses_and_options_of_endpoints_are_kept_or_refused() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["network", "create", "mine"]).ok();
        let args = [
            "run",
            "--rm",
            "--network",
            "mine",
            "--ip6",
            "fd00::9",
            "busybox",
            "true",
        ];
        // Docker's words for a network without IPv6.
        let words = "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets";
        for client in [Engine::d, Engine::w] {
            let done = client(engine, &args).fails_with(125);
            assert!(done.stderr.contains(words), "{}", done.stderr);
            let connect = ["network", "connect", "--ip6", "fd00::9", "mine", "there"];
            client(engine, &["create", "--name", "there", "busybox", "true"]).ok();
            let done = client(engine, &connect).fails_with(1);
            assert!(done.stderr.contains(words), "{}", done.stderr);
            client(engine, &["rm", "there"]).ok();
            let wrong = ["create", "--network", "mine", "--ip6", "fd00", "busybox"];
            let done = client(engine, &wrong).fails_with(1);
            assert!(
                done.stderr.contains("invalid IPv6 address: fd00"),
                "{}",
                done.stderr
            );
        }
        // What the driver does not know it keeps.
        let options = [
            "create",
            "--name",
            "there",
            "--network",
            "name=mine,driver-opt=a=b",
            "busybox",
        ];
        let ifname = "name=mine,driver-opt=com.docker.network.endpoint.ifname=lan";
        for client in [Engine::d, Engine::w] {
            client(engine, &options).ok();
            let format = "{{.NetworkSettings.Networks.mine.DriverOpts}}";
            let shown = client(engine, &["inspect", "-f", format, "there"]).ok();
            assert_eq!(shown.stdout.trim(), "map[a:b]");
            client(engine, &["rm", "there"]).ok();
            let done = client(engine, &["create", "--network", ifname, "busybox"]).fails_with(1);
            assert!(
                done.stderr.contains(
                    "DriverOpts for a name or settings of the interface is not supported"
                ),
                "{}",
                done.stderr
            );
        }
        let own = engine.w(&["network", "connect", "--driver-opt", "a=b", "mine", "there"]);
        assert!(
            own.fails_with(125)
                .stderr
                .starts_with("--driver-opt is a flag of docker that wharf does not support yet")
        );
        engine.d(&["network", "rm", "mine"]).ok();
    });
}

#[test]
fn volumes_of_other_containers() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let lend = [
                "create",
                "--name",
                "lender",
                "-v",
                "kept:/kept",
                "-v",
                "/drawn",
            ];
            client(engine, &[&lend[..], &["busybox", "true"]].concat()).ok();
            let borrow = |more: &[&str], script: &str| {
                let words = [&["run", "--rm"], more, &["busybox", "sh", "-c", script]];
                client(engine, &words.concat())
            };
            let from = ["--volumes-from", "lender"];
            borrow(&from, "echo one > /kept/file && echo two > /drawn/file").ok();
            let told = borrow(&from, "cat /kept/file /drawn/file").ok();
            // Volumes of a borrower that is removed with its own are the lender's still.
            assert_eq!(told.stdout, "one\ntwo\n");
            let told = borrow(&["--volumes-from", "lender:ro"], "touch /kept/x");
            assert!(told.stderr.contains("Read-only"), "{}", told.stderr);
            let own = [&from[..], &["-v", "other:/kept"]].concat();
            assert_eq!(borrow(&own, "ls /kept").ok().stdout, "");
            let missing = borrow(&["--volumes-from", "nobody"], "true").fails_with(125);
            assert!(
                missing.stderr.contains("No such container: nobody"),
                "{}",
                missing.stderr
            );
            let bad = borrow(&["--volumes-from", "lender:zz"], "true").fails_with(125);
            assert!(bad.stderr.contains("invalid mode: zz"), "{}", bad.stderr);
            client(engine, &["rm", "-v", "lender"]).ok();
            client(engine, &["volume", "rm", "kept", "other"]).ok();
        }
    });
}

#[test]
fn what_makes_no_sense_is_told_before_a_missing_image() {
    Engine::run(|engine| {
        for client in [Engine::d, Engine::w] {
            let told = client(engine, &["run", "--restart", "sometimes", "nosuch"]).fails_with(125);
            assert!(
                told.stderr.contains("invalid restart policy")
                    && !told.stderr.contains("Unable to find"),
                "{}",
                told.stderr
            );
        }
    });
}
