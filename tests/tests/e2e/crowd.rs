//! Many at once, and many in a row.

use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::Engine;

/// More than the daemon has threads for what blocks.
const STARTS: usize = 600;

const JSON: &str = "application/json";

fn id_of(answer: (u16, String)) -> String {
    assert_eq!(answer.0, 201, "{}", answer.1);
    let answer: serde_json::Value = serde_json::from_str(&answer.1).unwrap();
    answer["Id"].as_str().unwrap().to_owned()
}

/// Runs `act` for each number, on so many threads.
fn side_by_side(count: usize, threads: usize, act: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    act(number);
                }
            });
        }
    });
}

/// Makes containers of this configuration.
fn create_all(engine: &Engine, body: &str) -> Vec<String> {
    let ids = std::sync::Mutex::new(Vec::new());
    side_by_side(STARTS, 16, |_| {
        let made = engine.ask("POST", "/containers/create", JSON, body.as_bytes());
        ids.lock().unwrap().push(id_of(made.unwrap()));
    });
    ids.into_inner().unwrap()
}

/// Has something done to each container, and expects this status.
fn post_all(engine: &Engine, ids: &[String], threads: usize, what: &str, expected: u16) {
    side_by_side(ids.len(), threads, |number| {
        let path = format!("/containers/{}/{what}", ids[number]);
        let (status, answer) = engine.ask("POST", &path, JSON, b"").unwrap();
        assert_eq!(status, expected, "{what}: {answer}");
    });
}

fn remove_all(engine: &Engine, ids: &[String]) {
    side_by_side(ids.len(), 16, |number| {
        let path = format!("/containers/{}?force=1", ids[number]);
        let (status, answer) = engine.ask("DELETE", &path, JSON, b"").unwrap();
        assert_eq!(status, 204, "{answer}");
    });
}

#[test]
fn hundreds_of_starts_at_once_all_end() {
    Engine::run(|engine| {
        engine.load_busybox();
        let body = r#"{"Image":"busybox","Cmd":["true"],"HostConfig":{"NetworkMode":"none"}}"#;
        let ids = create_all(engine, body);
        post_all(engine, &ids, STARTS, "start", 204);
        post_all(engine, &ids, 16, "wait", 200);
        let ended = engine.d(&["ps", "-aq", "-f", "exited=0"]).ok();
        assert_eq!(ended.stdout.lines().count(), STARTS);
        remove_all(engine, &ids);
    });
}
