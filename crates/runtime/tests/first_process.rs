//! What a container's first process finds around it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::os::fd::AsFd;

use runtime::Prepared;
use runtime::plan::{CapSets, IdMap, NsMode, ProcessPlan, RootSource};
use runtime::spawn::{Stdio, Stream, begin};
use support::{end, plan, root, run, run_with};
use sys::process::Exit;

#[test]
fn a_program_runs_in_a_root_of_its_own() {
    let root = root();
    let ended = run(plan(
        root.path(),
        "echo $$; hostname; ls /; cat /proc/1/comm; exit 7",
    ))
    .unwrap();
    assert_eq!(ended.output, "1\nbox\nbin\ndev\netc\nproc\nsys\ntmp\nsh\n");
    assert_eq!(ended.exit, Exit::Code(7));
}

#[test]
fn a_caller_whose_mounts_are_shared_sees_nothing_of_the_containers() {
    let root = root();
    let caller = std::thread::spawn(move || {
        sys::process::unshare(libc::CLONE_NEWNS).unwrap();
        let change = sys::mount::Change {
            propagation: Some(sys::mount::Propagation::Shared),
            recursive: true,
            ..Default::default()
        };
        sys::mount::set_attributes(rustix::fs::CWD, c"/", &change).unwrap();
        let table = || fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let before = table();
        assert!(before.contains("shared:"), "{before}");
        run(plan(root.path(), "true")).unwrap();
        assert_eq!(table(), before);
    });
    caller.join().unwrap();
}

#[test]
fn only_the_plans_mounts_are_seen() {
    let root = root();
    let ended = run(plan(root.path(), "cat /proc/self/mounts")).unwrap();
    let seen: Vec<(&str, &str, &str)> = ended
        .output
        .lines()
        .map(|line| {
            let mut fields = line.split(' ');
            let mut next = || fields.next().unwrap();
            let (_, at, kind, options) = (next(), next(), next(), next());
            (at, kind, options.split_once(',').unwrap().0)
        })
        .collect();
    let expected = [
        ("/proc", "proc", "rw"),
        ("/dev", "tmpfs", "rw"),
        ("/dev/pts", "devpts", "rw"),
        ("/sys", "sysfs", "ro"),
        ("/dev/mqueue", "mqueue", "rw"),
        ("/dev/shm", "tmpfs", "rw"),
    ];
    assert_eq!(seen[0].0, "/");
    assert_eq!(seen[1..=expected.len()], expected);
    for path in [
        "/proc/acpi",
        "/proc/keys",
        "/sys/firmware",
        "/proc/sys",
        "/proc/irq",
    ] {
        assert!(
            seen[7..].iter().any(|(at, ..)| *at == path),
            "{path} in {seen:?}"
        );
    }
    assert!(
        ended
            .output
            .contains("/dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k"),
        "{}",
        ended.output
    );
}

#[test]
fn nothing_of_the_caller_is_inherited() {
    let root = root();
    let stray = fs::File::open("/etc").unwrap();
    // Without its mark it would be inherited.
    rustix::io::fcntl_setfd(&stray, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!(
        run(plan(root.path(), "ls /proc/self/fd")).unwrap().output,
        "0\n1\n2\n3\n"
    );
    // No shell, which would make its own settings.
    let mut plan = plan(root.path(), "");
    plan.process.args = ["grep", "-E", "Sig(Blk|Ign|Cgt)|Groups", "/proc/self/status"]
        .map(Into::into)
        .to_vec();
    let expected = "Groups:\t \nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n";
    assert_eq!(run(plan).unwrap().output, expected);
}

#[test]
fn devices_and_links_are_those_of_docker() {
    let root = root();
    let ended = run(plan(
        root.path(),
        "ls -l /dev | grep -v total; stat -c %a /dev/shm; cat /dev/null",
    ))
    .unwrap();
    for line in [
        "crw-rw-rw-    1 root     0           1,   3",
        "crw-rw-rw-    1 root     0           5,   0",
    ] {
        assert!(ended.output.contains(line), "{}", ended.output);
    }
    for link in [
        "fd -> /proc/self/fd",
        "ptmx -> pts/ptmx",
        "stderr -> /proc/self/fd/2",
    ] {
        assert!(ended.output.contains(link), "{}", ended.output);
    }
    assert_eq!(
        ended.output.contains("core -> /proc/kcore"),
        std::path::Path::new("/proc/kcore").exists(),
        "{}",
        ended.output
    );
    assert!(ended.output.ends_with("1777\n"), "{}", ended.output);
}

#[test]
fn hidden_paths_are_empty_and_protected_ones_read_only() {
    let root = root();
    let script = "cat /proc/keys; ls /sys/firmware; echo 1 > /proc/sys/kernel/shmmax; touch /proc/irq/default_smp_affinity";
    let ended = run(plan(root.path(), script)).unwrap();
    let refusals = "sh: can't create /proc/sys/kernel/shmmax: Read-only file system\n\
        touch: /proc/irq/default_smp_affinity: Read-only file system\n";
    assert_eq!(ended.output, refusals);
}

#[test]
fn kernel_parameters_are_written_before_they_are_protected() {
    let root = root();
    let mut plan = plan(
        root.path(),
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax",
    );
    plan.sysctls = vec![
        ("net.ipv4.ip_unprivileged_port_start".into(), "77".into()),
        ("kernel/msgmax".into(), "4711".into()),
    ];
    assert_eq!(run(plan).unwrap().output, "77\n4711\n");
}

#[test]
fn an_unknown_kernel_parameter_is_named() {
    let root = root();
    let mut plan = plan(root.path(), "true");
    plan.sysctls = vec![("net.ipv4.nonsense".into(), "1".into())];
    let fault = run(plan.clone()).unwrap_err();
    assert_eq!(
        fault.describe(&plan),
        "write sysctl key net.ipv4.nonsense: no such file or directory"
    );
}

#[test]
fn the_working_folder_is_made_when_asked_even_in_a_read_only_root() {
    let root = root();
    let mut plan = plan(
        root.path(),
        "cat /proc/self/cwd/no; ls -d $PWD; touch /x; stat -c %a .",
    );
    plan.process.cwd = "/srv/app".into();
    let fault = run(plan.clone()).unwrap_err();
    assert_eq!(
        fault.describe(&plan),
        "chdir to cwd (\"/srv/app\") set in config.json failed: no such file or directory"
    );
    plan.process.create_cwd = true;
    plan.root_readonly = true;
    let ended = run(plan).unwrap();
    assert_eq!(
        ended.output,
        "cat: can't open '/proc/self/cwd/no': No such file or directory\n/srv/app\n\
         touch: /x: Read-only file system\n755\n"
    );
}

#[test]
fn a_working_folder_that_leads_out_by_a_descriptor_is_refused() {
    let root = root();
    for number in 3..9 {
        let mut plan = plan(root.path(), "true");
        plan.process.cwd = format!("/proc/self/fd/{number}");
        assert_eq!(run(plan).unwrap_err().step, runtime::Step::WorkingFolder);
    }
}

#[test]
fn a_detached_overlay_becomes_the_root() {
    let root = root();
    let work = tempfile::tempdir().unwrap();
    for name in ["upper", "work"] {
        fs::create_dir(work.path().join(name)).unwrap();
    }
    let text = |path: &std::path::Path| std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let options = [
        (c"lowerdir", Some(text(root.path()))),
        (c"upperdir", Some(text(&work.path().join("upper")))),
        (c"workdir", Some(text(&work.path().join("work")))),
    ];
    let options = options
        .each_ref()
        .map(|(key, value)| (*key, value.as_deref()));
    let mount = sys::mount::detached(c"overlay", &options, 0).unwrap();
    let mut plan = plan(
        root.path(),
        "echo hello > /greeting; grep -c overlay /proc/mounts",
    );
    plan.root = Some(RootSource::Mount(runtime::plan::FdSlot(0)));
    assert_eq!(run_with(plan, &[mount]).unwrap().output, "1\n");
    assert_eq!(
        fs::read_to_string(work.path().join("upper/greeting")).unwrap(),
        "hello\n"
    );
}

#[test]
fn the_process_is_killed_when_the_thread_that_started_it_ends() {
    let root = root();
    let plan = plan(root.path(), "sleep 1000");
    let starter = std::thread::spawn(move || {
        let prepared = Prepared::new(plan).unwrap();
        runtime::spawn::spawn(&prepared, &[], Stdio::default()).unwrap()
    });
    let spawned = starter.join().unwrap();
    assert_eq!(
        sys::process::wait(spawned.pidfd.as_fd(), true),
        Ok(Some(Exit::Signal(libc::SIGKILL)))
    );
}

#[test]
fn a_process_that_waits_in_its_namespaces_is_gone_when_it_is_dropped() {
    let root = root();
    let prepared = Prepared::new(plan(root.path(), "true")).unwrap();
    let pending = begin(&prepared, &[], Stdio::default()).unwrap();
    let pid = pending.pid();
    assert_eq!(sys::process::kill(pid, 0), Ok(()));
    drop(pending);
    assert!(sys::process::kill(pid, 0).is_err());
}

fn in_user_namespace(root: &std::path::Path, script: &str) -> runtime::plan::Plan {
    let map = vec![IdMap {
        inside: 0,
        outside: 100_000,
        count: 65_536,
    }];
    std::os::unix::fs::chown(root, Some(100_000), Some(100_000)).unwrap();
    std::os::unix::fs::chown(root.join("dev"), Some(100_000), Some(100_000)).unwrap();
    let mut plan = plan(root, script);
    plan.namespaces.user = NsMode::New;
    plan.uid_map.clone_from(&map);
    plan.gid_map = map;
    plan
}

#[test]
fn a_user_namespace_sees_nothing_of_the_callers_mounts() {
    let root = root();
    let script = "ls /..; cut -d' ' -f5 /proc/self/mountinfo | grep -cx /; mount | grep -cE 'on /(proc|sys) type'";
    std::os::unix::fs::symlink("busybox", root.path().join("bin/cut")).unwrap();
    let ended = run(in_user_namespace(root.path(), script)).unwrap();
    assert_eq!(ended.output, "bin\ndev\netc\nproc\nsys\ntmp\n1\n2\n");
}

#[test]
fn a_user_namespace_maps_root_and_owns_its_network() {
    let root = root();
    let script = "id -u; cat /proc/self/uid_map; echo x > /made; echo y > /dev/null; stat -c %u /proc/self/; \
        hostname other && hostname; ls /sys/class/net; grep CapEff /proc/self/status";
    let plan = in_user_namespace(root.path(), script);
    let prepared = Prepared::new(plan).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let out = Stream::Fd(writer.as_fd());
    let pending = begin(
        &prepared,
        &[],
        Stdio {
            stdin: Stream::Null,
            stdout: out,
            stderr: out,
        },
    )
    .unwrap();
    // The second phase: the network is made ready from outside, here shown by entering it.
    let network = pending.network_namespace().unwrap();
    let entered =
        std::thread::spawn(move || sys::process::setns(network.as_fd(), libc::CLONE_NEWNET));
    entered.join().unwrap().unwrap();
    let spawned = pending.proceed().unwrap();
    drop(writer);
    let ended = end(spawned, reader);
    let fields: Vec<&str> = ended.output.split_whitespace().collect();
    assert_eq!(
        fields[..8],
        ["0", "0", "100000", "65536", "0", "other", "lo", "CapEff:"],
        "{}",
        ended.output
    );
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(root.path().join("made")).unwrap());
    assert_eq!(owner, 100_000);
}

#[test]
fn another_user_has_groups_streams_and_no_capabilities() {
    let root = root();
    fs::set_permissions(
        root.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut plan = plan(
        root.path(),
        "id -u; id -g; id -G; grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status; echo again > /proc/self/fd/1",
    );
    plan.process = ProcessPlan {
        uid: 1000,
        gid: 1001,
        groups: vec![5, 6],
        caps: CapSets {
            bounding: 0x5,
            ..Default::default()
        },
        ..plan.process
    };
    let ended = run(plan).unwrap();
    assert_eq!(
        ended.output,
        "1000\n1001\n1001 5 6\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
         CapEff:\t0000000000000000\nCapBnd:\t0000000000000005\nCapAmb:\t0000000000000000\nagain\n"
    );
}

#[test]
fn ambient_capabilities_reach_another_users_program() {
    let root = root();
    fs::set_permissions(
        root.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut plan = plan(root.path(), "grep -E 'Cap(Eff|Amb)' /proc/self/status");
    plan.process.uid = 1000;
    plan.process.caps = CapSets {
        bounding: 0x401,
        effective: 0x400,
        permitted: 0x400,
        inheritable: 0x400,
        ambient: 0x400,
    };
    assert_eq!(
        run(plan).unwrap().output,
        "CapEff:\t0000000000000400\nCapAmb:\t0000000000000400\n"
    );
}
