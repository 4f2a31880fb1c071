//! The words between daemon, launcher and shim, both sides of them.
//!
//! A message is a header and fields. The header: magic `WHRF`, major u16, minor u16, kind u16, request
//! number u32, all little endian. A reader refuses another major version, takes every minor one, and
//! skips fields that it does not know. A body above [`INLINE_LIMIT`] travels in a sealed memory file, and
//! descriptors beyond what one message carries travel ahead of it; see the module `transport`.

mod event;
mod launch;
mod remote;
mod request;
mod status;
pub(crate) mod transport;
mod wire;

#[cfg(test)]
mod tests;

pub use event::{Answer, Event, EventKind, Message, Refusal, Reply};
pub use launch::{
    Attachment, Backend, Framing, Health, Launch, LogConfig, RestartKind, RestartPolicy, Slot,
};
pub use remote::{Layout, Place, Remote, Words};
pub use request::{Exec, Request, StopRequest};
pub use status::{
    ExecStatus, HealthResult, HealthState, HealthStatus, LastExit, Phase, RestartOutlook, Status,
};
pub(crate) use status::{HEALTH_OUTPUT, HEALTH_RESULTS};
pub use wire::WireError;

/// The first bytes of each message.
pub const MAGIC: [u8; 4] = *b"WHRF";
/// The protocol's major version: peers of different ones do not understand each other.
pub const MAJOR: u16 = 1;
/// The protocol's minor version: fields and kinds were added since the lower ones, none changed.
pub const MINOR: u16 = 2;
/// The longest body that travels in the socket itself, in bytes.
pub const INLINE_LIMIT: usize = 64 << 10;
/// The longest body at all, in bytes: a plan with a megabyte of arguments and environment fits.
pub const BODY_LIMIT: usize = 8 << 20;
/// The most descriptors that one message may bring: a reservation for every TCP and UDP port of a host, and a thousand
/// for the rest of a start.
pub const DESCRIPTOR_LIMIT: usize = 2 * 65_536 + 1024;

pub(crate) const HEADER_LENGTH: usize = 14;

/// Numbers of the kinds of messages; a number is never used for another kind again.
pub(crate) mod kind {
    /// Carries only descriptors; they belong to the next message.
    pub(crate) const DESCRIPTORS: u16 = 1;
    /// The launcher says whether it could set itself up.
    pub(crate) const HELLO: u16 = 2;
    pub(crate) const LAUNCH: u16 = 3;
    pub(crate) const ANSWER: u16 = 4;
    pub(crate) const EVENT: u16 = 5;

    pub(crate) const PROCEED: u16 = 16;
    pub(crate) const EXEC: u16 = 17;
    pub(crate) const SIGNAL: u16 = 18;
    pub(crate) const STOP_INTENT: u16 = 19;
    pub(crate) const STOP: u16 = 20;
    pub(crate) const RESIZE: u16 = 21;
    pub(crate) const ATTACH: u16 = 22;
    pub(crate) const CLOSE_STDIN: u16 = 23;
    pub(crate) const REOPEN_LOGS: u16 = 24;
    pub(crate) const UPDATE_POLICY: u16 = 25;
    pub(crate) const SET_HEALTH: u16 = 26;
    pub(crate) const STATUS: u16 = 27;
    pub(crate) const ACKNOWLEDGE: u16 = 28;
    pub(crate) const RELEASE: u16 = 29;
    pub(crate) const SUSPEND_HEALTH: u16 = 30;
    pub(crate) const FOLLOW_EXEC: u16 = 31;
    pub(crate) const HOLD: u16 = 32;
    pub(crate) const ENTER: u16 = 33;
}

/// What stands before the fields of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u16,
    pub(crate) number: u32,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&MAJOR.to_le_bytes());
        bytes[6..8].copy_from_slice(&MINOR.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.kind.to_le_bytes());
        bytes[10..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    /// Splits a message into header and fields.
    pub(crate) fn decode(message: &[u8]) -> Result<(Header, &[u8]), WireError> {
        let (header, body) = message
            .split_first_chunk::<HEADER_LENGTH>()
            .ok_or(WireError::Truncated)?;
        let [m0, m1, m2, m3, j0, j1, _, _, k0, k1, n0, n1, n2, n3] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(WireError::Magic);
        }
        let major = u16::from_le_bytes([j0, j1]);
        if major != MAJOR {
            return Err(WireError::Major { major });
        }
        let header = Header {
            kind: u16::from_le_bytes([k0, k1]),
            number: u32::from_le_bytes([n0, n1, n2, n3]),
        };
        Ok((header, body))
    }
}
