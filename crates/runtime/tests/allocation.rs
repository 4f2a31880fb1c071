//! Between clone and execve nothing allocates: an allocator that kills every process but the test's own proves it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicI32, Ordering};

use runtime::plan::{
    ExecPlan, FdSlot, IdMap, MountKind, NsMode, Plan, ProcessPlan, Rlimit, RootChange, Seccomp,
    attr,
};
use runtime::spawn::{Spawned, Stdio, begin, exec, make_gate, pass_gate, spawn};
use runtime::{Prepared, PreparedExec, Step};
use support::{all_caps, plan, root};
use sys::process::{CloneArgs, Cloned, Exit};

/// The process that may allocate; 0 while all may.
static ALLOWED: AtomicI32 = AtomicI32::new(0);

struct Guard;

fn check() {
    let allowed = ALLOWED.load(Ordering::Relaxed);
    // SAFETY: getpid and abort take nothing.
    unsafe {
        if allowed != 0 && libc::getpid() != allowed {
            libc::abort();
        }
    }
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        check();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static GUARD: Guard = Guard;

fn wait(spawned: &Spawned) -> Exit {
    sys::process::wait(spawned.pidfd.as_fd(), true)
        .unwrap()
        .unwrap()
}

/// A plan in which every step has something to do.
fn everything(root: &std::path::Path) -> Plan {
    let mut plan = plan(root, "exit 5");
    plan.mounts.push(support::fs_mount(
        "/new/folder",
        "tmpfs",
        Default::default(),
        &[("size", "1m")],
    ));
    plan.sysctls = vec![("kernel.msgmax".into(), "4711".into())];
    plan.root_readonly = true;
    plan.namespaces.cgroup = NsMode::New;
    plan.domainname = Some("home".into());
    plan.process = ProcessPlan {
        cwd: "/made/here".into(),
        create_cwd: true,
        groups: vec![1, 2, 3],
        rlimits: vec![Rlimit {
            resource: libc::RLIMIT_CORE,
            soft: 0,
            hard: 0,
            explicit: true,
        }],
        oom_score_adj: Some((100, true)),
        keyring: Some("_ses.allocation".into()),
        // Allow all.
        seccomp: Some(Seccomp {
            program: vec![(6, 0, 0, libc::SECCOMP_RET_ALLOW)],
            flags: 0,
        }),
        ..plan.process
    };
    plan
}

#[test]
fn the_walk_does_not_allocate() {
    ALLOWED.store(std::process::id() as i32, Ordering::Relaxed);
    the_allocator_kills_children();
    let root = root();
    std::fs::set_permissions(
        root.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    for (terminal, init, uid) in [(false, false, 0), (true, false, 1000), (true, true, 0)] {
        let mut plan = everything(root.path());
        plan.terminal = terminal;
        plan.console_bind = terminal;
        plan.console_size = Some((24, 80));
        plan.init = init;
        plan.process.uid = uid;
        let spawned = spawn(&Prepared::new(plan).unwrap(), &[], Stdio::default()).unwrap();
        assert_eq!(
            wait(&spawned),
            Exit::Code(5),
            "terminal {terminal}, init {init}, user {uid}"
        );
    }
    a_fault_does_not_allocate(root.path());
    joining_does_not_allocate(root.path());
    a_user_namespace_does_not_allocate(root.path());
    a_gate_does_not_allocate(root.path());
    a_shown_root_does_not_allocate(root.path());
    a_listener_does_not_allocate(root.path());
    a_process_between_does_not_allocate(root.path());
    no_fault_allocates(root.path());
}

fn a_gate_does_not_allocate(root: &std::path::Path) {
    let path = tempfile::tempdir().unwrap();
    let folder = std::fs::File::open(path.path()).unwrap();
    for (name, no_new_privs) in [("first", false), ("second", true)] {
        let fds = [make_gate(folder.as_fd(), name).unwrap()];
        let mut plan = everything(root);
        plan.process.gate = Some(FdSlot(0));
        plan.process.no_new_privs = no_new_privs;
        let prepared = Prepared::new(plan).unwrap();
        let spawned = spawn(&prepared, &fds, Stdio::default()).unwrap();
        drop(fds);
        pass_gate(folder.as_fd(), name).unwrap();
        assert_eq!(wait(&spawned), Exit::Code(5));
    }
}

/// With targets behind links that lead to nothing, mounts that are changed, and attributes at both depths.
fn a_shown_root_does_not_allocate(root: &std::path::Path) {
    std::os::unix::fs::symlink("/to/../nothing", root.join("lost")).unwrap();
    for change in [RootChange::Pivot, RootChange::Cover(vec!["/tmp".into()])] {
        let mut plan = everything(root);
        plan.shown_at = Some(root.to_str().unwrap().to_owned());
        plan.root_change = change;
        let tmpfs = |target| support::fs_mount(target, "tmpfs", Default::default(), &[]);
        plan.mounts.extend([tmpfs("/lost/yet"), tmpfs("/tmp")]);
        let mut again = tmpfs("/tmp");
        again.kind = MountKind::Remount {
            options: vec![("size".into(), Some("1m".into()))],
        };
        again.attrs.below_set = attr::NO_SUID;
        plan.mounts.push(again);
        let mut pending = begin(&Prepared::new(plan).unwrap(), &[], Stdio::default()).unwrap();
        pending.await_mounts().unwrap();
        assert_eq!(wait(&pending.proceed().unwrap()), Exit::Code(5));
    }
}

fn a_listener_does_not_allocate(root: &std::path::Path) {
    let mut plan = everything(root);
    plan.process.seccomp = Some(Seccomp {
        program: vec![(6, 0, 0, libc::SECCOMP_RET_ALLOW)],
        flags: libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32,
    });
    let pending = begin(&Prepared::new(plan).unwrap(), &[], Stdio::default()).unwrap();
    let mut listeners = 0;
    let spawned = pending.proceed_with(&mut |_, _| {
        listeners += 1;
        Ok(())
    });
    assert_eq!(wait(&spawned.unwrap()), Exit::Code(5));
    assert_eq!(listeners, 1);
}

/// A first process, and a further one, that another makes which joins namespaces for it.
fn a_process_between_does_not_allocate(root: &std::path::Path) {
    let other = plan(root, "sleep 1000");
    let other = spawn(&Prepared::new(other).unwrap(), &[], Stdio::default()).unwrap();
    let net = std::fs::File::open(format!("/proc/{}/ns/net", other.pid)).unwrap();
    let mut users = plan(root, "sleep 1000");
    users.namespaces.user = NsMode::New;
    users.namespaces.net = NsMode::Join(FdSlot(0));
    users.mounts.retain(|mount| mount.target != "/sys");
    users.uid_map = vec![IdMap {
        inside: 0,
        outside: 300_000,
        count: 65_536,
    }];
    users.gid_map = users.uid_map.clone();
    let target = spawn(
        &Prepared::new(users).unwrap(),
        &[net.into()],
        Stdio::default(),
    )
    .unwrap();
    let process = ProcessPlan {
        args: ["sh", "-c", "exit 6"].map(Into::into).to_vec(),
        env: vec![b"PATH=/bin".to_vec()],
        ..Default::default()
    };
    let plan = ExecPlan {
        process,
        user_namespace: true,
        unprivileged: true,
        affinity: [Some(vec![0xff; 8]), Some(vec![0xff; 8])],
        ..Default::default()
    };
    let plan = PreparedExec::new(plan).unwrap();
    let spawned = exec(target.pidfd.as_fd(), &plan, &[], Stdio::default()).unwrap();
    assert_eq!(wait(&spawned), Exit::Code(6));
    for process in [target, other] {
        sys::process::pidfd_send_signal(process.pidfd.as_fd(), libc::SIGKILL).unwrap();
        wait(&process);
    }
}

fn no_fault_allocates(root: &std::path::Path) {
    let fails = |change: &dyn Fn(&mut Plan), step: Step| {
        let mut plan = everything(root);
        change(&mut plan);
        let fault = spawn(&Prepared::new(plan).unwrap(), &[], Stdio::default()).unwrap_err();
        assert_eq!(fault.step, step);
    };
    let tmpfs = |target| support::fs_mount(target, "tmpfs", Default::default(), &[]);
    fails(
        &|plan| plan.process.labels = vec![("exec".into(), "a-label".into())],
        Step::Label,
    );
    fails(
        &|plan| {
            let mut again = tmpfs("/etc");
            again.kind = MountKind::Remount {
                options: Vec::new(),
            };
            again.attrs.set = attr::READ_ONLY;
            plan.mounts.push(again);
        },
        Step::MountAttributes,
    );
    std::os::unix::fs::symlink("round", root.join("round")).unwrap();
    fails(&|plan| plan.mounts.push(tmpfs("/round")), Step::MountTarget);
    fails(&|plan| plan.mounts.push(tmpfs("/proc/1")), Step::ProcSafety);
    fails(&|plan| plan.masked = vec!["/etc".repeat(2000)], Step::Mask);
    fails(
        &|plan| plan.sysctls = vec![("kernel.nonsense".into(), "1".into())],
        Step::Sysctl,
    );
    fails(
        &|plan| plan.process.cwd = "/etc/passwd".into(),
        Step::WorkingFolder,
    );
    fails(&|plan| plan.process.groups = vec![1; 70_000], Step::Groups);
}

fn the_allocator_kills_children() {
    // SAFETY: the child breaks the rule on purpose and does nothing else.
    match unsafe { sys::process::clone(&CloneArgs::default()) }.unwrap() {
        Cloned::Child => {
            std::hint::black_box(vec![0u8; 100]);
            sys::process::exit(0)
        }
        Cloned::Parent { pidfd, .. } => {
            assert_eq!(
                sys::process::wait(pidfd.as_fd(), true),
                Ok(Some(Exit::Signal(libc::SIGABRT)))
            );
        }
    }
}

fn a_fault_does_not_allocate(root: &std::path::Path) {
    let mut plan = everything(root);
    plan.process.args = vec![b"nope".to_vec()];
    assert_eq!(
        spawn(&Prepared::new(plan).unwrap(), &[], Stdio::default())
            .unwrap_err()
            .step,
        Step::Lookup
    );
}

fn joining_does_not_allocate(root: &std::path::Path) {
    let target = spawn(
        &Prepared::new(plan(root, "sleep 1000")).unwrap(),
        &[],
        Stdio::default(),
    )
    .unwrap();
    for terminal in [false, true] {
        let process = ProcessPlan {
            args: ["sh", "-c", "exit 6"].map(Into::into).to_vec(),
            env: vec![b"PATH=/bin".to_vec()],
            caps: all_caps(),
            oom_score_adj: Some((50, false)),
            ..Default::default()
        };
        let exec_plan = PreparedExec::new(ExecPlan {
            process,
            terminal,
            ..Default::default()
        })
        .unwrap();
        let spawned = exec(target.pidfd.as_fd(), &exec_plan, &[], Stdio::default()).unwrap();
        assert_eq!(wait(&spawned), Exit::Code(6));
    }
    sys::process::pidfd_send_signal(target.pidfd.as_fd(), libc::SIGKILL).unwrap();
    wait(&target);
}

fn a_user_namespace_does_not_allocate(root: &std::path::Path) {
    for path in [root.to_owned(), root.join("dev")] {
        std::os::unix::fs::chown(path, Some(300_000), Some(300_000)).unwrap();
    }
    let mut plan = plan(root, "exit 7");
    plan.namespaces.user = NsMode::New;
    plan.uid_map = vec![IdMap {
        inside: 0,
        outside: 300_000,
        count: 65_536,
    }];
    plan.gid_map = plan.uid_map.clone();
    let spawned = spawn(&Prepared::new(plan).unwrap(), &[], Stdio::default()).unwrap();
    assert_eq!(wait(&spawned), Exit::Code(7));
}
