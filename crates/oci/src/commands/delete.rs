//! `delete`: removes what is left of a container.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::cli::{Given, Global, switch};
use crate::create::run_poststop;
use crate::error::{Error, Result};
use crate::state::{self, Container, Status};

/// How long the kernel may take to end a process that was killed, in seconds.
const PATIENCE: i64 = 10;

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
        Status::Stopped => {}
        // Nobody waits for a process that has not run yet.
        Status::Created => end(&container)?,
        _ if force => end(&container)?,
        status => {
            return Err(Error::State(format!(
                "cannot delete container {id} that is not stopped: {}",
                status.word()
            )));
        }
    }
    remove(global, &container)?;
    Ok(0)
}

fn end(container: &Container) -> Result<()> {
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
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    match rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&patience))) {
        Ok(0) => Err(Error::State("container init still running".to_owned())),
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::call("waiting for the container's process")(errno)),
    }
}

fn remove(global: &Global, container: &Container) -> Result<()> {
    let group = container.own_group()?;
    // Further processes, and those of a container that shares a pid namespace.
    container.record.end(group)?;
    container.folder.remove()?;
    let hooks = container.record.hooks.clone().unwrap_or_default();
    run_poststop(&hooks, &container.record, &global.log);
    Ok(())
}
