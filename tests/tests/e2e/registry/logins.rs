//! Logging in and out, by both clients, and what they keep of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Engine, Finished, Terminal, TokenServer, run};

use super::server::{Registry, busybox};

/// `user:pw`
const GOOD: &str = "dXNlcjpwdw==";
const CLIENTS: [fn(&Engine, &[&str]) -> Command; 2] = [Engine::docker, Engine::wharf];

fn file(engine: &Engine) -> PathBuf {
    engine.folder().parent().unwrap().join("config/config.json")
}

/// Writes the clients' configuration.
fn configure(engine: &Engine, config: &Value) {
    let path = file(engine);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, config.to_string()).unwrap();
}

fn configured(engine: &Engine) -> Value {
    serde_json::from_slice(&fs::read(file(engine)).unwrap()).unwrap()
}

/// A registry that wants a password, its name, and an image that is to go there.
fn start(engine: &Engine) -> (Registry, String, String) {
    engine.load_busybox();
    let registry = Registry::start_guarded(engine);
    let name = registry.name("private/box:1");
    engine.d(&["tag", "busybox", &name]).ok();
    let host = name.split_once('/').unwrap().0.to_owned();
    (registry, host, name)
}

#[track_caller]
fn says(done: &Finished, words: &str) {
    assert!(
        done.stderr.contains(words),
        "{words:?} instead of {:?}",
        done.stderr
    );
}

#[test]
fn who_is_logged_in_may_push_and_nobody_else() {
    Engine::run(|engine| {
        let (_registry, host, name) = start(engine);
        for client in CLIENTS {
            let call = |args: &[&str], input: &str| run(client(engine, args), input.as_bytes());
            let empty = json!({"auths": {}, "psFormat": "table {{.ID}}"});
            configure(engine, &empty);
            says(
                &call(&["push", &name], "").fails_with(1),
                "no basic auth credentials",
            );
            let login = ["login", "-u", "user", "--password-stdin", host.as_str()];
            let wrong = call(&login, "no\n").fails_with(1);
            says(
                &wrong,
                &format!("login attempt to http://{host}/v2/ failed with status: 401 Unauthorized"),
            );
            assert_eq!(configured(engine), empty, "nothing is kept of it");
            let right = call(&login, "pw\n").ok();
            assert_eq!(right.stdout, "Login Succeeded\n");
            says(
                &right,
                "WARNING! Your credentials are stored unencrypted in '",
            );
            let kept = configured(engine);
            assert_eq!(kept["auths"][&host], json!({"auth": GOOD}));
            assert_eq!(kept["psFormat"], empty["psFormat"]);
            call(&["push", &name], "").ok();
            let known = call(&["login", &host], "").ok();
            says(
                &known,
                "Authenticating with existing credentials... [Username: user]",
            );
            assert_eq!(known.stdout, "Login Succeeded\n");
            let out = call(&["logout", &format!("http://{host}/v2/")], "").ok();
            assert_eq!(
                out.stdout,
                format!("Removing login credentials for {host}\n")
            );
            assert_eq!(configured(engine)["auths"], json!({}));
            says(
                &call(&["push", &name], "").fails_with(1),
                "no basic auth credentials",
            );
            call(&["logout", &host], "").ok();
            // Nobody is there to be asked.
            let asked = call(&["login", &host], "").fails_with(1);
            says(
                &asked,
                "Error: Cannot perform an interactive login from a non TTY device",
            );
            let both = call(&["login", "-p", "x", "--password-stdin", &host], "");
            says(
                &both.fails_with(1),
                "cannot specify both --password and --password-stdin",
            );
        }
    });
}

#[test]
fn a_person_is_asked_and_the_password_is_not_shown() {
    Engine::run(|engine| {
        let (_registry, host, _) = start(engine);
        configure(engine, &json!({}));
        let mut terminal = Terminal::start(engine.wharf(&["login", &host]), 30, 100);
        terminal.expect("Username: ");
        terminal.send("user\n");
        terminal.expect("Password: ");
        terminal.send("pw\n");
        let (status, text) = terminal.finish();
        assert_eq!(status, 0, "{text}");
        assert!(!text.contains("pw"), "{text}");
        assert!(text.contains("Login Succeeded"), "{text}");
        assert_eq!(configured(engine)["auths"][&host], json!({"auth": GOOD}));
    });
}

/// Keeps what it is told in a file beside it.
const HELPER: &str = r#"#!/bin/sh
place=$(dirname "$0")/kept
case $1 in
store) cat > "$place" ;;
get) read -r server; grep -qs "\"$server\"" "$place" || { echo 'credentials not found in native keychain'; exit 1; }; cat "$place" ;;
erase) rm -f "$place" ;;
esac
"#;

#[test]
fn helpers_keep_credentials_and_give_them_up() {
    Engine::run(|engine| {
        let (registry, host, name) = start(engine);
        let folder = registry.scratch("helpers");
        let helper = folder.join("docker-credential-test");
        fs::write(&helper, HELPER).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", folder.display());
        for client in CLIENTS {
            let call = |args: &[&str], input: &str| {
                let mut command = client(engine, args);
                command.env("PATH", &path);
                run(command, input.as_bytes())
            };
            let login = ["login", "-u", "user", "--password-stdin", host.as_str()];
            for config in [
                json!({"credsStore": "test"}),
                json!({"credsStore": "no-such", "credHelpers": {&host: "test"}}),
            ] {
                configure(engine, &config);
                call(&login, "pw\n").ok();
                let kept: Value =
                    serde_json::from_slice(&fs::read(folder.join("kept")).unwrap()).unwrap();
                assert_eq!(
                    kept,
                    json!({"ServerURL": host, "Username": "user", "Secret": "pw"})
                );
                assert_eq!(configured(engine)["auths"][&host], json!({}));
                call(&["push", &name], "").ok();
                call(&["logout", &host], "").ok();
                assert!(!folder.join("kept").exists());
                assert_eq!(configured(engine)["auths"], json!({}));
            }
            configure(engine, &json!({"credsStore": "no-such"}));
            let missing = call(&login, "pw\n").fails_with(1);
            says(
                &missing,
                "exec: \"docker-credential-no-such\": executable file not found in $PATH",
            );
            assert_eq!(configured(engine), json!({"credsStore": "no-such"}));
        }
    });
}

#[test]
fn a_configuration_that_is_broken_is_left_alone() {
    Engine::run(|engine| {
        let (_registry, host, name) = start(engine);
        configure(engine, &json!({}));
        fs::write(file(engine), "{\"auths\": ").unwrap();
        let login = ["login", "-u", "user", "--password-stdin", host.as_str()];
        let refused = run(engine.wharf(&login), b"pw\n").fails_with(1);
        says(
            &refused,
            "Error saving credentials: Error parsing config file (",
        );
        let out = run(engine.wharf(&["logout", &host]), b"").ok();
        says(&out, "WARNING: could not erase credentials:");
        assert_eq!(fs::read(file(engine)).unwrap(), b"{\"auths\": ");
        let push = run(engine.wharf(&["push", &name]), b"").fails_with(1);
        says(&push, "no basic auth credentials");
    });
}

#[test]
fn tokens_open_a_registry_for_what_they_are_for() {
    Engine::run(|engine| {
        engine.load_busybox();
        let tokens = TokenServer::start(engine.sandbox(), &engine.folder(), 5001);
        let registry = Registry::start_with_tokens(engine, &tokens);
        registry.upload(&busybox(), "public/box:1");
        registry.upload(&busybox(), "private/box:1");
        let (public, private) = (
            registry.name("public/box:1"),
            registry.name("private/box:1"),
        );
        let host = public.split_once('/').unwrap().0;
        let clients: [fn(&Engine, &[&str]) -> Command; 2] = CLIENTS;
        for (number, client) in clients.into_iter().enumerate() {
            let call = |args: &[&str], input: &str| run(client(engine, args), input.as_bytes());
            // As nobody.
            configure(engine, &json!({}));
            call(&["pull", &public], "").ok();
            says(
                &call(&["pull", &private], "").fails_with(1),
                "pull access denied for 127.0.0.1:5000/private/box",
            );
            let denied = "denied: requested access to the resource is denied";
            says(&call(&["push", &public], "").fails_with(1), denied);
            // As somebody else.
            let login = ["login", "-u", "user", "--password-stdin", host];
            let wrong = call(&login, "no\n").fails_with(1);
            says(&wrong, "/v2/\": unauthorized: wrong name or password");
            assert_eq!(configured(engine), json!({}));
            // As the user: the password is not kept, but what stands for it.
            call(&login, "pw\n").ok();
            let kept = configured(engine)["auths"][host].clone();
            assert_eq!(kept["identitytoken"], "identity-of-user");
            let text = fs::read_to_string(file(engine)).unwrap();
            assert!(!text.contains(GOOD), "{text}");
            call(&["pull", &private], "").ok();
            let other = registry.name(&format!("private/{number}:1"));
            call(&["tag", &private, &other], "").ok();
            call(&["push", &other], "").ok();
            assert!(
                tokens
                    .seen()
                    .iter()
                    .any(|seen| seen.starts_with("POST ")
                        && seen.contains("grant_type=refresh_token")),
                "{:?}",
                tokens.seen()
            );
            call(&["rmi", &public, &private, &other], "").ok();
        }
    });
}
