//! Terminals: handed to whoever asked, or joined to this command's own.

use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::termios::{OptionalActions, OutputModes, Termios};
use sys::fdpass::{self, Wait};
use sys::signals::Signals;

use crate::error::{Error, Result};

/// What is read at a time, in bytes: a pipe that takes anything at all takes so much without waiting (pipe(7), PIPE_BUF).
const PIECE: usize = 4096;

/// Sends the caller's side of a terminal to the socket of `--console-socket`.
pub(crate) fn send(socket: &Path, console: &OwnedFd) -> Result<()> {
    // Who receives it may show the name; runc sends this one.
    hand_over(socket, b"/dev/ptmx", console)
        .map_err(|source| Error::io("sending the terminal to", socket, source))
}

/// Sends a process's descriptor to the socket of `--pidfd-socket`; `kind` is runc's word for what kind of process it is.
pub(crate) fn send_process(socket: &Path, kind: &str, process: &OwnedFd) -> Result<()> {
    hand_over(socket, kind.as_bytes(), process)
        .map_err(|source| Error::io("sending the process's descriptor to", socket, source))
}

/// Sends a descriptor and words about it to a socket.
pub(crate) fn hand_over(socket: &Path, words: &[u8], fd: &OwnedFd) -> std::io::Result<()> {
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::CLOEXEC;
    let connection =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&connection, &address)?;
    let words = IoSlice::new(words);
    fdpass::send(connection.as_fd(), &[words], &[fd.as_fd()], Wait::Block)
}

/// This command's terminal, which passes everything on while this lives.
struct Raw {
    before: Option<Termios>,
}

impl Raw {
    fn enter() -> Self {
        let stdin = std::io::stdin();
        let before = rustix::termios::tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // The container's terminal leaves line ends to this one.
            raw.output_modes = before.output_modes | OutputModes::OPOST;
            // Without it keys are echoed twice, no more.
            let _ = rustix::termios::tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        Self { before }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Gives the container's terminal the size of this command's.
fn resize(console: &OwnedFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdin()) {
        // A terminal of another size is still one.
        let _ = rustix::termios::tcsetwinsize(console, size);
    }
}

/// Waits for a process's end. Its terminal, where it has one, is joined to this command's streams; signals that this
/// command gets go to it.
pub(crate) fn attend(
    pidfd: BorrowedFd<'_>,
    console: Option<&OwnedFd>,
    signals: &Signals,
) -> Result<()> {
    let _raw = console.map(|console| {
        resize(console);
        Raw::enter()
    });
    if let Some(console) = console {
        // A program that reads nothing holds up nobody. This command is the only one that has this side.
        let flags = rustix::fs::fcntl_getfl(console).map_err(Error::call("asking the terminal"))?;
        rustix::fs::fcntl_setfl(console, flags | OFlags::NONBLOCK)
            .map_err(Error::call("preparing the terminal"))?;
    }
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let mut flows: Vec<Flow<'_>> = Vec::new();
    if let Some(console) = console {
        flows.push(Flow::new(console.as_fd(), stdout.as_fd()));
        flows.push(Flow::new(stdin.as_fd(), console.as_fd()));
    }
    loop {
        let mut polled = vec![
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        let open: Vec<usize> = (0..flows.len()).filter(|at| flows[*at].open).collect();
        polled.extend(open.iter().map(|at| flows[*at].waits_for()));
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("waiting for the process")(errno)),
        }
        let ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
        drop(polled);
        if ready[1] {
            pass_signals(pidfd, console, signals);
        }
        for (at, _) in open.iter().zip(&ready[2..]).filter(|(_, ready)| **ready) {
            flows[*at].step();
        }
        if ready[0] {
            // What it wrote last is read before its status counts.
            if let Some(output) = flows.first_mut() {
                output.drain();
            }
            return Ok(());
        }
    }
}

/// One direction between a terminal and this command's streams.
struct Flow<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    buffer: Vec<u8>,
    /// Which part of it is still to be written.
    rest: Range<usize>,
    open: bool,
}

impl<'a> Flow<'a> {
    fn new(from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Self {
        Self {
            from,
            to,
            buffer: vec![0; PIECE],
            rest: 0..0,
            open: true,
        }
    }

    /// What is next: that there is something to read, or that what was read can be written.
    fn waits_for(&self) -> PollFd<'a> {
        if self.rest.is_empty() {
            PollFd::from_borrowed_fd(self.from, PollFlags::IN)
        } else {
            PollFd::from_borrowed_fd(self.to, PollFlags::OUT)
        }
    }

    /// Reads or writes once, when [`Flow::waits_for`] is there.
    fn step(&mut self) {
        let done = if self.rest.is_empty() {
            rustix::io::read(self.from, &mut self.buffer).inspect(|count| {
                self.rest = 0..*count;
            })
        } else {
            let rest = self.buffer.get(self.rest.clone()).unwrap_or_default();
            rustix::io::write(self.to, rest).inspect(|count| {
                self.rest.start += count;
            })
        };
        self.open = match done {
            Ok(count) => count > 0,
            // A stream that is shared may have been made one that does not wait.
            Err(errno) => matches!(errno, Errno::INTR | Errno::AGAIN),
            // A terminal whose other side is closed answers EIO.
        };
    }

    /// Passes on what has been written already.
    fn drain(&mut self) {
        while self.open {
            let patience = if self.rest.is_empty() {
                Some(Timespec::default())
            } else {
                None
            };
            match rustix::event::poll(&mut [self.waits_for()], patience.as_ref()) {
                Ok(0) => return,
                Ok(_) => self.step(),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

fn pass_signals(pidfd: BorrowedFd<'_>, console: Option<&OwnedFd>, signals: &Signals) {
    while let Some(signal) = signals.take() {
        match (signal, console) {
            (libc::SIGWINCH, Some(console)) => resize(console),
            // Gone by now, it has ended anyhow.
            _ => drop(sys::process::pidfd_send_signal(pidfd, signal)),
        }
    }
}

/// The signals that a command which waits for a process passes on: all but those that are about this command itself.
pub(crate) fn passed_signals() -> Result<Signals> {
    let own = [
        libc::SIGCHLD,
        libc::SIGURG,
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGPIPE,
    ];
    let all: Vec<i32> = (1..=31).filter(|signal| !own.contains(signal)).collect();
    Signals::hold(&all).map_err(|source| Error::Io {
        action: "taking signals of",
        path: "/proc/self".into(),
        source,
    })
}
