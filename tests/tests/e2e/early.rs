//! What a program's first words lead to: it speaks before its start is written down.

use std::io::Read as _;
use std::process::{Command, Stdio};

use testkit::Engine;

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
