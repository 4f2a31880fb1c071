//! The daemon's end of a connection to a shim.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use sys::fdpass::{self, Wait};

use crate::ShimError;
use crate::protocol::transport::{self, Inbox};
use crate::protocol::{Header, Message, Request};

/// A connection to one shim.
///
/// Nothing here waits: wait for the descriptor to be readable, then call [`ShimConn::recv`] until it would
/// block. The first message after a launch is the answer number 0.
#[derive(Debug)]
pub struct ShimConn {
    socket: OwnedFd,
    next: AtomicU32,
    inbox: Mutex<Inbox>,
}

/// A message with what came beside it.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Its descriptors: the network namespace of [`crate::protocol::Reply::Prepared`], else none.
    pub descriptors: Vec<OwnedFd>,
}

impl ShimConn {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        ShimConn {
            socket,
            next: AtomicU32::new(1),
            inbox: Mutex::new(Inbox::default()),
        }
    }

    /// Connects to the shim that listens at `name` in `folder`.
    ///
    /// # Errors
    /// [`ShimError::nobody_listens`] when it has ended, or there never was one; [`ShimError::would_block`] when it has
    /// not accepted the connections before this one.
    pub fn connect(folder: BorrowedFd<'_>, name: &str) -> Result<Self, ShimError> {
        fdpass::connect_at(folder, name)
            .map(ShimConn::new)
            .map_err(|source| ShimError::Io {
                action: "connect to the container's supervisor",
                source,
            })
    }

    /// Sends a request; its number comes back in the answer.
    ///
    /// # Errors
    /// [`ShimError::would_block`] when the shim does not read; nothing was sent then.
    pub fn send(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<u32, ShimError> {
        let number = loop {
            // 0 is the launch's number, so it is skipped when the counter comes round.
            match self.next.fetch_add(1, Ordering::Relaxed) {
                0 => {}
                number => break number,
            }
        };
        let header = Header {
            kind: request.kind(),
            number,
        };
        transport::send(
            self.socket.as_fd(),
            header,
            &request.encode(),
            descriptors,
            Wait::Never,
        )?;
        Ok(number)
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`ShimError::would_block`] when there is none yet, [`ShimError::Closed`] when the shim is gone.
    pub fn recv(&self) -> Result<Delivery, ShimError> {
        self.recv_as(Wait::Never)
    }

    /// Waits for the next message: for callers without an event loop.
    ///
    /// # Errors
    /// As [`ShimConn::recv`], but it never would block.
    pub fn recv_blocking(&self) -> Result<Delivery, ShimError> {
        self.recv_as(Wait::Block)
    }

    fn recv_as(&self, wait: Wait) -> Result<Delivery, ShimError> {
        let mut inbox = self
            .inbox
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let packet = inbox
            .recv(self.socket.as_fd(), wait)?
            .ok_or(ShimError::Closed)?;
        let message = Message::decode(packet.header.kind, packet.header.number, &packet.body)?;
        Ok(Delivery {
            message,
            descriptors: packet.descriptors,
        })
    }
}

impl AsFd for ShimConn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for ShimConn {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
