//! The size of an exec's terminal: set before, while and after its process runs.

use std::time::Duration;

use serde_json::Value;
use testkit::{Engine, Kind, eventually};

use crate::http::ask;

fn exec(engine: &Engine, command: &str) -> String {
    let body = format!(r#"{{"Cmd":{command},"Tty":true}}"#);
    let (status, _, made) = ask(engine, "POST", "/containers/web/exec", &body);
    assert_eq!(status, 201, "{made}");
    let made: Value = serde_json::from_str(&made).unwrap();
    made["Id"].as_str().unwrap().to_owned()
}

fn start(engine: &Engine, exec: &str) -> u16 {
    let path = format!("/exec/{exec}/start");
    ask(engine, "POST", &path, r#"{"Detach":true,"Tty":true}"#).0
}

fn resize(engine: &Engine, exec: &str) -> (u16, String) {
    let (status, _, body) = ask(
        engine,
        "POST",
        &format!("/exec/{exec}/resize?h=10&w=20"),
        "",
    );
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    (
        status,
        body["message"].as_str().unwrap_or_default().to_owned(),
    )
}

/// 20.10 has other words for those that ended.
#[test]
fn the_size_of_an_exec_waits_for_its_start_and_not_for_its_end() {
    Engine::run(|engine| {
        engine.load_busybox();
        engine
            .d(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])
            .ok();
        let running = exec(engine, r#"["sleep","1000"]"#);
        std::thread::scope(|scope| {
            let early = scope.spawn(|| resize(engine, &running));
            assert_eq!(start(engine, &running), 200);
            assert_eq!(early.join().unwrap(), (200, String::new()));
        });
        assert_eq!(resize(engine, &running), (200, String::new()));
        if engine.kind() == Kind::Dockerd {
            return;
        }
        let ended = exec(engine, r#"["true"]"#);
        assert_eq!(start(engine, &ended), 200);
        let gone = (404, format!("process does not exist {ended}: not found"));
        eventually("the exec has ended", Duration::from_secs(10), || {
            (resize(engine, &ended) == gone).then_some(())
        });
        let failed = exec(engine, r#"["nosuch"]"#);
        assert_eq!(start(engine, &failed), 400);
        assert_eq!(
            resize(engine, &failed),
            (400, "exec process is not started".to_owned())
        );
    });
}
