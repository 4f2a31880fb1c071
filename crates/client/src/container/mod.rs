//! What `run` and `create` have in common: their flags, and the configuration that these mean.

pub(crate) mod attachment;
mod config;
pub(crate) mod create;
pub(crate) mod disks;
mod environment;
pub(crate) mod flags;
mod gpus;
pub(crate) mod mounts;
mod networks;
pub(crate) mod ports;
pub(crate) mod resources;
mod security;
mod socket;
pub(crate) mod values;

pub(crate) use config::{Attachments, request, restart_policy};
pub(crate) use environment::{environment, label};
pub(crate) use networks::link;
