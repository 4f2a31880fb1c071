//! What every end-to-end test stands on: a private engine, the real clients, and the leak check.
//!
//! [`Engine::run`] makes a sandbox (network, mount and process namespaces of its own), starts a
//! daemon with its roots in a temporary folder, counts what the kernel holds, runs the test,
//! removes everything through the API, and counts again: what is there and was not there before
//! fails the test. The same cases run against Docker's own daemon with `ENGINE=dockerd` in the
//! environment; the leak check is then left out, since that daemon shares cgroups and state with
//! others on the host.
//!
//! Tests run in parallel: nothing here is shared between two engines but the image cache, which
//! is filled under a file lock.

mod calls;
mod census;
mod command;
mod engine;
mod front;
mod http;
pub mod image;
mod programs;
mod proxy;
mod registry;
mod sandbox;
mod shims;
mod skip;
#[cfg(target_arch = "x86_64")]
pub mod steps;
mod tokens;
mod trap;

pub use calls::Call;
pub use census::{Census, Difference};
pub use command::{Finished, Terminal, eventually, run};
pub use engine::{Engine, Kind, Options};
pub use front::TlsFront;
pub use programs::Program;
pub use proxy::ForwardProxy;
pub use registry::Registry;
pub use sandbox::{Process, Sandbox, enter_network};
pub use shims::{Detour, connect_to_shim};
pub use skip::skip;
pub use tokens::TokenServer;
pub use trap::Trap;
