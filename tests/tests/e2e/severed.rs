//! Streams that are open when the daemon is killed lose no byte in either direction: their sockets are the shim's.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{Engine, Terminal};

/// Lines that go in and come out again, a mebibyte.
const LINES: usize = 1 << 15;
const WIDTH: usize = 32;

fn text() -> String {
    (0..LINES).map(|number| format!("{number:>31}\n")).collect()
}

/// Feeds a client slowly, kills the daemon in the middle and starts another; gives what came out, and the status.
fn through_a_kill(engine: &Engine, mut client: Command) -> (Vec<u8>, i32) {
    let mut child = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        output.read_to_end(&mut all).map(|_| all)
    });
    let text = text();
    let (first, rest) = text.split_at(LINES / 3 * WIDTH);
    let (second, third) = rest.split_at(LINES / 3 * WIDTH);
    let mut feed = |part: &str| {
        for piece in part.as_bytes().chunks(5000) {
            input.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    feed(first);
    std::thread::scope(|scope| {
        let feeding = scope.spawn(|| feed(second));
        engine.kill_daemon();
        feeding.join().unwrap();
    });
    engine.start_daemon();
    feed(third);
    drop(input);
    let all = reader.join().unwrap().unwrap();
    (all, child.wait().unwrap().code().unwrap_or(-1))
}

#[track_caller]
fn is_whole(found: &[u8]) {
    let text = text();
    let same = found
        .iter()
        .zip(text.as_bytes())
        .take_while(|(a, b)| a == b);
    let same = same.count();
    assert!(
        same == text.len() && found.len() == text.len(),
        "{} of {} bytes came, the first {same} as they went",
        found.len(),
        text.len()
    );
}

#[test]
fn an_attached_stream_loses_no_byte() {
    Engine::run(|engine| {
        engine.load_busybox();
        for (name, is_wharf) in [("ours", true), ("theirs", false)] {
            let script = "cat; exit 5";
            engine
                .d(&[
                    "create", "-i", "--name", name, "busybox", "sh", "-c", script,
                ])
                .ok();
            engine.d(&["start", name]).ok();
            let args = ["attach", name];
            let (found, status) = through_a_kill(
                engine,
                match is_wharf {
                    true => engine.wharf(&args),
                    false => engine.docker(&args),
                },
            );
            is_whole(&found);
            // Docker's client waits for the status on the connection that was cut.
            assert!(status == 5 || !is_wharf, "{status}");
        }
    });
}

#[test]
fn the_stream_of_a_command_loses_no_byte() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "base", "busybox", "sleep", "1000"])
            .ok();
        let args = ["exec", "-i", "base", "sh", "-c", "cat; exit 6"];
        for client in [engine.wharf(&args), engine.docker(&args)] {
            let (found, status) = through_a_kill(engine, client);
            is_whole(&found);
            assert_eq!(status, 6);
        }
    });
}

/// Types before, while and after there is no daemon.
fn type_through_a_kill(engine: &Engine, mut terminal: Terminal) -> i32 {
    let mut number = 0;
    let mut say = |terminal: &mut Terminal| {
        for _ in 0..5 {
            number += 1;
            terminal.send(&format!("echo is-$(({number} * 1000))\n"));
            terminal.expect(&format!("is-{number}000\r\n"));
        }
    };
    say(&mut terminal);
    engine.kill_daemon();
    say(&mut terminal);
    engine.start_daemon();
    say(&mut terminal);
    terminal.send("exit 9\n");
    terminal.finish().0
}

#[test]
fn terminals_lose_no_byte() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-dit", "--name", "shell", "busybox", "sh"])
            .ok();
        for command in [&["exec", "-it", "shell", "sh"][..], &["attach", "shell"]] {
            let terminal = Terminal::start(engine.wharf(command), 30, 100);
            assert_eq!(type_through_a_kill(engine, terminal), 9, "{command:?}");
        }
        engine.d(&["start", "shell"]).ok();
        assert_eq!(
            type_through_a_kill(engine, engine.terminal(&["exec", "-it", "shell", "sh"])),
            9
        );
        // Docker's client waits for the status on the connection that was cut.
        type_through_a_kill(engine, engine.terminal(&["attach", "shell"]));
    });
}
