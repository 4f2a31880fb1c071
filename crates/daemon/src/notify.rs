//! The service manager's protocol: sd_notify(3) and socket activation, sd_listen_fds(3).

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sys::inherited;

/// The first descriptor that a service manager passes: `SD_LISTEN_FDS_START`.
const FIRST_PASSED: u16 = 3;
/// More sockets than this are not taken over.
const MOST_PASSED: u32 = 64;

/// What the service manager told this process through its environment.
///
/// Taken once at start and removed from the environment, so that nothing reaches children.
#[derive(Default)]
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    passed: Vec<OwnedFd>,
}

impl ServiceManager {
    /// Reads and removes `NOTIFY_SOCKET`, `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`.
    ///
    /// # Errors
    /// When the process already has a second thread: must be called before.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let [notify, count, pid, _] = inherited::take_variables([
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "LISTEN_PID",
            "LISTEN_FDNAMES",
        ])?;
        let number =
            |text: Option<OsString>| text.and_then(|text| text.to_str()?.parse::<u32>().ok());
        let count = number(count).unwrap_or(0).min(MOST_PASSED);
        // LISTEN_PID tells whom the sockets are for: a variable that a parent forgot is not for us.
        let ours = number(pid) == Some(std::process::id());
        let passed = if ours {
            inherited::adopt_descriptors(FIRST_PASSED, count as u16)
        } else {
            Vec::new()
        };
        Ok(ServiceManager {
            socket: notify.and_then(|name| connect(name.as_encoded_bytes())),
            passed,
        })
    }

    /// The listening sockets that were passed; a second call gives none.
    pub(crate) fn take_sockets(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.passed)
    }

    /// Sends a state such as `READY=1`. Without a service manager, or when it does not listen,
    /// nothing happens: the daemon works the same.
    pub(crate) fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(state.as_bytes());
        }
    }
}

/// A path, or `@name` for the abstract namespace.
fn connect(name: &[u8]) -> Option<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name).ok()?,
        None => SocketAddr::from_pathname(String::from_utf8_lossy(name).as_ref()).ok()?,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address).ok()?;
    Some(socket)
}
