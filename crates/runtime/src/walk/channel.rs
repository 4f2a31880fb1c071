//! What child and caller say to each other: a SEQPACKET pair that execve closes.
//!
//! From the child: that its mounts are made, its terminal's other side, that it waits at its gate, or a fault; the end of
//! the stream means that the program runs. To the child: one byte when its namespaces are ready, and one when whoever
//! wanted to see its mounts has.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::At;
use crate::fault::{Fault, RECORD, Step};

/// The byte that lets a gated child go on.
const GO: u8 = b'G';
/// The byte beside a terminal.
const TERMINAL: u8 = b'T';
/// The byte beside a process that was made on the child's way, before its number.
const SIBLING: u8 = b'S';
/// The byte beside the listener of a filter.
const LISTENER: u8 = b'L';
/// The byte that tells that the child waits at its gate.
const WAITING: u8 = b'W';

/// The byte beside a mount whose files are to be shown as other users', and the namespace that says whose; the mount's
/// number follows, and whether the mounts below are meant, too.
const IDS: u8 = b'I';

/// The byte that tells that all is mounted.
const MOUNTED: u8 = b'M';

/// Something that the child said.
#[derive(Debug)]
pub(crate) enum Message {
    /// The caller's side of the terminal.
    Terminal(OwnedFd),
    /// The listener of its filter, which it waits for somebody to serve.
    Listener(OwnedFd),
    /// The process that goes on in the child's place: its number and its descriptor.
    Sibling(i32, OwnedFd),
    /// It waits until the files of a mount are shown as other users'.
    Ids {
        /// The mount's number.
        index: u32,
        /// The mount, which is attached nowhere.
        mount: OwnedFd,
        /// Whose maps count.
        namespace: OwnedFd,
        /// Mounts below are meant, too.
        recursive: bool,
    },
    /// All is mounted, and it waits for a word.
    Mounted,
    /// It waits at its gate.
    Waiting,
    /// It stopped.
    Fault(Fault),
    /// The channel is closed: the program runs, or the process is gone.
    End,
}

/// Writes a fault and ends the process.
pub(super) fn fail(channel: BorrowedFd<'_>, fault: Fault) -> ! {
    // If nobody reads it any more there is nobody to tell.
    let _ = rustix::net::send(channel, &fault.record(), SendFlags::NOSIGNAL);
    sys::process::exit(fault.exit_code())
}

/// Waits for the caller's word. A caller that is gone ends the process.
pub(super) fn await_go(channel: BorrowedFd<'_>) -> Result<(), Fault> {
    let mut byte = [0];
    loop {
        match rustix::net::recv(channel, &mut byte, RecvFlags::empty()) {
            Ok((1, _)) if byte == [GO] => return Ok(()),
            Ok(_) => sys::process::exit(1),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Fault::new(Step::Channel, errno)),
        }
    }
}

/// Tells the caller that all is done but the program's execution. A caller that is gone ends the process: nobody would
/// know of it.
pub(super) fn tell_waiting(channel: BorrowedFd<'_>) -> Result<(), Fault> {
    rustix::net::send(channel, &[WAITING], SendFlags::NOSIGNAL)
        .map(drop)
        .at(Step::Gate)
}

/// Tells the caller that all is mounted.
pub(super) fn tell_mounted(channel: BorrowedFd<'_>) -> Result<(), Fault> {
    rustix::net::send(channel, &[MOUNTED], SendFlags::NOSIGNAL)
        .map(drop)
        .at(Step::Channel)
}

/// Sends the caller its side of the terminal.
pub(super) fn send_terminal(
    channel: BorrowedFd<'_>,
    terminal: BorrowedFd<'_>,
) -> Result<(), Fault> {
    send_descriptor(channel, &[TERMINAL], terminal).at(Step::Terminal)
}

/// Sends the caller the listener of the filter that was just loaded.
pub(super) fn send_listener(
    channel: BorrowedFd<'_>,
    listener: BorrowedFd<'_>,
) -> Result<(), Fault> {
    send_descriptor(channel, &[LISTENER], listener).at(Step::Seccomp)
}

/// Asks the caller to show the files of a mount as other users', and waits until it has.
pub(super) fn ask_for_ids(
    channel: BorrowedFd<'_>,
    index: usize,
    mount: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    recursive: bool,
) -> Result<(), Fault> {
    let [a, b, c, d] = (index as u32).to_le_bytes();
    let bytes = [IDS, a, b, c, d, u8::from(recursive)];
    send_descriptors(channel, &bytes, &[mount, namespace]).at_index(Step::MountIds, index)?;
    await_go(channel)
}

/// Tells the caller of the process that goes on in this one's place.
pub(super) fn send_sibling(
    channel: BorrowedFd<'_>,
    pid: i32,
    pidfd: BorrowedFd<'_>,
) -> Result<(), Fault> {
    let [a, b, c, d] = pid.to_le_bytes();
    send_descriptor(channel, &[SIBLING, a, b, c, d], pidfd).at(Step::Channel)
}

fn send_descriptor(
    channel: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> Result<(), Errno> {
    send_descriptors(channel, bytes, &[descriptor])
}

fn send_descriptors(
    channel: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    rustix::net::sendmsg(
        channel,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .map(drop)
}

/// Whether the caller has closed its end: it is gone, or this process is no longer wanted.
pub(super) fn is_abandoned(channel: BorrowedFd<'_>) -> bool {
    let mut polled = [rustix::event::PollFd::from_borrowed_fd(
        channel,
        rustix::event::PollFlags::empty(),
    )];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(rustix::event::poll(&mut polled, Some(&now)), Ok(1..))
}

/// The caller's side: lets the child go on.
pub(crate) fn send_go(channel: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::net::send(channel, &[GO], SendFlags::NOSIGNAL).map(drop)
}

/// The caller's side: what the child says next. With `block` false, EAGAIN while it has said nothing.
pub(crate) fn receive(channel: BorrowedFd<'_>, block: bool) -> Result<Message, Errno> {
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    flags.set(RecvFlags::DONTWAIT, !block);
    let mut bytes = [0; RECORD + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(channel, &mut parts, &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            // The child was killed with our word unread.
            Err(Errno::CONNRESET) => return Ok(Message::End),
            other => break other?.bytes,
        }
    };
    let mut descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors = descriptors.next().into_iter().flatten();
    let descriptor = descriptors.next();
    let second = descriptors.next();
    match (
        bytes.get(..received).unwrap_or_default(),
        descriptor,
        second,
    ) {
        ([], ..) => Ok(Message::End),
        ([MOUNTED], None, _) => Ok(Message::Mounted),
        ([WAITING], None, _) => Ok(Message::Waiting),
        ([TERMINAL], Some(descriptor), _) => Ok(Message::Terminal(descriptor)),
        ([SIBLING, a, b, c, d], Some(descriptor), _) => Ok(Message::Sibling(
            i32::from_le_bytes([*a, *b, *c, *d]),
            descriptor,
        )),
        ([LISTENER], Some(descriptor), _) => Ok(Message::Listener(descriptor)),
        ([IDS, a, b, c, d, recursive], Some(mount), Some(namespace)) => Ok(Message::Ids {
            index: u32::from_le_bytes([*a, *b, *c, *d]),
            mount,
            namespace,
            recursive: *recursive != 0,
        }),
        (record, ..) => Fault::from_record(record)
            .map(Message::Fault)
            .ok_or(Errno::PROTO),
    }
}
