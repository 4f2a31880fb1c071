//! Limits, cgroups, filters, and namespaces that are joined.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use runtime::plan::{CgroupEntry, FdSlot, NsMode, Plan, Rlimit, Seccomp};
use runtime::seccomp::{CompileEnv, default_profile};
use runtime::{Step, caps};
use support::{plan, root, run, run_with};
use sys::process::Exit;

const NOFILE: u32 = libc::RLIMIT_NOFILE;

#[test]
fn a_limit_that_nobody_asked_for_steps_back_and_an_explicit_one_is_a_fault() {
    let root = root();
    // A hard limit of this thread's process cannot be raised without CAP_SYS_RESOURCE; where that is held, this test
    // has nothing to show.
    if caps::host_bounding_set().bits() & (1 << 24) != 0 {
        testkit::skip("CAP_SYS_RESOURCE is held");
        return;
    }
    let (_, hard) = sys::process::limit(NOFILE).unwrap();
    let limit = |explicit| Rlimit {
        resource: NOFILE,
        soft: hard + 5,
        hard: hard + 5,
        explicit,
    };
    let with = |limit| {
        let mut plan = plan(root.path(), "ulimit -n; ulimit -Hn");
        plan.process.rlimits = vec![limit];
        plan
    };
    assert_eq!(
        run(with(limit(false))).unwrap().output,
        format!("{hard}\n{hard}\n")
    );
    let fault = run(with(limit(true))).unwrap_err();
    assert_eq!((fault.step, fault.errno), (Step::Limit, libc::EPERM));
    let lower = Rlimit {
        resource: NOFILE,
        soft: 50,
        hard: 60,
        explicit: true,
    };
    assert_eq!(run(with(lower)).unwrap().output, "50\n60\n");
}

#[test]
fn the_inclination_to_be_killed_is_set() {
    let root = root();
    let mut plan = plan(root.path(), "cat /proc/self/oom_score_adj");
    plan.process.oom_score_adj = Some((321, true));
    assert_eq!(run(plan).unwrap().output, "321\n");
}

/// A group of each version 1 hierarchy and of the unified one, removed at the end.
struct Groups(Vec<PathBuf>);

impl Groups {
    fn new(name: &str) -> Self {
        let top = ["cpu", "memory", "pids", "unified"]
            .map(|kind| PathBuf::from("/sys/fs/cgroup").join(kind));
        let groups = top.map(|top| top.join(format!("wharf-test-{name}-{}", std::process::id())));
        groups
            .iter()
            .for_each(|group| fs::create_dir(group).unwrap());
        Self(groups.to_vec())
    }

    fn entry(&self) -> (CgroupEntry, Vec<OwnedFd>) {
        let (unified, v1) = self.0.split_last().unwrap();
        let open = |group: &PathBuf| {
            fs::OpenOptions::new()
                .write(true)
                .open(group.join("tasks"))
                .unwrap()
                .into()
        };
        let mut fds: Vec<OwnedFd> = v1.iter().map(open).collect();
        fds.push(fs::File::open(unified).unwrap().into());
        let entry = CgroupEntry {
            dirs: vec![FdSlot(0), FdSlot(1), FdSlot(2)],
            unified: Some(FdSlot(3)),
        };
        (entry, fds)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.0.iter().for_each(|group| drop(fs::remove_dir(group)));
    }
}

#[test]
fn the_process_is_in_its_groups_and_its_namespace_begins_there() {
    let root = root();
    let groups = Groups::new("entry");
    let name = groups.0[0]
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    for (mode, path) in [
        (NsMode::Host, format!("/{name}")),
        (NsMode::New, "/".to_owned()),
    ] {
        let (cgroup, fds) = groups.entry();
        let mut plan = plan(
            root.path(),
            "grep -E ':(cpu|memory|pids|):' /proc/self/cgroup",
        );
        plan.namespaces.cgroup = mode;
        plan.cgroup = cgroup;
        let ended = run_with(plan, &fds).unwrap();
        let lines: Vec<&str> = ended
            .output
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2))
            .collect();
        assert_eq!(lines, [path.as_str(); 4], "{}", ended.output);
    }
}

#[test]
fn a_group_that_is_gone_is_the_fault_of_both_phases() {
    let root = root();
    // Not open for writing, as a group's file has to be.
    let read_only = fs::File::open("/dev/null").unwrap();
    let mut plan = plan(root.path(), "true");
    plan.cgroup.dirs = vec![FdSlot(0)];
    let prepared = runtime::Prepared::new(plan).unwrap();
    let fds = [OwnedFd::from(read_only)];
    let pending = runtime::spawn::begin(&prepared, &fds, Default::default()).unwrap();
    // Until it has stopped, so that the word to go on finds nobody.
    rustix::event::poll(
        &mut [rustix::event::PollFd::from_borrowed_fd(
            pending.pidfd().unwrap(),
            rustix::event::PollFlags::IN,
        )],
        None,
    )
    .unwrap();
    let fault = pending.proceed().unwrap_err();
    assert_eq!((fault.step, fault.errno), (Step::Cgroup, libc::EBADF));
}

fn filtered(plan: Plan, no_new_privs: bool) -> Plan {
    let bounding = caps::CapSet::from_bits(plan.process.caps.bounding);
    let filter =
        runtime::seccomp::compile(&default_profile(), &CompileEnv::host(bounding)).unwrap();
    let program = filter
        .iter()
        .map(|part| (part.code, part.jt, part.jf, part.k))
        .collect();
    let mut plan = plan;
    plan.process.seccomp = Some(Seccomp { program, flags: 0 });
    plan.process.no_new_privs = no_new_privs;
    plan
}

#[test]
fn the_default_filter_is_in_force_for_root_and_others_with_and_without_new_privileges() {
    let root = root();
    fs::set_permissions(
        root.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    for (uid, no_new_privs) in [(0, false), (0, true), (1000, false), (1000, true)] {
        let mut plan = plan(
            root.path(),
            "grep -E 'Seccomp:|NoNewPrivs|CapEff' /proc/self/status; mount -t tmpfs x /tmp",
        );
        plan.process.caps.bounding = 0xa80425fb;
        let kept = if uid == 0 { 0xa80425fb } else { 0 };
        plan.process.caps.effective = kept;
        plan.process.caps.permitted = kept;
        plan.process.uid = uid;
        plan.process.gid = uid;
        let ended = run(filtered(plan, no_new_privs)).unwrap();
        let capabilities = if uid == 0 {
            "00000000a80425fb"
        } else {
            "0000000000000000"
        };
        let expected = format!(
            "CapEff:\t{capabilities}\nNoNewPrivs:\t{}\nSeccomp:\t2\n",
            u8::from(no_new_privs)
        );
        assert!(
            ended.output.starts_with(&expected),
            "{uid} {no_new_privs}: {}",
            ended.output
        );
        assert!(
            ended.output.contains("permission denied") || ended.output.contains("not permitted"),
            "{}",
            ended.output
        );
    }
}

#[test]
fn init_works_under_the_default_filter() {
    let root = root();
    let mut plan = plan(root.path(), "grep Seccomp: /proc/1/status; exit 3");
    plan.init = true;
    plan.process.caps.bounding = 0xa80425fb;
    plan.process.caps.effective = 0xa80425fb;
    plan.process.caps.permitted = 0xa80425fb;
    let ended = run(filtered(plan, false)).unwrap();
    assert_eq!(
        (ended.output.as_str(), ended.exit),
        ("Seccomp:\t2\n", Exit::Code(3))
    );
}

#[test]
fn namespaces_of_another_process_are_joined() {
    let root = root();
    let other = runtime::Prepared::new(plan(root.path(), "sleep 1000")).unwrap();
    let other = runtime::spawn::spawn(&other, &[], Default::default()).unwrap();
    let open = |kind: &str| {
        OwnedFd::from(fs::File::open(format!("/proc/{}/ns/{kind}", other.pid)).unwrap())
    };
    let link = |kind: &str| fs::read_link(format!("/proc/{}/ns/{kind}", other.pid)).unwrap();
    let kinds = ["pid", "net", "ipc", "uts"];
    let fds: Vec<OwnedFd> = kinds.iter().map(|kind| open(kind)).collect();
    let mut plan = plan(
        root.path(),
        "for n in pid net ipc uts mnt; do ls -l /proc/self/ns/$n; done",
    );
    plan.namespaces.pid = NsMode::Join(FdSlot(0));
    plan.namespaces.net = NsMode::Join(FdSlot(1));
    plan.namespaces.ipc = NsMode::Join(FdSlot(2));
    plan.namespaces.uts = NsMode::Join(FdSlot(3));
    plan.hostname = None;
    let ended = run_with(plan, &fds).unwrap();
    for kind in kinds {
        assert!(
            ended.output.contains(link(kind).to_str().unwrap()),
            "{kind}: {}",
            ended.output
        );
    }
    assert!(!ended.output.contains(link("mnt").to_str().unwrap()));
    sys::process::kill(other.pid, libc::SIGKILL).unwrap();
    sys::process::wait(std::os::fd::AsFd::as_fd(&other.pidfd), true).unwrap();
}

#[test]
fn a_keyring_scheduling_and_a_mask_are_set() {
    let root = root();
    std::os::unix::fs::symlink("busybox", root.path().join("bin/cut")).unwrap();
    let mut plan = plan(
        root.path(),
        "umask; cut -d' ' -f19 /proc/self/stat; grep -c _ses.test /proc/keys",
    );
    plan.masked.clear();
    plan.process.umask = Some(0o027);
    plan.process.keyring = Some("_ses.test".into());
    plan.process.scheduler = Some(runtime::plan::Scheduler {
        nice: 7,
        ..Default::default()
    });
    assert_eq!(run(plan).unwrap().output, "0027\n7\n1\n");
}
