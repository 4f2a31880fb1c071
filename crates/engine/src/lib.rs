//! The daemon's mind: lifecycles, store, recovery, events.
//!
//! [`Engine`] is the only door. It composes the synchronous crates (`runtime`, `shim`, `snapshot`, `network`,
//! `volume`, `image`) and owns every decision that more than one container shares. Operations run to their end
//! even when the caller's future is dropped; slow work never happens under a lock that `list` or `inspect` need.
//!
//! To follow `run`: `containers/create.rs`, `containers/start.rs`, `containers/launch.rs`, `compile/plan.rs`,
//! `containers/monitor.rs`, `containers/remove.rs`.

mod cleaner;
mod clock;
mod compile;
mod config;
mod containers;
mod engine;
mod events;
mod filters;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod group_parents;
mod groups;
mod host;
mod images;
mod local_driver;
mod lock;
mod neighbour;
mod networks;
mod open;
mod options;
mod outcome;
mod paths;
mod places;
mod recovery;
mod store;
mod system;
mod volumes;

pub use api_types::{AddressPool, Ulimit};
pub use compile::policy::parse_size;
pub use config::{ContainerDefaults, EngineConfig, RUNTIMES, Transfers};
pub use containers::stats::Usage;
pub use engine::Engine;
pub use filters::Filters;
pub use image::registry::Proxies;
pub use options::{
    AttachOptions, AttachTicket, CommitOptions, CreateRequest, Created, EventStream, EventsOptions,
    ExecStart, ExecStartOptions, ExtractOptions, ImageListOptions, ImportOptions, ListOptions,
    LogChunk, LogStream, LogsOptions, ProgressSender, RemoveOptions, StreamKind, WaitCondition,
    WaitHandle, progress_channel,
};
pub use outcome::{Class, EngineError, Result};
pub use paths::LOCK;
pub use places::THREADS;
pub use types::Build;
