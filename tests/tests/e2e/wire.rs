//! What both daemons send on a hijacked connection, byte by byte: each case is played on Wharf and on Docker's daemon,
//! and all that came back is compared. (`streams.rs` says what it should be, on either.)

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Engine, Kind, Options};

use super::streams::{ALL, UPGRADE, Wire, ask, attach, create, remove, start, wait};

/// A case: plays it, and tells everything that came back.
type Case = (&'static str, fn(&Engine) -> String);

const CASES: &[Case] = &[
    ("half-close", half_close),
    ("half-close without an upgrade", half_close_without_upgrade),
    ("output alone", output_alone),
    ("a terminal", terminal),
    ("StdinOnce", once),
    ("no StdinOnce", not_once),
    ("detach keys", detach_keys),
    ("detach keys of the client", own_detach_keys),
    ("wrong detach keys", wrong_detach_keys),
    ("a reader that stops", stopped_reader),
    ("resize before start", early_resize),
    ("attach after the end", late),
    ("a stream of nothing", nothing),
    ("exec", exec),
    ("exec without an upgrade", exec_without_upgrade),
    ("exec on a terminal", exec_on_terminal),
    ("exec of nothing", exec_of_nothing),
    ("exec twice", exec_twice),
];

/// Cases that differ, and why they may.
const DIFFERENT: &[(&str, &str)] = &[
    ("a stream of nothing", "Wharf tells how long its refusal is"),
    (
        "exec of nothing",
        "20.10 gives 126 where later versions give 127",
    ),
];

#[test]
fn both_daemons_send_the_same_bytes() {
    if !Path::new("/usr/sbin/dockerd").exists() {
        testkit::skip("Docker's daemon is not installed");
        return;
    }
    let (ours, theirs) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| told(Kind::Wharf));
        let theirs = scope.spawn(|| told(Kind::Dockerd));
        (ours.join().unwrap(), theirs.join().unwrap())
    });
    let mut report = String::new();
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        let may_differ = DIFFERENT.iter().any(|(listed, _)| listed == name);
        if (ours != theirs) != may_differ {
            let _ = writeln!(report, "{name}\n  Wharf:  {ours}\n  Docker: {theirs}");
        }
    }
    assert!(report.is_empty(), "{report}");
}

fn told(kind: Kind) -> Vec<(&'static str, String)> {
    let engine = Engine::start(kind, Options::default());
    engine.load_busybox();
    let found = CASES
        .iter()
        .map(|(name, play)| (*name, play(&engine)))
        .collect();
    engine.check_leaks();
    engine.stop_daemon();
    found
}

/// A head without what names the daemon and the moment.
fn head(wire: &mut Wire) -> String {
    let head = wire.head();
    let mut lines: Vec<_> = head.trim_end().split("\r\n").collect();
    lines.retain(|line| {
        let name = line.split(':').next().unwrap_or_default();
        ![
            "Server",
            "Date",
            "Api-Version",
            "Docker-Experimental",
            "Ostype",
        ]
        .contains(&name)
    });
    lines[1..].sort_unstable();
    lines.join(" | ")
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// All output, whatever frames it came in: how much a read gives is chance.
fn joined(bytes: &[u8]) -> String {
    let (out, err) = super::streams::unframed(bytes);
    format!("out {out:?} err {err:?}")
}

/// Attaches before the start, and sends all of the input at once.
fn fed(engine: &Engine, command: &[&str], more: Value, headers: &str, input: &str) -> String {
    let container = create(engine, command, more);
    let mut wire = attach(engine, "1.41", &container, ALL, headers, b"");
    let head = head(&mut wire);
    start(engine, &container);
    wire.send(input);
    wire.half_close();
    let rest = wire.rest();
    let told = format!("{head} / {} / {}", joined(&rest), wait(engine, &container));
    remove(engine, &container);
    told
}

const BOTH: &[&str] = &["sh", "-c", "cat; echo no >&2; exit 3"];

fn half_close(engine: &Engine) -> String {
    fed(engine, BOTH, Value::Null, UPGRADE, "one\ntwo")
}

fn half_close_without_upgrade(engine: &Engine) -> String {
    fed(engine, BOTH, Value::Null, "", "one\ntwo")
}

/// One write is one frame: the very bytes are compared.
fn output_alone(engine: &Engine) -> String {
    let container = create(
        engine,
        &["sh", "-c", "echo out; sleep 0.2; echo err >&2"],
        Value::Null,
    );
    let query = "stream=1&stdout=1&stderr=1";
    let mut wire = attach(engine, "1.41", &container, query, UPGRADE, b"");
    let head = head(&mut wire);
    start(engine, &container);
    let told = format!("{head} / {}", shown(&wire.rest()));
    remove(engine, &container);
    told
}

fn terminal(engine: &Engine) -> String {
    let command = ["sh", "-c", "read x; echo got $x; echo err >&2"];
    let container = create(engine, &command, json!({"Tty": true}));
    let mut wire = attach(engine, "1.41", &container, ALL, UPGRADE, b"");
    let head = head(&mut wire);
    start(engine, &container);
    wire.send("word\n");
    let told = format!("{head} / {}", shown(&wire.rest()));
    remove(engine, &container);
    told
}

fn once(engine: &Engine) -> String {
    let container = create(engine, &["cat"], Value::Null);
    let mut wire = attach(engine, "1.41", &container, ALL, UPGRADE, b"");
    wire.head();
    start(engine, &container);
    wire.send("x");
    wire.expect("x");
    let seen = wire.text();
    drop(wire);
    let told = format!("{seen:?} / {}", wait(engine, &container));
    remove(engine, &container);
    told
}

fn not_once(engine: &Engine) -> String {
    let container = create(engine, &["cat"], json!({"StdinOnce": false}));
    start(engine, &container);
    let mut told = String::new();
    for word in ["first", "second"] {
        let mut wire = attach(engine, "1.41", &container, ALL, UPGRADE, b"");
        wire.head();
        wire.send(word);
        wire.expect(word);
        let _ = write!(told, "{:?} / ", wire.text());
    }
    told.push_str(&state(engine, &container));
    remove(engine, &container);
    told
}

fn state(engine: &Engine, container: &str) -> String {
    let path = format!("/v1.41/containers/{container}/json");
    ask(engine, "GET", &path, &Value::Null).1["State"]["Status"].to_string()
}

fn detach(engine: &Engine, query: &str, keys: &str) -> String {
    let container = create(engine, &["cat"], json!({"Tty": true, "StdinOnce": false}));
    start(engine, &container);
    let mut wire = attach(engine, "1.41", &container, query, UPGRADE, b"");
    let mut told = head(&mut wire);
    wire.send("word\n");
    wire.expect("word\r\nword\r\n");
    wire.send(&keys[..1]);
    let silent = wire.is_silent();
    wire.send(&keys[1..]);
    let _ = write!(told, " / {silent} / {}", shown(&wire.rest()));
    let _ = write!(told, " / {}", state(engine, &container));
    remove(engine, &container);
    told
}

fn detach_keys(engine: &Engine) -> String {
    detach(engine, ALL, "\x10\x11")
}

fn own_detach_keys(engine: &Engine) -> String {
    detach(engine, &format!("{ALL}&detachKeys=ctrl-a,d"), "\x01d")
}

fn wrong_detach_keys(engine: &Engine) -> String {
    let container = create(engine, &["cat"], json!({"Tty": true}));
    let query = format!("{ALL}&detachKeys=ctrl-%C3%A4");
    let mut wire = attach(engine, "1.41", &container, &query, UPGRADE, b"");
    let told = head(&mut wire).split(" | ").next().unwrap().to_owned();
    remove(engine, &container);
    told
}

fn stopped_reader(engine: &Engine) -> String {
    let command = ["sh", "-c", "yes | head -c 4000000; echo; echo end"];
    let container = create(engine, &command, Value::Null);
    let mut wire = attach(
        engine,
        "1.41",
        &container,
        "stream=1&stdout=1",
        UPGRADE,
        b"",
    );
    wire.head();
    start(engine, &container);
    if engine.kind() == testkit::Kind::Wharf {
        super::streams::is_held_up(engine, &container);
    }
    let (out, err) = super::streams::unframed(&wire.rest());
    let told = format!("{} {:?} {err:?}", out.len(), &out[out.len() - 8..]);
    remove(engine, &container);
    told
}

fn early_resize(engine: &Engine) -> String {
    let container = create(
        engine,
        &["sh", "-c", "read x; stty size"],
        json!({"Tty": true}),
    );
    let resize = format!("/v1.41/containers/{container}/resize?h=22&w=66");
    let mut told = ask(engine, "POST", &resize, &Value::Null).0.to_string();
    let mut wire = attach(engine, "1.41", &container, ALL, UPGRADE, b"");
    wire.head();
    start(engine, &container);
    let _ = write!(told, " {}", ask(engine, "POST", &resize, &Value::Null).0);
    wire.send("\n");
    let _ = write!(told, " {}", shown(&wire.rest()));
    remove(engine, &container);
    told
}

fn late(engine: &Engine) -> String {
    let container = create(engine, &["echo", "out"], Value::Null);
    start(engine, &container);
    wait(engine, &container);
    let query = "logs=1&stdout=1&stderr=1";
    let mut wire = attach(engine, "1.41", &container, query, UPGRADE, b"");
    let told = format!("{} / {}", head(&mut wire), shown(&wire.rest()));
    remove(engine, &container);
    told
}

fn nothing(engine: &Engine) -> String {
    let mut wire = attach(engine, "1.41", "nothing", ALL, UPGRADE, b"");
    format!("{} / {}", head(&mut wire), shown(&wire.rest()))
}

/// Executes in a fresh container: what came, and the status.
fn executed(engine: &Engine, command: &[&str], tty: bool, headers: &str, times: usize) -> String {
    let container = create(engine, &["cat"], Value::Null);
    start(engine, &container);
    let body = json!({
        "Cmd": command, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Tty": tty,
    });
    let path = format!("/v1.41/containers/{container}/exec");
    let made = ask(engine, "POST", &path, &body).1;
    let id = made["Id"].as_str().unwrap();
    let mut told = String::new();
    for turn in 0..times {
        let body = json!({"Detach": false, "Tty": tty}).to_string();
        let path = format!("/v1.41/exec/{id}/start");
        let mut wire = Wire::open(engine, &path, headers, &body, b"");
        let _ = write!(told, "{} / ", head(&mut wire));
        // Who refuses the second within its stream may have closed it.
        if turn == 0 {
            wire.send("in\n");
            wire.half_close();
        }
        let _ = write!(told, "{} / ", shown(&wire.rest()));
        let path = format!("/v1.41/exec/{id}/json");
        let code = testkit::eventually("its status", Duration::from_secs(20), || {
            let state = ask(engine, "GET", &path, &Value::Null).1;
            (state["Running"] == false).then(|| state["ExitCode"].clone())
        });
        let _ = write!(told, "{code} ");
    }
    remove(engine, &container);
    told.replace(id, "ID")
}

const APART: &[&str] = &["sh", "-c", "cat; sleep 0.2; echo err >&2; exit 3"];

fn exec(engine: &Engine) -> String {
    executed(engine, APART, false, UPGRADE, 1)
}

fn exec_without_upgrade(engine: &Engine) -> String {
    executed(engine, APART, false, "", 1)
}

fn exec_on_terminal(engine: &Engine) -> String {
    executed(engine, &["sh", "-c", "read x; echo $x"], true, UPGRADE, 1)
}

fn exec_of_nothing(engine: &Engine) -> String {
    executed(engine, &["nothing-of-that-name"], false, UPGRADE, 1)
}

fn exec_twice(engine: &Engine) -> String {
    executed(engine, &["true"], false, UPGRADE, 2)
}
