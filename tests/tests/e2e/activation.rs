//! A daemon that a service manager starts with its socket: sd_listen_fds(3).

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use testkit::{Engine, Kind, run};

/// Starts the daemon with a listening socket as its first passed descriptor, and with `flags`.
fn activate(engine: &Engine, listener: UnixListener, flags: &[&str]) -> Child {
    let folder = engine.folder();
    // The numbers of a shell's process and of what it executes are the same.
    let script = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let mut command = engine.sandbox().command("sh");
    command
        .args(["-c", script])
        .arg(Engine::program())
        .arg("daemon")
        .arg(format!("--data-root={}", engine.data_root().display()))
        .arg(format!("--exec-root={}", engine.exec_root().display()))
        .arg(format!("--pidfile={}", folder.join("pid").display()))
        .args(flags)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stderr(std::fs::File::create(folder.join("activated.log")).unwrap());
    command.spawn().unwrap()
}

/// Asks before there is a daemon; the answer comes when there is one.
fn ask_early(engine: &Engine) -> UnixStream {
    let mut client = UnixStream::connect(engine.socket()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    client
        .write_all(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
        .unwrap();
    client
}

fn assert_answered(mut client: UnixStream) {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_daemon_serves_the_socket_that_it_is_passed() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        engine.stop_daemon();
        let listener = UnixListener::bind(engine.socket()).unwrap();
        let client = ask_early(engine);
        let mut daemon = activate(engine, listener.try_clone().unwrap(), &["--host=fd://"]);
        assert_answered(client);
        engine.d(&["run", "--rm", "wharf/isolation"]).ok();
        // The next daemon serves the same socket.
        engine.stop_daemon();
        daemon.wait().unwrap();
        let client = ask_early(engine);
        let mut daemon = activate(engine, listener, &["--host=fd://"]);
        assert_answered(client);
        engine.stop_daemon();
        daemon.wait().unwrap();
        assert!(engine.socket().exists(), "its file is the manager's");
        std::fs::remove_file(engine.socket()).unwrap();
        engine.start_daemon();
    });
}

#[test]
fn beside_a_passed_socket_dockers_is_served_if_it_is_nobodys() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        engine.stop_daemon();
        let inside = |words: &[&str]| {
            let mut command = engine.sandbox().command(words[0]);
            command.args(&words[1..]);
            run(command, b"").ok().text().to_owned()
        };
        inside(&["mount", "-t", "tmpfs", "none", "/run"]);
        inside(&["ln", "-s", "nowhere", "/run/docker.sock"]);
        let listener = UnixListener::bind(engine.socket()).unwrap();
        let client = ask_early(engine);
        let mut daemon = activate(engine, listener, &[]);
        assert_answered(client);
        assert_eq!(
            inside(&["stat", "-c", "%F %a", "/run/docker.sock"]),
            "socket 660"
        );
        assert_eq!(inside(&["ls", "/run"]), "docker.sock");
        engine.stop_daemon();
        daemon.wait().unwrap();
        assert_eq!(inside(&["ls", "/run"]), "");
        inside(&["umount", "/run"]);
        std::fs::remove_file(engine.socket()).unwrap();
        engine.start_daemon();
    });
}

#[test]
fn a_configuration_is_validated_without_a_start() {
    Engine::run(|engine| {
        if engine.kind() == Kind::Dockerd {
            return;
        }
        let file = engine.folder().join("daemon.json");
        let validate = |content: &str| {
            std::fs::write(&file, content).unwrap();
            let mut command = std::process::Command::new(Engine::program());
            command.args(["daemon", "--validate", "--config-file"]);
            command.arg(&file);
            run(command, b"")
        };
        let good = validate(r#"{"debug": true}"#).ok();
        assert_eq!(good.stderr, "configuration OK\n");
        let bad = validate(r#"{"debug": 7}"#);
        assert_eq!(bad.status, 1);
        assert!(bad.stderr.contains("a boolean"), "{}", bad.stderr);
    });
}
