//! An attached client: its socket, what it gets, and what could not be sent to it yet.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use types::detach::Scanner;

use super::poll::{EventFlags, Poll, Token, Watch};
use crate::logs::Stream;
use crate::protocol::Framing;

/// How long a client that was sent everything may take to close its side. A socket that is closed with unread
/// input tells its peer of an error, which costs the peer what it has not read yet.
const LINGER: Duration = Duration::from_secs(10);

/// How far a client's serving has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is served.
    Open,
    /// It gets what is left, and then the end.
    Ending,
    /// It got everything; until then its own end is awaited.
    Lingering(Instant),
    /// Nothing more can be done.
    Gone,
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// What is in the buffer now.
    Bytes,
    /// Nothing now.
    Nothing,
    /// Nothing any more.
    End,
}

/// One attached client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: u32,
    pub(super) token: u64,
    /// Whether its input is the session's.
    pub(super) feeds: bool,
    pub(super) scanner: Scanner,
    outputs: [bool; 2],
    framing: Framing,
    socket: OwnedFd,
    watch: Watch,
    pending: Vec<u8>,
    sent: usize,
    input_ended: bool,
    /// Its socket takes nothing any more.
    deaf: bool,
    stage: Stage,
}

impl Client {
    pub(super) fn new(session: u32, number: u32, socket: OwnedFd, wanted: &Wanted) -> Self {
        Client {
            number,
            token: wanted.token,
            feeds: wanted.feeds,
            scanner: Scanner::new(wanted.keys.clone()),
            outputs: wanted.outputs,
            framing: wanted.framing,
            socket,
            watch: Watch::new(Token::Client(session, number)),
            pending: Vec::new(),
            sent: 0,
            input_ended: false,
            deaf: false,
            stage: Stage::Open,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub(super) fn is_gone(&self) -> bool {
        self.stage == Stage::Gone
    }

    /// Whether it gets `stream`.
    pub(super) fn takes(&self, stream: Stream) -> bool {
        self.is_open() && self.outputs[stream.index()]
    }

    /// How many bytes wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.pending.len() - self.sent
    }

    /// Sends a piece of output, or keeps what the socket does not take.
    pub(super) fn send(&mut self, stream: Stream, bytes: &[u8]) {
        let mut header = [0; 8];
        let header: &[u8] = match self.framing {
            Framing::Raw => &[],
            Framing::Multiplexed => {
                // A piece is no longer than the buffer it was read into.
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                header[0] = if stream == Stream::Stdout { 1 } else { 2 };
                header[4..].copy_from_slice(&length.to_be_bytes());
                &header
            }
        };
        let mut done = 0;
        if self.backlog() == 0 {
            match self.try_send(&[IoSlice::new(header), IoSlice::new(bytes)]) {
                Ok(sent) => done = sent,
                Err(Errno::AGAIN) => {}
                Err(_) => return self.stop_listening(),
            }
        }
        let skipped = done.min(header.len());
        self.pending.extend_from_slice(&header[skipped..]);
        self.pending.extend_from_slice(&bytes[done - skipped..]);
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut control = SendAncillaryBuffer::default();
        rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(
                &self.socket,
                parts,
                &mut control,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            )
        })
    }

    /// Sends what waits, and the end if that is due.
    pub(super) fn flush(&mut self) {
        while self.backlog() > 0 {
            match self.try_send(&[IoSlice::new(&self.pending[self.sent..])]) {
                Ok(sent) => self.sent += sent,
                Err(Errno::AGAIN) => return,
                Err(_) => return self.stop_listening(),
            }
        }
        // The memory goes back: most clients never need it again.
        self.pending = Vec::new();
        self.sent = 0;
        if self.stage == Stage::Ending {
            self.stage = match rustix::net::shutdown(&self.socket, Shutdown::Write) {
                Ok(()) if self.input_ended => Stage::Gone,
                Ok(()) => Stage::Lingering(Instant::now() + LINGER),
                Err(_) => Stage::Gone,
            };
        }
    }

    /// Nothing can be sent any more. What the client sent before still is the process's input, and so is its end.
    fn stop_listening(&mut self) {
        self.pending = Vec::new();
        self.sent = 0;
        if self.is_open() && self.feeds && !self.input_ended {
            self.outputs = [false; 2];
            self.deaf = true;
        } else {
            self.stage = Stage::Gone;
        }
    }

    /// Reads what the client sent.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> Sent {
        if self.input_ended {
            return Sent::Nothing;
        }
        buffer.clear();
        let answer = rustix::io::retry_on_intr(|| {
            let space = rustix::buffer::spare_capacity(buffer);
            rustix::net::recv(&self.socket, space, RecvFlags::DONTWAIT)
        });
        match answer {
            Ok((0, _)) => {
                self.input_ended = true;
                if self.deaf || matches!(self.stage, Stage::Lingering(_)) {
                    self.stage = Stage::Gone;
                }
                Sent::End
            }
            Ok(_) => Sent::Bytes,
            Err(Errno::AGAIN) => Sent::Nothing,
            Err(_) => {
                self.input_ended = true;
                self.stage = Stage::Gone;
                Sent::End
            }
        }
    }

    /// Nothing more is to be sent than what waits.
    pub(super) fn end(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Ending;
            self.flush();
        }
    }

    /// Takes the kernel's word that both directions are closed.
    pub(super) fn hang_up(&mut self) {
        self.stage = Stage::Gone;
    }

    /// When its lingering ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Lingering(until) => Some(until),
            _ => None,
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if self.deadline().is_some_and(|until| until <= now) {
            self.stage = Stage::Gone;
        }
    }

    /// Waits for what can be done next; `input_has_room` tells whether its input could go anywhere.
    pub(super) fn watch(&mut self, poll: &Poll, input_has_room: bool) {
        let mut interest = EventFlags::empty();
        if self.backlog() > 0 {
            interest |= EventFlags::OUT;
        }
        let paused = self.is_open() && self.feeds && !input_has_room;
        if !self.input_ended && !paused {
            interest |= EventFlags::IN;
        }
        let interest = match self.stage {
            Stage::Gone => None,
            // The end of a paused client is seen once its input is read again.
            _ if paused && interest.is_empty() => None,
            _ => Some(interest),
        };
        self.watch.set(poll, &self.socket, interest);
    }
}

/// What a client asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) token: u64,
    pub(super) feeds: bool,
    pub(super) outputs: [bool; 2],
    pub(super) framing: Framing,
    pub(super) keys: Vec<u8>,
}
