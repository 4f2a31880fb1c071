//! The service manager's socket (sd_notify(3)): the container gets one of its own, and what it says there is passed on.
//!
//! The container's processes could not be told apart by the manager, and the numbers that they name are of another
//! namespace: so only what a service says of itself passes, and the process's number is told by this command.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use runtime::plan::{MountAttrs, MountEntry, MountKind, Plan, Propagation, TargetKind, attr};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Error, Result};
use crate::state::Folder;

/// The variable that names the socket.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// The folder of the socket in the container's state folder.
const FOLDER: &str = "notify";
/// The socket's name in that folder.
const NAME: &str = "notify.sock";
/// Where the container has the folder.
const INSIDE: &str = "/run/notify";
/// The longest message that is read.
const LONGEST: usize = 4096;
/// What a service says of itself.
const PASSED: [&str; 5] = ["READY=", "STATUS=", "STOPPING=", "RELOADING=", "WATCHDOG="];

/// The service manager's socket, where this command runs under one.
pub(crate) fn manager() -> Option<PathBuf> {
    std::env::var_os(VARIABLE)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// Gives a container that is to be made a place for its socket.
pub(crate) fn prepare(plan: &mut Plan, folder: &Folder) -> Result<()> {
    let path = folder.path().join(FOLDER);
    let failed = |source: Errno| Error::io("making the folder", &path, source);
    rustix::fs::mkdirat(folder, FOLDER, Mode::from_raw_mode(0o755)).map_err(failed)?;
    let attributes = attr::READ_ONLY | attr::NO_SUID | attr::NO_DEV | attr::NO_EXEC;
    plan.mounts.push(MountEntry {
        target: INSIDE.to_owned(),
        kind: MountKind::Bind {
            source: path.to_string_lossy().into_owned(),
            recursive: false,
            idmap: None,
        },
        attrs: MountAttrs::of(attributes),
        propagation: Some(Propagation::Private),
        create_target: TargetKind::Dir,
    });
    let variable = format!("{VARIABLE}={INSIDE}/{NAME}");
    plan.process.env.push(variable.into_bytes());
    Ok(())
}

/// The container's socket, and the manager's address.
pub(crate) struct Proxy {
    socket: OwnedFd,
    manager: SocketAddrUnix,
    manager_path: PathBuf,
}

impl Proxy {
    /// Makes the socket of a container that has a place for it and is about to be started. `None` without a manager.
    pub(crate) fn bind(folder: &Folder) -> Result<Option<Self>> {
        let Some(manager_path) = manager() else {
            return Ok(None);
        };
        if rustix::fs::accessat(folder, FOLDER, rustix::fs::Access::EXISTS, AtFlags::empty())
            .is_err()
        {
            return Ok(None);
        }
        let address = manager_address(manager_path.as_os_str());
        let address = address.map_err(|source| Error::io("naming", &manager_path, source))?;
        let socket = bind(folder)
            .map_err(|source| Error::io("making the socket", &folder.path().join(NAME), source))?;
        Ok(Some(Self {
            socket,
            manager: address,
            manager_path,
        }))
    }

    /// Passes on what is said until the service is ready or `process` has ended; the manager is told its number `pid`.
    pub(crate) fn until_ready(&self, process: BorrowedFd<'_>, pid: i32) -> Result<()> {
        while let Some(text) = self.next(process)? {
            if text.lines().any(|line| line == "READY=1") {
                return self.tell(&format!("MAINPID={pid}\n{text}"));
            }
            self.tell(&text)?;
        }
        Ok(())
    }

    /// Passes on what is said until `process` has ended.
    pub(crate) fn until_the_end(&self, process: BorrowedFd<'_>) -> Result<()> {
        while let Some(text) = self.next(process)? {
            self.tell(&text)?;
        }
        Ok(())
    }

    /// The next words that are passed on; `None` when the process has ended.
    fn next(&self, process: BorrowedFd<'_>) -> Result<Option<String>> {
        let failed = |errno: Errno| Error::call("waiting for the service's word")(errno);
        loop {
            let mut polled = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::from_borrowed_fd(process, PollFlags::IN),
            ];
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None)).map_err(failed)?;
            if polled[0].revents().is_empty() {
                // What it said last was read before its end counts.
                return Ok(None);
            }
            let mut message = [0; LONGEST];
            let length = match rustix::net::recv(&self.socket, &mut message, RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                // What made the socket readable is gone again: somebody else, who has the socket too, was faster.
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            let text = passed(message.get(..length).unwrap_or_default());
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
    }

    fn tell(&self, text: &str) -> Result<()> {
        let send = || {
            let flags = SocketFlags::CLOEXEC;
            let kind = SocketType::DGRAM;
            let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
            let flags = SendFlags::NOSIGNAL;
            rustix::net::sendto(&socket, text.as_bytes(), flags, &self.manager).map(drop)
        };
        send()
            .map_err(|errno| Error::io("telling the service manager at", &self.manager_path, errno))
    }
}

/// The lines of a message that are passed on.
fn passed(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let own = |line: &&str| PASSED.iter().any(|word| line.starts_with(word));
    text.lines()
        .filter(own)
        .map(|line| format!("{line}\n"))
        .collect()
}

fn manager_address(path: &OsStr) -> io::Result<SocketAddrUnix> {
    Ok(match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(Path::new(path))?,
    })
}

fn bind(folder: &Folder) -> io::Result<OwnedFd> {
    // An address is short, and the folder's path may be long.
    let path = format!(
        "/proc/self/fd/{}/{FOLDER}/{NAME}",
        folder.as_fd().as_raw_fd()
    );
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path.as_str())?)?;
    // Whoever the container's program runs as may speak.
    let mode = Mode::from_raw_mode(0o777);
    rustix::fs::chmod(path.as_str(), mode)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_service_says_of_itself_passes() {
        let message = b"READY=1\nMAINPID=7\nSTATUS=well\nFDSTORE=1\nX=READY=1\n\xff";
        assert_eq!(passed(message), "READY=1\nSTATUS=well\n");
    }
}
