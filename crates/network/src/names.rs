//! Where a container on user networks asks for names: 127.0.0.11, port 53, within its own namespace.
//!
//! The sockets are on ports of the kernel's choice, and packets to port 53 of that address are translated to them: a
//! container may have a name server of its own on port 53 of every address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};

use sys::namespace::with_netns;
use sys::netlink::Socket;

use crate::error::NetworkError;
use crate::nft;

/// The address at which names are asked for, as in docker.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Opens the sockets in a namespace: datagrams, then streams. `fresh` says that nobody did so before.
///
/// # Errors
/// [`NetworkError::Namespace`], [`NetworkError::Firewall`].
pub fn listen_for_names(
    netns: BorrowedFd<'_>,
    fresh: bool,
) -> Result<(OwnedFd, OwnedFd), NetworkError> {
    let open = || -> io::Result<_> {
        let datagrams = UdpSocket::bind((RESOLVER, 0))?;
        let streams = TcpListener::bind((RESOLVER, 0))?;
        Ok((datagrams, streams, Socket::netfilter()?))
    };
    let failed = |source| NetworkError::Namespace {
        action: "open the sockets for names in",
        source,
    };
    let (datagrams, streams, mut netfilter) = with_netns(netns, open)
        .and_then(|opened| opened)
        .map_err(failed)?;
    let port = |address: io::Result<SocketAddr>| address.map(|one| one.port());
    let udp = port(datagrams.local_addr()).map_err(failed)?;
    let tcp = port(streams.local_addr()).map_err(failed)?;
    netfilter
        .perform(nft::names_table(RESOLVER, (udp, tcp), fresh))
        .map_err(|refused| NetworkError::Firewall {
            action: refused.what,
            table: nft::NAMES_TABLE.to_owned(),
            source: refused.source,
        })?;
    Ok((datagrams.into(), streams.into()))
}
