//! Clients that do not go when their container does.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Engine, eventually};

fn signal(name: &str, pid: u32) {
    let mut kill = Command::new("kill");
    kill.args([format!("-{name}"), pid.to_string()]);
    testkit::run(kill, b"").ok();
}

#[test]
fn a_client_that_stands_still_holds_up_no_start() {
    Engine::run(|engine| {
        engine.load_busybox();
        let quiet = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
        // More than sockets hold.
        let loud =
            "trap 'exit 0' TERM; echo ready; yes | head -c 4000000; while :; do sleep 0.05; done";
        for script in [quiet, loud] {
            let run = ["run", "--name", "stood", "busybox", "sh", "-c", script];
            let mut client = engine
                .wharf(&run)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut output = client.stdout.take().unwrap();
            output.read_exact(&mut [0; 6]).unwrap();
            signal("STOP", client.id());
            let begun = Instant::now();
            engine.d(&["restart", "-t", "1", "stood"]).ok();
            let taken = begun.elapsed();
            assert!(taken < Duration::from_secs(5), "{taken:?}");
            signal("CONT", client.id());
            drop(output);
            engine.d(&["rm", "-f", "stood"]).ok();
            client.wait().unwrap();
        }
    });
}

#[test]
fn the_stop_of_a_container_is_told_before_its_removal() {
    Engine::run(|engine| {
        engine.load_busybox();
        for round in 0..5 {
            let name = format!("told{round}");
            let run = [
                "run", "-d", "--rm", "--name", &name, "busybox", "sleep", "1000",
            ];
            engine.d(&run).ok();
            engine.d(&["stop", "-t", "0", &name]).ok();
            let filter = format!("container={name}");
            let events = [
                "events",
                "--since",
                "0",
                "--until",
                "0s",
                "--format",
                "{{.Action}}",
            ];
            let told = eventually("the removal is told", Duration::from_secs(30), || {
                let told = engine
                    .d(&[&events[..], &["--filter", &filter]].concat())
                    .ok();
                told.text()
                    .contains("destroy")
                    .then(|| told.text().to_owned())
            });
            let ends: Vec<&str> = told.lines().skip_while(|line| *line != "die").collect();
            assert_eq!(ends, ["die", "stop", "destroy"], "{told}");
        }
    });
}

#[test]
fn the_size_of_a_window_is_a_signal_too() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = "trap 'exit 16' WINCH; echo ready; while :; do sleep 0.05; done";
        for client in [Engine::docker, Engine::wharf] {
            let mut client = client(engine, &["run", "--rm", "busybox", "sh", "-c", script])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut output = client.stdout.take().unwrap();
            output.read_exact(&mut [0; 6]).unwrap();
            signal("WINCH", client.id());
            assert_eq!(client.wait().unwrap().code(), Some(16));
        }
        // What has no terminal takes any size.
        engine
            .d(&["run", "-d", "--name", "plain", "busybox", "sleep", "1000"])
            .ok();
        let (status, text) = engine
            .ask(
                "POST",
                "/containers/plain/resize?h=10&w=20",
                "application/json",
                b"",
            )
            .unwrap();
        assert_eq!(status, 200, "{text}");
        engine.d(&["rm", "-f", "plain"]).ok();
    });
}
