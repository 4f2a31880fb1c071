#![allow(warnings)]
//! Processes that join a container, and terminals.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use runtime::plan::{ExecPlan, Plan, ProcessPlan};
use runtime::spawn::{Spawned, Stdio, Stream, exec, spawn};
use runtime::{Fault, Prepared, PreparedExec};
use support::{Ended, all_caps, end, plan, root};
use sys::process::Exit;

fn start(plan: Plan) -> Spawned {
    spawn(&Prepared::new(plan).unwrap(), &[], Stdio::default()).unwrap()
}

fn stop(spawned: &Spawned) {
    sys::process::pidfd_send_signal(spawned.pidfd.as_fd(), libc::SIGKILL).unwrap();
    sys::process::wait(spawned.pidfd.as_fd(), true).unwrap();
}

fn script(text: &str) -> ExecPlan {
    ExecPlan {
        process: ProcessPlan {
            args: ["sh", "-c", text]
                .map(|arg| arg.as_bytes().to_vec())
                .to_vec(),
            env: vec![b"PATH=/bin".to_vec()],
            caps: all_caps(),
            ..Default::default()
        },
        ..Default::default()
    }
}

fn run_in(target: &Spawned, plan: ExecPlan) -> Result<Ended, Fault> {
    let (reader, writer) = std::io::pipe().unwrap();
    let out = Stream::Fd(writer.as_fd());
    let stdio = Stdio {
        stdin: Stream::Null,
        stdout: out,
        stderr: out,
    };
    let spawned = exec(
        target.pidfd.as_fd(),
        &PreparedExec::new(plan).unwrap(),
        &[],
        stdio,
    )?;
    drop(writer);
    Ok(end(spawned, reader))
}

/// Reads a terminal until its program is gone.
fn terminal_text(spawned: Spawned) -> (String, Exit) {
    let mut text = Vec::new();
    let mut terminal = File::from(spawned.console.unwrap());
    let mut part = [0; 4096];
    // The end of a terminal is EIO.
    while let Ok(count @ 1..) = terminal.read(&mut part) {
        text.extend_from_slice(&part[..count]);
    }
    let exit = sys::process::wait(spawned.pidfd.as_fd(), true)
        .unwrap()
        .unwrap();
    (String::from_utf8(text).unwrap(), exit)
}

#[test]
fn a_joining_process_in_a_user_namespace_is_its_root() {
    let root = root();
    let mut plan = plan(root.path(), "sleep 1000");
    for path in [root.path().to_owned(), root.path().join("dev")] {
        std::os::unix::fs::chown(path, Some(200_000), Some(200_000)).unwrap();
    }
    let map = vec![runtime::plan::IdMap {
        inside: 0,
        outside: 200_000,
        count: 65_536,
    }];
    plan.namespaces.user = runtime::plan::NsMode::New;
    plan.uid_map.clone_from(&map);
    plan.gid_map = map;
    let target = start(plan);

    use rustix::fs::*;
    let t = target.pidfd.try_clone().unwrap();
    for user in [false, true] {
    let t = t.try_clone().unwrap();
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let flags = libc::CLONE_NEWNS | if user { libc::CLONE_NEWUSER } else { 0 };
        eprintln!("setns {:?}", sys::process::setns(t.as_fd(), flags));
        if user { eprintln!("{:?} {:?}", sys::process::set_group(0), sys::process::set_user(0)); }
        let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        for path in [c"/", c"/dev", c"/dev/null", c"/dev/zero", c"/dev/pts", c"/bin/sh"] {
          for fl in [OFlags::PATH, OFlags::RDONLY] {
            eprintln!("{user} {path:?} {fl:?} in_root {:?} plain {:?} stat {:?}", sys::mount::open_in(root.as_fd(), path, fl).map(drop), openat(CWD, path, fl, Mode::empty()).map(drop), fstat(&root).map(|s| (s.st_ino, s.st_uid)));
          }
        }
        eprintln!("rdwr {:?}", sys::mount::open_in(root.as_fd(), c"/dev/null", OFlags::RDWR).map(drop));
        unsafe { libc::_exit(0) };
    }
    let mut st = 0;
    unsafe { libc::waitpid(pid, &mut st, 0) };
    }
    panic!("x");
    stop(&target);
}

