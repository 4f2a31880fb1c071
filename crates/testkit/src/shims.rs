//! What may go wrong between a daemon and a shim that lives.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use crate::engine::Engine;
use crate::sandbox::Process;

impl Engine {
    /// The shim of a container, by the command line of its first process.
    ///
    /// # Panics
    /// When no such process runs.
    #[track_caller]
    pub fn shim_of(&self, command: &str) -> Process {
        let processes = self.sandbox().processes();
        let first = processes
            .iter()
            .find(|process| process.command == command)
            .unwrap_or_else(|| panic!("{command} runs"));
        processes
            .iter()
            .find(|process| process.pid == first.parent)
            .unwrap_or_else(|| panic!("the shim of {command} runs"))
            .clone()
    }

    /// Where a container's shim has its socket and its journal; `id` is the full one.
    pub fn shim_folder(&self, id: &str) -> PathBuf {
        self.exec_root().join("v1/shims").join(id)
    }

    /// Ends the connections of a shim with its daemons, as neither of them would; how many there were.
    ///
    /// # Panics
    /// When its descriptors can not be taken over, which needs root.
    pub fn sever(&self, shim: &Process) -> usize {
        let pid = self.sandbox().host_pid(shim.pid).expect("the shim runs");
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process number");
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let is_socket = |path: PathBuf| {
            fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
        };
        let mut ended = 0;
        for entry in fs::read_dir(shim.folder.join("fd")).unwrap().flatten() {
            if !is_socket(entry.path()) {
                continue;
            }
            let number = entry.file_name().to_string_lossy().parse().unwrap();
            let socket = rustix::process::pidfd_getfd(&process, number, PidfdGetfdFlags::empty());
            let socket = socket.unwrap();
            // The daemon's connections are the only ones that keep the borders of messages.
            if sockopt::socket_type(&socket) == Ok(SocketType::SEQPACKET)
                && sockopt::socket_acceptconn(&socket) == Ok(false)
            {
                rustix::net::shutdown(&socket, Shutdown::Both).unwrap();
                ended += 1;
            }
        }
        ended
    }
}

/// The longest message of the shim's protocol that is not in a file.
const LONGEST: usize = 128 << 10;

fn socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// Connects to the socket of a shim; `None` when so many wait to be accepted that a daemon would have to wait too.
///
/// # Panics
/// When there is no such socket.
pub fn connect_to_shim(folder: &Path) -> Option<OwnedFd> {
    let (socket, address) = (socket(), SocketAddrUnix::new(folder.join("sock")).unwrap());
    rustix::io::ioctl_fionbio(&socket, true).unwrap();
    match rustix::net::connect(&socket, &address) {
        Err(rustix::io::Errno::AGAIN) => None,
        done => {
            done.unwrap();
            Some(socket)
        }
    }
}

/// Stands in for the socket of a shim: whoever connects waits here, and is let through only when the test says so.
pub struct Detour {
    folder: PathBuf,
    listener: OwnedFd,
}

impl Detour {
    /// Takes the place of the socket of the container with this full id.
    ///
    /// # Panics
    /// When there is none.
    pub fn new(engine: &Engine, id: &str) -> Self {
        let folder = engine.shim_folder(id);
        fs::rename(folder.join("sock"), folder.join("real")).unwrap();
        let listener = socket();
        let address = SocketAddrUnix::new(folder.join("sock")).unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 16).unwrap();
        Detour { folder, listener }
    }

    /// Opens the straight way again; whoever waited sees his connection end.
    ///
    /// # Panics
    /// When the socket is not where it was put.
    pub fn close(self) {
        fs::rename(self.folder.join("real"), self.folder.join("sock")).unwrap();
    }

    /// Lets nobody wait any more: connections are refused, as when the shim were dead.
    pub fn refuse(&self) {
        rustix::net::shutdown(&self.listener, Shutdown::Both).unwrap();
    }

    /// Lets the first that connected, or will, through to the shim, after it was told `word` as if by the shim; the others
    /// can go the straight way again. Each of the two threads ends when one side has ended its connection. Descriptors are
    /// not passed on.
    ///
    /// # Panics
    /// When the shim does not listen any more.
    pub fn open(self, word: &[u8]) -> [JoinHandle<()>; 2] {
        let daemon = rustix::net::accept(&self.listener).unwrap();
        rustix::net::send(&daemon, word, SendFlags::NOSIGNAL).unwrap();
        fs::rename(self.folder.join("real"), self.folder.join("sock")).unwrap();
        let shim = socket();
        let address = SocketAddrUnix::new(self.folder.join("sock")).unwrap();
        rustix::net::connect(&shim, &address).unwrap();
        let back = (daemon.try_clone().unwrap(), shim.try_clone().unwrap());
        [
            std::thread::spawn(move || pass_on(daemon.as_fd(), shim.as_fd())),
            std::thread::spawn(move || pass_on(back.1.as_fd(), back.0.as_fd())),
        ]
    }
}

/// Passes messages on until one side ends.
fn pass_on(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let mut message = vec![0; LONGEST];
    while let Ok((length @ 1.., _)) =
        rustix::net::recv(from, message.as_mut_slice(), RecvFlags::empty())
    {
        if rustix::net::send(to, &message[..length], SendFlags::NOSIGNAL).is_err() {
            break;
        }
    }
    // Each may have ended already.
    for side in [from, to] {
        let _ = rustix::net::shutdown(side, Shutdown::Both);
    }
}
