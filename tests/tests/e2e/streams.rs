//! Streams by a raw socket, as table of cases: what the client sends and does, and what comes back.
//!
//! The same cases hold against dockerd (`ENGINE=dockerd`), which is how they were found.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Engine, Kind, eventually};

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

/// A connection on which a request was sent.
pub(super) struct Wire {
    socket: UnixStream,
    read: Vec<u8>,
}

impl Wire {
    /// Sends a request; `headers` are whole lines, and what follows the request is sent with it.
    pub(super) fn open(
        engine: &Engine,
        path: &str,
        headers: &str,
        body: &str,
        after: &[u8],
    ) -> Wire {
        let mut socket = UnixStream::connect(engine.socket()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{headers}\r\n{body}"
        )
        .into_bytes();
        request.extend_from_slice(after);
        socket.write_all(&request).unwrap();
        Wire {
            socket,
            read: Vec::new(),
        }
    }

    /// Reads one piece; whether there was one.
    fn read_on(&mut self) -> bool {
        let mut piece = [0; 4096];
        let count = match self.socket.read(&mut piece) {
            // What was sent to the other side and not read there.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            count => count.unwrap(),
        };
        self.read.extend_from_slice(&piece[..count]);
        count > 0
    }

    /// Takes the head of the answer: its status line and headers.
    pub(super) fn head(&mut self) -> String {
        loop {
            if let Some(end) = self
                .read
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let rest = self.read.split_off(end + 4);
                let head = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(head).unwrap();
            }
            assert!(
                self.read_on(),
                "the connection ended within the head: {:?}",
                self.text()
            );
        }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    pub(super) fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads until the text is there.
    pub(super) fn expect(&mut self, text: &str) {
        while !self.text().contains(text) {
            assert!(
                self.read_on(),
                "the stream ended without {text:?}: {:?}",
                self.text()
            );
        }
    }

    /// Reads to the end: everything after the head.
    pub(super) fn rest(mut self) -> Vec<u8> {
        while self.read_on() {}
        self.read
    }

    /// Whether nothing comes for a while, and the stream is open.
    pub(super) fn is_silent(&mut self) -> bool {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let read = self.socket.read(&mut [0; 1]);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

/// Takes a multiplexed stream apart: all of standard output and all of standard error.
pub(super) fn unframed(mut bytes: &[u8]) -> (String, String) {
    let mut streams = [Vec::new(), Vec::new()];
    while let Some((header, rest)) = bytes.split_at_checked(8) {
        assert!(
            matches!(header, [1 | 2, 0, 0, 0, ..]),
            "not the header of a frame: {header:?}"
        );
        let length = u32::from_be_bytes(header[4..].try_into().unwrap()) as usize;
        let (content, rest) = rest.split_at_checked(length).expect("a whole frame");
        streams[usize::from(header[0]) - 1].extend_from_slice(content);
        bytes = rest;
    }
    assert!(bytes.is_empty(), "bytes after the last frame: {bytes:?}");
    let [out, err] = streams.map(|stream| String::from_utf8(stream).unwrap());
    (out, err)
}

/// One request in HTTP/1.0, whose answer is never in chunks: its status, and its body as JSON.
pub(super) fn ask(engine: &Engine, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let length = body.len();
    let mut socket = UnixStream::connect(engine.socket()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}"
    );
    socket
        .write_all(format!("{head}\r\n\r\n{body}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let content = answer.split_once("\r\n\r\n").unwrap().1;
    (
        status,
        serde_json::from_str(content.trim()).unwrap_or(Value::Null),
    )
}

/// Makes a container that is attached to later.
pub(super) fn create(engine: &Engine, command: &[&str], more: Value) -> String {
    let mut config = json!({
        "Image": "busybox", "Cmd": command, "OpenStdin": true, "StdinOnce": true,
        "HostConfig": {"NetworkMode": "none"},
    });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().cloned().unwrap_or_default());
    let (status, created) = ask(engine, "POST", "/v1.41/containers/create", &config);
    assert_eq!(status, 201, "{created}");
    created["Id"].as_str().unwrap().to_owned()
}

pub(super) fn attach(
    engine: &Engine,
    version: &str,
    container: &str,
    query: &str,
    headers: &str,
    after: &[u8],
) -> Wire {
    let path = format!("/v{version}/containers/{container}/attach?{query}");
    Wire::open(engine, &path, headers, "", after)
}

pub(super) fn start(engine: &Engine, container: &str) {
    let (status, answer) = ask(
        engine,
        "POST",
        &format!("/v1.41/containers/{container}/start"),
        &Value::Null,
    );
    assert_eq!(status, 204, "{answer}");
}

pub(super) fn wait(engine: &Engine, container: &str) -> Value {
    ask(
        engine,
        "POST",
        &format!("/v1.29/containers/{container}/wait"),
        &Value::Null,
    )
    .1["StatusCode"]
        .clone()
}

pub(super) fn remove(engine: &Engine, container: &str) {
    let (status, answer) = ask(
        engine,
        "DELETE",
        &format!("/v1.41/containers/{container}?force=1"),
        &Value::Null,
    );
    assert_eq!(status, 204, "{answer}");
}

pub(super) const ALL: &str = "stream=1&stdin=1&stdout=1&stderr=1";

/// Clients that read the head through a buffer (docker-py) lose what comes with it.
#[test]
fn what_a_program_says_waits_until_the_head_was_read() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            // There it is a race, which the client mostly wins.
            return;
        }
        engine.load_busybox();
        let run = ["run", "-d", "--name", "cc", "busybox", "sleep", "1000"];
        engine.d(&run).ok();
        for _ in 0..10 {
            let create = r#"{"AttachStdout":true,"Cmd":["echo","said"]}"#;
            let (_, body) = engine
                .ask(
                    "POST",
                    "/containers/cc/exec",
                    "application/json",
                    create.as_bytes(),
                )
                .unwrap();
            let created: Value = serde_json::from_str(&body).unwrap();
            let path = format!("/exec/{}/start", created["Id"].as_str().unwrap());
            let mut wire = Wire::open(engine, &path, UPGRADE, "{}", b"");
            // Longer than the program needs.
            std::thread::sleep(Duration::from_millis(30));
            assert!(wire.read_on());
            assert!(wire.text().ends_with("\r\n\r\n"), "{:?}", wire.text());
            wire.expect("said\n");
        }
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

#[test]
fn a_half_closed_stream_ends_the_input_and_brings_the_output() {
    Engine::run(|engine| {
        engine.load_busybox();
        let container = create(engine, &["cat"], Value::Null);
        let mut wire = attach(engine, "1.41", &container, ALL, UPGRADE, b"");
        let head = wire.head();
        assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
        assert!(
            head.contains("\r\nConnection: Upgrade\r\n") && head.contains("\r\nUpgrade: tcp\r\n"),
            "{head}"
        );
        assert!(
            head.contains("\r\nContent-Type: application/vnd.docker.raw-stream\r\n"),
            "{head}"
        );
        start(engine, &container);
        wire.send("one\ntwo\n");
        wire.half_close();
        assert_eq!(unframed(&wire.rest()), ("one\ntwo\n".into(), String::new()));
        assert_eq!(wait(engine, &container), 0);
        remove(engine, &container);
    });
}

#[test]
fn a_client_without_an_upgrade_header_gets_the_raw_stream() {
    Engine::run(|engine| {
        engine.load_busybox();
        let container = create(engine, &["sh", "-c", "cat; echo no >&2"], Value::Null);
        let mut wire = attach(engine, "1.41", &container, ALL, "", b"");
        let head = wire.head();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains("\r\nContent-Type: application/vnd.docker.raw-stream\r\n"),
            "{head}"
        );
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
        start(engine, &container);
        wire.send("one\n");
        wire.half_close();
        assert_eq!(unframed(&wire.rest()), ("one\n".into(), "no\n".into()));
        remove(engine, &container);
    });
}

#[test]
fn bytes_that_come_with_the_request_are_input() {
    Engine::run(|engine| {
        if engine.kind() == testkit::Kind::Dockerd {
            // It loses them.
            return;
        }
        engine.load_busybox();
        for headers in [UPGRADE, ""] {
            let container = create(engine, &["cat"], Value::Null);
            let mut wire = attach(engine, "1.41", &container, ALL, headers, b"early ");
            wire.head();
            start(engine, &container);
            wire.send("late");
            wire.half_close();
            assert_eq!(unframed(&wire.rest()).0, "early late");
            remove(engine, &container);
        }
    });
}

#[test]
fn input_that_is_attached_once_ends_with_its_client() {
    Engine::run(|engine| {
        engine.load_busybox();
        let container = create(engine, &["cat"], Value::Null);
        let mut wire = attach(engine, "1.41", &container, ALL, UPGRADE, b"");
        wire.head();
        start(engine, &container);
        wire.send("x");
        wire.expect("x");
        drop(wire);
        assert_eq!(wait(engine, &container), 0);
        remove(engine, &container);
    });
}

#[test]
fn input_that_stays_open_outlives_its_client() {
    Engine::run(|engine| {
        engine.load_busybox();
        let container = create(engine, &["cat"], json!({"StdinOnce": false}));
        start(engine, &container);
        for word in ["first", "second"] {
            let mut wire = attach(engine, "1.41", &container, ALL, UPGRADE, b"");
            wire.head();
            wire.send(word);
            wire.expect(word);
        }
        let state = ask(
            engine,
            "GET",
            &format!("/v1.41/containers/{container}/json"),
            &Value::Null,
        )
        .1;
        assert_eq!(state["State"]["Status"], "running");
        remove(engine, &container);
    });
}

#[test]
fn detach_keys_end_the_stream_and_not_the_container() {
    Engine::run(|engine| {
        engine.load_busybox();
        for (query, keys) in [
            (ALL.to_owned(), "\x10\x11"),
            (format!("{ALL}&detachKeys=ctrl-a,d"), "\x01d"),
        ] {
            let container = create(engine, &["cat"], json!({"Tty": true, "StdinOnce": false}));
            start(engine, &container);
            let mut wire = attach(engine, "1.41", &container, &query, UPGRADE, b"");
            wire.head();
            wire.send("word\n");
            wire.expect("word\r\nword\r\n");
            // A beginning of the keys that does not go on is input.
            wire.send(&keys[..1]);
            assert!(wire.is_silent());
            wire.send(&keys[1..]);
            wire.rest();
            let state = ask(
                engine,
                "GET",
                &format!("/v1.41/containers/{container}/json"),
                &Value::Null,
            )
            .1;
            assert_eq!(state["State"]["Status"], "running", "after {keys:?}");
            remove(engine, &container);
        }
    });
}

#[test]
fn a_reader_that_stops_holds_up_nobody_else() {
    Engine::run(|engine| {
        engine.load_busybox();
        let container = create(
            engine,
            &["sh", "-c", "yes | head -c 4000000; echo; echo end"],
            Value::Null,
        );
        let mut stopped = attach(
            engine,
            "1.41",
            &container,
            "stream=1&stdout=1",
            UPGRADE,
            b"",
        );
        stopped.head();
        start(engine, &container);
        // The engine answers others meanwhile, and everything is there once the reader goes on.
        let (status, _) = ask(engine, "GET", "/v1.41/containers/json", &Value::Null);
        assert_eq!(status, 200);
        if engine.kind() == Kind::Wharf {
            is_held_up(engine, &container);
        }
        let (out, _) = unframed(&stopped.rest());
        assert_eq!(out.len(), 4_000_000 + "\nend\n".len());
        assert!(out.ends_with("\nend\n"));
        assert_eq!(wait(engine, &container), 0);
        remove(engine, &container);
    });
}

/// Waits until no more comes of a container's output; its program has not ended then.
#[track_caller]
pub(super) fn is_held_up(engine: &Engine, container: &str) {
    let folder = engine.data_root().join("v1/containers").join(container);
    let logged = || -> u64 {
        let files = std::fs::read_dir(&folder).unwrap().flatten();
        let logs = files.filter(|file| file.file_name().to_string_lossy().contains("-json.log"));
        logs.map(|file| file.metadata().map_or(0, |about| about.len()))
            .sum()
    };
    let mut last = 0;
    eventually("the output stands still", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(200));
        let now = logged();
        let same = now == last && now > 0;
        last = now;
        same.then_some(())
    });
    let path = format!("/v1.41/containers/{container}/json");
    let (_, about) = ask(engine, "GET", &path, &Value::Null);
    assert_eq!(about["State"]["Status"], "running");
}

#[test]
fn a_terminal_has_its_size_at_the_first_read() {
    Engine::run(|engine| {
        engine.load_busybox();
        // Docker's daemon 20.10 does not know the size at create; ours does, as newer ones.
        if engine.kind() == testkit::Kind::Wharf {
            let config = json!({
                "Image": "busybox", "Cmd": ["stty", "size"], "Tty": true, "OpenStdin": true,
                "HostConfig": {"NetworkMode": "none", "ConsoleSize": [33, 77]},
            });
            let (_, created) = ask(engine, "POST", "/v1.42/containers/create", &config);
            let container = created["Id"].as_str().unwrap();
            let mut wire = attach(engine, "1.42", container, ALL, UPGRADE, b"");
            let head = wire.head();
            assert!(
                head.contains("\r\nContent-Type: application/vnd.docker.raw-stream\r\n"),
                "{head}"
            );
            start(engine, container);
            assert_eq!(String::from_utf8_lossy(&wire.rest()), "33 77\r\n");
            remove(engine, container);
        }
        // A size before the start is refused; one after it is seen.
        let container = create(
            engine,
            &["sh", "-c", "read x; stty size"],
            json!({"Tty": true}),
        );
        let resize = format!("/v1.41/containers/{container}/resize?h=22&w=66");
        assert_eq!(ask(engine, "POST", &resize, &Value::Null).0, 409);
        let mut wire = attach(engine, "1.41", &container, ALL, UPGRADE, b"");
        wire.head();
        start(engine, &container);
        assert_eq!(ask(engine, "POST", &resize, &Value::Null).0, 200);
        wire.send("\n");
        wire.expect("22 66\r\n");
        remove(engine, &container);
    });
}

#[test]
fn the_log_is_replayed_for_who_asks() {
    Engine::run(|engine| {
        engine.load_busybox();
        let container = create(engine, &["sh", "-c", "echo out; echo err >&2"], Value::Null);
        start(engine, &container);
        assert_eq!(wait(engine, &container), 0);
        let mut wire = attach(
            engine,
            "1.41",
            &container,
            "logs=1&stdout=1&stderr=1",
            UPGRADE,
            b"",
        );
        wire.head();
        assert_eq!(unframed(&wire.rest()), ("out\n".into(), "err\n".into()));
        remove(engine, &container);
    });
}

#[test]
fn attaching_to_nothing_says_so_in_plain_text() {
    Engine::run(|engine| {
        let mut wire = attach(engine, "1.41", "nothing", ALL, UPGRADE, b"");
        let head = wire.head();
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
        assert_eq!(
            String::from_utf8_lossy(&wire.rest()),
            "No such container: nothing\r\n"
        );
    });
}

#[test]
fn a_command_in_a_container_has_a_stream_of_its_own() {
    Engine::run(|engine| {
        engine.load_busybox();
        let container = create(engine, &["cat"], Value::Null);
        start(engine, &container);
        let exec = |command: &[&str], tty: bool| {
            let body = json!({
                "Cmd": command, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Tty": tty,
            });
            let (status, created) = ask(
                engine,
                "POST",
                &format!("/v1.41/containers/{container}/exec"),
                &body,
            );
            assert_eq!(status, 201, "{created}");
            created["Id"].as_str().unwrap().to_owned()
        };
        let run = |id: &str, headers: &str, tty: bool| {
            let body = json!({"Detach": false, "Tty": tty}).to_string();
            Wire::open(
                engine,
                &format!("/v1.41/exec/{id}/start"),
                headers,
                &body,
                b"",
            )
        };
        let code = |id: &str| {
            eventually("the command ends", PATIENCE, || {
                let state = ask(
                    engine,
                    "GET",
                    &format!("/v1.41/exec/{id}/json"),
                    &Value::Null,
                )
                .1;
                (state["Running"] == false).then(|| state["ExitCode"].clone())
            })
        };
        for (headers, status) in [(UPGRADE, "101 UPGRADED"), ("", "200 OK")] {
            let id = exec(&["sh", "-c", "cat; echo err >&2; exit 3"], false);
            let mut wire = run(&id, headers, false);
            let head = wire.head();
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{head}"
            );
            wire.send("in\n");
            wire.half_close();
            assert_eq!(unframed(&wire.rest()), ("in\n".into(), "err\n".into()));
            assert_eq!(code(&id), 3);
        }
        let id = exec(&["stty", "size"], true);
        let mut wire = run(&id, UPGRADE, true);
        wire.head();
        assert!(String::from_utf8_lossy(&wire.rest()).ends_with("\r\n"));
        assert_eq!(code(&id), 0);

        // The form of the stream is what the start says, whatever the command has.
        let id = exec(&["sh", "-c", "test -t 0; echo $?"], true);
        let mut wire = run(&id, UPGRADE, false);
        wire.head();
        assert_eq!(unframed(&wire.rest()), ("0\r\n".into(), String::new()));
        let id = exec(&["sh", "-c", "echo out; echo err >&2"], false);
        let mut wire = run(&id, UPGRADE, true);
        wire.head();
        assert_eq!(wire.rest(), b"out\n");

        let id = exec(&["nothing-of-that-name"], false);
        let mut wire = run(&id, UPGRADE, false);
        assert!(wire.head().starts_with("HTTP/1.1 101 "));
        let said = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(
            said.contains("executable file not found in $PATH"),
            "{said}"
        );
        remove(engine, &container);
    });
}

#[test]
fn a_wait_answers_its_head_before_the_end() {
    Engine::run(|engine| {
        engine.load_busybox();
        let container = create(engine, &["sh", "-c", "read x; exit 5"], Value::Null);
        let path = format!("/v1.41/containers/{container}/wait?condition=next-exit");
        let mut waiting = Wire::open(engine, &path, "Connection: close\r\n", "", b"");
        let head = waiting.head();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let mut wire = attach(engine, "1.41", &container, ALL, UPGRADE, b"");
        wire.head();
        start(engine, &container);
        assert!(waiting.is_silent());
        wire.send("\n");
        let answer = String::from_utf8_lossy(&waiting.rest()).into_owned();
        assert!(answer.contains("\"StatusCode\":5"), "{answer}");
        remove(engine, &container);
    });
}

#[test]
fn an_output_that_is_full_or_closed_ends_a_command_quietly() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        engine.load_busybox();
        engine
            .d(&["run", "--name", "c", "busybox", "echo", "hi"])
            .ok();
        let commands: [&[&str]; 8] = [
            &["version"],
            &["info"],
            &["run", "--help"],
            &["inspect", "c"],
            &["ps", "-a"],
            &["images"],
            &["logs", "c"],
            &["run", "--rm", "busybox", "echo", "hi"],
        ];
        for args in commands {
            let full = std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .unwrap();
            let done = engine.wharf(args).stdout(full).output().unwrap();
            let stderr = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(1), "{args:?}: {stderr}");
            assert_eq!(
                stderr.trim(),
                "write /dev/stdout: no space left on device",
                "{args:?}"
            );
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let done = engine.wharf(args).stdout(writer).output().unwrap();
            let stderr = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(141), "{args:?}: {stderr}");
            assert_eq!(stderr, "", "{args:?}");
        }
        engine.d(&["rm", "c"]).ok();
    });
}
