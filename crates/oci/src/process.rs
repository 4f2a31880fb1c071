//! Processes of containers, and this process before it makes them.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use runtime::spawn::Spawned;

use crate::error::{Error, Result};

/// Whether the process that started at `start` still runs its program or waits to.
pub(crate) fn is_alive(pid: i32, start: u64) -> bool {
    let stat = sys::procfs::read_text(format!("/proc/{pid}/stat")).unwrap_or_default();
    matches!(parse(&stat), Some((state, ticks)) if ticks == start && !matches!(state, 'Z' | 'X'))
}

/// When a process started, and whether it has executed a program since, also of one that has ended and was not waited for;
/// `None` when there is none.
pub(crate) fn start(pid: i32) -> Option<(u64, bool)> {
    /// `PF_FORKNOEXEC` of `linux/sched.h`, which an execve takes away before it closes descriptors.
    const NOT_EXECUTED: u32 = 0x40;
    let stat = sys::procfs::read_text(format!("/proc/{pid}/stat")).ok()?;
    let (_, ticks) = parse(&stat)?;
    let (_, rest) = stat.rsplit_once(')')?;
    let flags: u32 = rest.split_ascii_whitespace().nth(6)?.parse().ok()?;
    Some((ticks, flags & NOT_EXECUTED == 0))
}

/// State and start of a process by the text of its `stat` (proc(5)), whose second field may hold anything.
fn parse(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// More processors than a kernel may be built for, a bit each.
const ANYWHERE: [u8; 1024] = [0xff; 1024];

/// Lets this process, and those that it makes, run on every processor of its groups: where whoever called is kept says
/// nothing of the container.
pub(crate) fn run_anywhere() -> Result<()> {
    sys::process::set_affinity(&ANYWHERE)
        .map_err(Error::call("letting the container run on every processor"))
}

/// A process's number in the pid namespace that it is in.
pub(crate) fn innermost(pid: i32) -> Option<i32> {
    let status = sys::procfs::read_text(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().next_back()?.parse().ok()
}

/// Writes a process's number where whoever called looks for it: the file appears with all of it.
pub(crate) fn write_pid(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let next = path.with_file_name(format!(".{name}"));
    let failed = |source| Error::io("writing", path, source);
    let mut file = new_file(&next).map_err(failed)?;
    file.write_all(pid.to_string().as_bytes()).map_err(failed)?;
    fs::rename(&next, path).map_err(failed)
}

/// A file that was not there: the name is foreseeable, and a link of somebody else's there is not followed.
fn new_file(path: &Path) -> std::io::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            File::create_new(path)
        }
        other => other,
    }
}

/// A process that is killed unless it is kept.
pub(crate) struct Guard(pub(crate) Option<Spawned>);

impl Guard {
    pub(crate) fn keep(mut self) -> Result<Spawned> {
        self.0.take().ok_or(Error::NoContainer)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(spawned) = self.0.take() {
            let pidfd = spawned.pidfd.as_fd();
            let _ = sys::process::pidfd_send_signal(pidfd, libc::SIGKILL);
            let _ = sys::process::wait(pidfd, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive() {
        let pid = std::process::id().cast_signed();
        let (started, executed) = start(pid).unwrap();
        assert!(executed);
        assert!(is_alive(pid, started));
        assert!(!is_alive(pid, started + 1));
        assert_eq!(start(-1), None);
    }

    #[test]
    fn names_of_programs_do_not_confuse() {
        let stat = "7 (a) Z (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse(stat), Some(('S', 4711)));
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn a_pid_file_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("pid"), folder.path().join("victim"));
        fs::write(&victim, "whole").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join(".pid")).unwrap();
        write_pid(&path, 17).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "17");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "whole");
    }
}
