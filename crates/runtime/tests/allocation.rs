//! Between clone and execve nothing allocates: an allocator that kills every process but the test's own proves it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicI32, Ordering};

use runtime::plan::{
    ExecPlan, FdSlot, IdMap, Landlock, MemoryPolicy, MountAttrs, MountEntry, MountKind, NsMode,
    Plan, ProcessPlan, Propagation, Rlimit, RootChange, Scheduler, Seccomp, TargetKind, TimeOffset,
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
    plan.mounts.push(MountEntry {
        target: "/again".into(),
        kind: MountKind::Copy {
            source: "/new".into(),
            recursive: true,
            idmap: None,
        },
        attrs: MountAttrs {
            replaces: true,
            ..MountAttrs::of(attr::READ_ONLY)
        },
        propagation: Some(Propagation::Slave),
        create_target: TargetKind::Dir,
    });
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
        landlock: (sys::process::landlock_version() > 0).then(|| Landlock {
            files: 1 << 12,
            paths: vec![("/bin".into(), 1 << 12), ("/bin/busybox".into(), 1 << 12)],
            ..Default::default()
        }),
        memory_policy: Some(MemoryPolicy {
            mode: 4,
            nodes: Vec::new(),
        }),
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

/// Steps that no plan of this test can make fail in the new process: they are the caller's (and with it in a process that
/// may allocate), or the kernel refuses them to nobody here.
const NOT_PROVOKED: &[Step] = &[
    Step::Prepare,
    Step::MountSource,
    Step::RootSource,
    Step::PidNamespace,
    Step::Clone,
    Step::IdMaps,
    Step::MountIds,
    Step::Channel,
    Step::CgroupNamespace,
    Step::Session,
    Step::Isolate,
    Step::Root,
    Step::MountAttach,
    Step::Console,
    Step::RootReadOnly,
    Step::Stdio,
    Step::Bounding,
    Step::NoNewPrivileges,
    Step::ParentDeath,
    Step::Cleanup,
    Step::Init,
    Step::Gate,
];

fn no_fault_allocates(root: &std::path::Path) {
    let mut seen = vec![Step::Lookup];
    let tmpfs = |target| support::fs_mount(target, "tmpfs", Default::default(), &[]);
    std::os::unix::fs::symlink("round", root.join("round")).unwrap();
    std::fs::write(root.join("bin/garbage"), "no program").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(root.join("bin/garbage"), executable).unwrap();
    let long = "/etc".repeat(2000);
    type Change<'a> = &'a dyn Fn(&mut Plan);
    let faults: [(Step, Change<'_>); 34] = [
        (Step::Cgroup, &|plan| plan.cgroup.dirs = vec![FdSlot(0)]),
        (Step::JoinNamespace, &|plan| {
            plan.namespaces.net = NsMode::Join(FdSlot(0))
        }),
        (Step::MountFilesystem, &|plan| {
            let none = support::fs_mount("/tmp", "nofs", Default::default(), &[]);
            plan.mounts.push(none);
        }),
        (Step::MountOption, &|plan| {
            let options = [("mode", "0"), ("bogus", "1")];
            let none = support::fs_mount("/tmp", "tmpfs", Default::default(), &options);
            plan.mounts.push(none);
        }),
        (Step::MountAttributes, &|plan| {
            let mut again = tmpfs("/etc");
            again.kind = MountKind::Remount {
                options: Vec::new(),
            };
            again.attrs.set = attr::READ_ONLY;
            plan.mounts.push(again);
        }),
        (Step::MountTarget, &|plan| plan.mounts.push(tmpfs("/round"))),
        (Step::ProcSafety, &|plan| plan.mounts.push(tmpfs("/proc/1"))),
        (Step::Device, &|plan| {
            plan.devices[0].path = "/etc/passwd/x".into()
        }),
        (Step::Link, &|plan| {
            plan.links = vec![("x".into(), "/etc/passwd/x".into())]
        }),
        (Step::HostName, &|plan| plan.hostname = Some("x".repeat(65))),
        (Step::DomainName, &|plan| {
            plan.domainname = Some("x".repeat(65))
        }),
        (Step::Terminal, &|plan| {
            plan.terminal = true;
            plan.mounts.retain(|mount| mount.target != "/dev/pts");
        }),
        (Step::Sysctl, &|plan| {
            plan.sysctls = vec![("kernel.nonsense".into(), "1".into())]
        }),
        (Step::OomScore, &|plan| {
            plan.process.oom_score_adj = Some((-1001, true))
        }),
        (Step::Mask, &|plan| plan.masked = vec![long.clone()]),
        (Step::ReadOnlyPath, &|plan| {
            plan.readonly = vec![long.clone()]
        }),
        (Step::WorkingFolder, &|plan| {
            plan.process.cwd = "/etc/passwd".into()
        }),
        (Step::Scheduling, &|plan| {
            plan.process.scheduler = Some(Scheduler {
                policy: 77,
                ..Default::default()
            });
        }),
        (Step::MemoryPolicy, &|plan| {
            // To bind to no node.
            plan.process.memory_policy = Some(MemoryPolicy {
                mode: 2,
                nodes: vec![0],
            });
        }),
        (Step::Limit, &|plan| {
            plan.process.rlimits[0].soft = 5;
            plan.process.rlimits[0].hard = 4;
        }),
        (Step::Keyring, &|plan| {
            plan.process.keyring = Some("x".repeat(5000))
        }),
        (Step::Label, &|plan| {
            plan.process.labels = vec![("exec".into(), "a-label".into())];
        }),
        (Step::Landlock, &|plan| {
            plan.process.landlock = Some(Landlock {
                files: 1,
                paths: vec![("/bin".into(), 1), ("/no/such".into(), 1)],
                ..Default::default()
            });
        }),
        (Step::Groups, &|plan| plan.process.groups = vec![1; 70_000]),
        (Step::Capabilities, &|plan| {
            plan.process.caps.permitted = 0;
            plan.process.caps.effective = 1;
        }),
        (Step::Ambient, &|plan| plan.process.caps.ambient = 1),
        (Step::Seccomp, &|plan| {
            plan.process.seccomp = Some(Seccomp::default());
        }),
        (Step::Stat, &|plan| {
            plan.process.args = vec![b"/nope".to_vec()]
        }),
        (Step::IsDirectory, &|plan| {
            plan.process.args = vec![b"/etc".to_vec()]
        }),
        (Step::NotExecutable, &|plan| {
            plan.process.args = vec![b"/etc/passwd".to_vec()]
        }),
        (Step::Execute, &|plan| {
            plan.process.args = vec![b"/bin/garbage".to_vec()]
        }),
        (Step::NamespaceRoot, &|plan| in_user_namespace(plan, 5)),
        (Step::Group, &|plan| {
            in_user_namespace(plan, 0);
            plan.process.gid = 70_000;
        }),
        (Step::User, &|plan| {
            in_user_namespace(plan, 0);
            plan.process.uid = 70_000;
        }),
    ];
    for (step, change) in faults {
        let mut plan = everything(root);
        change(&mut plan);
        let fds = [std::fs::File::open("/dev/null").unwrap().into()];
        let fault = spawn(&Prepared::new(plan).unwrap(), &fds, Stdio::default()).unwrap_err();
        assert_eq!(fault.step, step, "{fault}");
        seen.push(step);
    }
    seen.extend(no_fault_of_a_caller_without_rights_allocates(root));
    seen.extend(no_fault_of_a_further_process_allocates(root));
    for step in Step::ALL {
        let known = seen.contains(step) != NOT_PROVOKED.contains(step);
        assert!(known, "{step:?} is provoked here, or listed as not");
    }
}

/// Puts a plan into a user namespace whose first user is `inside`.
fn in_user_namespace(plan: &mut Plan, inside: u32) {
    plan.namespaces.user = NsMode::New;
    plan.uid_map = vec![IdMap {
        inside,
        outside: 300_000,
        count: 65_536,
    }];
    plan.gid_map = plan.uid_map.clone();
    plan.process.groups = Vec::new();
}

/// A plan that opens all that it names within a user namespace, clocks included.
fn without_rights(root: &std::path::Path, nanoseconds: u32) -> Plan {
    let mut plan = everything(root);
    plan.unprivileged = true;
    plan.shown_at = Some(root.to_str().unwrap().to_owned());
    plan.namespaces.user = NsMode::New;
    plan.namespaces.time = NsMode::New;
    plan.time_offsets = vec![TimeOffset {
        clock: libc::CLOCK_BOOTTIME,
        seconds: 100,
        nanoseconds,
    }];
    plan.uid_map = vec![IdMap {
        inside: 0,
        outside: 0,
        count: 1,
    }];
    plan.gid_map = plan.uid_map.clone();
    plan.process.groups = Vec::new();
    plan.sysctls = Vec::new();
    plan.process.caps = Default::default();
    // What belongs to users who are not in the map.
    for mount in &mut plan.mounts {
        if let MountKind::Fs { options, .. } = &mut mount.kind {
            options.retain(|(key, _)| key != "gid");
        }
    }
    plan
}

fn no_fault_of_a_caller_without_rights_allocates(root: &std::path::Path) -> [Step; 1] {
    let start = |plan| {
        let mut pending = begin(&Prepared::new(plan).unwrap(), &[], Stdio::default())?;
        pending.await_mounts()?;
        pending.proceed()
    };
    assert_eq!(
        wait(&start(without_rights(root, 0)).unwrap()),
        Exit::Code(5)
    );
    let fault = start(without_rights(root, u32::MAX)).unwrap_err();
    assert_eq!(fault.step, Step::TimeNamespace);
    [fault.step]
}

fn no_fault_of_a_further_process_allocates(root: &std::path::Path) -> Vec<Step> {
    let first = Prepared::new(plan(root, "sleep 1000")).unwrap();
    let first = spawn(&first, &[], Stdio::default()).unwrap();
    let process = |program: &str| ProcessPlan {
        args: vec![program.into()],
        caps: all_caps(),
        ..Default::default()
    };
    let affinity = [Some(vec![0; 8]), None];
    let mut seen = Vec::new();
    for (step, program, affinity) in [
        (Step::Affinity, "/bin/true", affinity),
        (Step::Stat, "/nope", [None, None]),
        (Step::Lookup, "nope", [None, None]),
    ] {
        let plan = ExecPlan {
            process: process(program),
            affinity,
            ..Default::default()
        };
        let plan = PreparedExec::new(plan).unwrap();
        let fault = exec(first.pidfd.as_fd(), &plan, &[], Stdio::default()).unwrap_err();
        assert_eq!(fault.step, step, "{fault}");
        seen.push(step);
    }
    sys::process::pidfd_send_signal(first.pidfd.as_fd(), libc::SIGKILL).unwrap();
    wait(&first);
    seen
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
