//! The process: what the daemon says, and what containers ask.

mod ask;
mod control;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::dns::forward::HostServers;
use crate::dns::table::Table;

/// Nobody's user and group.
const NOBODY: u32 = 65534;

/// What all tasks share.
#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// The tasks that serve each container.
    ears: Mutex<HashMap<String, Vec<AbortHandle>>>,
    host: HostServers,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ears(&self) -> MutexGuard<'_, HashMap<String, Vec<AbortHandle>>> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a container; its sockets go with the tasks.
    fn forget(&self, id: &str) {
        self.table().remove(id);
        for task in self.ears().remove(id).into_iter().flatten() {
            task.abort();
        }
    }
}

/// Plays the role until a daemon says that it is not needed any more. Standard input is the socket on which daemons
/// connect.
pub fn main() -> u8 {
    match prepare().and_then(|listener| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(control::serve(listener, Arc::default()))
    }) {
        Ok(()) => 0,
        // There is nobody to tell: the daemon sees the end.
        Err(_) => 1,
    }
}

/// Leaves the daemon's session, and what only root may.
fn prepare() -> io::Result<OwnedFd> {
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    sys::process::lead_session()?;
    // Two sockets a container.
    let (soft, hard) = sys::process::limit(libc::RLIMIT_NOFILE)?;
    if soft < hard {
        sys::process::set_limit(libc::RLIMIT_NOFILE, hard, hard)?;
    }
    sys::process::set_no_new_privileges()?;
    sys::process::set_groups(&[])?;
    sys::process::set_group(NOBODY)?;
    sys::process::set_user(NOBODY)?;
    rustix::io::ioctl_fionbio(&listener, true)?;
    Ok(listener)
}
