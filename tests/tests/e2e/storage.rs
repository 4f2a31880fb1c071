//! Volumes, binds, images on disk.

use std::fs;
use std::time::Duration;

use testkit::{Engine, Kind, eventually, run};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_volume_is_filled_kept_and_removed() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            assert_eq!(
                client(engine, &["volume", "create", "data"]).ok().text(),
                "data"
            );
            // Filled from the image's folder at first use.
            let done = client(
                engine,
                &[
                    "run",
                    "--rm",
                    "-v",
                    "data:/etc",
                    "busybox",
                    "sh",
                    "-c",
                    "ls /etc | sort | tail -3; echo kept > /etc/mine",
                ],
            )
            .ok();
            assert!(done.stdout.contains("passwd"), "{}", done.stdout);
            assert_eq!(
                client(
                    engine,
                    &[
                        "run",
                        "--rm",
                        "--mount",
                        "type=volume,src=data,dst=/x,readonly",
                        "busybox",
                        "cat",
                        "/x/mine"
                    ]
                )
                .ok()
                .text(),
                "kept"
            );
            client(
                engine,
                &[
                    "run",
                    "--rm",
                    "-v",
                    "data:/x:ro",
                    "busybox",
                    "touch",
                    "/x/no",
                ],
            )
            .fails_with(1);
            client(
                engine,
                &["create", "--name", "holder", "-v", "data:/x", "busybox"],
            )
            .ok();
            assert!(
                client(engine, &["volume", "rm", "data"])
                    .fails_with(1)
                    .stderr
                    .contains("volume is in use")
            );
            client(engine, &["rm", "holder"]).ok();
            client(engine, &["volume", "rm", "data"]).ok();
        }
    });
}

#[test]
fn anonymous_volumes_go_with_their_container() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "--rm", "-v", "/data", "busybox", "touch", "/data/x"])
            .ok();
        assert_eq!(engine.d(&["volume", "ls", "-q"]).ok().text(), "");
        engine
            .d(&["run", "--name", "cc", "-v", "/data", "busybox", "true"])
            .ok();
        assert_eq!(
            engine
                .d(&["volume", "ls", "-q"])
                .ok()
                .text()
                .lines()
                .count(),
            1
        );
        let volume = engine.d(&["volume", "ls", "-q"]).ok();
        let place = ["volume", "inspect", "-f", "{{.Mountpoint}}", volume.text()];
        let place = engine.d(&place).ok();
        let place = std::path::Path::new(place.text());
        assert!(place.exists());
        engine.d(&["rm", "-v", "cc"]).ok();
        assert!(
            !place.exists(),
            "whoever is told that it is gone finds it gone"
        );
        assert_eq!(engine.d(&["volume", "ls", "-q"]).ok().text(), "");
    });
}

#[test]
fn binds_show_the_hosts_files() {
    Engine::run(|engine| {
        engine.load_busybox();
        let folder = engine.folder().join("bound");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file"), "from outside").unwrap();
        let path = folder.to_str().unwrap();
        for client in [Engine::d, Engine::w] {
            assert_eq!(
                client(
                    engine,
                    &[
                        "run",
                        "--rm",
                        "-v",
                        &format!("{path}:/b"),
                        "busybox",
                        "cat",
                        "/b/file"
                    ]
                )
                .ok()
                .text(),
                "from outside"
            );
            client(
                engine,
                &[
                    "run",
                    "--rm",
                    "-v",
                    &format!("{path}:/b:ro"),
                    "busybox",
                    "touch",
                    "/b/x",
                ],
            )
            .fails_with(1);
            client(
                engine,
                &[
                    "run",
                    "--rm",
                    "-v",
                    &format!("{path}/made:/b"),
                    "busybox",
                    "touch",
                    "/b/x",
                ],
            )
            .ok();
            assert!(folder.join("made/x").exists());
            let missing = client(
                engine,
                &[
                    "run",
                    "--rm",
                    "--mount",
                    &format!("type=bind,src={path}/not,dst=/b"),
                    "busybox",
                    "true",
                ],
            )
            .fails_with(125);
            assert!(
                missing.stderr.contains("bind source path does not exist"),
                "{}",
                missing.stderr
            );
            fs::remove_dir_all(folder.join("made")).unwrap();
        }
    });
}

#[test]
fn the_image_inside_the_program_is_listed_when_it_is_asked_for() {
    Engine::run(|engine| {
        if engine.kind() == testkit::Kind::Dockerd {
            return;
        }
        const NAME: &str = "wharf/isolation";
        for client in [Engine::d, Engine::w] {
            // `docker rmi $(docker images -q)` is about what somebody brought.
            assert_eq!(client(engine, &["images", "-q"]).ok().stdout, "");
            assert_eq!(
                client(engine, &["images", "-aq"])
                    .ok()
                    .stdout
                    .lines()
                    .count(),
                2
            );
            let named = client(engine, &["images", "--format", "{{.Repository}}", NAME]).ok();
            assert_eq!(named.text(), NAME);
            let pattern = ["images", "-q", "--filter", "reference=wharf/*"];
            assert_eq!(client(engine, &pattern).ok().stdout.lines().count(), 1);
            client(engine, &["tag", NAME, "mine:1"]).ok();
            let all = client(engine, &["images", "--format", "{{.Repository}}"]).ok();
            assert!(all.stdout.contains("mine\n"), "{}", all.stdout);
            client(engine, &["rmi", "mine:1"]).ok();
            let image = ["image", "inspect", "-f", "{{.Os}}", NAME];
            assert_eq!(client(engine, &image).ok().text(), "linux");
        }
    });
}

#[test]
fn images_are_tagged_listed_saved_loaded_and_removed() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            client(engine, &["tag", "busybox", "other:1"]).ok();
            assert!(
                client(engine, &["images", "--format", "{{.Repository}}:{{.Tag}}"])
                    .ok()
                    .stdout
                    .contains("other:1")
            );
            let archive = engine.folder().join("saved.tar");
            client(
                engine,
                &["save", "-o", archive.to_str().unwrap(), "other:1"],
            )
            .ok();
            let id = client(engine, &["image", "inspect", "-f", "{{.Id}}", "other:1"])
                .ok()
                .text()
                .to_owned();
            client(engine, &["rmi", "other:1"]).ok();
            assert!(
                client(engine, &["image", "inspect", "other:1"])
                    .fails_with(1)
                    .stderr
                    .contains("No such image: other:1")
            );
            client(engine, &["load", "-i", archive.to_str().unwrap()]).ok();
            assert_eq!(
                client(engine, &["image", "inspect", "-f", "{{.Id}}", "other:1"])
                    .ok()
                    .text(),
                id
            );
            assert_eq!(
                client(engine, &["run", "--rm", "other:1", "echo", "works"])
                    .ok()
                    .text(),
                "works"
            );
            client(engine, &["create", "--name", "user", "other:1"]).ok();
            client(engine, &["rmi", "other:1"]).ok();
            let held = client(engine, &["rmi", "busybox"]).fails_with(1);
            assert!(
                held.stderr
                    .contains("conflict: unable to remove repository reference"),
                "{}",
                held.stderr
            );
            client(engine, &["rm", "user"]).ok();
        }
    });
}

#[test]
fn an_archive_that_is_none_leaves_nothing() {
    Engine::run(|engine| {
        let before = engine.census();
        for (name, content) in [("empty.tar", Vec::new()), ("noise.tar", vec![7u8; 100_000])] {
            let path = engine.folder().join(name);
            fs::write(&path, content).unwrap();
            for client in [Engine::d, Engine::w] {
                let done = client(engine, &["load", "-i", path.to_str().unwrap()]);
                assert_ne!(done.status, 0, "{name}: {}", done.stdout);
            }
        }
        let left = engine.census().beyond(&before);
        assert!(left.is_empty(), "{left}");
    });
}

#[test]
fn disk_usage_equals_what_is_on_disk() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&[
                "run",
                "--name",
                "cc",
                "-v",
                "vol:/v",
                "busybox",
                "sh",
                "-c",
                "dd if=/dev/zero of=/big bs=1M count=20; dd if=/dev/zero of=/v/big bs=1M count=10",
            ])
            .ok();
        let answer = engine.http("GET", "/v1.55/system/df", "").unwrap();
        let body: serde_json::Value = serde_json::from_str(
            answer
                .split_once("\r\n\r\n")
                .unwrap()
                .1
                .trim_start_matches(|letter: char| letter != '{')
                .trim_end_matches(|letter: char| letter != '}'),
        )
        .unwrap();
        let size = |kind: &str| {
            body[kind]["TotalSize"]
                .as_f64()
                .unwrap_or_else(|| panic!("{body}"))
        };
        let told = size("ImageUsage") + size("ContainerUsage") + size("VolumeUsage");
        let output = std::process::Command::new("du")
            .args(["-s", "-B1"])
            .arg(engine.data_root().join("v1"))
            .args(["--exclude=store.db*"])
            .output()
            .unwrap();
        let on_disk: f64 = String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            (told - on_disk).abs() / on_disk < 0.01,
            "df tells {told}, du {on_disk}"
        );
    });
}

#[test]
fn the_root_is_shown_as_an_overlay() {
    Engine::run(|engine| {
        engine.load_busybox();
        let shown = engine
            .d(&["run", "--rm", "busybox", "sh", "-c", "df / | tail -1"])
            .ok();
        assert_eq!(
            shown.text().split_whitespace().next(),
            Some("overlay"),
            "{}",
            shown.stdout
        );
    });
}

#[test]
fn an_empty_volume_is_filled_whenever_a_container_begins() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            client(
                engine,
                &["run", "--rm", "-v", "late:/none", "busybox", "true"],
            )
            .ok();
            let list = ["run", "--rm", "-v", "late:/etc", "busybox", "ls", "/etc"];
            let done = client(engine, &list).ok();
            assert!(done.stdout.contains("passwd"), "{}", done.stdout);
            // What was taken out stays out when the same container starts again.
            let empty = ["sh", "-c", "ls -A /etc; rm -f /etc/passwd /etc/group"];
            let create = ["create", "--name", "twice", "-v", "late:/etc", "busybox"];
            client(engine, &[&create[..], &empty].concat()).ok();
            client(engine, &["start", "-a", "twice"]).ok();
            let again = client(engine, &["start", "-a", "twice"]).ok();
            assert!(!again.stdout.contains("passwd"), "{}", again.stdout);
            client(engine, &["rm", "twice"]).ok();
            client(engine, &["volume", "rm", "late"]).ok();
        }
    });
}

#[test]
fn the_engines_files_are_seen_through_what_lies_on_their_folder() {
    Engine::run(|engine| {
        engine.load_busybox();
        let own = engine.folder().join("own");
        fs::write(&own, "mine\n").unwrap();
        let own = format!("{}:/etc/hostname", own.display());
        let words = "cat /etc/hostname; grep -c localhost /etc/hosts; grep -c . /etc/resolv.conf";
        for source in [&["-v", "vol:/etc"][..], &["--tmpfs", "/etc"]] {
            let run = ["run", "--rm", "-h", "given", "--dns", "192.0.2.1"];
            let command = ["busybox", "sh", "-c", words];
            let done = engine.d(&[&run[..], source, &command].concat()).ok();
            let lines: Vec<_> = done.stdout.lines().collect();
            assert!(
                lines[0] == "given" && !lines[1..].contains(&"0"),
                "{lines:?}"
            );
            // What a user puts in a file's place is what is there.
            let both = [&run[..], source, &["-v", &own], &command].concat();
            assert!(engine.d(&both).ok().stdout.starts_with("mine\n"));
        }
        engine.d(&["volume", "rm", "vol"]).ok();
    });
}

#[test]
fn a_bound_dev_is_left_as_it_is() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            for read_only in ["/dev:/dev:ro", "/dev:/dev"] {
                let done = client(
                    engine,
                    &[
                        "run",
                        "--rm",
                        "-v",
                        read_only,
                        "busybox",
                        "grep",
                        " /dev/shm ",
                        "/proc/self/mountinfo",
                    ],
                )
                .ok();
                let mode = if read_only.ends_with(":ro") {
                    "ro,"
                } else {
                    "rw,"
                };
                let flags = done.stdout.split_whitespace().nth(5).unwrap_or_default();
                // Docker's older daemons leave what is mounted below writable.
                if engine.kind() == testkit::Kind::Wharf {
                    assert!(flags.starts_with(mode), "{}", done.stdout);
                }
            }
        }
        // And so do newer ones for older clients.
        let mut command = engine.docker(&[
            "run",
            "--rm",
            "-v",
            "/dev:/dev:ro",
            "busybox",
            "grep",
            " /dev/shm ",
            "/proc/self/mountinfo",
        ]);
        command.env("DOCKER_API_VERSION", "1.41");
        let done = testkit::run(command, b"").ok();
        let flags = done.stdout.split_whitespace().nth(5).unwrap_or_default();
        assert!(flags.starts_with("rw,"), "{}", done.stdout);
    });
}

#[test]
fn mounts_go_on_into_a_container_if_their_source_can() {
    Engine::run(|engine| {
        engine.load_busybox();
        let host = |args: &[&str]| {
            let mut command = engine.sandbox().command(args[0]);
            command.args(&args[1..]);
            run(command, b"").ok();
        };
        let folder = engine.folder().join("tree");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.to_str().unwrap();
        host(&["mount", "-t", "tmpfs", "--make-private", "none", path]);
        host(&["mkdir", &format!("{path}/late")]);
        for (mode, kind) in [("rshared", "shared"), ("slave", "shared or slave")] {
            let bind = format!("{path}/late:/b:{mode}");
            for client in [Engine::d, Engine::w] {
                let done = client(engine, &["run", "--rm", "-v", &bind, "busybox", "true"]);
                let sentence =
                    format!("path {path}/late is mounted on {path} but it is not a {kind} mount");
                assert!(
                    done.status == 125 && done.stderr.contains(&sentence),
                    "{}",
                    done.stderr
                );
            }
        }
        host(&["mount", "--make-shared", path]);
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "cc",
                "-v",
                &format!("{path}:/b:rslave"),
                "busybox",
                "sleep",
                "1000",
            ])
            .ok();
        host(&["mount", "-t", "tmpfs", "none", &format!("{path}/late")]);
        host(&["touch", &format!("{path}/late/seen")]);
        let seen = engine.d(&["exec", "cc", "ls", "/b/late"]).ok();
        assert_eq!(seen.text(), "seen");
        engine.d(&["rm", "-f", "cc"]).ok();
        host(&["umount", "-R", path]);
    });
}

const MEMORY: [&str; 8] = [
    "volume",
    "create",
    "-o",
    "type=tmpfs",
    "-o",
    "device=tmpfs",
    "-o",
    "o=size=10m,uid=1000",
];

#[track_caller]
fn is_mounted(engine: &Engine, volume: &str) -> bool {
    let place = engine.d(&["volume", "inspect", "-f", "{{.Mountpoint}}", volume]);
    let mut command = engine.sandbox().command("cat");
    command.arg("/proc/self/mountinfo");
    let place = format!(" {} ", place.ok().text());
    run(command, b"").ok().stdout.contains(&place)
}

#[test]
fn memory_as_a_volume_is_shared_as_long_as_somebody_uses_it() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            client(engine, &[&MEMORY[..], &["mem"]].concat()).ok();
            let options = client(engine, &["volume", "inspect", "-f", "{{.Options}}", "mem"]);
            assert_eq!(
                options.ok().text(),
                "map[device:tmpfs o:size=10m,uid=1000 type:tmpfs]"
            );
            assert!(!is_mounted(engine, "mem"));
            // Filled from the image's folder, as any other.
            let command = "echo first > /etc/mine; exec sleep 1000";
            let args = ["run", "-d", "--name", "one", "-v", "mem:/etc", "busybox"];
            client(engine, &[&args[..], &["sh", "-c", command]].concat()).ok();
            eventually("the file is there", SOON, || {
                let read = client(engine, &["exec", "one", "cat", "/etc/mine"]);
                (read.stdout == "first\n").then_some(())
            });
            let look = |command: &str| {
                let args = ["run", "--rm", "-v", "mem:/v", "busybox", "sh", "-c"];
                client(engine, &[&args[..], &[command]].concat())
                    .ok()
                    .stdout
            };
            let seen = look("cat /v/mine; ls /v; grep ' /v ' /proc/mounts");
            for part in ["first\n", "passwd\n", "size=10240k,uid=1000"] {
                // Docker fills it when the container is made, and unmounts it again.
                if part == "passwd\n" && engine.kind() != Kind::Wharf {
                    continue;
                }
                assert!(seen.contains(part), "{part}: {seen}");
            }
            if engine.kind() == Kind::Wharf {
                engine.kill_daemon();
                engine.start_daemon();
                assert_eq!(look("cat /v/mine"), "first\n");
            }
            assert!(is_mounted(engine, "mem"));
            client(engine, &["volume", "rm", "mem"]).fails_with(1);
            client(engine, &["rm", "-f", "one"]).ok();
            assert!(!is_mounted(engine, "mem"));
            assert_eq!(look("ls /v"), "");
            client(engine, &["volume", "rm", "mem"]).ok();
            // One that goes with its container.
            let option = "type=volume,dst=/v,volume-opt=type=tmpfs,volume-opt=device=tmpfs,\
                          volume-opt=o=size=3m";
            let args = ["run", "--rm", "--mount", option, "busybox", "cat"];
            let mounts = client(engine, &[&args[..], &["/proc/mounts"]].concat()).ok();
            assert!(mounts.stdout.contains(" /v tmpfs rw,relatime,size=3072k"));
            assert_eq!(client(engine, &["volume", "ls", "-q"]).ok().text(), "");
        }
    });
}

#[test]
fn a_container_that_ends_without_a_daemon_leaves_no_volume_mounted() {
    Engine::run(|engine| {
        if engine.kind() != Kind::Wharf {
            return;
        }
        engine.load_busybox();
        engine.d(&[&MEMORY[..], &["mem"]].concat()).ok();
        let args = ["run", "-d", "--name", "one", "-v", "mem:/v", "busybox"];
        engine.d(&[&args[..], &["sleep", "1000"]].concat()).ok();
        let pid = engine.d(&["inspect", "-f", "{{.State.Pid}}", "one"]).ok();
        engine.kill_daemon();
        engine.sandbox().kill(pid.text().parse().unwrap(), "KILL");
        engine.start_daemon();
        eventually("the end is known", SOON, || {
            let state = engine.d(&["inspect", "-f", "{{.State.Status}}", "one"]);
            (state.ok().text() == "exited").then_some(())
        });
        assert!(!is_mounted(engine, "mem"));
        engine.d(&["start", "one"]).ok();
        assert!(is_mounted(engine, "mem"));
        engine.d(&["rm", "-f", "one"]).ok();
        engine.d(&["volume", "rm", "mem"]).ok();
    });
}

#[test]
fn a_folder_of_the_host_as_a_volume_is_left_as_it_is() {
    Engine::run(|engine| {
        engine.load_busybox();
        let folder = engine.folder();
        fs::write(folder.join("file"), "of the host\n").unwrap();
        let device = format!("device={}", folder.display());
        for client in [Engine::d, Engine::w] {
            let args = ["volume", "create", "-o", "type=none", "-o", &device];
            client(engine, &[&args[..], &["-o", "o=bind,ro", "host"]].concat()).ok();
            let args = ["run", "--rm", "-v", "host:/v", "busybox", "sh", "-c"];
            let script = "cat /v/file; touch /v/other || echo refused";
            let done = client(engine, &[&args[..], &[script]].concat()).ok();
            assert_eq!(done.stdout, "of the host\nrefused\n");
            client(engine, &["volume", "rm", "host"]).ok();
            assert_eq!(
                fs::read_to_string(folder.join("file")).unwrap(),
                "of the host\n"
            );
        }
    });
}

#[test]
fn a_volume_that_can_not_be_mounted_leaves_nothing() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let args = ["volume", "create", "-o", "type=tmpfs", "-o"];
            let more = ["device=tmpfs", "-o", "o=size=zz", "bad"];
            client(engine, &[&args[..], &more].concat()).ok();
            let args = ["run", "--name", "cc", "-v", "bad:/v", "busybox", "true"];
            let done = client(engine, &args).fails_with(125);
            assert!(
                done.stderr
                    .contains("failed to mount local volume: mount tmpfs:")
                    && done.stderr.contains("data: size=zz: invalid argument"),
                "{}",
                done.stderr
            );
            client(engine, &["rm", "cc"]).ok();
            client(engine, &["volume", "rm", "bad"]).ok();
        }
    });
}

#[test]
fn names_that_say_no_more_than_another_are_pruned() {
    Engine::run(|engine| {
        engine.load_busybox();
        for name in ["box:1", "box:2", "zz:9"] {
            engine.d(&["tag", "busybox", name]).ok();
        }
        engine.d(&["create", "--name", "user", "box:1"]).ok();
        let pruned = engine.d(&["image", "prune", "-f"]).ok();
        assert_eq!(pruned.stdout, "Total reclaimed space: 0B\n");
        let pruned = engine.d(&["image", "prune", "-af"]).ok();
        let left = engine
            .d(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
            .ok();
        // Docker keeps the last in order whoever uses which.
        let kept = match engine.kind() {
            Kind::Wharf => "box:1",
            Kind::Dockerd => "zz:9",
        };
        assert_eq!(left.text(), kept);
        let gone = ["box:1", "box:2", "busybox:latest", "zz:9"];
        for name in gone.iter().filter(|name| **name != kept) {
            let line = format!("untagged: {name}\n");
            assert!(pruned.stdout.contains(&line), "{}", pruned.stdout);
        }
        assert!(!pruned.stdout.contains("deleted"), "{}", pruned.stdout);
        engine.d(&["rm", "user"]).ok();
    });
}
