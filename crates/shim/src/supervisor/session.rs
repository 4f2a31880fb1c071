//! A process with its streams and clients: the container's own, or that of an exec.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sys::process::Exit;

use super::client::{Client, Sent, Wanted};
use super::input::Input;
use super::poll::{EventFlags, Poll, Token, Watch};
use crate::clock;
use crate::logs::Stream;
use crate::protocol::Attachment;

/// How long outputs are read after the process ended, if something else still holds them.
const DRAIN: Duration = Duration::from_secs(2);
/// How much a client that does not read may owe once its process has ended: what two pipes hold, and some.
const DRAIN_BACKLOG: usize = 512 << 10;
/// How much is read from an output, or from a client, at a time.
pub(super) const CHUNK: usize = 32 << 10;

/// What happens within a session that others must know.
pub(super) trait Sink {
    /// The process wrote something.
    fn output(&mut self, stream: Stream, bytes: &[u8]);
    /// A client left by its detach keys.
    fn detached(&mut self, token: u64);
}

/// A process and its descriptors, just made.
#[derive(Debug)]
pub(super) struct Newborn {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    /// The writing end of its input; does not block.
    pub(super) input: Option<OwnedFd>,
    /// The reading ends of its outputs; do not block.
    pub(super) outputs: [Option<OwnedFd>; 2],
    /// Its terminal, of which the first output is a copy.
    pub(super) console: Option<OwnedFd>,
}

/// How clients of a session are treated.
#[derive(Debug, Clone, Default)]
pub(super) struct Manners {
    pub(super) tty: bool,
    /// Whether the end of a client's input is the end of the process's.
    pub(super) input_ends: bool,
    pub(super) detach_keys: Vec<u8>,
}

/// How and when a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) time: u64,
}

impl Ended {
    /// The exit status, 128 + n for signal n.
    pub(super) fn code(self) -> u8 {
        match self.exit {
            // The kernel keeps 8 bits of a status and knows 64 signals.
            Exit::Code(code) => (code & 0xff) as u8,
            Exit::Signal(signal) => 128u8.wrapping_add((signal & 0x7f) as u8),
        }
    }

    /// The signal, 0 for none.
    pub(super) fn signal(self) -> u8 {
        match self.exit {
            Exit::Code(_) => 0,
            Exit::Signal(signal) => (signal & 0x7f) as u8,
        }
    }
}

#[derive(Debug)]
struct Output {
    fd: OwnedFd,
    watch: Watch,
}

/// A process with its streams and clients.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u32,
    pub(super) pid: u32,
    pub(super) manners: Manners,
    pidfd: OwnedFd,
    process: Watch,
    ended: Option<Ended>,
    input: Input,
    outputs: [Option<Output>; 2],
    console: Option<OwnedFd>,
    clients: Vec<Client>,
    next_client: u32,
    drain_until: Option<Instant>,
    /// The log takes nothing for a moment.
    held: bool,
}

impl Session {
    pub(super) fn new(number: u32, poll: &Poll, born: Newborn, manners: Manners) -> Self {
        let [stdout, stderr] = born.outputs;
        let output = |fd: Option<OwnedFd>, stream| {
            fd.map(|fd| Output {
                fd,
                watch: Watch::new(Token::Output(number, stream)),
            })
        };
        let mut session = Session {
            number,
            pid: born.pid,
            manners,
            pidfd: born.pidfd,
            process: Watch::new(Token::Process(number)),
            ended: None,
            input: Input::new(number, born.input),
            outputs: [
                output(stdout, Stream::Stdout),
                output(stderr, Stream::Stderr),
            ],
            console: born.console,
            clients: Vec::new(),
            next_client: 0,
            drain_until: None,
            held: false,
        };
        session
            .process
            .set(poll, &session.pidfd, Some(EventFlags::IN));
        session.settle(poll);
        session
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// How the process ended, if it has.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// How many clients are served.
    pub(super) fn attached(&self) -> usize {
        self.clients
            .iter()
            .filter(|client| client.is_open())
            .count()
    }

    /// The process has ended and all its output was read.
    pub(super) fn is_complete(&self) -> bool {
        self.ended.is_some() && self.outputs.iter().all(Option::is_none)
    }

    /// Nobody is left to be served.
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Adds a client. `leftover` is what it sent before.
    pub(super) fn attach(
        &mut self,
        poll: &Poll,
        socket: OwnedFd,
        attachment: &Attachment,
        sink: &mut dyn Sink,
    ) {
        // Detaching by keys is for terminals: elsewhere every byte is input.
        let keys = if self.manners.tty {
            attachment
                .detach_keys
                .clone()
                .unwrap_or_else(|| self.manners.detach_keys.clone())
        } else {
            Vec::new()
        };
        let wanted = Wanted {
            token: attachment.token,
            feeds: attachment.stdin && self.input.is_open(),
            outputs: [attachment.stdout, attachment.stderr],
            framing: attachment.framing,
            keys,
        };
        let mut client = Client::new(self.number, self.next_client, socket, &wanted);
        self.next_client += 1;
        if client.feeds && !attachment.leftover.is_empty() {
            self.input_from(poll, &mut client, &attachment.leftover, sink);
        }
        self.clients.push(client);
        self.settle(poll);
    }

    /// Passes a client's bytes on.
    fn input_from(&mut self, poll: &Poll, client: &mut Client, bytes: &[u8], sink: &mut dyn Sink) {
        if self.manners.tty {
            let mut passed = Vec::with_capacity(bytes.len());
            let detached = client.scanner.scan(bytes, &mut passed);
            self.input.push(poll, &passed);
            if detached {
                client.end();
                sink.detached(client.token);
            }
        } else {
            self.input.push(poll, bytes);
        }
    }

    /// A client's socket is ready.
    pub(super) fn client_ready(
        &mut self,
        poll: &Poll,
        number: u32,
        flags: EventFlags,
        buffer: &mut Vec<u8>,
        sink: &mut dyn Sink,
    ) {
        let Some(place) = self
            .clients
            .iter()
            .position(|client| client.number == number)
        else {
            return;
        };
        let mut client = self.clients.swap_remove(place);
        if flags.contains(EventFlags::OUT) {
            client.flush();
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read_client(poll, &mut client, buffer, flags, sink);
        }
        self.clients.push(client);
        self.settle(poll);
    }

    fn read_client(
        &mut self,
        poll: &Poll,
        client: &mut Client,
        buffer: &mut Vec<u8>,
        flags: EventFlags,
        sink: &mut dyn Sink,
    ) {
        let feeding = client.is_open() && client.feeds;
        match client.read(buffer) {
            Sent::Bytes if feeding => self.input_from(poll, client, buffer, sink),
            // Whoever gives no input may send what it likes.
            Sent::Bytes => {}
            Sent::End if feeding => self.input_ended(poll, client),
            Sent::End => {}
            Sent::Nothing if flags.intersects(EventFlags::HUP | EventFlags::ERR) => {
                client.hang_up()
            }
            Sent::Nothing => {}
        }
    }

    /// A client closed its side. As docker does: without a terminal, and if so configured, that ends the
    /// process's input; otherwise it ends the client's attachment.
    fn input_ended(&mut self, poll: &Poll, client: &mut Client) {
        let rest = client.scanner.rest();
        self.input.push(poll, &rest);
        if self.manners.input_ends && !self.manners.tty {
            self.input.end(poll);
        } else {
            client.end();
        }
    }

    /// The input takes bytes again.
    pub(super) fn input_ready(&mut self, poll: &Poll) {
        self.input.flush(poll);
        self.settle(poll);
    }

    /// Closes the input once everything was passed on.
    pub(super) fn close_input(&mut self, poll: &Poll) {
        self.input.end(poll);
        self.settle(poll);
    }

    /// An output has something, or its end.
    pub(super) fn output_ready(
        &mut self,
        poll: &Poll,
        stream: Stream,
        buffer: &mut Vec<u8>,
        sink: &mut dyn Sink,
    ) {
        self.read_output(poll, stream, buffer, sink);
        self.settle(poll);
    }

    /// Reads once; false when there was nothing now or for ever.
    fn read_output(
        &mut self,
        poll: &Poll,
        stream: Stream,
        buffer: &mut Vec<u8>,
        sink: &mut dyn Sink,
    ) -> bool {
        if self.is_blocked(stream) {
            return false;
        }
        let Some(output) = &mut self.outputs[stream.index()] else {
            return false;
        };
        buffer.clear();
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::read(&output.fd, rustix::buffer::spare_capacity(buffer))
        });
        match read {
            Ok(length) if length > 0 => {
                let bytes = buffer.as_slice();
                sink.output(stream, bytes);
                for client in self
                    .clients
                    .iter_mut()
                    .filter(|client| client.takes(stream))
                {
                    client.send(stream, bytes);
                }
                true
            }
            Err(Errno::AGAIN) => false,
            // The end: of a pipe as such, of a terminal as EIO once no process has it open.
            _ => {
                self.close_output(poll, stream);
                false
            }
        }
    }

    fn close_output(&mut self, poll: &Poll, stream: Stream) {
        if let Some(mut output) = self.outputs[stream.index()].take() {
            output.watch.set(poll, &output.fd, None);
        }
    }

    /// Whether outputs are to be left alone although nobody is behind with reading.
    pub(super) fn hold(&mut self, poll: &Poll, held: bool) {
        if self.held != held {
            self.held = held;
            self.settle(poll);
        }
    }

    /// A client that does not read holds the process up, as in docker. Once the process has ended, what is left
    /// is bounded, and is read.
    fn is_blocked(&self, stream: Stream) -> bool {
        let limit = match self.ended {
            Some(_) => DRAIN_BACKLOG,
            None if self.held => return true,
            None => 0,
        };
        self.clients
            .iter()
            .any(|client| client.takes(stream) && client.backlog() > limit)
    }

    /// The process's descriptor is ready: true if it has ended.
    pub(super) fn reap(&mut self, poll: &Poll) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let exit = match sys::process::wait(self.pidfd.as_fd(), false) {
            Ok(Some(exit)) => exit,
            Ok(None) => return false,
            // It cannot be waited for: nothing will ever be known of it.
            Err(_) => Exit::Signal(libc::SIGKILL),
        };
        self.process.set(poll, &self.pidfd, None);
        self.ended = Some(Ended {
            exit,
            time: clock::now(),
        });
        self.drain_until = Some(Instant::now() + DRAIN);
        self.input.close(poll);
        true
    }

    /// Reads what is in the outputs of a process that has ended.
    pub(super) fn drain(&mut self, poll: &Poll, buffer: &mut Vec<u8>, sink: &mut dyn Sink) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            // What a pipe holds, several times over; something else that goes on writing gets its turn later.
            for _ in 0..64 {
                if !self.read_output(poll, stream, buffer, sink) {
                    break;
                }
            }
        }
        self.settle(poll);
    }

    /// Lets all clients go: they get what waits for them and then the end.
    pub(super) fn finish(&mut self, poll: &Poll) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.close_output(poll, stream);
        }
        self.console = None;
        self.drain_until = None;
        for client in &mut self.clients {
            client.end();
        }
        self.settle(poll);
    }

    /// Sets the terminal's size.
    pub(super) fn resize(&self, rows: u16, columns: u16) -> Option<Result<(), Errno>> {
        let console = self.console.as_ref()?;
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Some(rustix::termios::tcsetwinsize(console, size))
    }

    /// When something must be done even if nothing becomes ready.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter().filter_map(Client::deadline);
        clients.chain(self.drain_until).min()
    }

    /// Does what is due. Outputs that something else holds are given up.
    pub(super) fn expire(&mut self, poll: &Poll, now: Instant) {
        for client in &mut self.clients {
            client.expire(now);
        }
        if self.drain_until.is_some_and(|until| until <= now) {
            self.drain_until = None;
            for stream in [Stream::Stdout, Stream::Stderr] {
                self.close_output(poll, stream);
            }
        }
        self.settle(poll);
    }

    /// Drops clients that are gone and waits for what can happen next.
    fn settle(&mut self, poll: &Poll) {
        let room = self.input.has_room();
        for client in &mut self.clients {
            client.watch(poll, room);
        }
        self.clients.retain(|client| !client.is_gone());
        for stream in [Stream::Stdout, Stream::Stderr] {
            let blocked = self.is_blocked(stream);
            if let Some(output) = &mut self.outputs[stream.index()] {
                let interest = if blocked { None } else { Some(EventFlags::IN) };
                output.watch.set(poll, &output.fd, interest);
            }
        }
    }
}
