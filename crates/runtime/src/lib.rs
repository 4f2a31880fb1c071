//! What turns a plan into a process: namespaces, mounts, cgroups, capabilities, seccomp, and the walk of the
//! first process from its clone to the user's program.
//!
//! Synchronous and usable alone: it knows neither images nor networks nor a daemon. A caller fills a
//! [`plan::Plan`], opens what the plan names by [`plan::FdSlot`], and calls [`spawn::spawn`].

pub mod caps;
pub mod cgroup;
pub mod defaults;
pub mod device_bpf;
mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[doc(hidden)]
pub mod guards;
pub mod netdevice;
pub mod plan;
mod prepared;
pub mod procfs;
pub mod resctrl;
pub mod seccomp;
pub mod spawn;
pub mod sysctl;
pub mod systemd;
pub mod users;
mod walk;

pub use fault::{Fault, Step, words};
pub use prepared::{Prepared, PreparedExec};
