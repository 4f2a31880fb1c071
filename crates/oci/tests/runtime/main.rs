//! The command on real bundles. Every case ends with a look for what it may have left.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod absent;
mod attached;
mod beyond;
mod binds;
mod bundles;
mod checkpoint;
mod exec;
mod groups;
mod hooks;
mod life;
mod mounts;
mod network;
mod process;
mod propagation;
mod rootless;
mod schema;
mod support;
mod systemd;
mod usage;
mod users;
