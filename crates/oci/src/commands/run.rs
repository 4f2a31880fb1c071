//! `run`: a container from its beginning to its end, or with `--detach` to its beginning.

use std::ffi::OsString;
use std::os::fd::AsFd;

use sys::process::Exit;
use sys::signals::Signals;

use super::start;
use crate::cli::{Flag, Given, Global, switch};
use crate::create::{FLAGS, Made, Request, make, run_poststop};
use crate::error::{Error, Result};
use crate::hooks::{self, Place};
use crate::notify::Proxy;
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
    let program = guard::ensure(args)?;
    let attached = !given.is_on("detach");
    // Before there is a process that one could be for.
    let signals = attached.then(console::passed_signals).transpose()?;
    let request = Request {
        global,
        id,
        given: &given,
        gated: false,
        attached,
    };
    let made = make(&request, program)?;
    let ended = see_through(global, &made, signals.as_ref());
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

/// Starts what was made and waits for its end, or with no signals to pass on until it has started. The service manager
/// hears of it.
fn see_through(global: &Global, made: &Made, signals: Option<&Signals>) -> Result<Option<Exit>> {
    let Some(proxy) = Proxy::bind(&made.folder)? else {
        begin(global, made)?;
        return signals.map(|signals| attend(made, signals)).transpose();
    };
    begin(global, made)?;
    // Whoever waits for a container holds up nobody who changes it.
    made.folder.unlock()?;
    let process = made.spawned.pidfd.as_fd();
    let Some(signals) = signals else {
        proxy.until_ready(process, made.spawned.pid)?;
        return Ok(None);
    };
    std::thread::scope(|scope| {
        // It ends with the process, and a manager that does not listen ends no container.
        scope.spawn(|| proxy.until_the_end(process));
        attend(made, signals).map(Some)
    })
}

/// Lets a process that waits go on, with the hooks around it.
fn begin(global: &Global, made: &Made) -> Result<()> {
    if made.waits {
        let container = Container::open(&global.root, &made.record.id)?;
        return start::start(&container).map(drop);
    }
    hooks::run(
        "poststart",
        made.hooks.poststart.as_ref(),
        &made.record,
        Status::Running,
        Place::Runtime,
    )
}

fn attend(made: &Made, signals: &Signals) -> Result<Exit> {
    made.folder.unlock()?;
    let pidfd = made.spawned.pidfd.as_fd();
    console::attend(pidfd, made.spawned.console.as_ref(), signals)?;
    sys::process::wait(pidfd, true)
        .map_err(Error::call("waiting for the process"))?
        .ok_or(Error::NoContainer)
}

pub(super) fn remove(global: &Global, made: &Made) -> Result<()> {
    made.folder.lock()?;
    if made.folder.is_gone() {
        // By somebody's `delete`, which ran the hooks.
        return Ok(());
    }
    // Processes of a container that shares a pid namespace outlive its first one.
    made.record.end(made.group.as_ref())?;
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
