//! The file that holds the daemon's pid.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a process that was killed may take to end: all that it had mapped is given back first.
const PARTING: Duration = Duration::from_secs(10);

/// A pid file that this process wrote; removed when dropped, if it still is ours.
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the file, unless it names a live process other than this one.
    ///
    /// # Errors
    /// `AddrInUse` with a sentence when a process with that pid lives; else what writing gave.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let lives = |pid: &u32| *pid != std::process::id() && is_engine(*pid) && !ends(*pid);
        if let Some(pid) = holder(path).filter(lives) {
            let text = format!(
                "process with pid {pid} is still running; ensure the daemon is not running or delete {}",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, std::process::id().to_string())?;
        Ok(PidFile {
            path: path.to_owned(),
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if holder(&self.path) == Some(std::process::id()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn holder(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether that process is a daemon: of those that run this program, only daemons have the lock of an exec root. A pid
/// that was used again, by a client or a shim or something else, is no holder.
fn is_engine(pid: u32) -> bool {
    let program = |pid: &str| fs::read(format!("/proc/{pid}/comm")).ok();
    let is_ours = program(&pid.to_string()).is_some_and(|name| Some(name) == program("self"));
    let is_lock = |entry: fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|file| file.ends_with(engine::LOCK))
    };
    is_ours
        && fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|files| files.flatten().any(is_lock))
}

/// Whether the process is gone, or goes while this waits: it has exited or has SIGKILL before it.
fn ends(pid: u32) -> bool {
    let begin = Instant::now();
    loop {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            return true;
        };
        match Parting::of(&status) {
            Parting::Gone => return true,
            Parting::Going if begin.elapsed() < PARTING => thread::sleep(Duration::from_millis(10)),
            _ => return false,
        }
    }
}

/// What /proc/PID/status says of a process's end.
#[derive(Debug, PartialEq, Eq)]
enum Parting {
    /// Nobody has waited for it yet.
    Gone,
    Going,
    No,
}

impl Parting {
    fn of(status: &str) -> Parting {
        let field = |name: &str| {
            let mut lines = status.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        if field("State:").is_some_and(|state| state.starts_with(['Z', 'X'])) {
            return Parting::Gone;
        }
        // Signal 9, see signal(7).
        const KILL: u64 = 1 << 8;
        let pending = |name| field(name).and_then(|bits| u64::from_str_radix(bits, 16).ok());
        let is_killed = ["SigPnd:", "ShdPnd:"]
            .into_iter()
            .any(|name| pending(name).is_some_and(|bits| bits & KILL != 0));
        // Without memory there is no program any more.
        match is_killed || field("VmSize:").is_none() {
            true => Parting::Going,
            false => Parting::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_is_told_from_one_that_runs() {
        let own = fs::read_to_string("/proc/self/status").unwrap();
        assert_eq!(Parting::of(&own), Parting::No);
        let killed = own.replace("ShdPnd:\t0000000000000000", "ShdPnd:\t0000000000000100");
        assert_eq!(Parting::of(&killed), Parting::Going);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        while Parting::of(&fs::read_to_string(&status).unwrap()) != Parting::Gone {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(ends(child.id()));
        child.wait().unwrap();
    }

    #[test]
    fn only_who_has_a_lock_of_the_engine_holds_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(engine::LOCK);
        assert!(!is_engine(std::process::id()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let lock = fs::File::create(&path).unwrap();
        assert!(is_engine(std::process::id()));
        drop(lock);
        assert!(!is_engine(std::process::id()));
    }

    #[test]
    fn a_stale_file_is_replaced_and_ours_goes_with_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/wharf.pid");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "999999999").unwrap();
        let file = PidFile::create(&path).unwrap();
        assert_eq!(holder(&path), Some(std::process::id()));
        drop(file);
        assert!(!path.exists());
    }
}
