//! Terminals: handed to whoever asked, or joined to this command's own.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::termios::{OptionalActions, OutputModes, Termios};
use sys::fdpass::{self, Wait};
use sys::signals::Signals;

use crate::error::{Error, Result};

/// What is read at a time.
const PIECE: usize = 32 * 1024;

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
    let stdin = std::io::stdin();
    let (mut input_open, mut output_open) = (console.is_some(), console.is_some());
    loop {
        let mut polled = vec![
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if let Some(console) = console {
            let wanted = |open: bool| {
                if open {
                    PollFlags::IN
                } else {
                    PollFlags::empty()
                }
            };
            if output_open {
                polled.push(PollFd::from_borrowed_fd(console.as_fd(), wanted(true)));
            }
            if input_open {
                polled.push(PollFd::from_borrowed_fd(stdin.as_fd(), wanted(true)));
            }
        }
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::call("waiting for the process")(errno)),
        }
        let ready = |index: usize| {
            polled
                .get(index)
                .is_some_and(|one| !one.revents().is_empty())
        };
        let ended = ready(0);
        if ready(1) {
            pass_signals(pidfd, console, signals);
        }
        if let Some(console) = console {
            let mut next = 2;
            if output_open {
                if ready(next) || ended {
                    output_open = copy(console.as_fd(), std::io::stdout().as_fd());
                }
                next += 1;
            }
            if input_open && ready(next) {
                input_open = copy(stdin.as_fd(), console.as_fd());
            }
        }
        // What it wrote last is read before its status counts.
        if ended && !(output_open && console.is_some_and(has_more)) {
            return Ok(());
        }
    }
}

fn has_more(console: &OwnedFd) -> bool {
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(console, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&now)).is_ok()
        && polled[0].revents().contains(PollFlags::IN)
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

/// Copies what there is; whether there may be more.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; PIECE];
    // A terminal whose other side is closed answers EIO.
    let Ok(count @ 1..) = rustix::io::read(from, &mut buffer) else {
        return false;
    };
    let mut rest = buffer.get(..count).unwrap_or_default();
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
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
