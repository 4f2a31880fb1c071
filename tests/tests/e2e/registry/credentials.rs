//! A registry that asks who one is: what is in `config.json`, and what helper programs know.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Engine, run};

use super::server::{Registry, busybox};

const IMAGE: &str = "private/box:1";
/// `user:pw`
const GOOD: &str = "dXNlcjpwdw==";
/// `user:no`
const WRONG: &str = "dXNlcjpubw==";

/// Writes the clients' configuration.
fn configure(engine: &Engine, config: &Value) {
    let folder = engine.folder().parent().unwrap().join("config");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn credentials_of_the_configuration_open_a_registry() {
    Engine::run(|engine| {
        let registry = Registry::start_guarded(engine);
        registry.upload(&busybox(), IMAGE);
        let name = registry.name(IMAGE);
        let host = name.split_once('/').unwrap().0;
        let clients: [fn(&Engine, &[&str]) -> Command; 2] = [Engine::docker, Engine::wharf];
        for client in clients {
            let pull = |path: Option<&str>| {
                let mut command = client(engine, &["pull", &name]);
                if let Some(path) = path {
                    command.env("PATH", path);
                }
                run(command, b"")
            };
            for config in [
                json!({}),
                json!({"auths": {host: {}}}),
                json!({"auths": {"127.0.0.1:5001": {"auth": GOOD}}}),
            ] {
                configure(engine, &config);
                let failed = pull(None).fails_with(1);
                assert!(
                    failed.stderr.contains("no basic auth credentials"),
                    "{config}: {}",
                    failed.stderr
                );
            }
            for config in [
                json!({"auths": {host: {"auth": GOOD}}}),
                json!({"auths": {format!("http://{host}/v1/"): {"auth": GOOD}}}),
            ] {
                configure(engine, &config);
                pull(None).ok();
                engine.d(&["rmi", &name]).ok();
                // A container's image is pulled as who one is, too.
                run(client(engine, &["run", "--rm", &name, "true"]), b"").ok();
                engine.d(&["rmi", &name]).ok();
            }
            let helpers = registry.scratch("helpers");
            let path = format!(
                "{}:{}",
                helpers.display(),
                std::env::var("PATH").unwrap_or_default()
            );
            let helper = helpers.join("docker-credential-test");
            fs::write(
                &helper,
                format!(
                    "#!/bin/sh\nread -r server\n[ \"$1 $server\" = 'get {host}' ] || exit 1\n\
                     echo '{{\"ServerURL\":\"{host}\",\"Username\":\"user\",\"Secret\":\"pw\"}}'\n"
                ),
            )
            .unwrap();
            fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
            for config in [
                json!({"credsStore": "test", "auths": {host: {"auth": WRONG}}}),
                json!({"credsStore": "no-such-helper", "credHelpers": {host: "test"}}),
                json!({"credsStore": "no-such-helper", "auths": {host: {"auth": GOOD}}}),
            ] {
                configure(engine, &config);
                pull(Some(&path)).ok();
                engine.d(&["rmi", &name]).ok();
            }
        }
        // Docker's client asks for a password then, whether there is somebody or not.
        if engine.kind() == testkit::Kind::Wharf {
            configure(engine, &json!({"auths": {host: {"auth": WRONG}}}));
            let failed = engine.w(&["pull", &name]).fails_with(1);
            assert!(
                failed
                    .stderr
                    .contains("unauthorized: authentication required"),
                "{}",
                failed.stderr
            );
        }
    });
}
