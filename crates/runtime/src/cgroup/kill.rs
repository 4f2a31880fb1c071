//! Killing everything in a group.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::CgroupError;
use super::directory::{Folder, keyed, visit_nested};
use super::freezer::{V1_STATE, V2_EVENTS as EVENTS, V2_FREEZE};

const KILL: &str = "cgroup.kill";
const PROCS: &str = "cgroup.procs";
/// The most pids that are read of a group: more than `pid_max` can be.
const PIDS_LIMIT: usize = 1 << 22;
/// How long the loop of the older kernels goes on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills every process in the group whose folder `dir` is, and in the groups beneath it, for good.
///
/// `dir` is a folder that [`super::Group::kill_fd`] gave; a shim can use it without knowing the layout. With
/// `cgroup.kill` (Linux 5.14) no process escapes; otherwise it is as [`clear_by_descriptor`]. Returns when all are
/// killed; their exits may still be under way.
///
/// The group is spent afterwards: since Linux 6.10 whatever is cloned into a group on which `cgroup.kill` was used
/// dies at once, unless the cloning process comes from a group with the same count of kills. A group without
/// processes is left as it is.
pub fn kill_by_descriptor(dir: BorrowedFd<'_>) -> Result<(), CgroupError> {
    let folder = Folder {
        at: dir,
        name: "",
        path: Path::new(""),
    };
    let gone = |source: &io::Error| source.raw_os_error() == Some(libc::ENODEV);
    let events = folder.read_if_exists(EVENTS)?;
    if events.is_some_and(|text| keyed(&text, "populated") == Some("0")) {
        return Ok(());
    }
    match folder.write(KILL, "1") {
        Err(CgroupError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            one_by_one(&folder)
        }
        // The group was removed meanwhile, and so had no processes.
        Err(CgroupError::Write { source, .. }) if gone(&source) => Ok(()),
        other => other,
    }
}

/// Kills every process in the group whose folder `dir` is, and in the groups beneath it, so that the group can be
/// entered again: what a restart does with processes that its former run left. The group is frozen meanwhile where
/// it can be, so that nobody forks faster than the signals come; it is thawed and empty at the return.
pub fn clear_by_descriptor(dir: BorrowedFd<'_>) -> Result<(), CgroupError> {
    one_by_one(&Folder {
        at: dir,
        name: "",
        path: Path::new(""),
    })
}

fn one_by_one(folder: &Folder<'_>) -> Result<(), CgroupError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(200);
    loop {
        let pids = pids(folder)?;
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(CgroupError::Timeout {
                path: folder.full(""),
                state: "empty",
                seconds: PATIENCE.as_secs(),
            });
        }
        hold(folder, true)?;
        let killed = pids
            .into_iter()
            .try_for_each(|pid| kill_member(folder, pid));
        // A frozen process of version 1 dies only once it is thawed.
        hold(folder, false)?;
        killed?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Begins to freeze or thaw the group, where its folder has a file for that.
fn hold(folder: &Folder<'_>, frozen: bool) -> Result<(), CgroupError> {
    let [v1, v2] = if frozen {
        ["FROZEN", "1"]
    } else {
        ["THAWED", "0"]
    };
    for (file, value) in [(V1_STATE, v1), (V2_FREEZE, v2)] {
        match folder.write(file, value) {
            Err(CgroupError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    Ok(())
}

/// Kills `pid` if it is in the group still once a descriptor holds it, so that a reused number hits nobody else.
fn kill_member(folder: &Folder<'_>, number: i32) -> Result<(), CgroupError> {
    let failed = |errno: Errno| CgroupError::Signal {
        pid: number,
        source: errno.into(),
    };
    let Some(pid) = Pid::from_raw(number) else {
        return Ok(());
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        other => other.map_err(failed)?,
    };
    if !pids(folder)?.contains(&number) {
        return Ok(());
    }
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

/// Processes of a group and of those beneath it. A group that is gone has none.
pub(super) fn pids(folder: &Folder<'_>) -> Result<BTreeSet<i32>, CgroupError> {
    let failed = |source| CgroupError::Read {
        path: folder.full(PROCS),
        source,
    };
    let mut all = BTreeSet::new();
    let open = match folder.open_folder() {
        Err(CgroupError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(all);
        }
        other => other?,
    };
    numbers(open.as_fd(), PROCS, &mut all).map_err(failed)?;
    visit_nested(open.as_fd(), &mut |at, name| {
        numbers(at, Path::new(name).join(PROCS), &mut all)
    })
    .map_err(failed)?;
    Ok(all)
}

/// Adds the numbers in a file of one number a line, as `cgroup.procs` and `tasks` are.
pub(super) fn numbers(
    at: BorrowedFd<'_>,
    file: impl AsRef<Path>,
    all: &mut BTreeSet<i32>,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(at, file.as_ref(), flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let text = match io::read_to_string(std::fs::File::from(fd)) {
        // The group was removed meanwhile, or it is a threaded one, whose processes are listed above it.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP)) => {
            return Ok(());
        }
        other => other?,
    };
    // 0 stands for a process of another pid namespace.
    let found = text
        .lines()
        .filter_map(|line| line.parse::<i32>().ok())
        .filter(|pid| *pid > 0);
    all.extend(found.take(PIDS_LIMIT));
    Ok(())
}
