//! Messages with descriptors between processes: SEQPACKET sockets, SCM_RIGHTS, sealed memory files.
//!
//! A message keeps its borders: one [`send`] is one [`recv`]. Socket files are reached through a
//! descriptor of their folder, so that the 108 bytes of a socket address (unix(7)) never limit where a
//! folder lies.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, MemfdFlags, SealFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// How much of what was sent on a unix socket its peer has not read, in the kernel's own measure: nothing is 0
/// (SIOCOUTQ in unix(7)).
///
/// # Errors
/// As ioctl(2).
pub fn unread_by_peer(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut amount: libc::c_int = 0;
    // SAFETY: the request writes one int, to where it is told to.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut amount) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(amount).unwrap_or(0))
}

/// How many descriptors the kernel carries in one message (SCM_MAX_FD in unix(7)).
pub const MAX_DESCRIPTORS: usize = 253;

/// What a call does when the socket is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Sleep until it is.
    Block,
    /// Fail with [`io::ErrorKind::WouldBlock`].
    Never,
}

/// A message that has arrived.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer it fills; 0 together with no descriptors is the end of the stream.
    pub length: usize,
    /// The descriptors that came with it, each closed on execve.
    pub descriptors: Vec<OwnedFd>,
}

/// Makes two connected sockets, both closed on execve.
///
/// # Errors
/// As socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn address_in(folder: BorrowedFd<'_>, name: &str) -> io::Result<SocketAddrUnix> {
    if name.is_empty() || name.contains('/') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a socket's name is one path component",
        ));
    }
    let path = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    Ok(SocketAddrUnix::new(path)?)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Makes the socket file `name` in `folder` and listens on it; a file of that name is replaced.
///
/// # Errors
/// As unlinkat(2), bind(2) and listen(2).
pub fn listen_at(folder: BorrowedFd<'_>, name: &str, backlog: u16) -> io::Result<OwnedFd> {
    let address = address_in(folder, name)?;
    let socket = socket()?;
    match rustix::net::bind(&socket, &address) {
        Err(rustix::io::Errno::ADDRINUSE) => {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
            rustix::net::bind(&socket, &address)?;
        }
        other => other?,
    }
    rustix::net::listen(&socket, i32::from(backlog))?;
    Ok(socket)
}

/// Connects to the socket file `name` in `folder`. Never waits for a listener that accepts nothing.
///
/// # Errors
/// As connect(2): `ConnectionRefused` when nobody listens any more, `WouldBlock` when as many wait to be accepted as
/// the listener allows.
pub fn connect_at(folder: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let address = address_in(folder, name)?;
    let socket = socket()?;
    // Only for the call itself: a full queue would hold it up for as long as the listener pleases.
    rustix::io::ioctl_fionbio(&socket, true)?;
    rustix::net::connect(&socket, &address)?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

/// Connects to another program's socket file `name` in `folder`, of streams or of datagrams. Never waits, and what is sent
/// and received does not, either.
///
/// # Errors
/// As connect(2).
pub fn connect_to(folder: BorrowedFd<'_>, name: &str, stream: bool) -> io::Result<OwnedFd> {
    let address = address_in(folder, name)?;
    let socket = waitless(AddressFamily::UNIX, stream)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// Begins to connect to an address by TCP, or has datagrams go there. Never waits: whether a connection comes to be is told
/// by what is done with it later.
///
/// # Errors
/// As connect(2).
pub fn connect_over(address: std::net::SocketAddr, stream: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = waitless(family, stream)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno.into()),
    }
}

fn waitless(family: AddressFamily, stream: bool) -> io::Result<OwnedFd> {
    let kind = if stream {
        SocketType::STREAM
    } else {
        SocketType::DGRAM
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, kind, flags, None)?)
}

/// Takes the next connection of a listening socket.
///
/// # Errors
/// As accept4(2).
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?)
}

/// Sends one message made of `parts`, with copies of `descriptors`.
///
/// A peer that is gone is an error, never a signal.
///
/// # Errors
/// `InvalidInput` above [`MAX_DESCRIPTORS`]; otherwise as sendmsg(2).
pub fn send(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
    wait: Wait,
) -> io::Result<()> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "more descriptors than one message carries",
        ));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::NOSIGNAL
        | match wait {
            Wait::Block => SendFlags::empty(),
            Wait::Never => SendFlags::DONTWAIT,
        };
    let wanted: usize = parts.iter().map(|part| part.len()).sum();
    let sent =
        rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, parts, &mut control, flags))?;
    if sent == wanted {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// The length of the message that the next [`recv`] will take; 0 is the end of the stream.
///
/// # Errors
/// As recvmsg(2).
pub fn next_length(socket: BorrowedFd<'_>, wait: Wait) -> io::Result<usize> {
    let flags = RecvFlags::PEEK
        | RecvFlags::TRUNC
        | match wait {
            Wait::Block => RecvFlags::empty(),
            Wait::Never => RecvFlags::DONTWAIT,
        };
    let mut nothing = [0u8; 1];
    let (_, length) =
        rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut nothing[..], flags))?;
    Ok(length)
}

/// Receives one message into `buffer`.
///
/// # Errors
/// `InvalidData` when the message was longer than the buffer or a descriptor could not be taken over
/// (the process is at its limit); otherwise as recvmsg(2).
pub fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8], wait: Wait) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC
        | match wait {
            Wait::Block => RecvFlags::empty(),
            Wait::Never => RecvFlags::DONTWAIT,
        };
    let answer = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)
    })?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(arrived) = message {
            descriptors.extend(arrived);
        }
    }
    if answer.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the message is too long",
        ));
    }
    if answer.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the message's descriptors could not all be taken over",
        ));
    }
    Ok(Received {
        length: answer.bytes,
        descriptors,
    })
}

/// Makes a memory file that holds `parts` and that nobody can change any more, read position at its start.
///
/// `name` only shows in /proc/PID/fd.
///
/// # Errors
/// As memfd_create(2) and write(2).
pub fn sealed_memfd(name: &str, parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = &rest[written..];
        }
    }
    seal(file.as_fd())?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file)
}

/// Forbids every later change of a memory file: content, length, and the seals themselves.
///
/// # Errors
/// As fcntl(2) with F_ADD_SEALS: fails while the file is mapped writable.
pub fn seal(file: BorrowedFd<'_>) -> io::Result<()> {
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    // Whoever looks after the memory of the machine may hold a page for a while: the kernel waits for it itself before it
    // says so (mm/memfd.c), yet not long enough for a busy machine.
    for _ in 0..SEALINGS {
        match rustix::fs::fcntl_add_seals(file, seals) {
            Err(rustix::io::Errno::BUSY) => std::thread::sleep(SEALING),
            done => return Ok(done?),
        }
    }
    Ok(rustix::fs::fcntl_add_seals(file, seals)?)
}

/// How often sealing is tried again, and how long before.
const SEALINGS: u32 = 8;
const SEALING: std::time::Duration = std::time::Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn a_message_keeps_its_borders_and_descriptors() {
        let (a, b) = pair().unwrap();
        let file = sealed_memfd("test", &[b"con", b"tent"]).unwrap();
        let many: Vec<BorrowedFd<'_>> = (0..200).map(|_| file.as_fd()).collect();
        send(
            a.as_fd(),
            &[IoSlice::new(b"one"), IoSlice::new(b"!")],
            &many,
            Wait::Never,
        )
        .unwrap();
        send(a.as_fd(), &[IoSlice::new(b"two")], &[], Wait::Never).unwrap();
        let mut buffer = [0; 16];
        let got = recv(b.as_fd(), &mut buffer, Wait::Never).unwrap();
        assert_eq!(
            (&buffer[..got.length], got.descriptors.len()),
            (&b"one!"[..], 200)
        );
        for descriptor in &got.descriptors {
            let flags = rustix::io::fcntl_getfd(descriptor).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        let mut text = String::new();
        let first = got.descriptors.into_iter().next().unwrap();
        File::from(first).read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        let got = recv(b.as_fd(), &mut buffer, Wait::Never).unwrap();
        assert_eq!(&buffer[..got.length], b"two");
        assert_eq!(
            recv(b.as_fd(), &mut buffer, Wait::Never)
                .unwrap_err()
                .kind(),
            io::ErrorKind::WouldBlock
        );
        drop(a);
        assert_eq!(recv(b.as_fd(), &mut buffer, Wait::Block).unwrap().length, 0);
    }

    #[test]
    fn a_message_that_does_not_fit_is_refused() {
        let (a, b) = pair().unwrap();
        send(a.as_fd(), &[IoSlice::new(&[7; 17])], &[], Wait::Never).unwrap();
        assert_eq!(next_length(b.as_fd(), Wait::Never).unwrap(), 17);
        let mut buffer = [0; 16];
        let error = recv(b.as_fd(), &mut buffer, Wait::Never).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let many: Vec<BorrowedFd<'_>> = (0..=MAX_DESCRIPTORS).map(|_| b.as_fd()).collect();
        let error = send(a.as_fd(), &[IoSlice::new(b"x")], &many, Wait::Never).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_sealed_file_can_not_be_changed() {
        let file = sealed_memfd("test", &[b"fixed"]).unwrap();
        assert_eq!(rustix::io::write(&file, b"x"), Err(rustix::io::Errno::PERM));
        assert_eq!(
            rustix::fs::ftruncate(&file, 0),
            Err(rustix::io::Errno::PERM)
        );
    }

    #[test]
    fn what_the_peer_has_not_read_is_seen() {
        let (mut a, mut b) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(unread_by_peer(a.as_fd()).unwrap(), 0);
        io::Write::write_all(&mut a, b"head").unwrap();
        assert!(unread_by_peer(a.as_fd()).unwrap() > 0);
        io::Read::read_exact(&mut b, &mut [0; 4]).unwrap();
        assert_eq!(unread_by_peer(a.as_fd()).unwrap(), 0);
    }

    #[test]
    fn a_socket_lies_in_a_folder_of_any_depth() {
        let base = std::env::temp_dir().join(format!("wharf-fdpass-{}", std::process::id()));
        let deep = base.join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let folder = File::open(&deep).unwrap();
        let refused = connect_at(folder.as_fd(), "sock").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        drop(listen_at(folder.as_fd(), "sock", 4).unwrap());
        let refused = connect_at(folder.as_fd(), "sock").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let listener = listen_at(folder.as_fd(), "sock", 4).unwrap();
        let client = connect_at(folder.as_fd(), "sock").unwrap();
        let server = accept(listener.as_fd()).unwrap();
        send(client.as_fd(), &[IoSlice::new(b"hi")], &[], Wait::Block).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(
            recv(server.as_fd(), &mut buffer, Wait::Block)
                .unwrap()
                .length,
            2
        );
        assert!(listen_at(folder.as_fd(), "a/b", 4).is_err());
        // As many may wait as were allowed, and one more; the next does not wait for its turn.
        let queue: Vec<OwnedFd> = (0..5)
            .map(|_| connect_at(folder.as_fd(), "sock").unwrap())
            .collect();
        let refused = connect_at(folder.as_fd(), "sock").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(queue);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
