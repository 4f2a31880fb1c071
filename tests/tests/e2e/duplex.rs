//! Programs that give before they take: a client that waited for one direction alone would wait for ever.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use testkit::{Engine, eventually};

/// More than all the buffers between a program and its client hold.
const SIZE: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_client_that_has_much_to_send_goes_on_reading() {
    Engine::run(|engine| {
        engine.load_busybox();
        let script = format!("read go; head -c {SIZE} /dev/zero | tr '\\0' o; wc -c >&2; exit 7");
        let program = ["busybox", "sh", "-c", &script];
        let mut input = b"go\n".to_vec();
        input.resize(input.len() + SIZE, b'i');
        let check = |args: &[&str]| {
            let ended = testkit::run(engine.wharf(args), &input).fails_with(7);
            assert_eq!(ended.stdout.len(), SIZE, "{args:?}");
            assert_eq!(ended.stderr.trim(), SIZE.to_string(), "{args:?}");
        };
        check(&[&["run", "-i", "--rm"][..], &program].concat());
        engine
            .d(&["run", "-d", "--name", "base", "busybox", "sleep", "1000"])
            .ok();
        check(&[&["exec", "-i", "base"][..], &program[1..]].concat());
        for name in ["late", "early"] {
            let args = [&["create", "-i", "--name", name][..], &program].concat();
            engine.d(&args).ok();
        }
        check(&["start", "-ai", "late"]);
        engine.d(&["start", "early"]).ok();
        check(&["attach", "early"]);
    });
}

#[test]
fn a_client_that_is_killed_while_bytes_flow_ends_the_programs_input() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "base", "busybox", "sleep", "1000"])
            .ok();
        let cases: [&[&str]; 2] = [
            &["run", "--rm", "-i", "--name", "echo", "busybox", "cat"],
            &["exec", "-i", "base", "cat"],
        ];
        for client in [Engine::docker, Engine::wharf] {
            for args in cases {
                let mut child = client(engine, args)
                    .stdin(std::fs::File::open("/dev/zero").unwrap())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut first = vec![0; 4 << 20];
                let mut output = child.stdout.take().unwrap();
                output.read_exact(&mut first).unwrap();
                child.kill().unwrap();
                child.wait().unwrap();
                drop(output);
                // `sleep`, `ps` and a heading, and nobody else.
                eventually("the program has ended", PATIENCE, || {
                    let names = engine.d(&["ps", "-aq", "--filter", "name=echo"]).ok();
                    let processes = engine.d(&["exec", "base", "ps"]).ok();
                    (names.stdout.is_empty() && processes.text().lines().count() == 3).then_some(())
                });
            }
        }
    });
}
