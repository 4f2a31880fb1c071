//! All containers in memory: a mirror of their rows that is read without waiting for anybody.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use shim::protocol::{Reply, Request};
use tokio::sync::watch;
use types::ContainerId;

use super::attach::Tickets;
use super::link::Link;
use super::record::{Run, Spec, Status};
use super::turn::Turn;
use super::underway::Underway;
use crate::networks::links;
use crate::outcome::{EngineError, Result};

/// How long a request waits for the next connection to a shim.
const RECONNECT: Duration = Duration::from_secs(5);

/// What `list` and `inspect` read: one moment of a container.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Without a slash.
    pub(crate) name: String,
    pub(crate) run: Arc<Run>,
}

/// What waiters look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How many times it ended since this daemon knows it.
    pub(crate) exits: u64,
    /// The status of the last end.
    pub(crate) exit_code: i64,
    /// It runs (waiting for its next start included).
    pub(crate) up: bool,
    /// It ended and a restart is due: for waiters that is not running.
    pub(crate) between_runs: bool,
    /// It is gone.
    pub(crate) removed: bool,
}

/// One container. The row in the store is the truth; `view` follows each commit.
pub(crate) struct Container {
    pub(crate) spec: Arc<Spec>,
    view: RwLock<Arc<View>>,
    /// Held by whoever changes the container on somebody's behalf: start, stop, remove. Not by readers, nor by what hears
    /// its shim: a stop waits for the end while it has the turn.
    pub(crate) turn: Turn,
    /// Held from reading the changing part until its change is committed: never while waiting for anything else.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Held while the former run's shim, groups and sockets go.
    pub(crate) retiring: Arc<tokio::sync::Mutex<()>>,
    /// The start that has the turn, while one has.
    underway: Mutex<Option<Arc<Underway>>>,
    /// Whether a start has the turn and is not written down yet.
    pub(super) starting: watch::Sender<bool>,
    /// The connection to its shim, while there is one.
    link: watch::Sender<Option<Arc<Link>>>,
    pub(crate) progress: watch::Sender<Progress>,
    /// Clients that are to be connected at the next start.
    pub(crate) tickets: Tickets,
    /// The root for the first start, where one was ready.
    prepared_root: Mutex<Option<OwnedFd>>,
    /// Somebody stops it: what is told of its end tells that, too.
    pub(super) stopping: AtomicBool,
    /// Whether anybody was ever attached to its output.
    pub(super) listened: Arc<AtomicBool>,
    /// Its next end is that of a restart: it stays, even with `--rm`.
    pub(crate) keep: AtomicBool,
}

impl Container {
    pub(crate) fn new(spec: Spec, name: String, run: Run) -> Arc<Container> {
        let progress = Progress {
            exit_code: run.exit_code,
            up: run.status.is_up(),
            between_runs: run.status == Status::Restarting,
            ..Default::default()
        };
        Arc::new(Container {
            spec: Arc::new(spec),
            view: RwLock::new(Arc::new(View {
                name,
                run: Arc::new(run),
            })),
            turn: Turn::default(),
            writing: tokio::sync::Mutex::new(()),
            retiring: Arc::default(),
            underway: Mutex::new(None),
            starting: watch::Sender::new(false),
            link: watch::Sender::new(None),
            progress: watch::Sender::new(progress),
            tickets: Tickets::default(),
            prepared_root: Mutex::new(None),
            stopping: AtomicBool::new(false),
            listened: Arc::default(),
            keep: AtomicBool::new(false),
        })
    }

    /// Keeps a root for the first start, or with `None` takes it.
    pub(crate) fn swap_prepared_root(&self, root: Option<OwnedFd>) -> Option<OwnedFd> {
        let mut prepared = self
            .prepared_root
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *prepared, root)
    }

    pub(crate) fn id(&self) -> &ContainerId {
        &self.spec.id
    }

    /// The present moment.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn name(&self) -> String {
        self.view().name.clone()
    }

    pub(crate) fn run(&self) -> Arc<Run> {
        Arc::clone(&self.view().run)
    }

    /// Follows a committed change of the row.
    pub(crate) fn set_run(&self, run: Run) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        *view = Arc::new(View {
            name: view.name.clone(),
            run: Arc::new(run),
        });
    }

    /// Follows a committed change of the name.
    pub(crate) fn set_name(&self, name: String) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        *view = Arc::new(View {
            name,
            run: Arc::clone(&view.run),
        });
    }

    /// The start under way.
    pub(crate) fn underway(&self) -> Option<Arc<Underway>> {
        self.underway
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_underway(&self, underway: Option<Arc<Underway>>) {
        *self.underway.lock().unwrap_or_else(PoisonError::into_inner) = underway;
    }

    /// The connection to the shim; one that has ended while another is made.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }

    /// The connection to the shim of a container that runs.
    pub(crate) fn live_link(&self) -> Result<Arc<Link>> {
        match self.link() {
            Some(link) if self.run().status.is_up() => Ok(link),
            _ => Err(EngineError::NotRunning {
                id: self.spec.id.to_string(),
            }),
        }
    }

    /// That it runs, and whether it is paused; in docker's words otherwise.
    pub(crate) fn must_run(&self) -> Result<Status> {
        match self.run().status {
            status @ (Status::Running | Status::Paused) => Ok(status),
            Status::Restarting => Err(EngineError::conflict(format!(
                "Container {} is restarting, wait until the container is running",
                self.id()
            ))),
            Status::Created | Status::Exited => Err(EngineError::NotRunning {
                id: self.id().to_string(),
            }),
        }
    }

    /// Tells when another connection to the shim is made, or the last one taken away.
    pub(crate) fn links(&self) -> watch::Receiver<Option<Arc<Link>>> {
        self.link.subscribe()
    }

    /// Whether this connection is the present one.
    pub(crate) fn is_linked_to(&self, link: &Arc<Link>) -> bool {
        self.link()
            .is_some_and(|present| Arc::ptr_eq(&present, link))
    }

    /// Ready when nothing of the former run is left.
    pub(crate) async fn retired(&self) {
        drop(self.retiring.lock().await);
    }

    pub(crate) fn set_link(&self, link: Option<Arc<Link>>) -> Option<Arc<Link>> {
        self.link.send_replace(link)
    }

    /// Puts another connection to the same shim in the place of one that has ended; false when that is not the present
    /// one any more.
    pub(crate) fn relink(&self, ended: &Arc<Link>, link: &Arc<Link>) -> bool {
        self.link.send_if_modified(|present| {
            let is_ours = present
                .as_ref()
                .is_some_and(|present| Arc::ptr_eq(present, ended));
            if is_ours {
                *present = Some(Arc::clone(link));
            }
            is_ours
        })
    }

    /// Asks the shim, over the next connection if the present one ends before the answer: for requests that do no harm
    /// when they are made twice.
    ///
    /// # Errors
    /// [`EngineError::NotRunning`]; otherwise as [`Link::ask`].
    pub(crate) async fn ask(&self, request: &Request) -> Result<Reply> {
        let mut links = self.links();
        loop {
            links.mark_unchanged();
            match self.live_link()?.ask(request, &[]).await {
                // The sender lives in the container.
                Err(EngineError::Shim { source })
                    if source.is_disconnected()
                        && tokio::time::timeout(RECONNECT, links.changed())
                            .await
                            .is_ok() => {}
                outcome => return outcome,
            }
        }
    }
}

/// Names that are taken by a create in progress or by a container.
#[derive(Default)]
struct Index {
    by_id: HashMap<ContainerId, Arc<Container>>,
    names: HashMap<String, ContainerId>,
}

/// The containers of one engine.
#[derive(Default)]
pub(crate) struct Registry {
    index: Mutex<Index>,
}

impl Registry {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a container that is being made.
    ///
    /// # Errors
    /// [`EngineError::NameInUse`].
    pub(crate) fn reserve(&self, name: &str, id: &ContainerId) -> Result<()> {
        let mut index = self.index();
        if let Some(holder) = index.names.get(name) {
            return Err(EngineError::NameInUse {
                name: name.to_owned(),
                holder: holder.to_string(),
            });
        }
        index.names.insert(name.to_owned(), id.clone());
        Ok(())
    }

    /// Gives a name back.
    pub(crate) fn release(&self, name: &str, id: &ContainerId) {
        let mut index = self.index();
        if index.names.get(name) == Some(id) {
            index.names.remove(name);
        }
    }

    /// Adds a container whose name is reserved.
    pub(crate) fn add(&self, container: Arc<Container>) {
        let mut index = self.index();
        index.names.insert(container.name(), container.id().clone());
        index.by_id.insert(container.id().clone(), container);
    }

    /// Removes a container and frees its name.
    pub(crate) fn remove(&self, container: &Container) {
        let mut index = self.index();
        index.by_id.remove(container.id());
        index.names.retain(|_, holder| holder != container.id());
    }

    /// All containers, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.index().by_id.values().cloned().collect()
    }

    /// Finds by full id, by name, or by a prefix of the id that only one has.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`] or [`EngineError::Ambiguous`].
    pub(crate) fn find(&self, wanted: &str) -> Result<Arc<Container>> {
        let missing = || EngineError::NoSuchContainer {
            name: wanted.to_owned(),
        };
        let index = self.index();
        if let Ok(id) = wanted.parse::<ContainerId>()
            && let Some(container) = index.by_id.get(&id)
        {
            return Ok(Arc::clone(container));
        }
        let name = wanted.strip_prefix('/').unwrap_or(wanted);
        if let Some(container) = index.names.get(name).and_then(|id| index.by_id.get(id)) {
            return Ok(Arc::clone(container));
        }
        // Such a name is another container's for this one: `SELF/ALIAS`.
        if let Some((other, alias)) = links::split(name) {
            let holder = index.names.get(other).and_then(|id| index.by_id.get(id));
            let linked = holder
                .and_then(|holder| links::target(holder, alias)?.parse().ok())
                .and_then(|id: ContainerId| index.by_id.get(&id));
            return linked.map(Arc::clone).ok_or_else(missing);
        }
        if wanted.is_empty() || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let mut found = index
            .by_id
            .iter()
            .filter(|(id, _)| id.as_str().starts_with(wanted))
            .map(|(_, container)| container);
        match (found.next(), found.next()) {
            (Some(container), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => Err(EngineError::Ambiguous {
                prefix: wanted.to_owned(),
            }),
            (None, _) => Err(missing()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, name: &str) -> Arc<Container> {
        let id: ContainerId = format!("{id:0<64}").parse().unwrap();
        let spec = Spec::new(
            id,
            1,
            String::new(),
            Default::default(),
            Default::default(),
            Default::default(),
            vec![],
            vec![],
            vec![],
        );
        Container::new(spec, name.to_owned(), Run::new())
    }

    #[test]
    fn containers_are_found_by_name_id_and_prefix() {
        let registry = Registry::default();
        registry.add(container("abc1", "web"));
        registry.add(container("abd2", "abc"));
        assert_eq!(registry.find("web").unwrap().name(), "web");
        assert_eq!(registry.find("/web").unwrap().name(), "web");
        assert_eq!(registry.find("abc1").unwrap().name(), "web");
        assert_eq!(
            registry.find("abc").unwrap().name(),
            "abc",
            "a name goes before a prefix"
        );
        assert!(matches!(
            registry.find("ab"),
            Err(EngineError::Ambiguous { .. })
        ));
        assert!(matches!(
            registry.find("none"),
            Err(EngineError::NoSuchContainer { .. })
        ));
        assert!(matches!(
            registry.find(""),
            Err(EngineError::NoSuchContainer { .. })
        ));
    }

    #[test]
    fn a_name_has_one_holder() {
        let registry = Registry::default();
        let web = container("abc1", "web");
        registry.reserve("web", web.id()).unwrap();
        registry.add(Arc::clone(&web));
        let other: ContainerId = "f".repeat(64).parse().unwrap();
        let refused = registry.reserve("web", &other).unwrap_err().to_string();
        assert!(
            refused.starts_with(
                "Conflict. The container name \"/web\" is already in use by container \"abc1"
            ),
            "{refused}"
        );
        registry.remove(&web);
        registry.reserve("web", &other).unwrap();
    }
}
