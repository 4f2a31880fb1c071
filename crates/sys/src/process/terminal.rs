//! Terminals, sessions and process groups.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Result, outcome};

/// Makes the terminal `fd` the controlling one of the session that the caller leads.
pub fn set_controlling_terminal(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes a number: 0 does not steal.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// Makes a process group the foreground one of the terminal `fd`.
pub fn set_foreground(fd: BorrowedFd<'_>, group: i32) -> Result<()> {
    // SAFETY: tcsetpgrp takes two numbers.
    outcome(unsafe { libc::tcsetpgrp(fd.as_raw_fd(), group) }.into()).map(drop)
}

/// Makes the calling process the leader of a group of its own.
pub fn lead_group() -> Result<()> {
    // SAFETY: two numbers.
    outcome(unsafe { libc::setpgid(0, 0) }.into()).map(drop)
}

/// Makes the calling process the leader of a session of its own.
pub fn lead_session() -> Result<()> {
    // SAFETY: no arguments.
    outcome(unsafe { libc::setsid() }.into()).map(drop)
}

/// The other side of the terminal whose ptmx side is `ptmx`, opened without any path, and unlocked.
pub fn terminal_peer(ptmx: BorrowedFd<'_>) -> Result<OwnedFd> {
    let unlocked: i32 = 0;
    // SAFETY: TIOCSPTLCK reads an int, which outlives the call.
    let answer = unsafe { libc::ioctl(ptmx.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
    outcome(answer.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags.
    let answer = unsafe { libc::ioctl(ptmx.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    let fd = outcome(answer.into())?;
    // SAFETY: a success is a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sets a terminal's size, from either side.
pub fn set_terminal_size(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads the structure, which outlives the call.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
        .map(drop)
}

/// Lets a terminal pass line ends on as they are written, from either side: without ONLCR (termios(3)), for who shows its
/// output on another terminal, which does that again.
pub fn keep_line_ends(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: all zeros is a valid value of the structure, which has numbers alone.
    let mut modes: libc::termios2 = unsafe { std::mem::zeroed() };
    // SAFETY: TCGETS2 fills the structure, which outlives the call.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TCGETS2, &raw mut modes) }.into())?;
    modes.c_oflag &= !libc::ONLCR;
    // SAFETY: TCSETS2 reads the structure, which outlives the call.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TCSETS2, &raw const modes) }.into())
        .map(drop)
}
