//! What `run` and `create` have in common: their flags, and the configuration that these mean.

mod config;
pub(crate) mod flags;
mod mounts;
mod ports;
mod values;

pub(crate) use config::{environment, request};
