//! Removing groups, which processes may be about to leave.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::directory::Folder;
use super::parent::remove_nested;
use super::{CgroupError, freezer};

/// How long removal waits for exits that are under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes a group's folder; one that is there already is removed first, because its limits and counters are those of
/// an earlier run. One whose processes stay is another's.
pub(super) fn make_fresh(folder: &Folder<'_>) -> Result<(), CgroupError> {
    if !folder.make()? {
        wait_unused(folder)?;
        remove(folder)?;
        folder.make()?;
    }
    Ok(())
}

/// As [`make_fresh`], of a group that somebody may hold frozen for reasons of their own.
pub(super) fn make_unheld(folder: &Folder<'_>) -> Result<(), CgroupError> {
    if folder.make()? {
        return Ok(());
    }
    for (file, thawed) in [(freezer::V1_STATE, "THAWED"), (freezer::V2_FREEZE, "0")] {
        let state = folder.read_if_exists(file)?;
        if state.is_some_and(|state| state.trim() != thawed) {
            return Err(CgroupError::Held);
        }
    }
    make_fresh(folder)
}

/// Waits until processes that are about to end have left.
fn wait_unused(folder: &Folder<'_>) -> Result<(), CgroupError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let listed = folder.read_if_exists("cgroup.procs")?.unwrap_or_default();
        let count = listed.lines().count();
        if count == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(CgroupError::Populated { count });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes a folder with those beneath it, and waits for exits that are under way.
pub(super) fn remove(folder: &Folder<'_>) -> Result<(), CgroupError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(500);
    loop {
        let source = match folder.unlink() {
            Ok(()) => return Ok(()),
            Err(errno @ (Errno::BUSY | Errno::NOTEMPTY)) => errno,
            Err(errno) => {
                return Err(CgroupError::Remove {
                    path: folder.full(""),
                    source: errno.into(),
                });
            }
        };
        match remove_nested(folder) {
            // A folder beneath may be busy for the same reason.
            Ok(()) | Err(CgroupError::Remove { .. }) => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            return Err(CgroupError::Remove {
                path: folder.full(""),
                source: source.into(),
            });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
