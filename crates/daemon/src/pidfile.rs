//! The file that holds the daemon's pid.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
        if let Some(pid) = holder(path).filter(|pid| *pid != std::process::id() && is_engine(*pid))
        {
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

/// Whether that process runs this program: a pid that was used again by something else is no holder.
fn is_engine(pid: u32) -> bool {
    let program = |pid: &str| fs::read(format!("/proc/{pid}/comm")).ok();
    program(&pid.to_string()).is_some_and(|name| Some(name) == program("self"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
