//! A host that is a network namespace, with another one at the end of its uplink.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use network::{Attached, NetConfig, Network, loopback_only};
use sys::namespace::with_netns;
use types::ContainerId;

/// The host's address on its uplink, and that of the machine outside.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// Long enough for a busy machine, short enough to see a lost packet's first repetition as a fault.
const PATIENCE: Duration = Duration::from_millis(900);

pub(crate) struct Host {
    pub(crate) netns: OwnedFd,
    pub(crate) outside: OwnedFd,
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self {
            netns: loopback_only().unwrap(),
            outside: loopback_only().unwrap(),
        };
        // A machine beyond the host that also believes to have a way to the containers through it.
        command(&host.outside, "ip link add up0 type veth peer name eth0");
        let link = |netns: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), fd(netns));
        command(
            &host.outside,
            &format!("ip link set up0 netns {}", link(&host.netns)),
        );
        command(&host.outside, &format!("ip addr add {OUTSIDE}/24 dev eth0"));
        command(&host.outside, "ip link set eth0 up");
        command(&host.netns, &format!("ip addr add {HOST}/24 dev up0"));
        command(&host.netns, "ip link set up0 up");
        // To show a link is to wait until it carries.
        command(&host.netns, "ip link show up0");
        command(&host.outside, "ip link show eth0");
        command(
            &host.outside,
            &format!("ip route add 172.16.0.0/12 via {HOST}"),
        );
        host
    }

    /// Does something on a thread inside the host's namespace.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        with_netns(self.netns.as_fd(), work).unwrap()
    }

    pub(crate) fn open(&self) -> Network {
        self.open_with(config())
    }

    pub(crate) fn open_with(&self, config: NetConfig) -> Network {
        self.run(|| Network::open(config)).unwrap()
    }

    pub(crate) fn container(&self, network: &Network) -> Attached {
        let id = ContainerId::random().unwrap();
        let sandbox = network.take_sandbox().unwrap();
        network.attach(sandbox, &id, None).unwrap()
    }
}

/// Makes a namespace's packets for 127.0.0.1 leave by `eth0` for a neighbour, as an attacker's would.
pub(crate) fn send_loopback_to(netns: &OwnedFd, neighbour: Ipv4Addr) {
    command(netns, "ip addr del 127.0.0.1/8 dev lo");
    let accept = || fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1");
    with_netns(netns.as_fd(), accept).unwrap().unwrap();
    command(netns, &format!("ip route add 127.0.0.1 via {neighbour}"));
    let route = command(netns, "ip route get 127.0.0.1");
    assert!(route.contains("dev eth0"), "{route}");
}

/// Repeats what must succeed in the end. Children that other tests make have copies of all descriptors
/// until they execute, so a socket that is closed here may live a moment longer.
pub(crate) fn eventually<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let begin = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) if begin.elapsed() > Duration::from_secs(10) => panic!("{error:?}"),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

pub(crate) fn config() -> NetConfig {
    NetConfig {
        instance: "0a1b2c3d".parse().unwrap(),
        bridge: None,
        bip: None,
        pools: network::Pools::default(),
        mtu: None,
        stock: 0,
    }
}

fn fd(netns: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd;
    netns.as_raw_fd()
}

/// Runs a program inside a namespace; it must succeed.
pub(crate) fn command(netns: &OwnedFd, line: &str) -> String {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    let output = with_netns(netns.as_fd(), || command.output())
        .unwrap()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A server inside a namespace that answers each connection with the peer's address and its own word.
pub(crate) fn serve(netns: &OwnedFd, address: SocketAddr, word: &'static str) -> SocketAddr {
    let listener = with_netns(netns.as_fd(), || TcpListener::bind(address))
        .unwrap()
        .unwrap();
    let bound = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else {
                break;
            };
            let peer = connection.peer_addr().unwrap();
            let _ = write!(connection, "{word} {}", peer.ip());
        }
    });
    bound
}

/// What a server says to a client inside a namespace.
pub(crate) fn ask(netns: &OwnedFd, address: SocketAddr) -> io::Result<String> {
    let mut connection = with_netns(netns.as_fd(), || {
        TcpStream::connect_timeout(&address, PATIENCE)
    })??;
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A UDP server that answers each datagram with its word.
pub(crate) fn serve_udp(netns: &OwnedFd, address: SocketAddr, word: &'static str) {
    let socket = udp(netns, address);
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(word.as_bytes(), peer);
        }
    });
}

/// A UDP socket inside a namespace.
pub(crate) fn udp(netns: &OwnedFd, address: SocketAddr) -> UdpSocket {
    let socket = with_netns(netns.as_fd(), || UdpSocket::bind(address))
        .unwrap()
        .unwrap();
    socket.set_read_timeout(None).unwrap();
    socket
}

/// What comes back for a datagram, from whom it was expected.
pub(crate) fn ask_udp(socket: &UdpSocket, address: SocketAddr) -> io::Result<String> {
    socket.set_read_timeout(Some(Duration::from_millis(400)))?;
    socket.send_to(b"?", address)?;
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer)?;
    assert_eq!(from, address, "answered by somebody else");
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

pub(crate) fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

pub(crate) fn any(port: u16) -> SocketAddr {
    at(Ipv4Addr::UNSPECIFIED, port)
}
