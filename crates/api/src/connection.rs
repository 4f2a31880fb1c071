//! One connection: requests in HTTP, until it ends or becomes a stream.
//!
//! hyper speaks HTTP here. What it can not do is to leave HTTP with an answer of 200, which clients that send no
//! `Upgrade` header expect. So both kinds of hijack are done below it: the handler's answer never reaches hyper; the
//! connection is taken apart into the socket and the bytes that were read past the request, the head of the answer
//! is written here, and the socket leaves for good.

use std::convert::Infallible;
use std::future::poll_fn;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use crate::call::Context;
use crate::dispatch;
use crate::peer::{Busy, Peer, Phase, Stream};
use crate::reply::{Body, Hijack, Reply};

/// The head of a request may have this size.
const MAX_HEADER: usize = 64 << 10;
/// And must be complete within this time, counted from the end of the last answer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(300);
/// The head of a hijacked answer must be taken by the client within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Clients that lose nothing of a stream that begins with its head: for them it need not wait, which is a millisecond
/// of `run` and `exec`.
const CAREFUL_CLIENTS: [&str; 2] = ["Wharf-Client/", "Docker-Client/"];
/// A client that has not read the head after this time gets its stream all the same.
const HEAD_PATIENCE: Duration = Duration::from_millis(200);
/// Most have read it within this time, which is too short to sleep in.
const HEAD_SPIN: Duration = Duration::from_micros(300);
/// What a client still sends after its request was answered is read for so long, and so many bytes of it.
const LINGER: Duration = Duration::from_secs(2);
const MAX_LINGER: u64 = 64 << 20;

/// A connection on its way out of HTTP.
struct Departure {
    hijack: Hijack,
    upgrade: bool,
    /// Whether the client is known to keep what it reads past the head.
    careful: bool,
}

/// Serves one client until it goes, its connection becomes a stream, or the server closes.
pub(crate) async fn serve(
    stream: Stream,
    context: Arc<Context>,
    mut closing: watch::Receiver<bool>,
) {
    let phase = Arc::new(Phase::of(&stream));
    let (departures, mut departing) = mpsc::channel(1);
    let service = service_fn({
        let phase = phase.clone();
        move |request| {
            // Here and not in the future: hyper may look for the client's end before it polls that.
            let busy = phase.begin();
            Box::pin(answer(
                context.clone(),
                phase.clone(),
                busy,
                departures.clone(),
                request,
            ))
        }
    });
    let mut connection = http1::Builder::new()
        .title_case_headers(true)
        .max_header_size(MAX_HEADER)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(Peer::new(stream, phase.clone())), service);

    let mut open = true;
    let departure = loop {
        tokio::select! {
            biased;
            Some(departure) = departing.recv() => break departure,
            served = poll_fn(|context| connection.poll_without_shutdown(context)) => {
                if let Err(error) = served {
                    tracing::debug!(%error, "connection ended");
                }
                if open {
                    linger(connection.into_parts().io.into_inner().into_stream()).await;
                }
                return;
            }
            _ = closing.changed(), if open => {
                open = false;
                if phase.streams() {
                    return;
                }
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    depart(
        parts.io.into_inner().into_stream(),
        parts.read_buf,
        departure,
    )
    .await;
}

/// Closes a connection that was answered. A client may still be sending a request that was refused at its beginning:
/// if its socket were closed now, it would see a broken pipe and not the answer (RFC 9112, section 9.6).
async fn linger(mut stream: Stream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = stream.take(MAX_LINGER);
    let mut nowhere = tokio::io::sink();
    let read = tokio::io::copy(&mut rest, &mut nowhere);
    // How it ends makes no difference to anybody.
    let _ = tokio::time::timeout(LINGER, read).await;
}

/// Answers one request. A request that becomes a stream is never answered to hyper: this future then stays pending
/// until the connection is taken apart.
async fn answer(
    context: Arc<Context>,
    phase: Arc<Phase>,
    busy: Busy,
    departures: mpsc::Sender<Departure>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let upgrade = request.headers().contains_key(http::header::UPGRADE);
    let careful = is_careful(request.headers());
    match dispatch::dispatch(&context, &phase, request).await {
        Reply::Http(response) => {
            phase.answer(response.body().streams());
            Ok(response.map(|body| body.holding(busy)))
        }
        Reply::Hijack(hijack) => {
            // The channel holds one, and there is one: nothing else is answered on this connection.
            let _ = departures.try_send(Departure {
                hijack,
                upgrade,
                careful,
            });
            std::future::pending().await
        }
    }
}

/// Whether a request comes from a client that reads streams as they have to be read.
pub(crate) fn is_careful(headers: &http::HeaderMap) -> bool {
    let agent = headers.get(http::header::USER_AGENT);
    agent.is_some_and(|agent| {
        let mut known = CAREFUL_CLIENTS.iter();
        known.any(|name| agent.as_bytes().starts_with(name.as_bytes()))
    })
}

/// Writes the head of the answer and gives the socket away.
async fn depart(mut stream: Stream, read_past: Bytes, departure: Departure) {
    let Hijack {
        ticket,
        content_type,
    } = departure.hijack;
    let head = match departure.upgrade {
        true => format!(
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        ),
        false => format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n"),
    };
    match tokio::time::timeout(HEAD_TIMEOUT, stream.write_all(head.as_bytes())).await {
        Ok(Ok(())) => {}
        // The ticket is dropped, which withdraws the attachment.
        Ok(Err(error)) => return tracing::debug!(%error, "client went before its stream began"),
        Err(_) => return tracing::debug!("client does not take the head of its stream"),
    }
    if !departure.careful {
        head_taken(&stream).await;
    }
    let delivered = match stream.into_fd() {
        Ok(socket) => ticket.deliver(socket, read_past.to_vec()).await,
        Err(error) => {
            return tracing::warn!(%error, "cannot take the client's socket out of the event loop");
        }
    };
    if let Err(error) = delivered {
        tracing::debug!(%error, "stream was not delivered");
    }
}

/// Waits a moment until the client has read the head. Some read it through a buffer and lose what comes with it when
/// they go on with the bare socket (docker-py): what a program says within a millisecond would never be seen.
async fn head_taken(stream: &Stream) {
    let Stream::Unix(socket) = stream else {
        // A kernel acknowledges what no program has read.
        return;
    };
    let begin = Instant::now();
    while sys::fdpass::unread_by_peer(socket.as_fd()).is_ok_and(|unread| unread > 0) {
        match begin.elapsed() {
            passed if passed > HEAD_PATIENCE => return,
            passed if passed > HEAD_SPIN => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => tokio::task::yield_now().await,
        }
    }
}
