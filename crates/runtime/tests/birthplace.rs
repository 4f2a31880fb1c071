//! A start from an empty mount namespace.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::Command;

use runtime::plan::{ExecPlan, ProcessPlan};
use runtime::spawn::{Stdio, Stream, exec, spawn};
use runtime::{Prepared, PreparedExec};
use support::{all_caps, birthplace, plan, root};

#[test]
fn the_container_sees_its_own_root_only() {
    // The harness has other threads, with which this one shares its root and working folder no more.
    sys::process::unshare(libc::CLONE_FS).unwrap();
    let root = root();
    let home = std::fs::read_link("/proc/thread-self/ns/mnt").unwrap();
    let empty = birthplace();
    let script = "cat /proc/self/mountinfo | head -1 | cut -d' ' -f5; ls / /..; ls /proc/1/root/../bin | grep -c sh; echo end; sleep 1000";
    std::os::unix::fs::symlink("busybox", root.path().join("bin/cut")).unwrap();
    std::os::unix::fs::symlink("busybox", root.path().join("bin/head")).unwrap();
    let mut prepared = Prepared::new(plan(root.path(), script)).unwrap();
    prepared.set_birthplace(empty);
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
    let mut before = String::new();
    while !before.ends_with("end\n") {
        assert_ne!(reader.read_line(&mut before).unwrap(), 0, "{before}");
    }
    // The caller is where it was.
    assert_eq!(
        std::fs::read_link("/proc/thread-self/ns/mnt").unwrap(),
        home
    );
    // Up from the container's root there is nothing else.
    let top = Command::new("ls")
        .arg(format!("/proc/{}/root/../../", spawned.pid))
        .output()
        .unwrap();
    let listing = "bin\ndev\netc\nproc\nsys\ntmp\n";
    assert_eq!(String::from_utf8_lossy(&top.stdout), listing);
    let process = ProcessPlan {
        args: ["sh", "-c", "ls /; test -e /bin/busybox"]
            .map(Into::into)
            .to_vec(),
        env: vec![b"PATH=/bin".to_vec()],
        caps: all_caps(),
        ..Default::default()
    };
    let joined = exec(
        spawned.pidfd.as_fd(),
        &PreparedExec::new(ExecPlan {
            process,
            ..Default::default()
        })
        .unwrap(),
        &[],
        Stdio::default(),
    )
    .unwrap();
    assert_eq!(
        sys::process::wait(joined.pidfd.as_fd(), true),
        Ok(Some(sys::process::Exit::Code(0)))
    );
    sys::process::pidfd_send_signal(spawned.pidfd.as_fd(), libc::SIGKILL).unwrap();
    sys::process::wait(spawned.pidfd.as_fd(), true).unwrap();
    assert_eq!(before, format!("/\n/:\n{listing}\n/..:\n{listing}1\nend\n"));
}
