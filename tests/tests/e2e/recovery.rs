//! A daemon that is killed loses nothing.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use testkit::{Engine, eventually};

const SOON: Duration = Duration::from_secs(20);

fn state(engine: &Engine, name: &str) -> String {
    engine
        .d(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}",
            name,
        ])
        .ok()
        .text()
        .to_owned()
}

/// A process whose arguments end with these.
fn pid_of(engine: &Engine, words: &str) -> Option<u32> {
    let mut all = engine.sandbox().processes().into_iter();
    all.find(|process| process.command.ends_with(words))
        .map(|process| process.pid)
}

/// Waits until no process has one of these in its arguments.
fn ended(engine: &Engine, words: &[&str]) {
    eventually("they have ended", Duration::from_secs(60), || {
        let all = engine.sandbox().processes();
        let is_one = |command: &str| words.iter().any(|words| command.contains(words));
        (!all.iter().any(|process| is_one(&process.command))).then_some(())
    });
}

#[test]
fn containers_go_on_without_a_daemon_and_are_known_to_the_next() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "long",
                "busybox",
                "sh",
                "-c",
                "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done",
            ])
            .ok();
        engine
            .d(&[
                "run",
                "-d",
                "--name",
                "ends",
                "busybox",
                "sh",
                "-c",
                "sleep 1.02; exit 4",
            ])
            .ok();
        engine
            .d(&[
                "run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1.01",
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
                "0.7",
            ])
            .ok();
        let before = state(engine, "long");
        let first = pid_of(engine, "sleep 0.7");
        engine.kill_daemon();
        ended(engine, &["sleep 1.01", "sleep 1.02"]);
        eventually("it is restarted", Duration::from_secs(60), || {
            pid_of(engine, "sleep 0.7").filter(|pid| Some(*pid) != first)
        });
        engine.start_daemon();
        assert_eq!(state(engine, "long"), before);
        assert!(state(engine, "ends").starts_with("exited 4"));
        // Gone, and its name free, before the socket answers.
        assert_eq!(engine.d(&["ps", "-aq", "-f", "name=gone"]).ok().text(), "");
        let restarts: u32 = engine
            .d(&["inspect", "-f", "{{.RestartCount}}", "again"])
            .ok()
            .text()
            .parse()
            .unwrap();
        assert!(restarts >= 1, "{restarts}");
        // Every line of the log is there, once.
        let log = engine.d(&["logs", "long"]).ok().stdout;
        let numbers: Vec<u32> = log.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(numbers, (0..numbers.len() as u32).collect::<Vec<_>>());
        assert!(numbers.len() > 20);
        engine.d(&["exec", "long", "true"]).ok();
        engine.d(&["stop", "-t", "0", "long"]).ok();
        assert!(state(engine, "long").starts_with("exited 137"));
    });
}

#[test]
fn an_attached_client_loses_no_byte_and_wharf_learns_the_status() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = "i=0; while [ $i -lt 60 ]; do echo $i; echo $i > /out/at; i=$((i+1)); sleep 0.05; done; exit 6";
        let bind = format!("{}:/out", engine.folder().display());
        let args = ["run", "--rm", "-v", &bind, "busybox", "sh", "-c", script];
        let command = engine.wharf(&args);
        let client = std::thread::spawn(move || testkit::run(command, b""));
        let file = engine.folder().join("at");
        let comes_to = |line: u32| {
            eventually("the program has come on", Duration::from_secs(60), || {
                let at = std::fs::read_to_string(&file).ok()?;
                (at.trim().parse::<u32>().ok()? >= line).then_some(())
            });
        };
        comes_to(10);
        engine.kill_daemon();
        comes_to(20);
        engine.start_daemon();
        let done = client.join().unwrap();
        let numbers: Vec<_> = done
            .stdout
            .lines()
            .map(|line| line.parse::<u32>().unwrap())
            .collect();
        assert_eq!(numbers, (0..60).collect::<Vec<_>>());
        assert_eq!(done.status, 6, "{}", done.stderr);
    });
}

#[test]
fn the_status_of_a_container_that_ends_and_goes_without_a_daemon_is_told() {
    Engine::run(|engine| {
        engine.load_busybox();
        let command = engine.wharf(&["run", "--rm", "busybox", "sh", "-c", "sleep 1.03; exit 7"]);
        let client = std::thread::spawn(move || testkit::run(command, b""));
        let id = eventually("it runs", Duration::from_secs(5), || {
            let id = engine.w(&["ps", "-q", "--no-trunc"]).ok().text().to_owned();
            (!id.is_empty()).then_some(id)
        });
        engine.kill_daemon();
        ended(engine, &["sleep 1.03"]);
        engine.start_daemon();
        let done = client.join().unwrap();
        assert_eq!(done.status, 7, "{}", done.stderr);
        // It is remembered by its full id alone, and is gone for everything else.
        let wait = |id: &str| {
            let path = format!("/containers/{id}/wait?condition=removed");
            engine.ask("POST", &path, "", b"").unwrap()
        };
        let (status, body) = wait(&id);
        assert!(
            status == 200 && body.contains("\"StatusCode\":7"),
            "{status} {body}"
        );
        assert_eq!(wait(&id[..12]).0, 404);
        engine.w(&["inspect", &id]).fails_with(1);
    });
}

#[test]
fn published_ports_go_on_and_are_closed_by_the_next_daemon() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&[
                "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "nc", "-ll", "-p", "80",
                "-e", "hostname",
            ])
            .ok();
        let ask = |engine: &Engine| {
            let mut command = engine.sandbox().network_command("/bin/busybox");
            command.args(["nc", "-w", "2", "127.0.0.1", "8080"]);
            testkit::run(command, b"").stdout
        };
        eventually("the server answers", Duration::from_secs(5), || {
            (!ask(engine).is_empty()).then_some(())
        });
        engine.kill_daemon();
        assert!(!ask(engine).is_empty());
        engine.start_daemon();
        assert!(!ask(engine).is_empty());
        engine.d(&["rm", "-f", "web"]).ok();
        assert!(ask(engine).is_empty());
        engine
            .d(&["run", "--rm", "-p", "8080:80", "busybox", "true"])
            .ok();
    });
}

#[test]
fn a_killed_launcher_is_made_again_within_the_request() {
    Engine::run(|engine| {
        engine.load_busybox();
        let launcher = engine
            .sandbox()
            .processes()
            .into_iter()
            .find(|process| process.command.contains("launcher"))
            .expect("the launcher runs");
        engine.sandbox().kill(launcher.pid, "KILL");
        // The first may still be served by what the dead launcher had made ahead.
        for _ in 0..3 {
            engine.d(&["run", "--rm", "busybox", "true"]).ok();
        }
        let log = engine.log();
        let told = log
            .lines()
            .find(|line| line.contains("the launcher had died"));
        let told = told.unwrap_or_else(|| panic!("{log}"));
        // By the number that it has where the daemon is.
        assert!(
            told.contains("signal: 9 (SIGKILL)") && told.contains("pid="),
            "{told}"
        );
    });
}

#[test]
fn a_killed_shim_takes_its_container_with_it() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        let processes = engine.sandbox().processes();
        let container = processes
            .iter()
            .find(|process| process.command == "sleep 1000")
            .unwrap();
        engine.sandbox().kill(container.parent, "KILL");
        eventually("the end is recorded", Duration::from_secs(5), || {
            state(engine, "cc").starts_with("exited 137").then_some(())
        });
        assert_ne!(
            engine
                .d(&["inspect", "-f", "{{.State.Error}}", "cc"])
                .ok()
                .text(),
            ""
        );
        let log = engine.log();
        let told = log
            .lines()
            .find(|line| line.contains("the shim of a container died"));
        let told = told.unwrap_or_else(|| panic!("{log}"));
        assert!(
            told.contains("it is recorded as exited") && !told.contains("pid=0"),
            "{told}"
        );
        engine.d(&["start", "cc"]).ok();
    });
}

#[test]
fn a_stopped_shim_holds_up_nobody_else() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "stuck", "busybox", "sleep", "1000"])
            .ok();
        engine
            .d(&["run", "-d", "--name", "free", "busybox", "sleep", "1001"])
            .ok();
        let shim = engine
            .sandbox()
            .processes()
            .iter()
            .find(|process| process.command == "sleep 1000")
            .unwrap()
            .parent;
        engine.sandbox().kill(shim, "STOP");
        let begin = std::time::Instant::now();
        engine.d(&["ps", "-a"]).ok();
        engine.d(&["inspect", "free"]).ok();
        engine.d(&["exec", "free", "true"]).ok();
        assert!(
            begin.elapsed() < Duration::from_secs(1),
            "{:?}",
            begin.elapsed()
        );
        engine.sandbox().kill(shim, "CONT");
    });
}

#[test]
fn a_graceful_stop_leaves_containers_running() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        let before = state(engine, "cc");
        engine.stop_daemon();
        engine.start_daemon();
        assert_eq!(state(engine, "cc"), before);
    });
}

#[test]
fn the_status_of_an_exec_that_ends_without_a_daemon_is_waited_for() {
    Engine::run(|engine| {
        engine.load_busybox();
        let shared = engine.folder();
        let volume = format!("{}:/shared", shared.display());
        let args = ["run", "-d", "--name", "base", "-v", &volume];
        engine
            .d(&[&args[..], &["busybox", "sleep", "1000"]].concat())
            .ok();
        let script =
            "touch /shared/there; until [ -e /shared/go ]; do sleep 0.05; done; echo end; exit 7";
        let mut client = engine.wharf(&["exec", "base", "sh", "-c", script]);
        let mut client = client.stdout(Stdio::piped()).spawn().unwrap();
        eventually("the program runs", SOON, || {
            shared.join("there").exists().then_some(())
        });
        engine.kill_daemon();
        fs::write(shared.join("go"), "").unwrap();
        eventually("the program has ended", SOON, || {
            let mut all = engine.sandbox().processes().into_iter();
            let is_it = |command: &str| command.starts_with("sh -c touch");
            (!all.any(|process| is_it(&process.command))).then_some(())
        });
        assert!(
            client.try_wait().unwrap().is_none(),
            "it waits for a daemon"
        );
        engine.start_daemon();
        let done = client.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(7));
        assert_eq!(done.stdout, b"end\n");
        engine.d(&["rm", "-f", "base"]).ok();
    });
}

#[test]
fn what_was_made_to_go_and_was_not_started_is_gone_after_a_kill() {
    Engine::run(|engine| {
        engine.load_busybox();
        let create = [
            "create", "--rm", "-v", "/kept", "--name", "half", "busybox", "true",
        ];
        engine.d(&create).ok();
        engine.kill_daemon();
        engine.start_daemon();
        assert_eq!(engine.d(&["ps", "-aq"]).ok().stdout, "");
        assert_eq!(engine.d(&["volume", "ls", "-q"]).ok().stdout, "");
    });
}
