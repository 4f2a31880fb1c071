//! Netlink: how the kernel is told about links, addresses, routes, firewall rules and tracked connections.
//!
//! `write` encodes, `read` decodes, [`Socket`] carries. All requests here are answered inside the
//! sending system call (RFC 3549; netlink(7)), so an answer that is not there after it will never come
//! and nothing waits.
//! What the messages say is the callers' business.

mod read;
mod socket;
mod write;

pub use read::{Attributes, text_of, u8_of, u32_of};
pub use socket::{Batch, DumpError, Refused, Socket};
pub use write::Writer;
