//! What is told of what happened.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Engine, Kind, eventually};

use crate::http::ask;

#[test]
fn each_prune_tells_what_it_won() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine.d(&["create", "busybox"]).ok();
        for what in ["container", "network", "volume", "image"] {
            for client in [Engine::d, Engine::w] {
                client(engine, &[what, "prune", "-f"]).ok();
            }
        }
        let format = "{{.Type}} {{.Action}} [{{.Actor.ID}}] {{json .Actor.Attributes}}";
        eventually("all are told", Duration::from_secs(20), || {
            let args = ["events", "--since", "1", "--until", "0s", "--filter"];
            let told = engine.d(&[&args[..], &["event=prune", "--format", format]].concat());
            let lines: Vec<String> = told.ok().stdout.lines().map(str::to_owned).collect();
            (lines.len() == 8).then(|| {
                for what in ["container", "network", "volume", "image"] {
                    let start = format!("{what} prune [] {{\"reclaimed\":\"");
                    let of_it = lines.iter().filter(|line| line.starts_with(&start));
                    assert_eq!(of_it.count(), 2, "{what}: {lines:#?}");
                }
            })
        });
    });
}

/// Who takes the highest version that is offered, or names none, finds what it has in the release that `version` tells.
#[test]
fn the_version_that_is_offered_has_the_members_of_that_release() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        engine.load_busybox();
        let run = ["run", "-d", "--name", "cc", "busybox", "sleep", "1000"];
        let id = engine.d(&run).ok().text().to_owned();
        let get = |path: &str| -> Value {
            let (status, _, body) = ask(engine, "GET", path, "");
            assert_eq!(status, 200, "{path}: {body}");
            // A stream comes in pieces, each behind its length: the first of them.
            let values = serde_json::Deserializer::from_str(&body[body.find('{').unwrap()..]);
            values.into_iter().next().unwrap().unwrap()
        };
        let offered = get("/version")["ApiVersion"].as_str().unwrap().to_owned();
        assert_eq!(offered, "1.50");
        for prefix in ["".to_owned(), format!("/v{offered}")] {
            let container = get(&format!("{prefix}/containers/cc/json"));
            let address = &container["NetworkSettings"]["IPAddress"];
            assert_eq!(
                address,
                &container["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
            );
            assert!(address.is_string());
            assert!(get(&format!("{prefix}/system/df"))["Images"].is_array());
            let config = get(&format!("{prefix}/images/busybox/json"))["Config"].clone();
            let has = |name: &str| config.as_object().unwrap().contains_key(name);
            assert!(has("Entrypoint") && has("WorkingDir"), "{config}");
            let until = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 1;
            let filters =
                format!("%7B%22event%22%3A%5B%22start%22%5D,%22container%22%3A%5B%22{id}%22%5D%7D");
            let event = get(&format!(
                "{prefix}/events?since=1&until={until}&filters={filters}"
            ));
            assert_eq!(
                (&event["id"], &event["status"]),
                (&json!(id), &json!("start"))
            );
        }
        // Who asks for the newest by its name gets it.
        assert!(get("/v1.55/system/df")["ImageUsage"].is_object());
        engine.d(&["rm", "-f", "cc"]).ok();
    });
}

/// Events of containers as they are told, one object a line.
fn told(engine: &Engine) -> impl Iterator<Item = Value> {
    let mut socket = UnixStream::connect(engine.socket()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let filters = "%7B%22type%22%3A%5B%22container%22%5D%7D";
    let request = format!("GET /v1.44/events?filters={filters} HTTP/1.0\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(socket).lines().map(Result::unwrap);
    // It listens when it has answered.
    lines.by_ref().find(String::is_empty).unwrap();
    lines.filter_map(|line| serde_json::from_str(&line).ok())
}

/// Compose looks at a container as soon as it is told of its start or its end, and never again.
#[test]
fn what_an_event_tells_is_so_when_it_is_told() {
    const ROUNDS: usize = 100;
    Engine::run(|engine| {
        engine.load_busybox();
        let events = told(engine);
        let engine = &*engine;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let body = r#"{"Image":"busybox","Cmd":["true"]}"#;
                    let (status, _, made) = ask(engine, "POST", "/containers/create", body);
                    assert_eq!(status, 201, "{made}");
                    let made: Value = serde_json::from_str(&made).unwrap();
                    let path = format!("/containers/{}", made["Id"].as_str().unwrap());
                    assert_eq!(ask(engine, "POST", &format!("{path}/start"), "").0, 204);
                    assert_eq!(ask(engine, "POST", &format!("{path}/wait"), "").0, 200);
                    assert_eq!(ask(engine, "DELETE", &path, "").0, 204);
                }
            });
            let mut gone = 0;
            for event in events {
                let id = event["Actor"]["ID"].as_str().unwrap();
                let (status, _, body) = ask(engine, "GET", &format!("/containers/{id}/json"), "");
                let state = || serde_json::from_str::<Value>(&body).unwrap()["State"].clone();
                let never = |time: &str| state()[time] == "0001-01-01T00:00:00Z";
                // It may have gone on since, and even be removed: but not be where it was before.
                match (event["Action"].as_str().unwrap(), status) {
                    ("create" | "start" | "die", 404) => {}
                    ("create", 200) => {}
                    ("start", 200) => assert!(!never("StartedAt"), "{body}"),
                    ("die", 200) => assert!(
                        state()["Running"] == false && !never("FinishedAt"),
                        "{body}"
                    ),
                    ("destroy", 404) => gone += 1,
                    (action, _) => panic!("{status} after {action}: {body}"),
                }
                if gone == ROUNDS {
                    break;
                }
            }
        });
    });
}
