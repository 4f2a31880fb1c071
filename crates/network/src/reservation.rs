//! A socket that keeps a port of the host taken while its packets go elsewhere.
//!
//! It is bound and never listens: connections are translated to the container before any local socket is
//! looked for. It is bound without SO_REUSEADDR, for with it another program that sets it too would get
//! the port as well; every other attempt is answered "address already in use".

use std::io;
use std::net::{IpAddr, SocketAddr};
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
