//! A process 1 of our own: it starts the program as its child, passes signals on, reaps orphans, and ends with the
//! program's status. It is this program's memory, not another one's, so it costs a clone and no execve.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use sys::process::{self, Exit};

use super::At;
use crate::fault::{Fault, Step};
use crate::prepared::Title;

/// Goes on in a child; the caller's process never returns. `terminal`: the program gets the terminal's foreground.
pub(super) fn below(
    terminal: bool,
    pid_namespace: bool,
    title: Option<&Title>,
) -> Result<(), Fault> {
    if !pid_namespace {
        // Orphans go to process 1 of the namespace, which is another.
        process::set_child_subreaper().at(Step::Init)?;
    }
    // Before there is a program: whoever is told of its start finds it so.
    if let Some(title) = title {
        // SAFETY: this is the walk.
        unsafe { title.show() };
    }
    // Blocked, signals wait until process 1 takes them.
    process::set_blocked_signals(u64::MAX).at(Step::Init)?;
    // SAFETY: both processes go on within the walk, or in `serve`, which keeps to the walk's rules.
    let child = unsafe { process::fork_again() }.at(Step::Init)?;
    if child != 0 {
        serve(child);
    }
    lead_foreground(terminal).at(Step::Init)?;
    process::set_blocked_signals(0).at(Step::Init)?;
    Ok(())
}

/// Makes a group of the program's own, which signals of the terminal go to.
fn lead_foreground(terminal: bool) -> Result<(), Errno> {
    process::lead_group()?;
    if terminal {
        // SAFETY: number 0 is the terminal, which stays open until execve.
        let stream = unsafe { BorrowedFd::borrow_raw(0) };
        // SIGTTOU, sent to groups in the background that do this, is blocked here.
        process::set_foreground(stream, rustix::process::getpid().as_raw_nonzero().get())?;
    }
    Ok(())
}

/// Process 1's work until the program ends.
fn serve(program: i32) -> ! {
    // The channel goes too: only the program's copy tells of its start.
    let _ = process::close_from(3);
    let _ = process::set_name(c"wharf-init");
    loop {
        match process::take_signal() {
            Ok(libc::SIGCHLD) => reap(program),
            Ok(signal) => {
                let _ = process::kill(program, signal);
            }
            Err(_) => {}
        }
    }
}

/// Takes the status of all that have ended; ends with the program's.
fn reap(program: i32) {
    let mut status = None;
    while let Ok(Some((pid, exit))) = process::wait_any(false) {
        if pid == program {
            status = Some(exit);
        }
    }
    match status {
        Some(Exit::Code(code)) => process::exit(code),
        Some(Exit::Signal(signal)) => process::exit(128 + signal),
        None => {}
    }
}
