//! What daemons say.

use std::io::{self, IoSlice};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use sys::fdpass::{self, Wait};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::{Shared, ask};
use crate::protocol::{Answer, LONGEST, Request, VERSION};

/// Serves daemons until one says that this is over.
pub(super) async fn serve(listener: OwnedFd, shared: Arc<Shared>) -> io::Result<()> {
    // The newer constructor is unsafe; what it asks for holds: each keeps one descriptor for its life.
    #[allow(deprecated)]
    let listener = AsyncFd::new(listener)?;
    let over = Arc::new(Notify::new());
    loop {
        let mut ready = tokio::select! {
            () = over.notified() => return Ok(()),
            ready = listener.readable() => ready?,
        };
        match fdpass::accept(listener.as_fd()) {
            Ok(connection) => {
                let (shared, over) = (Arc::clone(&shared), Arc::clone(&over));
                // Ends with the daemon, or with this process.
                tokio::spawn(async move {
                    // A daemon that says what is no request is left.
                    let _ = converse(connection, &shared, &over).await;
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            // It went away again, or there is no descriptor left: the next one may have more luck.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn converse(connection: OwnedFd, shared: &Arc<Shared>, over: &Notify) -> io::Result<()> {
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
            Ok(answer) => answer,
            Err(error) => Answer::Refused {
                sentence: error.to_string(),
            },
        };
        let text = serde_json::to_vec(&answer)?;
        fdpass::send(connection.as_fd(), &[IoSlice::new(&text)], &[], Wait::Never)?;
        if ends {
            over.notify_one();
            return Ok(());
        }
    }
}

/// Does what a daemon asks for.
fn act(request: Request, descriptors: Vec<OwnedFd>, shared: &Arc<Shared>) -> io::Result<Answer> {
    let mut listening = false;
    match request {
        Request::Hello { .. } => return Ok(Answer::Welcome { version: VERSION }),
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
        Request::Sweep { generation } => {
            let others = shared.table().others(generation);
            others.iter().for_each(|id| shared.forget(id));
        }
        Request::Quit => {}
    }
    Ok(Answer::Done { listening })
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
