//! Each limit by its effect on processes that entered as a container's do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use runtime::cgroup::{
    Access, CgroupError, DeviceRule, Group, Layout, Parent, Resources, clear_by_descriptor,
    default_device_rules, kill_by_descriptor, oom_kills_by_descriptor,
};
use support::groups::{Shell, Tree, folders, last_cpu, run, until};

const MEGABYTE: i64 = 1 << 20;

#[test]
fn a_process_above_its_memory_limit_is_killed_and_counted() {
    let tree = Tree::new("memory");
    let limit = Resources {
        memory: Some(16 * MEGABYTE),
        memory_swap: Some(16 * MEGABYTE),
        ..Default::default()
    };
    let group = tree.group("small", &limit);
    let counter = group.oom_fd().unwrap().unwrap();
    assert_eq!(oom_kills_by_descriptor(counter.as_fd()).unwrap(), 0);
    let hog = "busybox dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo $?";
    assert!(run(&group, hog).ends_with("137\n"));
    assert_eq!(group.oom_kills().unwrap(), 1);
    assert_eq!(oom_kills_by_descriptor(counter.as_fd()).unwrap(), 1);
    assert_eq!(group.stats().unwrap().memory_limit, Some(16 << 20));

    let roomy = Resources {
        memory: Some(128 * MEGABYTE),
        ..Default::default()
    };
    group.set(&roomy).unwrap();
    assert_eq!(run(&group, hog), "0\n");
    group.set(&limit).unwrap();
    assert_eq!(
        group.stats().unwrap().memory_limit,
        Some(16 << 20),
        "down again"
    );
    group
        .set(&Resources {
            memory: Some(-1),
            ..Default::default()
        })
        .unwrap();
    assert_eq!(group.stats().unwrap().memory_limit, None);
}

#[test]
fn swap_is_limited_together_with_memory() {
    let tree = Tree::new("swap");
    if !tree.0.layout().support().swap_limit {
        testkit::skip("the kernel counts no swap");
        return;
    }
    let value = |memory: i64, swap: Option<i64>| {
        let name = format!("s{memory}-{}", swap.unwrap_or_default());
        let group = tree.group(
            &name,
            &Resources {
                memory: Some(memory * MEGABYTE),
                memory_swap: swap.map(|swap| swap * MEGABYTE),
                ..Default::default()
            },
        );
        let files = ["memory.memsw.limit_in_bytes", "memory.swap.max"];
        let folders = folders(&group.path());
        let found = folders
            .iter()
            .flat_map(|f| files.map(|file| f.join(file)))
            .find(|path| path.exists())
            .unwrap();
        let number: i64 = std::fs::read_to_string(&found)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // Version 1 has the sum, version 2 the swap alone.
        let memory = if found.ends_with("memory.swap.max") {
            memory
        } else {
            0
        };
        number / MEGABYTE + memory
    };
    assert_eq!(value(10, None), 20);
    assert_eq!(value(11, Some(11)), 11);
    assert_eq!(value(12, Some(40)), 40);
}

#[test]
fn fork_fails_at_the_limit_of_processes() {
    let tree = Tree::new("pids");
    let group = tree.group(
        "few",
        &Resources {
            pids_max: Some(5),
            ..Default::default()
        },
    );
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 60 & done; wait";
    let mut shell = Shell::start(&group, script);
    let said = shell.line();
    assert!(said.contains("fork"), "{said:?}");
    let stats = group.stats().unwrap();
    assert_eq!(stats.pids_limit, Some(5));
    assert!(stats.pids <= 5, "{stats:?}");
    clear_by_descriptor(group.kill_fd().unwrap().as_fd()).unwrap();
    shell.finish();
    group
        .set(&Resources {
            pids_max: Some(-1),
            ..Default::default()
        })
        .unwrap();
    assert_eq!(
        run(
            &group,
            "for i in 1 2 3 4 5 6 7 8 9; do true & done; wait; echo done"
        ),
        "done\n"
    );
}

const ALLOWED: &str = "grep Cpus_allowed_list /proc/self/status";

#[test]
fn processes_stay_on_their_processors() {
    let tree = Tree::new("cpuset");
    let group = tree.group(
        "one",
        &Resources {
            cpuset_cpus: Some(last_cpu()),
            ..Default::default()
        },
    );
    assert_eq!(
        run(&group, ALLOWED),
        format!("Cpus_allowed_list:\t{}\n", last_cpu())
    );
}

#[test]
fn a_running_group_is_bound_to_processors_later() {
    let tree = Tree::new("rebind");
    let group = tree.group("later", &Resources::default());
    let mut shell = Shell::start(&group, "sleep 60 & echo ready; wait");
    assert_eq!(shell.line(), "ready");
    group
        .set(&Resources {
            cpuset_cpus: Some(last_cpu()),
            ..Default::default()
        })
        .unwrap();
    let pids = group.pids().unwrap();
    assert_eq!(pids.len(), 2);
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(
            status.contains(&format!("Cpus_allowed_list:\t{}\n", last_cpu())),
            "{status}"
        );
    }
    // What enters from now on does so through the new group as well.
    let reopened = tree.0.group("later").unwrap();
    assert_eq!(
        run(&reopened, ALLOWED),
        format!("Cpus_allowed_list:\t{}\n", last_cpu())
    );
    reopened.kill().unwrap();
    shell.finish();
}

#[test]
fn a_quota_holds_processes_back() {
    let tree = Tree::new("quota");
    let resources = Resources {
        cpu_quota: Some(10_000),
        cpu_period: Some(100_000),
        ..Default::default()
    };
    let group = tree.group("slow", &resources);
    let start = Instant::now();
    let shell = Shell::start(&group, "while :; do :; done");
    until("never throttled", || {
        group.stats().unwrap().cpu_throttled_periods >= 4
    });
    let used = Duration::from_nanos(group.stats().unwrap().cpu_total);
    // A tenth, plus the first period and the kernel's slices.
    assert!(
        used <= start.elapsed() / 5 + Duration::from_millis(50),
        "{used:?} of {:?}",
        start.elapsed()
    );
    assert!(group.stats().unwrap().cpu_throttled > 0);
    group.kill().unwrap();
    shell.finish();
}

#[test]
fn shares_divide_a_processor_that_two_want() {
    let tree = Tree::new("shares");
    let with = |shares| Resources {
        cpu_shares: Some(shares),
        cpuset_cpus: Some(last_cpu()),
        ..Default::default()
    };
    let (low, high) = (
        tree.group("low", &with(16)),
        tree.group("high", &with(16_384)),
    );
    let endless = "while :; do :; done";
    let used = |group: &Group| group.stats().unwrap().cpu_total;
    let shells = [Shell::start(&low, endless), Shell::start(&high, endless)];
    let (low_before, high_before) = (used(&low), used(&high));
    until("no processor", || used(&high) - high_before > 150_000_000);
    let (low_used, high_used) = (used(&low) - low_before, used(&high) - high_before);
    assert!(low_used * 3 < high_used, "{low_used} against {high_used}");
    for group in [low, high] {
        group.kill().unwrap();
    }
    for shell in shells {
        shell.finish();
    }
}

#[test]
fn devices_are_denied_unless_allowed() {
    let tree = Tree::new("devices");
    let group = tree.group(
        "plain",
        &Resources {
            devices: Some(default_device_rules()),
            ..Default::default()
        },
    );
    let script = "busybox mknod /dev/log c 1 11 && echo made; busybox dd if=/dev/log count=0 2>&1 | grep -c permitted
        busybox dd if=/dev/zero of=/dev/null count=1 2>/dev/null && echo usual;";
    assert_eq!(run(&group, script), "made\n1\nusual\n");

    let mut rules = default_device_rules();
    rules.push(DeviceRule::allow_char(
        1,
        Some(11),
        Access {
            write: false,
            ..Access::ALL
        },
    ));
    group
        .set(&Resources {
            devices: Some(rules),
            ..Default::default()
        })
        .unwrap();
    let script =
        "busybox mknod /dev/log c 1 11; busybox dd if=/dev/log count=0 2>/dev/null && echo readable
        (echo x > /dev/log) 2>&1 | grep -c permitted";
    assert_eq!(
        run(&group, script),
        "readable\n1\n",
        "the new rules take the old ones' place"
    );

    let rules = ["c *:* m", "c 1:3 rwm"]
        .map(|rule| DeviceRule::parse(rule).unwrap())
        .to_vec();
    group
        .set(&Resources {
            devices: Some(rules),
            ..Default::default()
        })
        .unwrap();
    let script = "(busybox mknod /tmp/x b 7 7) 2>&1 | grep -c permitted; (cat < /dev/zero) 2>&1 | grep -c permitted";
    assert_eq!(
        run(&group, script),
        "1\n1\n",
        "a disk's node, and opening what has no rule"
    );

    let privileged = tree.group("all", &Resources::default());
    assert_eq!(
        run(
            &privileged,
            "busybox mknod /dev/log c 1 11; busybox dd if=/dev/log count=0 2>/dev/null; echo $?"
        ),
        "0\n"
    );
}

#[test]
fn a_frozen_group_makes_no_progress() {
    let tree = Tree::new("freezer");
    let group = tree.group("ice", &Resources::default());
    let shell = Shell::start(&group, "while :; do :; done");
    let used = || group.stats().unwrap().cpu_total;
    until("does not run", || used() > 1_000_000);
    assert!(!group.is_frozen().unwrap());
    group.freeze(true).unwrap();
    assert!(group.is_frozen().unwrap());
    let before = used();
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(used(), before);
    group.freeze(false).unwrap();
    until("does not run again", || used() > before + 1_000_000);
    group.freeze(true).unwrap();
    group.kill().unwrap();
    assert!(
        group.wait_empty(Duration::from_secs(5)).unwrap(),
        "a frozen group dies too"
    );
    shell.finish();
}

/// Ten loops that start a process as soon as the last one has ended.
const CHURN: &str = "churn() { while :; do busybox true & wait; done; }
    for i in 1 2 3 4 5 6 7 8 9 10; do churn & done; echo ready; wait";

#[test]
fn killing_leaves_nobody_however_fast_they_fork() {
    let tree = Tree::new("kill");
    let group = tree.group("churn", &Resources::default());
    let mut shell = Shell::start(&group, CHURN);
    assert_eq!(shell.line(), "ready");
    assert!(group.pids().unwrap().len() > 10 && !group.is_empty().unwrap());
    group.kill().unwrap();
    assert!(group.wait_empty(Duration::from_secs(10)).unwrap());
    assert!(group.pids().unwrap().is_empty() && group.is_empty().unwrap());
    shell.finish();
    group.remove().unwrap();
    assert!(folders(&group.path()).is_empty());
}

#[test]
fn a_cleared_group_can_be_entered_again() {
    let tree = Tree::new("clear");
    let group = tree.group("churn", &Resources::default());
    // In the unified folder with its freezer, and in one that has neither that nor `cgroup.kill`.
    let mut ways = vec![group.kill_fd().unwrap()];
    let older = folders(&group.path())
        .into_iter()
        .find(|folder| !folder.join("cgroup.kill").exists());
    ways.extend(older.map(|folder| OwnedFd::from(std::fs::File::open(folder).unwrap())));
    for way in ways {
        let mut shell = Shell::start(&group, CHURN);
        assert_eq!(shell.line(), "ready");
        clear_by_descriptor(way.as_fd()).unwrap();
        assert!(group.wait_empty(Duration::from_secs(10)).unwrap());
        shell.finish();
        kill_by_descriptor(way.as_fd()).unwrap();
        assert_eq!(run(&group, "echo again"), "again\n");
    }
}

#[test]
fn the_container_is_in_its_groups_and_their_removal_takes_nested_ones() {
    let tree = Tree::new("nested");
    let all = Resources {
        cpuset_cpus: Some(last_cpu()),
        devices: Some(default_device_rules()),
        ..Default::default()
    };
    let group = tree.group("outer", &all);
    let membership = run(&group, "cat /proc/self/cgroup");
    let inside = membership
        .lines()
        .filter(|line| line.ends_with(&format!(":/{}", group.path())))
        .count();
    assert_eq!(inside, folders(&group.path()).len(), "{membership}");
    assert!(inside >= 1);
    for folder in folders(&group.path()) {
        std::fs::create_dir_all(folder.join("a/b")).unwrap();
        std::fs::create_dir(folder.join("c")).unwrap();
    }
    assert_eq!(tree.0.children().unwrap(), ["outer"]);
    group.remove().unwrap();
    assert!(folders(&group.path()).is_empty());
    group.remove().unwrap();
    assert!(group.is_empty().unwrap() && tree.0.children().unwrap().is_empty());
    assert!(group.wait_empty(Duration::ZERO).unwrap());
}

#[test]
fn a_limit_that_is_not_taken_leaves_no_group() {
    let tree = Tree::new("refused");
    let error = tree
        .0
        .create(
            "x",
            &Resources {
                cpuset_cpus: Some("4095".to_owned()),
                ..Default::default()
            },
        )
        .unwrap_err();
    assert!(
        matches!(&error, CgroupError::Write { value, .. } if value == "4095"),
        "{error}"
    );
    assert!(error.to_string().contains("cpuset.cpus"), "{error}");
    assert!(folders(&format!("{}/x", tree.0.path())).is_empty());
}

#[test]
fn a_group_left_from_before_starts_anew() {
    let tree = Tree::new("again");
    let group = tree.group(
        "same",
        &Resources {
            pids_max: Some(7),
            ..Default::default()
        },
    );
    drop(group);
    let group = tree.group("same", &Resources::default());
    assert_eq!(group.stats().unwrap().pids_limit, None);
}

#[test]
fn a_parent_with_groups_stays() {
    let layout = Layout::detect().unwrap();
    let path = format!("wharf-test-{}-parent/deep/er", std::process::id());
    let group = Group::create(&layout, &format!("{path}/id"), &Resources::default()).unwrap();
    let parent = Parent::open(&layout, &path).unwrap();
    assert!(!parent.clone().remove().unwrap());
    group.remove().unwrap();
    assert!(parent.remove().unwrap());
    assert!(folders(path.split('/').next().unwrap()).is_empty());
}
