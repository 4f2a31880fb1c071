//! A shim that has no container yet.

use std::os::fd::OwnedFd;

use runtime::Prepared;
use runtime::plan::{Plan, ProcessPlan};
use types::ContainerId;

use super::poll::Poll;
use super::session::CHUNK;
use crate::protocol::{Launch, Slot};

/// What a shim has before it knows its container.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(super) poll: Poll,
    pub(super) buffer: Vec<u8>,
    /// An empty mount namespace, in which containers are born.
    pub(super) birthplace: OwnedFd,
}

impl Ready {
    /// Makes a process that was just forked a shim, and does ahead what need not wait for a container: among it,
    /// once, what a start will do, so that the memory for it is there.
    pub(crate) fn new(birthplace: OwnedFd) -> std::io::Result<Self> {
        // It cannot lead a group yet.
        rustix::process::setsid()?;
        // The name is only for those who look at the process list.
        let _ = sys::process::set_name(c"wharf-shim");
        // The launcher leaves its children to the kernel; a shim waits for its own.
        sys::fork::default_signal(libc::SIGCHLD)?;
        rehearse();
        Ok(Ready {
            poll: Poll::new()?,
            buffer: Vec::with_capacity(CHUNK),
            birthplace,
        })
    }
}

/// Encodes, sends to itself and understands a launch much like those that come.
fn rehearse() {
    let plan = Plan {
        mounts: runtime::defaults::mounts(),
        devices: runtime::defaults::devices(),
        links: runtime::defaults::links(),
        masked: runtime::defaults::masked_paths(),
        readonly: runtime::defaults::readonly_paths(),
        process: ProcessPlan {
            args: vec![b"true".to_vec()],
            ..Default::default()
        },
        ..Plan::default()
    };
    let Ok(nobody) = ContainerId::try_from("0".repeat(64)) else {
        return;
    };
    let launch = Launch::new(nobody, plan.encode(), Slot(0), Slot(0)).encode();
    let understood = Launch::decode(&launch)
        .ok()
        .and_then(|launch| Plan::decode(&launch.plan).ok())
        .and_then(|plan| Prepared::new(plan).ok());
    drop(std::hint::black_box(understood));
}
