//! The launcher: the process that shims are forked from.
//!
//! It is executed once for a daemon, from a read-only view of the program's file, so that nothing in a
//! container can write to that file through /proc/PID/exe. It holds one thread and an almost empty mount
//! namespace: what a fork copies stays small, and shims share its pages.

mod role;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sys::fdpass::{self, Wait};
use sys::mount::{self, attr};

use crate::ShimError;
use crate::conn::ShimConn;
use crate::protocol::transport::{self, Inbox};
use crate::protocol::{Header, Launch, kind};

pub use role::main;

/// The launcher's environment says by this name which soft limit of open files it shall have.
const OPEN_FILES: &str = "WHARF_OPEN_FILES";

/// A variable of the launcher's environment that means nothing: it is room for the command lines of processes that come from
/// the launcher and are not executed, as process 1 of a container with `--init` ([`sys::title`]).
const ROOM: &str = "WHARF_ROOM";
const ROOM_BYTES: usize = 2000;

/// How long a launcher may take to set itself up, or to take a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// The daemon's side: a launcher that is made again when it dies.
#[derive(Debug)]
pub struct Launcher {
    program: OwnedFd,
    arguments: Vec<String>,
    open_files: Option<u64>,
    running: Mutex<Running>,
}

/// A launcher that was dead when a shim was asked for, and the one in its place.
#[derive(Debug)]
pub struct Replaced {
    /// The dead one's process.
    pub dead: u32,
    /// How it ended.
    pub end: ExitStatus,
    /// The process of the one that was made.
    pub pid: u32,
}

#[derive(Debug)]
struct Running {
    process: Child,
    socket: OwnedFd,
}

impl Launcher {
    /// Executes this program again in the role of the launcher: `wharf launcher`. It, and all that comes from it, has
    /// the soft limit `open_files` (RLIMIT_NOFILE), or that of this process.
    ///
    /// # Errors
    /// When it cannot be executed, or cannot set itself up (its own words).
    pub fn spawn(open_files: Option<u64>) -> Result<Self, ShimError> {
        Self::spawn_with(&["wharf", "launcher"], open_files)
    }

    /// Executes this program again with `arguments`, the zeroth included, which must lead to
    /// [`main`].
    ///
    /// # Errors
    /// As [`Launcher::spawn`].
    pub fn spawn_as(arguments: &[&str]) -> Result<Self, ShimError> {
        Self::spawn_with(arguments, None)
    }

    fn spawn_with(arguments: &[&str], open_files: Option<u64>) -> Result<Self, ShimError> {
        let program = own_program()?;
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let running = Mutex::new(execute(program.as_fd(), &arguments, open_files)?);
        Ok(Launcher {
            program,
            arguments,
            open_files,
            running,
        })
    }

    /// The launcher's process number.
    pub fn pid(&self) -> u32 {
        self.lock().process.id()
    }

    /// Has a shim forked for `launch`.
    ///
    /// The first message on the connection is the answer number 0: started, prepared (in two phases), or
    /// refused. If the connection ends before it, the launcher or the shim died in between: nothing runs (the
    /// kernel kills a first process whose shim is gone), and the same call may be made again. A launcher that
    /// was dead already is replaced within the call, which is told beside the connection.
    ///
    /// # Errors
    /// When no launcher could be made, or it does not take the message.
    pub fn launch(
        &self,
        launch: &Launch,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(ShimConn, Option<Replaced>), ShimError> {
        let failed = |source| ShimError::Io {
            action: "make a connection to a new supervisor",
            source,
        };
        let (ours, theirs) = fdpass::pair().map_err(failed)?;
        let mut all = Vec::with_capacity(descriptors.len() + 1);
        all.extend_from_slice(descriptors);
        all.push(theirs.as_fd());
        let body = launch.encode();
        let header = Header {
            kind: kind::LAUNCH,
            number: 0,
        };
        let mut running = self.lock();
        let mut replaced = None;
        let sent = transport::send(running.socket.as_fd(), header, &body, &all, Wait::Block);
        match sent {
            Err(ShimError::Io { source, .. }) if is_gone(&source) => {
                let dead = std::mem::replace(
                    &mut *running,
                    execute(self.program.as_fd(), &self.arguments, self.open_files)?,
                );
                let pid = running.process.id();
                replaced = dead.reap().map(|(dead, end)| Replaced { dead, end, pid });
                transport::send(running.socket.as_fd(), header, &body, &all, Wait::Block)?;
            }
            other => other?,
        }
        Ok((ShimConn::new(ours), replaced))
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let running = self
            .running
            .get_mut()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        // The launcher ends when its socket does.
        let _ = rustix::net::shutdown(&running.socket, rustix::net::Shutdown::Both);
        let _ = running.process.wait();
    }
}

impl Running {
    /// Collects a launcher whose socket says that it is dead: its process, and how it ended.
    fn reap(mut self) -> Option<(u32, ExitStatus)> {
        let _ = self.process.kill();
        let end = self.process.wait().ok()?;
        Some((self.process.id(), end))
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

/// Opens this program's file so that nobody can write to it: by a read-only mount of its own that is attached
/// nowhere, or as a sealed copy in memory where the kernel (before 5.12) or the file's mount does not allow it.
fn own_program() -> Result<OwnedFd, ShimError> {
    if let Ok(file) = mount::clone_tree(rustix::fs::CWD, c"/proc/self/exe", false) {
        let change = mount::Change {
            set: attr::READ_ONLY,
            ..mount::Change::default()
        };
        if mount::set_attributes(file.as_fd(), c"", &change).is_ok() {
            return Ok(file);
        }
    }
    sealed_program().map_err(|source| ShimError::Io {
        action: "copy the program into memory",
        source,
    })
}

fn sealed_program() -> io::Result<OwnedFd> {
    let mut source = std::fs::File::open("/proc/self/exe")?;
    let copy = rustix::fs::memfd_create(
        "wharf",
        rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING,
    )?;
    let mut copy = std::fs::File::from(copy);
    io::copy(&mut source, &mut copy)?;
    fdpass::seal(copy.as_fd())?;
    Ok(copy.into())
}

fn execute(
    program: BorrowedFd<'_>,
    arguments: &[String],
    open_files: Option<u64>,
) -> Result<Running, ShimError> {
    let failed = |source| ShimError::Io {
        action: "execute the launcher",
        source,
    };
    let (socket, theirs) = fdpass::pair().map_err(failed)?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    let process = command
        .env_clear()
        .envs(open_files.map(|limit| (OPEN_FILES, limit.to_string())))
        .env(ROOM, " ".repeat(ROOM_BYTES))
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    // The command keeps the launcher's end: a launcher that dies would go unnoticed.
    drop(command);
    let running = Running { process, socket };
    match greeting(running.socket.as_fd()) {
        Ok(()) => Ok(running),
        Err(error) => {
            running.reap();
            Err(error)
        }
    }
}

/// Waits for the launcher's word that it is set up.
fn greeting(socket: BorrowedFd<'_>) -> Result<(), ShimError> {
    let failed = |source: io::Error| ShimError::Io {
        action: "wait for the launcher",
        source,
    };
    for timeout in [
        rustix::net::sockopt::Timeout::Recv,
        rustix::net::sockopt::Timeout::Send,
    ] {
        rustix::net::sockopt::set_socket_timeout(socket, timeout, Some(PATIENCE))
            .map_err(|errno| failed(errno.into()))?;
    }
    let packet = Inbox::default()
        .recv(socket, Wait::Block)?
        .ok_or(ShimError::Closed)?;
    match packet.body.as_slice() {
        [] if packet.header.kind == kind::HELLO => Ok(()),
        text => Err(ShimError::Launcher {
            text: String::from_utf8_lossy(text).into_owned(),
        }),
    }
}
