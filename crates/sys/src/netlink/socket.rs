//! A netlink socket and the two conversations that are held over it: a batch, and a dump.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice, netlink,
    recv, send, socket_with, sockopt,
};

use super::Writer;
use super::read::{Message, Messages, u32_of};

const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = libc::NLM_F_ACK as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
/// The object changed while it was listed (`NLM_F_DUMP_INTR`).
const INTERRUPTED: u16 = 0x10;
const ERROR: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;

/// First and last message of an nftables transaction (linux/netfilter/nfnetlink.h).
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFTABLES: u16 = 10;

/// `NETLINK_ROUTE` is protocol 0, which is what no protocol means.
const ROUTE: Option<Protocol> = None;

/// The kernel's datagrams are at most 32 KiB.
const RECEIVE: usize = 64 << 10;
/// An answer carries at most the refused request, which is small where nothing is listed.
const SMALL_RECEIVE: usize = 4 << 10;
/// A dump whose object keeps changing is taken as it is after so many attempts.
const DUMP_ATTEMPTS: u32 = 4;
/// Room for a transaction that installs some ten thousand published ports at once.
const SEND_BUFFER: usize = 8 << 20;

/// A netlink socket of one protocol, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    received: Vec<u8>,
}

impl Socket {
    /// A socket for links, addresses and routes.
    pub fn route() -> io::Result<Self> {
        Self::open(ROUTE, RECEIVE)
    }

    /// The same for somebody who lists nothing: it needs less memory.
    pub fn small_route() -> io::Result<Self> {
        Self::open(ROUTE, SMALL_RECEIVE)
    }

    /// A socket for firewall rules and tracked connections.
    pub fn netfilter() -> io::Result<Self> {
        let socket = Self::open(Some(netlink::NETFILTER), RECEIVE)?;
        sockopt::set_socket_send_buffer_size_force(&socket.fd, SEND_BUFFER)?;
        Ok(socket)
    }

    fn open(protocol: Option<Protocol>, receive: usize) -> io::Result<Self> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        Ok(Self {
            fd,
            sequence: 0,
            received: vec![0; receive],
        })
    }

    /// Sends a batch and returns when the kernel has done, or refused, all of it.
    ///
    /// rtnetlink does the messages one by one and goes on after a refusal; an nftables transaction is
    /// done wholly or not at all. The first refusal is returned.
    pub fn perform(&mut self, batch: Batch) -> Result<(), Refused> {
        let Some(last) = batch.labels.len().checked_sub(1) else {
            return Ok(());
        };
        let base = self.sequence;
        self.sequence = self.sequence.wrapping_add(batch.labels.len() as u32 + 2);
        let bytes = batch.seal(base);
        let refused = |index: usize, source| Refused {
            what: batch.labels[index.min(last)],
            source,
        };
        send(&self.fd, &bytes, SendFlags::empty()).map_err(|e| refused(last, e.into()))?;

        let mut first: Option<(usize, i32)> = None;
        let mut acknowledged = false;
        while !acknowledged {
            let length = match recv(&self.fd, &mut self.received[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(refused(last, error.into())),
            };
            for message in Messages(&self.received[..length]) {
                let index = message.sequence.wrapping_sub(base) as usize;
                if message.kind != ERROR || index > last + 2 {
                    continue; // an answer to somebody before us
                }
                let errno = errno_of(message);
                if errno != 0 && first.is_none_or(|(earlier, _)| index < earlier) {
                    first = Some((index, errno));
                }
                // Errors of a transaction come before the answer to its last message.
                acknowledged |= index == last + batch.offset();
            }
        }
        match first {
            Some((index, errno)) => {
                self.drain();
                let source = io::Error::from_raw_os_error(errno);
                Err(refused(index.saturating_sub(batch.offset()), source))
            }
            None if acknowledged => Ok(()),
            None => Err(refused(last, io::Error::other("the kernel gave no answer"))),
        }
    }

    /// The index of the link with this name in the socket's namespace.
    pub fn index_of(&self, name: &str) -> io::Result<u32> {
        Ok(netdevice::name_to_index(&self.fd, name)?)
    }

    /// Asks for a list and hands each entry's body (the family's header included) to `entry`.
    ///
    /// When the list changed meanwhile it is asked for again: `entry` may see something twice.
    pub fn dump(
        &mut self,
        what: &'static str,
        kind: u16,
        request: impl Fn(&mut Writer),
        mut entry: impl FnMut(u16, &[u8]),
    ) -> Result<(), DumpError> {
        for _ in 0..DUMP_ATTEMPTS {
            if self
                .dump_once(kind, &request, &mut entry)
                .map_err(|source| DumpError { what, source })?
            {
                break;
            }
        }
        Ok(())
    }

    /// Tells whether the list was complete.
    fn dump_once(
        &mut self,
        kind: u16,
        request: &impl Fn(&mut Writer),
        entry: &mut impl FnMut(u16, &[u8]),
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut writer = Writer::default();
        writer.message(kind, REQUEST | DUMP, self.sequence, request);
        send(&self.fd, writer.bytes(), SendFlags::empty())?;
        let mut complete = true;
        loop {
            let length = match recv(&self.fd, &mut self.received[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for message in Messages(&self.received[..length]) {
                if message.sequence != self.sequence {
                    continue;
                }
                complete &= message.flags & INTERRUPTED == 0;
                match message.kind {
                    DONE | ERROR => {
                        return match errno_of(message) {
                            0 => Ok(complete),
                            errno => Err(io::Error::from_raw_os_error(errno)),
                        };
                    }
                    kind => entry(kind, message.body),
                }
            }
        }
    }

    /// Throws away what is left of the answers to a batch that failed.
    fn drain(&mut self) {
        while recv(&self.fd, &mut self.received[..], RecvFlags::DONTWAIT).is_ok() {}
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn errno_of(message: Message<'_>) -> i32 {
    u32_of(message.body).map_or(0, |code| (code as i32).wrapping_neg())
}

/// Requests that one send carries.
#[derive(Debug)]
pub struct Batch {
    writer: Writer,
    labels: Vec<&'static str>,
    flags_of_last: usize,
    transaction: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Requests to rtnetlink or conntrack, done one by one.
    pub fn new() -> Self {
        Self {
            writer: Writer::default(),
            labels: Vec::new(),
            flags_of_last: 0,
            transaction: false,
        }
    }

    /// Requests to nftables, done together or not at all.
    pub fn transaction() -> Self {
        let mut batch = Self::new();
        batch.transaction = true;
        batch
            .writer
            .message(BATCH_BEGIN, REQUEST, 0, transaction_header);
        batch
    }

    /// Appends a request; `what` names it when the kernel refuses.
    pub fn push(
        &mut self,
        what: &'static str,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Writer),
    ) {
        self.flags_of_last = self.writer.bytes().len() + 6;
        let sequence = (self.labels.len() + self.offset()) as u32;
        self.writer.message(kind, REQUEST | flags, sequence, body);
        self.labels.push(what);
    }

    /// Messages before the first request.
    fn offset(&self) -> usize {
        usize::from(self.transaction)
    }

    /// The bytes to send: numbered from `base`, an answer asked for at the last request.
    fn seal(&self, base: u32) -> Vec<u8> {
        let mut bytes = self.writer.bytes().to_vec();
        if self.transaction {
            let mut end = Writer::default();
            let sequence = self.labels.len() as u32 + 1;
            end.message(BATCH_END, REQUEST, sequence, transaction_header);
            bytes.extend_from_slice(end.bytes());
        }
        let flags = u16::from_ne_bytes([bytes[self.flags_of_last], bytes[self.flags_of_last + 1]]);
        bytes[self.flags_of_last..self.flags_of_last + 2]
            .copy_from_slice(&(flags | ACK).to_ne_bytes());
        let mut at = 0;
        while let Some(length) = u32_of(&bytes[at..]) {
            let sequence = u32_of(&bytes[at + 8..]).unwrap_or_default();
            bytes[at + 8..at + 12].copy_from_slice(&sequence.wrapping_add(base).to_ne_bytes());
            at += (length as usize).next_multiple_of(4);
        }
        bytes
    }
}

/// `struct nfgenmsg` with the subsystem that the transaction belongs to.
fn transaction_header(writer: &mut Writer) {
    writer.raw(&[0, 0]);
    writer.raw(&NFTABLES.to_be_bytes());
}

/// The kernel refused one request of a batch.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Refused {
    /// The request, by the name it was pushed with.
    pub what: &'static str,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

impl Refused {
    /// The error's number; 0 when it came from no system call.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
}

/// The kernel refused to list something.
#[derive(Debug, thiserror::Error)]
#[error("list {what}")]
pub struct DumpError {
    /// What was to be listed.
    pub what: &'static str,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}
