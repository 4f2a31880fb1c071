//! Commands that stay with their container.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Bundle;

/// Waits for a command's end, and gives it up after a while.
#[track_caller]
fn ends(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn does(bundle: &Bundle, words: &[&str]) {
    let mut child = bundle.command(words).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(ends(&mut child), Some(0), "{words:?}");
}

#[test]
fn whoever_waits_for_a_container_holds_up_nobody() {
    let bundle = Bundle::new("sleep 1000");
    let mut run = bundle.command(&["run", "ID"]).spawn().unwrap();
    bundle.await_known();
    does(&bundle, &["pause", "ID"]);
    assert_eq!(bundle.status(), "paused");
    does(&bundle, &["resume", "ID"]);
    does(&bundle, &["update", "--pids-limit", "50", "ID"]);
    does(&bundle, &["delete", "--force", "ID"]);
    assert_eq!(ends(&mut run), Some(128 + 9));
}

#[test]
fn what_has_the_name_of_a_deleted_container_stays() {
    let bundle = Bundle::new("sleep 1000");
    let mut first = bundle.command(&["run", "ID"]).spawn().unwrap();
    bundle.await_known();
    // It is deleted, and another has its name, before the command that waits can look.
    let stopped = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(stopped, rustix::process::Signal::STOP).unwrap();
    does(&bundle, &["delete", "--force", "ID"]);
    bundle.quietly(&["run", "--detach", "ID"]);
    rustix::process::kill_process(stopped, rustix::process::Signal::CONT).unwrap();
    assert_eq!(ends(&mut first), Some(128 + 9));
    assert_eq!(bundle.status(), "running");
    does(&bundle, &["delete", "--force", "ID"]);
}

#[test]
fn a_service_that_never_says_that_it_is_ready_can_be_deleted() {
    let bundle = Bundle::new("sleep 1000");
    let path = bundle.path("manager");
    let _manager = UnixDatagram::bind(&path).unwrap();
    let out = std::fs::File::create(bundle.path("out")).unwrap();
    let mut create = bundle.command(&["create", "ID"]);
    create.env("NOTIFY_SOCKET", &path).stdout(out);
    assert_eq!(create.status().unwrap().code(), Some(0));
    let mut start = bundle.command(&["start", "ID"]);
    let mut start = start.env("NOTIFY_SOCKET", &path).spawn().unwrap();
    bundle.await_known();
    does(&bundle, &["delete", "--force", "ID"]);
    ends(&mut start);
}

#[test]
fn a_program_that_gets_more_than_it_reads_can_still_write() {
    const LINES: usize = 20_000;
    let mut bundle = Bundle::new("stty -echo; echo ready; cat");
    bundle.config["process"]["terminal"] = json!(true);
    let mut run = bundle.command(&["run", "ID"]);
    run.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut run = run.spawn().unwrap();
    let mut input = run.stdin.take().unwrap();
    let mut output = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    let (told, answer) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..LINES {
                if writeln!(input, "line {number}").is_err() {
                    return;
                }
            }
            // The end of a terminal's input.
            let _ = input.write_all(b"\x04");
        });
        scope.spawn(move || {
            let mut text = String::new();
            let _ = output.read_to_string(&mut text);
            told.send(text)
        });
        assert_eq!(ends(&mut run), Some(0));
    });
    let text = answer.recv().unwrap();
    assert_eq!(text.lines().count(), LINES);
    assert_eq!(
        text.lines().last().unwrap().trim(),
        format!("line {}", LINES - 1)
    );
}

#[test]
fn what_a_killed_restore_has_mounted_is_not_emptied() {
    let bundle = Bundle::new("true");
    let (root, shown) = (
        bundle.path("shown"),
        bundle.path("root").join(&bundle.id).join("criu-root"),
    );
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("kept"), "").unwrap();
    std::fs::create_dir_all(&shown).unwrap();
    let (from, at) = (sys_path(&root), sys_path(&shown));
    let clone = sys::mount::clone_tree(rustix::fs::CWD, &from, true).unwrap();
    sys::mount::attach_at(std::os::fd::AsFd::as_fd(&clone), rustix::fs::CWD, &at).unwrap();
    does(&bundle, &["delete", "--force", "ID"]);
    assert!(root.join("kept").exists());
}

fn sys_path(path: &std::path::Path) -> std::ffi::CString {
    std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
}
