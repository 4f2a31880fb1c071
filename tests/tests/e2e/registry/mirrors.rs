//! Mirrors of every registry, from flags and from daemon.json.

use std::io::Write;

use serde_json::json;
use testkit::{Engine, Kind, Options};

use super::server::{Registry, busybox};

#[test]
fn mirrors_are_asked_before_any_registry() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // The first is down; the second holds what ghcr.example has, below a name of its own.
    let mirrors = json!({"ghcr.example": ["http://127.0.0.1:9", "http://127.0.0.1:5000/ghcr"]});
    let config = match Kind::from_environment() {
        Kind::Wharf => json!({"mirrors": mirrors}),
        Kind::Dockerd => json!({}),
    };
    file.write_all(config.to_string().as_bytes()).unwrap();
    let options = Options {
        flags: vec![
            "--registry-mirror=http://127.0.0.1:5000".to_owned(),
            format!("--config-file={}", file.path().display()),
        ],
        ..Options::default()
    };
    Engine::run_with(options, |engine| {
        let registry = Registry::start(engine);
        registry.upload(&busybox(), "library/box:1");
        registry.upload(&busybox(), "ghcr/a/box:1");
        let names = match engine.kind() {
            Kind::Wharf => &["box:1", "ghcr.example/a/box:1"][..],
            // It has mirrors of docker.io alone.
            Kind::Dockerd => &["box:1"],
        };
        for client in [Engine::d, Engine::w] {
            for name in names {
                client(engine, &["pull", name]).ok();
                super::prints(engine, name, &["echo", "fine"], "fine\n");
                client(engine, &["rmi", name]).ok();
            }
            for name in names {
                let (status, told) = super::distribution::ask(engine, name, "");
                assert_eq!(status, 200, "{name}: {told}");
            }
            let format = ["info", "-f", "{{json .RegistryConfig.Mirrors}}"];
            let told = client(engine, &format).ok();
            assert_eq!(told.text(), "[\"http://127.0.0.1:5000/\"]");
        }
        // What no mirror has is the registry's to say.
        if engine.kind() == Kind::Wharf {
            let failed = engine.w(&["pull", "ghcr.example/a/other:1"]).fails_with(1);
            assert!(
                failed.stderr.contains("\"https://ghcr.example/v2/\""),
                "{}",
                failed.stderr
            );
        }
    });
}
