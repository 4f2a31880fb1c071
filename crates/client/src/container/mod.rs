//! What `run` and `create` have in common: their flags, and the configuration that these mean.

pub(crate) mod attachment;
mod config;
pub(crate) mod create;
mod environment;
pub(crate) mod flags;
mod mounts;
mod networks;
mod ports;
mod security;
mod values;

pub(crate) use config::{Attachments, request};
pub(crate) use environment::{environment, label};
