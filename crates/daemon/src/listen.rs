//! The daemon's sockets: made, taken over from the service manager, or found to be somebody else's.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::listening::is_listening;

/// Where Wharf's own client looks.
const OWN_SOCKET: &str = "/run/wharf.sock";
/// Where every other tool looks; used when no live daemon holds it.
const DOCKER_SOCKET: &str = "/run/docker.sock";
/// Members may use the sockets, as with dockerd.
const GROUP: &str = "docker";
const GROUP_FILE: &str = "/etc/group";
/// It is read up to this size.
const GROUP_FILE_LIMIT: u64 = 4 << 20;

/// Why a socket is not there to listen on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// `--host` names no kind of socket that is known.
    #[error("invalid bind address ({host}): unix://PATH, tcp://ADDRESS:PORT or fd:// is expected")]
    Unknown {
        /// What was asked for.
        host: String,
    },
    /// Another daemon answers there.
    #[error("cannot listen on {path:?}: another daemon answers on that socket")]
    Live {
        /// The socket's path.
        path: PathBuf,
    },
    /// A file that is no socket is in the way.
    #[error("cannot listen on {path:?}: there is a file which is no socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// TCP beyond this host, which would give root to whoever can reach it.
    #[error("cannot listen on tcp://{address}: without TLS only loopback addresses are allowed")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// Nobody is a member of the group that was asked for.
    #[error("cannot listen on a unix socket for the group {group}: there is no such group")]
    NoSuchGroup {
        /// Its name.
        group: String,
    },
    /// `fd://` without sockets from a service manager.
    #[error(
        "no sockets were passed by socket activation (fd:// is for a daemon that a service manager starts)"
    )]
    NothingPassed,
    /// The kernel said no.
    #[error("cannot listen on {what}: {source}")]
    Bind {
        /// Path or address.
        what: String,
        /// What the kernel gave.
        source: io::Error,
    },
}

/// One socket to serve.
#[derive(Debug)]
pub(crate) enum Socket {
    /// A unix socket; the path is removed at the end if this daemon made it.
    Unix(UnixListener, Option<PathBuf>),
    /// A TCP socket on a loopback address.
    Tcp(TcpListener),
}

/// Opens every socket of the list. When the list is empty: those that were passed, else Wharf's own; and Docker's in
/// any case, if nobody has it. Members of `group`, a name or a number, may use the unix sockets that are made here; of none
/// if it is empty.
///
/// # Errors
/// [`ListenError`] for the first that can not be had. What was opened before is closed again, and
/// its files removed.
pub(crate) fn open(
    hosts: &[String],
    group: Option<&str>,
    passed: Vec<OwnedFd>,
) -> Result<Vec<Socket>, ListenError> {
    let mut passed = Some(passed);
    let mut open = Opened(Vec::new());
    for host in hosts {
        if let Some(path) = host
            .strip_prefix("unix://")
            .or_else(|| host.starts_with('/').then_some(host.as_str()))
        {
            let path = if path.is_empty() { OWN_SOCKET } else { path };
            open.0.push(unix(Path::new(path), group)?);
        } else if let Some(address) = tcp_address(host) {
            open.0.push(tcp(address, host)?);
        } else if host.starts_with("fd://") {
            let sockets = passed
                .take()
                .filter(|sockets| !sockets.is_empty())
                .ok_or(ListenError::NothingPassed)?;
            for socket in sockets {
                open.0.push(adopt(socket)?);
            }
        } else {
            return Err(ListenError::Unknown { host: host.clone() });
        }
    }
    if hosts.is_empty() {
        let sockets = passed.take().unwrap_or_default();
        if sockets.is_empty() {
            open.0.push(unix(Path::new(OWN_SOCKET), group)?);
        }
        for socket in sockets {
            open.0.push(adopt(socket)?);
        }
        offer(Path::new(DOCKER_SOCKET), group, &mut open.0)?;
    }
    Ok(std::mem::take(&mut open.0))
}

/// Sockets that are given up unless taken out.
struct Opened(Vec<Socket>);

impl Drop for Opened {
    fn drop(&mut self) {
        remove_files(&self.0);
    }
}

/// Removes the files of sockets that [`open`] made.
pub(crate) fn remove_files(sockets: &[Socket]) {
    for socket in sockets {
        if let Socket::Unix(_, Some(path)) = socket {
            let _ = fs::remove_file(path);
        }
    }
}

/// Listens at `path` too, if it is nobody's.
fn offer(path: &Path, group: Option<&str>, open: &mut Vec<Socket>) -> Result<(), ListenError> {
    if open.iter().any(|socket| is_at(socket, path)) {
        return Ok(());
    }
    match unix(path, group) {
        Ok(socket) => open.push(socket),
        Err(ListenError::Live { path }) => {
            tracing::info!(?path, "another daemon answers there; it keeps its socket")
        }
        // An empty folder, for example: `-v /var/run/docker.sock:…` makes one where no daemon runs.
        Err(ListenError::NotASocket { path }) => {
            tracing::warn!(
                ?path,
                "there is a file which is no socket: nobody finds Wharf by Docker's name"
            )
        }
        Err(other) => return Err(other),
    }
    Ok(())
}

/// Whether a unix socket's file is the one at `path`.
fn is_at(socket: &Socket, path: &Path) -> bool {
    let Socket::Unix(listener, _) = socket else {
        return false;
    };
    let address = listener.local_addr().ok();
    let file = address.as_ref().and_then(|address| address.as_pathname());
    match (file.map(fs::canonicalize), fs::canonicalize(path)) {
        (Some(Ok(file)), Ok(wanted)) => file == wanted,
        _ => false,
    }
}

/// A socket that was passed is a unix or a TCP one; its address tells. For TCP the same holds as for what is opened here.
fn adopt(socket: OwnedFd) -> Result<Socket, ListenError> {
    match rustix::net::getsockname(&socket) {
        Ok(address) if address.address_family() == rustix::net::AddressFamily::UNIX => {
            Ok(Socket::Unix(socket.into(), None))
        }
        _ => {
            let listener = TcpListener::from(socket);
            let address = listener.local_addr().map_err(|source| ListenError::Bind {
                what: "a socket that was passed".to_owned(),
                source,
            })?;
            if !address.ip().is_loopback() {
                return Err(ListenError::NotLoopback { address });
            }
            Ok(Socket::Tcp(listener))
        }
    }
}

/// The address of `tcp://ADDRESS`, and of one that has a port and no scheme.
fn tcp_address(host: &str) -> Option<&str> {
    match host.split_once("://") {
        Some((scheme, address)) => (scheme == "tcp").then_some(address),
        None => host.contains(':').then_some(host),
    }
}

fn tcp(address: &str, host: &str) -> Result<Socket, ListenError> {
    let found = address
        .to_socket_addrs_without_names()
        .ok_or_else(|| ListenError::Unknown {
            host: host.to_owned(),
        })?;
    if !found.ip().is_loopback() {
        return Err(ListenError::NotLoopback { address: found });
    }
    let listener = TcpListener::bind(found).map_err(|source| ListenError::Bind {
        what: host.to_owned(),
        source,
    })?;
    Ok(Socket::Tcp(listener))
}

/// Addresses as they are written, and `localhost`: no name service is asked.
trait LiteralAddress {
    fn to_socket_addrs_without_names(&self) -> Option<SocketAddr>;
}

impl LiteralAddress for str {
    fn to_socket_addrs_without_names(&self) -> Option<SocketAddr> {
        let text = match self.strip_prefix("localhost") {
            Some(rest) => format!("127.0.0.1{rest}"),
            None if self.is_empty() || self.starts_with(':') => format!("127.0.0.1{self}"),
            None => self.to_owned(),
        };
        let text = if text
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        {
            text
        } else {
            format!("{text}:2375")
        };
        text.parse().ok()
    }
}

/// The number of the group whose members may use a socket. `docker` has to be there only where it is.
fn members(group: Option<&str>, groups: &str) -> Result<Option<u32>, ListenError> {
    let name = match group {
        None => GROUP,
        Some("") => return Ok(None),
        Some(name) => name,
    };
    match name.parse().ok().or_else(|| group_id(name, groups)) {
        None if group.is_some_and(|name| name != GROUP) => Err(ListenError::NoSuchGroup {
            group: name.to_owned(),
        }),
        None if group.is_some() => {
            tracing::warn!("there is no group {GROUP}: root alone uses the sockets");
            Ok(None)
        }
        number => Ok(number),
    }
}

fn unix(path: &Path, group: Option<&str>) -> Result<Socket, ListenError> {
    let failed = |source| ListenError::Bind {
        what: path.display().to_string(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    clear(path)?;
    // The mode is set on the file before anybody can connect: bind makes it, listen opens it.
    let listener = bind_private(path).map_err(failed)?;
    if let Some(group) = members(group, &groups())? {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(failed)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    rustix::net::listen(&listener, 4096).map_err(|errno| failed(errno.into()))?;
    Ok(Socket::Unix(listener.into(), Some(path.to_owned())))
}

/// A bound unix socket that does not listen yet.
fn bind_private(path: &Path) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Removes a dead socket's file, and a link that leads to one or nowhere; leaves a live socket, and any other file,
/// alone.
fn clear(path: &Path) -> Result<(), ListenError> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let kind = if meta.is_symlink() {
        fs::metadata(path).ok().map(|target| target.file_type())
    } else {
        Some(meta.file_type())
    };
    if kind.is_some_and(|kind| !kind.is_socket()) {
        return Err(ListenError::NotASocket {
            path: path.to_owned(),
        });
    }
    // Who is in another network namespace, or not on the kernel's list, is called.
    let is_dead = kind.is_none()
        || !is_listening(path).unwrap_or(false)
            && UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if !is_dead {
        return Err(ListenError::Live {
            path: path.to_owned(),
        });
    }
    fs::remove_file(path).map_err(|source| ListenError::Bind {
        what: path.display().to_string(),
        source,
    })
}

/// The id of a group in `/etc/group`, group(5).
fn group_id(name: &str, groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name)
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}

/// The text of `/etc/group`; empty if there is none, or one that nobody wrote.
fn groups() -> String {
    match fs::metadata(GROUP_FILE) {
        Ok(meta) if meta.len() <= GROUP_FILE_LIMIT => {
            fs::read_to_string(GROUP_FILE).unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(path: &Path) -> Vec<String> {
        vec![format!("unix://{}", path.display())]
    }

    #[test]
    fn a_group_is_known_by_name_or_number() {
        let groups = "root:x:0:\nadm:x:4:one,two\n";
        let number = |group| members(group, groups).unwrap();
        assert_eq!(number(Some("adm")), Some(4));
        assert_eq!(number(Some("77")), Some(77));
        assert_eq!(number(Some("")), None);
        // Docker's own is taken where it is.
        assert_eq!([number(None), number(Some("docker"))], [None, None]);
        assert_eq!(members(None, "docker:x:9:").unwrap(), Some(9));
        let refused = members(Some("other"), groups).unwrap_err().to_string();
        assert!(refused.ends_with("group other: there is no such group"));
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/engine.sock");
        let first = open(&host(&path), None, Vec::new()).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o660
        );
        assert!(matches!(
            open(&host(&path), None, Vec::new()),
            Err(ListenError::Live { .. })
        ));
        // Nor is it called: that would wake who waits for a first caller.
        let listener = match &first[0] {
            Socket::Unix(listener, _) => listener.accept().map(drop),
            Socket::Tcp(_) => panic!("a unix socket was asked for"),
        };
        assert_eq!(listener.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        let second = open(&host(&path), None, Vec::new()).unwrap();
        UnixStream::connect(&path).unwrap();
        remove_files(&second);
        assert!(!path.exists());
    }

    #[test]
    fn a_tcp_socket_that_is_passed_is_on_loopback() {
        let passed = |address: &str| TcpListener::bind(address).unwrap().into();
        let fd = ["fd://".to_owned()];
        assert!(open(&fd, None, vec![passed("127.0.0.1:0")]).is_ok());
        assert!(matches!(
            open(&fd, None, vec![passed("0.0.0.0:0")]),
            Err(ListenError::NotLoopback { .. })
        ));
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            open(&host(&path), None, Vec::new()),
            Err(ListenError::NotASocket { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_link_is_replaced_unless_it_leads_to_somebody() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("link"), folder.path().join("target"));
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let live = unix(&target, None).unwrap();
        assert!(matches!(
            open(&host(&path), None, Vec::new()),
            Err(ListenError::Live { .. })
        ));
        drop(live);
        for _ in 0..2 {
            let sockets = open(&host(&path), None, Vec::new()).unwrap();
            assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
            remove_files(&sockets);
            // Once more with a link that leads nowhere.
            let _ = fs::remove_file(&target);
            std::os::unix::fs::symlink(&target, &path).unwrap();
        }
        fs::write(&target, "precious").unwrap();
        assert!(matches!(
            open(&host(&path), None, Vec::new()),
            Err(ListenError::NotASocket { .. })
        ));
        assert!(path.is_symlink() && target.exists());
    }

    #[test]
    fn a_socket_is_offered_where_nobody_is_and_left_where_somebody_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let mut sockets = Vec::new();
        offer(&path, None, &mut sockets).unwrap();
        assert_eq!(sockets.len(), 1);
        // It is among those that are open, as one that was passed may be; for others it is somebody's.
        offer(&path, None, &mut sockets).unwrap();
        assert_eq!(sockets.len(), 1);
        let mut others = Vec::new();
        offer(&path, None, &mut others).unwrap();
        assert!(others.is_empty());
        remove_files(&sockets);
        fs::create_dir(&path).unwrap();
        offer(&path, None, &mut others).unwrap();
        assert!(others.is_empty() && path.is_dir());
    }

    #[test]
    fn one_bad_host_gives_up_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.sock");
        let mut hosts = host(&path);
        hosts.push("tcp://192.0.2.1:2375".to_owned());
        assert!(matches!(
            open(&hosts, None, Vec::new()),
            Err(ListenError::NotLoopback { .. })
        ));
        assert!(!path.exists());
        hosts[1] = "npipe://x".to_owned();
        assert!(matches!(
            open(&hosts, None, Vec::new()),
            Err(ListenError::Unknown { .. })
        ));
        hosts[1] = "fd://".to_owned();
        assert!(matches!(
            open(&hosts, None, Vec::new()),
            Err(ListenError::NothingPassed)
        ));
    }

    #[test]
    fn tcp_addresses_are_read_without_a_name_service() {
        let read = |text: &str| text.to_socket_addrs_without_names();
        assert_eq!(read("127.0.0.1:99").unwrap().port(), 99);
        assert_eq!(read("localhost:99").unwrap().to_string(), "127.0.0.1:99");
        assert_eq!(read("127.0.0.1").unwrap().port(), 2375);
        assert_eq!(read("[::1]:1").unwrap().to_string(), "[::1]:1");
        assert!(read("example.org:1").is_none());
    }

    #[test]
    fn an_address_needs_no_scheme_and_no_host() {
        let found = |host: &str| {
            tcp_address(host)
                .and_then(|address| address.to_socket_addrs_without_names())
                .map(|address| address.to_string())
        };
        for (host, address) in [
            ("tcp://127.0.0.1:7778", "127.0.0.1:7778"),
            ("127.0.0.1:7778", "127.0.0.1:7778"),
            ("tcp://:7778", "127.0.0.1:7778"),
            (":7778", "127.0.0.1:7778"),
            ("tcp://", "127.0.0.1:2375"),
            ("tcp://localhost", "127.0.0.1:2375"),
        ] {
            assert_eq!(found(host).as_deref(), Some(address), "{host}");
        }
        for host in ["npipe://x", "x", "x:y"] {
            assert_eq!(found(host), None, "{host}");
        }
    }
}
