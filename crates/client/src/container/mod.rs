//! What `run` and `create` have in common: their flags, and the configuration that these mean.

pub(crate) mod attachment;
mod config;
pub(crate) mod create;
pub(crate) mod flags;
mod mounts;
mod ports;
mod values;

pub(crate) use config::{environment, request};
