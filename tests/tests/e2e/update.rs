//! Limits and the restart policy of containers that exist already.

use std::time::Duration;

use testkit::{Engine, Kind, eventually};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn limits_of_a_running_container_change_at_once_and_stay() {
    Engine::run(|engine| {
        engine.load_busybox();
        let version = engine.w(&["info", "--format", "{{.CgroupVersion}}"]).ok();
        let (memory, pids) = match version.text() {
            "2" => ("memory.max", "pids.max"),
            _ => ("memory/memory.limit_in_bytes", "pids/pids.max"),
        };
        let read = |file: &str| {
            let path = format!("/sys/fs/cgroup/{file}");
            let done = engine.d(&["exec", "cc", "cat", &path]).ok();
            done.text().to_owned()
        };
        let kept = || {
            let fields = "{{.Memory}} {{.MemorySwap}} {{.PidsLimit}} {{.CpuShares}}";
            let format = format!("{{{{with .HostConfig}}}}{fields}{{{{end}}}}");
            let done = engine.d(&["inspect", "-f", &format, "cc"]).ok();
            done.text().to_owned()
        };
        for client in [Engine::d, Engine::w] {
            let run = [
                "run",
                "-d",
                "--name",
                "cc",
                "-m",
                "64m",
                "--memory-swap=64m",
            ];
            let more = ["--pids-limit", "50", "busybox", "sleep", "1000"];
            client(engine, &[&run[..], &more].concat()).ok();
            assert_eq!((read(memory), read(pids)), ("67108864".into(), "50".into()));
            let update = ["update", "-m", "32m", "--memory-swap", "48m"];
            let more = ["--pids-limit", "20", "--cpu-shares", "512", "cc"];
            let done = client(engine, &[&update[..], &more].concat()).ok();
            assert_eq!(done.stdout, "cc\n");
            let limits = ("33554432".to_owned(), "20".to_owned());
            assert_eq!((read(memory), read(pids)), limits);
            assert_eq!(kept(), "33554432 50331648 20 512");
            client(engine, &["restart", "-t", "0", "cc"]).ok();
            assert_eq!((read(memory), read(pids)), limits);
            if engine.kind() == Kind::Wharf {
                engine.kill_daemon();
                engine.start_daemon();
                assert_eq!(kept(), "33554432 50331648 20 512");
            }
            client(engine, &["update", "--pids-limit", "-1", "cc"]).ok();
            assert_eq!((read(memory), read(pids)), (limits.0, "max".into()));
            // A stopped one has them from its next start on.
            client(engine, &["stop", "-t", "0", "cc"]).ok();
            client(engine, &["update", "--pids-limit", "30", "cc"]).ok();
            client(engine, &["start", "cc"]).ok();
            assert_eq!(read(pids), "30");
            client(engine, &["rm", "-f", "cc"]).ok();
        }
    });
}

#[test]
fn a_restart_policy_changes_while_the_container_runs() {
    Engine::run(|engine| {
        engine.load_busybox();
        let field = |format: &str| {
            let done = engine.d(&["inspect", "-f", format, "cc"]).ok();
            done.text().to_owned()
        };
        let kill = || {
            let pid = field("{{.State.Pid}}").parse().unwrap();
            engine.sandbox().kill(pid, "KILL");
        };
        for client in [Engine::d, Engine::w] {
            let run = ["run", "-d", "--name", "cc", "busybox", "sleep", "1000"];
            client(engine, &run).ok();
            client(engine, &["update", "--restart", "on-failure:7", "cc"]).ok();
            let format = "{{.HostConfig.RestartPolicy}}";
            assert_eq!(field(format), "{on-failure 7}");
            kill();
            eventually("it was started again", SOON, || {
                let state = field("{{.RestartCount}} {{.State.Status}}");
                (state == "1 running").then_some(())
            });
            // Docker's pause before the first restart.
            let times = "{{.State.FinishedAt}} {{.State.StartedAt}}";
            assert!(pause(engine, &field(times)) >= 0.1);
            client(engine, &["update", "--restart", "no", "cc"]).ok();
            kill();
            eventually("it is left alone", SOON, || {
                (field("{{.State.Status}}") == "exited").then_some(())
            });
            client(engine, &["rm", "cc"]).ok();
        }
    });
}

/// Seconds from the first to the second of two times, as a container tells them of its end and its start.
fn pause(engine: &Engine, times: &str) -> f64 {
    let seconds = |time: &str| -> f64 {
        let mut date = engine.sandbox().command("date");
        date.args(["-d", time, "+%s.%N"]);
        testkit::run(date, b"").ok().text().parse().unwrap()
    };
    let (end, start) = times.split_once(' ').unwrap();
    seconds(start) - seconds(end)
}

#[test]
fn limits_change_between_two_runs_too() {
    Engine::run(|engine| {
        engine.load_busybox();
        // It waits longer and longer.
        let args = ["run", "-d", "--name", "cc", "--restart", "always", "-v"];
        let script = "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max > /v/limit 2>&1";
        let more = ["--pids-limit", "50", "busybox", "sh", "-c", script];
        let folder = engine.folder().join("told");
        std::fs::create_dir(&folder).unwrap();
        let bind = format!("{}:/v", folder.display());
        engine
            .d(&[&args[..], &[bind.as_str()], &more].concat())
            .ok();
        let field = |format: &str| {
            let done = engine.d(&["inspect", "-f", format, "cc"]).ok();
            done.text().to_owned()
        };
        // Two seconds and more lie between its runs by then.
        eventually("it waits", SOON, || {
            let state = field("{{.RestartCount}} {{.State.Status}}");
            let (count, status) = state.split_once(' ').unwrap();
            (count.parse::<u32>().unwrap() >= 4 && status == "restarting").then_some(())
        });
        engine.d(&["update", "--pids-limit", "20", "cc"]).ok();
        eventually("the next run has it", SOON, || {
            let told = std::fs::read_to_string(folder.join("limit")).unwrap_or_default();
            told.lines().any(|line| line == "20").then_some(())
        });
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

#[test]
fn changes_that_can_not_be_are_refused_and_leave_all_as_it_was() {
    Engine::run(|engine| {
        engine.load_busybox();
        let args = ["run", "-d", "--rm", "--name", "cc", "-m", "64m", "busybox"];
        engine.d(&[&args[..], &["sleep", "1000"]].concat()).ok();
        for client in [Engine::d, Engine::w] {
            for (args, words) in [
                (&["cc"][..], "you must provide one or more flags"),
                (&["--restart", "always", "cc"], "AutoRemove is enabled"),
                (&["-m", "1m", "cc"], "Minimum memory limit allowed is 6MB"),
                (
                    &["-m", "1g", "cc"],
                    "update the memoryswap at the same time",
                ),
                (&["--restart", "perhaps", "cc"], "invalid restart policy"),
                (&["-m", "32m", "nothing"], "No such container: nothing"),
            ] {
                let done = client(engine, &[&["update"], args].concat()).fails_with(1);
                let is_older = engine.kind() == Kind::Dockerd && words.starts_with("invalid");
                assert!(is_older || done.stderr.contains(words), "{}", done.stderr);
            }
        }
        let memory = engine.d(&["inspect", "-f", "{{.HostConfig.Memory}}", "cc"]);
        assert_eq!(memory.ok().text(), "67108864");
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

/// In hierarchies of version 1 a container is in a group of its own only once it has a limit there: who comes later has to be
/// in it, too.
#[test]
fn a_limit_that_came_later_holds_for_later_execs_and_runs() {
    Engine::run(|engine| {
        engine.load_busybox();
        let first = "while :; do sleep 0.1; done";
        let run = [
            "run",
            "-d",
            "--restart",
            "always",
            "--name",
            "cc",
            "busybox",
        ];
        engine.d(&[&run[..], &["sh", "-c", first]].concat()).ok();
        let told = |args: &[&str]| {
            let cpus = ["grep", "Cpus_allowed_list", "/proc/self/status"];
            let done = engine.d(&[&["exec"], args, &["cc"], &cpus].concat()).ok();
            done.text().rsplit('\t').next().unwrap().to_owned()
        };
        let before = told(&[]);
        for cpus in ["0", "1", "0"] {
            engine.d(&["update", "--cpuset-cpus", cpus, "cc"]).ok();
            assert_eq!(told(&[]), cpus);
            let main = ["exec", "cc", "grep", "Cpus_allowed_list", "/proc/1/status"];
            assert!(engine.d(&main).ok().text().ends_with(cpus));
        }
        assert_ne!(before, "0", "this test needs two processors");
        // The next run by the restart policy.
        let starts = ["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "cc"];
        engine.sandbox().kill(
            engine
                .sandbox()
                .processes()
                .iter()
                .find(|one| one.command.ends_with(first))
                .unwrap()
                .pid,
            "KILL",
        );
        eventually("it runs again", SOON, || {
            (engine.d(&starts).ok().text() == "1 running").then_some(())
        });
        assert_eq!(told(&[]), "0");
        let main = ["exec", "cc", "grep", "Cpus_allowed_list", "/proc/1/status"];
        assert!(engine.d(&main).ok().text().ends_with('0'));
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}
