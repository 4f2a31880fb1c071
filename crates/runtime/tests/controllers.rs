//! What each controller does beside the limits that every engine sets, by its effect on processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use runtime::cgroup::{
    CgroupError, Group, Layout, Parent, Pressure, RdmaLimit, Resources, Watch, default_device_rules,
};
use rustix::event::{PollFd, Timespec, poll};
use support::groups::{Shell, Tree, folders, last_cpu, run, until};

const MEGABYTE: i64 = 1 << 20;
const ENDLESS: &str = "while :; do :; done";

fn is_v2(tree: &Tree) -> bool {
    tree.0.layout().version() == 2
}

/// Waits for a notice, ten seconds at most.
fn noticed(watch: &Watch) -> bool {
    let patience = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::from_borrowed_fd(watch.as_fd(), watch.interest())];
    poll(&mut polled, Some(&patience)).unwrap() == 1 && watch.take().unwrap()
}

#[test]
fn a_burst_spends_what_was_saved() {
    let tree = Tree::new("burst");
    let limit = Resources {
        cpu_quota: Some(20_000),
        cpu_period: Some(100_000),
        cpu_burst: Some(20_000),
        ..Default::default()
    };
    let group = tree.group("saver", &limit);
    // Idle for a few periods, then more in one than the quota.
    let mut shell = Shell::start(
        &group,
        "busybox usleep 350000; echo saved; while :; do :; done",
    );
    assert_eq!(shell.line(), "saved");
    until("no burst", || group.report().unwrap().cpu.bursts > 0);
    let cpu = group.report().unwrap().cpu;
    assert!(cpu.burst_time > 0 && cpu.periods >= cpu.bursts, "{cpu:?}");
    // The burst goes down with the quota, in either order of their values.
    let smaller = Resources {
        cpu_quota: Some(10_000),
        cpu_burst: Some(5_000),
        ..Default::default()
    };
    group.set(&smaller).unwrap();
    group.set(&limit).unwrap();
    let above = Resources {
        cpu_burst: Some(90_000),
        ..Default::default()
    };
    assert!(group.set(&above).is_err(), "above the quota");
    group.kill().unwrap();
    shell.finish();
}

#[test]
fn an_idle_group_gives_way() {
    let tree = Tree::new("idle");
    let with = |idle| Resources {
        cpu_idle: Some(idle),
        cpu_shares: Some(1024),
        cpuset_cpus: Some(last_cpu()),
        ..Default::default()
    };
    let (idle, busy) = (tree.group("idle", &with(1)), tree.group("busy", &with(0)));
    let shells = [Shell::start(&idle, ENDLESS), Shell::start(&busy, ENDLESS)];
    let used = |group: &Group| group.stats().unwrap().cpu_total;
    let before = (used(&idle), used(&busy));
    until("no processor", || used(&busy) - before.1 > 200_000_000);
    let (idle_used, busy_used) = (used(&idle) - before.0, used(&busy) - before.1);
    assert!(idle_used * 2 < busy_used, "{idle_used} against {busy_used}");
    // Back to a share, which an idle group takes none of.
    idle.set(&with(0)).unwrap();
    for group in [idle, busy] {
        group.kill().unwrap();
    }
    for shell in shells {
        shell.finish();
    }
}

fn real_time(plan: &mut runtime::plan::Plan) {
    plan.process.scheduler = Some(runtime::plan::Scheduler {
        policy: libc::SCHED_FIFO.cast_unsigned(),
        priority: 1,
        ..Default::default()
    });
}

#[test]
fn real_time_is_for_groups_that_have_some() {
    let tree = Tree::new("realtime");
    let some = Resources {
        cpu_rt_runtime: Some(10_000),
        cpu_rt_period: Some(500_000),
        ..Default::default()
    };
    if is_v2(&tree) {
        let refused = tree.0.create("x", &some).unwrap_err().to_string();
        assert!(refused.contains("real-time"), "{refused}");
        return;
    }
    let none = tree.group("none", &Resources::default());
    assert!(Shell::with(&none, "true", real_time).is_err());
    // Of a group above that has none nothing can be had.
    let refused = tree.0.create("below", &some).unwrap_err();
    assert!(
        matches!(&refused, CgroupError::NoRealtime { value: 10_000, above, .. } if above == "0"),
        "{refused}"
    );
    let layout = Layout::detect().unwrap();
    let path = format!("/wharf-test-{}-realtime-top", std::process::id());
    let group = Group::create(&layout, &path, &some).unwrap();
    let ran = Shell::with(&group, "echo ran", real_time).map(Shell::finish);
    group.remove().unwrap();
    assert_eq!(ran.unwrap(), "ran\n");
}

#[test]
fn a_limit_below_use_changes_nothing() {
    let tree = Tree::new("below-use");
    let limit = |memory: i64, check| Resources {
        memory: Some(memory * MEGABYTE),
        memory_swap: Some(memory * MEGABYTE),
        memory_check: check,
        ..Default::default()
    };
    let group = tree.group("full", &limit(200, false));
    // Anonymous memory, which nothing can free.
    let script =
        "busybox dd if=/dev/zero bs=48M count=2 2>/dev/null | (busybox sleep 1000; cat >/dev/null)";
    let shell = Shell::start(&group, script);
    until("not in use", || {
        group.stats().unwrap().memory_usage > 40 << 20
    });
    let refused = group.set(&limit(16, true)).unwrap_err();
    let text = refused.to_string();
    match refused {
        CgroupError::InUse { usage, peak, .. } => assert!(usage > 16 << 20 && peak >= usage),
        CgroupError::BelowUse { usage, .. } => assert!(usage > 16 << 20),
        other => panic!("{other}"),
    }
    assert!(text.contains("memory"), "{text}");
    let report = group.report().unwrap();
    assert_eq!(report.memory.memory.limit, 200 << 20);
    // The shorter reading is the same in what it has.
    let usage = group.usage().unwrap();
    assert!(usage.memory.memory.usage > 40 << 20, "{usage:?}");
    assert_eq!(usage.memory.memory.limit, 200 << 20);
    assert!(usage.memory.raw.keys().eq(report.memory.raw.keys()));
    assert_eq!(usage.pids_limit, report.pids_limit);
    // How many processes there are changes while the shell starts its pipeline.
    assert!(usage.pids > 0 && report.pids > 0);
    assert!(usage.cpu.total >= report.cpu.total && report.cpu.total > 0);
    assert_eq!(usage.cpu.per_cpu.len(), report.cpu.per_cpu.len());
    assert_eq!(group.oom_kills().unwrap(), 0);
    assert!(!group.is_empty().unwrap());
    group.set(&limit(150, true)).unwrap();
    assert_eq!(group.report().unwrap().memory.memory.limit, 150 << 20);
    group.kill().unwrap();
    shell.finish();
    assert!(report.memory.memory.usage > 40 << 20, "{report:?}");
    assert!(report.memory.raw.len() > 10);
}

#[test]
fn memory_of_groups_beneath_counts() {
    let tree = Tree::new("hierarchy");
    let resources = Resources {
        memory: Some(24 * MEGABYTE),
        memory_swap: Some(24 * MEGABYTE),
        memory_hierarchy: true,
        ..Default::default()
    };
    let group = tree.group("outer", &resources);
    if is_v2(&tree) {
        // A group with processes hands no controllers down; what is beneath one is the kernel's own matter there.
        return;
    }
    let inner = Group::open(tree.0.layout(), &format!("/{}/inner", group.path())).unwrap();
    let inner_parent = runtime::cgroup::Parent::open(tree.0.layout(), &group.path()).unwrap();
    drop(inner);
    let inner = inner_parent.create("inner", &Resources::default()).unwrap();
    let hog = "busybox dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo $?";
    assert!(run(&inner, hog).ends_with("137\n"));
}

#[test]
fn want_of_memory_is_noticed() {
    let tree = Tree::new("notice");
    let limit = Resources {
        memory: Some(16 * MEGABYTE),
        memory_swap: Some(16 * MEGABYTE),
        ..Default::default()
    };
    let group = tree.group("small", &limit);
    let watch = group.watch_oom().unwrap().unwrap();
    assert!(!watch.take().unwrap(), "nothing happened yet");
    let hog = "busybox dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo $?";
    assert!(run(&group, hog).ends_with("137\n"));
    assert!(noticed(&watch), "out of memory");
    assert!(run(&group, hog).ends_with("137\n"));
    assert!(noticed(&watch), "again");
    group.remove().unwrap();
    let gone = watch.take();
    assert!(!matches!(gone, Ok(true)), "{gone:?}");
}

#[test]
fn pressure_is_noticed() {
    let tree = Tree::new("pressure");
    let mut limit = Resources::default();
    if is_v2(&tree) {
        // Who has more is held back, and so waits for memory.
        let high = ("memory.high".to_owned(), (8 * MEGABYTE).to_string());
        limit.unified = BTreeMap::from([high]);
    } else {
        limit.memory = Some(24 * MEGABYTE);
        limit.memory_swap = Some(24 * MEGABYTE);
    }
    let group = tree.group("tight", &limit);
    let watch = match group.watch_pressure(Pressure::Low) {
        Err(CgroupError::Unsupported { setting }) => {
            assert!(setting.contains("memory.pressure"), "{setting}");
            return;
        }
        other => other.unwrap(),
    };
    // Contents of files push each other out.
    let script = "while :; do busybox dd if=/dev/zero of=/tmp/a bs=1M count=64 2>/dev/null;
        cat /tmp/a >/dev/null; done";
    let shell = Shell::start(&group, script);
    let came = noticed(&watch);
    group.kill().unwrap();
    shell.finish();
    assert!(came);
}

#[test]
fn out_of_memory_processes_wait_where_the_killer_is_off() {
    let tree = Tree::new("killer");
    let limit = Resources {
        memory: Some(16 * MEGABYTE),
        memory_swap: Some(16 * MEGABYTE),
        memory_swappiness: Some(0),
        oom_kill_disable: Some(true),
        ..Default::default()
    };
    if is_v2(&tree) {
        let refused = tree.0.create("x", &limit).unwrap_err();
        assert!(
            matches!(refused, CgroupError::Unsupported { .. }),
            "{refused}"
        );
        return;
    }
    let group = tree.group("patient", &limit);
    let watch = group.watch_oom().unwrap().unwrap();
    // Touched by the program itself: a system call that finds no memory fails instead of waiting.
    let hog = "a=0123456789abcdef; i=0
        while [ $i -lt 20 ]; do a=$a$a; i=$((i + 1)); done; echo ${#a}";
    let shell = Shell::start(&group, hog);
    assert!(noticed(&watch));
    assert_eq!(group.oom_kills().unwrap(), 0);
    let roomy = Resources {
        memory: Some(128 * MEGABYTE),
        ..Default::default()
    };
    group.set(&roomy).unwrap();
    assert_eq!(
        shell.finish(),
        "16777216\n",
        "it goes on when there is room"
    );
}

#[test]
fn files_of_the_unified_tree_are_written_by_name() {
    let tree = Tree::new("unified");
    let with = |key: &str, value: &str| Resources {
        unified: BTreeMap::from([(key.to_owned(), value.to_owned())]),
        ..Default::default()
    };
    let refused = |key: &str| tree.0.create("x", &with(key, "1")).unwrap_err().to_string();
    assert_eq!(
        refused("../cgroup.procs"),
        "unified resource \"../cgroup.procs\" must be a file name (no slashes)"
    );
    assert_eq!(
        refused("nope.max"),
        "invalid configuration: unified resource \"nope.max\" can't be set: controller \"nope\" not available"
    );
    if tree.0.layout().unified_path().is_none() {
        return;
    }
    // The core's files are in every group: no group beneath this one.
    let group = tree.group("flat", &with("cgroup.max.descendants", "0"));
    let unified = tree.0.layout().unified_path().unwrap().join(group.path());
    assert!(std::fs::create_dir(unified.join("below")).is_err());
    if is_v2(&tree) {
        let few = tree.group("few", &with("pids.max", "3"));
        assert_eq!(few.stats().unwrap().pids_limit, Some(3));
        let said = run(&few, "sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait");
        assert!(said.contains("fork"), "{said:?}");
    } else {
        assert_eq!(
            refused("memory.high"),
            "invalid configuration: unified resource \"memory.high\" can't be set: controller \"memory\" not available"
        );
    }
}

#[test]
fn what_the_host_has_not_is_told_by_name() {
    let tree = Tree::new("missing");
    let class = Resources {
        net_class: Some(0x10_0001),
        ..Default::default()
    };
    let priorities = Resources {
        net_priorities: vec![("lo".to_owned(), 3)],
        ..Default::default()
    };
    let rdma = Resources {
        rdma: BTreeMap::from([(
            "mlx5_0".to_owned(),
            RdmaLimit {
                handles: Some(1),
                objects: None,
            },
        )]),
        ..Default::default()
    };
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    for (resources, controller) in [(class, "net_cls"), (priorities, "net_prio"), (rdma, "rdma")] {
        if mounts.contains(controller) {
            continue;
        }
        let refused = tree.0.create("x", &resources).unwrap_err().to_string();
        // The kernel has rdma in the machine, and no adapter.
        assert!(refused.contains(controller), "{refused}");
        assert!(folders(&format!("{}/x", tree.0.path())).is_empty());
    }
}

#[test]
fn all_but_some_devices_are_allowed() {
    let tree = Tree::new("denied");
    let rule = |text: &str, allow| runtime::cgroup::DeviceRule {
        allow,
        ..runtime::cgroup::DeviceRule::parse(text).unwrap()
    };
    let mut rules = vec![rule("a *:* rwm", true), rule("c 1:11 w", false)];
    rules.extend(default_device_rules());
    let group = tree.group(
        "most",
        &Resources {
            devices: Some(rules),
            ..Default::default()
        },
    );
    let script =
        "busybox mknod /dev/log c 1 11; busybox dd if=/dev/log count=0 2>/dev/null && echo readable
        (echo x > /dev/log) 2>&1 | grep -c permitted";
    assert_eq!(run(&group, script), "readable\n1\n");
}

/// A loop device on a file, gone with the value.
struct Loop {
    _file: tempfile::NamedTempFile,
    path: String,
    minor: u32,
}

impl Loop {
    /// One of `megabytes`; `None` where the host lets nobody make one.
    fn new(megabytes: u64) -> Option<Loop> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(megabytes << 20).unwrap();
        let busybox = |words: &[&str]| {
            let output = std::process::Command::new("busybox").args(words).output();
            let output = output.unwrap();
            let text = String::from_utf8(output.stdout).unwrap().trim().to_owned();
            output.status.success().then_some(text)
        };
        for _ in 0..20 {
            let path = busybox(&["losetup", "-f"])?;
            // Somebody else may have been faster.
            if busybox(&["losetup", &path, file.path().to_str().unwrap()]).is_some() {
                let minor = path.trim_start_matches("/dev/loop").parse().unwrap();
                return Some(Loop {
                    _file: file,
                    path,
                    minor,
                });
            }
        }
        None
    }

    fn rate(&self, rate: u64) -> runtime::cgroup::DeviceRate {
        runtime::cgroup::DeviceRate {
            major: 7,
            minor: self.minor,
            rate,
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let words = ["losetup", "-d", &self.path];
        std::process::Command::new("busybox")
            .args(words)
            .status()
            .unwrap();
    }
}

#[test]
fn blocks_are_read_and_written_at_the_rate_that_is_set() {
    let tree = Tree::new("rates");
    let Some(disk) = Loop::new(8) else { return };
    let node = format!("busybox mknod /dev/disk b 7 {}; ", disk.minor);
    let io = |change: &dyn Fn(&mut runtime::cgroup::BlockIo)| {
        let mut resources = Resources::default();
        change(&mut resources.block_io);
        resources
    };
    let write = "busybox dd if=/dev/zero of=/dev/disk bs=64k count=8 oflag=direct 2>&1 | grep -c '8+0 records out'";
    let read = "busybox dd if=/dev/disk of=/dev/null bs=64k count=8 iflag=direct 2>&1 | grep -c '8+0 records out'";
    // Half a megabyte at one a second, and eight requests at sixteen a second, of which a first piece is free.
    for (name, resources, command) in [
        (
            "wbps",
            io(&|io| io.write_bps = vec![disk.rate(1 << 20)]),
            write,
        ),
        (
            "rbps",
            io(&|io| io.read_bps = vec![disk.rate(1 << 20)]),
            read,
        ),
        (
            "wiops",
            io(&|io| io.write_iops = vec![disk.rate(16)]),
            write,
        ),
        ("riops", io(&|io| io.read_iops = vec![disk.rate(16)]), read),
    ] {
        let group = tree.group(name, &resources);
        let start = Instant::now();
        assert_eq!(run(&group, &format!("{node}{command}")), "1\n", "{name}");
        assert!(
            start.elapsed() > Duration::from_millis(300),
            "{name}: {:?}",
            start.elapsed()
        );
        let report = group.report().unwrap().io;
        let bytes: u64 = report
            .bytes
            .iter()
            .filter(|one| (one.major, one.minor) == (7, u64::from(disk.minor)))
            .filter(|one| one.operation == "Read" || one.operation == "Write")
            .map(|one| one.value)
            .sum();
        assert!(bytes >= 512 << 10, "{name}: {report:?}");
    }
}

#[test]
fn weights_divide_a_disk_that_two_want() {
    let tree = Tree::new("weights");
    let Some(disk) = Loop::new(32) else {
        testkit::skip("there are no loop devices");
        return;
    };
    // Not every kernel has the scheduler that knows weights.
    let scheduler = format!("/sys/block/loop{}/queue/scheduler", disk.minor);
    if std::fs::write(&scheduler, "bfq").is_err() {
        testkit::skip("the kernel has no scheduler bfq");
        return;
    }
    // It else favours whoever is new.
    let latency = format!("/sys/block/loop{}/queue/iosched/low_latency", disk.minor);
    std::fs::write(latency, "0").unwrap();
    let of_all = |weight| Resources {
        block_io: runtime::cgroup::BlockIo {
            weight: Some(weight),
            ..Default::default()
        },
        ..Default::default()
    };
    let of_disk = |weight| Resources {
        block_io: runtime::cgroup::BlockIo {
            weights: vec![runtime::cgroup::DeviceWeight {
                major: 7,
                minor: disk.minor,
                weight: Some(weight),
                leaf_weight: None,
            }],
            ..Default::default()
        },
        ..Default::default()
    };
    let read = |group: &Group| -> u64 {
        let report = group.report().unwrap().io;
        let reads = report.bytes.iter().filter(|one| one.operation == "Read");
        reads.map(|one| one.value).sum()
    };
    let script = format!(
        "busybox mknod /dev/disk b 7 {}
        for i in 1 2 3 4; do
            while :; do busybox dd if=/dev/disk of=/dev/null bs=1M iflag=direct 2>/dev/null; done &
        done; wait",
        disk.minor
    );
    for (kind, low, high) in [
        ("all", of_all(10), of_all(1000)),
        ("disk", of_disk(10), of_disk(1000)),
    ] {
        let low = tree.group(&format!("low-{kind}"), &low);
        let high = tree.group(&format!("high-{kind}"), &high);
        let shells = [Shell::start(&low, &script), Shell::start(&high, &script)];
        until("nothing is read", || {
            read(&low) > 8 << 20 && read(&high) > 8 << 20
        });
        let (low_before, high_before) = (read(&low), read(&high));
        // Without weights they are even, whatever else the machine does.
        until("both read as much", || {
            let (low, high) = (read(&low) - low_before, read(&high) - high_before);
            high > 128 << 20 && low * 3 < high * 2
        });
        for group in [&low, &high] {
            group.kill().unwrap();
        }
        for shell in shells {
            shell.finish();
        }
    }
}

/// Huge pages of 2 MB that the kernel sets aside, and the tree as it was, when the value goes.
struct HugePages {
    before: u64,
    handed_down: bool,
}

const PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

impl HugePages {
    /// `None` where there are no such pages, or none can be had.
    fn new(more: u64, layout: &Layout) -> Option<HugePages> {
        let number = || {
            std::fs::read_to_string(PAGES)
                .ok()?
                .trim()
                .parse::<u64>()
                .ok()
        };
        let before = number()?;
        std::fs::write(PAGES, (before + more).to_string()).ok()?;
        let had = layout.handed_down().iter().any(|name| name == "hugetlb");
        let pages = HugePages {
            before,
            handed_down: had,
        };
        (number()? >= before + more).then_some(pages)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        std::fs::write(PAGES, self.before.to_string()).unwrap();
        let layout = Layout::detect().unwrap();
        if layout.is_hybrid() && !self.handed_down {
            let file = layout
                .unified_path()
                .unwrap()
                .join("cgroup.subtree_control");
            // Another test's container may have it meanwhile.
            let _ = std::fs::write(file, "-hugetlb");
        }
    }
}

/// What groups beneath one have in the unified tree.
fn beneath(layout: &Layout, path: &str) -> String {
    let Some(top) = layout.unified_path() else {
        return String::new();
    };
    std::fs::read_to_string(top.join(path).join("cgroup.subtree_control")).unwrap()
}

#[test]
fn looking_at_a_group_hands_nothing_down() {
    let layout = Layout::detect().unwrap();
    let Some(top) = layout.unified_path() else {
        return;
    };
    // Made by another, such as systemd.
    let parent = format!("wharf-test-{}-foreign", std::process::id());
    let folder = top.join(&parent);
    std::fs::create_dir_all(folder.join("scope")).unwrap();
    let group = Group::open(&layout, &format!("/{parent}/scope")).unwrap();
    let (empty, after) = (group.is_empty(), beneath(&layout, &parent));
    group.remove().unwrap();
    assert!(Parent::open(&layout, &parent).unwrap().remove().unwrap());
    assert!(empty.unwrap());
    assert_eq!(after.trim(), "");
}

#[test]
fn huge_pages_are_limited_and_counted() {
    let layout = Layout::detect().unwrap();
    let Some(_pages) = HugePages::new(4, &layout) else {
        testkit::skip("there are no huge pages to be had");
        return;
    };
    let tree = Tree::new("huge");
    let two = Resources {
        huge_pages: vec![("2MB".to_owned(), 4 << 20)],
        ..Default::default()
    };
    let odd = Resources {
        huge_pages: vec![("3MB".to_owned(), 1)],
        ..Default::default()
    };
    let refused = tree.0.create("odd", &odd).unwrap_err().to_string();
    assert!(
        refused.contains("\"3MB\"") && refused.contains("2MB"),
        "{refused}"
    );
    assert!(
        !beneath(&layout, tree.0.path()).contains("hugetlb"),
        "it is refused before anything is handed down"
    );
    let group = tree.group("few", &two);
    if beneath(&layout, "").contains("hugetlb") {
        assert!(beneath(&layout, tree.0.path()).contains("hugetlb"));
    }
    let script = "mount -t hugetlbfs none /tmp
        busybox fallocate -l 4194304 /tmp/a && echo two
        busybox fallocate -l 2097152 /tmp/b || echo no third
        sleep 1000";
    let mut shell = Shell::start(&group, script);
    assert_eq!(shell.line(), "two");
    while shell.line() != "no third" {}
    let report = group.report().unwrap();
    assert_eq!(report.hugetlb["2MB"].usage, 4 << 20, "{report:?}");
    assert!(report.hugetlb["2MB"].failures > 0, "{report:?}");
    // One that is looked at later is understood too.
    let again = Group::open(&layout, &format!("/{}", group.path())).unwrap();
    assert_eq!(again.report().unwrap().hugetlb, report.hugetlb);
    group.kill().unwrap();
    shell.finish();
}
