//! What daemons say.

use std::io::{self, IoSlice};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use sys::fdpass::{self, Wait};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Shared, ask};
use crate::protocol::{Answer, LONGEST, Request, VERSION};

/// How long the helper stays when there is nobody to serve: the next container may come.
const IDLE: Duration = Duration::from_secs(2);

/// Tells that something was asked for, or that this is over.
#[derive(Default)]
struct Told {
    changed: Notify,
    over: Notify,
}

/// Serves daemons until one says that this is over, or until nobody was to be served for a while. (What a daemon asks for
/// at that moment it asks again of the next helper.)
pub(super) async fn serve(listener: OwnedFd, shared: Arc<Shared>) -> io::Result<()> {
    // The newer constructor is unsafe; what it asks for holds: each keeps one descriptor for its life.
    #[allow(deprecated)]
    let listener = AsyncFd::new(listener)?;
    let told = Arc::new(Told::default());
    let mut end = Some(Instant::now() + IDLE);
    loop {
        let idle = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let mut ready = tokio::select! {
            () = told.over.notified() => return Ok(()),
            () = told.changed.notified() => {
                end = shared.is_idle().then(|| Instant::now() + IDLE);
                continue;
            }
            ready = listener.readable() => ready?,
            () = idle => return Ok(()),
        };
        match fdpass::accept(listener.as_fd()) {
            Ok(connection) => {
                let (shared, told) = (Arc::clone(&shared), Arc::clone(&told));
                // Ends with the daemon, or with this process.
                tokio::spawn(async move {
                    // A daemon that says what is no request is left.
                    let _ = converse(connection, &shared, &told).await;
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            // It went away again, or there is no descriptor left: the next one may have more luck.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn converse(connection: OwnedFd, shared: &Arc<Shared>, told: &Told) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&connection, true)?;
    #[allow(deprecated)]
    let connection = AsyncFd::new(connection)?;
    let mut buffer = vec![0; LONGEST];
    loop {
        let mut ready = connection.readable().await?;
        let received = match fdpass::recv(connection.as_fd(), &mut buffer, Wait::Never) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.clear_ready();
                continue;
            }
            received => received?,
        };
        if received.length == 0 {
            return Ok(());
        }
        let request: Request = serde_json::from_slice(&buffer[..received.length])?;
        let ends = request == Request::Quit;
        let answer = match act(request, received.descriptors, shared) {
            Ok((answer, closing)) => {
                for task in closing {
                    // Its sockets are closed once it is gone, however it ended.
                    let _ = task.await;
                }
                answer
            }
            Err(error) => Answer::Refused {
                sentence: error.to_string(),
            },
        };
        told.changed.notify_one();
        let text = serde_json::to_vec(&answer)?;
        fdpass::send(connection.as_fd(), &[IoSlice::new(&text)], &[], Wait::Never)?;
        if ends {
            told.over.notify_one();
            return Ok(());
        }
    }
}

/// Does what a daemon asks for. The answer holds once the tasks have ended.
fn act(
    request: Request,
    descriptors: Vec<OwnedFd>,
    shared: &Arc<Shared>,
) -> io::Result<(Answer, Vec<JoinHandle<()>>)> {
    let mut listening = false;
    let mut closing = Vec::new();
    match request {
        Request::Hello { .. } => {
            return Ok((Answer::Welcome { version: VERSION }, closing));
        }
        Request::Put {
            generation,
            container,
        } => {
            let id = container.id.clone();
            if let Ok([datagrams, streams]) = <[OwnedFd; 2]>::try_from(descriptors) {
                listen(&id, datagrams, streams, shared)?;
            }
            shared.table().put(generation, container);
            listening = shared.ears().contains_key(&id);
        }
        Request::Drop { id } => shared.forget(&id),
        Request::Open {
            generation,
            id,
            target,
            doors,
        } => shared
            .doors()
            .open((generation, &id), target, &doors, descriptors)?,
        Request::Lead {
            generation,
            id,
            target,
            print,
        } => listening = shared.doors().lead((generation, &id), target, print),
        Request::Close { id } => closing = shared.doors().close(&id),
        Request::Sweep { generation } => {
            let others = shared.table().others(generation);
            others.iter().for_each(|id| shared.forget(id));
            closing = shared.doors().sweep(generation);
        }
        Request::Quit => {}
    }
    Ok((Answer::Done { listening }, closing))
}

/// Serves a container at these sockets, in place of others that it may have.
fn listen(id: &str, datagrams: OwnedFd, streams: OwnedFd, shared: &Arc<Shared>) -> io::Result<()> {
    let datagrams = UdpSocket::from(datagrams);
    let streams = TcpListener::from(streams);
    datagrams.set_nonblocking(true)?;
    streams.set_nonblocking(true)?;
    let datagrams = tokio::net::UdpSocket::from_std(datagrams)?;
    let streams = tokio::net::TcpListener::from_std(streams)?;
    let asker = ask::Asker::new(id, Arc::clone(shared));
    // They end when the container is forgotten.
    let tasks = vec![
        tokio::spawn(ask::datagrams(asker.clone(), datagrams)).abort_handle(),
        tokio::spawn(ask::streams(asker, streams)).abort_handle(),
    ];
    for task in shared
        .ears()
        .insert(id.to_owned(), tasks)
        .into_iter()
        .flatten()
    {
        task.abort();
    }
    Ok(())
}
