//! The role `net`: one small process an engine that answers names on user networks and carries what arrives at published
//! ports of IPv6 addresses, and goes on while no daemon lives.
//!
//! The daemon makes the sockets at which containers ask, within their network namespaces, and hands them over with a table
//! of who is where under which names ([`Helper`], [`protocol`]). The process ([`main`]) answers what the table has and
//! forwards everything else to the resolvers of the host, or to those that the container was given. It reads what
//! containers send, so it runs as nobody, without capabilities.
//!
//! Of DNS it understands a header and a question (module `dns`); answers of other servers are passed on as they came. That
//! is why no library for DNS is here: the smallest that reads packets brings forty more, Unicode's tables among them.

#![warn(missing_docs)]

mod dns;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod helper;
pub mod protocol;
mod proxy;
mod serve;

pub use helper::{Helper, HelperError};
pub use serve::main;
