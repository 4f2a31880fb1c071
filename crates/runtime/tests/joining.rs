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
fn a_process_joins_all_namespaces() {
    let root = root();
    let target = start(plan(root.path(), "sleep 1000"));
    let text = "hostname; cat /proc/1/cmdline | tr '\\0' ' '; echo; \
        for p in self 1; do for n in pid net mnt; do readlink /proc/$p/ns/$n; done; done; ls /proc/self/fd; exit 4";
    for name in ["tr", "readlink"] {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(name)).unwrap();
    }
    let ended = run_in(&target, script(text)).unwrap();
    let lines: Vec<&str> = ended.output.lines().collect();
    assert_eq!(lines[..2], ["box", "sleep 1000 "], "{}", ended.output);
    assert_eq!(lines[2..5], lines[5..8]);
    assert_eq!(lines[8..], ["0", "1", "2", "3"]);
    assert_eq!(ended.exit, Exit::Code(4));
    stop(&target);
}

#[test]
fn the_caller_stays_in_its_pid_namespace() {
    let root = root();
    let target = start(plan(root.path(), "sleep 1000"));
    let before = std::fs::read_link("/proc/thread-self/ns/pid_for_children").unwrap();
    run_in(&target, script("true")).unwrap();
    let fault = run_in(
        &target,
        ExecPlan {
            process: ProcessPlan {
                args: vec![b"nope".to_vec()],
                ..script("").process
            },
            ..script("")
        },
    );
    assert_eq!(fault.unwrap_err().exit_code(), 127);
    assert_eq!(
        std::fs::read_link("/proc/thread-self/ns/pid_for_children").unwrap(),
        before
    );
    stop(&target);
}

#[test]
fn a_target_that_is_gone_is_a_fault() {
    let root = root();
    let target = start(plan(root.path(), "sleep 1000"));
    stop(&target);
    let fault = run_in(&target, script("true")).unwrap_err();
    assert_eq!(
        (fault.step, fault.errno),
        (runtime::Step::PidNamespace, libc::ESRCH)
    );
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
    let ended = run_in(
        &target,
        ExecPlan {
            user_namespace: true,
            ..script("id -u; stat -c %u /proc/self/; touch /made")
        },
    );
    assert_eq!(ended.unwrap().output, "0\n0\n");
    stop(&target);
}

#[test]
fn a_first_process_gets_a_terminal_of_the_containers_own() {
    let root = root();
    let mut plan = plan(
        root.path(),
        "tty; stty size; ls -C /dev/pts; echo to console > /dev/console; exit 5",
    );
    plan.terminal = true;
    plan.console_bind = true;
    plan.console_size = Some((33, 111));
    let (text, exit) = terminal_text(start(plan));
    assert_eq!(text, "/dev/pts/0\r\n33 111\r\n0     ptmx\r\nto console\r\n");
    assert_eq!(exit, Exit::Code(5));
}

#[test]
fn a_joining_process_gets_one_too_and_reads_from_it() {
    let root = root();
    let target = start(plan(root.path(), "sleep 1000"));
    let plan = ExecPlan {
        terminal: true,
        ..script("tty; read word; echo got $word")
    };
    let spawned = exec(
        target.pidfd.as_fd(),
        &PreparedExec::new(plan).unwrap(),
        &[],
        Stdio::default(),
    )
    .unwrap();
    let mut keyboard = File::from(spawned.console.as_ref().unwrap().try_clone().unwrap());
    keyboard.write_all(b"salt\n").unwrap();
    let (text, exit) = terminal_text(spawned);
    assert!(
        text.contains("/dev/pts/0\r\n") && text.ends_with("got salt\r\n"),
        "{text}"
    );
    assert_eq!(exit, Exit::Code(0));
    stop(&target);
}

#[test]
fn init_gives_the_terminals_foreground_to_the_program() {
    let root = root();
    let mut plan = plan(root.path(), "read word; echo got $word");
    plan.terminal = true;
    plan.init = true;
    let spawned = start(plan);
    File::from(spawned.console.as_ref().unwrap().try_clone().unwrap())
        .write_all(b"pepper\n")
        .unwrap();
    let (text, _) = terminal_text(spawned);
    assert!(text.ends_with("got pepper\r\n"), "{text}");
}

/// fcntl(2), which the libc crate does not have for every target.
const F_SETSIG: libc::c_int = 10;

/// Holds whoever executes a program before its execve: opening the file waits until the lease on it is given up.
struct Held(File);

impl Held {
    fn new(program: &std::path::Path) -> Self {
        let file = File::open(program).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        // SAFETY: numbers. A signal that is ignored by default tells of the one who waits.
        unsafe {
            assert_eq!(libc::fcntl(fd, F_SETSIG, libc::SIGURG), 0);
            assert_eq!(libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK), 0);
        }
        Self(file)
    }

    fn wait_for_execve(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        // SAFETY: numbers.
        while unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&self.0), libc::F_GETLEASE) }
            == libc::F_WRLCK
        {
            assert!(
                std::time::Instant::now() < deadline,
                "nobody executes the program"
            );
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// Docker's capabilities, without that to trace.
fn few_caps() -> runtime::plan::CapSets {
    let few = 0xa80425fb;
    runtime::plan::CapSets {
        bounding: few,
        effective: few,
        permitted: few,
        ..Default::default()
    }
}

/// What a process of the container sees of one that is about to execute its program in the container's pid namespace.
fn look_into(target: &Spawned, pid: i32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let numbers = status.lines().find(|line| line.starts_with("NSpid:"));
    let inside = numbers.unwrap().split_whitespace().last().unwrap();
    let mut probe = script(&format!(
        "readlink /proc/{inside}/exe; readlink /proc/{inside}/fd/0; readlink /proc/self/exe"
    ));
    probe.process.caps = few_caps();
    run_in(target, probe).unwrap().output
}

fn open_descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

#[test]
fn nobody_looks_into_a_process_of_another_container_before_its_execve() {
    let root = root();
    std::os::unix::fs::symlink("busybox", root.path().join("bin/readlink")).unwrap();
    std::fs::copy("/usr/bin/busybox", root.path().join("bin/held")).unwrap();
    let mut first = plan(root.path(), "sleep 1000");
    first.process.caps = few_caps();
    let target = start(first);
    let held = Held::new(&root.path().join("bin/held"));

    let mut second = plan(root.path(), "");
    second.namespaces.pid = runtime::plan::NsMode::Join(runtime::plan::FdSlot(0));
    second.process.args = vec![b"/bin/held".to_vec(), b"true".to_vec()];
    second.process.caps = few_caps();
    let namespace = File::open(format!("/proc/{}/ns/pid", target.pid)).unwrap();
    let pending = runtime::spawn::set_off(
        &Prepared::new(second).unwrap(),
        &[namespace.into()],
        Stdio::default(),
    )
    .unwrap();
    held.wait_for_execve();
    assert_eq!(look_into(&target, pending.pid()), "/bin/busybox\n");
    // The streams and the channel.
    assert_eq!(open_descriptors(pending.pid()), 4);
    drop(held);
    stop(&pending.proceed().unwrap());

    let held = Held::new(&root.path().join("bin/held"));
    let mut joining = script("");
    joining.process.args = vec![b"/bin/held".to_vec(), b"true".to_vec()];
    joining.process.caps = few_caps();
    let joining = PreparedExec::new(joining).unwrap();
    let pending =
        runtime::spawn::exec_set_off(target.pidfd.as_fd(), &joining, &[], Stdio::default())
            .unwrap();
    held.wait_for_execve();
    assert_eq!(look_into(&target, pending.pid()), "/bin/busybox\n");
    assert_eq!(open_descriptors(pending.pid()), 4);
    drop(held);
    stop(&pending.proceed().unwrap());
    stop(&target);
}
