//! Doors that lead to servers on the loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

use super::Doors;
use crate::protocol::{Door, Protocol, fingerprint};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Doors that a thread with a runtime of its own stands at.
struct Proxy {
    runtime: tokio::runtime::Runtime,
    doors: Doors,
}

impl Proxy {
    fn new(descriptors: usize) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        Proxy {
            runtime,
            doors: Doors::new(descriptors),
        }
    }

    /// Opens a door to a port of the loopback; its address.
    fn open(&mut self, protocol: Protocol, port: u16) -> SocketAddr {
        let (socket, host) = opened(protocol);
        let SocketAddr::V6(address) = host else {
            panic!("{host} is of IPv4");
        };
        let door = Door {
            protocol,
            host: address,
            port,
        };
        let _guard = self.runtime.enter();
        let target = Some(Ipv4Addr::LOCALHOST);
        self.doors
            .open((1, "web"), target, &[door], vec![socket])
            .unwrap();
        host
    }

    fn close(&mut self) {
        for task in self.doors.close("web") {
            let _ = self.runtime.block_on(task);
        }
    }
}

/// A socket as the daemon hands it over.
fn opened(protocol: Protocol) -> (OwnedFd, SocketAddr) {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket(AddressFamily::INET6, kind, None).unwrap();
    sockopt::set_ipv6_v6only(&socket, true).unwrap();
    sockopt::set_socket_reuseaddr(&socket, protocol == Protocol::Tcp).unwrap();
    bind(&socket, &SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).unwrap();
    if protocol == Protocol::Tcp {
        listen(&socket, 16).unwrap();
    }
    let address = rustix::net::getsockname(&socket).unwrap();
    (socket, address.try_into().unwrap())
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

#[test]
fn either_side_may_end_first() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = Proxy::new(64);
    let door = proxy.open(Protocol::Tcp, port_of(&server));
    // Much more than the kernel holds, in both directions at once.
    let much: Vec<u8> = (0..8_000_000_u32).map(|n| (n / 7) as u8).collect();
    let sent = much.clone();
    let echo = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        // After the end of what it reads.
        stream.write_all(&all).unwrap();
    });
    let mut client = connect(door);
    client.write_all(&sent).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert!(back == much, "{} bytes came back", back.len());
    echo.join().unwrap();
}

#[test]
fn a_server_that_ends_first_still_hears() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = Proxy::new(64);
    let door = proxy.open(Protocol::Tcp, port_of(&server));
    let hears = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        stream.write_all(b"first").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        all
    });
    let mut client = connect(door);
    let mut first = String::new();
    client.read_to_string(&mut first).unwrap();
    client.write_all(b"then").unwrap();
    drop(client);
    assert_eq!(
        (first.as_str(), hears.join().unwrap().as_str()),
        ("first", "then")
    );
}

#[test]
fn what_breaks_off_does_not_look_complete() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = Proxy::new(64);
    let port = port_of(&server);
    let door = proxy.open(Protocol::Tcp, port);
    let breaks = thread::spawn(move || {
        let (stream, _) = server.accept().unwrap();
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        drop(stream);
    });
    let broken = connect(door).read(&mut [0; 8]).unwrap_err();
    assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
    breaks.join().unwrap();
    // Nobody listens any more.
    let refused = connect(door).read(&mut [0; 8]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_door_that_leads_nowhere_lets_nobody_through_until_it_leads_somewhere() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = Proxy::new(64);
    let port = port_of(&server);
    let door = proxy.open(Protocol::Tcp, port);
    let SocketAddr::V6(host) = door else { return };
    let known = Door {
        protocol: Protocol::Tcp,
        host,
        port,
    };
    let print = fingerprint([&known]);
    assert!(proxy.doors.lead((2, "web"), None, print));
    connect(door).read(&mut [0; 8]).unwrap_err();
    assert!(!proxy.doors.lead((2, "web"), None, print + 1));
    assert!(!proxy.doors.lead((2, "other"), None, print));
    let target = Some(Ipv4Addr::LOCALHOST);
    assert!(proxy.doors.lead((2, "web"), target, print));
    let _client = connect(door);
    server.accept().unwrap();
    assert!(proxy.doors.sweep(2).is_empty());
    assert_eq!(proxy.doors.sweep(3).len(), 1);
    assert!(proxy.doors.is_empty());
}

#[test]
fn what_is_closed_is_free_at_once() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = Proxy::new(64);
    let stream = proxy.open(Protocol::Tcp, port_of(&server));
    let datagram = proxy.open(Protocol::Udp, 9);
    let mut client = connect(stream);
    let (mut inside, _) = server.accept().unwrap();
    proxy.close();
    // What went through ends with it, and the port is free.
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
    inside.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(inside.read(&mut [0; 8]).unwrap_or(0), 0);
    drop(client);
    TcpListener::bind(stream).unwrap();
    UdpSocket::bind(datagram).unwrap();
}

#[test]
fn who_comes_when_all_places_are_taken_waits_for_one() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    // Half of it is one container's: two connections.
    let mut proxy = Proxy::new(8);
    let door = proxy.open(Protocol::Tcp, port_of(&server));
    let mut clients: Vec<TcpStream> = (0..4).map(|_| connect(door)).collect();
    let inside = [server.accept().unwrap(), server.accept().unwrap()];
    server.set_nonblocking(true).unwrap();
    assert!(server.accept().is_err(), "no more than two are carried");
    server.set_nonblocking(false).unwrap();
    drop(inside);
    // Connections are taken in their order.
    clients.drain(..2);
    server.accept().unwrap();
}

fn udp_client() -> UdpSocket {
    let client = UdpSocket::bind("[::1]:0").unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client
}

#[test]
fn each_sender_gets_its_own_answers() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut proxy = Proxy::new(64);
    let door = proxy.open(Protocol::Udp, server.local_addr().unwrap().port());
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            server.send_to(&buffer[..length], from).unwrap();
        }
    });
    let clients = [udp_client(), udp_client()];
    let long = vec![7; 60_000];
    for round in 0..3_u8 {
        for (number, client) in clients.iter().enumerate() {
            client.send_to(&[round, number as u8], door).unwrap();
        }
        for (number, client) in clients.iter().enumerate() {
            let mut buffer = [0; 8];
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(
                (&buffer[..length], from),
                (&[round, number as u8][..], door)
            );
        }
    }
    clients[0].send_to(&long, door).unwrap();
    let mut buffer = vec![0; 1 << 16];
    assert_eq!(clients[0].recv(&mut buffer).unwrap(), long.len());
    clients[0].send_to(&[], door).unwrap();
    assert_eq!(clients[0].recv(&mut buffer).unwrap(), 0);
}

#[test]
fn senders_whom_nobody_answers_give_way() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    // Two flows.
    let mut proxy = Proxy::new(4);
    let door = proxy.open(Protocol::Udp, server.local_addr().unwrap().port());
    let answered = udp_client();
    let mut buffer = [0; 8];
    answered.send_to(b"a", door).unwrap();
    let (_, way) = server.recv_from(&mut buffer).unwrap();
    server.send_to(b"b", way).unwrap();
    answered.recv(&mut buffer).unwrap();
    let silent: Vec<UdpSocket> = (0..4).map(|_| udp_client()).collect();
    for one in &silent {
        // The first attempt may be what makes room.
        server
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let heard = (0..400).any(|_| {
            one.send_to(b"c", door).unwrap();
            server.recv(&mut buffer).is_ok()
        });
        assert!(heard);
    }
    // Who was answered still is.
    server.send_to(b"d", way).unwrap();
    assert_eq!(answered.recv(&mut buffer).unwrap(), 1);
}
