//! A container is dead when its shim is, and only then: not when it can not be reached, nor before its journal is read.

use std::fs;
use std::time::Duration;

use testkit::{Detour, Engine, connect_to_shim, eventually};

/// How long what follows an event may take on a slow machine.
const SOON: Duration = Duration::from_secs(20);

fn ask(engine: &Engine, format: &str, name: &str) -> String {
    let done = engine.d(&["inspect", "-f", format, name]).ok();
    done.text().to_owned()
}

fn state(engine: &Engine, name: &str) -> String {
    ask(engine, "{{.State.Status}} {{.State.Pid}}", name)
}

fn id(engine: &Engine, name: &str) -> String {
    ask(engine, "{{.Id}}", name)
}

/// Runs a command until it succeeds.
fn soon(engine: &Engine, args: &[&str]) {
    eventually("the supervisor is reached again", SOON, || {
        (engine.d(args).status == 0).then_some(())
    });
}

/// Everything that was told of one container, oldest first: action and exit status.
fn told(engine: &Engine, name: &str, actions: &[&str]) -> Vec<String> {
    let format = "{{.Action}} {{.Actor.Attributes.exitCode}}";
    let filter = format!("container={name}");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let until = (now.as_secs() + 1).to_string();
    let line = [
        "events", "--since", "0", "--until", &until, "--filter", &filter, "--format", format,
    ];
    let done = engine.d(&line).ok();
    done.stdout
        .lines()
        .map(|line| line.replace(" <no value>", ""))
        .filter(|line| actions.iter().any(|action| line.starts_with(action)))
        .collect()
}

#[test]
fn a_broken_connection_is_not_the_end_of_a_shim() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        let before = state(engine, "cc");
        for _ in 0..3 {
            let shim = engine.shim_of("sleep 1000");
            eventually("there is a connection", SOON, || {
                (engine.sever(&shim) > 0).then_some(())
            });
            soon(engine, &["exec", "cc", "true"]);
            assert_eq!(state(engine, "cc"), before);
        }
        // What ends while the connection is broken is heard all the same, and a stop is as gentle as ever.
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "polite",
                "busybox",
                "sh",
                "-c",
                "trap 'exit 9' TERM; touch /ready; while :; do sleep 0.05; done",
            ])
            .ok();
        soon(engine, &["exec", "polite", "test", "-e", "/ready"]);
        let first = engine
            .sandbox()
            .processes()
            .into_iter()
            .find(|process| process.command.contains("trap 'exit 9'"))
            .unwrap();
        engine.sever(&engine.shim_of(&first.command));
        engine.d(&["stop", "polite"]).ok();
        assert_eq!(ask(engine, "{{.State.ExitCode}}", "polite"), "9");
        engine.sever(&engine.shim_of("sleep 1000"));
        let first = engine
            .sandbox()
            .processes()
            .into_iter()
            .find(|process| process.command == "sleep 1000")
            .unwrap();
        engine.sandbox().kill(first.pid, "TERM");
        engine.sandbox().kill(first.pid, "KILL");
        eventually("the end is known", SOON, || {
            ask(engine, "{{.State.Status}} {{.State.ExitCode}}", "cc")
                .eq("exited 137")
                .then_some(())
        });
        assert_eq!(ask(engine, "{{.State.Error}}", "cc"), "");
        assert_eq!(told(engine, "cc", &["start", "die"]), ["start", "die 137"]);
    });
}

#[test]
fn an_exec_whose_connection_breaks_before_the_answer_is_followed() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        let shim = engine.shim_of("sleep 1000");
        let engine = &*engine;
        let in_flight = |words: &[&str]| {
            engine.sandbox().kill(shim.pid, "STOP");
            std::thread::scope(|scope| {
                let words = [&["exec"], words].concat();
                let client = scope.spawn(move || engine.d(&words));
                eventually("the exec is asked for", SOON, || {
                    let exec = ask(engine, "{{range .ExecIDs}}{{.}}{{end}}", "cc");
                    let path = format!("/exec/{exec}/json");
                    let (_, body) = engine.ask("GET", &path, "", b"")?;
                    body.contains("\"Running\":true").then_some(())
                });
                assert!(engine.sever(&shim) > 0);
                engine.sandbox().kill(shim.pid, "CONT");
                client.join().unwrap()
            })
        };
        let done = in_flight(&["cc", "sh", "-c", "echo once >> /times; cat /times; exit 7"]);
        assert_eq!(
            (done.stdout.as_str(), done.status),
            ("once\n", 7),
            "{done:?}"
        );
        // Why one can not be started is told too.
        let missing = in_flight(&["cc", "nosuch"]);
        assert_eq!(missing.status, 127, "{missing:?}");
        assert!(
            missing.stdout.contains("executable file not found"),
            "{missing:?}"
        );
        let done = in_flight(&["-d", "cc", "sh", "-c", "echo twice >> /times; sleep 1000"]);
        assert_eq!((done.stderr.as_str(), done.status), ("", 0));
        soon(engine, &["exec", "cc", "grep", "-c", "twice", "/times"]);
        assert_eq!(ask(engine, "{{len .ExecIDs}}", "cc"), "1");
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

#[test]
fn an_exec_in_flight_when_the_daemon_dies_is_known_to_the_next() {
    Engine::run(|engine| {
        engine.load_busybox();
        let shared = engine.folder();
        let volume = format!("{}:/shared", shared.display());
        let args = ["run", "-d", "--name", "cc", "-v", &volume];
        let args = [&args[..], &["busybox", "sleep", "1000"]].concat();
        engine.d(&args).ok();
        let answer = |exec: &str| engine.ask("GET", &format!("/exec/{exec}/json"), "", b"");
        // The former daemon heard of this one's end, and nobody asked it yet.
        let waits = "while [ ! -e /shared/heard ]; do sleep 0.05; done; exit 5";
        engine.d(&["exec", "-d", "cc", "sh", "-c", waits]).ok();
        let heard = ask(engine, "{{index .ExecIDs 0}}", "cc");
        fs::write(shared.join("heard"), "").unwrap();
        eventually("its end is heard", SOON, || {
            (ask(engine, "{{len .ExecIDs}}", "cc") == "0").then_some(())
        });
        // This one the former daemon asks for, and never hears of.
        let shim = engine.shim_of("sleep 1000");
        engine.sandbox().kill(shim.pid, "STOP");
        let waits = "while [ ! -e /shared/go ]; do sleep 0.05; done; exit 7";
        let mut client = engine.docker(&["exec", "-d", "cc", "sh", "-c", waits]);
        let mut client = client.stderr(std::process::Stdio::null()).spawn().unwrap();
        let exec = eventually("the exec is asked for", SOON, || {
            let exec = ask(engine, "{{range .ExecIDs}}{{.}}{{end}}", "cc");
            let (_, body) = answer(&exec)?;
            body.contains("\"Running\":true").then_some(exec)
        });
        engine.kill_daemon();
        client.wait().unwrap();
        engine.sandbox().kill(shim.pid, "CONT");
        eventually("the exec runs", SOON, || {
            let mut all = engine.sandbox().processes().into_iter();
            all.find(|process| process.command.ends_with(waits))
        });
        engine.start_daemon();
        let container = id(engine, "cc");
        let (status, body) = answer(&heard).unwrap();
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("\"Running\":false") && body.contains("\"ExitCode\":5"));
        eventually("it is known that it runs", SOON, || {
            let (_, body) = answer(&exec)?;
            let known = body.contains("\"Running\":true") && body.contains(&container);
            known.then_some(())
        });
        assert_eq!(ask(engine, "{{index .ExecIDs 0}}", "cc"), exec);
        fs::write(shared.join("go"), "").unwrap();
        eventually("its end is known", SOON, || {
            let (_, body) = answer(&exec)?;
            let ended = body.contains("\"Running\":false") && body.contains("\"ExitCode\":7");
            ended.then_some(())
        });
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

/// `docker exec … && deploy` must not go on.
#[test]
fn an_exec_whose_shim_is_killed_has_failed() {
    Engine::run(|engine| {
        engine.load_busybox();
        for (client, name) in [(Engine::d as fn(&_, &_) -> _, "one"), (Engine::w, "two")] {
            engine
                .d(&["run", "-d", "--name", name, "busybox", "sleep", "1000"])
                .ok();
            let engine = &*engine;
            let done = std::thread::scope(|scope| {
                let exec = scope.spawn(|| client(engine, &["exec", name, "sleep", "999"]));
                eventually("the exec runs", SOON, || {
                    let processes = engine.sandbox().processes();
                    let mut running = processes.iter();
                    running.any(|p| p.command == "sleep 999").then_some(())
                });
                let shim = engine.shim_of("sleep 1000");
                engine.sandbox().kill(shim.pid, "KILL");
                exec.join().unwrap()
            });
            assert_eq!(done.status, 137, "{done:?}");
            assert_eq!(
                told(engine, name, &["exec_die", "die"]),
                ["exec_die 137", "die 137"]
            );
            engine.d(&["rm", "-f", name]).ok();
        }
    });
}

#[test]
fn a_shim_that_accepts_nobody_holds_up_no_daemon_and_keeps_its_container() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        let before = state(engine, "cc");
        let folder = engine.shim_folder(&id(engine, "cc"));
        let shim = engine.shim_of("sleep 1000");
        engine.sandbox().kill(shim.pid, "STOP");
        engine.kill_daemon();
        let queue: Vec<_> = std::iter::from_fn(|| connect_to_shim(&folder))
            .take(100)
            .collect();
        assert!(queue.len() < 100);
        engine.start_daemon();
        assert_eq!(state(engine, "cc"), before);
        engine.sandbox().kill(shim.pid, "CONT");
        drop(queue);
        soon(engine, &["exec", "cc", "true"]);
        assert_eq!(state(engine, "cc"), before);
    });
}

#[test]
fn a_daemon_with_too_few_descriptors_kills_no_container() {
    Engine::run(|engine| {
        engine.load_busybox();
        let open = fs::read_dir(engine.daemon().folder.join("fd"))
            .unwrap()
            .count();
        let names: Vec<String> = (0..24).map(|number| format!("c{number}")).collect();
        for name in &names {
            engine
                .w(&["run", "-d", "--name", name, "busybox", "sleep", "1000"])
                .ok();
        }
        let states = |engine: &Engine| -> Vec<String> {
            names.iter().map(|name| state(engine, name)).collect()
        };
        let before = states(engine);
        engine.kill_daemon();
        let length = engine.log().len();
        // It may end for want of descriptors, or go on; whatever it does, it does no harm.
        let limit = format!("--nofile={0}:{0}", open + 4);
        let daemon = engine.start_daemon_by(&["prlimit", &limit]);
        eventually("it has tried all", SOON, || {
            let log = engine.log();
            let tried = log[length..].contains("can not be reached");
            (tried || daemon.is_finished()).then_some(())
        });
        assert!(engine.log()[length..].contains("Too many open files"));
        // It ends by itself, or is ended.
        let processes = engine.sandbox().processes();
        for process in processes
            .iter()
            .filter(|one| one.command.contains(" daemon "))
        {
            let mut kill = engine.sandbox().command("kill");
            kill.args(["-KILL", &process.pid.to_string()]);
            testkit::run(kill, b"");
        }
        daemon.join().unwrap();
        engine.start_daemon();
        assert_eq!(states(engine), before);
        for name in &names {
            engine.w(&["exec", name, "true"]).ok();
        }
    });
}

#[test]
fn a_daemon_that_runs_out_of_descriptors_finds_its_shims_once_it_has_some() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        let before = state(engine, "cc");
        let daemon = engine.daemon();
        let limit = |most: usize| {
            let mut command = engine.sandbox().command("prlimit");
            command
                .arg(format!("--pid={}", daemon.pid))
                .arg(format!("--nofile={most}:"));
            testkit::run(command, b"").ok();
        };
        // Numbers below the limit may be free: none above it is given away.
        limit(3);
        assert!(engine.sever(&engine.shim_of("sleep 1000")) > 0);
        eventually("the daemon has looked for the shim", SOON, || {
            let log = engine.log();
            (log.contains("can not be reached") && log.contains("Too many open files"))
                .then_some(())
        });
        limit(1024);
        soon(engine, &["exec", "cc", "true"]);
        assert_eq!(state(engine, "cc"), before);
    });
}

#[test]
fn a_shim_whose_socket_is_lost_lives_as_long_as_it_keeps_its_journal() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        let before = state(engine, "cc");
        let detour = Detour::new(engine, &id(engine, "cc"));
        detour.refuse();
        engine.sever(&engine.shim_of("sleep 1000"));
        eventually("the daemon has looked for the shim", SOON, || {
            engine.log().contains("can not be reached").then_some(())
        });
        // The next daemon has to find that out by itself.
        engine.kill_daemon();
        let length = engine.log().len();
        engine.start_daemon();
        assert!(engine.log()[length..].contains("can not be reached"));
        assert_eq!(state(engine, "cc"), before);
        detour.close();
        soon(engine, &["exec", "cc", "true"]);
        assert_eq!(state(engine, "cc"), before);
    });
}

#[test]
fn what_happens_before_a_shim_takes_the_connection_is_heard() {
    Engine::run(|engine| {
        engine.load_busybox();
        let shared = engine.folder();
        let volume = format!("{}:/shared", shared.display());
        engine
            .d(&[
                "run", "-d", "--name", "cc", "-v", &volume, "busybox", "sleep", "1000",
            ])
            .ok();
        let waits = "while [ ! -e /shared/go ]; do sleep 0.05; done; exit 7";
        engine.d(&["exec", "-d", "cc", "sh", "-c", waits]).ok();
        let exec = ask(engine, "{{index .ExecIDs 0}}", "cc");
        let id = id(engine, "cc");
        engine.kill_daemon();
        let detour = Detour::new(engine, &id);
        engine.start_daemon();
        fs::write(shared.join("go"), "").unwrap();
        // The record names the exec.
        eventually("the shim has written the end down", SOON, || {
            let journal = fs::read(engine.shim_folder(&id).join("journal")).unwrap();
            journal
                .windows(exec.len())
                .any(|window| window == exec.as_bytes())
                .then_some(())
        });
        // A newer shim may tell what this daemon has no word for: an event of the kind 200, by header and one field.
        let unknown = [
            b"WHRF".as_slice(),
            &[1, 0, 9, 0, 5, 0, 0, 0, 0, 0],
            &[3, 0, 1, 0, 0, 0, 200],
        ];
        let threads = detour.open(&unknown.concat());
        eventually("the end of the exec is known", SOON, || {
            let path = format!("/exec/{exec}/json");
            let (_, body) = engine.ask("GET", &path, "", b"")?;
            let ended = body.contains("\"Running\":false") && body.contains("\"ExitCode\":7");
            ended.then_some(())
        });
        let log = engine.log();
        assert!(!log.contains("supervisor failed") && !log.contains("can not be reached"));
        engine.d(&["rm", "-f", "cc"]).ok();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Lives that end with 1, 2, 3 …, the first once `go` is there, the others at once up to the one that waits for `end`.
fn lives(waiting: &str) -> String {
    format!(
        "n=$(wc -l < /shared/lives); n=$((n+1)); echo >> /shared/lives; \
         [ $n = 1 ] && while [ ! -e /shared/go ]; do sleep 0.05; done; \
         [ $n = {waiting} ] && while [ ! -e /shared/end ]; do sleep 0.05; done; exit $n"
    )
}

#[test]
fn every_life_without_a_daemon_is_told_and_the_last_one_counts() {
    Engine::run(|engine| {
        engine.load_busybox();
        let shared = engine.folder();
        fs::write(shared.join("lives"), "").unwrap();
        let volume = format!("{}:/shared", shared.display());
        let script = lives("none");
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "cc",
                "--restart",
                "on-failure:3",
                "-v",
                &volume,
                "busybox",
                "sh",
                "-c",
                &script,
            ])
            .ok();
        let id = id(engine, "cc");
        engine.kill_daemon();
        fs::write(shared.join("go"), "").unwrap();
        // With the last life, and no daemon, the shim ends too: nobody listens at its socket.
        eventually("the shim ends", SOON, || {
            engine
                .sandbox()
                .processes()
                .iter()
                .all(|process| !process.command.contains("lives"))
                .then(|| fs::read_to_string(shared.join("lives")).unwrap())
                .filter(|lives| lives.len() == 4)
        });
        eventually("the shim ends", SOON, || {
            let listening =
                fs::read_to_string(engine.sandbox().root().join("proc/1/net/unix")).unwrap();
            (!listening.contains(&id)).then_some(())
        });
        engine.start_daemon();
        let format = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}";
        assert_eq!(ask(engine, format, "cc"), "exited 4 3");
        assert_eq!(
            told(engine, "cc", &["start", "die"]),
            [
                "start", "die 1", "start", "die 2", "start", "die 3", "start", "die 4"
            ]
        );
    });
}

#[test]
fn a_shim_that_was_killed_without_a_daemon_is_replaced_where_the_policy_says_so() {
    Engine::run(|engine| {
        engine.load_busybox();
        let shared = engine.folder();
        fs::write(shared.join("lives"), "").unwrap();
        let volume = format!("{}:/shared", shared.display());
        let script = lives("3");
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "cc",
                "--restart",
                "always",
                "-p",
                "8080:80",
                "-v",
                &volume,
                "busybox",
                "sh",
                "-c",
                &script,
            ])
            .ok();
        engine.kill_daemon();
        fs::write(shared.join("go"), "").unwrap();
        let third = eventually("the third life runs", SOON, || {
            let lives = fs::read_to_string(shared.join("lives")).unwrap();
            let mut processes = engine.sandbox().processes().into_iter();
            let first = processes.find(|process| process.command.contains("lives"))?;
            (lives.len() == 3).then_some(first)
        });
        let shim = engine.shim_of(&third.command);
        engine.sandbox().kill(shim.pid, "KILL");
        engine.start_daemon();
        eventually("it runs again", SOON, || {
            let lives = fs::read_to_string(shared.join("lives")).unwrap();
            (lives.len() > 3).then_some(())
        });
        let told = told(engine, "cc", &["start", "die"]);
        let expected = [
            "start", "die 1", "start", "die 2", "start", "die 137", "start",
        ];
        assert_eq!(told[..expected.len()], expected);
        // Every life but the first is a restart, whoever made it.
        eventually("all restarts are counted", SOON, || {
            let count = ask(engine, "{{.RestartCount}}", "cc");
            let lives = fs::read_to_string(shared.join("lives")).unwrap();
            (lives.len() > 4 && count == (lives.len() - 1).to_string()).then_some(())
        });
        engine.d(&["rm", "-f", "cc"]).ok();
        // Neither address nor port is held by a life that is over.
        engine
            .d(&["run", "--rm", "-p", "8080:80", "busybox", "true"])
            .ok();
    });
}

#[test]
fn a_shim_that_replaces_another_goes_on_counting_restarts() {
    Engine::run(|engine| {
        engine.load_busybox();
        let shared = engine.folder();
        let volume = format!("{}:/shared", shared.display());
        // Each life is ended with its shim as long as it waits, and by itself after that.
        let script =
            "echo >> /shared/lives; while [ -e /shared/wait ]; do sleep 0.05; done; exit 5";
        let kill = |life: usize| {
            let process = eventually("a life that waits", SOON, || {
                let lives = fs::read_to_string(shared.join("lives")).unwrap();
                let mut processes = engine.sandbox().processes().into_iter();
                let first = processes.find(|process| process.command.contains("lives"))?;
                (lives.len() == life).then_some(first)
            });
            let shim = engine.shim_of(&process.command);
            engine.sandbox().kill(shim.pid, "KILL");
        };
        let ends = |name: &str, expected: &[&str]| {
            eventually("it stays ended", SOON, || {
                let format = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}";
                (ask(engine, format, name) == expected[0]).then_some(())
            });
            assert_eq!(told(engine, name, &["die"]), expected[1..]);
        };
        let run = |name: &str, policy: &str| {
            fs::write(shared.join("lives"), "").unwrap();
            fs::write(shared.join("wait"), "").unwrap();
            let words = [
                "run",
                "-d",
                "--name",
                name,
                "--restart",
                policy,
                "-v",
                &volume,
            ];
            engine
                .d(&[&words[..], &["busybox", "sh", "-c", script]].concat())
                .ok();
        };
        run("thrice", "on-failure:3");
        kill(1);
        kill(2);
        fs::remove_file(shared.join("wait")).unwrap();
        ends(
            "thrice",
            &["exited 5 3", "die 137", "die 137", "die 5", "die 5"],
        );
        // A start by somebody counts from none.
        engine.d(&["start", "thrice"]).ok();
        eventually("all lives are over", SOON, || {
            let lives = fs::read_to_string(shared.join("lives")).unwrap();
            (lives.len() == 8).then_some(())
        });
        engine.d(&["rm", "-f", "thrice"]).ok();
        // The last life may end with its shim too.
        run("once", "on-failure:1");
        kill(1);
        kill(2);
        ends("once", &["exited 137 1", "die 137", "die 137"]);
        engine.d(&["rm", "once"]).ok();
    });
}

#[test]
fn a_daemon_may_have_more_open_files_than_its_containers() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.stop_daemon();
        let daemon = engine.start_daemon_by(&["prlimit", "--nofile=1000:5000"]);
        engine.wait_until_it_answers();
        let limits = fs::read_to_string(engine.daemon().folder.join("limits")).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap();
        let words: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
        assert_eq!(words, ["5000", "5000"]);
        let done = engine
            .d(&[
                "run",
                "--rm",
                "busybox",
                "sh",
                "-c",
                "ulimit -Sn; ulimit -Hn",
            ])
            .ok();
        assert_eq!(done.stdout, "1000\n5000\n");
        // A launcher that is made again is no different.
        let launcher = engine
            .sandbox()
            .processes()
            .into_iter()
            .find(|process| process.command.contains("launcher"))
            .unwrap();
        engine.sandbox().kill(launcher.pid, "KILL");
        for _ in 0..3 {
            let done = engine
                .d(&["run", "--rm", "busybox", "sh", "-c", "ulimit -Sn"])
                .ok();
            assert_eq!(done.stdout, "1000\n");
        }
        drop(daemon);
    });
}
