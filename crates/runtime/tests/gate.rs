//! A process that is created now and started later.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use runtime::plan::{FdSlot, Plan, Seccomp};
use runtime::spawn::{GateError, Stdio, Stream, make_gate, pass_gate, spawn};
use runtime::{Prepared, Step};
use support::{end, plan, root, run_with};
use sys::process::Exit;

const NAME: &str = "start";

fn gated(root: &std::path::Path, script: &str) -> Plan {
    let mut plan = plan(root, script);
    plan.process.gate = Some(FdSlot(0));
    plan.process.die_with_parent = false;
    plan
}

fn folder() -> (tempfile::TempDir, OwnedFd) {
    let folder = tempfile::tempdir().unwrap();
    let open = fs::File::open(folder.path()).unwrap().into();
    (folder, open)
}

#[test]
fn a_process_waits_until_it_is_let_through() {
    let root = root();
    let (path, folder) = folder();
    let fds = [make_gate(folder.as_fd(), NAME).unwrap()];
    let mut plan = gated(root.path(), "ls /proc/self/fd; exit 3");
    plan.process.no_new_privs = true;
    plan.process.seccomp = Some(Seccomp {
        program: vec![(6, 0, 0, libc::SECCOMP_RET_ALLOW)],
        flags: 0,
    });
    let prepared = Prepared::new(plan).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let stdio = Stdio {
        stdout: Stream::Fd(writer.as_fd()),
        ..Default::default()
    };
    let spawned = spawn(&prepared, &fds, stdio).unwrap();
    drop((fds, writer));
    let program = format!("/proc/{}/exe", spawned.pid);
    assert_eq!(
        fs::read_link(&program).unwrap(),
        std::env::current_exe().unwrap()
    );
    pass_gate(folder.as_fd(), NAME).unwrap();
    let ended = end(spawned, reader);
    // The last is the descriptor of the listing itself.
    assert_eq!(
        (ended.output.as_str(), ended.exit),
        ("0\n1\n2\n3\n", Exit::Code(3))
    );
    let again = pass_gate(folder.as_fd(), NAME);
    assert!(matches!(again, Err(GateError::NobodyWaits)), "{again:?}");
    fs::remove_file(path.path().join(NAME)).unwrap();
    let gone = pass_gate(folder.as_fd(), NAME);
    assert!(matches!(gone, Err(GateError::NobodyWaits)), "{gone:?}");
}

#[test]
fn a_missing_program_is_told_before_the_gate() {
    let root = root();
    let (_path, folder) = folder();
    for (name, program, step) in [("a", "nope", Step::Lookup), ("b", "/nope", Step::Stat)] {
        let mut plan = gated(root.path(), "");
        plan.process.args = vec![program.into()];
        let gate = make_gate(folder.as_fd(), name).unwrap();
        assert_eq!(run_with(plan, &[gate]).unwrap_err().step, step);
    }
}

#[test]
fn a_program_that_the_kernel_refuses_is_told_to_whoever_opens_the_gate() {
    let root = root();
    let (_path, folder) = folder();
    let fds = [make_gate(folder.as_fd(), NAME).unwrap()];
    fs::write(root.path().join("bin/text"), "no program").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(root.path().join("bin/text"), mode).unwrap();
    let mut plan = gated(root.path(), "");
    plan.process.args = vec!["/bin/text".into()];
    let prepared = Prepared::new(plan).unwrap();
    let spawned = spawn(&prepared, &fds, Stdio::default()).unwrap();
    drop(fds);
    match pass_gate(folder.as_fd(), NAME) {
        Err(GateError::Fault(fault)) => {
            assert_eq!((fault.step, fault.errno), (Step::Execute, libc::ENOEXEC));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        sys::process::wait(spawned.pidfd.as_fd(), true),
        Ok(Some(Exit::Code(128)))
    );
}
