//! One daemon for a pair of roots.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::outcome::{EngineError, Result};

/// Held as long as the engine is open; the kernel ends it with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    #[allow(dead_code, reason = "the descriptor is the lock")]
    file: File,
}

impl Lock {
    /// Takes the lock, and writes down who has it.
    ///
    /// # Errors
    /// [`EngineError::Locked`] when another process has it.
    pub(crate) fn take(path: &Path) -> Result<Lock> {
        let describe = || format!("lock {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(EngineError::io(describe()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Its number only makes the sentence more helpful.
                let _ = (&mut file).take(32).read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() {
                    "unknown".to_owned()
                } else {
                    holder.trim().to_owned()
                };
                return Err(EngineError::Locked {
                    path: path.display().to_string(),
                    holder,
                });
            }
            Err(errno) => {
                return Err(EngineError::Io {
                    what: describe(),
                    source: errno.into(),
                });
            }
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(EngineError::io(describe()))?;
        Ok(Lock { file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.lock");
        let first = Lock::take(&path).unwrap();
        let refused = Lock::take(&path).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!(
                "another daemon (process {}) is using",
                std::process::id()
            )),
            "{refused}"
        );
        drop(first);
        Lock::take(&path).unwrap();
    }
}
