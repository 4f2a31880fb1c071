//! Carries an attached connection: keyboard in, output out, signals and sizes beside.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sys::signals::Signals;
use types::detach::Scanner;

use crate::connection::{Answer, Stream};
use crate::failure::Failure;
use crate::frames::Frames;

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
    pub(crate) signals: Option<(&'a Signals, &'a dyn Fn(i32))>,
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
    let mut input_open = what.stdin;
    loop {
        let source = what
            .beside
            .as_ref()
            .map_or(Source::Never, |beside| beside.source());
        let ready = wait(
            &stream,
            input_open,
            what.signals.map(|(signals, _)| signals),
            source,
        )
        .map_err(Failure::local("cannot wait for input"))?;
        if let (true, Some(beside)) = (ready.beside, &mut what.beside) {
            beside.act();
        }
        if let (true, Some((signals, act))) = (ready.signals, what.signals) {
            while let Some(signal) = signals.take() {
                act(signal);
            }
        }
        if ready.input && input(&mut stream, &mut what, &mut input_open, &mut buffer)? {
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
    input: bool,
    signals: bool,
    beside: bool,
}

fn wait(
    stream: &Stream,
    input_open: bool,
    signals: Option<&Signals>,
    beside: Source<'_>,
) -> io::Result<Ready> {
    let stdin = rustix::stdio::stdin();
    let mut list = vec![PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)];
    let signals_at = signals.map(|signals| add(&mut list, signals.as_fd()));
    let input_at = input_open.then(|| add(&mut list, stdin));
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
    Ok(Ready {
        output: is_ready(Some(0)),
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

/// Passes on what was typed. True when the detach keys were among it.
fn input(
    stream: &mut Stream,
    what: &mut Attached<'_, '_>,
    open: &mut bool,
    buffer: &mut [u8],
) -> Result<bool, Failure> {
    let number = match rustix::io::read(rustix::stdio::stdin(), &mut *buffer) {
        Ok(number) => number,
        Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
        // A terminal that went away, or a standard input that was never open: nothing more comes.
        Err(_) => 0,
    };
    if number == 0 {
        *open = false;
        // The beginning of the keys was no more than what it is.
        if let Some(keys) = &mut what.detach_keys {
            let _ = stream.write_all(&keys.rest());
        }
        // The other side may be gone already; its end is seen when output is read.
        let _ = stream.finish_writing();
        return Ok(false);
    }
    let mut passed = Vec::new();
    let detached = match &mut what.detach_keys {
        Some(keys) => keys.scan(&buffer[..number], &mut passed),
        None => {
            passed.extend_from_slice(&buffer[..number]);
            false
        }
    };
    if stream.write_all(&passed).is_err() {
        *open = false;
    }
    Ok(detached)
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
