//! What a registry has under a name, asked by way of the engine: `GET /distribution/NAME/json`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Engine, Kind, TokenServer, run};

use super::server::{Registry, busybox};

/// `{"username":"user","password":"pw"}`, and with the password `no`.
const GOOD: &str = "eyJ1c2VybmFtZSI6InVzZXIiLCJwYXNzd29yZCI6InB3In0=";
const WRONG: &str = "eyJ1c2VybmFtZSI6InVzZXIiLCJwYXNzd29yZCI6Im5vIn0=";

/// Status and body of the answer about a name; who asks is told unless it is empty.
pub(super) fn ask(engine: &Engine, name: &str, who: &str) -> (u16, Value) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-w", "\n%{http_code}", "--unix-socket"])
        .arg(engine.socket());
    if !who.is_empty() {
        curl.args(["-H", &format!("X-Registry-Auth: {who}")]);
    }
    curl.arg(format!("http://engine/v1.41/distribution/{name}/json"));
    let told = run(curl, b"").ok().stdout;
    let (body, status) = told.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("{name}: {body}"));
    (status.parse().unwrap(), body)
}

#[track_caller]
fn refused(engine: &Engine, name: &str, who: &str, status: u16, words: &str) {
    let (told, body) = ask(engine, name, who);
    let message = body["message"].as_str().unwrap_or_default();
    assert!(
        told == status && message.contains(words),
        "{name}: {told} {body}"
    );
}

#[test]
fn a_name_s_digest_and_platforms_are_told() {
    Engine::run(|engine| {
        let registry = Registry::start(engine);
        registry.fill_by_skopeo("gzip:1", "zstd:1");
        registry.fill_by_buildah("parts");
        let before = engine.census();
        let platform = |arch: &str| json!({"architecture": arch, "os": "linux"});
        for (image, platforms) in [
            ("gzip:1", json!([platform("amd64")])),
            ("zstd:1", json!([platform("amd64")])),
            ("parts/arm64:1", json!([platform("arm64")])),
            (
                "parts/list:1",
                json!([platform("amd64"), platform("arm64")]),
            ),
        ] {
            let manifest = registry.manifest(image);
            // Docker 20.10 does not look into manifests of OCI.
            let is_list = manifest["manifests"].is_array();
            let known = match engine.kind() {
                Kind::Wharf => true,
                Kind::Dockerd => is_list || image == "gzip:1",
            };
            let digest = registry.digest(image);
            let whole = registry.name(image);
            let by_digest = format!("{}@{digest}", whole.rsplit_once(':').unwrap().0);
            for name in [whole, by_digest] {
                let (status, told) = ask(engine, &name, "");
                assert_eq!(status, 200, "{name}: {told}");
                let target = &told["Descriptor"];
                assert_eq!(target["digest"], digest.as_str(), "{name}");
                assert_eq!(target["mediaType"], manifest["mediaType"], "{name}");
                let length = std::fs::metadata(registry.blob(&digest)).unwrap().len();
                assert_eq!(target["size"], length, "{name}");
                let expected = if known { &platforms } else { &Value::Null };
                assert_eq!(told["Platforms"], *expected, "{name}");
            }
        }
        let unknown = "manifest unknown: manifest unknown";
        refused(engine, &registry.name("gzip:2"), "", 404, unknown);
        refused(engine, &registry.name("nowhere:1"), "", 404, "unknown: ");
        let absent = format!("{}@sha256:{}", registry.name("gzip"), "0".repeat(64));
        refused(engine, &absent, "", 404, "manifest unknown: ");
        refused(engine, "127.0.0.1:9/x:1", "", 500, "connection refused");
        refused(engine, "Upper:1", "", 400, "must be lowercase");
        refused(engine, "scratch", "", 400, "'scratch' is a reserved name");
        let id = "a".repeat(64);
        let told = "no manifest found for full image ID";
        refused(engine, &id, "", 500, told);
        let left = engine.census().beyond(&before);
        assert!(left.is_empty(), "{left}");
    });
}

#[test]
fn a_guarded_registry_tells_who_may_ask() {
    Engine::run(|engine| {
        let registry = Registry::start_guarded(engine);
        registry.upload(&busybox(), "private/box:1");
        let name = registry.name("private/box:1");
        let nobody = "no basic auth credentials";
        refused(engine, &name, "", 500, nobody);
        // What can not be understood counts as nothing.
        refused(engine, &name, "%%%", 500, nobody);
        let told = "unauthorized: authentication required";
        refused(engine, &name, WRONG, 401, told);
        assert_eq!(ask(engine, &name, GOOD).0, 200);
    });
}

#[test]
fn a_registry_with_tokens_tells_who_may_ask() {
    Engine::run(|engine| {
        let folder = engine.folder();
        let tokens = TokenServer::start(engine.sandbox(), Path::new(&folder), 5001);
        let registry = Registry::start_with_tokens(engine, &tokens);
        registry.upload(&busybox(), "public/box:1");
        registry.upload(&busybox(), "private/box:1");
        let (open, closed) = (
            registry.name("public/box:1"),
            registry.name("private/box:1"),
        );
        assert_eq!(ask(engine, &open, "").0, 200);
        assert_eq!(ask(engine, &closed, GOOD).0, 200);
        let denied = "denied: requested access to the resource is denied";
        refused(engine, &closed, "", 403, denied);
        refused(engine, &closed, WRONG, 401, "unauthorized: ");
    });
}
