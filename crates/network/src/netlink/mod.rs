//! Netlink: how the kernel is told about links, addresses, routes, firewall rules and tracked connections.
//!
//! `write` encodes, [`read`] decodes, [`Socket`] carries. All requests here are answered inside the
//! sending system call (RFC 3549; netlink(7)), so an answer that is not there after it will never come
//! and nothing waits.

mod read;
mod socket;
mod write;

pub(crate) use read::{Attributes, text_of, u8_of, u32_of};
pub(crate) use socket::{Batch, DumpError, Refused, Socket};
pub(crate) use write::Writer;
