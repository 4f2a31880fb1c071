//! A process 1 of our own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;

use runtime::Prepared;
use runtime::plan::Plan;
use runtime::spawn::{Stdio, Stream, spawn};
use support::{plan, root, run};
use sys::process::Exit;

fn with_init(root: &std::path::Path, script: &str) -> Plan {
    Plan {
        init: true,
        ..plan(root, script)
    }
}

#[test]
fn the_program_is_its_child_and_lends_it_its_status() {
    let root = root();
    let ended = run(with_init(
        root.path(),
        "echo $$; cat /proc/1/comm; ls /proc/1/fd; exit 9",
    ))
    .unwrap();
    assert_eq!(
        (ended.output.as_str(), ended.exit),
        ("2\nwharf-init\n0\n1\n2\n", Exit::Code(9))
    );
    let ended = run(with_init(root.path(), "kill -9 $$")).unwrap();
    assert_eq!(ended.exit, Exit::Code(137));
}

/// As docker's is shown.
#[test]
fn it_is_shown_with_the_program() {
    let root = root();
    let script = "cat /proc/1/cmdline";
    let ended = run(with_init(root.path(), script)).unwrap();
    let expected = format!("/sbin/docker-init -- sh -c {script}\0");
    assert_eq!(ended.output, expected);
}

#[test]
fn orphans_are_reaped() {
    let root = root();
    // The inner shell ends at once and leaves its sleep behind, which then ends too.
    let script =
        "sh -c 'sleep 0.05 &'; sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status; echo done";
    assert_eq!(
        run(with_init(root.path(), script)).unwrap().output,
        "done\n"
    );
}

#[test]
fn signals_reach_the_program() {
    let root = root();
    let prepared = Prepared::new(with_init(
        root.path(),
        "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done",
    ))
    .unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let out = Stream::Fd(writer.as_fd());
    let spawned = spawn(
        &prepared,
        &[],
        Stdio {
            stdin: Stream::Null,
            stdout: out,
            stderr: out,
        },
    )
    .unwrap();
    drop(writer);
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    sys::process::pidfd_send_signal(spawned.pidfd.as_fd(), libc::SIGTERM).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "got\n");
    assert_eq!(
        sys::process::wait(spawned.pidfd.as_fd(), true),
        Ok(Some(Exit::Code(3)))
    );
}

#[test]
fn a_missing_program_is_a_fault_all_the_same() {
    let root = root();
    let mut plan = with_init(root.path(), "");
    plan.process.args = vec![b"nope".to_vec()];
    assert_eq!(run(plan.clone()).unwrap_err().exit_code(), 127);
}
