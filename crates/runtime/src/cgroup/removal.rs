//! Removing groups, which processes may be about to leave.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::CgroupError;
use super::directory::Folder;
use super::parent::remove_nested;

/// How long removal waits for exits that are under way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes a group's folder; one that is there already is removed first, because its limits and counters are those of
/// an earlier run.
pub(super) fn make_fresh(folder: &Folder<'_>) -> Result<(), CgroupError> {
    if !folder.make()? {
        remove(folder)?;
        folder.make()?;
    }
    Ok(())
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
