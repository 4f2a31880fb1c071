//! `kill`: a signal for a container's process, or for all of them.

use std::os::fd::AsFd;

use crate::cli::{Given, Global, NAME, switch};
use crate::error::{Error, Result};
use crate::signals;
use crate::state::{Container, Status};

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let given = Given::parse(&[switch("all").or("a")], words)?;
    let (id, signal) = match given.args.as_slice() {
        [id] => (id, "SIGTERM"),
        [id, signal] => (id, signal.as_str()),
        args => {
            let (how, count) = if args.is_empty() {
                ("minimum", 1)
            } else {
                ("maximum", 2)
            };
            return Err(Error::Usage(format!(
                "{NAME}: \"kill\" requires a {how} of {count} argument(s)"
            )));
        }
    };
    let container = Container::open(&global.root, id)?;
    let signal = signals::parse(signal)?;
    if given.is_on("all") {
        return all(&container, signal);
    }
    let not_running = || Error::State("container not running".to_owned());
    if signal == libc::SIGKILL
        && container.record.shared_pids
        && let Some(group) = container.own_group()?
    {
        // Nobody but us ends the others with the first, which may be gone.
        if container.status() == Status::Stopped && group.is_empty()? {
            return Err(not_running());
        }
        return all(&container, signal);
    }
    let pidfd = container.pidfd()?.ok_or_else(not_running)?;
    match sys::process::pidfd_send_signal(pidfd.as_fd(), signal) {
        Ok(()) => {}
        Err(rustix::io::Errno::SRCH) => return Err(not_running()),
        Err(errno) => return Err(Error::call("unable to signal init")(errno)),
    }
    if signal == libc::SIGKILL && container.status() == Status::Paused {
        // Held by version 1, it would not die.
        container.group()?.freeze(false)?;
    }
    Ok(0)
}

/// Every process of the group. One that has ended meanwhile needs none.
fn all(container: &Container, signal: i32) -> Result<u8> {
    let group = container.group()?;
    if signal == libc::SIGKILL {
        let paused = container.status() == Status::Paused;
        group.kill()?;
        if paused {
            // Held by version 1, they would not die.
            group.freeze(false)?;
        }
        return Ok(0);
    }
    for pid in group.pids()? {
        let Ok(pidfd) = sys::process::pidfd_open(pid) else {
            continue;
        };
        // Opened while it was a member, else its number may be another's by now.
        if group.pids()?.contains(&pid) {
            match sys::process::pidfd_send_signal(pidfd.as_fd(), signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(errno) => return Err(Error::call("unable to signal a process")(errno)),
            }
        }
    }
    Ok(0)
}
