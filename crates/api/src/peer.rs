//! The client's end of a connection, and when it counts as gone.
//!
//! hyper drops a request's handler when it reads the end of the client's stream. But a client may shut down its
//! sending side and wait for the answer (`printf … | nc -N`), and a hijacked stream must survive that anyway. So the
//! end is held back while a request is in work, until the client is gone for sure, or until somebody waits for more of
//! a body that will not come.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

use crate::request_line;

/// How often a client that sends no more is looked after.
const LOOK: Duration = Duration::from_millis(250);
/// A TCP client that sends no more counts as gone after this time: its kernel does not tell the difference.
const TCP_PATIENCE: Duration = Duration::from_secs(10);

/// The socket of a client.
pub(crate) enum Stream {
    /// On this host.
    Unix(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
}

impl Stream {
    /// The socket itself, which stays in non-blocking mode.
    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(match self {
            Stream::Unix(stream) => stream.into_std()?.into(),
            Stream::Tcp(stream) => stream.into_std()?.into(),
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// Calls a method of whichever socket it is.
macro_rules! either {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream {
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), poll_shutdown(context))
    }
}

/// What a connection is doing, shared between its socket and its handlers.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    over_tcp: bool,
    busy: AtomicBool,
    hijacking: AtomicBool,
    streaming: AtomicBool,
    body: Mutex<Hunger>,
}

/// Who waits for more of a body, and for what.
#[derive(Debug, Default)]
struct Hunger {
    /// Everything that the client sent was read.
    ended: bool,
    /// The reader found out after that that its body is not complete.
    starves: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

impl Phase {
    /// Of a connection that has just begun.
    pub(crate) fn of(stream: &Stream) -> Self {
        Phase {
            over_tcp: matches!(stream, Stream::Tcp(_)),
            ..Phase::default()
        }
    }

    /// Whether the client came over TCP: a web page may have sent it.
    pub(crate) fn over_tcp(&self) -> bool {
        self.over_tcp
    }

    /// To be asked by the reader of a body who has nothing to read: whether the client sends no more. If so, the reader
    /// looks once more (what came before the end may have come since) and then calls [`Phase::starve`].
    pub(crate) fn ended(&self, context: &Context<'_>) -> bool {
        let mut hunger = self.hunger();
        if !hunger.ended {
            hunger.reader = Some(context.waker().clone());
        }
        hunger.ended
    }

    /// The body is cut short: hyper may know, and tells the reader.
    pub(crate) fn starve(&self) {
        let mut hunger = self.hunger();
        hunger.starves = true;
        if let Some(waker) = hunger.connection.take() {
            waker.wake();
        }
    }

    /// Tells the reader of a body of the client's end; ready once the reader starves.
    fn poll_starving(&self, context: &Context<'_>) -> Poll<()> {
        let mut hunger = self.hunger();
        hunger.ended = true;
        if let Some(waker) = hunger.reader.take() {
            waker.wake();
        }
        if hunger.starves {
            return Poll::Ready(());
        }
        hunger.connection = Some(context.waker().clone());
        Poll::Pending
    }

    fn hunger(&self) -> std::sync::MutexGuard<'_, Hunger> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins; it is in work until the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.store(true, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// The request may become a stream: from now on the client's end is not told to hyper at all.
    pub(crate) fn hijack(&self, may: bool) {
        self.hijacking.store(may, Ordering::Relaxed);
    }

    /// The answer begins, as a whole or as a stream without a certain end.
    pub(crate) fn answer(&self, streams: bool) {
        self.hijacking.store(false, Ordering::Relaxed);
        self.streaming.store(streams, Ordering::Relaxed);
    }

    /// Whether an answer without a certain end is on its way.
    pub(crate) fn streams(&self) -> bool {
        self.streaming.load(Ordering::Relaxed)
    }
}

/// Held as long as a request is in work.
pub(crate) struct Busy(Arc<Phase>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
        self.0.streaming.store(false, Ordering::Relaxed);
    }
}

/// A client's socket that holds back its end.
pub(crate) struct Peer {
    stream: Stream,
    phase: Arc<Phase>,
    /// Since when the client sends no more, and when to look again.
    ended: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Peer {
    /// A client that has just connected.
    pub(crate) fn new(stream: Stream, phase: Arc<Phase>) -> Peer {
        Peer {
            stream,
            phase,
            ended: None,
        }
    }

    /// The socket.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Ready when the end may be told.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (since, look) = self
            .ended
            .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(Duration::ZERO))));
        if self.phase.poll_starving(context).is_ready() {
            return Poll::Ready(());
        }
        loop {
            if self.phase.hijacking.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            let patience_over =
                matches!(self.stream, Stream::Tcp(_)) && since.elapsed() > TCP_PATIENCE;
            if !self.phase.busy.load(Ordering::Relaxed)
                || patience_over
                || hung_up(self.stream.fd())
            {
                return Poll::Ready(());
            }
            ready!(look.as_mut().poll(context));
            look.as_mut().reset(Instant::now() + LOOK);
        }
    }
}

/// Whether both directions are closed. An error of the question itself counts as yes.
fn hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    match poll(&mut asked, Some(&Timespec::default())) {
        Ok(_) => asked[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR),
        Err(_) => true,
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            // A request that is in work may have a body: this is more of it.
            if buffer.filled().len() > before && !this.phase.busy.load(Ordering::Relaxed) {
                request_line::encode(buffer, before);
            }
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_gone(context).map(Ok)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
