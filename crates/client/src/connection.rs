//! Requests to an engine: HTTP/1.1 as it speaks it, blocking, one after the other.
//!
//! An engine is near and answers at once; a general client would cost more time to set up than
//! the whole command takes.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use rustix::net::RecvFlags;
use serde_json::Value;

use crate::failure::Failure;
use crate::host::{Host, Secured};
use crate::secure::{self, Fault};
use crate::ssh::{self, Tunnel};

mod ahead;
mod chunks;

pub(crate) use ahead::get_each;
use chunks::{Chunks, write_chunks};

/// Headers of an answer longer than this, all together, are not read.
const HEAD_LIMIT: u64 = 1 << 20;
/// A JSON answer longer than this is not read.
const BODY_LIMIT: u64 = 256 << 20;

/// A connected socket of either kind.
pub(crate) enum Stream {
    /// A unix socket.
    Unix(UnixStream),
    /// A TCP socket.
    Tcp(TcpStream),
    /// The near end of a connection that something else carries.
    Carried(UnixStream, Rc<Carrier>),
}

/// What carries a connection, and knows why it broke.
pub(crate) enum Carrier {
    /// ssh(1).
    Ssh(Tunnel),
    /// TLS.
    Tls(Fault),
}

impl Carrier {
    fn explain(&self) -> Option<String> {
        match self {
            Carrier::Ssh(tunnel) => tunnel.explain(),
            Carrier::Tls(fault) => fault.told(),
        }
    }
}

impl Stream {
    /// Connects; `doing` is what for.
    ///
    /// # Errors
    /// [`Failure::NoDaemon`] when nobody listens, or the reason why not even that could be asked.
    pub(crate) fn connect(host: &Host, doing: &str) -> Result<Self, Failure> {
        let broken = |source| Failure::Connection {
            doing: doing.to_owned(),
            source,
        };
        let connected = match host {
            Host::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Host::Tcp(address) => TcpStream::connect(address.as_str()).map(Stream::Tcp),
            Host::Tls(Secured { address, config }) => match TcpStream::connect(address.as_str()) {
                Ok(tcp) => {
                    let (near, fault) =
                        secure::connect(tcp, address, Arc::clone(config)).map_err(broken)?;
                    Ok(Stream::Carried(near, Rc::new(Carrier::Tls(fault))))
                }
                Err(error) => Err(error),
            },
            Host::Ssh(address) => {
                let (near, tunnel) = ssh::open(address).map_err(|error| {
                    broken(match error.kind() {
                        io::ErrorKind::NotFound => {
                            io::Error::other("exec: \"ssh\": executable file not found in $PATH")
                        }
                        _ => error,
                    })
                })?;
                Ok(Stream::Carried(near, Rc::new(Carrier::Ssh(tunnel))))
            }
        };
        connected.map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => Failure::Forbidden {
                host: host.shown(),
                source,
            },
            // The system's resolver tells no number of the kernel's.
            _ if source.raw_os_error().is_none() && host.name().is_some() => {
                let name = host.name().unwrap_or_default();
                broken(io::Error::other(format!(
                    "dial tcp: lookup {name}: no such host"
                )))
            }
            _ => Failure::NoDaemon { host: host.shown() },
        })
    }

    /// What carries it, unless it goes by itself.
    fn carrier(&self) -> Option<Rc<Carrier>> {
        match self {
            Stream::Carried(_, carrier) => Some(Rc::clone(carrier)),
            Stream::Unix(_) | Stream::Tcp(_) => None,
        }
    }

    /// Tells the other side that nothing more comes.
    pub(crate) fn finish_writing(&self) -> io::Result<()> {
        match self {
            Stream::Unix(stream) | Stream::Carried(stream, _) => {
                stream.shutdown(std::net::Shutdown::Write)
            }
            Stream::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(stream) | Stream::Carried(stream, _) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Unix(stream) | Stream::Carried(stream, _) => stream.into(),
            Stream::Tcp(stream) => stream.into(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) | Stream::Carried(stream, _) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) | Stream::Carried(stream, _) => stream.write(buffer),
            Stream::Tcp(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection whose last answer was read to its end, for the next request: the engine has less to do than for a new one.
#[derive(Clone, Default)]
pub(crate) struct Idle(Rc<RefCell<Option<Stream>>>);

impl Idle {
    /// The connection, if the other side has not given it up meanwhile.
    fn take(&self) -> Option<Stream> {
        let stream = self.0.take()?;
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let told = rustix::net::recv(&stream, &mut [0; 1], flags);
        matches!(told, Err(rustix::io::Errno::AGAIN)).then_some(stream)
    }
}

/// What is sent behind the head of a request.
pub(crate) enum Body<'a> {
    /// Nothing.
    Empty,
    /// A JSON document.
    Json(Vec<u8>),
    /// A stream of unknown length, sent in chunks: a tar archive.
    Stream(&'a mut dyn Read),
    /// The same, from code that writes.
    Written(&'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>),
}

/// A request that is about to be sent.
pub(crate) struct Request<'a> {
    /// `GET`, `POST`, ….
    pub(crate) method: &'static str,
    /// Path and query, with the version in front.
    pub(crate) path: String,
    /// Further headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Body<'a>,
    /// Whether the connection becomes a raw stream.
    pub(crate) upgrade: bool,
}

/// What is read of an answer at once.
const READ_AT_ONCE: usize = 16 << 10;

/// The head of an answer, and the stream from which its body comes.
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    reader: BufReader<Stream>,
    framing: Framing,
    /// Where the connection goes when the body was read; `None` when it ends with it.
    idle: Option<Idle>,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes are left of this chunk; at 0 the next head follows.
    Chunk(u64),
    /// The end of the connection.
    Close,
    /// Nothing is left.
    Done,
}

/// Sends a request and reads the head of its answer, over the idle connection where there is one. Statuses of errors are
/// not looked at.
///
/// # Errors
/// [`Failure::NoDaemon`], or [`Failure::Connection`] when the connection breaks.
pub(crate) fn send(host: &Host, idle: &Idle, request: Request<'_>) -> Result<Answer, Failure> {
    let doing = doing(host, &request);
    let mut stream = match idle.take() {
        Some(stream) => stream,
        None => Stream::connect(host, &doing)?,
    };
    let carrier = stream.carrier();
    let broken = |source| Failure::Connection {
        doing: doing.clone(),
        source: carrier
            .as_ref()
            .and_then(|carrier| carrier.explain())
            .map_or(source, io::Error::other),
    };
    let keep = (!request.upgrade).then(|| idle.clone());
    let bare = request.method == "HEAD";
    write_request(&mut stream, request).map_err(broken)?;
    let reader = BufReader::with_capacity(READ_AT_ONCE, stream);
    let mut answer = read_head(reader, keep).map_err(broken)?;
    if bare {
        answer.framing = Framing::Done;
    }
    Ok(answer)
}

/// A request as docker's messages name it.
fn doing(host: &Host, request: &Request<'_>) -> String {
    let (first, rest) = request.method.split_at(1);
    let method = format!("{first}{}", rest.to_ascii_lowercase());
    format!("{method} \"{}{}\"", host.url(), request.path)
}

/// Request line and headers, without the empty line at their end.
fn head(request: &Request<'_>) -> String {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: api.moby.localhost\r\nUser-Agent: Wharf-Client/{}\r\n",
        request.method,
        request.path,
        env!("CARGO_PKG_VERSION")
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

fn write_request(stream: &mut Stream, request: Request<'_>) -> io::Result<()> {
    let mut head = head(&request);
    if request.upgrade {
        head.push_str("Connection: Upgrade\r\nUpgrade: tcp\r\n");
    }
    match request.body {
        Body::Empty => {
            if request.method == "POST" {
                head.push_str("Content-Length: 0\r\n");
            }
            head.push_str("\r\n");
            stream.write_all(head.as_bytes())
        }
        Body::Json(body) => {
            head.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            // One write: the engine reads head and body at once.
            let mut whole = head.into_bytes();
            whole.extend_from_slice(&body);
            stream.write_all(&whole)
        }
        Body::Stream(body) => {
            head.push_str("Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            write_chunks(stream, body)
        }
        Body::Written(write) => {
            head.push_str("Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            let mut chunks = Chunks::new(stream);
            let written = write(&mut chunks).and_then(|()| chunks.finish());
            if chunks.refused { Ok(()) } else { written }
        }
    }
}

fn read_head(mut reader: BufReader<Stream>, idle: Option<Idle>) -> io::Result<Answer> {
    let mut left = HEAD_LIMIT;
    let first = read_line(&mut reader, &mut left)?;
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| malformed(&format!("not an HTTP answer: {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut reader, &mut left)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| malformed("a header without a colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let framing = if matches!(status, 204 | 304) {
        Framing::Done
    } else if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    {
        Framing::Chunk(0)
    } else if let Some(length) = header("content-length").filter(|_| status != 101) {
        match length.parse() {
            Ok(0) => Framing::Done,
            Ok(length) => Framing::Length(length),
            Err(_) => return Err(malformed("a length that is no number")),
        }
    } else {
        Framing::Close
    };
    let ends = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let lasts = !ends && first.starts_with("HTTP/1.1 ");
    Ok(Answer {
        status,
        framing,
        idle: idle.filter(|_| lasts),
        headers,
        reader,
    })
}

fn read_line(reader: &mut BufReader<Stream>, left: &mut u64) -> io::Result<String> {
    let mut line = Vec::new();
    let number = reader.by_ref().take(*left).read_until(b'\n', &mut line)?;
    *left -= number as u64;
    if line.pop() != Some(b'\n') {
        return Err(if *left == 0 {
            malformed("a head that does not end")
        } else {
            io::ErrorKind::UnexpectedEof.into()
        });
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Answer {
    /// This answer if its status is below 400, else the daemon's sentence.
    ///
    /// # Errors
    /// [`Failure::Daemon`] with the `message` of the body.
    pub(crate) fn successful(mut self) -> Result<Self, Failure> {
        if self.status < 400 {
            return Ok(self);
        }
        Err(self.refusal())
    }

    /// The daemon's sentence.
    fn refusal(&mut self) -> Failure {
        let mut body = Vec::new();
        // What came of a sentence is better than nothing.
        let _ = self.by_ref().take(1 << 20).read_to_end(&mut body);
        let message = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|body| body["message"].as_str().map(str::to_owned));
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
        Failure::Daemon {
            status: self.status,
            message,
        }
    }

    /// The whole body as JSON; null for an empty one.
    ///
    /// # Errors
    /// [`Failure::Connection`] when it breaks off or is no JSON.
    pub(crate) fn json(mut self) -> Result<Value, Failure> {
        let value = self.read_json()?;
        self.keep();
        Ok(value)
    }

    fn read_json(&mut self) -> Result<Value, Failure> {
        let mut body = Vec::new();
        let read = self.by_ref().take(BODY_LIMIT).read_to_end(&mut body);
        read.map_err(|source| Failure::Connection {
            doing: "read the answer".to_owned(),
            source,
        })?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| Failure::Connection {
            doing: "read the answer".to_owned(),
            source: error.into(),
        })
    }

    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The raw connection after an upgrade, with the bytes that were already read from it.
    pub(crate) fn into_stream(self) -> (Stream, Vec<u8>) {
        let early = self.reader.buffer().to_vec();
        (self.reader.into_inner(), early)
    }

    /// Leaves the connection to the next request, if this one's answer was read to its end.
    pub(crate) fn keep(self) {
        if let Some(idle) = &self.idle
            && self.is_read()
            && self.reader.buffer().is_empty()
        {
            idle.0.replace(Some(self.reader.into_inner()));
        }
    }

    /// Whether nothing of the body is left.
    fn is_read(&self) -> bool {
        self.framing == Framing::Done
    }

    /// The head of the next chunk.
    fn next_chunk(&mut self) -> io::Result<u64> {
        let mut left = 256;
        let mut line = read_line(&mut self.reader, &mut left)?;
        // The line break behind the former chunk.
        if line.is_empty() {
            line = read_line(&mut self.reader, &mut left)?;
        }
        let digits = line.split(';').next().unwrap_or("").trim();
        u64::from_str_radix(digits, 16).map_err(|_| malformed("a chunk without a length"))
    }
}

impl AsFd for Answer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.get_ref().as_fd()
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.framing == Framing::Chunk(0) {
            self.framing = match self.next_chunk()? {
                0 => Framing::Done,
                size => Framing::Chunk(size),
            };
        }
        let most = match self.framing {
            Framing::Done => return Ok(0),
            Framing::Close => buffer.len(),
            Framing::Length(left) | Framing::Chunk(left) => buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX)),
        };
        let number = self.reader.read(&mut buffer[..most])?;
        match &mut self.framing {
            Framing::Length(left) | Framing::Chunk(left) if number == 0 && *left > 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Framing::Length(left) => {
                *left -= number as u64;
                if *left == 0 {
                    self.framing = Framing::Done;
                }
            }
            Framing::Chunk(left) => *left -= number as u64,
            Framing::Close | Framing::Done => {}
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests;
