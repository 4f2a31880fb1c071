//! What the API's router answers before a handler does, and who it says that it is.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use testkit::{Engine, Kind};

use super::http::ask;

#[test]
fn the_body_is_looked_at_before_what_it_is_for() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            // Newer daemons do.
            return;
        }
        engine.load_busybox();
        engine.d(&["create", "--name", "made", "busybox"]).ok();
        for path in ["/containers/nothing/update", "/commit?container=nothing"] {
            for body in ["nonsense", "{", r#"{"Memory": 1} x"#] {
                let (status, _, answer) = ask(engine, "POST", path, body);
                assert_eq!(status, 400, "{path} {body}: {answer}");
            }
            assert_eq!(ask(engine, "POST", path, "{}").0, 404, "{path}");
        }
        let path = "/containers/made/update";
        assert_eq!(ask(engine, "POST", path, r#"{"Memory": "a"}"#).0, 400);
        assert_eq!(ask(engine, "POST", path, r#"{"Memory": 1}"#).0, 400);
        assert_eq!(ask(engine, "POST", path, r#"{"Memory": 9000000}"#).0, 409);
        assert_eq!(ask(engine, "POST", "/commit?container=made", "").0, 201);
    });
}

#[test]
fn a_request_line_may_hold_what_no_uri_does() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "up", "busybox", "sleep", "1000"])
            .ok();
        engine.d(&["create", "--name", "made", "busybox"]).ok();
        // Twice on one connection, with a body in between.
        let list =
            "GET /containers/json?all=1&filters={\"status\":[\"created\"]} HTTP/1.1\r\nHost: x\r\n";
        let mut socket = UnixStream::connect(engine.socket()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        socket.write_all(format!("{list}\r\n").as_bytes()).unwrap();
        let first = read_answer(&mut socket);
        assert!(first.starts_with("HTTP/1.1 200"), "{first}");
        let body = r#"{"Image":"nothing\"<>"}"#;
        let create = format!(
            "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(create.as_bytes()).unwrap();
        let second = read_answer(&mut socket);
        assert!(second.starts_with("HTTP/1.1 4"), "{second}");
        let last = format!("{list}Connection: close\r\n\r\n");
        socket.write_all(last.as_bytes()).unwrap();
        let third = read_answer(&mut socket);
        for answer in [first, third] {
            assert!(
                answer.contains("\"/made\"") && !answer.contains("\"/up\""),
                "{answer}"
            );
        }
    });
}

/// One answer whose length is told.
fn read_answer(socket: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .unwrap_or_else(|| panic!("{head}"));
            if body.len() >= length.parse().unwrap() {
                return text;
            }
        }
        let number = socket.read(&mut buffer).unwrap();
        assert_ne!(number, 0, "{text}");
        answer.extend_from_slice(&buffer[..number]);
    }
}

#[test]
fn options_and_detours_are_answered_as_docker_s_router_does() {
    Engine::run(|engine| {
        for path in ["/anything", "/v1.41/containers/json"] {
            let (status, head, body) = ask(engine, "OPTIONS", path, "");
            assert_eq!((status, body.as_str()), (200, ""), "{path}: {head}");
        }
        for (method, path, expected) in [
            ("GET", "//version", "/version"),
            ("POST", "//containers/create", "/containers/create"),
            ("GET", "/v1.41/a/../version?b=%22", "/v1.41/version?b=%22"),
        ] {
            let (status, head, body) = ask(engine, method, path, "");
            assert_eq!(status, 301, "{path}: {head}");
            let location = format!("\r\nLocation: {expected}\r\n");
            assert!(format!("{head}\r\n").contains(&location), "{path}: {head}");
            if method == "POST" {
                assert_eq!(body, "");
            }
        }
    });
}

#[test]
fn the_version_says_what_was_built() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        let format = "{{.GitCommit}} {{.BuildTime}}";
        let told = |client: fn(&Engine, &[&str]) -> testkit::Finished, part: &str| {
            let format = format.replace("{{.", &format!("{{{{.{part}."));
            client(engine, &["version", "--format", &format])
                .ok()
                .text()
                .to_owned()
        };
        let server = told(Engine::d, "Server");
        assert_eq!(told(Engine::w, "Server"), server);
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.git");
        if !top.exists() {
            testkit::skip("the source is no repository");
            return;
        }
        let (commit, time) = server.split_once(' ').unwrap();
        let is_hex = commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_hex && commit.len() >= 7, "{server}");
        assert!(
            time.starts_with("20") && time.ends_with(".000000000+00:00"),
            "{server}"
        );
        for client in [Engine::d, Engine::w] {
            let shown = client(engine, &["version"]).ok().stdout;
            assert!(
                shown.contains(commit) && shown.contains("Built:"),
                "{shown}"
            );
        }
    });
}
