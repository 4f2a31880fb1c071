//! How the command line and small mistakes of a configuration are answered: words and statuses are runc's.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use serde_json::json;

use crate::support::Bundle;

#[test]
fn statuses_tell_the_command_line_from_the_container() {
    let bundle = Bundle::new("sleep 1000");
    bundle.quietly(&["run", "-d", "ID"]);
    for (words, status, told) in [
        (&["juggle", "ID"][..], 3, "No help topic for 'juggle'"),
        (
            &["exec"],
            1,
            "wharf-runtime: \"exec\" requires a minimum of 1 argument(s)",
        ),
        (
            &["exec", "--bogus", "ID", "true"],
            1,
            "flag provided but not defined: -bogus",
        ),
        (
            &["exec", "-g", "x", "ID", "true"],
            1,
            "additional-gids: \"x\" is no group id",
        ),
        (
            &["exec", "-u", "x", "ID", "true"],
            255,
            "exec failed: parsing x as int for uid failed",
        ),
        (
            &["exec", "-u", "x:y", "ID", "true"],
            255,
            "exec failed: parsing y as int for gid failed",
        ),
        (
            &["exec", "-u", "0:y", "ID", "true"],
            255,
            "exec failed: parsing y as int for gid failed",
        ),
        (
            &["exec", "ID"],
            255,
            "exec failed: process args cannot be empty",
        ),
        (
            &["exec", "", "true"],
            255,
            "exec failed: container id cannot be empty",
        ),
        (&["state", ""], 1, "container id cannot be empty"),
        (
            &["--log", "/no/such/log", "state", "ID"],
            1,
            "open /no/such/log: no such file or directory",
        ),
    ] {
        let ended = bundle.run(words);
        assert_eq!(ended.status, Some(status), "{words:?}: {ended:?}");
        assert_eq!(ended.sentence(), told, "{words:?}");
    }
    let told = bundle.run(&["exec", "-u", "", "ID", "id", "-u"]).good();
    assert_eq!(told, "0\n");
    bundle.run(&["delete", "-f", "ID"]).good();
}

#[test]
fn variables_have_a_name_and_a_value() {
    let running = Bundle::new("sleep 1000");
    running.quietly(&["run", "-d", "ID"]);
    for (variable, why) in [
        ("C", "missing '='"),
        ("", "missing '='"),
        ("=x", "name cannot be empty"),
    ] {
        let words = format!("invalid environment variable: {why}");
        let mut bundle = Bundle::new("true");
        bundle.config["process"]["env"] = json!(["A=b", variable]);
        bundle.refused("run", &[&words], variable);
        let ended = running.run(&["exec", "-e", variable, "ID", "true"]);
        assert_eq!(ended.status, Some(255), "{ended:?}");
        assert!(ended.sentence().ends_with(&words), "{variable:?}");
    }
    running.run(&["delete", "-f", "ID"]).good();
}

#[test]
fn what_is_nowhere_is_named() {
    let mut bundle = Bundle::new("true");
    let path = bundle.path("nosuch");
    bundle.config["root"]["path"] = json!("nosuch");
    let words = format!(
        "invalid rootfs: stat {}: no such file or directory",
        path.display()
    );
    bundle.refused("run", &[&words], "root");
    let mut bundle = Bundle::new("true");
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_BOGUS"],
    });
    let words = "string SCMP_ARCH_BOGUS is not a valid arch for seccomp";
    bundle.refused("run", &[words], "architecture");
}

#[test]
fn devices_are_made_below_the_root_whatever_their_path_says() {
    let mut bundle = Bundle::new("ls /dev/first /dev/second");
    bundle.config["linux"]["devices"] = json!([
        {"path": "dev/first", "type": "c", "major": 1, "minor": 3},
        {"path": "/dev/../../dev/second", "type": "c", "major": 1, "minor": 3},
    ]);
    assert_eq!(
        bundle.run(&["run", "ID"]).good(),
        "/dev/first\n/dev/second\n"
    );
    for path in ["", "/", "/dev/../.."] {
        bundle.config["linux"]["devices"] =
            json!([{"path": path, "type": "c", "major": 1, "minor": 3}]);
        let words = format!("linux.devices[0].path: {path:?} is not a place below the root");
        bundle.refused("run", &[&words], path);
    }
}

#[test]
fn what_a_user_without_rights_is_given_to_begin_with_is_sound() {
    let bundle = Bundle::new("true");
    bundle
        .run(&["spec", "--rootless", "--bundle", "sample"])
        .sentence();
    fs::remove_file(bundle.path("sample/config.json")).unwrap();
    bundle
        .run(&["spec", "--rootless", "--bundle", "sample"])
        .good();
    let text = fs::read_to_string(bundle.path("sample/config.json")).unwrap();
    assert!(!text.contains("null"), "{text}");
    assert!(text.contains("/sys/fs/cgroup"), "{text}");
}

#[test]
fn files_and_terminals_of_the_caller_stay_its_own() {
    let mut bundle = Bundle::new("true");
    bundle.config["process"]["user"] = json!({"uid": 7, "gid": 7});
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let ptmx = rustix::pty::openpt(flags).unwrap();
    let peer = sys::process::terminal_peer(ptmx.as_fd()).unwrap();
    let file = fs::File::create(bundle.path("out")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
    let (pipe, end) = std::io::pipe().unwrap();
    let owner = |fd: std::os::fd::BorrowedFd<'_>| rustix::fs::fstat(fd).unwrap().st_uid;
    let mut run = bundle.command(&["run", "ID"]);
    run.stdin(Stdio::from(peer.try_clone().unwrap()))
        .stdout(Stdio::from(file.try_clone().unwrap()))
        .stderr(Stdio::from(std::os::fd::OwnedFd::from(end)));
    assert_eq!(run.status().unwrap().code(), Some(0));
    assert_eq!(owner(peer.as_fd()), 0);
    assert_eq!(file.metadata().unwrap().uid(), 0);
    // Nobody else has it, and it can be opened anew.
    assert_eq!(owner(pipe.as_fd()), 7);
}

#[test]
fn a_creation_that_was_broken_off_is_told_and_can_be_removed() {
    let mut bundle = Bundle::new("true");
    let fifo = bundle.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let script = format!("exec 3>{0}; read -r line <{0}", fifo.display());
    bundle.config["hooks"] = json!({
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}],
    });
    let mut create = bundle.command(&["create", "ID"]);
    let mut create = create
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The hook has begun once its end is open.
    let hook = fs::File::open(&fifo).unwrap();
    assert_eq!(bundle.status(), "creating");
    let told = bundle.run(&["exec", "ID", "true"]).sentence();
    assert!(told.contains("is being created"), "{told}");
    create.kill().unwrap();
    create.wait().unwrap();
    fs::write(&fifo, "go on\n").unwrap();
    drop(hook);
    assert_eq!(
        bundle.run(&["start", "ID"]).sentence(),
        "cannot start a container whose creation was broken off"
    );
    bundle.run(&["delete", "ID"]).good();
}
