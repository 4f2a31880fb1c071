//! The supervisor of a seccomp profile that asks: it is sent the filter's listener and whose it is.

use std::os::fd::OwnedFd;
use std::path::Path;

use runtime::Fault;
use runtime::seccomp::Listener;
use runtime::spawn::{Pending, Spawned};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::console::hand_over;
use crate::error::Error;
use crate::spec::VERSION;

/// What kept a process from its program.
pub(crate) enum Failure {
    /// The process told it.
    Fault(Fault),
    /// The supervisor could not be told, or a hook failed.
    Other(Error),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Lets a process go on to its program. `state` makes the container's state, as the supervisor is told it, of the process's
/// number.
pub(crate) fn proceed(
    pending: Pending,
    listener: Option<&Listener>,
    state: &dyn Fn(i32) -> Value,
) -> Result<Spawned, Failure> {
    let Some(listener) = listener else {
        return Ok(pending.proceed()?);
    };
    let mut failure = None;
    let outcome = pending.proceed_with(&mut |pid, fd: OwnedFd| {
        let told = tell(listener, pid, &state(pid), &fd);
        told.map_err(|error| {
            failure = Some(error);
            Errno::IO
        })
    });
    match (outcome, failure) {
        (_, Some(error)) => Err(Failure::Other(error)),
        (outcome, None) => Ok(outcome?),
    }
}

/// Sends the listener with the `containerProcessState` of the specification.
fn tell(listener: &Listener, pid: i32, state: &Value, fd: &OwnedFd) -> Result<(), Error> {
    let path = Path::new(&listener.path);
    let mut process = json!({
        "ociVersion": VERSION,
        "fds": ["seccompFd"],
        "pid": pid,
        "state": state,
    });
    if !listener.metadata.is_empty() {
        process["metadata"] = json!(listener.metadata);
    }
    hand_over(path, process.to_string().as_bytes(), fd).map_err(|source| {
        Error::io(
            "failed to connect with seccomp agent: sending the listener to",
            path,
            source,
        )
    })
}
