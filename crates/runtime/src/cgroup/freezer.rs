//! Stopping and resuming all processes of a group.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::CgroupError;
use super::directory::{Folder, keyed, read_from_start};

pub(super) const V1_STATE: &str = "freezer.state";
pub(super) const V2_FREEZE: &str = "cgroup.freeze";
pub(super) const V2_EVENTS: &str = "cgroup.events";

/// How long a change may take. Processes in uninterruptible sleep freeze only when they wake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Freezes or thaws a version 1 group and waits until it is so.
pub(super) fn freeze_v1(folder: &Folder<'_>, frozen: bool) -> Result<(), CgroupError> {
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    folder.write(V1_STATE, wanted)?;
    while folder.read(V1_STATE)?.trim() != wanted {
        if Instant::now() >= deadline {
            // Half a freeze would be a container that neither runs nor is paused.
            if frozen {
                folder.write(V1_STATE, "THAWED")?;
            }
            return Err(timeout(folder, frozen));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
        // The kernel does not come back by itself to processes that were missed.
        folder.write(V1_STATE, wanted)?;
    }
    Ok(())
}

/// Freezes or thaws a version 2 group and waits until it is so.
pub(super) fn freeze_v2(folder: &Folder<'_>, frozen: bool) -> Result<(), CgroupError> {
    folder.write(V2_FREEZE, if frozen { "1" } else { "0" })?;
    match wait_v2(folder, "frozen", if frozen { "1" } else { "0" }, PATIENCE) {
        Ok(true) => Ok(()),
        Ok(false) => {
            if frozen {
                folder.write(V2_FREEZE, "0")?;
            }
            Err(timeout(folder, frozen))
        }
        Err(error) => Err(error),
    }
}

/// The file that tells whether a group is frozen, or is to be.
pub(super) fn teller(is_v1: bool) -> &'static str {
    if is_v1 { V1_STATE } else { V2_FREEZE }
}

/// What the text of either version's file says: whether the group is frozen, or becoming so.
pub(super) fn tells_frozen(text: &str) -> bool {
    !matches!(text.trim(), "THAWED" | "0")
}

/// Waits until `key` of `cgroup.events` is `value`; `false` when `patience` ended first.
pub(super) fn wait_v2(
    folder: &Folder<'_>,
    key: &str,
    value: &str,
    patience: Duration,
) -> Result<bool, CgroupError> {
    let events = folder.open(V2_EVENTS, OFlags::RDONLY)?;
    let deadline = Instant::now() + patience;
    let failed = |source| CgroupError::Read {
        path: folder.full(V2_EVENTS),
        source,
    };
    loop {
        let text = read_from_start(events.as_fd()).map_err(failed)?;
        if keyed(&text, key) == Some(value) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let left = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
}

fn timeout(folder: &Folder<'_>, frozen: bool) -> CgroupError {
    let state = if frozen { "frozen" } else { "thawed" };
    CgroupError::Timeout {
        path: folder.full(""),
        state,
        seconds: PATIENCE.as_secs(),
    }
}
