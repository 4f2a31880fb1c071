//! Threads for what blocks: which kind of work may have how many of them.
//!
//! The pool has [`THREADS`]. What waits for others without a certain end, for a client that does not send or a file
//! system that does not answer, has so many places and no more; what only waits for the disk and the kernel has the
//! rest. So no kind of request can take the threads that another one needs.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Threads of the pool.
pub const THREADS: usize = 1024;

/// Archives that are read from clients.
const LOADS: usize = 32;
/// Archives that are written to clients.
const SAVES: usize = 32;
/// Copies into and out of containers.
const COPIES: usize = 32;
/// Layers that are unpacked.
const UNPACKS: usize = 32;
/// Execs whose container's files are looked into.
const EXECS: usize = 64;
/// Sources of binds that are looked for, and volumes that are unmounted.
const SOURCES: usize = 32;
/// Programs that list processes.
const TOPS: usize = 16;
/// Starts that go on; each has two threads.
const LAUNCHES: usize = 64;
/// Starts that hang.
const HANGING: usize = 256;
/// A start that takes longer hangs, or is of a busy machine, on which a few more make no difference.
const HANGS: Duration = Duration::from_secs(1);

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) loads: Kind,
    pub(crate) saves: Kind,
    pub(crate) copies: Kind,
    pub(crate) unpacks: Kind,
    pub(crate) execs: Kind,
    pub(crate) sources: Kind,
    pub(crate) tops: Kind,
    pub(crate) launches: Arc<Launches>,
}

impl Places {
    pub(crate) fn new() -> Places {
        Places {
            loads: Kind::new(LOADS),
            saves: Kind::new(SAVES),
            copies: Kind::new(COPIES),
            unpacks: Kind::new(UNPACKS),
            execs: Kind::new(EXECS),
            sources: Kind::new(SOURCES),
            tops: Kind::new(TOPS),
            launches: Arc::default(),
        }
    }
}

/// The places of one kind of work.
#[derive(Debug)]
pub(crate) struct Kind {
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// One place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    waiting: Arc<AtomicUsize>,
}

/// Somebody waits, as long as this lives.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Kind {
    fn new(places: usize) -> Kind {
        Kind {
            free: Arc::new(Semaphore::new(places)),
            waiting: Arc::default(),
        }
    }

    /// A place, if one is free now.
    pub(crate) fn try_take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.place(Some(permit)))
    }

    /// Waits for a place; first come, first served.
    pub(crate) async fn take(&self) -> Place {
        if let Some(place) = self.try_take() {
            return place;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        // Fails only when it is closed, which nobody does.
        self.place(Arc::clone(&self.free).acquire_owned().await.ok())
    }

    fn place(&self, permit: Option<OwnedSemaphorePermit>) -> Place {
        Place {
            _permit: permit,
            waiting: Arc::clone(&self.waiting),
        }
    }
}

impl Place {
    /// Whether somebody waits for a place of this kind.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// The turns of starts. One that hangs gives its turn up as soon as another one wants it, and goes on beside it; of
/// those there are so many at most.
#[derive(Debug, Default)]
pub(crate) struct Launches {
    state: Mutex<Underway>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Underway {
    next: u64,
    /// In the order of their beginnings.
    turns: BTreeMap<u64, Instant>,
    hanging: HashSet<u64>,
}

/// A start's turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    number: u64,
    launches: Arc<Launches>,
}

impl Launches {
    fn lock(&self) -> MutexGuard<'_, Underway> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn.
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        loop {
            let freed = self.freed.notified();
            let wait = match self.try_turn(Instant::now()) {
                Ok(turn) => return turn,
                Err(wait) => wait,
            };
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// A turn, or when to ask again.
    fn try_turn(self: &Arc<Self>, now: Instant) -> Result<Turn, Duration> {
        let mut underway = self.lock();
        let underway = &mut *underway;
        let mut wait = HANGS;
        while underway.turns.len() >= LAUNCHES
            && let Some(oldest) = underway.turns.first_entry()
        {
            let lasts = now.saturating_duration_since(*oldest.get());
            if lasts < HANGS {
                wait = HANGS - lasts;
                break;
            }
            if underway.hanging.len() >= HANGING {
                break;
            }
            underway.hanging.insert(*oldest.key());
            oldest.remove();
        }
        if underway.turns.len() >= LAUNCHES {
            return Err(wait);
        }
        let number = underway.next;
        underway.next += 1;
        underway.turns.insert(number, now);
        Ok(Turn {
            number,
            launches: Arc::clone(self),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut underway = self.launches.lock();
        if underway.turns.remove(&self.number).is_none() {
            underway.hanging.remove(&self.number);
        }
        drop(underway);
        self.launches.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_place_is_seen_by_those_that_have_one() {
        let kind = Kind::new(1);
        let first = kind.take().await;
        assert!(!first.is_wanted() && kind.try_take().is_none());
        let waits = kind.take();
        tokio::pin!(waits);
        tokio::select! {
            biased;
            _ = &mut waits => panic!("there is one place"),
            () = std::future::ready(()) => {}
        }
        assert!(first.is_wanted());
        drop(first);
        let second = waits.await;
        assert!(!second.is_wanted());
    }

    #[test]
    fn starts_that_hang_leave_their_turns_to_others() {
        let launches = Arc::<Launches>::default();
        let begin = Instant::now();
        let mut hang: Vec<_> = (0..LAUNCHES)
            .map(|_| launches.try_turn(begin).unwrap())
            .collect();
        let soon = begin + HANGS / 2;
        assert_eq!(launches.try_turn(soon).unwrap_err(), HANGS / 2);
        // So many may hang, and nobody waits for them.
        for number in 0..HANGING {
            let rounds = u32::try_from(number / LAUNCHES).unwrap();
            hang.push(launches.try_turn(begin + HANGS * (rounds + 1)).unwrap());
        }
        let later = begin + HANGS * 100;
        launches.try_turn(later).unwrap_err();
        // Of either kind, one that ends makes room.
        for number in [0, LAUNCHES + HANGING - 2] {
            drop(hang.remove(number));
            hang.push(launches.try_turn(later).unwrap());
            launches.try_turn(later).unwrap_err();
        }
        drop(hang);
        let underway = launches.lock();
        assert!(underway.turns.is_empty() && underway.hanging.is_empty());
    }

    #[tokio::test]
    async fn a_start_waits_for_the_end_of_another() {
        let launches = Arc::<Launches>::default();
        let mut turns: Vec<_> = (0..LAUNCHES)
            .map(|_| launches.try_turn(Instant::now() + HANGS * 100).unwrap())
            .collect();
        let waits = tokio::spawn({
            let launches = Arc::clone(&launches);
            async move { drop(launches.turn().await) }
        });
        tokio::task::yield_now().await;
        turns.pop();
        waits.await.unwrap();
    }
}
