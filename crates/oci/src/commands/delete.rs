//! `delete`: removes what is left of a container.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::cli::{Given, Global, switch};
use crate::error::{Error, Result};
use crate::hooks::{self, Place};
use crate::state::{self, Container, Status};

/// How long the kernel may take to end a process that was killed, in seconds.
const PATIENCE: i64 = 10;
/// How long a program may take that is ending, in nanoseconds.
const GRACE: i64 = 100_000_000;

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let given = Given::parse(&[switch("force").or("f")], words)?;
    let id = given.id("delete")?;
    let force = given.is_on("force");
    let container = match Container::open_locked(&global.root, id) {
        Err(Error::NoContainer) if force => {
            // A folder without a record is what a command left that was killed in its first moments.
            return state::remove(&global.root.join(id)).map(|()| 0);
        }
        other => other?,
    };
    match container.status() {
        // Whoever made it has died: it would have the lock.
        Status::Stopped | Status::Creating => {}
        // Nobody waits for a process that has not run yet.
        Status::Created => end(&container)?,
        _ if force => end(&container)?,
        // Whoever has seen a program's last output can be here before its end.
        Status::Running if ends_soon(&container)? => {}
        status => {
            return Err(Error::State(format!(
                "cannot delete container {id} that is not stopped: {}",
                status.word()
            )));
        }
    }
    remove(&container)?;
    Ok(0)
}

fn ends_soon(container: &Container) -> Result<bool> {
    let grace = Timespec {
        tv_sec: 0,
        tv_nsec: GRACE,
    };
    match container.pidfd()? {
        None => Ok(true),
        Some(pidfd) => ends_within(&pidfd, &grace),
    }
}

fn ends_within(process: &OwnedFd, patience: &Timespec) -> Result<bool> {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(patience)))
        .map(|ready| ready != 0)
        .map_err(Error::call("waiting for the container's process"))
}

/// Kills a container's process and waits for its end.
pub(super) fn end(container: &Container) -> Result<()> {
    let Some(pidfd) = container.pidfd()? else {
        return Ok(());
    };
    match sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(errno) => return Err(Error::call("killing the container's process")(errno)),
    }
    // A process that version 1 holds dies once it is let go.
    if container.status() == Status::Paused {
        container.group()?.freeze(false)?;
    }
    let patience = Timespec {
        tv_sec: PATIENCE,
        tv_nsec: 0,
    };
    if ends_within(&pidfd, &patience)? {
        Ok(())
    } else {
        Err(Error::State("container init still running".to_owned()))
    }
}

fn remove(container: &Container) -> Result<()> {
    let group = container.own_group()?;
    // Further processes, and those of a container that shares a pid namespace.
    container.record.end(group)?;
    container.folder.remove()?;
    // The container is gone whatever becomes of them, but who deletes is told of the first that fails, as by runc: the
    // specification wants a warning, which nobody would read who has only the status.
    let record = &container.record;
    let hooks = record.hooks.as_ref();
    let hooks = hooks.and_then(|hooks| hooks.poststop.as_ref());
    hooks::run("poststop", hooks, record, Status::Stopped, Place::Runtime)
}
