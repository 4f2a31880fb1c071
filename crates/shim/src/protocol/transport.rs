//! How a message travels: inline or in a sealed memory file, its descriptors beside or ahead of it.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use sys::fdpass::{self, MAX_DESCRIPTORS, Wait};

use super::wire::WireError;
use super::{BODY_LIMIT, DESCRIPTOR_LIMIT, HEADER_LENGTH, Header, INLINE_LIMIT, kind};
use crate::ShimError;

/// Set in the header's kind when the body is the content of the last descriptor.
const BODY_IN_FILE: u16 = 0x8000;

/// A message as it arrived, not yet understood.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) header: Header,
    pub(crate) body: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Sends one message.
///
/// An error other than `WouldBlock` leaves the connection unusable: the peer may have got a part.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    header: Header,
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
    wait: Wait,
) -> Result<(), ShimError> {
    if body.len() > BODY_LIMIT || descriptors.len() >= DESCRIPTOR_LIMIT {
        return Err(WireError::Limit {
            what: "a body's length or its descriptors",
        }
        .into());
    }
    let failed = |source| ShimError::Io {
        action: "send a message",
        source,
    };
    if body.len() <= INLINE_LIMIT && descriptors.len() <= MAX_DESCRIPTORS {
        let front = header.encode();
        let parts = [IoSlice::new(&front), IoSlice::new(body)];
        return fdpass::send(socket, &parts, descriptors, wait).map_err(failed);
    }
    let file;
    let mut all = descriptors.to_vec();
    let mut header = header;
    let mut inline = body;
    if body.len() > INLINE_LIMIT {
        file = fdpass::sealed_memfd("wharf-message", &[body]).map_err(failed)?;
        all.push(file.as_fd());
        header.kind |= BODY_IN_FILE;
        inline = &[];
    }
    let mut rest = all.as_slice();
    while rest.len() > MAX_DESCRIPTORS {
        let (now, later) = rest.split_at(MAX_DESCRIPTORS);
        let ahead = Header {
            kind: kind::DESCRIPTORS,
            number: header.number,
        };
        fdpass::send(socket, &[IoSlice::new(&ahead.encode())], now, wait).map_err(failed)?;
        rest = later;
    }
    let front = header.encode();
    let parts = [IoSlice::new(&front), IoSlice::new(inline)];
    fdpass::send(socket, &parts, rest, wait).map_err(failed)
}

/// Puts arriving pieces together.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    ahead: Vec<OwnedFd>,
}

impl Inbox {
    /// Receives the next message; `None` is the end of the connection.
    pub(crate) fn recv(
        &mut self,
        socket: BorrowedFd<'_>,
        wait: Wait,
    ) -> Result<Option<Packet>, ShimError> {
        let failed = |source| ShimError::Io {
            action: "receive a message",
            source,
        };
        loop {
            let length = fdpass::next_length(socket, wait).map_err(failed)?;
            if length == 0 {
                return Ok(None);
            }
            if length > HEADER_LENGTH + INLINE_LIMIT {
                return Err(WireError::Limit {
                    what: "a message's length",
                }
                .into());
            }
            let mut message = vec![0; length];
            let received = fdpass::recv(socket, &mut message, Wait::Never).map_err(failed)?;
            message.truncate(received.length);
            if let Some(packet) = self.accept(message, received.descriptors)? {
                return Ok(Some(packet));
            }
        }
    }

    /// Takes one piece; answers with a message once it is whole.
    pub(crate) fn accept(
        &mut self,
        mut message: Vec<u8>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Packet>, ShimError> {
        let (mut header, _) = Header::decode(&message)?;
        self.ahead.extend(descriptors);
        if self.ahead.len() > DESCRIPTOR_LIMIT {
            self.ahead.clear();
            return Err(WireError::Limit {
                what: "descriptors",
            }
            .into());
        }
        if header.kind == kind::DESCRIPTORS {
            return Ok(None);
        }
        let mut descriptors = std::mem::take(&mut self.ahead);
        let body = if header.kind & BODY_IN_FILE == 0 {
            message.drain(..HEADER_LENGTH);
            message
        } else {
            header.kind &= !BODY_IN_FILE;
            let file = descriptors.pop().ok_or(WireError::Truncated)?;
            read_body(file).map_err(|source| ShimError::Io {
                action: "read a message's body",
                source,
            })?
        };
        Ok(Some(Packet {
            header,
            body,
            descriptors,
        }))
    }
}

fn read_body(file: OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(file);
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if length > BODY_LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the body is too long",
        ));
    }
    let mut body = vec![0; length];
    file.read_exact_at(&mut body, 0)?;
    Ok(body)
}
