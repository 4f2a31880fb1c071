//! Containers that are written down and made again by the program criu. It does not work on every kernel: where the variable
//! `WHARF_CRIU` is set, as in the emulated machine, it has to.

mod flags;

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Bundle;

#[test]
fn without_criu_a_sentence_tells() {
    let bundle = Bundle::new("sleep 1000");
    bundle.quietly(&["run", "-d", "ID"]);
    let run = |words: &[&str]| {
        let words = [&["--criu", "/no/such/criu"], words].concat();
        let sentence = bundle.run(&words).sentence();
        let named = "needs the program /no/such/criu, which is not installed";
        assert!(sentence.contains(named), "{sentence}");
    };
    run(&["checkpoint", "ID"]);
    assert_eq!(bundle.status(), "running");
    run(&["restore", "other"]);
    bundle.run(&["delete", "--force", "ID"]).good();
    assert!(!bundle.path("checkpoint").exists());
}

#[test]
fn flags_of_checkpoints_are_checked() {
    let bundle = Bundle::new("sleep 1000");
    bundle.create(&[]);
    let sentence = bundle.run(&["checkpoint", "ID"]).sentence();
    assert!(
        sentence.contains("cannot be checkpointed in created state"),
        "{sentence}"
    );
    bundle.run(&["start", "ID"]).good();
    // Any program will do: it is asked for nothing.
    for (flag, value, words) in [
        (
            "--manage-cgroups-mode",
            "mild",
            "invalid manage-cgroups-mode value",
        ),
        ("--empty-ns", "mount", "namespace mount is not supported"),
        ("--page-server", "nowhere", "--page-server"),
        ("--status-fd", "x", "status-fd"),
    ] {
        let words_given = ["--criu", "/bin/true", "checkpoint", flag, value, "ID"];
        let sentence = bundle.run(&words_given).sentence();
        assert!(sentence.contains(words), "{sentence}");
        let _ = fs::remove_dir_all(bundle.path("checkpoint"));
    }
    let sentence = bundle
        .run(&["--criu", "/bin/true", "checkpoint", "ID"])
        .sentence();
    assert!(sentence.contains("criu"), "{sentence}");
    bundle.run(&["delete", "--force", "ID"]).good();
}

fn has_criu() -> bool {
    std::env::var_os("WHARF_CRIU").is_some()
}

/// A container that counts, ten times a second.
fn counting() -> Bundle {
    let mut bundle =
        Bundle::new("i=0; while :; do i=$((i+1)); echo $i >/tmp/n; busybox usleep 100000; done");
    bundle.push(
        "/mounts",
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
    );
    fs::create_dir(bundle.path("data")).unwrap();
    fs::write(bundle.path("data/file"), "of the host\n").unwrap();
    let data = bundle.path("data");
    bundle.push(
        "/mounts",
        json!({"destination": "/mnt", "type": "bind", "source": data, "options": ["rbind"]}),
    );
    bundle.config["linux"]["resources"]["pids"] = json!({"limit": 77});
    bundle
}

/// How far the container has counted.
#[track_caller]
fn count(bundle: &Bundle) -> u64 {
    // The file may be empty for a moment.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let told = bundle.run(&["exec", "ID", "cat", "/tmp/n"]).good();
        match told.trim().parse() {
            Ok(count) => return count,
            Err(_) => assert!(Instant::now() < deadline, "{told}"),
        }
    }
}

#[track_caller]
fn goes_on(bundle: &Bundle, from: u64) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match count(bundle) {
            more if more > from => return more,
            less => assert!(Instant::now() < deadline, "{less}"),
        }
    }
}

#[test]
fn a_container_goes_on_where_it_was() {
    if !has_criu() {
        testkit::skip("criu is not installed");
        return;
    }
    let bundle = counting();
    bundle.quietly(&["run", "-d", "ID"]);
    let before = goes_on(&bundle, 5);
    // A look while it runs on, and the rest later.
    let pre = ["checkpoint", "--pre-dump", "--image-path", "first", "ID"];
    bundle.run(&pre).good();
    assert_eq!(bundle.status(), "running");
    let left = [
        "checkpoint",
        "--leave-running",
        "--image-path",
        "left",
        "ID",
    ];
    bundle.run(&left).good();
    goes_on(&bundle, before);
    let whole = [
        "checkpoint",
        "--parent-path",
        "../first",
        "--image-path",
        "second",
        "--work-path",
        "work",
        "ID",
    ];
    bundle.run(&whole).good();
    assert_eq!(bundle.leftovers(), [""; 0]);
    assert!(bundle.path("work/dump.log").exists());
    let pid_file = bundle.path("pid");
    let restore = [
        "restore",
        "-d",
        "--pid-file",
        "pid",
        "--image-path",
        "second",
        "ID",
    ];
    bundle.quietly(&restore);
    let pid = fs::read_to_string(pid_file).unwrap();
    assert_eq!(bundle.state()["pid"].to_string(), pid);
    let after = goes_on(&bundle, before);
    let told = bundle
        .run(&[
            "exec",
            "ID",
            "sh",
            "-c",
            "cat /mnt/file /proc/1/cgroup; ls /sys/fs/cgroup | busybox wc -l",
        ])
        .good();
    assert!(told.starts_with("of the host\n"), "{told}");
    assert!(
        told.contains(&format!("/{}\n", bundle.id)) && !told.ends_with("\n0\n"),
        "{told}"
    );
    // As any other: its limits hold, it is held and let go, and it ends.
    bundle.run(&["pause", "ID"]).good();
    assert_eq!(bundle.status(), "paused");
    bundle.run(&["resume", "ID"]).good();
    goes_on(&bundle, after);
    bundle.run(&["delete", "--force", "ID"]).good();
    // What was left running goes on from there, too, and the command that waits has its status.
    // A file takes the place of a file.
    let file = || fs::File::create(bundle.path("attached")).unwrap();
    let mut attached = bundle
        .command(&["restore", "--image-path", "left", "ID"])
        .stdout(file())
        .stderr(file())
        .spawn()
        .unwrap();
    bundle.await_known();
    goes_on(&bundle, before);
    bundle.run(&["kill", "ID", "KILL"]).good();
    assert_eq!(attached.wait().unwrap().code(), Some(137));
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_terminal_is_handed_over_again() {
    if !has_criu() {
        testkit::skip("criu is not installed");
        return;
    }
    let mut bundle = Bundle::new("while read -r line; do echo \"<$line>\"; done");
    bundle.config["process"]["terminal"] = json!(true);
    let path = bundle.path("console");
    let listener = UnixListener::bind(&path).unwrap();
    let receive = || {
        let (connection, _) = listener.accept().unwrap();
        let mut buffer = [0; 64];
        let fd = std::os::fd::AsFd::as_fd(&connection);
        let received = sys::fdpass::recv(fd, &mut buffer, sys::fdpass::Wait::Block).unwrap();
        fs::File::from(received.descriptors.into_iter().next().unwrap())
    };
    bundle.quietly(&["run", "-d", "--console-socket", "console", "ID"]);
    let first = receive();
    bundle
        .run(&["checkpoint", "--shell-job", "--image-path", "img", "ID"])
        .good();
    drop(first);
    let socket = path.to_str().unwrap();
    let restore = [
        "restore",
        "-d",
        "--shell-job",
        "--console-socket",
        socket,
        "--image-path",
        "img",
        "ID",
    ];
    bundle.quietly(&restore);
    let mut second = receive();
    std::io::Write::write_all(&mut second, b"again\n").unwrap();
    let mut told = String::new();
    while !told.contains("<again>") {
        let mut buffer = [0; 64];
        let count = std::io::Read::read(&mut second, &mut buffer).unwrap();
        told.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    bundle.run(&["delete", "--force", "ID"]).good();
}

#[test]
fn what_cannot_be_made_again_leaves_nothing() {
    if !has_criu() {
        testkit::skip("criu is not installed");
        return;
    }
    let mut bundle = counting();
    bundle.quietly(&["run", "-d", "ID"]);
    bundle
        .run(&["checkpoint", "--image-path", "img", "ID"])
        .good();
    let sentence = bundle
        .run(&["restore", "--image-path", "none", "ID"])
        .sentence();
    assert!(sentence.contains("opening the folder none"), "{sentence}");
    fs::remove_file(bundle.path("img/pstree.img")).unwrap();
    bundle.refused_with(&["restore", "--image-path", "img", "ID"], "restore.log");
    bundle.config["mounts"].as_array_mut().unwrap().pop();
    bundle.refused_with(
        &["restore", "--image-path", "img", "ID"],
        "no mount that /mnt is a part of",
    );
}
