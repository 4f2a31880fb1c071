//! `diff`, `export`, `commit` and `import`: what a container changed, and images made of that.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use testkit::{Engine, Finished, Kind, run};

type Client = fn(&Engine, &[&str]) -> Finished;

const CLIENTS: [(&str, Client); 2] = [("d", Engine::d), ("w", Engine::w)];

const CHANGES: &str = "echo new > /new; rm /etc/group; chmod 700 /home; mkdir -p /a/b; ln -s new /link; echo v > /vol/v; echo t > /tmp/t";

#[test]
fn what_a_container_changed_is_told_exported_and_committed() {
    Engine::run(|engine| {
        engine.load_busybox();
        let here = engine.folder();
        engine
            .d(&[
                "run", "--name", "gone", "-v", "/vol", "busybox", "sh", "-c", CHANGES,
            ])
            .ok();
        let wait = format!("{CHANGES}; touch /ready; exec sleep 1000");
        engine
            .d(&[
                "run", "-d", "--name", "lives", "-v", "/vol", "busybox", "sh", "-c", &wait,
            ])
            .ok();
        testkit::eventually("the files are there", Duration::from_secs(30), || {
            (engine.d(&["exec", "lives", "test", "-e", "/ready"]).status == 0).then_some(())
        });
        for (by, client) in CLIENTS {
            for name in ["gone", "lives"] {
                let told = client(engine, &["diff", name]).ok();
                let mut lines: Vec<_> = told
                    .stdout
                    .lines()
                    .filter(|line| !line.contains("ready"))
                    .collect();
                lines.sort_unstable();
                let expected = [
                    "A /a",
                    "A /a/b",
                    "A /link",
                    "A /new",
                    "A /tmp/t",
                    "A /vol",
                    "C /etc",
                    "C /home",
                    "C /tmp",
                    "D /etc/group",
                ];
                assert_eq!(lines, expected, "{name}");

                let out = here.join(format!("{by}-{name}.tar")).display().to_string();
                client(engine, &["export", "-o", &out, name]).ok();
                let listed = std::process::Command::new("tar")
                    .args(["tf", &out])
                    .output()
                    .unwrap();
                let listed = String::from_utf8(listed.stdout).unwrap();
                let has = |path: &str| {
                    listed
                        .lines()
                        .any(|line| line.trim_end_matches('/') == path)
                };
                assert!(has("new") && has("bin/busybox") && has("a/b") && has("vol"));
                assert!(!has("vol/v") && !has("etc/group"), "{listed}");

                // An image of either, which has the change and none of the volume's files.
                let tag = format!("{by}-{name}:1");
                let args = [
                    "commit",
                    "-a",
                    "me",
                    "-m",
                    "why",
                    "-c",
                    "ENV A=b",
                    "-c",
                    "CMD cat /new",
                    name,
                    &tag,
                ];
                let id = client(engine, &args).ok();
                assert!(id.text().starts_with("sha256:"), "{}", id.stdout);
                let ran = engine.d(&[
                    "run",
                    "--rm",
                    &tag,
                    "sh",
                    "-c",
                    "cat /new; ls /vol; echo $A; ls /etc/group",
                ]);
                assert_eq!(ran.stdout, "new\nb\n");
                assert_eq!(engine.d(&["run", "--rm", &tag]).ok().stdout, "new\n");
                let told = client(
                    engine,
                    &[
                        "inspect",
                        "-f",
                        "{{.Author}} {{.Comment}} {{len .RootFS.Layers}}",
                        &tag,
                    ],
                )
                .ok();
                assert_eq!(told.text(), "me why 2");
                let told = client(engine, &["history", "--format", "{{.Comment}}", &tag]).ok();
                assert_eq!(told.stdout.lines().next(), Some("why"));
                let status = engine
                    .d(&["inspect", "-f", "{{.State.Status}}", "lives"])
                    .ok();
                assert_eq!(status.text(), "running");

                // What was exported makes an image, too, and that one goes through an archive.
                let args = [
                    "import",
                    "-m",
                    "from",
                    "-c",
                    "CMD [\"cat\", \"/new\"]",
                    &out,
                    "made:2",
                ];
                client(engine, &args).ok();
                assert_eq!(engine.d(&["run", "--rm", "made:2"]).ok().stdout, "new\n");
                let saved = here.join("saved.tar").display().to_string();
                client(engine, &["save", "-o", &saved, "made:2", &tag]).ok();
                engine.d(&["rmi", "made:2", &tag]).ok();
                client(engine, &["load", "-i", &saved]).ok();
                assert_eq!(engine.d(&["run", "--rm", "made:2"]).ok().stdout, "new\n");
                assert_eq!(engine.d(&["run", "--rm", &tag]).ok().stdout, "new\n");
                engine.d(&["rmi", "made:2", &tag]).ok();
            }
        }
        // Nothing changed: no layer.
        engine
            .d(&["create", "--name", "same", "busybox", "true"])
            .ok();
        engine.d(&["commit", "same", "same:1"]).ok();
        let told = engine
            .d(&["inspect", "-f", "{{len .RootFS.Layers}}", "same:1"])
            .ok();
        assert_eq!(told.text(), "1");
        engine.d(&["rmi", "same:1"]).ok();
        engine.d(&["rm", "-fv", "gone", "lives", "same"]).ok();
    });
}

#[test]
fn an_image_that_is_pruned_while_it_is_committed_from_is_whole_or_not_made() {
    Engine::run(|engine| {
        engine.load_busybox();
        for round in 0..5 {
            let name = format!("c{round}");
            let fill = "for i in $(seq 300); do echo $i > /f$i; done";
            engine
                .d(&["run", "--name", &name, "busybox", "sh", "-c", fill])
                .ok();
            let tag = format!("made:{round}");
            let mut commit = engine.wharf(&["commit", &name, &tag]);
            let commit = commit
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            engine.d(&["rm", "-f", &name]).ok();
            engine.d(&["image", "prune", "-af"]).ok();
            let made = commit.wait_with_output().unwrap().status.success();
            if made && engine.d(&["image", "inspect", &tag]).status == 0 {
                let ran = engine
                    .d(&["run", "--rm", &tag, "sh", "-c", "ls / | grep -c ^f"])
                    .ok();
                assert_eq!(ran.text(), "300");
                engine.d(&["rmi", "-f", &tag]).ok();
            }
            engine.load_busybox();
        }
    });
}

#[test]
fn a_daemon_that_is_killed_while_it_commits_leaves_no_layer_and_no_frozen_container() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        engine.load_busybox();
        let fill =
            "dd if=/dev/urandom of=/big bs=1M count=40 2>/dev/null; touch /ready; exec sleep 1000";
        engine
            .d(&["run", "-d", "--name", "c", "busybox", "sh", "-c", fill])
            .ok();
        testkit::eventually("the file is there", Duration::from_secs(60), || {
            (engine.d(&["exec", "c", "test", "-e", "/ready"]).status == 0).then_some(())
        });
        let archive = engine.folder().join("c.tar").display().to_string();
        engine.w(&["export", "-o", &archive, "c"]).ok();
        for delay in [5, 30, 80, 200] {
            for args in [
                &["commit", "c", "cut:1"][..],
                &["import", &archive, "cut:1"],
            ] {
                let mut command = engine.wharf(args);
                let mut child = command
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                std::thread::sleep(Duration::from_millis(delay));
                engine.kill_daemon();
                child.wait().unwrap();
                engine.start_daemon();
                // It answers: it is not frozen.
                let status = engine.d(&["inspect", "-f", "{{.State.Status}}", "c"]).ok();
                assert_eq!(status.text(), "running");
                engine.d(&["exec", "c", "true"]).ok();
                if engine.d(&["image", "inspect", "cut:1"]).status == 0 {
                    let ran = engine
                        .d(&["run", "--rm", "cut:1", "stat", "-c", "%s", "/big"])
                        .ok();
                    assert_eq!(ran.text(), "41943040");
                    engine.d(&["rmi", "-f", "cut:1"]).ok();
                }
            }
        }
        engine.d(&["rm", "-f", "c"]).ok();
        engine.d(&["image", "prune", "-af"]).ok();
        let layers = engine.data_root().join("v1/layers");
        let numbers = |entry: fs::DirEntry| entry.file_name().to_string_lossy().parse::<u64>().ok();
        testkit::eventually("no layer is left", Duration::from_secs(30), || {
            let left = fs::read_dir(&layers)
                .unwrap()
                .flatten()
                .filter_map(numbers)
                .count();
            // The image inside the program has one.
            (left <= 1).then_some(())
        });
    });
}

#[test]
fn an_archive_that_is_none_makes_no_image() {
    Engine::run(|engine| {
        engine.load_busybox();
        let before = engine.d(&["images", "-aq"]).ok().stdout;
        for (_, words) in CLIENTS.iter().zip([Engine::docker, Engine::wharf]) {
            let junk = run(words(engine, &["import", "-"]), &[b'x'; 2000]);
            assert_eq!(junk.status, 1, "{}", junk.stderr);
        }
        assert_eq!(engine.d(&["images", "-aq"]).ok().stdout, before);
    });
}
