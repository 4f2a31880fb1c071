//! The daemon's side of one container's shim: requests by number, events in order.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shim::protocol::{Answer, Event, Message, Refusal, Reply, Request};
use shim::{ShimConn, ShimError};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use types::ContainerId;

use crate::outcome::{EngineError, Result};

/// The longest wait for a shim's answer; one that does not answer is stuck or stopped.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest wait for a shim to let go: it unmounts the root, which may write to a busy disk.
const RELEASE: Duration = Duration::from_secs(10);

/// The longest wait for clients of a shim that has let go.
const CLIENTS: Duration = Duration::from_millis(300);

type Waiting = HashMap<u32, oneshot::Sender<std::result::Result<Reply, Refusal>>>;

/// What a shim will answer to one request.
pub(crate) type Answering = oneshot::Receiver<std::result::Result<Reply, Refusal>>;

/// A connection to a shim that runs its container.
pub(crate) struct Link {
    /// `None` for the place of a connection that could not be made yet.
    connection: Option<AsyncFd<Arc<ShimConn>>>,
    /// `None` once the connection has ended.
    waiting: Mutex<Option<Waiting>>,
}

impl Link {
    /// Takes a connection into the event loop.
    pub(crate) fn new(connection: impl Into<Arc<ShimConn>>) -> Result<Arc<Link>> {
        // The newer constructor is unsafe; what it asks for holds: a connection keeps one descriptor for its life.
        #[allow(deprecated)]
        let connection = AsyncFd::new(connection.into())
            .map_err(EngineError::io("watch the container's supervisor"))?;
        Ok(Arc::new(Link {
            connection: Some(connection),
            waiting: Mutex::new(Some(HashMap::new())),
        }))
    }

    /// Stands for a shim that lives and can not be reached: as a connection that has ended.
    pub(crate) fn absent() -> Arc<Link> {
        Arc::new(Link {
            connection: None,
            waiting: Mutex::new(None),
        })
    }

    fn connection(&self) -> std::result::Result<&AsyncFd<Arc<ShimConn>>, ShimError> {
        self.connection.as_ref().ok_or(ShimError::Closed)
    }

    /// Asks the shim and waits for its answer.
    ///
    /// # Errors
    /// [`EngineError::Shim`] when it refuses, is gone, or does not answer in time.
    pub(crate) async fn ask(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Reply> {
        let answer = async {
            let answer = self.submit(request, descriptors).await?;
            match answer.await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(refusal)) => Err(ShimError::from(refusal)),
                Err(_) => Err(ShimError::Closed),
            }
        };
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(outcome) => outcome.map_err(EngineError::from),
            Err(_) => Err(EngineError::ShimSilent {
                seconds: PATIENCE.as_secs(),
            }),
        }
    }

    /// Says something to which no answer is awaited. A shim that does not read, or whose connection has ended, is not told.
    pub(crate) fn tell(&self, request: &Request) {
        if let Some(connection) = &self.connection
            && let Err(error) = connection.get_ref().send(request, &[])
            && !matches!(error, ShimError::Closed)
        {
            tracing::debug!(%error, "a container's supervisor was not told something");
        }
    }

    /// Has the shim let go of the root and end, and waits a while for its end. One that has let go may live on for a
    /// client that does not read what it was sent, or keeps its side open: nobody waits for that.
    pub(crate) async fn release(&self, container: &ContainerId) {
        let asked = self.try_submit(&Request::Release, &[]);
        let let_go = async {
            match asked {
                Ok(answer) => drop(answer.await),
                Err(_) => std::future::pending().await,
            }
        };
        let gone = async { while self.next_event().await.is_some() {} };
        let ended = async {
            tokio::pin!(gone);
            tokio::select! {
                () = &mut gone => return,
                () = let_go => {}
            }
            let _ = tokio::time::timeout(CLIENTS, gone).await;
        };
        if tokio::time::timeout(RELEASE, ended).await.is_err() {
            let container = container.short();
            tracing::warn!(container, "a container's supervisor does not let go");
        }
    }

    /// Asks the shim of a new connection for nothing: once it has answered, everything that it tells comes over this
    /// connection, and what it told before is in its journal. Unlike [`Link::ask`] this may take any time.
    pub(crate) fn greet(&self, heard: u64) -> std::result::Result<Answering, ShimError> {
        self.try_submit(&Request::Acknowledge { sequence: heard }, &[])
    }

    async fn submit(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> std::result::Result<Answering, ShimError> {
        loop {
            match self.try_submit(request, descriptors) {
                Err(error) if error.would_block() => {
                    let mut ready =
                        self.connection()?
                            .writable()
                            .await
                            .map_err(|source| ShimError::Io {
                                action: "wait for the container's supervisor",
                                source,
                            })?;
                    ready.clear_ready();
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends under the lock of the waiting answers, so that an answer never arrives before its waiter.
    fn try_submit(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> std::result::Result<Answering, ShimError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.as_mut().ok_or(ShimError::Closed)?;
        let number = self.connection()?.get_ref().send(request, descriptors)?;
        let (answer, receiver) = oneshot::channel();
        waiting.insert(number, answer);
        Ok(receiver)
    }

    /// The shim's next event; answers go to whoever asked, and what only a newer release knows goes nowhere. `None`
    /// when the connection has ended, which says nothing about the shim.
    pub(crate) async fn next_event(&self) -> Option<Event> {
        loop {
            match self.next_message().await {
                Ok(Message::Event(event)) => return Some(event),
                Ok(Message::Answer(Answer { number, result })) => {
                    let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(answer) =
                        waiting.as_mut().and_then(|waiting| waiting.remove(&number))
                    {
                        // Whoever asked may have gone.
                        let _ = answer.send(result);
                    }
                }
                Err(error) if error.is_unknown_word() => {
                    tracing::debug!(%error, "a container's supervisor is of a newer release");
                }
                Err(error) => {
                    if !matches!(error, ShimError::Closed) {
                        tracing::warn!(%error, "the connection to a container's supervisor failed");
                    }
                    self.waiting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .take();
                    return None;
                }
            }
        }
    }

    async fn next_message(&self) -> std::result::Result<Message, ShimError> {
        let connection = self.connection()?;
        loop {
            match connection.get_ref().recv() {
                Err(error) if error.would_block() => {}
                outcome => return outcome.map(|delivery| delivery.message),
            }
            let mut ready = connection
                .readable()
                .await
                .map_err(|source| ShimError::Io {
                    action: "wait for the container's supervisor",
                    source,
                })?;
            // Only cleared when there is really nothing, or a message that came meanwhile would be forgotten.
            match connection.get_ref().recv() {
                Err(error) if error.would_block() => ready.clear_ready(),
                outcome => return outcome.map(|delivery| delivery.message),
            }
        }
    }
}
