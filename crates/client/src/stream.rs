//! Carries an attached connection: keyboard in, output out, signals and sizes beside.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use sys::signals::Signals;
use types::detach::Scanner;

use crate::connection::{Answer, Stream};
use crate::failure::Failure;
use crate::frames::Frames;

/// What is done with a signal; a failure ends it all.
pub(crate) type SignalAct<'a> = &'a dyn Fn(i32) -> Result<(), Failure>;

/// What one attached connection carries.
pub(crate) struct Attached<'a, 'b> {
    /// Whether the other side is a terminal: output is then raw, else in frames.
    pub(crate) tty: bool,
    /// Whether standard input is passed on.
    pub(crate) stdin: bool,
    /// The keys that end this without ending the other side; only with a terminal.
    pub(crate) detach_keys: Option<Scanner>,
    /// What goes on beside.
    pub(crate) beside: Option<&'a mut (dyn Beside + 'b)>,
    /// Signals that are held, and what is done with each.
    pub(crate) signals: Option<(&'a Signals, SignalAct<'a>)>,
}

/// Something that goes on beside the streams: the wait for the container's end.
pub(crate) trait Beside {
    /// When it wants to act.
    fn source(&self) -> Source<'_>;
    /// Acts.
    fn act(&mut self);
}

/// When something wants to act.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// When this can be read.
    Readable(BorrowedFd<'a>),
    /// After this time, again and again.
    After(Duration),
    /// Not any more.
    Never,
}

/// How an attached connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The other side closed it.
    ByServer,
    /// The person typed the detach keys.
    Detached,
}

const BUFFER: usize = 32 << 10;

/// Passes bytes in both directions until the other side closes or the person detaches.
///
/// # Errors
/// When the connection breaks or standard output can not be written.
pub(crate) fn carry(answer: Answer, mut what: Attached<'_, '_>) -> Result<Ended, Failure> {
    let (mut stream, early) = answer.into_stream();
    let mut frames = (!what.tty).then(Frames::default);
    output(&mut frames, &early)?;
    let mut buffer = vec![0; BUFFER];
    let mut input = Input::new(what.stdin, what.detach_keys.take());
    loop {
        let source = what
            .beside
            .as_ref()
            .map_or(Source::Never, |beside| beside.source());
        let ready = wait(
            &stream,
            &input,
            what.signals.map(|(signals, _)| signals),
            source,
        )
        .map_err(Failure::local("cannot wait for input"))?;
        if let (true, Some(beside)) = (ready.beside, &mut what.beside) {
            beside.act();
        }
        if let (true, Some((signals, act))) = (ready.signals, what.signals) {
            while let Some(signal) = signals.take() {
                act(signal)?;
            }
        }
        if ready.input {
            input.read(&mut buffer);
        }
        if (ready.input || ready.room) && input.send(&stream) {
            return Ok(Ended::Detached);
        }
        if ready.output {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(Ended::ByServer),
                Ok(number) => output(&mut frames, &buffer[..number])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Ended::ByServer);
                }
                Err(source) => {
                    return Err(Failure::Connection {
                        doing: "read the output".to_owned(),
                        source,
                    });
                }
            }
        }
    }
}

/// What can be done without waiting.
struct Ready {
    output: bool,
    /// The other side may take what waits for it.
    room: bool,
    input: bool,
    signals: bool,
    beside: bool,
}

fn wait(
    stream: &Stream,
    input: &Input,
    signals: Option<&Signals>,
    beside: Source<'_>,
) -> io::Result<Ready> {
    let stdin = rustix::stdio::stdin();
    let both = match input.is_waiting() {
        true => PollFlags::IN | PollFlags::OUT,
        false => PollFlags::IN,
    };
    let mut list = vec![PollFd::from_borrowed_fd(stream.as_fd(), both)];
    let signals_at = signals.map(|signals| add(&mut list, signals.as_fd()));
    let input_at = input.may_read().then(|| add(&mut list, stdin));
    let (beside_at, timeout) = match beside {
        Source::Readable(fd) => (Some(add(&mut list, fd)), None),
        Source::After(time) => (None, Some(time)),
        Source::Never => (None, None),
    };
    let timeout = timeout.map(|time| Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: time.subsec_nanos().into(),
    });
    let number = match poll(&mut list, timeout.as_ref()) {
        Ok(number) => number,
        Err(Errno::INTR) => 1,
        Err(errno) => return Err(errno.into()),
    };
    let is_ready = |at: Option<usize>| at.is_some_and(|at| !list[at].revents().is_empty());
    let stream = list[0].revents();
    Ok(Ready {
        output: !stream.difference(PollFlags::OUT).is_empty(),
        room: stream.contains(PollFlags::OUT),
        input: is_ready(input_at),
        signals: is_ready(signals_at),
        beside: is_ready(beside_at) || number == 0,
    })
}

/// Adds a descriptor to a list, and gives its place.
fn add<'a>(list: &mut Vec<PollFd<'a>>, fd: BorrowedFd<'a>) -> usize {
    list.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
    list.len() - 1
}

/// The way of standard input to the other side. Nothing here waits for the other side to take something: a program that
/// writes before it reads would wait for this one at the same time.
struct Input {
    open: bool,
    detach_keys: Option<Scanner>,
    /// What was read and is not sent, from `sent` on.
    bytes: Vec<u8>,
    sent: usize,
    /// What is done when everything is sent.
    then: Then,
}

/// What follows the last byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// More, perhaps.
    GoOn,
    /// The other side is told that nothing more comes.
    Finish,
    /// The keys were typed.
    Detach,
}

impl Input {
    fn new(open: bool, detach_keys: Option<Scanner>) -> Self {
        Input {
            open,
            detach_keys,
            bytes: Vec::new(),
            sent: 0,
            then: Then::GoOn,
        }
    }

    /// Whether something waits for the other side to take it.
    fn is_waiting(&self) -> bool {
        self.sent < self.bytes.len()
    }

    /// Whether more is to be read: not while something waits.
    fn may_read(&self) -> bool {
        self.open && !self.is_waiting()
    }

    /// Reads what was typed.
    fn read(&mut self, buffer: &mut [u8]) {
        let number = match rustix::io::read(rustix::stdio::stdin(), &mut *buffer) {
            Ok(number) => number,
            Err(Errno::INTR | Errno::AGAIN) => return,
            // A terminal that went away, or a standard input that was never open: nothing more comes.
            Err(_) => 0,
        };
        if number == 0 {
            // The beginning of the keys was no more than what it is.
            if let Some(keys) = &mut self.detach_keys {
                self.bytes.extend_from_slice(&keys.rest());
            }
            self.end(Then::Finish);
            return;
        }
        let typed = &buffer[..number];
        match &mut self.detach_keys {
            Some(keys) => {
                if keys.scan(typed, &mut self.bytes) {
                    self.end(Then::Detach);
                }
            }
            None => self.bytes.extend_from_slice(typed),
        }
    }

    fn end(&mut self, then: Then) {
        self.open = false;
        self.then = then;
    }

    /// Sends what the other side takes now. True when the detach keys were typed, and everything before them is sent.
    fn send(&mut self, stream: &Stream) -> bool {
        while self.is_waiting() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(stream, &self.bytes[self.sent..], flags) {
                Ok(number) => self.sent += number,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                // The other side is gone; its end is seen when output is read.
                Err(_) => {
                    self.open = false;
                    break;
                }
            }
        }
        self.bytes.clear();
        self.sent = 0;
        if self.then == Then::Finish {
            self.then = Then::GoOn;
            // As above.
            let _ = stream.finish_writing();
        }
        self.then == Then::Detach
    }
}

fn output(frames: &mut Option<Frames>, bytes: &[u8]) -> Result<(), Failure> {
    match frames {
        None => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)
                .and_then(|()| out.flush())
                .map_err(crate::output::failed)
        }
        Some(frames) => frames
            .write(bytes, &mut io::stdout().lock(), &mut io::stderr().lock())
            .map_err(crate::output::failed),
    }
}
