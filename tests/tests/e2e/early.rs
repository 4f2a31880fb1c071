//! What a program's first words lead to: it speaks before its start is written down.

use std::io::Read as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::Engine;

use super::streams::{UPGRADE, ask, attach, create, remove, start, unframed};

const ROUNDS: usize = 20;

#[test]
fn whoever_has_heard_a_program_finds_it_running() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = "trap 'exit 11' INT; echo ready; while :; do sleep 0.02; done";
        let ask = |method: &str, path: &str, body: &str| {
            let path = format!("/containers/early{path}");
            engine
                .ask(method, &path, "application/json", body.as_bytes())
                .unwrap()
        };
        for round in 0..ROUNDS {
            let run = ["run", "--rm", "--name", "early", "busybox", "sh", "-c"];
            let mut client = engine
                .docker(&[&run[..], &[script]].concat())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut heard = [0; 6];
            let mut output = client.stdout.take().unwrap();
            output.read_exact(&mut heard).unwrap();
            let interrupt = || {
                let mut kill = Command::new("kill");
                kill.args(["-INT", &client.id().to_string()]);
                testkit::run(kill, b"").ok();
            };
            match round % 5 {
                0 => assert_eq!(ask("DELETE", "", "").0, 409, "round {round}"),
                1 => assert!(ask("GET", "/json", "").1.contains("\"Running\":true")),
                2 => assert_eq!(ask("GET", "/top", "").0, 200),
                3 => assert_eq!(ask("POST", "/exec", "{\"Cmd\":[\"true\"]}").0, 201),
                _ => std::thread::scope(|scope| {
                    let end = scope.spawn(|| ask("POST", "/wait", ""));
                    interrupt();
                    let (status, text) = end.join().unwrap();
                    assert_eq!(status, 200);
                    assert!(text.contains("\"StatusCode\":11"), "{text}");
                }),
            }
            // It may have ended by now.
            if round % 5 != 4 {
                interrupt();
            }
            assert_eq!(client.wait().unwrap().code(), Some(11), "round {round}");
        }
    });
}

/// The other end of it: whoever reads to the end of what was said finds the container ended, with its status.
#[test]
fn whoever_has_read_to_the_end_finds_it_ended() {
    Engine::run(|engine| {
        engine.load_busybox();
        for round in 0..ROUNDS {
            for (tty, network) in [(false, "none"), (true, "bridge")] {
                let more = json!({"Tty": tty, "HostConfig": {"NetworkMode": network}});
                let container = create(engine, &["sh", "-c", "echo out; exit 3"], more);
                let query = "stream=1&stdout=1&stderr=1";
                let mut wire = attach(engine, "1.41", &container, query, UPGRADE, b"");
                wire.head();
                start(engine, &container);
                wire.rest();
                let path = format!("/v1.41/containers/{container}/json");
                let (_, shown) = ask(engine, "GET", &path, &Value::Null);
                let state = &shown["State"];
                assert_eq!(state["Status"], "exited", "round {round}: {state}");
                assert_eq!(state["ExitCode"], 3, "round {round}: {state}");
                remove(engine, &container);
            }
        }
    });
}

/// A daemon that does not get to write it down is not waited for long.
#[test]
fn an_end_comes_to_clients_of_a_daemon_that_is_stopped() {
    Engine::run(|engine| {
        engine.load_busybox();
        let container = create(engine, &["sh", "-c", "sleep 1; echo out"], Value::Null);
        let query = "stream=1&stdout=1&stderr=1";
        let mut wire = attach(engine, "1.41", &container, query, UPGRADE, b"");
        wire.head();
        start(engine, &container);
        let daemon = engine.daemon();
        let status = std::fs::read_to_string(daemon.folder.join("status")).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        let (daemon, wrapper) = (daemon.pid, parent.unwrap().trim().parse().unwrap());
        engine.sandbox().kill(daemon, "STOP");
        let (out, _) = unframed(&wire.rest());
        assert_eq!(out, "out\n");
        engine.sandbox().kill(daemon, "CONT");
        // Who entered the sandbox for it has stopped itself with it.
        engine.sandbox().kill(wrapper, "CONT");
        remove(engine, &container);
    });
}
