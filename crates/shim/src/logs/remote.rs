//! Lines on their way to a syslog or a journal.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::Stream;
use crate::clock;
use crate::protocol::{Layout, Words};

/// How often one looks again whether the other side takes more.
const GLANCE: Duration = Duration::from_millis(10);
/// How often one looks whether a connection that was begun has come to be.
const CONNECTING: Duration = Duration::from_millis(200);
/// How often a connection is made again that can not be had.
const PAUSE: Duration = Duration::from_secs(1);
/// How much may wait, in bytes, before the container does.
const AHEAD: usize = 64 << 10;
/// How much waits at most, unless something else was asked for.
const LIMIT: usize = 1_000_000;
/// How often the other side is waited for at the container's end, each time for a glance.
const PARTING: u32 = 50;

/// Where lines go, and how to come there again.
#[derive(Debug)]
pub(crate) enum Way {
    /// A socket file in a folder that is kept open.
    Local {
        folder: OwnedFd,
        name: String,
        stream: bool,
    },
    /// An address of the network.
    Network { address: SocketAddr, stream: bool },
}

impl Way {
    fn is_stream(&self) -> bool {
        match self {
            Way::Local { stream, .. } | Way::Network { stream, .. } => *stream,
        }
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        match self {
            Way::Local {
                folder,
                name,
                stream,
            } => sys::fdpass::connect_to(folder.as_fd(), name, *stream),
            Way::Network { address, stream } => sys::fdpass::connect_over(*address, *stream),
        }
    }
}

/// Lines on their way. Nothing here ever waits but [`Remote::finish`].
#[derive(Debug)]
pub(crate) struct Remote {
    words: Words,
    way: Way,
    socket: Option<OwnedFd>,
    /// Whether the other side has taken something of this socket's: until then it is being connected.
    connected: bool,
    queue: VecDeque<Waiting>,
    /// Bytes in the queue, [`Waiting::cost`] of each.
    waiting: usize,
    /// The first of the queue as the other side reads it, once that is begun.
    first: Vec<u8>,
    /// How much of it is out already.
    sent: usize,
    again: Option<Instant>,
    limit: usize,
    /// Whether lines are lost rather than the container held up.
    lossy: bool,
    lost: u64,
}

/// A line that waits. What stands before it is written when it is sent: it may be much longer than the line.
#[derive(Debug)]
struct Waiting {
    stream: Stream,
    text: Vec<u8>,
    whole: bool,
    time: u64,
}

impl Waiting {
    /// What it takes of memory, about.
    fn cost(length: usize) -> usize {
        length + size_of::<Waiting>()
    }
}

impl Remote {
    /// Lines for the other side of a socket.
    pub(crate) fn new(words: Words, way: Way, socket: OwnedFd) -> Self {
        // What can not be had blocks nobody: the next call says so.
        let _ = rustix::io::ioctl_fionbio(&socket, true);
        Remote {
            words,
            way,
            socket: Some(socket),
            connected: true,
            queue: VecDeque::new(),
            waiting: 0,
            first: Vec::new(),
            sent: 0,
            again: None,
            limit: LIMIT,
            lossy: false,
            lost: 0,
        }
    }

    /// Lets so many bytes wait, and what is more be lost.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.lossy = true;
        self.limit = usize::try_from(limit).unwrap_or(LIMIT);
    }

    /// How many lines were not sent.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// When to call [`Remote::pump`].
    pub(crate) fn again(&self) -> Option<Instant> {
        self.again
    }

    /// Whether somebody is there who does not take what is sent.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_there() && self.waiting > AHEAD
    }

    fn is_there(&self) -> bool {
        self.socket.is_some() && self.connected
    }

    /// Takes a line, or a piece of one, that consists of two parts.
    pub(crate) fn line(&mut self, stream: Stream, parts: [&[u8]; 2], whole: bool, time: u64) {
        let cost = Waiting::cost(parts[0].len() + parts[1].len());
        // Who is there and slow holds the container up: what comes until then is one read at the most.
        let bounded = self.lossy || !self.is_there();
        if bounded && self.waiting + cost > self.limit && !self.queue.is_empty() {
            self.lost += 1;
            return;
        }
        self.waiting += cost;
        self.queue.push_back(Waiting {
            stream,
            text: parts.concat(),
            whole,
            time,
        });
        if self.again.is_none() {
            self.pump();
        }
    }

    /// Sends what can be sent.
    pub(crate) fn pump(&mut self) {
        self.again = None;
        let mut failed = false;
        while let Some(first) = self.queue.front() {
            let Some(socket) = self.socket.as_ref() else {
                if failed || !self.connect() {
                    self.again = Some(Instant::now() + PAUSE);
                    return;
                }
                continue;
            };
            if self.first.is_empty() {
                let text = [&first.text[..], b""];
                self.first = written(&self.words, first.stream, text, first.whole, first.time);
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(socket, &self.first[self.sent..], flags) {
                Ok(length) => {
                    self.connected = true;
                    self.sent += length;
                    if self.sent >= self.first.len() || !self.way.is_stream() {
                        self.drop_first();
                    }
                }
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    let pause = if self.connected { GLANCE } else { CONNECTING };
                    self.again = Some(Instant::now() + pause);
                    return;
                }
                Err(Errno::INTR) => {}
                Err(Errno::MSGSIZE) => {
                    self.lost += 1;
                    self.drop_first();
                }
                // A socket that was refused may be there anew under its name.
                Err(_) => {
                    self.sent = 0;
                    let again = !failed && self.connect();
                    if !again {
                        self.socket = None;
                        self.again = Some(Instant::now() + PAUSE);
                        return;
                    }
                    failed = true;
                }
            }
        }
    }

    /// Makes the connection anew; whether it is begun.
    fn connect(&mut self) -> bool {
        self.socket = self.way.connect().ok();
        self.connected = false;
        self.socket.is_some()
    }

    /// Gives the other side a moment to take the rest.
    pub(crate) fn finish(&mut self) {
        for _ in 0..PARTING {
            self.pump();
            if self.queue.is_empty() || !self.is_there() {
                break;
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.queue.pop_front() {
            self.waiting -= Waiting::cost(first.text.len());
        }
        self.first.clear();
        self.sent = 0;
    }
}

/// A message as the other side reads it.
fn written(words: &Words, stream: Stream, parts: [&[u8]; 2], whole: bool, time: u64) -> Vec<u8> {
    // LOG_INFO and LOG_ERR of syslog(3).
    let severity = match stream {
        Stream::Stdout => 6,
        Stream::Stderr => 3,
    };
    let mut out = Vec::with_capacity(parts[0].len() + parts[1].len() + 128);
    match words {
        Words::Syslog {
            layout,
            facility,
            host,
            tag,
        } => {
            let process = std::process::id();
            let priority = u32::from(*facility) * 8 + severity;
            out.extend_from_slice(format!("<{priority}>").as_bytes());
            let head = match layout {
                Layout::Unix => {
                    clock::write_stamp(time, &mut out);
                    format!(" {tag}[{process}]: ")
                }
                Layout::Rfc3164 => {
                    clock::write_stamp(time, &mut out);
                    format!(" {host} {tag}[{process}]: ")
                }
                Layout::Rfc5424 | Layout::Rfc5424Micro => {
                    out.extend_from_slice(b"1 ");
                    let micro = (*layout == Layout::Rfc5424Micro).then_some(6);
                    clock::write_rfc3339_with(time, micro.unwrap_or(0), &mut out);
                    format!(" {host} {tag} {process} {tag} - ")
                }
            };
            out.extend_from_slice(head.as_bytes());
            parts.iter().for_each(|part| out.extend_from_slice(part));
            out.push(b'\n');
        }
        Words::Journal { fields } => {
            out.extend_from_slice(fields);
            out.extend_from_slice(format!("PRIORITY={severity}\nSYSLOG_TIMESTAMP=").as_bytes());
            clock::write_rfc3339(time, &mut out);
            out.push(b'\n');
            if !whole {
                out.extend_from_slice(b"CONTAINER_PARTIAL_MESSAGE=true\n");
            }
            // A value may have any byte when its length stands before it.
            out.extend_from_slice(b"MESSAGE\n");
            let length = (parts[0].len() + parts[1].len()) as u64;
            out.extend_from_slice(&length.to_le_bytes());
            parts.iter().for_each(|part| out.extend_from_slice(part));
            out.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    const TIME: u64 = 1_700_000_005_123_456_789;

    fn syslog(layout: Layout) -> Words {
        Words::Syslog {
            layout,
            facility: 3,
            host: "here".to_owned(),
            tag: "box".to_owned(),
        }
    }

    #[test]
    fn messages_are_laid_out_as_docker_lays_them_out() {
        let process = std::process::id();
        let told = |layout, stream| {
            let parts: [&[u8]; 2] = [b"he", b"llo"];
            String::from_utf8(written(&syslog(layout), stream, parts, true, TIME)).unwrap()
        };
        assert_eq!(
            told(Layout::Unix, Stream::Stdout),
            format!("<30>Nov 14 22:13:25 box[{process}]: hello\n")
        );
        assert_eq!(
            told(Layout::Rfc3164, Stream::Stderr),
            format!("<27>Nov 14 22:13:25 here box[{process}]: hello\n")
        );
        assert_eq!(
            told(Layout::Rfc5424, Stream::Stdout),
            format!("<30>1 2023-11-14T22:13:25Z here box {process} box - hello\n")
        );
        assert_eq!(
            told(Layout::Rfc5424Micro, Stream::Stdout),
            format!("<30>1 2023-11-14T22:13:25.123456Z here box {process} box - hello\n")
        );
        let journal = Words::Journal {
            fields: b"CONTAINER_ID=1\n".to_vec(),
        };
        let message = written(&journal, Stream::Stderr, [b"a\n", b"b"], false, TIME);
        let expected = b"CONTAINER_ID=1\nPRIORITY=3\nSYSLOG_TIMESTAMP=2023-11-14T22:13:25.123456789Z\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert_eq!(
            String::from_utf8_lossy(&message),
            String::from_utf8_lossy(expected)
        );
    }

    /// A receiver that is full is waited for, one that was replaced is found again, and what is too much is lost.
    #[test]
    fn lines_wait_for_whoever_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let way = Way::Local {
            folder: std::fs::File::open(folder.path()).unwrap().into(),
            name: "log".to_owned(),
            stream: false,
        };
        let socket = way.connect().unwrap();
        let mut remote = Remote::new(syslog(Layout::Unix), way, socket);
        remote.set_limit(LIMIT as u64);
        let line = vec![b'x'; 1000];
        for _ in 0..2000 {
            remote.line(Stream::Stdout, [&line, b""], true, TIME);
        }
        assert!(remote.is_behind() && remote.again().is_some());
        assert!(remote.lost() > 500 && remote.waiting <= LIMIT + 100);
        let lost = remote.lost();
        let mut buffer = vec![0; 2000];
        server.set_nonblocking(true).unwrap();
        let mut seen = 0;
        while !remote.queue.is_empty() {
            while server.recv(&mut buffer).is_ok() {
                seen += 1;
            }
            remote.pump();
        }
        while server.recv(&mut buffer).is_ok() {
            seen += 1;
        }
        assert_eq!(seen + lost, 2000);
        // Nobody there: the line waits, and goes to the next one.
        drop(server);
        std::fs::remove_file(&path).unwrap();
        remote.line(Stream::Stdout, [b"late", b""], true, TIME);
        assert!(remote.socket.is_none() && remote.again().is_some() && !remote.is_behind());
        let server = UnixDatagram::bind(&path).unwrap();
        remote.pump();
        let length = server.recv(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b": late\n"));
        assert_eq!((remote.lost(), remote.waiting), (lost, 0));
    }

    /// Whoever is there and slow is waited for; an address from which nothing comes is as good as nobody.
    #[test]
    fn only_who_is_not_there_loses_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let way = Way::Local {
            folder: std::fs::File::open(folder.path()).unwrap().into(),
            name: "log".to_owned(),
            stream: false,
        };
        let socket = way.connect().unwrap();
        let mut remote = Remote::new(syslog(Layout::Unix), way, socket);
        for _ in 0..40_000 {
            remote.line(Stream::Stdout, [b"x", b""], true, TIME);
        }
        assert!(remote.is_behind() && remote.lost() == 0);
        drop(server);
        // A listener whose queue is full answers no further connection.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let _first = std::net::TcpStream::connect(address).unwrap();
        let way = Way::Network {
            address,
            stream: true,
        };
        let socket = way.connect().unwrap();
        let mut remote = Remote::new(syslog(Layout::Unix), way, socket);
        remote.connected = false;
        for _ in 0..40_000 {
            remote.line(Stream::Stdout, [b"x", b""], true, TIME);
        }
        assert!(!remote.is_behind() && remote.lost() > 0 && remote.waiting <= LIMIT);
    }
}
