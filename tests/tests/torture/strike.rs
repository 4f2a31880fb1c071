//! Killed before its n-th state-changing call (which ones count: `testkit::Call::changes_state`),
//! the daemon loses nothing, doubles nothing, leaks nothing, and its successor goes on.
//!
//! Each case does one operation over the API again and again; each time the daemon is killed one
//! step later, until the operation and all that follows it passes without a kill. Then a new
//! daemon starts and is held to what the client was told.

use std::time::Duration;

use serde_json::Value;
use testkit::{Engine, Registry, Trap};

/// How long the daemon changes nothing when it is done with an operation.
const QUIET: Duration = Duration::from_millis(150);
/// No operation of these takes so many calls.
const MOST: u64 = 20_000;

/// One operation, and what must hold after it.
pub struct Case {
    /// Whether containers of the operation are made from a loaded busybox.
    pub busybox: bool,
    /// Stands beside the engine while the case runs.
    pub beside: fn(&Engine) -> Option<Registry>,
    /// Brings about what the operation starts from.
    pub prepare: fn(&Engine),
    /// The operation: true when the client was told that it succeeded, false when it was told
    /// nothing. That it failed may not be told.
    pub act: fn(&Engine) -> bool,
    /// What must be true afterwards, with what the client was told; the operation is repeated.
    pub check: fn(&Engine, bool),
}

/// Runs a case with the n of `first`, `first + step` and so on.
pub fn strike(case: &Case, first: u64, step: u64) {
    if testkit::Kind::from_environment() == testkit::Kind::Dockerd {
        testkit::skip("only this engine is killed");
        return;
    }
    Engine::run(|engine| {
        let _beside = (case.beside)(engine);
        if case.busybox {
            engine.load_busybox();
        }
        let before = engine.settled();
        for n in (first..MOST).step_by(step as usize) {
            (case.prepare)(engine);
            std::thread::sleep(Duration::from_millis(20));
            let daemon = engine.daemon().pid;
            let trap = Trap::set(engine.sandbox().host_pid(daemon).expect("it runs"), n);
            let told = (case.act)(engine);
            let sprung = trap.rest(QUIET);
            let calls = trap.finish();
            if sprung {
                let number = calls[calls.len() - 1];
                println!("killed before call {n}, number {number}; told: {told}");
            }
            engine.wait_daemon_gone(daemon);
            engine.start_daemon();
            (case.check)(engine, told);
            engine.remove_containers();
            engine.nothing_beyond(&before);
            if !sprung {
                assert!(
                    told,
                    "nobody was told of an operation that was not cut short"
                );
                println!("{} calls in all", calls.len());
                return;
            }
        }
        panic!("more than {MOST} state-changing calls");
    });
}

/// One request: true when it had one of these statuses, false when nothing came back.
fn tell(engine: &Engine, method: &str, path: &str, body: &str, good: &[u16]) -> bool {
    match engine.ask(method, path, "application/json", body.as_bytes()) {
        Some((status, _)) if good.contains(&status) => true,
        Some((status, text)) => panic!("{method} {path}: {status} {text}"),
        None => false,
    }
}

#[track_caller]
fn must(engine: &Engine, method: &str, path: &str, body: &str, good: &[u16]) {
    assert!(
        tell(engine, method, path, body, good),
        "{method} {path}: no answer"
    );
}

/// The container's state; `None` when there is none of this name.
fn inspect(engine: &Engine) -> Option<Value> {
    match engine.ask("GET", "/containers/web/json", "", b"") {
        Some((200, text)) => Some(serde_json::from_str(&text).unwrap()),
        Some((404, _)) => None,
        other => panic!("inspect: {other:?}"),
    }
}

fn processes(engine: &Engine) -> usize {
    engine
        .sandbox()
        .processes()
        .iter()
        .filter(|process| process.command == "sleep 1000")
        .count()
}

/// What a container's status says is what its processes say.
#[track_caller]
fn agrees(engine: &Engine, container: &Value) -> bool {
    let running = container["State"]["Running"] == true;
    let status = container["State"]["Status"].as_str().unwrap();
    assert_eq!(running, status == "running", "{status}");
    testkit::eventually(
        &format!("processes of a container that is {status}"),
        Duration::from_secs(5),
        || (processes(engine) == usize::from(running)).then_some(()),
    );
    if running {
        engine.w(&["exec", "web", "true"]).ok();
    }
    running
}

const BODY: &str = r#"{
    "Image": "busybox", "Cmd": ["sleep", "1000"], "Volumes": {"/data": {}},
    "ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}
}"#;
const MAKE: &str = "/containers/create?name=web";
const START: &str = "/containers/web/start";
const STOP: &str = "/containers/web/stop?t=0";
const REMOVE: &str = "/containers/web?v=1";

fn nothing(_: &Engine) {}

fn made(engine: &Engine) {
    must(engine, "POST", MAKE, BODY, &[201]);
}

fn running(engine: &Engine) {
    made(engine);
    must(engine, "POST", START, "", &[204]);
}

fn stopped(engine: &Engine) {
    running(engine);
    must(engine, "POST", STOP, "", &[204]);
}

/// Starts, if it does not run, stops and removes: everything of the container works.
#[track_caller]
fn lives_and_goes(engine: &Engine) {
    must(engine, "POST", START, "", &[204, 304]);
    assert!(agrees(engine, &inspect(engine).expect("it is there")));
    let port = &inspect(engine).unwrap()["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"];
    assert_eq!(port, "8080");
    must(engine, "POST", STOP, "", &[204]);
    assert!(!agrees(engine, &inspect(engine).expect("it is there")));
    must(engine, "DELETE", REMOVE, "", &[204]);
    assert!(inspect(engine).is_none());
    let (_, volumes) = engine.ask("GET", "/volumes", "", b"").unwrap();
    let volumes: Value = serde_json::from_str(&volumes).unwrap();
    assert!(
        volumes["Volumes"].as_array().is_none_or(Vec::is_empty),
        "{volumes}"
    );
}

/// POST /containers/create
pub const CREATE: Case = Case {
    busybox: true,
    beside: |_| None,
    prepare: nothing,
    act: |engine| tell(engine, "POST", MAKE, BODY, &[201]),
    check: |engine, told| {
        let there = inspect(engine);
        assert!(there.is_some() || !told, "a created container is lost");
        match there {
            Some(container) => assert_eq!(container["State"]["Status"], "created"),
            None => made(engine),
        }
        lives_and_goes(engine);
    },
};

/// POST /containers/web/start
pub const BEGIN: Case = Case {
    busybox: true,
    beside: |_| None,
    prepare: made,
    act: |engine| tell(engine, "POST", START, "", &[204]),
    check: |engine, told| {
        let running = agrees(engine, &inspect(engine).expect("it was created"));
        assert!(running || !told, "a started container does not run");
        lives_and_goes(engine);
    },
};

/// On a network without a way out, where its port is nobody's.
fn inside(engine: &Engine) {
    for (name, internal) in [("back", true), ("front", false)] {
        let body = format!(r#"{{"Name": "{name}", "Internal": {internal}}}"#);
        must(engine, "POST", "/networks/create", &body, &[201]);
    }
    let body = BODY.replacen(
        r#""HostConfig": {"#,
        r#""HostConfig": {"NetworkMode": "back", "#,
        1,
    );
    must(engine, "POST", MAKE, &body, &[201]);
    must(engine, "POST", START, "", &[204]);
}

const CONNECT: &str = "/networks/front/connect";
const WHOM: &str = r#"{"Container": "web"}"#;

/// POST /networks/front/connect, which publishes the port.
pub const CONNECTION: Case = Case {
    busybox: true,
    beside: |_| None,
    prepare: inside,
    act: |engine| tell(engine, "POST", CONNECT, WHOM, &[200]),
    check: |engine, told| {
        let container = inspect(engine).expect("it was created");
        assert!(agrees(engine, &container));
        let is_connected = !container["NetworkSettings"]["Networks"]["front"].is_null();
        assert!(is_connected || !told, "a connection is lost");
        if !is_connected {
            must(engine, "POST", CONNECT, WHOM, &[200]);
        }
        let ports = &inspect(engine).expect("it runs")["NetworkSettings"]["Ports"];
        assert_eq!(ports["80/tcp"][0]["HostPort"], "8080");
        must(engine, "DELETE", "/containers/web?v=1&force=1", "", &[204]);
        // Whatever was held of it is free.
        running(engine);
        lives_and_goes(engine);
        for path in ["/networks/front", "/networks/back"] {
            must(engine, "DELETE", path, "", &[204]);
        }
    },
};

/// POST /containers/web/stop
pub const END: Case = Case {
    busybox: true,
    beside: |_| None,
    prepare: running,
    act: |engine| tell(engine, "POST", STOP, "", &[204]),
    check: |engine, told| {
        // A stop that was under way may end it a moment later.
        let ended = testkit::eventually("one state", Duration::from_secs(5), || {
            let status = inspect(engine).expect("it was created")["State"]["Running"] == true;
            (processes(engine) == usize::from(status)).then_some(!status)
        });
        assert!(ended || !told, "a stopped container runs");
        lives_and_goes(engine);
    },
};

/// DELETE /containers/web of one that has run
pub const REMOVAL: Case = Case {
    busybox: true,
    beside: |_| None,
    prepare: stopped,
    act: |engine| tell(engine, "DELETE", REMOVE, "", &[204]),
    check: |engine, told| {
        let there = inspect(engine);
        assert!(there.is_none() || !told, "a removed container is there");
        if there.is_none() {
            // Its name and its port are free.
            made(engine);
        }
        lives_and_goes(engine);
    },
};

const PASSING: &str = r#"{
    "Image": "busybox", "Cmd": ["sleep", "1000"],
    "HostConfig": {"AutoRemove": true, "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}
}"#;

/// POST /containers/create and /containers/x/start of a container that removes itself
pub const PASS: Case = Case {
    busybox: true,
    beside: |_| None,
    prepare: |engine| {
        // What is kept ready for such containers is there, as it is after the first of them.
        engine.w(&["run", "--rm", "busybox", "true"]).ok();
        std::thread::sleep(QUIET);
    },
    act: |engine| {
        tell(engine, "POST", MAKE, PASSING, &[201]) && tell(engine, "POST", START, "", &[204])
    },
    check: |engine, told| {
        match inspect(engine) {
            None => assert!(!told, "a started container is lost"),
            Some(container) => {
                assert!(agrees(engine, &container) || !told, "it does not run");
                must(engine, "POST", START, "", &[204, 304]);
                assert!(agrees(engine, &inspect(engine).expect("it is there")));
                must(engine, "POST", "/containers/web/kill", "", &[204]);
                testkit::eventually("it is gone", Duration::from_secs(5), || {
                    inspect(engine).is_none().then_some(())
                });
            }
        }
        // The next one may use its name and its port at once.
        must(engine, "POST", MAKE, PASSING, &[201]);
        must(engine, "POST", START, "", &[204]);
        assert!(agrees(engine, &inspect(engine).expect("it is there")));
    },
};

/// What the image holds, as a program in it sees it.
const SCRIPT: &str = "cat /etc/one /etc/two /etc/three /data/b /data/d /data/link /top/x; \
    test -e /data/a || echo hidden";
const CONTENT: &str = "one\ntwo\nthree\nnew\nd\nc\nx\nhidden\n";

fn image_is_whole(engine: &Engine, name: &str) -> bool {
    match engine.ask("GET", &format!("/images/{name}/json"), "", b"") {
        Some((404, _)) => return false,
        Some((200, _)) => {}
        other => panic!("image inspect: {other:?}"),
    }
    let seen = engine
        .w(&["run", "--rm", "--network", "none", name, "sh", "-c", SCRIPT])
        .ok();
    assert_eq!(seen.stdout, CONTENT);
    // Its blobs are all there too.
    let saved = engine.ask("GET", &format!("/images/{name}/get"), "", b"");
    let (status, archive) = saved.expect("an archive that came whole");
    assert_eq!(status, 200, "{archive}");
    assert!(archive.contains("manifest.json"));
    true
}

fn image_works(engine: &Engine, name: &str, told: bool, again: fn(&Engine) -> bool) {
    let there = image_is_whole(engine, name);
    assert!(there || !told, "an image is lost");
    assert!(again(engine));
    assert!(image_is_whole(engine, name));
    must(engine, "DELETE", &format!("/images/{name}"), "", &[200]);
    assert!(!image_is_whole(engine, name));
}

fn load(engine: &Engine) -> bool {
    let archive = testkit::image::three_layers();
    match engine.ask("POST", "/images/load", "application/x-tar", &archive) {
        Some((200, text)) => {
            assert!(text.contains("Loaded image: three:latest"), "{text}");
            true
        }
        Some((status, text)) => panic!("load: {status} {text}"),
        None => false,
    }
}

/// POST /images/load of three layers with twenty entries
pub const LOAD: Case = Case {
    busybox: false,
    beside: |_| None,
    prepare: nothing,
    act: load,
    check: |engine, told| image_works(engine, "three:latest", told, load),
};

const REMOTE: &str = "localhost:5000/three:latest";

fn pull(engine: &Engine) -> bool {
    let path = "/images/create?fromImage=localhost:5000/three&tag=latest";
    match engine.ask("POST", path, "application/json", b"") {
        Some((200, text)) => {
            assert!(
                text.contains("Status: Downloaded newer image")
                    || text.contains("Status: Image is up to date"),
                "{text}"
            );
            true
        }
        Some((status, text)) => panic!("pull: {status} {text}"),
        None => false,
    }
}

/// POST /images/create of three layers with twenty entries from a registry.
pub const PULL: Case = Case {
    busybox: false,
    beside: |engine| {
        let folder = engine.folder();
        let archive = folder.join("three.tar");
        std::fs::write(&archive, testkit::image::three_layers()).unwrap();
        let registry = Registry::start(engine.sandbox(), &folder);
        registry.push(engine.sandbox(), &archive, "three:latest");
        Some(registry)
    },
    prepare: nothing,
    act: pull,
    check: |engine, told| image_works(engine, REMOTE, told, pull),
};

/// DELETE /images/three
pub const UNTAG: Case = Case {
    busybox: false,
    beside: |_| None,
    prepare: |engine| assert!(load(engine)),
    act: |engine| tell(engine, "DELETE", "/images/three:latest", "", &[200]),
    check: |engine, told| {
        let there = image_is_whole(engine, "three:latest");
        assert!(!there || !told, "a removed image is there");
        assert!(load(engine));
        assert!(image_is_whole(engine, "three:latest"));
        must(engine, "DELETE", "/images/three:latest", "", &[200]);
    },
};
