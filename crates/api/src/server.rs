//! The listeners, and how many clients they let in.

use std::future::Future;
use std::io;
use std::net;
use std::os::unix::net as unix;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use http::HeaderValue;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::call::Context;
use crate::connection;
use crate::peer::Stream;

/// How long requests may go on after the server was asked to close.
const CLOSING_GRACE: Duration = Duration::from_secs(10);
/// How long no client is let in after the kernel gave none (out of descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that listens for clients.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(unix::UnixListener),
    /// A TCP socket. Who may reach it may do everything: it belongs on the loopback interface.
    Tcp(net::TcpListener),
}

enum Accepting {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Accepting {
    fn new(listener: Listener) -> io::Result<Accepting> {
        Ok(match listener {
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Accepting::Unix(UnixListener::from_std(listener)?)
            }
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Accepting::Tcp(TcpListener::from_std(listener)?)
            }
        })
    }

    async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Accepting::Unix(listener) => Stream::Unix(listener.accept().await?.0),
            Accepting::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
        })
    }
}

/// Serves the API on these listeners until `shutdown` is ready.
///
/// Then nobody new is let in, answers without a certain end (events, logs, waits) are cut, and what else is in work
/// has ten seconds. Streams of attached clients do not belong to the server any more and go on.
///
/// # Errors
/// When a listener can not be used, or the engine does not tell its version.
pub async fn serve(
    listeners: Vec<Listener>,
    engine: Engine,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let version = engine.version().await.map_err(io::Error::other)?.version;
    let server =
        HeaderValue::from_str(&format!("Docker/{version} (linux)")).map_err(io::Error::other)?;
    let context = Arc::new(Context { engine, server });
    let (close, closing) = watch::channel(false);
    let room = Arc::new(Semaphore::new(most_connections()));

    let mut doors = JoinSet::new();
    for listener in listeners {
        let listener = Accepting::new(listener)?;
        doors.spawn(let_in(
            listener,
            context.clone(),
            room.clone(),
            closing.clone(),
        ));
    }
    drop(closing);
    shutdown.await;
    // Receivers are gone only if there was no listener.
    let _ = close.send(true);
    let all_gone = async { while doors.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING_GRACE, all_gone).await.is_err() {
        tracing::warn!("requests were cut off because they did not end in time");
        doors.shutdown().await;
    }
    Ok(())
}

/// Lets clients in at one listener until the server closes, then waits for those that are in.
async fn let_in(
    listener: Accepting,
    context: Arc<Context>,
    room: Arc<Semaphore>,
    mut closing: watch::Receiver<bool>,
) {
    let mut clients = JoinSet::new();
    loop {
        let entering = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            biased;
            _ = closing.changed() => break,
            Some(_) = clients.join_next(), if !clients.is_empty() => {}
            (place, accepted) = entering => match accepted {
                Ok(stream) => {
                    let serving = connection::serve(stream, context.clone(), closing.clone());
                    clients.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot let a client in");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

/// A quarter of the descriptors that this process may have, for each client needs one and makes the engine use more.
fn most_connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 4)
        .unwrap_or(usize::MAX)
        .clamp(64, 16384)
}
