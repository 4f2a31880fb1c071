//! What can fail between a daemon and its shims.

use std::io;

use crate::protocol::{Refusal, WireError};

/// Why the launcher or a shim could not be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The kernel refused a step.
    #[error("can not {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The peer's bytes are no message.
    #[error("can not understand the peer: {source}")]
    Wire {
        /// What is wrong with them.
        #[from]
        source: WireError,
    },
    /// The peer ended the connection: its process is gone.
    #[error("the connection has ended")]
    Closed,
    /// The launcher could not set itself up.
    #[error("the launcher could not set itself up: {text}")]
    Launcher {
        /// Its own words.
        text: String,
    },
    /// The shim refused a request.
    #[error("{refusal}")]
    Refused {
        /// Its reason.
        #[from]
        refusal: Refusal,
    },
}

impl ShimError {
    /// Whether the same call may succeed once the socket is ready.
    pub fn would_block(&self) -> bool {
        matches!(self, ShimError::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer said something that only a newer release knows; what follows it is understood again.
    pub fn is_unknown_word(&self) -> bool {
        matches!(
            self,
            ShimError::Wire {
                source: crate::protocol::WireError::Kind { .. }
            }
        )
    }

    /// Whether the connection has ended, as far as can be seen from here.
    pub fn is_disconnected(&self) -> bool {
        match self {
            ShimError::Closed => true,
            ShimError::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::NotConnected
            ),
            _ => false,
        }
    }

    /// Whether nobody listens at the other end: there is no socket, or none who has it open.
    pub fn nobody_listens(&self) -> bool {
        matches!(self, ShimError::Io { source, .. } if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }
}
