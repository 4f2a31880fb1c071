//! New limits for groups that have processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use runtime::cgroup::{CgroupError, Group, Layout, Resources};
use support::groups::{Shell, Tree, until};

const MEGABYTE: i64 = 1 << 20;

fn memory(megabytes: i64) -> Resources {
    Resources {
        memory: Some(megabytes * MEGABYTE),
        memory_swap: Some(megabytes * MEGABYTE),
        memory_check: true,
        ..Default::default()
    }
}

fn first_cpu() -> Resources {
    Resources {
        cpuset_cpus: Some("0".to_owned()),
        ..Default::default()
    }
}

/// Whether a process is in its group's part of the hierarchy of version 1 that has cpusets; `None` where they are of
/// version 2.
fn is_in_cpuset(pid: i32, group: &Group) -> Option<bool> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = text.lines().find(|line| line.contains(":cpuset:"))?;
    Some(line.ends_with(&group.path()))
}

fn cpus(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap().trim().to_owned()
}

#[test]
fn a_refused_change_leaves_no_limit_that_holds_for_nobody() {
    let tree = Tree::new("refused-change");
    let group = tree.group("full", &memory(200));
    let script =
        "busybox dd if=/dev/zero bs=48M count=2 2>/dev/null | (busybox sleep 1000; cat >/dev/null)";
    let shell = Shell::start(&group, script);
    let pid = shell.spawned.pid;
    until("not in use", || {
        group.stats().unwrap().memory_usage > 40 << 20
    });
    let both = Resources {
        cpuset_cpus: Some("0".to_owned()),
        ..memory(16)
    };
    group.set(&both).unwrap_err();
    assert_ne!(is_in_cpuset(pid, &group), Some(true));
    // As another command would find it.
    let again = tree.0.group("full").unwrap();
    again.set(&first_cpu()).unwrap();
    assert_ne!(is_in_cpuset(pid, &group), Some(false));
    assert_eq!(cpus(pid), "0");
    again.kill().unwrap();
    shell.finish();
}

#[test]
fn an_empty_folder_of_the_group_is_no_membership() {
    let tree = Tree::new("empty-folder");
    let group = tree.group("moved", &Resources::default());
    let shell = Shell::start(&group, "busybox sleep 1000");
    let pid = shell.spawned.pid;
    // Somebody made the folder, and was killed before the threads moved.
    let place = std::path::Path::new("/sys/fs/cgroup/cpuset");
    if is_in_cpuset(pid, &group) == Some(false) && place.is_dir() {
        std::fs::create_dir_all(place.join(group.path())).unwrap();
    }
    let again = tree.0.group("moved").unwrap();
    again.set(&first_cpu()).unwrap();
    assert_eq!(cpus(pid), "0");
    again.kill().unwrap();
    shell.finish();
}

#[test]
fn nothing_is_made_of_a_group_that_is_gone() {
    let tree = Tree::new("gone");
    let group = tree.group("short", &Resources::default());
    group.remove().unwrap();
    for group in [group, tree.0.group("short").unwrap()] {
        let error = group.set(&first_cpu()).unwrap_err();
        assert!(matches!(error, CgroupError::Gone { .. }), "{error}");
    }
    assert_eq!(tree.0.children().unwrap(), Vec::<String>::new());
    assert!(Layout::detect().is_ok());
}
