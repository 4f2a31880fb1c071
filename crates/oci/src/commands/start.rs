//! `start`: lets the process of a created container execute its program.

use std::os::fd::{AsFd, OwnedFd};

use runtime::plan::Plan;
use runtime::spawn::{GateError, pass_gate};

use super::delete;
use crate::cli::{Given, Global};
use crate::create::sentence;
use crate::error::{Error, Result};
use crate::hooks::{self, Place, Within};
use crate::notify::Proxy;
use crate::state::{Container, GATE, Status};

pub(super) fn run(global: &Global, words: &[String]) -> Result<u8> {
    let given = Given::parse(&[], words)?;
    let container = Container::open_locked(&global.root, given.id("start")?)?;
    match container.status() {
        Status::Created => let_through(&container).map(|()| 0),
        Status::Stopped => Err(Error::State(
            "cannot start a container that has stopped".to_owned(),
        )),
        // Whoever makes it has the lock for as long.
        Status::Creating => Err(Error::State(
            "cannot start a container whose creation was broken off".to_owned(),
        )),
        Status::Paused => Err(Error::State(
            "cannot start a container in the paused state".to_owned(),
        )),
        _ => Err(Error::State(
            "cannot start an already running container".to_owned(),
        )),
    }
}

/// Opens the gate, with the hooks before and after. A hook that fails ends the container.
pub(super) fn let_through(container: &Container) -> Result<()> {
    let proxy = Proxy::bind(&container.folder)?;
    let pidfd = start(container)?;
    match proxy {
        Some(proxy) => {
            // A service that never says that it is ready can still be ended.
            container.folder.unlock()?;
            proxy.until_ready(pidfd.as_fd(), container.record.pid)
        }
        None => Ok(()),
    }
}

/// The same without a service manager.
pub(super) fn start(container: &Container) -> Result<OwnedFd> {
    let record = &container.record;
    let none = crate::spec::Hooks::default();
    let hooks = record.hooks.as_ref().unwrap_or(&none);
    let pidfd = container
        .pidfd()?
        .ok_or_else(|| Error::State("cannot start a container that has stopped".to_owned()))?;
    let group = container.own_group()?;
    if hooks.start_container.is_some() {
        record.place.approach()?;
    }
    let within = Within {
        process: pidfd.as_fd(),
        group,
        cwd: "/",
        filtered: true,
    };
    let begun = hooks::run(
        "startContainer",
        hooks.start_container.as_ref(),
        record,
        Status::Created,
        Place::Container(within),
    );
    let poststart = |status| {
        let hooks = hooks.poststart.as_ref();
        hooks::run("poststart", hooks, record, status, Place::Runtime)
    };
    if begun.is_err() {
        // The first failure is the one to tell. The hooks after a start hear of this one, too, and of what came of it, as
        // runc's do: whoever keeps account by them would else miss it.
        let _ = delete::end(container);
        let _ = poststart(container.status());
        begun?;
    }
    open_gate(container)?;
    let done = poststart(Status::Running);
    if done.is_err() {
        let _ = sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
    done.map(|()| pidfd)
}

fn open_gate(container: &Container) -> Result<()> {
    let passed = pass_gate(container.folder.as_fd(), GATE);
    container.folder.remove_gate();
    match passed {
        Ok(()) => Ok(()),
        Err(GateError::Fault(fault)) => {
            let process = &container.record.process;
            let args = process.args.iter().flatten();
            let mut plan = Plan::default();
            plan.process.args = args.map(|arg| arg.clone().into_bytes()).collect();
            Err(Error::Start(sentence(&fault, &plan)))
        }
        Err(GateError::NobodyWaits) => Err(Error::State(
            "cannot start an already running container".to_owned(),
        )),
        Err(error) => Err(Error::Start(error.to_string())),
    }
}
