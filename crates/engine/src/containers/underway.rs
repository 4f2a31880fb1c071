//! A start under way: how it is given up, and how one that nobody will know of is undone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use shim::protocol::{EventKind, Message, Request, StopRequest};
use shim::{ShimConn, ShimError};
use tokio::sync::{MutexGuard, Notify};
use tokio::task::JoinHandle;

use super::launch::Launched;
use super::registry::Container;
use crate::engine::Engine;
use crate::networks::places;
use crate::outcome::Result;

/// How long what needs a container that runs waits for its start.
pub(crate) const START: Duration = Duration::from_secs(10);
/// How long what only looks waits for it.
pub(crate) const GLANCE: Duration = Duration::from_millis(300);
/// How long the shim of a start that is undone may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A start that has not come to its end yet.
#[derive(Debug, Default)]
pub(crate) struct Underway {
    given_up: AtomicBool,
    told: Notify,
    /// The shim that was asked, once one was.
    shim: Mutex<Option<Arc<ShimConn>>>,
}

impl Underway {
    /// Whoever waits for the start waits no longer, and its shim, if there is one by now, ends the process that has
    /// not reached its program.
    fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        self.told.notify_one();
        let shim = self.shim.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shim) = &*shim {
            kill(shim);
        }
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Ready when it is given up; for one waiter.
    pub(crate) async fn given_up(&self) {
        while !self.is_given_up() {
            self.told.notified().await;
        }
    }

    /// A shim has the launch.
    pub(crate) fn asked(&self, connection: &Arc<ShimConn>) {
        let mut shim = self.shim.lock().unwrap_or_else(PoisonError::into_inner);
        *shim = Some(Arc::clone(connection));
        if self.is_given_up() {
            kill(connection);
        }
    }
}

/// Asks a shim to end its container at once, and not to start it again.
fn kill(connection: &ShimConn) {
    let request = Request::Stop(StopRequest {
        signal: Some(9),
        grace: Some(0),
    });
    if let Err(error) = connection.send(&request, &[])
        && !matches!(error, ShimError::Closed)
    {
        tracing::debug!(%error, "a supervisor was not told that its start is given up");
    }
}

/// The container's start under way, as long as this lives.
pub(crate) struct Begun<'a> {
    container: &'a Container,
    pub(crate) underway: Arc<Underway>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.container.set_underway(None);
    }
}

/// A start from its beginning until all know how it ended, as long as this lives.
pub(crate) struct Starting<'a>(&'a Container);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.starting.send_replace(false);
    }
}

impl Container {
    /// Lets others wait for the start that begins; the caller has the turn.
    pub(crate) fn starting(&self) -> Starting<'_> {
        self.starting.send_replace(true);
        Starting(self)
    }

    /// Waits until no start is under way. The program may have spoken before its start is written down: whoever has
    /// heard it must find a container that runs.
    pub(crate) async fn settled(&self) {
        if *self.starting.borrow() {
            // The sender lives as long as the container.
            let _ = self
                .starting
                .subscribe()
                .wait_for(|starting| !starting)
                .await;
        }
    }

    /// The same for those who shall not wait for a start that hangs.
    pub(crate) async fn settled_within(&self, patience: Duration) {
        if *self.starting.borrow() {
            let _ = tokio::time::timeout(patience, self.settled()).await;
        }
    }

    /// Notes that a start begins; the caller has the turn.
    pub(crate) fn begin(&self) -> Begun<'_> {
        let underway = Arc::default();
        self.set_underway(Some(Arc::clone(&underway)));
        Begun {
            container: self,
            underway,
        }
    }

    /// The turn, also from a start that does not end within `patience`: it is given up.
    pub(crate) async fn turn_within(&self, patience: Duration) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock();
        tokio::pin!(turn);
        loop {
            tokio::select! {
                biased;
                guard = &mut turn => return guard,
                () = tokio::time::sleep(patience) => {
                    if let Some(underway) = self.underway() {
                        underway.give_up();
                    }
                }
            }
        }
    }
}

impl Engine {
    /// Waits for a launch that was given up, and undoes it. A file system that hangs may delay that without end; a
    /// new start of the container waits for it, nobody else does.
    pub(crate) fn abandon(&self, container: &Arc<Container>, launch: JoinHandle<Result<Launched>>) {
        let Ok(guard) = Arc::clone(&container.retiring).try_lock_owned() else {
            // Can not be: the caller has the turn, and waited until nothing retires.
            return;
        };
        let (engine, container) = (self.clone(), Arc::clone(container));
        // Ends with the launch.
        tokio::spawn(async move {
            let _guard = guard;
            if let Ok(Ok(launched)) = launch.await {
                engine.undo(&container, launched).await;
            }
            if !container.progress.borrow().removed {
                return;
            }
            // The cleaner came before what hung let go.
            let cleaned = engine
                .blocking("clean", move |engine| {
                    engine.clean_container(container.id().as_str())
                })
                .await;
            if let Err(error) = cleaned {
                tracing::warn!(%error, "something of a start that was given up stays until the next start of the engine");
            }
        });
    }

    /// Ends a container that was started and of which nobody will know, with all that it got.
    pub(crate) async fn undo(&self, container: &Arc<Container>, launched: Launched) {
        let container = Arc::clone(container);
        let undone = self
            .blocking("undo a start", move |engine| {
                kill(&launched.connection);
                let group = engine.remove_group(container.id().as_str());
                if !ended(&launched.connection) {
                    tracing::warn!(
                        container = container.id().short(),
                        "the supervisor of a start that is undone does not end"
                    );
                }
                engine.leave_networks(&container, &launched.joined, launched.asks);
                if let Some(network) = &engine.inner().network {
                    if let Some(record) = &launched.endpoint {
                        let home = network::HOME;
                        network.release(&places::place_endpoint(&container, home, record));
                    }
                    network.unpublish(container.id())?;
                }
                engine.release_volumes(&container);
                crate::cleaner::remove_tree(&engine.paths().shim(container.id()))?;
                group
            })
            .await;
        if let Err(error) = undone {
            tracing::error!(%error, "something of a start that is undone could not be removed; the next start of the engine tries again");
        }
    }
}

/// Lets a shim go once its container ended, and waits until it is gone.
fn ended(connection: &ShimConn) -> bool {
    let deadline = Instant::now() + PATIENCE;
    if set_socket_timeout(connection, Timeout::Recv, Some(PATIENCE)).is_err() {
        return false;
    }
    while Instant::now() < deadline {
        match connection.recv_blocking().map(|delivery| delivery.message) {
            Ok(Message::Event(event))
                if matches!(
                    event.kind,
                    EventKind::Exited { .. } | EventKind::StartFailed { .. }
                ) =>
            {
                // One that is gone needs no word.
                let _ = connection.send(&Request::Release, &[]);
            }
            Ok(_) => {}
            Err(error) => return matches!(error, ShimError::Closed),
        }
    }
    false
}
