//! UDP over IPv6 with the address at which each datagram arrived (ipv6(7), IPV6_PKTINFO; RFC 3542): a socket of all
//! addresses has to answer from the one that was spoken to, which the kernel would otherwise choose anew.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// An address of the host, and the link that it is reached by where it is of one link only (fe80::/10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Local {
    /// The address.
    pub address: Ipv6Addr,
    /// The link's number; 0 where any will do.
    pub link: u32,
}

/// Room for one control message with an `in6_pktinfo`, which takes 40 bytes, at the alignment of its header.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Has the kernel tell with each datagram where it arrived.
///
/// # Errors
/// As setsockopt(2).
pub fn ask_where(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one int, which lives during the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes a datagram into `buffer`, of which what does not fit is cut off: its length, who sent it, and where it arrived,
/// once [`ask_where`] was called. Never waits.
///
/// # Errors
/// As recvmsg(2); `InvalidData` for a sender without an IPv6 address.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddrV6, Option<Local>)> {
    let mut from = MaybeUninit::<libc::sockaddr_in6>::zeroed();
    let mut control = Control([0; 64]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all its fields are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = from.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    // SAFETY: name, buffer and control all live during the call, and the message has their lengths.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: zeroed at first, so that it is a value whatever the kernel wrote.
    let from = unsafe { from.assume_init() };
    if i32::from(from.sin6_family) != libc::AF_INET6 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let sender = SocketAddrV6::new(
        Ipv6Addr::from(from.sin6_addr.s6_addr),
        u16::from_be(from.sin6_port),
        0,
        from.sin6_scope_id,
    );
    Ok((length, sender, told(&message)))
}

/// Where the message arrived, if the kernel told.
fn told(message: &libc::msghdr) -> Option<Local> {
    // SAFETY: the kernel left the length of what it wrote in the message, whose control buffer still lives. CMSG_NXTHDR
    // gives headers that lie in it as a whole; the length in the header is looked at before the value is read.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let needed = libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as u32) as usize;
            if (*header).cmsg_level == libc::IPPROTO_IPV6
                && (*header).cmsg_type == libc::IPV6_PKTINFO
                && (*header).cmsg_len >= needed
            {
                let info: libc::in6_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(header).cast());
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let link = match address.is_unicast_link_local() {
                    true => info.ipi6_ifindex,
                    false => 0,
                };
                return Some(Local { address, link });
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

/// Sends a datagram, from this address of the host's where one is given. Never waits.
///
/// # Errors
/// As sendmsg(2).
pub fn send(
    socket: BorrowedFd<'_>,
    datagram: &[u8],
    to: SocketAddrV6,
    from: Option<Local>,
) -> io::Result<()> {
    // SAFETY: all its fields are numbers, for which zero is a value.
    let mut name: libc::sockaddr_in6 = unsafe { MaybeUninit::zeroed().assume_init() };
    name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    name.sin6_port = to.port().to_be();
    name.sin6_addr.s6_addr = to.ip().octets();
    name.sin6_scope_id = to.scope_id();
    let mut control = Control([0; 64]);
    let mut part = libc::iovec {
        iov_base: datagram.as_ptr().cast_mut().cast(),
        iov_len: datagram.len(),
    };
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(from) = from {
        let size = size_of::<libc::in6_pktinfo>() as u32;
        let info = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: from.address.octets(),
            },
            ipi6_ifindex: from.link,
        };
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE reads nothing. The buffer has room for one message of this size and the alignment of its
        // header, so that CMSG_FIRSTHDR and CMSG_DATA lie within it.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::IPPROTO_IPV6;
            (*header).cmsg_type = libc::IPV6_PKTINFO;
            (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
            ptr::write_unaligned(libc::CMSG_DATA(header).cast(), info);
        }
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: name, datagram and control live during the call, which writes to none of them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsFd;

    use super::*;

    fn v6(address: SocketAddr) -> SocketAddrV6 {
        match address {
            SocketAddr::V6(address) => address,
            SocketAddr::V4(address) => panic!("{address} is of IPv4"),
        }
    }

    #[test]
    fn who_is_spoken_to_answers() {
        let server = UdpSocket::bind("[::]:0").unwrap();
        ask_where(server.as_fd()).unwrap();
        let mut buffer = [0; 8];
        let nothing = receive(server.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        let client = UdpSocket::bind("[::1]:0").unwrap();
        let port = server.local_addr().unwrap().port();
        client.connect(("::1", port)).unwrap();
        client.send(b"question").unwrap();
        let (length, from, local) = receive(server.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"question");
        assert_eq!(from, v6(client.local_addr().unwrap()));
        let loopback = Local {
            address: Ipv6Addr::LOCALHOST,
            link: 0,
        };
        assert_eq!(local, Some(loopback));
        send(server.as_fd(), b"answer", from, local).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
        // Nobody here has it.
        let foreign = Local {
            address: "2001:db8::1".parse().unwrap(),
            link: 0,
        };
        send(server.as_fd(), b"x", from, Some(foreign)).unwrap_err();
        client.send(&[]).unwrap();
        assert_eq!(receive(server.as_fd(), &mut buffer).unwrap().0, 0);
    }
}
