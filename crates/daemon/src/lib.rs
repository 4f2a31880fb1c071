//! The daemon role: dockerd's command line and `daemon.json`, listening sockets, the service
//! manager's protocol, and an orderly end.
//!
//! Nothing here knows what a container is: [`engine`] does, and [`api`] speaks for it.

mod config;
mod containers;
mod file;
mod flag_table;
mod flags;
mod given;
mod listen;
mod listening;
mod log;
mod notify;
mod pidfile;
mod registries;
mod serve;

pub use config::{Config, ConfigError};
pub use flags::{FlagError, Invocation};
pub use listen::ListenError;
pub use serve::{DaemonError, main};
