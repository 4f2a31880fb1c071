//! The API by raw HTTP: versions, headers, errors, limits, and what is not built.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::{Engine, Kind, Options, run};

/// Sends bytes as they are, and takes everything that comes back.
fn exchange(engine: &Engine, request: &[u8], half_close: bool) -> String {
    let mut socket = UnixStream::connect(engine.socket()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    socket.write_all(request).unwrap();
    if half_close {
        socket.shutdown(Shutdown::Write).unwrap();
    }
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// One request in HTTP/1.0: status, head and body.
pub(super) fn ask(engine: &Engine, method: &str, path: &str, body: &str) -> (u16, String, String) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let answer = exchange(engine, request.as_bytes(), false);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .expect("an answer with a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

fn message(body: &str) -> String {
    let body: Value = serde_json::from_str(body)
        .unwrap_or_else(|_| panic!("an error in JSON is expected: {body}"));
    body["message"].as_str().unwrap().to_owned()
}

#[test]
fn versions_outside_the_range_are_refused_and_all_others_spoken() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            // It has another range.
            return;
        }
        for minor in 24..=55 {
            let (status, head, body) = ask(engine, "GET", &format!("/v1.{minor}/version"), "");
            assert_eq!(status, 200, "1.{minor}: {body}");
            assert!(head.contains("Api-Version: 1.50"), "{head}");
            for path in [
                "info",
                "containers/json",
                "images/json",
                "networks",
                "volumes",
                "system/df",
            ] {
                let (status, _, body) = ask(engine, "GET", &format!("/v1.{minor}/{path}"), "");
                assert_eq!(status, 200, "1.{minor} {path}: {body}");
                serde_json::from_str::<Value>(&body).unwrap();
            }
        }
        let (status, _, body) = ask(engine, "GET", "/v1.23/info", "");
        assert_eq!(status, 400);
        assert_eq!(
            message(&body),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a \
             newer version"
        );
        let (status, _, body) = ask(engine, "GET", "/v1.56/info", "");
        assert_eq!(status, 400);
        assert_eq!(
            message(&body),
            "client version 1.56 is too new. Maximum supported API version is 1.55"
        );
    });
}

#[test]
fn a_ping_tells_what_clients_choose_by() {
    Engine::run(|engine| {
        let (status, get, body) = ask(engine, "GET", "/_ping", "");
        assert_eq!((status, body.as_str()), (200, "OK"));
        let (status, head, body) = ask(engine, "HEAD", "/_ping", "");
        assert_eq!((status, body.as_str()), (200, ""));
        let mut headers = vec![
            "Api-Version: 1.",
            "Docker-Experimental: false",
            "Ostype: linux",
            "Server: Docker/",
            "Cache-Control: no-cache, no-store, must-revalidate",
            "Pragma: no-cache",
            "Content-Type: text/plain; charset=utf-8",
        ];
        if engine.kind() == Kind::Wharf {
            headers.extend(["Builder-Version: 1", "Swarm: inactive"]);
        }
        for header in headers {
            assert!(
                get.contains(&format!("\r\n{header}")),
                "{header} is not in {get}"
            );
            assert!(
                head.contains(&format!("\r\n{header}")),
                "{header} is not in {head}"
            );
        }
    });
}

/// Requests that fail, each with the name under which dockerd's answer at 1.41 was recorded.
const FAILING: &[(&str, &str, &str, &str)] = &[
    ("unknown-route", "GET", "/nothing", ""),
    ("no-image", "GET", "/images/nothing/json", ""),
    ("no-volume", "GET", "/volumes/nothing", ""),
    ("no-network", "GET", "/networks/nothing", ""),
    (
        "create-no-image",
        "POST",
        "/containers/create",
        r#"{"Image":"nothing"}"#,
    ),
    ("create-empty", "POST", "/containers/create", "{}"),
    ("no-container", "GET", "/containers/nothing/json", ""),
    ("no-exec", "GET", "/exec/nothing/json", ""),
    (
        "bad-filter",
        "GET",
        "/containers/json?filters=%7B%22nothing%22%3A%5B%22a%22%5D%7D",
        "",
    ),
    ("swarm", "GET", "/swarm", ""),
    ("services", "GET", "/services", ""),
    ("plugins", "GET", "/plugins", ""),
    ("no-plugin", "GET", "/plugins/nothing/json", ""),
];

#[test]
fn failures_have_dockers_status_and_words() {
    Engine::run(|engine| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/api/tests/golden/1.41");
        for (name, method, path, body) in FAILING {
            let recorded = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
            let recorded: Value = serde_json::from_slice(&recorded).unwrap();
            let (status, head, answer) = ask(engine, method, &format!("/v1.41{path}"), body);
            assert_eq!(recorded["status"], status, "{name}: {answer}");
            assert!(
                head.contains("\r\nContent-Type: application/json"),
                "{name}: {head}"
            );
            let Some(theirs) = recorded["body"]["message"].as_str() else {
                continue;
            };
            // Newer daemons begin their sentences with a small letter.
            let (theirs, ours) = (theirs.to_lowercase(), message(&answer).to_lowercase());
            // And this one says twice what ours says once.
            let theirs = theirs
                .strip_prefix("no such image: nothing: ")
                .unwrap_or(&theirs);
            let ours = ours
                .strip_prefix("no such image: nothing: ")
                .unwrap_or(&ours);
            assert_eq!(ours, theirs, "{name}");
        }
    });
}

/// Requests for what is not built, with a part of the sentence. What they name is there.
const NOT_BUILT: &[(&str, &str, u16, &str)] = &[
    ("POST", "/build", 501, "docker build"),
    ("POST", "/session", 501, "BuildKit"),
    ("POST", "/commit?container=x", 404, "No such container: x"),
    ("POST", "/commit", 400, "invalid name or ID supplied: \"\""),
    (
        "POST",
        "/containers/nothing/update",
        404,
        "No such container: nothing",
    ),
    (
        "GET",
        "/images/search?term=127.0.0.1:9/x",
        500,
        "connection refused",
    ),
    (
        "GET",
        "/images/search?term=x&limit=101",
        400,
        "limit 101 is outside the range of [1, 100]",
    ),
    (
        "POST",
        "/images/Nothing/push?tag=1",
        400,
        "repository name (library/Nothing) must be lowercase",
    ),
    (
        "POST",
        "/images/create?fromSrc=http://127.0.0.1:9/y.tar",
        500,
        "connection refused",
    ),
    (
        "GET",
        "/containers/nothing/top",
        404,
        "No such container: nothing",
    ),
    (
        "GET",
        "/containers/nothing/stats",
        404,
        "No such container: nothing",
    ),
    ("POST", "/networks/create", 400, "invalid JSON"),
    (
        "DELETE",
        "/networks/none",
        403,
        "none is a pre-defined network and cannot be removed",
    ),
    ("POST", "/swarm/init", 501, "docker swarm"),
    (
        "POST",
        "/swarm/leave",
        503,
        "This node is not part of a swarm",
    ),
    (
        "POST",
        "/secrets/create",
        503,
        "This node is not a swarm manager.",
    ),
    ("POST", "/plugins/pull?remote=x", 501, "docker plugin"),
    ("POST", "/auth", 400, "invalid JSON"),
];

#[test]
fn what_is_not_built_is_refused_by_name() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        for (method, path, expected, part) in NOT_BUILT {
            let (status, _, body) = ask(engine, method, &format!("/v1.41{path}"), "");
            assert_eq!(status, *expected, "{method} {path}: {body}");
            assert!(message(&body).contains(part), "{method} {path}: {body}");
        }
    });
}

#[test]
fn the_client_shows_why_nothing_is_built() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        // A context that is larger than what sockets hold: a server that does not read it breaks the pipe.
        let folder = engine.folder();
        std::fs::write(folder.join("Dockerfile"), "FROM busybox\n").unwrap();
        std::fs::write(folder.join("large"), vec![7; 20 << 20]).unwrap();
        let done = engine.d(&["build", folder.to_str().unwrap()]).fails_with(1);
        assert!(
            done.stderr
                .contains("building images (docker build) is not supported"),
            "{}",
            done.stderr
        );
    });
}

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    Engine::run(|engine| {
        let request = b"GET /version HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n";
        let answer = exchange(engine, request, true);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\"ApiVersion\""), "{answer}");
    });
}

#[test]
fn a_body_that_is_cut_short_is_refused_at_once() {
    Engine::run(|engine| {
        let create = "POST /containers/create HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n";
        let answer = exchange(
            engine,
            format!("{create}Content-Length: 100\r\n\r\n{{\"Image\":").as_bytes(),
            true,
        );
        assert!(answer.contains("unexpected EOF"), "{answer}");
        let load =
            "POST /images/load HTTP/1.1\r\nHost: engine\r\nContent-Type: application/x-tar\r\n";
        for rest in [
            "Content-Length: 100\r\n\r\nhalf an archive",
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "Transfer-Encoding: chunked\r\n\r\n",
        ] {
            let answer = exchange(engine, format!("{load}{rest}").as_bytes(), true);
            assert!(answer.contains("\"errorDetail\""), "{rest}: {answer}");
        }
        // A whole body before the end is another thing.
        let whole = format!("{create}Content-Length: 18\r\n\r\n{{\"Image\":\"nosuch\"}}");
        for _ in 0..50 {
            let answer = exchange(engine, whole.as_bytes(), true);
            assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        }
    });
}

#[test]
fn requests_that_are_too_large_are_refused() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        let long = format!(
            "GET /{} HTTP/1.1\r\nHost: engine\r\n\r\n",
            "a".repeat(100 << 10)
        );
        let answer = exchange(engine, long.as_bytes(), false);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        let body = format!("{{\"Image\":\"{}\"}}", "a".repeat(5 << 20));
        let (status, _, answer) = ask(engine, "POST", "/containers/create", &body);
        assert_eq!(status, 413, "{answer}");
        assert!(exchange(engine, b"no http\r\n\r\n", false).starts_with("HTTP/1.1 400 "));
        // And the engine still answers.
        assert_eq!(ask(engine, "GET", "/_ping", "").0, 200);
    });
}

#[test]
fn a_client_that_sends_on_after_a_refusal_reads_it() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        let mut socket = UnixStream::connect(engine.socket()).unwrap();
        let head = format!("GET /{}", "a".repeat(80 << 10));
        socket.write_all(head.as_bytes()).unwrap();
        // The answer is there before the request is.
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
        for _ in 0..8 {
            socket.write_all(&[b'a'; 1 << 20]).unwrap();
        }
        socket.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        socket.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("\r\n\r\n"), "{rest}");
    });
}

#[test]
fn bodies_that_make_no_sense_are_refused() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        for (body, part) in [
            ("", "EOF"),
            ("[]", "an object is expected"),
            ("{\"Image\":1}", "invalid type"),
            ("{\"Image\":", "unexpected EOF"),
            (
                "{invalid",
                "invalid JSON: invalid character 'i' looking for beginning of object key string",
            ),
            (
                "{\"Image\" 1}",
                "invalid JSON: invalid character '1' after object key",
            ),
            (
                "{\"Cmd\":[\"a\" 1]}",
                "invalid JSON: invalid character '1' after array element",
            ),
            ("{} more", "unexpected content after JSON"),
        ] {
            let (status, _, answer) = ask(engine, "POST", "/containers/create", body);
            assert_eq!(status, 400, "{body}: {answer}");
            assert!(message(&answer).contains(part), "{body}: {answer}");
        }
        let request = b"POST /containers/create HTTP/1.0\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
        let answer = exchange(engine, request, false);
        assert!(
            answer.contains("unsupported Content-Type header (text/plain)"),
            "{answer}"
        );
        // What a page in a browser can send anywhere without being asked.
        let request = b"POST /containers/create HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}";
        let answer = exchange(engine, request, false);
        assert!(
            answer.contains("malformed Content-Type header (): mime: no media type"),
            "{answer}"
        );
    });
}

#[test]
fn both_clients_work_over_loopback_tcp_and_web_pages_do_not() {
    let options = Options {
        flags: vec!["--host=tcp://127.0.0.1:2375".to_owned()],
        ..Options::default()
    };
    Engine::run_with(options, |engine| {
        if engine.kind() == Kind::Dockerd {
            // It waits for fifteen seconds since nobody is asked for a certificate.
            return;
        }
        engine.load_busybox();
        let args = [
            "-H",
            "tcp://127.0.0.1:2375",
            "run",
            "--rm",
            "-i",
            "busybox",
            "cat",
        ];
        for command in [engine.docker(&args), engine.wharf(&args)] {
            assert_eq!(run(command, b"through").ok().stdout, "through");
        }
        let ask = |head: &str| {
            let mut command = engine.sandbox().network_command("/bin/busybox");
            command.args(["nc", "-w", "5", "127.0.0.1", "2375"]);
            let request = format!("GET /info HTTP/1.0\r\nHost: localhost:2375\r\n{head}\r\n");
            run(command, request.as_bytes()).stdout
        };
        assert!(ask("").starts_with("HTTP/1.0 200 "));
        for head in [
            "Origin: http://localhost:2375\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
        ] {
            let answer = ask(head);
            assert!(answer.starts_with("HTTP/1.0 403 "), "{answer}");
            assert!(
                answer.contains("requests of web pages are refused"),
                "{answer}"
            );
        }
    });
}

#[test]
fn names_in_bodies_are_read_in_any_case() {
    Engine::run(|engine| {
        engine.load_busybox();
        let body = r#"{"image":"busybox","hostconfig":{"readonlyRootfs":true},"cmd":["true"]}"#;
        let (status, _, answer) = ask(engine, "POST", "/v1.41/containers/create?name=any", body);
        assert_eq!(status, 201, "{answer}");
        let inspect = engine.d(&[
            "inspect",
            "--format={{.HostConfig.ReadonlyRootfs}} {{.Config.Cmd}}",
            "any",
        ]);
        assert_eq!(inspect.ok().text(), "true [true]");
        engine.d(&["rm", "any"]).ok();
    });
}

#[test]
fn a_start_takes_an_empty_object_and_no_configuration() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["create", "--name=idle", "busybox", "sleep", "100"])
            .ok();
        let configured = r#"{"Privileged":true}"#;
        for (body, expected) in [(configured, 400), ("{}", 204), ("null", 304), ("", 304)] {
            let (status, _, answer) = ask(engine, "POST", "/v1.41/containers/idle/start", body);
            assert_eq!(status, expected, "{body}: {answer}");
        }
        engine.d(&["rm", "--force", "idle"]).ok();
    });
}

#[test]
fn a_missing_neighbour_is_no_missing_image() {
    Engine::run(|engine| {
        engine.load_busybox();
        for mode in ["IpcMode", "PidMode"] {
            let body =
                format!(r#"{{"Image":"busybox","HostConfig":{{"{mode}":"container:nobody"}}}}"#);
            let (status, _, answer) = ask(engine, "POST", "/v1.41/containers/create", &body);
            assert_eq!(status, 400, "{mode}: {answer}");
            assert_eq!(message(&answer), "No such container: nobody");
        }
        // That of the network may appear until the start.
        let body = r#"{"Image":"busybox","HostConfig":{"NetworkMode":"container:nobody"}}"#;
        let (status, _, answer) = ask(engine, "POST", "/v1.41/containers/create?name=alone", body);
        assert_eq!(status, 201, "{answer}");
        let (status, _, answer) = ask(engine, "POST", "/v1.41/containers/alone/start", "");
        assert_ne!(status, 204, "{answer}");
        if engine.kind() == Kind::Wharf {
            assert_eq!(status, 500, "{answer}");
            assert_eq!(
                message(&answer),
                "joining network namespace of container: No such container: nobody"
            );
        }
    });
}

#[test]
fn a_load_that_fails_says_so_in_its_stream() {
    Engine::run(|engine| {
        let (status, _, answer) = ask(engine, "POST", "/v1.41/images/load", "no archive");
        assert_eq!(status, 200, "{answer}");
        assert!(answer.contains(r#""errorDetail":{"message":""#), "{answer}");
    });
}

#[test]
fn events_have_the_form_of_the_version() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&[
                "run",
                "--rm",
                "--name",
                "told",
                "--network",
                "none",
                "busybox",
                "true",
            ])
            .ok();
        let filters =
            "filters=%7B%22container%22%3A%5B%22told%22%5D%2C%22type%22%3A%5B%22container%22%5D%7D";
        let events = |version: &str| -> Vec<Value> {
            let path = format!("{version}/events?since=1&until=1&{filters}");
            let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 1;
            let path = path.replace("until=1", &format!("until={now}"));
            let (status, _, body) = ask(engine, "GET", &path, "");
            assert_eq!(status, 200, "{body}");
            body.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        let old = events("/v1.41");
        let actions: Vec<_> = old
            .iter()
            .map(|event| event["Action"].as_str().unwrap())
            .collect();
        assert_eq!(actions.first(), Some(&"create"), "{old:?}");
        assert_eq!(actions.last(), Some(&"destroy"), "{old:?}");
        for event in &old {
            assert_eq!(event["status"], event["Action"]);
            assert_eq!(event["id"], event["Actor"]["ID"]);
            assert_eq!(event["from"], "busybox");
        }
        if engine.kind() == Kind::Wharf {
            let new = events("/v1.52");
            assert_eq!(new.len(), old.len());
            assert!(
                new.iter()
                    .all(|event| event.get("status").is_none() && event.get("id").is_none()),
                "{new:?}"
            );
        }
    });
}

#[test]
fn namespaces_of_neighbours_are_refused_in_docker_s_words() {
    Engine::run(|engine| {
        engine.load_busybox();
        let id = |args: &[&str]| engine.d(args).ok().text().to_owned();
        let up = id(&["run", "-d", "--ipc", "private", "busybox", "sleep", "1000"]);
        let ended = id(&["create", "busybox", "true"]);
        let cases = [
            (
                "PidMode",
                &ended,
                500,
                format!("failed to join PID namespace: container {ended} is not running"),
            ),
            (
                "IpcMode",
                &ended,
                409,
                format!("failed to join IPC namespace: container {ended} is not running"),
            ),
            (
                "IpcMode",
                &up,
                400,
                format!(
                    "failed to join IPC namespace: container {up}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                ),
            ),
        ];
        for (mode, neighbour, expected, sentence) in cases {
            let body = format!(
                r#"{{"Image":"busybox","HostConfig":{{"{mode}":"container:{neighbour}"}}}}"#
            );
            let (status, _, made) = ask(engine, "POST", "/containers/create", &body);
            assert_eq!(status, 201, "{made}");
            let made: Value = serde_json::from_str(&made).unwrap();
            let path = format!("/containers/{}/start", made["Id"].as_str().unwrap());
            let (status, _, body) = ask(engine, "POST", &path, "");
            assert_eq!((status, message(&body)), (expected, sentence));
        }
    });
}

#[test]
fn an_exec_ends_with_its_container_and_is_told_of() {
    Engine::run(|engine| {
        engine.load_busybox();
        let id = engine
            .d(&["run", "-d", "busybox", "sleep", "1000"])
            .ok()
            .text()
            .to_owned();
        let body = r#"{"Cmd":["sleep","1000"],"Tty":true}"#;
        let made = ask(engine, "POST", &format!("/containers/{id}/exec"), body).2;
        let made: Value = serde_json::from_str(&made).unwrap();
        let exec = made["Id"].as_str().unwrap();
        let started = ask(
            engine,
            "POST",
            &format!("/exec/{exec}/start"),
            r#"{"Detach":true}"#,
        );
        assert_eq!(started.0, 200, "{}", started.2);
        let resize = format!("/exec/{exec}/resize?h=10&w=20");
        assert_eq!(ask(engine, "POST", &resize, "").0, 200);
        engine.d(&["kill", &id]).ok();
        engine.d(&["wait", &id]).ok();
        let (status, _, body) = ask(engine, "POST", &resize, "");
        assert_eq!(
            (status, message(&body)),
            (409, format!("container {id} is not running"))
        );
        testkit::eventually("the exec has ended", Duration::from_secs(10), || {
            let (status, _, body) = ask(engine, "GET", &format!("/exec/{exec}/json"), "");
            assert_eq!(status, 200, "{body}");
            let body: Value = serde_json::from_str(&body).unwrap();
            (body["Running"] == false && body["ExitCode"] == 137).then_some(())
        });
    });
}

/// Behind its first start compose makes another, and takes no refusal.
#[test]
fn an_exec_that_is_started_again_says_so_in_its_stream() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"])
            .ok();
        for (program, has) in [
            (r#""true""#, "has already run"),
            (r#""sleep", "1000""#, "is already running"),
        ] {
            let body = format!(r#"{{"Cmd": [{program}], "AttachStdout": true}}"#);
            let made = ask(engine, "POST", "/containers/box/exec", &body).2;
            let made: Value = serde_json::from_str(&made).unwrap();
            let id = made["Id"].as_str().unwrap();
            let start = |detach: bool| {
                let body = format!(r#"{{"Detach": {detach}}}"#);
                ask(engine, "POST", &format!("/exec/{id}/start"), &body)
            };
            assert_eq!(start(true).0, 200);
            let sentence = format!("Error: Exec command {id} {has}");
            testkit::eventually(&sentence, Duration::from_secs(10), || {
                let (status, _, body) = start(true);
                (status == 409 && body.contains(&sentence)).then_some(())
            });
            let (status, _, body) = start(false);
            assert_eq!(status, 200, "{body}");
            assert!(body.ends_with(&format!("{sentence}\r\n")), "{body}");
        }
        engine.d(&["rm", "-f", "box"]).ok();
    });
}

/// As docker: a container between two runs has no streams.
#[test]
fn whoever_attaches_to_a_container_that_waits_for_its_restart_is_told() {
    Engine::run(|engine| {
        engine.load_busybox();
        let args = ["run", "-d", "--name", "box", "--restart", "always"];
        engine.d(&[&args[..], &["busybox", "false"]].concat()).ok();
        let attach = "/containers/box/attach?stream=1&stdout=1";
        testkit::eventually("it waits", Duration::from_secs(30), || {
            let (status, _, body) = ask(engine, "POST", attach, "");
            (status == 409).then(|| {
                let sentence = "container box is restarting, wait until the container is running";
                assert_eq!(body.trim(), sentence);
            })
        });
        engine.d(&["rm", "-f", "box"]).ok();
    });
}

#[test]
fn who_is_unknown_is_refused_when_an_exec_is_made() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"])
            .ok();
        let sentence = "unable to find user nobody-here: no matching entries in passwd file";
        let body = r#"{"User":"nobody-here","Cmd":["true"]}"#;
        // Debian's daemon finds out when it is started.
        if engine.kind() == Kind::Wharf {
            let (status, _, body) = ask(engine, "POST", "/containers/box/exec", body);
            assert_eq!((status, message(&body).as_str()), (400, sentence));
            for client in [Engine::d, Engine::w] {
                let failed = client(engine, &["exec", "-u", "nobody-here", "box", "true"]);
                let failed = failed.fails_with(1);
                assert_eq!(
                    failed.stderr,
                    format!("Error response from daemon: {sentence}\n")
                );
            }
        }
        engine.d(&["exec", "-u", "app", "box", "true"]).ok();
        engine.d(&["exec", "-u", "4711:12", "box", "true"]).ok();
    });
}

/// An engine of some years ago, as far as a client asks it.
#[test]
fn the_client_speaks_the_version_of_an_older_engine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (tell, asked) = std::sync::mpsc::channel();
    // Ends with the test's process.
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let mut request = [0; 4096];
            let length = client.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let target = request.split(' ').nth(1).unwrap().to_owned();
            let (status, body) = if target.starts_with("/v1.41/") {
                ("200 OK", r#"[{"Name":"old"}]"#)
            } else {
                (
                    "400 Bad Request",
                    r#"{"message":"client version 1.55 is too new. Maximum supported API version is 1.41"}"#,
                )
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            tell.send(target).unwrap();
            client.write_all(answer.as_bytes()).unwrap();
        }
    });
    let mut command = std::process::Command::new(Engine::program());
    command
        .args(["network", "inspect", "-f", "{{.Name}}", "old"])
        .env("DOCKER_HOST", format!("unix://{}", path.display()));
    let done = run(command, b"");
    let asked: Vec<String> = asked.try_iter().collect();
    let last = asked.last().map(String::as_str);
    assert!(
        last.is_some_and(|last| last.starts_with("/v1.41/networks/old")),
        "{asked:?} {done:?}"
    );
}
