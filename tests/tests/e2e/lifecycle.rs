//! What happens to a container between its creation and its removal.

use std::time::Duration;

use testkit::{Engine, Kind, Options, eventually, run};

fn state(engine: &Engine, name: &str) -> String {
    engine
        .d(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}}",
            name,
        ])
        .ok()
        .text()
        .to_owned()
}

#[test]
fn a_container_is_made_started_stopped_and_started_again() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            client(
                engine,
                &[
                    "create",
                    "--name",
                    "cc",
                    "busybox",
                    "sh",
                    "-c",
                    "trap 'exit 5' TERM; echo run >> /runs; cat /runs; while :; do sleep 0.1; done",
                ],
            )
            .ok();
            assert_eq!(state(engine, "cc"), "created 0");
            assert_eq!(client(engine, &["start", "cc"]).ok().stdout, "cc\n");
            eventually("the log", Duration::from_secs(5), || {
                (engine.d(&["logs", "cc"]).stdout == "run\n").then_some(())
            });
            assert_eq!(client(engine, &["stop", "cc"]).ok().stdout, "cc\n");
            assert_eq!(state(engine, "cc"), "exited 5");
            client(engine, &["start", "cc"]).ok();
            // What was written before is still there.
            eventually("the second log", Duration::from_secs(5), || {
                (engine.d(&["logs", "cc"]).stdout == "run\nrun\nrun\n").then_some(())
            });
            client(engine, &["restart", "cc"]).ok();
            assert_eq!(state(engine, "cc"), "running 0");
            let refused = client(engine, &["rm", "cc"]).fails_with(1).stderr;
            let words = match engine.kind() {
                Kind::Wharf => {
                    "cannot remove container \"cc\": container is running: stop the container before removing or force remove"
                }
                // The words of 20.10.
                Kind::Dockerd => "You cannot remove a running container",
            };
            assert!(refused.contains(words), "{refused}");
            client(engine, &["kill", "cc"]).ok();
            assert_eq!(client(engine, &["wait", "cc"]).ok().text(), "137");
            client(engine, &["rm", "cc"]).ok();
        }
    });
}

#[test]
fn a_paused_container_makes_no_progress_and_can_be_killed() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "cc",
                "busybox",
                "sh",
                "-c",
                "while :; do echo x >> /n; sleep 0.01; done",
            ])
            .ok();
        engine.w(&["pause", "cc"]).ok();
        assert_eq!(state(engine, "cc"), "paused 0");
        assert!(
            engine
                .d(&["exec", "cc", "true"])
                .fails_with(1)
                .stderr
                .contains("is paused")
        );
        engine.w(&["unpause", "cc"]).ok();
        engine.d(&["exec", "cc", "true"]).ok();
        engine.d(&["pause", "cc"]).ok();
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

#[test]
fn a_frozen_container_dies_at_once_whenever_it_is_killed() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["create", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        // Its supervisor may be gone before the engine has done all that a kill is: that is no failure.
        for _ in 0..20 {
            engine.w(&["start", "cc"]).ok();
            engine.w(&["pause", "cc"]).ok();
            assert_eq!(engine.w(&["kill", "cc"]).ok().stdout, "cc\n");
            assert_eq!(engine.w(&["wait", "cc"]).ok().stdout, "137\n");
        }
    });
}

#[test]
fn names_are_unique_and_can_change() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            client(engine, &["create", "--name", "one", "busybox"]).ok();
            let taken = client(engine, &["create", "--name", "one", "busybox"]);
            assert_ne!(taken.status, 0);
            assert!(
                taken.stderr.contains(
                    "Conflict. The container name \"/one\" is already in use by container"
                ),
                "{}",
                taken.stderr
            );
            client(engine, &["rename", "one", "two"]).ok();
            assert_eq!(
                engine
                    .d(&["ps", "-a", "--format", "{{.Names}}"])
                    .ok()
                    .text(),
                "two"
            );
            let bad = client(engine, &["create", "--name", "a b", "busybox"]);
            assert!(
                bad.stderr.contains("Invalid container name"),
                "{}",
                bad.stderr
            );
            client(engine, &["rm", "two"]).ok();
            assert!(
                client(engine, &["rm", "two"])
                    .fails_with(1)
                    .stderr
                    .contains("No such container: two")
            );
        }
    });
}

#[test]
fn restart_policies_are_carried_out() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "fails",
                "--restart",
                "on-failure:2",
                "busybox",
                "sh",
                "-c",
                "exit 3",
            ])
            .ok();
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "fine",
                "--restart",
                "on-failure",
                "busybox",
                "true",
            ])
            .ok();
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "again",
                "--restart",
                "always",
                "busybox",
                "sleep",
                "0.2",
            ])
            .ok();
        let count = |name: &str| {
            engine
                .d(&["inspect", "-f", "{{.RestartCount}}", name])
                .ok()
                .text()
                .parse::<u32>()
                .unwrap()
        };
        eventually("two restarts and no third", Duration::from_secs(10), || {
            (count("fails") == 2 && state(engine, "fails") == "exited 3").then_some(())
        });
        eventually("an end without a restart", Duration::from_secs(10), || {
            (count("fine") == 0 && state(engine, "fine") == "exited 0").then_some(())
        });
        eventually("the third start", Duration::from_secs(10), || {
            (count("again") >= 2).then_some(())
        });
        // A stop is meant: no policy undoes it.
        engine.d(&["stop", "-t", "1", "again"]).ok();
        let before = count("again");
        std::thread::sleep(Duration::from_millis(800));
        assert_eq!(count("again"), before);
        assert!(state(engine, "again").starts_with("exited"));
    });
}

#[test]
fn a_command_in_a_container_has_its_own_status_user_and_folder() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&[
                "run", "-d", "--name", "cc", "-e", "A=1", "busybox", "sleep", "1000",
            ])
            .ok();
        for client in [Engine::d, Engine::w] {
            client(engine, &["exec", "cc", "sh", "-c", "exit 9"]).fails_with(9);
            client(engine, &["exec", "cc", "nope"]).fails_with(127);
            client(engine, &["exec", "-u", "nobody-here", "cc", "id"]).fails_with(1);
            let done = client(
                engine,
                &[
                    "exec",
                    "-u",
                    "app",
                    "-w",
                    "/tmp",
                    "-e",
                    "B=2",
                    "cc",
                    "sh",
                    "-c",
                    "id -u; pwd; echo $A $B",
                ],
            )
            .ok();
            assert_eq!(done.stdout, "1000\n/tmp\n1 2\n");
            assert!(
                client(engine, &["exec", "gone", "true"])
                    .fails_with(1)
                    .stderr
                    .contains("No such container: gone")
            );
        }
        let mut exec = engine.wharf(&["exec", "-i", "cc", "cat"]);
        exec.env("X", "y");
        assert_eq!(testkit::run(exec, b"through").ok().stdout, "through");
    });
}

#[test]
fn exec_ids_do_not_pile_up_in_inspect() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        for _ in 0..5 {
            engine.d(&["exec", "cc", "true"]).ok();
        }
        eventually("no exec is listed", Duration::from_secs(5), || {
            (engine
                .d(&["inspect", "-f", "{{json .ExecIDs}}", "cc"])
                .ok()
                .text()
                == "null")
                .then_some(())
        });
    });
}

#[test]
fn init_reaps_a_thousand_orphans() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = "i=0; while [ $i -lt 1000 ]; do (true &); i=$((i+1)); done; sleep 0.5; ps | grep -c '[Zz]ombie\\|\\[true\\]'; cat /proc/1/comm";
        let done = engine.d(&["run", "--rm", "--init", "busybox", "sh", "-c", script]);
        assert!(
            done.stdout.starts_with("0\n"),
            "{} {}",
            done.stdout,
            done.stderr
        );
    });
}

#[test]
fn events_tell_a_life_once_and_in_order() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "--rm", "--name", "life", "busybox", "true"])
            .ok();
        // A moment in the past is told in whole seconds.
        std::thread::sleep(Duration::from_millis(1100));
        let done = engine
            .d(&[
                "events",
                "--since",
                "1m",
                "--until",
                "0s",
                "-f",
                "container=life",
                "--format",
                "{{.Action}}",
            ])
            .ok();
        let actions: Vec<_> = done
            .stdout
            .lines()
            .filter(|action| ["create", "start", "die", "destroy"].contains(action))
            .collect();
        assert_eq!(actions, ["create", "start", "die", "destroy"]);
        assert_eq!(
            engine
                .w(&[
                    "events",
                    "--since",
                    "1m",
                    "--until",
                    "0s",
                    "-f",
                    "container=life",
                    "--format",
                    "{{.Action}}"
                ])
                .ok()
                .stdout,
            done.stdout
        );
    });
}

#[test]
fn a_container_that_removes_itself_can_be_restarted() {
    Engine::run(|engine| {
        engine.load_busybox();
        for client in [Engine::d, Engine::w] {
            let script = "[ -e /again ] || echo first > /again; cat /again; exec sleep 100";
            let run = [
                "run", "-d", "--rm", "--name", "again", "busybox", "sh", "-c",
            ];
            client(engine, &[&run[..], &[script]].concat()).ok();
            let pid = || client(engine, &["inspect", "-f", "{{.State.Pid}}", "again"]).ok();
            let before = pid().stdout;
            client(engine, &["restart", "-t", "0", "again"]).ok();
            assert_ne!(pid().stdout, before);
            assert_eq!(
                client(engine, &["exec", "again", "cat", "/again"])
                    .ok()
                    .text(),
                "first"
            );
            client(engine, &["stop", "-t", "0", "again"]).ok();
            testkit::eventually("it is gone", std::time::Duration::from_secs(10), || {
                (client(engine, &["inspect", "again"]).status == 1).then_some(())
            });
        }
    });
}

#[test]
fn a_hangup_makes_the_daemon_read_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("daemon.json");
    std::fs::write(&file, "{}").unwrap();
    let options = Options {
        flags: vec![format!("--config-file={}", file.display())],
        ..Options::default()
    };
    Engine::run_with(options, |engine| {
        let daemon = engine.daemon().pid.to_string();
        let hang_up = |text: &str, told: &str| {
            std::fs::write(&file, text).unwrap();
            let mut kill = engine.sandbox().command("kill");
            kill.args(["-HUP", &daemon]);
            run(kill, b"").ok();
            if engine.kind() == Kind::Wharf {
                eventually(told, Duration::from_secs(10), || {
                    engine.log().contains(told).then_some(())
                });
            }
        };
        hang_up("{\"log-level\":\"debug\"}", "level=\"debug\"");
        hang_up("{\"log-level\":", "the configuration stays as it is");
        assert_eq!(engine.daemon().pid.to_string(), daemon);
        engine.d(&["version"]).ok();
        if engine.kind() == Kind::Wharf {
            // The level counts for what comes after it.
            assert!(engine.log().contains("DEBUG answered"), "{}", engine.log());
        }
    });
}

#[test]
fn only_the_stop_signal_ends_a_policy() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";
        for (stops, status) in [("CONT", "running"), ("TERM", "exited")] {
            let run = [
                "run",
                "-d",
                "--name",
                "kept",
                "--restart",
                "always",
                "--stop-signal",
                stops,
                "busybox",
                "sh",
                "-c",
                script,
            ];
            engine.d(&run).ok();
            let ready = |times: usize| {
                testkit::eventually(
                    "the trap is set",
                    std::time::Duration::from_secs(20),
                    || {
                        let log = engine.d(&["logs", "kept"]).ok().stdout;
                        (log.matches("ready").count() == times).then_some(())
                    },
                );
            };
            ready(1);
            engine.d(&["kill", "-s", "TERM", "kept"]).ok();
            if status == "running" {
                ready(2);
            }
            testkit::eventually(status, std::time::Duration::from_secs(20), || {
                state(engine, "kept").starts_with(status).then_some(())
            });
            engine.d(&["rm", "-f", "kept"]).ok();
        }
    });
}
