//! Flags of `run` by which a container has something of the host's, or of other containers.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Engine, Finished};

use crate::flags::shows;

const CLIENTS: [fn(&Engine, &[&str]) -> Finished; 2] = [Engine::d, Engine::w];

/// What `run --rm` with these flags says when it fails.
#[track_caller]
fn fails(engine: &Engine, flags: &[&str], status: i32, words: &str) {
    for client in CLIENTS {
        let mut args = vec!["run", "--rm"];
        args.extend(flags);
        args.extend(["busybox", "true"]);
        let done = client(engine, &args).fails_with(status);
        assert!(done.stderr.contains(words), "{flags:?}: {}", done.stderr);
    }
}

#[test]
fn annotations_are_kept() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in CLIENTS {
            let create = ["create", "--name", "noted", "--annotation", "a.b=c=d"];
            let create = [&create[..], &["--annotation", "empty", "busybox", "true"]].concat();
            client(engine, &create).ok();
            let field = ["inspect", "-f", "{{json .HostConfig.Annotations}}", "noted"];
            assert_eq!(
                client(engine, &field).ok().text(),
                r#"{"a.b":"c=d","empty":""}"#
            );
            client(engine, &["rm", "noted"]).ok();
        }
        let told = "invalid Annotations: the empty string is not permitted as an annotation key";
        fails(engine, &["--annotation", "=x"], 125, told);
    });
}

/// The folders of this path in all hierarchies.
fn groups(path: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).unwrap().map(|one| one.unwrap().path());
    let all = hierarchies.chain([top.to_owned()]);
    let found: std::collections::BTreeSet<PathBuf> = all
        .map(|hierarchy| hierarchy.join(path))
        .filter(|folder| folder.is_dir())
        .filter_map(|folder| folder.canonicalize().ok())
        .collect();
    found.into_iter().collect()
}

#[test]
fn groups_are_below_a_named_parent() {
    Engine::run(|engine| {
        engine.load_busybox();
        let top = format!("test-{}", std::process::id());
        let parent = format!("{top}/inner");
        for client in CLIENTS {
            let flag = format!("/{parent}/");
            let run = |name: &str| {
                let args = ["run", "-d", "--name", name, "--cgroup-parent", &flag];
                let args = [&args[..], &["-m", "64m", "busybox", "sleep", "600"]].concat();
                client(engine, &args).ok().text().to_owned()
            };
            let (one, two) = (run("one"), run("two"));
            let own = groups(&format!("{parent}/{one}"));
            assert!(!own.is_empty());
            for folder in &own {
                let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap();
                assert_eq!(members.lines().count(), 1, "{folder:?}: {members}");
            }
            let shown = ["inspect", "-f", "{{.HostConfig.CgroupParent}}", "one"];
            assert_eq!(client(engine, &shown).ok().text(), flag);
            client(engine, &["exec", "one", "true"]).ok();
            let top_of = client(engine, &["top", "one"]).ok();
            assert!(top_of.stdout.contains("sleep 600"), "{}", top_of.stdout);
            let stats = ["stats", "--no-stream", "--format", "{{.MemUsage}}", "one"];
            let used = client(engine, &stats).ok();
            assert!(used.stdout.contains("/ 64MiB"), "{}", used.stdout);
            client(engine, &["pause", "one"]).ok();
            client(engine, &["unpause", "one"]).ok();
            client(engine, &["update", "-m", "32m", "one"]).ok();
            let limit = own.iter().find_map(|folder| {
                ["memory.limit_in_bytes", "memory.max"]
                    .iter()
                    .find_map(|file| fs::read_to_string(folder.join(file)).ok())
            });
            assert_eq!(limit.unwrap().trim(), "33554432");
            // A daemon that was killed knows what it made.
            engine.kill_daemon();
            engine.start_daemon();
            client(engine, &["rm", "-f", "one"]).ok();
            client(engine, &["exec", "two", "true"]).ok();
            client(engine, &["restart", "-t", "0", "two"]).ok();
            assert!(!groups(&format!("{parent}/{two}")).is_empty());
            client(engine, &["rm", "-f", "two"]).ok();
            testkit::eventually(
                "the parent goes",
                std::time::Duration::from_secs(10),
                || groups(&top).is_empty().then_some(()),
            );
        }
        // What was there stays.
        let kept: Vec<PathBuf> = ["memory", "pids", "unified", "."]
            .iter()
            .map(|hierarchy| Path::new("/sys/fs/cgroup").join(hierarchy))
            .filter(|folder| folder.join("cgroup.procs").exists())
            .map(|folder| folder.join(&top))
            .collect();
        for folder in &kept {
            fs::create_dir(folder).unwrap();
        }
        shows(engine, &["--cgroup-parent", &top], "echo in", "in");
        testkit::eventually(
            "what was made goes",
            std::time::Duration::from_secs(10),
            || (groups(&top).len() == kept.len()).then_some(()),
        );
        for folder in &kept {
            fs::remove_dir(folder).unwrap();
        }
        for path in ["../up", "a/../b"] {
            fails(
                engine,
                &["--cgroup-parent", path],
                125,
                "invalid cgroup parent",
            );
        }
    });
}

#[test]
fn rules_allow_devices() {
    Engine::run(|engine| {
        engine.load_busybox();
        // The device of FUSE, which containers may make and not open.
        let open = "mknod /tmp/node c 10 229 && (: < /tmp/node) 2>&1 | grep -c 'not permitted'";
        shows(engine, &[], &format!("{open}; true"), "1");
        shows(
            engine,
            &["--device-cgroup-rule", "c 10:229 rwm"],
            &format!("{open}; true"),
            "0",
        );
        let rules = [
            "create",
            "--name",
            "ruled",
            "--device-cgroup-rule",
            "c *:* m",
            "busybox",
        ];
        for client in CLIENTS {
            client(engine, &rules).ok();
            let field = [
                "inspect",
                "-f",
                "{{.HostConfig.DeviceCgroupRules}}",
                "ruled",
            ];
            assert_eq!(client(engine, &field).ok().text(), "[c *:* m]");
            client(engine, &["rm", "ruled"]).ok();
        }
        fails(
            engine,
            &["--device-cgroup-rule", "c 10"],
            125,
            "invalid device cgroup format 'c 10'",
        );
    });
}

#[test]
fn what_windows_has_is_told() {
    Engine::run(|engine| {
        engine.load_busybox();
        for flag in [
            "--cpu-count",
            "--cpu-percent",
            "--io-maxbandwidth",
            "--io-maxiops",
        ] {
            let words = format!(
                "\"{flag}\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux"
            );
            fails(engine, &[flag, "1"], 1, &words);
        }
        let create = |body: &str| {
            let body = format!(r#"{{"Image": "busybox", "HostConfig": {body}}}"#);
            let path = "/containers/create";
            engine
                .ask("POST", path, "application/json", body.as_bytes())
                .unwrap()
        };
        let (status, told) = create(r#"{"IOMaximumIOps": 1}"#);
        assert_eq!(status, 400, "{told}");
        assert!(told.contains("Invalid QoS settings: linux does not support Maximum IO"));
        let (status, told) = create(r#"{"CpuPercent": 10}"#);
        assert_eq!(status, 201, "{told}");
        assert!(told.contains("linux does not support CPU percent. Percent discarded."));
    });
}

#[test]
fn limits_that_kernels_lack() {
    Engine::run(|engine| {
        engine.load_busybox();
        // From version 1.42 of the API on nothing is said of it.
        shows(engine, &["--kernel-memory", "64m"], "echo ran", "ran");
        let body = br#"{"Image": "busybox", "HostConfig": {"KernelMemory": 67108864}}"#;
        let made = engine.ask("POST", "/v1.41/containers/create", "application/json", body);
        let (status, told) = made.unwrap();
        assert_eq!(status, 201, "{told}");
        assert!(told.contains("does not support kernel memory limit"));
        for client in CLIENTS {
            let create = ["create", "--name", "timed", "--cpu-rt-period", "1000000"];
            let create = [&create[..], &["--cpu-rt-runtime", "950000", "busybox"]].concat();
            client(engine, &create).ok();
            let field = "{{.HostConfig.CpuRealtimePeriod}} {{.HostConfig.CpuRealtimeRuntime}}";
            assert_eq!(
                client(engine, &["inspect", "-f", field, "timed"])
                    .ok()
                    .text(),
                "1000000 950000"
            );
            // The kernels that are around schedule no groups in real time.
            let failed = client(engine, &["start", "timed"]);
            assert!(
                failed.stderr.contains("real-time") || failed.stderr.contains("cpu.rt_"),
                "{}",
                failed.stderr
            );
            client(engine, &["rm", "timed"]).ok();
        }
    });
}

#[test]
fn drivers_that_are_not_there() {
    Engine::run(|engine| {
        engine.load_busybox();
        fails(
            engine,
            &["--gpus", "all"],
            125,
            "could not select device driver \"\" with capabilities: [[gpu]]",
        );
        fails(
            engine,
            &["--gpus", "driver=cuda,capabilities=compute"],
            125,
            "could not select device driver \"cuda\" with capabilities: [[compute gpu]]",
        );
        fails(
            engine,
            &["--gpus", "many"],
            125,
            "invalid count (many): value must be either \"all\" or an integer: invalid syntax",
        );
        fails(
            engine,
            &["--storage-opt", "size=1G"],
            125,
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        );
        fails(
            engine,
            &["--storage-opt", "size"],
            125,
            "invalid storage option",
        );
    });
}

#[test]
fn runtimes_and_isolations_have_names() {
    Engine::run(|engine| {
        engine.load_busybox();
        for name in ["runc", "io.containerd.runc.v2"] {
            shows(engine, &["--runtime", name], "echo ran", "ran");
        }
        let wharf = engine.kind() == testkit::Kind::Wharf;
        if wharf {
            shows(engine, &["--runtime", "wharf"], "echo ran", "ran");
        }
        for client in [Engine::d, Engine::w] {
            let info = client(engine, &["info"]).ok().stdout;
            // Docker's client has them in no order.
            let runtimes = info
                .lines()
                .find_map(|line| line.strip_prefix(" Runtimes: "));
            let names: Vec<&str> = runtimes.unwrap().split(' ').collect();
            assert!(names.contains(&"runc") && names.contains(&"io.containerd.runc.v2"));
            assert_eq!(names.contains(&"wharf"), wharf, "{info}");
            assert!(info.contains("\n Default Runtime: runc\n"), "{info}");
        }
        shows(engine, &["--isolation", "default"], "echo ran", "ran");
        fails(
            engine,
            &["--runtime", "kata"],
            125,
            "unknown or invalid runtime name: kata",
        );
        fails(
            engine,
            &["--isolation", "hyperv"],
            125,
            "invalid isolation (hyperv): linux only supports 'default'",
        );
    });
}

#[test]
fn a_link_has_the_address_that_is_asked_for() {
    Engine::run(|engine| {
        engine.load_busybox();
        let mac = "92:d0:c6:0a:29:33";
        let read = "cat /sys/class/net/eth0/address";
        shows(engine, &["--mac-address", mac], read, mac);
        engine.d(&["network", "create", "mine"]).ok();
        engine.d(&["network", "create", "other"]).ok();
        shows(
            engine,
            &["--network", "mine", "--mac-address", mac],
            read,
            mac,
        );
        let long = format!("name=mine,mac-address={mac},link-local-ip=169.254.7.8");
        let both = format!("{read}; ip -o -4 addr show dev eth0 | grep -c 169.254.7.8/16");
        shows(engine, &["--network", &long], &both, &format!("{mac}\n1"));
        shows(
            engine,
            &["--network", "mine", "--link-local-ip", "169.254.7.9"],
            "ip -o -4 addr show dev eth0 | grep -c 169.254.7.9/16",
            "1",
        );
        for client in CLIENTS {
            let run = ["run", "-d", "--name", "known", "--mac-address", mac];
            let run = [&run[..], &["--network", "mine", "busybox", "sleep", "600"]].concat();
            client(engine, &run).ok();
            let shown = "{{.NetworkSettings.Networks.mine.MacAddress}}";
            let shown = ["inspect", "-f", shown, "known"];
            assert_eq!(client(engine, &shown).ok().text(), mac);
            // It stays the same over a restart, and others reach it.
            client(engine, &["restart", "-t", "0", "known"]).ok();
            assert_eq!(client(engine, &shown).ok().text(), mac);
            shows(
                engine,
                &["--network", "mine"],
                "ping -c 1 -w 5 known > /dev/null && grep -c 92:d0:c6:0a:29:33 /proc/net/arp",
                "1",
            );
            let connect = ["network", "connect", "--link-local-ip", "169.254.1.1"];
            client(engine, &[&connect[..], &["other", "known"]].concat()).ok();
            let inside = ["exec", "known", "ip", "-o", "-4", "addr", "show", "dev"];
            let inside = client(engine, &[&inside[..], &["eth1"]].concat()).ok();
            assert!(
                inside.stdout.contains("169.254.1.1/16"),
                "{}",
                inside.stdout
            );
            client(engine, &["rm", "-f", "known"]).ok();
        }
        engine.d(&["network", "rm", "mine", "other"]).ok();
        fails(
            engine,
            &["--mac-address", "92:d0"],
            125,
            "92:d0 is not a valid mac address",
        );
        fails(
            engine,
            &["--network", "host", "--mac-address", mac],
            125,
            "conflicting options: mac-address and the network mode",
        );
    });
}

#[test]
fn links_of_the_default_bridge() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in CLIENTS {
            let run = ["run", "-d", "--name", "data", "-h", "store", "-e", "A=b"];
            let run = [
                &run[..],
                &[
                    "--expose", "80", "--expose", "81", "busybox", "sleep", "600",
                ],
            ]
            .concat();
            client(engine, &run).ok();
            let address = "{{.NetworkSettings.Networks.bridge.IPAddress}}";
            let address = client(engine, &["inspect", "-f", address, "data"]).ok();
            let address = address.text();
            let linked = ["run", "--rm", "--link", "data:my-db", "busybox", "sh", "-c"];
            let hosts = client(
                engine,
                &[
                    &linked[..],
                    &["grep store /etc/hosts; ping -c 1 -w 5 my-db > /dev/null && echo there"],
                ]
                .concat(),
            );
            assert_eq!(
                hosts.ok().stdout,
                format!("{address}\tmy-db store data\nthere\n")
            );
            let environment = client(
                engine,
                &[&linked[..], &["env | grep ^MY_DB | sort"]].concat(),
            )
            .ok();
            for line in [
                format!("MY_DB_PORT=tcp://{address}:80\n"),
                format!("MY_DB_PORT_80_TCP=tcp://{address}:80\n"),
                format!("MY_DB_PORT_81_TCP_ADDR={address}\n"),
                "MY_DB_PORT_80_TCP_PORT_END=81\n".to_owned(),
                "MY_DB_ENV_A=b\n".to_owned(),
            ] {
                assert!(environment.stdout.contains(&line), "{}", environment.stdout);
            }
            let create = ["create", "--name", "web", "--link", "data:db", "busybox"];
            client(engine, &create).ok();
            client(engine, &["rename", "data", "renamed"]).ok();
            let shown = ["inspect", "-f", "{{.HostConfig.Links}}", "web"];
            assert_eq!(client(engine, &shown).ok().text(), "[/renamed:/web/db]");
            client(engine, &["stop", "-t", "0", "renamed"]).ok();
            let start = client(engine, &["start", "web"]).fails_with(1);
            assert!(
                start
                    .stderr
                    .contains("Cannot link to a non running container: /renamed AS /web/db"),
                "{}",
                start.stderr
            );
            client(engine, &["rm", "web", "renamed"]).ok();
        }
        fails(
            engine,
            &["--link", "nobody"],
            125,
            "could not get container for nobody: No such container: nobody",
        );
    });
}

#[test]
fn the_api_s_socket_is_lent() {
    Engine::run(|engine| {
        engine.load_busybox();
        let file = engine.folder().parent().unwrap().join("config/config.json");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let ask = "ls -l /var/run/docker.sock | cut -c 1; cat $DOCKER_CONFIG/config.json";
        let run = [
            "run",
            "--rm",
            "--use-api-socket",
            "busybox",
            "sh",
            "-c",
            ask,
        ];
        fs::write(
            &file,
            r#"{"auths": {"reg.example": {"auth": "dXNlcjpwdw=="}}}"#,
        )
        .unwrap();
        let lent = engine.w(&run).ok();
        assert_eq!(
            lent.stdout,
            "s\n{\"auths\":{\"reg.example\":{\"auth\":\"dXNlcjpwdw==\"}}}"
        );
        // Who has a folder of one's own is given none.
        let own = ["run", "--rm", "--use-api-socket", "-e", "DOCKER_CONFIG=/x"];
        let own = [
            &own[..],
            &[
                "busybox",
                "sh",
                "-c",
                "echo $DOCKER_CONFIG; test -e /run/secrets || echo none",
            ],
        ]
        .concat();
        let own = engine.w(&own).ok();
        assert_eq!(own.stdout, "/x\nnone\n");
        fs::remove_file(&file).unwrap();
    });
}
