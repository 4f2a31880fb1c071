//! Many at once, and many in a row.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testkit::{Engine, eventually};

/// More than the daemon has threads for what blocks.
const STARTS: usize = 600;
/// More execs than one container may have at a time.
const EXECS: usize = 5000;

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

#[test]
fn execs_that_ended_are_forgotten() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"])
            .ok();
        let last = std::sync::Mutex::new(String::new());
        side_by_side(EXECS, 4, |number| {
            let body = br#"{"Cmd":["true"]}"#;
            let made = engine.ask("POST", "/containers/cc/exec", JSON, body);
            let id = id_of(made.unwrap());
            let path = format!("/exec/{id}/start");
            let (status, answer) = engine
                .ask("POST", &path, JSON, br#"{"Detach":true}"#)
                .unwrap();
            assert_eq!(status, 200, "exec {number}: {answer}");
            *last.lock().unwrap() = id;
        });
        let inspect = |path: &str| -> serde_json::Value {
            let (status, answer) = engine.ask("GET", path, JSON, b"").unwrap();
            assert_eq!(status, 200, "{answer}");
            serde_json::from_str(&answer).unwrap()
        };
        eventually("all are seen to end", Duration::from_secs(30), || {
            inspect("/containers/cc/json")["ExecIDs"]
                .is_null()
                .then_some(())
        });
        let path = format!("/exec/{}/json", last.lock().unwrap());
        assert_eq!(inspect(&path)["ExitCode"], 0, "the newest is remembered");
        engine.d(&["exec", "cc", "true"]).ok();
    });
}
