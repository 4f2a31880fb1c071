//! The system-call border: what the rest of the workspace needs from the kernel and the standard library lacks.
//!
//! Everything here knows nothing of containers. Functions take and return owned or borrowed descriptors;
//! raw numbers stay inside their module.

pub mod beneath;
pub mod bpf;
pub mod child;
pub mod datagram;
pub mod fdpass;
pub mod fork;
pub mod inherited;
pub mod lifetime;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod process;
pub mod procfs;
pub mod program;
pub mod signals;
#[cfg(short_start)]
pub mod start;
pub mod title;
pub mod writeback;
