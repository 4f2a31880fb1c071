//! The gate of a process that is created now and started later, maybe by another program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::fault::{Fault, RECORD};

/// Why nobody went through a gate.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Nobody waits there.
    #[error("no process waits to be started")]
    NobodyWaits,
    /// The pipe itself failed.
    #[error("{action} the pipe at which the process waits: {source}")]
    Pipe {
        /// What was being done.
        action: &'static str,
        /// The kernel's answer.
        source: Errno,
    },
    /// The process was let through, and then could not execute its program.
    #[error(transparent)]
    Fault(Fault),
}

/// Makes a gate: the named pipe `name` in `folder`. The descriptor is for [`crate::plan::ProcessPlan::gate`]; the caller
/// closes its own when the process waits.
///
/// # Errors
/// As mkfifo(3) and open(2).
pub fn make_gate(folder: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(folder, name, FileType::Fifo, mode, 0)?;
    // Opened for both, it needs no other side, and reading from it never meets an end.
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Whether a process waits at the gate.
pub fn is_waited_at(folder: BorrowedFd<'_>, name: &str) -> bool {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(folder, name, flags, Mode::empty()).is_ok()
}

/// Lets the process that waits at the gate execute its program, and returns when it has.
///
/// # Errors
/// [`GateError`].
pub fn pass_gate(folder: BorrowedFd<'_>, name: &str) -> Result<(), GateError> {
    let at = |action| move |source| GateError::Pipe { action, source };
    let open = |flags| {
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(folder, name, flags, Mode::empty())
    };
    let writer = match open(OFlags::WRONLY) {
        Err(Errno::NXIO | Errno::NOENT) => return Err(GateError::NobodyWaits),
        other => other.map_err(at("opening"))?,
    };
    match rustix::io::write(&writer, &[1]) {
        Err(Errno::PIPE) => return Err(GateError::NobodyWaits),
        other => other.map_err(at("writing to"))?,
    };
    // The last reader goes with the execve, or with the process.
    let mut polled = [PollFd::new(&writer, PollFlags::empty())];
    while rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None))
        .map_err(at("watching"))?
        == 0
    {}
    // What it left is ours as long as the writer is open.
    let reader = open(OFlags::RDONLY).map_err(at("opening"))?;
    let mut record = [0; RECORD];
    match rustix::io::read(reader.as_fd(), &mut record) {
        Ok(RECORD) => match Fault::from_record(&record) {
            Some(fault) => Err(GateError::Fault(fault)),
            None => Ok(()),
        },
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(source) => Err(at("reading")(source)),
    }
}
