//! What is told of what happened.

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
