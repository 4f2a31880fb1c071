//! Shims: the processes that stand between containers and an engine, so that neither depends on the other.
//!
//! A daemon owns one [`launcher::Launcher`], sends it a [`protocol::Launch`] for each container to start, and
//! talks to the shim over a [`ShimConn`]. A shim runs its container without a daemon: it serves attached
//! clients, writes the log ([`logs`] reads it), records exits in the [`journal`], and restarts by policy.

mod clock;
mod conn;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod journal;
pub mod launcher;
pub mod logs;
pub mod protocol;
mod supervisor;

pub use conn::{Delivery, ShimConn};
pub use error::ShimError;
