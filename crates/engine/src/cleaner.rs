//! What follows a removal and nobody waits for: folders, control groups, sockets. Driven by tombstones, so that a
//! crash only delays it.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::Engine;
use crate::outcome::{EngineError, Result};
use crate::store::TombstoneRow;

/// Tombstones that may wait; a remover waits beyond that.
const QUEUE: usize = 256;

/// How long cleaning gives way.
const POLITENESS: Duration = Duration::from_millis(4);
/// With so many jobs it does not.
const CROWD: u64 = 8;

/// Kinds of tombstones.
pub(crate) const CONTAINER: &str = "container";
pub(crate) const VOLUME: &str = "volume";
pub(crate) const NETWORK: &str = "network";

/// Something to clean, with what must be let go before.
pub(crate) struct Job {
    pub(crate) tombstone: TombstoneRow,
    /// Tells the shim to let go of the root and to end.
    pub(crate) release: Option<Box<dyn FnOnce() + Send>>,
    /// Held until it is clean.
    pub(crate) held: Option<tokio::sync::OwnedRwLockReadGuard<()>>,
}

/// Handle to the cleaning thread.
pub(crate) struct Cleaner {
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    inbox: Mutex<Option<Receiver<Job>>>,
    waiting: AtomicU64,
}

impl Cleaner {
    /// A cleaner whose thread is not started yet; jobs wait.
    pub(crate) fn new() -> Cleaner {
        let (jobs, inbox) = sync_channel(QUEUE);
        Cleaner {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(None),
            inbox: Mutex::new(Some(inbox)),
            waiting: AtomicU64::new(0),
        }
    }

    /// Counts jobs that will be queued, so that nobody finds everything clean in between.
    pub(crate) fn announce(&self, count: usize) {
        self.waiting.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Queues an announced job unless the queue is full. Once the engine closes the tombstone stays in the store, and
    /// the next daemon finds it.
    pub(crate) fn try_queue(&self, job: Job) -> std::result::Result<(), Box<Job>> {
        match self.sender().map(|jobs| jobs.try_send(job)) {
            Some(Err(TrySendError::Full(job))) => Err(Box::new(job)),
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Disconnected(_))) | None => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Queues an announced job; waits while the queue is full.
    pub(crate) fn queue(&self, job: Job) {
        if self.sender().is_none_or(|jobs| jobs.send(job).is_err()) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn sender(&self) -> Option<SyncSender<Job>> {
        self.jobs.lock().ok().and_then(|jobs| jobs.clone())
    }

    /// Jobs that are not done yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Ends the thread after what is queued.
    pub(crate) fn drain(&self) {
        if let Ok(mut jobs) = self.jobs.lock() {
            jobs.take();
        }
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Engine {
    /// Starts the thread, which ends when the engine drains it.
    pub(crate) fn start_cleaner(&self) -> Result<()> {
        let cleaner = &self.inner().cleaner;
        let Some(inbox) = cleaner.inbox.lock().ok().and_then(|mut inbox| inbox.take()) else {
            return Ok(());
        };
        // A handle of its own would keep the engine alive for ever: the thread ends with `drain`.
        let engine = self.clone();
        let thread = std::thread::Builder::new()
            .name("cleaner".to_owned())
            .spawn(move || {
                for job in inbox {
                    // Whoever was told that a container is gone has work to do now: cleaning gives way, unless it
                    // falls behind or the engine closes.
                    let cleaner = &engine.inner().cleaner;
                    if cleaner.waiting() < CROWD && cleaner.sender().is_some() {
                        std::thread::sleep(POLITENESS);
                    }
                    if let Some(release) = job.release {
                        release();
                    }
                    engine.clean(&job.tombstone);
                    drop(job.held);
                    engine
                        .inner()
                        .cleaner
                        .waiting
                        .fetch_sub(1, Ordering::Relaxed);
                }
            })
            .map_err(EngineError::io("start the cleaner's thread"))?;
        if let Ok(mut slot) = cleaner.thread.lock() {
            *slot = Some(thread);
        }
        Ok(())
    }

    /// Cleans what a tombstone stands for, and removes it. A failure leaves the tombstone for the next start.
    pub(crate) fn clean(&self, tombstone: &TombstoneRow) {
        let outcome = match tombstone.kind.as_str() {
            CONTAINER => self.clean_container(&tombstone.key),
            VOLUME => self.clean_volume(tombstone),
            NETWORK => self.clean_network(tombstone),
            other => {
                tracing::warn!(kind = other, "a tombstone of an unknown kind is left alone");
                return;
            }
        };
        match outcome {
            Ok(()) => {
                let sequence = tombstone.sequence;
                self.store().write_later(
                    move |connection| TombstoneRow::delete(connection, sequence),
                    |()| (),
                );
            }
            Err(error) => {
                tracing::warn!(%error, kind = tombstone.kind, key = tombstone.key, "cleaning failed; it is tried again at the next start")
            }
        }
    }

    /// Removes what is left of a container: its processes, groups, sockets and files.
    pub(crate) fn clean_container(&self, id: &str) -> Result<()> {
        self.remove_group(id)?;
        remove_tree(&self.paths().shims().join(id))?;
        let folder = self.paths().containers().join(id);
        let grave = self.paths().tombstones().join(id);
        match fs::rename(&folder, &grave) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(EngineError::io(format!("move {} away", folder.display()))(
                    error,
                ));
            }
        }
        remove_tree(&grave)
    }
}

/// Removes a folder with everything in it; that it is not there is no error.
pub(crate) fn remove_tree(path: &std::path::Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let parent = crate::paths::open_folder(parent)?;
    use std::os::fd::AsFd;
    match sys::beneath::tree::remove(parent.as_fd(), name) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(EngineError::io(format!("remove {}", path.display()))(error)),
    }
}
