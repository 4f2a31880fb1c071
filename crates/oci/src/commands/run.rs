//! `run`: a container from its beginning to its end, or with `--detach` to its beginning.

use std::ffi::OsString;
use std::os::fd::AsFd;

use sys::process::Exit;

use super::start;
use crate::cli::{Flag, Given, Global, switch};
use crate::create::{FLAGS, Made, Request, make, run_poststop};
use crate::error::{Error, Result};
use crate::hooks::{self, Place};
use crate::state::{Container, Status};
use crate::{console, guard};

pub(super) fn run(global: &Global, words: &[String], args: &[OsString]) -> Result<u8> {
    let mut known: Vec<Flag> = FLAGS.to_vec();
    known.extend([
        switch("detach").or("d"),
        switch("keep"),
        // Orphans are init's, or the container's own process 1's.
        switch("no-subreaper"),
    ]);
    let given = Given::parse(&known, words)?;
    let id = given.id("run")?;
    guard::ensure(args)?;
    let attached = !given.is_on("detach");
    // Before there is a process that one could be for.
    let signals = attached.then(console::passed_signals).transpose()?;
    let made = make(&Request {
        global,
        id,
        given: &given,
        gated: false,
        attached,
    })?;
    let ended = begin(global, &made).and_then(|()| match &signals {
        Some(signals) => attend(&made, signals).map(Some),
        None => Ok(None),
    });
    match ended {
        Ok(None) => Ok(0),
        Ok(Some(exit)) => {
            if given.is_on("keep") {
                return Ok(status(exit));
            }
            remove(global, &made)?;
            Ok(status(exit))
        }
        Err(error) => {
            let pidfd = made.spawned.pidfd.as_fd();
            let _ = sys::process::pidfd_send_signal(pidfd, libc::SIGKILL);
            let _ = sys::process::wait(pidfd, true);
            // The first failure is the one to tell.
            let _ = remove(global, &made);
            Err(error)
        }
    }
}

/// Lets a process that waits go on, with the hooks around it.
fn begin(global: &Global, made: &Made) -> Result<()> {
    if made
        .hooks
        .start_container
        .as_ref()
        .is_some_and(|hooks| !hooks.is_empty())
    {
        let container = Container::open(&global.root, &made.record.id)?;
        return start::let_through(&container);
    }
    hooks::run(
        made.hooks.poststart.as_ref(),
        &made.record,
        Status::Running,
        Place::Runtime,
    )
}

fn attend(made: &Made, signals: &sys::signals::Signals) -> Result<Exit> {
    let pidfd = made.spawned.pidfd.as_fd();
    console::attend(pidfd, made.spawned.console.as_ref(), signals)?;
    sys::process::wait(pidfd, true)
        .map_err(Error::call("waiting for the process"))?
        .ok_or(Error::NoContainer)
}

fn remove(global: &Global, made: &Made) -> Result<()> {
    // Processes of a container that shares a pid namespace outlive its first one.
    made.group.kill()?;
    made.group.remove()?;
    made.folder.remove()?;
    run_poststop(&made.hooks, &made.record, &global.log);
    Ok(())
}

/// The exit status that tells how a process ended.
pub(super) fn status(exit: Exit) -> u8 {
    match exit {
        Exit::Code(code) => code as u8,
        Exit::Signal(signal) => (128 + signal) as u8,
    }
}
