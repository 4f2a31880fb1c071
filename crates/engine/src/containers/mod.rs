//! Containers: one file a verb, over a registry that mirrors the store.

pub(crate) mod attach;
mod create;
pub(crate) mod exec;
pub(crate) mod files;
mod follow;
mod inspect;
pub(crate) mod launch;
pub(crate) mod link;
mod list;
pub(crate) mod logs;
pub(crate) mod monitor;
mod names;
mod pause;
pub(crate) mod record;
pub(crate) mod registry;
mod remove;
mod rename;
mod sources;
pub(crate) mod spares;
mod start;
pub(crate) mod stats;
pub(crate) mod stop;
mod summary;
pub(crate) mod surroundings;
mod top;
pub(crate) mod underway;
mod wait;
