//! The crate in a program with threads: they start containers at the same time, while others allocate, write and change
//! their own surroundings. Nothing of the caller's changes, and no start waits for what another thread holds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use runtime::plan::{ExecPlan, NsMode, Plan, ProcessPlan, TimeOffset};
use runtime::spawn::{Stdio, begin, exec, spawn};
use runtime::{Prepared, PreparedExec, Step};
use support::{all_caps, plan, root};
use sys::process::Exit;

/// Containers that each thread starts.
const ROUNDS: usize = 12;

/// The calling thread's namespaces, working folder, root and signals.
fn surroundings() -> BTreeMap<String, String> {
    let at = |name: &str| format!("/proc/thread-self/{name}");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(at("ns")).unwrap() {
        let name = format!("ns/{}", entry.unwrap().file_name().to_string_lossy());
        let link = std::fs::read_link(at(&name)).unwrap();
        found.insert(name, link.to_string_lossy().into_owned());
    }
    for name in ["cwd", "root"] {
        let link = std::fs::read_link(at(name)).unwrap();
        found.insert(name.to_owned(), link.to_string_lossy().into_owned());
    }
    let status = std::fs::read_to_string(at("status")).unwrap();
    let kept = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapEff",
        "NoNewPrivs",
        "Seccomp",
    ];
    for line in status.lines() {
        let (key, value) = line.split_once(':').unwrap();
        if kept.contains(&key) {
            found.insert(key.to_owned(), value.to_owned());
        }
    }
    found
}

/// What thread number `thread` starts in a round, and how that ends.
fn round(root: &std::path::Path, thread: usize, round: usize) {
    let code = (10 * thread + round) as i32 % 200;
    let mut plan: Plan = plan(root, &format!("exit {code}"));
    match round % 4 {
        // Born through another time namespace, which the thread must come back from.
        1 => {
            plan.namespaces.time = NsMode::New;
            plan.time_offsets = vec![TimeOffset {
                clock: libc::CLOCK_BOOTTIME,
                seconds: 1000,
                nanoseconds: 0,
            }];
        }
        2 => plan.process.args = vec![b"no-such-program".to_vec()],
        3 => {
            // Looked at between, and joined.
            plan.process.args[2] = b"sleep 1000".to_vec();
            let prepared = Prepared::new(plan).unwrap();
            let pending = begin(&prepared, &[], Stdio::default()).unwrap();
            pending.network_namespace().unwrap();
            let first = pending.proceed().unwrap();
            let process = ProcessPlan {
                args: vec![
                    b"/bin/sh".to_vec(),
                    b"-c".to_vec(),
                    format!("exit {code}").into_bytes(),
                ],
                caps: all_caps(),
                ..Default::default()
            };
            let further = PreparedExec::new(ExecPlan {
                process,
                ..Default::default()
            });
            let further = exec(
                first.pidfd.as_fd(),
                &further.unwrap(),
                &[],
                Stdio::default(),
            )
            .unwrap();
            let exit = sys::process::wait(further.pidfd.as_fd(), true).unwrap();
            assert_eq!(exit, Some(Exit::Code(code)));
            sys::process::pidfd_send_signal(first.pidfd.as_fd(), libc::SIGKILL).unwrap();
            let exit = sys::process::wait(first.pidfd.as_fd(), true).unwrap();
            assert_eq!(exit, Some(Exit::Signal(libc::SIGKILL)));
            return;
        }
        _ => {}
    }
    match spawn(&Prepared::new(plan).unwrap(), &[], Stdio::default()) {
        Ok(spawned) => {
            let exit = sys::process::wait(spawned.pidfd.as_fd(), true).unwrap();
            assert_eq!(exit, Some(Exit::Code(code)));
        }
        Err(fault) => assert_eq!((fault.step, round % 4), (Step::Lookup, 2)),
    }
}

#[test]
fn threads_start_containers_beside_each_other() {
    let root = root();
    let done = AtomicBool::new(false);
    let before = surroundings();
    thread::scope(|scope| {
        // Each holds the allocator's and the output's locks as often as it can.
        for _ in 0..2 {
            scope.spawn(|| {
                let mut kept = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    kept.push(vec![0u8; 1 + kept.len() % 5000]);
                    if kept.len() > 1000 {
                        kept.clear();
                    }
                    drop(std::io::stdout().lock());
                    let _ = std::env::var_os("PATH");
                }
            });
        }
        // Its surroundings are its own: nothing of them may reach a container, or be lost by one.
        scope.spawn(|| {
            sys::namespace::in_new_netns(|| {
                while !done.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            })
            .unwrap();
        });
        let starters: Vec<_> = (0..3)
            .map(|thread| {
                let root = root.path();
                scope.spawn(move || {
                    let before = surroundings();
                    for number in 0..ROUNDS {
                        round(root, thread, number);
                        assert_eq!(surroundings(), before, "thread {thread}, round {number}");
                    }
                })
            })
            .collect();
        let ended: Vec<_> = starters.into_iter().map(|starter| starter.join()).collect();
        done.store(true, Ordering::Relaxed);
        for ended in ended {
            ended.unwrap();
        }
    });
    assert_eq!(surroundings(), before);
    // No child is left that nobody waited for.
    assert_eq!(sys::process::wait_any(false), Err(rustix::io::Errno::CHILD));
}
