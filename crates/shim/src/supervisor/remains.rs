//! What is left of a container in its control groups, and what the kernel counted there.

use std::ffi::CStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags};

/// How often the list of processes is read anew: processes that are being made appear later.
const ROUNDS: usize = 16;
/// The longest list that is read at a time, in bytes.
const LIST_LIMIT: u64 = 1 << 20;

fn open(folder: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Option<std::fs::File> {
    let file = rustix::fs::openat(folder, name, flags | OFlags::CLOEXEC, Mode::empty()).ok()?;
    Some(file.into())
}

/// Kills every process in the groups. Where cgroup.kill (5.14) is missing, one by one, until none is left.
pub(super) fn kill(groups: &[OwnedFd]) {
    for group in groups {
        let group = group.as_fd();
        let at_once = open(group, c"cgroup.kill", OFlags::WRONLY)
            .is_some_and(|file| file.write_at(b"1", 0).is_ok());
        if !at_once {
            kill_listed(group);
        }
    }
}

fn kill_listed(group: BorrowedFd<'_>) {
    for _ in 0..ROUNDS {
        let Some(file) = open(group, c"cgroup.procs", OFlags::RDONLY) else {
            return;
        };
        let mut list = String::new();
        if file.take(LIST_LIMIT).read_to_string(&mut list).is_err() {
            return;
        }
        let mut alive = false;
        for pid in list
            .lines()
            .filter_map(|line| line.parse::<i32>().ok())
            .filter(|&pid| pid > 1)
        {
            // One that is dead but not yet collected stays on the list.
            alive |= sys::process::kill(pid, libc::SIGKILL).is_ok();
        }
        if !alive {
            return;
        }
    }
}

/// How many processes the kernel killed in the group for want of memory, as `file` says.
pub(super) fn oom_kills(file: &std::fs::File) -> u64 {
    let mut text = [0; 1024];
    let length = file.read_at(&mut text, 0).unwrap_or(0);
    count(&text[..length])
}

fn count(text: &[u8]) -> u64 {
    let line = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"oom_kill "));
    line.and_then(|number| std::str::from_utf8(number).ok()?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_both_versions() {
        assert_eq!(
            count(b"low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n"),
            2
        );
        assert_eq!(count(b"oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1);
        assert_eq!(count(b"oom_kill_disable 0\nunder_oom 0\n"), 0);
    }
}
