//! The process: what the daemon says, what containers ask, and what comes for them from outside.

mod ask;
mod control;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::dns::forward::HostServers;
use crate::dns::table::Table;
use crate::proxy::Doors;

/// Nobody's user and group.
const NOBODY: u32 = 65534;

/// Of the descriptors that the process may have, one in so many is for what goes through published ports. The others
/// are for the ports themselves and for names.
const SHARE: usize = 2;

/// What all tasks share.
#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// The tasks that serve each container.
    ears: Mutex<HashMap<String, Vec<AbortHandle>>>,
    host: HostServers,
    doors: Mutex<Doors>,
}

impl Shared {
    /// With at most so many descriptors.
    fn new(descriptors: usize) -> Self {
        Shared {
            table: Mutex::default(),
            ears: Mutex::default(),
            host: HostServers::default(),
            doors: Mutex::new(Doors::new(descriptors / SHARE)),
        }
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody is served.
    fn is_idle(&self) -> bool {
        self.table().is_empty() && self.doors().is_empty()
    }

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

/// Plays the role until a daemon says that it is not needed any more, or it served nobody for a while. Standard input is the socket on which daemons
/// connect.
pub fn main() -> u8 {
    match prepare().and_then(|(listener, descriptors)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(control::serve(listener, Arc::new(Shared::new(descriptors))))
    }) {
        Ok(()) => 0,
        // There is nobody to tell: the daemon sees the end.
        Err(_) => 1,
    }
}

/// Leaves the daemon's session, and what only root may. Gives the socket for daemons, and how many descriptors the process
/// may have.
fn prepare() -> io::Result<(OwnedFd, usize)> {
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    sys::process::lead_session()?;
    // Two sockets a container for names, one for a port, and what goes through it.
    let (soft, hard) = sys::process::limit(libc::RLIMIT_NOFILE)?;
    if soft < hard {
        sys::process::set_limit(libc::RLIMIT_NOFILE, hard, hard)?;
    }
    sys::process::set_no_new_privileges()?;
    sys::process::set_groups(&[])?;
    sys::process::set_group(NOBODY)?;
    sys::process::set_user(NOBODY)?;
    rustix::io::ioctl_fionbio(&listener, true)?;
    Ok((listener, usize::try_from(hard).unwrap_or(usize::MAX)))
}
