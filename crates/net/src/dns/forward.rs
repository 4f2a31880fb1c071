//! Asking others: the query goes on as it came, under another number, and so does its answer come back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::message::{Query, SERVER_FAILURE, code_of};

/// How long one server is waited for; a client waits for about twice as long.
const PATIENCE: Duration = Duration::from_millis(2500);
/// Servers that are asked for one query.
const SERVERS: usize = 3;
/// The longest answer in a datagram.
const DATAGRAM: usize = 4096;

const PORT: u16 = 53;
const HOST_FILE: &str = "/etc/resolv.conf";
/// What is read of it.
const LIMIT: usize = 64 << 10;
/// Where the host names none, as docker.
const FALLBACK: [Ipv4Addr; 2] = [Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(8, 8, 4, 4)];

/// The host's resolvers, read again when their file has changed.
#[derive(Debug, Default)]
pub(crate) struct HostServers {
    known: Mutex<Option<(FileState, Vec<SocketAddr>)>>,
}

/// What changes with a file: device, number, size, time.
type FileState = (u64, u64, u64, i64, i64);

impl HostServers {
    /// The servers by now.
    pub(crate) fn now(&self) -> Vec<SocketAddr> {
        let path = Path::new(HOST_FILE);
        let state = std::fs::metadata(path)
            .map(|file| {
                (
                    file.dev(),
                    file.ino(),
                    file.size(),
                    file.mtime(),
                    file.mtime_nsec(),
                )
            })
            .unwrap_or_default();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, servers)) = &*known
            && *of == state
        {
            return servers.clone();
        }
        let mut text = std::fs::read(path).unwrap_or_default();
        text.truncate(LIMIT);
        let servers = read_servers(&String::from_utf8_lossy(&text));
        *known = Some((state, servers.clone()));
        servers
    }
}

fn read_servers(text: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let keyword = words.next()?;
            (keyword == "nameserver").then_some(server(words.next()?)?)
        })
        .take(SERVERS)
        .collect();
    if servers.is_empty() {
        servers.extend(FALLBACK.map(|address| SocketAddr::from((address, PORT))));
    }
    servers
}

/// An address, with the link by which it is reached if one is named (`fe80::1%eth0`).
fn server(text: &str) -> Option<SocketAddr> {
    let Some((address, link)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse().ok()?, PORT));
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let path = Path::new("/sys/class/net").join(link).join("ifindex");
    let index = std::fs::read_to_string(path).ok()?;
    Some(SocketAddrV6::new(address, PORT, 0, index.trim().parse().ok()?).into())
}

/// The servers of a container that was given its own.
pub(crate) fn own_servers(addresses: &[IpAddr]) -> Vec<SocketAddr> {
    let servers = addresses.iter().take(SERVERS);
    servers
        .map(|address| SocketAddr::new(*address, PORT))
        .collect()
}

/// Asks one server after the other until one answers; what the last one said, if none could.
pub(crate) async fn forward(
    query: &Query<'_>,
    packet: &[u8],
    servers: &[SocketAddr],
    datagram: bool,
) -> Vec<u8> {
    let mut last = None;
    for server in servers {
        let asked = ask(query, packet, *server, datagram);
        let Ok(Ok(mut answer)) = tokio::time::timeout(PATIENCE, asked).await else {
            continue;
        };
        answer[..2].copy_from_slice(&query.id());
        if code_of(&answer) != SERVER_FAILURE {
            return answer;
        }
        last = Some(answer);
    }
    last.unwrap_or_else(|| query.failure(SERVER_FAILURE))
}

async fn ask(
    query: &Query<'_>,
    packet: &[u8],
    server: SocketAddr,
    datagram: bool,
) -> io::Result<Vec<u8>> {
    // Whoever guesses at an answer has to guess the number and the port.
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    let mut packet = packet.to_vec();
    packet
        .get_mut(..2)
        .ok_or(io::ErrorKind::InvalidInput)?
        .copy_from_slice(&id);
    if datagram {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.send(&packet).await?;
        let mut answer = vec![0; DATAGRAM];
        loop {
            let length = socket.recv(&mut answer).await?;
            if query.is_answered_by(&answer[..length], id) {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    }
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, &packet).await?;
    let answer = read_framed(&mut stream).await?;
    match query.is_answered_by(&answer, id) {
        true => Ok(answer),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads a message behind its length, as TCP carries them.
pub(crate) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// The reverse.
pub(crate) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(message);
    stream.write_all(&framed).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::message::{A, tests::query};
    use super::*;

    #[test]
    fn servers_are_read_from_the_host_s_file() {
        let text =
            "# x\nnameserver 127.0.0.53\nsearch a\nnameserver\nnameserver fd00::1\nnameserver x\n";
        let expected = ["127.0.0.53:53", "[fd00::1]:53"].map(|text| text.parse().unwrap());
        assert_eq!(read_servers(text), expected);
        assert_eq!(read_servers("").len(), 2);
        assert_eq!(server("fe80::1%lo").map(|one| one.port()), Some(53));
        assert_eq!(server("fe80::1%no-such-link"), None);
    }

    #[test]
    fn a_server_that_is_silent_or_fails_is_passed_over() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
            let (fails, good) = (bind().await.unwrap(), bind().await.unwrap());
            let servers = [fails.local_addr().unwrap(), good.local_addr().unwrap()];
            tokio::spawn(async move {
                let mut buffer = [0; 512];
                let (length, from) = fails.recv_from(&mut buffer).await.unwrap();
                let asked = Query::read(&buffer[..length]).unwrap();
                fails
                    .send_to(&asked.failure(SERVER_FAILURE), from)
                    .await
                    .unwrap();
            });
            tokio::spawn(async move {
                let mut buffer = [0; 512];
                let (length, from) = good.recv_from(&mut buffer).await.unwrap();
                let asked = Query::read(&buffer[..length]).unwrap();
                let answer = asked.addresses(&[Ipv4Addr::new(1, 2, 3, 4).into()], true);
                // Somebody guesses; then the answer comes.
                let mut wrong = answer.clone();
                wrong[0] ^= 1;
                good.send_to(&wrong, from).await.unwrap();
                good.send_to(&answer, from).await.unwrap();
            });
            let packet = query("example.org", A);
            let read = Query::read(&packet).unwrap();
            let answer = forward(&read, &packet, &servers, true).await;
            assert_eq!((&answer[..2], code_of(&answer)), (&[7, 9][..], 0));
            assert!(answer.ends_with(&[1, 2, 3, 4]));
            let nobody = forward(&read, &packet, &[], true).await;
            assert_eq!(code_of(&nobody), SERVER_FAILURE);
        });
    }
}
