//! A day of somebody who has used Docker for years: every line of `tests/data/day` is typed into a shell in which
//! `docker` is one of the clients, in the order of the list, on one engine.
//!
//! What Debian's dockerd makes of it, by Docker's client, is in `tests/data/docker-20.10/day`; what Wharf's makes of it
//! by the same client is compared with that, and what `wharf` says with what `docker` says, both on Wharf. Lines that
//! differ and may are listed with a reason in `tests/data/day-differences` and `tests/data/day-client-differences`, ten
//! at the most. `ENGINE=dockerd RECORD=1` writes the answers anew; without `RECORD` it finds out whether they are still
//! true.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::{fs, thread};

use testkit::image::ImageBuilder;
use testkit::{Engine, Kind, Options, run};

use super::compare::{
    Answer, Invocation, beside, differ, invocations, is_reference, known, masked, record,
};

/// The answers of Debian's dockerd.
const RECORDED: &str = "docker-20.10/day";
/// As few lines may differ.
const MOST: usize = 10;

#[test]
fn a_day_of_use_is_the_same_by_either_client_and_on_either_engine() {
    let lines = invocations("day");
    let calls: usize = lines
        .iter()
        .map(|line| line.text.matches("docker ").count())
        .sum();
    assert!(
        lines.len() >= 700 && calls >= 800,
        "{} lines, {calls} calls",
        lines.len()
    );
    let mut report = String::new();
    match Kind::from_environment() {
        Kind::Wharf => {
            let (by_docker, by_wharf) = thread::scope(|scope| {
                let by_docker = scope.spawn(|| day(Kind::Wharf, false, &lines));
                let by_wharf = scope.spawn(|| day(Kind::Wharf, true, &lines));
                (by_docker.join().unwrap(), by_wharf.join().unwrap())
            });
            differ(
                &lines,
                &by_docker,
                &by_wharf,
                &few("day-client-differences"),
                &mut report,
            );
            if is_reference() {
                beside(
                    RECORDED,
                    &lines,
                    &by_docker,
                    few("day-differences"),
                    &mut report,
                );
            }
        }
        Kind::Dockerd => {
            let found = day(Kind::Dockerd, false, &lines);
            if std::env::var_os("RECORD").is_some() {
                record(RECORDED, &lines, &found);
            } else if is_reference() {
                beside(RECORDED, &lines, &found, BTreeSet::new(), &mut report);
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

fn few(name: &str) -> BTreeSet<String> {
    let known = known(name);
    assert!(known.len() <= MOST, "{name} has {} lines", known.len());
    known
}

/// The answers to all lines, on an engine of its own.
fn day(kind: Kind, wharf: bool, lines: &[Invocation]) -> Vec<Answer> {
    let engine = Engine::start(kind, Options::default());
    let folder = engine.folder();
    fs::copy(testkit::image::busybox(), folder.join("busybox.tar")).unwrap();
    fs::write(folder.join("site.tar"), site()).unwrap();
    let client = if wharf {
        engine.wharf(&[])
    } else {
        engine.docker(&[])
    };
    let path = a_command("docker", &folder, &client);
    let root = engine.data_root().parent().unwrap().display().to_string();
    let found = lines
        .iter()
        .map(|line| {
            let mut shell = engine.sandbox().network_command("sh");
            shell
                .args(["-c", &line.text])
                .current_dir(&folder)
                .env("PATH", &path);
            masked(&run(shell, b""), &root)
        })
        .collect();
    engine.check_leaks();
    engine.stop_daemon();
    found
}

/// Puts a program into the folder that calls a client as `command` does, and gives the `PATH` for it.
pub(super) fn a_command(name: &str, folder: &Path, command: &Command) -> String {
    let variables = command.get_envs().map(|(name, value)| match value {
        Some(value) => format!("export {}='{}'\n", name.display(), value.display()),
        None => format!("unset {}\n", name.display()),
    });
    let program = command.get_args().nth(2).unwrap();
    // Looked up where the folder of this file is not the first.
    let path = std::env::var("PATH").unwrap();
    let script = format!(
        "#!/bin/sh\n{}PATH='{path}'\nexec {} \"$@\"\n",
        variables.collect::<String>(),
        program.display()
    );
    let own = folder.join("bin");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join(name), script).unwrap();
    fs::set_permissions(own.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{path}", own.display())
}

/// `site:1`: an image with all that a configuration can have.
fn site() -> Vec<u8> {
    let busybox = fs::read("/bin/busybox").unwrap();
    let mut image = ImageBuilder::new()
        .folder("bin")
        .file("bin/busybox", 0o755, &busybox);
    for name in [
        "sh", "httpd", "wget", "cat", "ls", "id", "pwd", "env", "echo", "sleep",
    ] {
        image = image.link(&format!("bin/{name}"), "busybox");
    }
    image
        .folder("etc")
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/:/bin/sh\nweb:x:33:33:web:/srv:/bin/sh\n",
        )
        .file("etc/group", 0o644, b"root:x:0:\nweb:x:33:\n")
        .next_layer()
        .folder("srv")
        .file("srv/index.html", 0o644, b"<h1>It works</h1>\n")
        .folder("srv/data")
        .file("srv/data/seed", 0o644, b"seed\n")
        .config("Entrypoint", serde_json::json!(["httpd", "-f"]))
        .config("Cmd", serde_json::json!(["-p", "80", "-h", "/srv"]))
        .config("Env", serde_json::json!(["PATH=/bin", "SITE=main"]))
        .config("ExposedPorts", serde_json::json!({"80/tcp": {}}))
        .config("Volumes", serde_json::json!({"/srv/data": {}}))
        .config("WorkingDir", serde_json::json!("/srv"))
        .config("StopSignal", serde_json::json!("SIGKILL"))
        .config(
            "Labels",
            serde_json::json!({"org.example.kind": "web", "org.example.tier": "front"}),
        )
        .archive("site:1")
}
