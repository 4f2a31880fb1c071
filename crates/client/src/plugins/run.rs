//! A plugin at work, and how it learns that it should end.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sys::signals::Signals;

use super::Plugin;
use crate::failure::Failure;
use crate::session::tell;

/// What the program is called, for plugins that call it.
const CALLED: &str = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND";
/// A socket that is closed when the plugin should end.
const SOCKET: &str = "DOCKER_CLI_PLUGIN_SOCKET";
/// So many signals end it whether it likes or not.
const PATIENCE: usize = 3;
/// More connections of a plugin are closed at once.
const MOST: usize = 64;
/// A program that a signal ended has no status; docker makes this of it.
const NO_STATUS: u8 = 255;

/// Runs a plugin with this program's whole command line, and gives its status. With `host`, that engine is the one
/// that is there by itself.
///
/// # Errors
/// That it can not be started or waited for.
pub(crate) fn run(plugin: &Plugin, host: Option<String>) -> Result<u8, Failure> {
    let failed = || Failure::local(format!("cannot run {}", plugin.path.display()));
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| failed()(errno.into()))?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("docker_cli_{hex}");
    let listener = SocketAddr::from_abstract_name(&name)
        .and_then(|address| UnixListener::bind_addr(&address))
        .map_err(failed())?;
    listener.set_nonblocking(true).map_err(failed())?;
    let signals = Signals::hold(&[libc::SIGINT, libc::SIGTERM]).map_err(failed())?;
    let mut args = std::env::args_os();
    let mut command = Command::new(&plugin.path);
    command
        .env(CALLED, args.next().unwrap_or_default())
        .env(SOCKET, format!("@{name}"))
        .args(args);
    if let Some(host) = host {
        command.env("DOCKER_HOST", host);
    }
    sys::child::takes_signals(&mut command);
    let child = command.spawn().map_err(failed())?;
    let mut running = Running {
        child,
        listener: Some(listener),
        connections: Vec::new(),
        signals,
        seen: 0,
    };
    running.wait().map_err(failed())
}

struct Running {
    child: Child,
    listener: Option<UnixListener>,
    connections: Vec<UnixStream>,
    signals: Signals,
    /// How many signals there were.
    seen: usize,
}

impl Running {
    fn wait(&mut self) -> std::io::Result<u8> {
        let ended = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        loop {
            let mut list = vec![
                PollFd::new(&ended, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            list.extend(
                self.listener
                    .as_ref()
                    .map(|listener| PollFd::new(listener, PollFlags::IN)),
            );
            match poll(&mut list, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if !list[0].revents().is_empty() {
                let status = self.child.wait()?;
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                return Ok(code.unwrap_or(NO_STATUS));
            }
            while let Some(signal) = self.signals.take() {
                if let Some(status) = self.take(signal) {
                    return Ok(status);
                }
            }
            if let Some(Ok((connection, _))) = self.listener.as_ref().map(UnixListener::accept)
                && self.connections.len() < MOST
            {
                self.connections.push(connection);
            }
        }
    }

    /// Passes on a wish to end. Ctrl-C reaches the plugin by itself where both are on a terminal.
    fn take(&mut self, signal: i32) -> Option<u8> {
        self.seen += 1;
        if self.seen >= PATIENCE {
            let _ = self.child.kill();
            let _ = self.child.wait();
            tell("got 3 SIGTERM/SIGINTs, forcefully exiting");
            return Some(1);
        }
        if signal == libc::SIGTERM || !std::io::stdout().is_terminal() {
            self.listener = None;
            self.connections.clear();
        }
        None
    }
}
