//! What happened: kept in the store by the transaction that made it true, told to listeners once memory shows it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api_types::{Actor, Event};
use rusqlite::Connection;
use tokio::sync::{Notify, broadcast, mpsc};

use crate::clock;
use crate::engine::Engine;
use crate::filters::Filters;
use crate::options::{EventStream, EventsOptions};
use crate::outcome::{EngineError, Result};
use crate::store::{Durability, rows};

/// Events that a slow listener may be behind before it loses some.
const BACKLOG: usize = 1024;
/// Events that wait in a listener's own channel.
const CHANNEL: usize = 64;
/// Events of the history that are read at a time.
const PAGE: usize = 128;

/// An event with its place in the store's order.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    pub(crate) sequence: i64,
    pub(crate) event: Arc<Event>,
}

/// Distributes committed events, in the order of their commits.
///
/// Requests are answered from memory, which follows a commit when whoever asked for it hears of it. A listener that is
/// told earlier would ask, and be shown what was before: a container that runs after its end. So events wait until then.
pub(crate) struct Hub {
    sender: broadcast::Sender<Numbered>,
    /// What is committed and not told yet.
    committed: Mutex<VecDeque<Committed>>,
    /// Told when the first of these may be ready.
    ready: Notify,
}

/// The events of one commit.
struct Committed {
    told: Vec<Numbered>,
    shown: Arc<AtomicBool>,
}

impl Hub {
    pub(crate) fn new() -> Hub {
        Hub {
            sender: broadcast::channel(BACKLOG).0,
            committed: Mutex::default(),
            ready: Notify::new(),
        }
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    fn committed(&self) -> MutexGuard<'_, VecDeque<Committed>> {
        self.committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the events of a commit, from the store's thread.
    fn take(&self, told: Vec<Numbered>, shown: Arc<AtomicBool>) {
        if told.is_empty() || self.listeners() == 0 {
            return;
        }
        let mut committed = self.committed();
        committed.push_back(Committed {
            told,
            shown: Arc::clone(&shown),
        });
        drop(committed);
        // Who asked for it has gone, or there is nothing to show.
        if shown.load(Ordering::SeqCst) {
            self.ready.notify_one();
        }
    }

    /// Tells what is ready, for ever. One task with the daemon's others on one thread: what whoever asked for a commit
    /// does to memory without waiting for anything, as soon as he hears of it, is done before.
    async fn tell(&self) {
        loop {
            self.ready.notified().await;
            let next = || {
                let mut committed = self.committed();
                let first = committed.front()?;
                first.shown.load(Ordering::SeqCst).then_some(())?;
                committed.pop_front()
            };
            for event in std::iter::from_fn(next).flat_map(|committed| committed.told) {
                // Nobody listening is no error.
                let _ = self.sender.send(event);
            }
        }
    }
}

/// Held by whoever asks for a commit, until memory follows it or he goes.
pub(crate) struct Showing {
    hub: Arc<Hub>,
    shown: Arc<AtomicBool>,
}

impl Showing {
    fn new(hub: &Arc<Hub>) -> Showing {
        Showing {
            hub: Arc::clone(hub),
            shown: Arc::default(),
        }
    }
}

impl Drop for Showing {
    fn drop(&mut self) {
        self.shown.store(true, Ordering::SeqCst);
        // What is not there yet is looked at when it comes.
        if !self.hub.committed().is_empty() {
            self.hub.ready.notify_one();
        }
    }
}

/// Makes an event of now.
pub(crate) fn event(
    kind: &str,
    action: impl Into<String>,
    id: impl Into<String>,
    attributes: BTreeMap<String, String>,
) -> Event {
    let now = clock::now();
    at(now, kind, action, id, attributes)
}

/// The event of a prune that is over, with the bytes that it won.
pub(crate) fn pruned(kind: &str, reclaimed: u64) -> Event {
    let attributes = [("reclaimed".to_owned(), reclaimed.to_string())];
    event(kind, "prune", "", attributes.into())
}

/// Makes an event of a given time, nanoseconds since 1970.
pub(crate) fn at(
    time: i64,
    kind: &str,
    action: impl Into<String>,
    id: impl Into<String>,
    attributes: BTreeMap<String, String>,
) -> Event {
    Event {
        kind: kind.to_owned(),
        action: action.into(),
        actor: Actor {
            id: id.into(),
            attributes,
        },
        scope: "local".to_owned(),
        time: time / 1_000_000_000,
        time_nano: time,
    }
}

/// Writes events inside a transaction.
fn record(connection: &Connection, events: Vec<Event>) -> Result<Vec<Numbered>> {
    let mut numbered = Vec::with_capacity(events.len());
    for event in events {
        let doc = rows::to_json("an event", &event)?;
        let sequence = rows::events::insert(connection, event.time_nano, &doc)?;
        numbered.push(Numbered {
            sequence,
            event: Arc::new(event),
        });
    }
    Ok(numbered)
}

impl Engine {
    /// Commits a change together with the events that tell of it; listeners hear them in the order of commits, and only
    /// when the caller has had the time to change what is in memory: he does so before he waits for anything else.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        durability: Durability,
        events: Vec<Event>,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.commit_showing(durability, events, work).await?.0)
    }

    /// The same for a caller who has to wait for something before what he tells is so: listeners hear of it when he lets
    /// the second part go.
    pub(crate) async fn commit_showing<T: Send + 'static>(
        &self,
        durability: Durability,
        events: Vec<Event>,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<(T, Showing)> {
        let showing = Showing::new(self.hub());
        let (recorded, after) = self.with_events(events, Arc::clone(&showing.shown), work);
        let done = self.store().write(durability, recorded, after).await?.0;
        Ok((done, showing))
    }

    #[allow(clippy::type_complexity, reason = "two closures that belong together")]
    fn with_events<T: Send + 'static>(
        &self,
        events: Vec<Event>,
        shown: Arc<AtomicBool>,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> (
        impl FnOnce(&Connection) -> Result<(T, Vec<Numbered>)> + Send + 'static,
        impl FnOnce(&mut (T, Vec<Numbered>)) + Send + 'static,
    ) {
        let hub = Arc::clone(self.hub());
        (
            move |connection: &Connection| Ok((work(connection)?, record(connection, events)?)),
            move |outcome: &mut (T, Vec<Numbered>)| hub.take(std::mem::take(&mut outcome.1), shown),
        )
    }

    /// Records an event that changes nothing else, without waiting for its commit.
    pub(crate) fn tell_later(&self, event: Event) {
        let shown = Arc::new(AtomicBool::new(true));
        let (recorded, after) = self.with_events(vec![event], shown, |_| Ok(()));
        self.store().write_later(recorded, after);
    }

    /// One task: ends with the engine.
    pub(crate) fn tell_events(&self) {
        let hub = Arc::clone(self.hub());
        let closing = self.closing();
        tokio::spawn(async move {
            tokio::select! {
                () = hub.tell() => {}
                () = closing => {}
            }
        });
    }

    /// Follows events: first the history from `since`, then what comes, without a gap or a repetition.
    pub async fn events(&self, options: EventsOptions) -> Result<EventStream> {
        check_window(options.since, options.until)?;
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let listener = Listener {
            engine: self.clone(),
            live: self.hub().sender.subscribe(),
            last: 0,
            sender,
            options,
        };
        let history = match listener.options.since {
            Some(_) => Some(listener.page().await?),
            None => None,
        };
        let closing = self.closing();
        // Ends when the client goes (the channel closes), at `until`, or with the engine.
        tokio::spawn(async move {
            tokio::select! {
                () = listener.run(history) => {}
                () = closing => {}
            }
        });
        Ok(receiver)
    }
}

/// Sequences and documents.
type Page = Vec<(i64, String)>;

/// One who follows events.
struct Listener {
    engine: Engine,
    options: EventsOptions,
    live: broadcast::Receiver<Numbered>,
    /// The last event that was looked at; 0 for none.
    last: i64,
    sender: mpsc::Sender<Event>,
}

/// Nothing more is to be told.
struct Over;

impl Listener {
    /// What the store has next.
    async fn page(&self) -> Result<Page> {
        let (after, since) = (self.last, self.options.since.unwrap_or(0));
        self.engine
            .store()
            .read(move |connection| rows::events::page(connection, after, since, PAGE))
            .await
    }

    async fn run(mut self, history: Option<Page>) {
        let end = self.options.until.map(|until| {
            let left = Duration::from_nanos((until - clock::now()).max(0).unsigned_abs());
            tokio::time::Instant::now() + left
        });
        if let Some(page) = history
            && self.catch_up(page).await.is_err()
        {
            return;
        }
        let end = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.follow() => {}
            () = end => {}
        }
    }

    /// Tells this page of the history and all that follow: a few documents at a time are held and read, and others are
    /// served in between.
    async fn catch_up(&mut self, mut page: Page) -> std::result::Result<(), Over> {
        loop {
            let is_last = page.len() < PAGE;
            for (sequence, doc) in page {
                self.last = sequence;
                let Ok(event) = rows::from_json::<Event>("an event", &doc) else {
                    continue;
                };
                let until = self.options.until;
                if until.is_some_and(|until| event.time_nano > until) {
                    return Err(Over);
                }
                if matches(&self.options.filters, &event) {
                    self.sender.send(event).await.map_err(|_| Over)?;
                }
            }
            if is_last {
                return Ok(());
            }
            if self.sender.is_closed() {
                return Err(Over);
            }
            page = self.page().await.map_err(|error| {
                tracing::warn!(%error, "the history of events can not be read on");
                Over
            })?;
        }
    }

    /// Tells what happens.
    async fn follow(&mut self) -> std::result::Result<(), Over> {
        loop {
            let received = tokio::select! {
                received = self.live.recv() => received,
                () = self.sender.closed() => return Err(Over),
            };
            match received {
                Ok(told) if told.sequence > self.last => {
                    self.last = told.sequence;
                    if matches(&self.options.filters, &told.event) {
                        let event = (*told.event).clone();
                        self.sender.send(event).await.map_err(|_| Over)?;
                    }
                }
                Ok(_) => {}
                // The store has what this listener was too slow for.
                Err(broadcast::error::RecvError::Lagged(_)) if self.last > 0 => {
                    let page = self.page().await.map_err(|_| Over)?;
                    self.catch_up(page).await?;
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "a listener of events was too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return Err(Over),
            }
        }
    }
}

/// Whether an event passes docker's filters.
fn matches(filters: &Filters, event: &Event) -> bool {
    let attributes = &event.actor.attributes;
    // `exec_start: cmd` is found by `exec_start`.
    let action = event.action.split(':').next().unwrap_or_default();
    // As docker: whatever has an id or a name that begins so.
    let named = |kind: &str| {
        filters.any(kind, |wanted| {
            event.actor.id.starts_with(wanted)
                || attributes
                    .get("name")
                    .is_some_and(|name| name.starts_with(wanted))
        })
    };
    let image = |wanted: &str| {
        let is = |have: &str| have == wanted || have.split([':', '@']).next() == Some(wanted);
        match event.kind.as_str() {
            "image" => is(&event.actor.id) || attributes.get("name").is_some_and(|name| is(name)),
            _ => attributes.get("image").is_some_and(|name| is(name)),
        }
    };
    filters.any("type", |wanted| event.kind == wanted)
        && filters.any("event", |wanted| action == wanted || event.action == wanted)
        && filters.any("scope", |wanted| event.scope == wanted)
        && ["container", "volume", "network", "daemon"]
            .into_iter()
            .all(named)
        && filters.any("image", image)
        && filters.labels_match(attributes)
        && !["config", "node", "plugin", "secret", "service"]
            .iter()
            .any(|kind| filters.has(kind))
}

/// Refuses a time window that ends before it begins.
fn check_window(since: Option<i64>, until: Option<i64>) -> Result<()> {
    match (since, until) {
        (Some(since), Some(until)) if since > until => Err(EngineError::invalid(
            "`since` time cannot be after `until` time",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(sequence: i64) -> Vec<Numbered> {
        let event = Arc::new(event("container", "die", "abc", BTreeMap::new()));
        vec![Numbered { sequence, event }]
    }

    #[tokio::test]
    async fn nothing_is_told_before_it_is_shown_nor_out_of_order() {
        let hub = Arc::new(Hub::new());
        let mut live = hub.sender.subscribe();
        let telling = Arc::clone(&hub);
        tokio::spawn(async move { telling.tell().await });
        let [first, second, gone] = [(); 3].map(|()| Showing::new(&hub));
        let marks = [&first, &second, &gone].map(|showing| Arc::clone(&showing.shown));
        drop(gone);
        for (mark, sequence) in marks.into_iter().zip(1..) {
            hub.take(numbered(sequence), mark);
        }
        let quiet = async |live: &mut broadcast::Receiver<Numbered>| {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            live.try_recv().is_err()
        };
        assert!(
            quiet(&mut live).await,
            "nothing is shown but what comes last"
        );
        drop(second);
        assert!(quiet(&mut live).await, "the first is not shown");
        drop(first);
        for sequence in 1..4 {
            assert_eq!(live.recv().await.unwrap().sequence, sequence);
        }
        assert!(hub.committed().is_empty());
    }

    #[test]
    fn filters_choose_events() {
        let attributes = BTreeMap::from([
            ("name".to_owned(), "web".to_owned()),
            ("image".to_owned(), "nginx:1".to_owned()),
        ]);
        let event = event("container", "exec_start: sh", "abcdef", attributes);
        let check = |key: &str, value: &str| {
            let mut filters = Filters::default();
            filters.add(key, value);
            matches(&filters, &event)
        };
        assert!(
            check("event", "exec_start") && check("container", "web") && check("container", "abc")
        );
        assert!(check("image", "nginx") && check("image", "nginx:1") && check("label", "name=web"));
        assert!(check("container", "we") && !check("container", "eb"));
        assert!(!check("type", "image") && !check("event", "die") && !check("image", "ngin"));
    }
}
