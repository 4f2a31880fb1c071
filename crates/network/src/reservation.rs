//! A socket that keeps a port of the host taken while its packets go elsewhere.
//!
//! Of an IPv4 address it is bound and never listens: connections are translated to the container before any local socket is
//! looked for. It is bound without SO_REUSEADDR, for with it another program that sets it too would get
//! the port as well; every other attempt is answered "address already in use".
//!
//! Of an IPv6 address nothing is translated: the socket is where connections arrive. It listens at once, which closes the
//! port to others with SO_REUSEADDR as well, and has that option itself: connections of a former container that linger
//! (TIME_WAIT) would keep the port from the next one.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, bind, listen, shutdown, socket_with, sockopt,
};

use crate::port::Protocol;

/// Takes the port in the calling thread's network namespace.
pub(crate) fn reserve(protocol: Protocol, host_ip: IpAddr, port: u16) -> io::Result<OwnedFd> {
    let address = SocketAddr::new(host_ip, port);
    match protocol {
        _ if address.is_ipv6() => open_to_be_read(protocol, &address),
        Protocol::Udp => reserve_udp(&address),
        Protocol::Tcp => {
            let socket = open(SocketType::STREAM, &address)?;
            match bind(&socket, &address) {
                Ok(()) => Ok(socket),
                Err(Errno::ADDRINUSE) => reserve_beside_old_connections(&address),
                Err(error) => Err(error.into()),
            }
        }
    }
}

fn open(kind: SocketType, address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

/// Whether a socket can have an IPv6 address in the calling thread's network namespace.
pub(crate) fn has_ipv6() -> bool {
    let loopback = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0);
    open(SocketType::STREAM, &loopback)
        .and_then(|socket| Ok(bind(&socket, &loopback)?))
        .is_ok()
}

/// As many as the host allows may wait to be accepted (`net.core.somaxconn`).
const BACKLOG: i32 = i32::MAX;

fn open_to_be_read(protocol: Protocol, address: &SocketAddr) -> io::Result<OwnedFd> {
    let stream = protocol == Protocol::Tcp;
    let kind = if stream {
        SocketType::STREAM
    } else {
        SocketType::DGRAM
    };
    let socket = open(kind, address)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    if stream {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, address)?;
    if stream {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

/// A datagram that reaches the socket all the same (its flow is older than the translation) is not kept:
/// the buffer is the smallest that the kernel gives.
fn reserve_udp(address: &SocketAddr) -> io::Result<OwnedFd> {
    let socket = open(SocketType::DGRAM, address)?;
    sockopt::set_socket_recv_buffer_size(&socket, 1)?;
    bind(&socket, address)?;
    Ok(socket)
}

/// Connections that linger (TIME_WAIT) after a server of the host has ended keep a port from being bound,
/// except with SO_REUSEADDR. To listen for a moment is then what closes the port to others again: it
/// fails if somebody else listens, and marks the port as not shared.
fn reserve_beside_old_connections(address: &SocketAddr) -> io::Result<OwnedFd> {
    let socket = open(SocketType::STREAM, address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, address)?;
    listen(&socket, 0)?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    shutdown(&socket, Shutdown::Both)?;
    Ok(socket)
}
