//! What is mounted, where, and how it follows links.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use runtime::plan::{
    FdSlot, MountAttrs, MountEntry, MountKind, NsMode, Plan, Propagation, TargetKind, attr,
};
use support::{fs_mount, plan, root, run, run_with};

fn bind(source: &Path, target: &str, attrs: MountAttrs, kind: TargetKind) -> MountEntry {
    MountEntry {
        target: target.into(),
        kind: MountKind::Bind {
            source: source.to_str().unwrap().into(),
            recursive: true,
            idmap: None,
        },
        attrs,
        propagation: Some(Propagation::Private),
        create_target: kind,
    }
}

fn with_mounts(root: &Path, script: &str, mounts: Vec<MountEntry>) -> Plan {
    let mut plan = plan(root, script);
    plan.mounts.extend(mounts);
    plan
}

#[test]
fn files_and_folders_are_bound_onto_targets_that_are_made() {
    let root = root();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "text\n").unwrap();
    let read_only = MountAttrs {
        below_set: attr::READ_ONLY,
        ..MountAttrs::default()
    };
    let mounts = vec![
        bind(
            &outside.path().join("file"),
            "/etc/some/file",
            MountAttrs::default(),
            TargetKind::File,
        ),
        bind(outside.path(), "/data/ro", read_only, TargetKind::Dir),
        bind(
            outside.path(),
            "/data/rw",
            MountAttrs::of(attr::NO_EXEC),
            TargetKind::Dir,
        ),
    ];
    let script = "cat /etc/some/file; touch /data/ro/x; touch /data/rw/made; cat /data/ro/made; \
        grep -c ' /data/rw .*noexec' /proc/mounts";
    let ended = run(with_mounts(root.path(), script, mounts)).unwrap();
    assert_eq!(
        ended.output,
        "text\ntouch: /data/ro/x: Read-only file system\n1\n"
    );
    assert!(outside.path().join("made").exists());
}

#[test]
fn a_detached_mount_is_attached_with_its_attributes() {
    let root = root();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "text\n").unwrap();
    let path = std::ffi::CString::new(outside.path().to_str().unwrap()).unwrap();
    let tree = sys::mount::clone_tree(rustix::fs::CWD, &path, true).unwrap();
    let mut entry = bind(
        Path::new(""),
        "/mnt",
        MountAttrs::of(attr::READ_ONLY),
        TargetKind::Dir,
    );
    entry.kind = MountKind::own(FdSlot(0));
    let ended = run_with(
        with_mounts(root.path(), "cat /mnt/file; touch /mnt/x", vec![entry]),
        &[tree],
    )
    .unwrap();
    assert_eq!(ended.output, "text\ntouch: /mnt/x: Read-only file system\n");
}

#[test]
fn links_of_the_image_lead_to_places_in_the_root() {
    let root = root();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "text\n").unwrap();
    // Both would lead out of the root if the host resolved them.
    symlink(outside.path(), root.path().join("out")).unwrap();
    symlink("../../../../../../../../../etc", root.path().join("up")).unwrap();
    let inside = root.path().join(outside.path().strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    let file = outside.path().join("file");
    let mounts = vec![
        bind(&file, "/out/made", MountAttrs::default(), TargetKind::File),
        bind(&file, "/up/made", MountAttrs::default(), TargetKind::File),
    ];
    let ended = run(with_mounts(root.path(), "cat /etc/made", mounts)).unwrap();
    assert_eq!(ended.output, "text\n");
    assert!(inside.join("made").exists() && !outside.path().join("made").exists());
}

#[test]
fn a_target_behind_a_link_that_leads_to_nothing_is_made_there() {
    let root = root();
    symlink("/../nowhere/yet", root.path().join("lost")).unwrap();
    symlink("round", root.path().join("round")).unwrap();
    let tmpfs = |target| vec![fs_mount(target, "tmpfs", MountAttrs::default(), &[])];
    let script = "grep -c ' /nowhere/yet/here tmpfs' /proc/mounts";
    let ended = run(with_mounts(root.path(), script, tmpfs("/lost/here"))).unwrap();
    assert_eq!(ended.output, "1\n");
    assert!(root.path().join("nowhere/yet/here").is_dir() && !Path::new("/nowhere").exists());
    let plan = with_mounts(root.path(), "true", tmpfs("/round"));
    let fault = run(plan.clone()).unwrap_err();
    let sentence = "error mounting \"tmpfs\" to rootfs at \"/round\": create mountpoint for /round mount: too many levels of symbolic links";
    assert_eq!(fault.describe(&plan), sentence);
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_hides() {
    use std::os::unix::fs::PermissionsExt;
    let root = root();
    for (name, mode) in [("kept", 0o2711), ("own", 0o700)] {
        fs::create_dir(root.path().join(name)).unwrap();
        fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let tmpfs = |target, options| fs_mount(target, "tmpfs", MountAttrs::default(), options);
    let mounts = vec![
        tmpfs("/kept", &[]),
        tmpfs("/own", &[("mode", "750")]),
        tmpfs("/new", &[]),
    ];
    let script = "stat -c %a /kept /own /new";
    let ended = run(with_mounts(root.path(), script, mounts)).unwrap();
    assert_eq!(ended.output, "2711\n750\n1777\n");
}

#[test]
fn faults_name_source_and_target() {
    let root = root();
    let cases = [
        (
            bind(
                Path::new("/no/such"),
                "/mnt",
                MountAttrs::default(),
                TargetKind::Dir,
            ),
            "error mounting \"/no/such\" to rootfs at \"/mnt\": stat /no/such: no such file or directory",
        ),
        (
            bind(
                Path::new("/etc"),
                "/etc/passwd",
                MountAttrs::default(),
                TargetKind::Dir,
            ),
            "error mounting \"/etc\" to rootfs at \"/etc/passwd\": mount /etc:/etc/passwd: not a directory",
        ),
        (
            fs_mount("/mnt", "nosuchfs", MountAttrs::default(), &[]),
            "error mounting \"nosuchfs\" to rootfs at \"/mnt\": mount nosuchfs:/mnt: no such device",
        ),
        (
            fs_mount(
                "/mnt",
                "tmpfs",
                MountAttrs::default(),
                &[("mode", "700"), ("size", "much")],
            ),
            "error mounting \"tmpfs\" to rootfs at \"/mnt\": mount tmpfs:/mnt, data: size=much: invalid argument",
        ),
    ];
    for (entry, sentence) in cases {
        let plan = with_mounts(root.path(), "true", vec![entry]);
        assert_eq!(run(plan.clone()).unwrap_err().describe(&plan), sentence);
    }
}

#[test]
fn a_read_only_tmpfs_takes_mounts_before_it_becomes_so() {
    let root = root();
    let mounts = runtime::defaults::cgroup_hierarchies(vec![
        (
            "cpu".into(),
            MountKind::Bind {
                source: "/sys/fs/cgroup/cpu".into(),
                recursive: false,
                idmap: None,
            },
        ),
        (
            "pids".into(),
            MountKind::Bind {
                source: "/sys/fs/cgroup/pids".into(),
                recursive: false,
                idmap: None,
            },
        ),
    ]);
    let script = "ls /sys/fs/cgroup; mkdir /sys/fs/cgroup/x; mkdir /sys/fs/cgroup/cpu/x; ls /sys/fs/cgroup/cpu | grep -c tasks";
    symlink("busybox", root.path().join("bin/mkdir")).unwrap();
    let ended = run(with_mounts(root.path(), script, mounts)).unwrap();
    let refusals = "cpu\npids\nmkdir: can't create directory '/sys/fs/cgroup/x': Read-only file system\n\
        mkdir: can't create directory '/sys/fs/cgroup/cpu/x': Read-only file system\n1\n";
    assert_eq!(ended.output, refusals);
}

#[test]
fn hierarchies_of_an_own_cgroup_namespace_are_mounted() {
    let root = root();
    let mounts = runtime::defaults::cgroup_hierarchies(vec![(
        "cpu".into(),
        runtime::defaults::cgroup_hierarchy(&["cpu"]),
    )]);
    let mut plan = with_mounts(
        root.path(),
        "grep -c '^cgroup /sys/fs/cgroup/cpu cgroup ro' /proc/mounts",
        mounts,
    );
    plan.namespaces.cgroup = NsMode::New;
    assert_eq!(run(plan).unwrap().output, "1\n");
}

#[test]
fn a_privileged_container_writes_to_sys_and_proc() {
    let root = root();
    let mut plan = plan(
        root.path(),
        "echo 12345 > /proc/sys/kernel/msgmax && grep -c '/sys sysfs rw' /proc/mounts",
    );
    plan.mounts = runtime::defaults::privileged_mounts();
    plan.masked.clear();
    plan.readonly.clear();
    assert_eq!(run(plan).unwrap().output, "1\n");
}

#[test]
fn a_bind_mount_that_shares_sends_what_is_mounted_within_it() {
    let root = root();
    std::thread::spawn(move || {
        sys::process::unshare(libc::CLONE_NEWNS).unwrap();
        let outside = tempfile::tempdir().unwrap();
        let shared = sys::mount::detached(c"tmpfs", &[], 0).unwrap();
        let path = std::ffi::CString::new(outside.path().to_str().unwrap()).unwrap();
        let private = sys::mount::Change {
            propagation: Some(Propagation::Private),
            recursive: true,
            ..Default::default()
        };
        sys::mount::set_attributes(rustix::fs::CWD, c"/", &private).unwrap();
        sys::mount::attach_at(std::os::fd::AsFd::as_fd(&shared), rustix::fs::CWD, &path).unwrap();
        let share = sys::mount::Change {
            propagation: Some(Propagation::Shared),
            ..Default::default()
        };
        sys::mount::set_attributes(rustix::fs::CWD, &path, &share).unwrap();
        fs::create_dir(outside.path().join("sub")).unwrap();
        let visible = |propagation| {
            let mut entry = bind(
                outside.path(),
                "/mnt",
                MountAttrs::default(),
                TargetKind::Dir,
            );
            entry.propagation = propagation;
            let script = "mount -t tmpfs none /mnt/sub && touch /mnt/sub/seen";
            assert_eq!(
                run(with_mounts(root.path(), script, vec![entry]))
                    .unwrap()
                    .output,
                ""
            );
            let seen = outside.path().join("sub/seen").exists();
            if seen {
                let sub =
                    std::ffi::CString::new(outside.path().join("sub").to_str().unwrap()).unwrap();
                sys::mount::detach(&sub).unwrap();
            }
            seen
        };
        assert!(visible(None), "the source's own propagation");
        assert!(visible(Some(Propagation::Shared)));
        assert!(!visible(Some(Propagation::Slave)));
        assert!(!visible(Some(Propagation::Private)));
        sys::mount::detach(&path).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn mounts_upon_the_callers_root_do_not_stay() {
    let root = root();
    std::thread::spawn(move || {
        sys::process::unshare(libc::CLONE_NEWNS).unwrap();
        let private = sys::mount::Change {
            propagation: Some(Propagation::Private),
            recursive: true,
            ..Default::default()
        };
        sys::mount::set_attributes(rustix::fs::CWD, c"/", &private).unwrap();
        for _ in 0..2 {
            let stacked = sys::mount::detached(c"tmpfs", &[], 0).unwrap();
            sys::mount::attach_at(std::os::fd::AsFd::as_fd(&stacked), rustix::fs::CWD, c"/")
                .unwrap();
        }
        let ended = run(plan(
            root.path(),
            "ls /..; grep -c ' / / ' /proc/self/mountinfo",
        ))
        .unwrap();
        assert_eq!(ended.output, "bin\ndev\netc\nproc\nsys\ntmp\n0\n");
    })
    .join()
    .unwrap();
}

/// The sentence with which a plan with these mounts is refused.
#[track_caller]
fn refusal(root: &Path, mounts: Vec<MountEntry>) -> String {
    let plan = with_mounts(root, "true", mounts);
    let fault = run(plan.clone()).expect_err("a mount that is refused");
    fault.describe(&plan)
}

#[test]
fn nothing_is_written_where_a_link_in_a_mount_says() {
    let root = root();
    let outside = tempfile::tempdir().unwrap();
    // A parameter of the container's own IPC namespace stands for any of the host's.
    let link = outside.path().join("oom_score_adj");
    symlink("/proc/sys/kernel/msgmax", link).unwrap();
    let entry = bind(
        outside.path(),
        "/proc/1",
        MountAttrs::default(),
        TargetKind::Dir,
    );
    let mut plan = with_mounts(root.path(), "cat /proc/sys/kernel/msgmax", vec![entry]);
    plan.process.oom_score_adj = Some((777, true));
    let sentence = run(plan.clone()).map_err(|fault| fault.describe(&plan));
    let source = outside.path().to_str().unwrap();
    assert_eq!(
        sentence,
        Err(format!(
            "error mounting {source:?} to rootfs at \"/proc/1\": create mountpoint for /proc/1 mount: \
             check proc-safety of /proc/1 mount: \"/proc/1\" cannot be mounted because it is inside /proc"
        ))
    );
}

#[test]
fn what_would_hide_the_procfs_is_refused() {
    let root = root();
    symlink("/proc/1", root.path().join("one")).unwrap();
    symlink("proc", root.path().join("data")).unwrap();
    let outside = tempfile::tempdir().unwrap();
    for (target, why) in [
        ("/proc/sys", "is inside /proc"),
        ("/proc//self/./fd", "is inside /proc"),
        ("/proc/no/such", "is inside /proc"),
        ("/one", "is inside /proc"),
        ("/one/fd", "is inside /proc"),
        ("/data/sys", "is inside /proc"),
        ("/data", "is inside /proc"),
        ("/proc", "is not of type proc"),
    ] {
        let folder = bind(
            outside.path(),
            target,
            MountAttrs::default(),
            TargetKind::Dir,
        );
        let tmpfs = fs_mount(target, "tmpfs", MountAttrs::default(), &[]);
        for entry in [folder, tmpfs] {
            let sentence = refusal(root.path(), vec![entry]);
            let end = format!("{target:?} cannot be mounted because it {why}");
            assert!(sentence.ends_with(&end), "{sentence}");
        }
    }
}

#[test]
fn the_procfs_is_where_its_path_says() {
    let root = root();
    fs::rename(root.path().join("proc"), root.path().join("data")).unwrap();
    symlink("data", root.path().join("proc")).unwrap();
    assert_eq!(
        refusal(root.path(), Vec::new()),
        "error mounting \"proc\" to rootfs at \"/proc\": filesystem \"proc\" must be mounted on ordinary directory"
    );
}

#[test]
fn files_of_procfs_may_have_substitutes_and_procfs_another_over_it() {
    let root = root();
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    fs::write(&file, "substitute\n").unwrap();
    let over = |target: &str| bind(&file, target, MountAttrs::default(), TargetKind::File);
    let mounts = vec![
        bind(
            Path::new("/proc"),
            "/proc",
            MountAttrs::default(),
            TargetKind::Dir,
        ),
        over("/proc/uptime"),
        over("/proc/sys/kernel/ns_last_pid"),
    ];
    let script =
        "cat /proc/uptime; cat /proc/sys/kernel/ns_last_pid; grep -c ' /proc proc ' /proc/mounts";
    let mut plan = with_mounts(root.path(), script, mounts);
    plan.process.oom_score_adj = Some((500, true));
    let ended = run(plan).unwrap();
    assert!(
        ended.output.starts_with("substitute\nsubstitute\n"),
        "{}",
        ended.output
    );
}
