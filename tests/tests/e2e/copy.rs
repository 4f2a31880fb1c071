//! `cp` and the API behind it: running and stopped containers, by both clients.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, Instant};

use testkit::{Engine, Finished, Kind, run};

/// One of the clients.
type Client = fn(&Engine, &[&str]) -> Finished;

/// Both clients, each with a name for its own files.
const CLIENTS: [(&str, Client); 2] = [("d", Engine::d), ("w", Engine::w)];

/// A container with a few files, a volume at /vol and the same one, read-only, at /rovol.
fn made(engine: &Engine, name: &str, command: &str, flags: &[&str]) {
    let volume = format!("{name}-data");
    let (vol, rovol) = (format!("{volume}:/vol"), format!("{volume}:/rovol:ro"));
    let files = format!(
        "mkdir -p /d/sub; echo x > /d/f; echo y > /d/sub/g; ln -s f /d/l; ln -s /d /dl; ln -s nosuch /broken; ln /d/f /d/hard; mkfifo /d/p; {command}"
    );
    let mut args = vec!["create", "--name", name, "-v", &vol, "-v", &rovol];
    args.extend(flags);
    args.extend(["busybox", "sh", "-c", &files]);
    engine.d(&args).ok();
}

#[test]
fn files_and_folders_go_in_and_come_out() {
    Engine::run(|engine| {
        engine.load_busybox();
        made(
            engine,
            "up",
            "touch /ready; exec sleep 1000",
            &["--tmpfs", "/mem"],
        );
        made(engine, "down", "true", &[]);
        engine.d(&["start", "up"]).ok();
        engine.d(&["start", "-a", "down"]).ok();
        testkit::eventually("the files are there", Duration::from_secs(30), || {
            (engine.d(&["exec", "up", "test", "-e", "/ready"]).status == 0).then_some(())
        });
        let here = engine.folder();
        fs::create_dir_all(here.join("dir/sub")).unwrap();
        fs::write(here.join("file"), "hello\n").unwrap();
        fs::write(here.join("dir/a"), "a").unwrap();
        fs::write(here.join("dir/sub/b"), vec![9; 3_000_000]).unwrap();
        symlink("sub/b", here.join("dir/out")).unwrap();
        symlink("file", here.join("link")).unwrap();
        let path = |name: &str| here.join(name).display().to_string();
        for (by, client) in CLIENTS {
            for name in ["up", "down"] {
                let at = |path: &str| format!("{name}:{path}");
                let cp = |from: &str, to: &str| client(engine, &["cp", from, to]);
                let out = path(&format!("out-{by}-{name}"));
                fs::create_dir(&out).unwrap();
                // In, and out again by another name.
                let top = format!("/new-{by}");
                cp(&path("dir"), &at(&top)).ok();
                cp(&path("dir"), &at(&top)).ok();
                cp(&at(&top), &format!("{out}/back")).ok();
                for inside in ["back", "back/dir"] {
                    let inside = format!("{out}/{inside}");
                    assert_eq!(
                        fs::read(format!("{inside}/sub/b")).unwrap(),
                        vec![9; 3_000_000]
                    );
                    let link = fs::read_link(format!("{inside}/out"));
                    assert_eq!(link.unwrap().to_str(), Some("sub/b"));
                }
                cp(&path("dir/."), &at(&format!("{top}-flat"))).ok();
                cp(&at(&format!("{top}-flat/.")), &format!("{out}/flat")).ok();
                assert_eq!(fs::read(format!("{out}/flat/a")).unwrap(), b"a");
                // Names that are given, links that are followed and links that are not.
                cp(&path("file"), &at("/d/l")).ok();
                cp(&at("/d/f"), &format!("{out}/one")).ok();
                assert_eq!(fs::read(format!("{out}/one")).unwrap(), b"hello\n");
                cp(&at("/dl"), &format!("{out}/dl")).ok();
                assert!(
                    fs::symlink_metadata(format!("{out}/dl"))
                        .unwrap()
                        .is_symlink()
                );
                client(engine, &["cp", "-L", &at("/dl"), &format!("{out}/dl2")]).ok();
                cp(&at("/dl/"), &format!("{out}/dl3")).ok();
                for folder in ["dl2", "dl3"] {
                    let (f, hard) = (
                        format!("{out}/{folder}/hard"),
                        format!("{out}/{folder}/sub/g"),
                    );
                    assert_eq!(fs::read(f).unwrap(), b"x\n");
                    assert_eq!(fs::read(hard).unwrap(), b"y\n");
                }
                client(engine, &["cp", "-L", &path("link"), &at("/followed")]).ok();
                cp(&at("/followed"), &out).ok();
                assert!(
                    fs::symlink_metadata(format!("{out}/followed"))
                        .unwrap()
                        .is_file()
                );
                // Volumes, and where nothing may be written.
                cp(&path("file"), &at("/vol/v")).ok();
                cp(&at("/rovol/v"), &format!("{out}/v")).ok();
                assert_eq!(fs::read(format!("{out}/v")).unwrap(), b"hello\n");
                let told = cp(&path("file"), &at("/rovol/no")).fails_with(1);
                assert!(
                    told.stderr.contains("mounted volume is marked read-only"),
                    "{}",
                    told.stderr
                );
                // As a stream.
                let mut sent = match by {
                    "d" => engine.docker(&["cp", &at("/d/f"), "-"]),
                    _ => engine.wharf(&["cp", &at("/d/f"), "-"]),
                };
                let tar = sent.output().unwrap().stdout;
                assert_eq!(tar.len(), 2048);
                sent = match by {
                    "d" => engine.docker(&["cp", "-", &at("/d/sub")]),
                    _ => engine.wharf(&["cp", "-", &at("/d/sub")]),
                };
                run(sent, &tar).ok();
                cp(&at("/d/sub/f"), &format!("{out}/streamed")).ok();
                assert_eq!(fs::read(format!("{out}/streamed")).unwrap(), b"hello\n");
                // How much it was.
                let told = client(engine, &["cp", "-q=false", &path("file"), &at("/d/")]).ok();
                assert_eq!(
                    told.stderr.trim(),
                    format!("Successfully copied 2.05kB to {name}:/d/")
                );
            }
        }
        if engine.kind() == Kind::Wharf {
            // What is in memory, too: docker's daemon would copy beneath it.
            engine.w(&["cp", &path("file"), "up:/mem/x"]).ok();
            let seen = engine.d(&["exec", "up", "cat", "/mem/x"]).ok();
            assert_eq!(seen.text(), "hello");
        }
    });
}

#[test]
fn a_container_that_never_ran_and_one_that_is_read_only() {
    Engine::run(|engine| {
        engine.load_busybox();
        let here = engine.folder();
        fs::write(here.join("file"), "hello\n").unwrap();
        let file = here.join("file").display().to_string();
        let create = [
            "create",
            "--name",
            "fresh",
            "-v",
            "data:/made/vol",
            "-v",
            "etc:/etc",
        ];
        engine
            .d(&[&create[..], &["busybox", "cat", "/made/vol/x", "/etc/mine"]].concat())
            .ok();
        for (_, client) in CLIENTS {
            client(engine, &["cp", &file, "fresh:/made/vol/x"]).ok();
            client(engine, &["cp", &file, "fresh:/etc/mine"]).ok();
            let got = client(engine, &["cp", "fresh:/etc/passwd", "-"]).ok();
            assert!(got.stdout.contains("root:"), "{}", got.stdout);
        }
        assert_eq!(
            engine.d(&["start", "-a", "fresh"]).ok().stdout,
            "hello\nhello\n"
        );
        engine
            .d(&[
                "create",
                "--name",
                "ro",
                "--read-only",
                "-v",
                "data:/v",
                "busybox",
                "true",
            ])
            .ok();
        for (_, client) in CLIENTS {
            let told = client(engine, &["cp", &file, "ro:/"]).fails_with(1);
            assert!(
                told.stderr.contains("container rootfs is marked read-only"),
                "{}",
                told.stderr
            );
            client(engine, &["cp", &file, "ro:/v/"]).ok();
        }
        // One that removes itself, and has a root that was made ahead.
        for round in 0..3 {
            let id = engine.d(&["create", "--rm", "busybox", "cat", "/put"]).ok();
            engine
                .w(&["cp", &file, &format!("{}:/put", id.text())])
                .ok();
            let ran = engine.d(&["start", "-a", id.text()]).ok();
            assert_eq!(ran.stdout, "hello\n", "{round}");
        }
    });
}

#[test]
fn who_owns_the_files_and_what_is_told_of_them() {
    Engine::run(|engine| {
        engine.load_busybox();
        let here = engine.folder();
        fs::write(here.join("file"), "hello\n").unwrap();
        std::os::unix::fs::chown(here.join("file"), Some(5), Some(6)).unwrap();
        let file = here.join("file").display().to_string();
        engine
            .d(&[
                "run", "-d", "--name", "c", "-u", "app", "busybox", "sleep", "1000",
            ])
            .ok();
        for (_, client) in CLIENTS {
            client(engine, &["cp", &file, "c:/plain"]).ok();
            client(engine, &["cp", "-a", &file, "c:/archive"]).ok();
            let seen = engine
                .d(&["exec", "c", "stat", "-c", "%u:%g", "/plain", "/archive"])
                .ok();
            assert_eq!(seen.stdout, "5:6\n1000:1000\n");
            engine
                .d(&["exec", "-u", "0", "c", "rm", "/plain", "/archive"])
                .ok();
            let out = here.join("mine").display().to_string();
            engine
                .d(&[
                    "exec",
                    "-u",
                    "0",
                    "c",
                    "sh",
                    "-c",
                    "echo x > /theirs; chown 7:8 /theirs",
                ])
                .ok();
            client(engine, &["cp", "c:/theirs", &out]).ok();
            let meta = fs::metadata(&out).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (0, 0));
        }
        for (method, query, status, told) in [
            ("GET", "", 400, "bad parameter: pathcannot be empty"),
            ("PUT", "", 400, "bad parameter: pathcannot be empty"),
            (
                "GET",
                "?path=/nosuch",
                404,
                "Could not find the file /nosuch in container c",
            ),
            (
                "PUT",
                "?path=/nosuch",
                404,
                "Could not find the file /nosuch in container c",
            ),
            (
                "PUT",
                "?path=/etc/passwd",
                400,
                "extraction point is not a directory",
            ),
            (
                "GET",
                "?path=/etc/passwd/x",
                500,
                "lstat /etc/passwd/x: not a directory",
            ),
            ("PUT", "?path=/etc", 500, "unexpected EOF"),
        ] {
            if engine.kind() == Kind::Dockerd && status >= 400 {
                // Other words and statuses before release 28.
                continue;
            }
            let url = format!("/v1.50/containers/c/archive{query}");
            let answer = engine
                .ask(method, &url, "application/x-tar", b"junk")
                .unwrap();
            assert_eq!(answer.0, status, "{method} {query}: {}", answer.1);
            assert!(
                answer.1.contains(&format!("\"message\":\"{told}\"")),
                "{}",
                answer.1
            );
        }
    });
}

#[test]
fn links_that_are_swapped_meanwhile_never_lead_to_the_host() {
    Engine::run(|engine| {
        engine.load_busybox();
        let here = engine.folder();
        fs::create_dir_all(here.join("secret")).unwrap();
        fs::write(here.join("secret/file"), "of the host").unwrap();
        fs::create_dir_all(here.join("in/t")).unwrap();
        for number in 0..200 {
            fs::write(here.join(format!("in/t/{number}")), "in").unwrap();
        }
        let secret = here.join("secret").display().to_string();
        // A folder that is a link to the host's folder half of the time.
        let swap = format!(
            "mkdir /w; ln -s {secret} /w/link; mkdir /w/real; echo inside > /w/real/file; touch /ready; while :; do mv /w/real /w/t; mv /w/t /w/real; mv /w/link /w/t; mv /w/t /w/link; done"
        );
        engine
            .d(&["run", "-d", "--name", "c", "busybox", "sh", "-c", &swap])
            .ok();
        let source = here.join("in/.").display().to_string();
        let until = Instant::now() + Duration::from_secs(4);
        let mut tries = 0;
        while Instant::now() < until || tries < 5 {
            tries += 1;
            // What comes of it differs: the folder, the link, or neither.
            let got = engine.w(&["cp", "c:/w/t/file", "-"]);
            assert!(!got.stdout.contains("of the host"));
            engine.w(&["cp", &source, "c:/w"]);
            engine.w(&["cp", &here.join("in/t/1").display().to_string(), "c:/w/t/"]);
            let left: Vec<_> = fs::read_dir(here.join("secret")).unwrap().collect();
            assert_eq!(left.len(), 1);
        }
    });
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_of_a_copy_leaves_nothing() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        engine.load_busybox();
        let here = engine.folder();
        fs::write(here.join("large"), vec![1; 64 << 20]).unwrap();
        let large = here.join("large").display().to_string();
        for start in [false, true] {
            engine
                .d(&[
                    "create",
                    "--name",
                    "c",
                    "-v",
                    "data:/data",
                    "busybox",
                    "sleep",
                    "1000",
                ])
                .ok();
            if start {
                engine.d(&["start", "c"]).ok();
            }
            let mut copy = engine.wharf(&["cp", &large, "c:/data/"]);
            let mut copy = copy.stderr(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(20));
            engine.kill_daemon();
            copy.wait().unwrap();
            engine.start_daemon();
            engine.w(&["cp", &large, "c:/data/"]).ok();
            let size = engine.w(&["cp", "c:/data/large", "-"]).ok().stdout.len();
            assert!(size > 64 << 20);
            engine.d(&["rm", "-f", "c"]).ok();
        }
    });
}

/// Neither client may make of a file, which nobody named, a link to itself.
#[test]
fn a_link_that_comes_out_takes_the_place_of_a_link() {
    Engine::run(|engine| {
        engine.load_busybox();
        let folder = engine.folder();
        let (precious, place) = (folder.join("precious"), folder.join("place"));
        fs::write(&precious, "kept").unwrap();
        let script = format!("ln -s {} /link", precious.display());
        let run = ["run", "--name", "box", "busybox", "sh", "-c", &script];
        engine.d(&run).ok();
        for target in [&precious, &folder.join("nowhere")] {
            let _ = fs::remove_file(&place);
            std::os::unix::fs::symlink(target, &place).unwrap();
            engine.w(&["cp", "box:/link", place.to_str().unwrap()]).ok();
            assert_eq!(fs::read_link(&place).unwrap(), precious);
            assert!(fs::symlink_metadata(&precious).unwrap().is_file());
            assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
            assert!(!folder.join("nowhere").exists());
        }
        engine.d(&["rm", "box"]).ok();
    });
}
