//! The border to Docker's clients: HTTP, routes, versions, streams, errors. It has no logic of its own: every
//! decision is the engine's.
//!
//! A request goes through [`serve`]'s listeners into `connection` (HTTP, and the way out of it), `dispatch` (version,
//! route, headers) and one of `handlers`, which asks the engine. `shape` turns the engine's bodies, which have the
//! shape of the newest version, into those of the version that the client speaks.

mod call;
mod connection;
mod dispatch;
mod failure;
mod filters;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handlers;
mod peer;
mod query;
mod reply;
mod request_line;
mod route;
mod routes;
mod server;
mod shape;
mod transfer;
mod version;

pub use server::{Listener, serve};
