//! What survives the daemon: one SQLite file, one writer thread.
//!
//! Transactions are closures, run in order by one thread, several in one commit when they wait together. A commit
//! that must survive a power cut says so ([`Durability::PowerCut`]) and is the only kind that costs an fsync; the
//! others survive a killed process. The log is folded into the file only when nobody has written for a while.

mod reserve;
pub(crate) mod rows;
pub(crate) mod schema;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::outcome::{EngineError, Result};

pub(crate) use rows::{ImageRow, LayerRow, LayerState, TombstoneRow, VolumeRow};

/// What a commit must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The process being killed: no fsync.
    Kill,
    /// A power cut: one fsync of the log, shared by all that wait for it.
    PowerCut,
}

/// Transactions that wait together are committed together, up to so many.
const BATCH: usize = 64;
/// Quiet time after which the log is folded into the file.
const IDLE: Duration = Duration::from_secs(5);
/// How long a write that nobody waits for may be held back, so that it costs no commit of its own.
const LATER: Duration = Duration::from_millis(20);
/// Writes after which the log is folded even if it never gets quiet: some 1,500 containers that come and go.
const BUSY_LIMIT: u64 = 12_000;
/// Bytes of a page. A commit writes each page that it changes to the log, whole: with SQLite's usual 4096 a container
/// that comes and goes leaves 92 kB there.
const PAGE: u32 = 1024;

/// Told after the commit: whether it succeeded.
type Done = Box<dyn FnOnce(Option<EngineError>) + Send>;
/// Runs inside a savepoint; `false` rolls it back. Without a connection nothing is run, and whoever asked is only told.
type Work = Box<dyn FnOnce(Option<&Connection>) -> (bool, Done) + Send>;

enum Job {
    Write {
        durability: Durability,
        work: Work,
        /// Nobody waits: it goes with the next commit, or after [`LATER`].
        later: bool,
    },
    Close,
}

/// Handle to the writer thread.
pub(crate) struct Store {
    /// As many as there are requests under way, and events that nobody waits for: nobody who serves requests may be held
    /// back by a disk that is slow.
    jobs: Sender<Job>,
    writer: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the file and brings its schema up to date.
    ///
    /// # Errors
    /// [`EngineError::StoreNewer`] when a newer release wrote it.
    pub(crate) fn open(path: &Path) -> Result<Store> {
        reserve::beside(path);
        let connection = connect(path)?;
        schema::migrate(&connection, path)?;
        fold(&connection);
        let reserved = reserve::of_log(path);
        let log_of = path.to_owned();
        let (jobs, inbox) = channel();
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                Writer {
                    connection,
                    synchronous: Durability::Kill,
                    unfolded: 0,
                    reserved,
                    path: log_of,
                }
                .run(&inbox)
            })
            .map_err(EngineError::io("start the store's thread"))?;
        Ok(Store {
            jobs,
            writer: Mutex::new(Some(writer)),
            path: path.to_owned(),
        })
    }

    /// Runs one transaction; ready when it is committed as durably as asked. An error of the closure rolls back
    /// this transaction and no other. It runs even if the future is dropped. `after` runs on the writer's thread
    /// once the commit succeeded, before the next one.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        after: impl FnOnce(&mut T) + Send + 'static,
    ) -> Result<T> {
        self.submit(durability, work, after)?
            .await
            .unwrap_or(Err(EngineError::Closing))
    }

    /// Reads what is committed so far, after everything that was submitted before.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write(Durability::Kill, work, |_| ()).await
    }

    /// Queues one transaction whose outcome nobody waits for; a failure is logged.
    pub(crate) fn write_later<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        after: impl FnOnce(&mut T) + Send + 'static,
    ) {
        if self
            .submit_with(Durability::Kill, true, work, after, |outcome| {
                if let Err(error) = outcome {
                    tracing::error!(%error, "a deferred write to the store failed");
                }
            })
            .is_err()
        {
            tracing::debug!("the store is closed: a deferred write is dropped");
        }
    }

    /// Commits what waits, folds the log and ends the thread. SQLite removes the folded log; its room is held for the
    /// next daemon, which may have to start on a full disk.
    pub(crate) fn close(&self) {
        let writer = self.writer.lock().ok().and_then(|mut writer| writer.take());
        if let Some(writer) = writer {
            let _ = self.jobs.send(Job::Close);
            let _ = writer.join();
            reserve::of_log(&self.path);
        }
    }

    fn submit<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        after: impl FnOnce(&mut T) + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T>>> {
        let (answer, receiver) = oneshot::channel();
        self.submit_with(durability, false, work, after, move |outcome| {
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        })?;
        Ok(receiver)
    }

    fn submit_with<T: Send + 'static>(
        &self,
        durability: Durability,
        later: bool,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        after: impl FnOnce(&mut T) + Send + 'static,
        answer: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<()> {
        let work: Work = Box::new(move |connection| {
            let outcome = connection.map(work);
            let keep = matches!(outcome, Some(Ok(_)));
            let done: Done = Box::new(move |failed| {
                let mut outcome = match (outcome, failed) {
                    (Some(Err(error)), _) | (_, Some(error)) => Err(error),
                    (Some(Ok(value)), None) => Ok(value),
                    (None, None) => Err(EngineError::Closing),
                };
                if let Ok(value) = &mut outcome {
                    after(value);
                }
                answer(outcome);
            });
            (keep, done)
        });
        self.jobs
            .send(Job::Write {
                durability,
                work,
                later,
            })
            .map_err(|_| EngineError::Closing)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    connection: Connection,
    synchronous: Durability,
    unfolded: u64,
    /// Whether the log has its room on the disk; if not, it is asked for again after each fold.
    reserved: bool,
    path: PathBuf,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Job>) {
        while self.turn(inbox) {}
        self.fold_if(1);
    }

    /// Waits for jobs, commits those that are there; false when the store closes.
    fn turn(&mut self, inbox: &Receiver<Job>) -> bool {
        let mut batch = Vec::new();
        let mut durability = Durability::Kill;
        let mut closing = false;
        // Jobs that nobody waits for are held back until somebody's comes, or for a moment.
        let mut held = true;
        while held && !closing && batch.len() < BATCH {
            let patience = if batch.is_empty() { IDLE } else { LATER };
            let first = match inbox.recv_timeout(patience) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) if batch.is_empty() => {
                    self.fold_if(1);
                    return true;
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    closing = true;
                    break;
                }
            };
            for job in std::iter::once(first).chain(inbox.try_iter().take(BATCH)) {
                match job {
                    Job::Write {
                        durability: asked,
                        work,
                        later,
                    } => {
                        if asked == Durability::PowerCut {
                            durability = asked;
                        }
                        held &= later;
                        batch.push(work);
                    }
                    Job::Close => closing = true,
                }
                if closing {
                    break;
                }
            }
        }
        if !batch.is_empty() {
            self.commit(durability, batch);
        }
        self.fold_if(BUSY_LIMIT);
        !closing
    }

    fn fold_if(&mut self, limit: u64) {
        if self.unfolded >= limit {
            fold(&self.connection);
            self.unfolded = 0;
            self.reserved = self.reserved || reserve::of_log(&self.path);
        }
    }

    fn commit(&mut self, durability: Durability, batch: Vec<Work>) {
        let mut finished: Vec<Done> = Vec::with_capacity(batch.len());
        let mut batch = batch.into_iter();
        let outcome = self.transaction(durability, &mut batch, &mut finished);
        // What did not get its turn has failed for the same reason.
        finished.extend(batch.map(|work| work(None).1));
        if outcome.is_err() && !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        let error = outcome.err().map(EngineError::from);
        for done in finished {
            done(error.as_ref().map(|error| match error {
                EngineError::StoreFull => EngineError::StoreFull,
                EngineError::Store { source } => EngineError::StoreCommit {
                    sentence: source.to_string(),
                },
                other => EngineError::StoreCommit {
                    sentence: other.to_string(),
                },
            }));
        }
    }

    fn transaction(
        &mut self,
        durability: Durability,
        batch: &mut std::vec::IntoIter<Work>,
        finished: &mut Vec<Done>,
    ) -> rusqlite::Result<()> {
        if self.synchronous != durability {
            let level = if durability == Durability::PowerCut {
                "FULL"
            } else {
                "NORMAL"
            };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.synchronous = durability;
        }
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        while batch.len() > 0 {
            self.unfolded += 1;
            self.connection
                .prepare_cached("SAVEPOINT job")?
                .execute([])?;
            let Some(work) = batch.next() else { break };
            // A panic in a closure ends that transaction alone: its answer channel is dropped with it.
            let keep = match catch_unwind(AssertUnwindSafe(|| work(Some(&self.connection)))) {
                Ok((keep, done)) => {
                    finished.push(done);
                    keep
                }
                Err(_) => false,
            };
            if !keep {
                self.connection
                    .prepare_cached("ROLLBACK TO job")?
                    .execute([])?;
            }
            self.connection.prepare_cached("RELEASE job")?.execute([])?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

/// Opens the file, or makes it, as the store uses it.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // Of a new file only.
    connection.pragma_update(None, "page_size", PAGE)?;
    // Nobody else opens the file, so the log's index may lie in memory: beside the file it would have to be made
    // anew at each start, which a full disk refuses.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // What a log that was folded keeps of its length.
    connection.pragma_update(None, "journal_size_limit", reserve::LOG)?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Folds the log into the file, then writes once: the first write after a fold syncs the log's new header and gives
/// back what is longer than [`reserve::LOG`], for which no client shall wait.
fn fold(connection: &Connection) {
    let folded = connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get::<_, i64>(0)).and_then(|_| {
        connection.execute("INSERT INTO meta (key, value) VALUES ('folds', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1", [])
    });
    if let Err(error) = folded {
        tracing::warn!(%error, "the store's log could not be folded; it is tried again later");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write<T: Send + 'static>(
        store: &Store,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        store
            .submit(durability, work, |_| ())?
            .blocking_recv()
            .unwrap_or(Err(EngineError::Closing))
    }

    fn key(store: &Store, key: &'static str) -> Option<String> {
        write(store, Durability::Kill, move |connection| {
            schema::meta(connection, key)
        })
        .unwrap()
    }

    #[test]
    fn a_failed_transaction_takes_no_other_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        write(&store, Durability::Kill, |connection| {
            schema::set_meta(connection, "a", "1")
        })
        .unwrap();
        let failed = write(&store, Durability::Kill, |connection| {
            schema::set_meta(connection, "b", "2")?;
            Err::<(), _>(EngineError::invalid("no"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert_eq!(key(&store, "a").as_deref(), Some("1"));
        assert_eq!(key(&store, "b"), None);
    }

    #[test]
    fn everybody_hears_of_a_fault_that_ends_the_whole_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        // It has a transaction of its own, and holds the writer until all others are queued, which then go into one.
        let (queued, wait) = channel::<()>();
        let (begins, begun) = channel::<()>();
        let first = store.submit(
            Durability::Kill,
            move |_| {
                begins.send(()).map_err(|_| EngineError::Closing)?;
                wait.recv().map_err(|_| EngineError::Closing)
            },
            |_| (),
        );
        begun.recv().unwrap();
        // SQLite knows no savepoint after this.
        let culprit = store.submit(
            Durability::Kill,
            |connection| Ok(connection.execute_batch("COMMIT")?),
            |_| (),
        );
        let waiting: Vec<_> = ["a", "b"]
            .map(|name| {
                let work = move |connection: &Connection| schema::set_meta(connection, name, "1");
                store.submit(Durability::Kill, work, |_| ()).unwrap()
            })
            .into();
        let (told, hears) = channel();
        let work = |connection: &Connection| schema::set_meta(connection, "c", "1");
        let answer = move |outcome: Result<()>| told.send(outcome).unwrap();
        store
            .submit_with(Durability::Kill, true, work, |_| (), answer)
            .unwrap();
        queued.send(()).unwrap();
        first.unwrap().blocking_recv().unwrap().unwrap();
        culprit.unwrap().blocking_recv().unwrap().unwrap_err();
        let mut told: Vec<_> = waiting
            .into_iter()
            .map(|answer| answer.blocking_recv().unwrap().unwrap_err())
            .collect();
        told.push(hears.recv().unwrap().unwrap_err());
        for error in told {
            assert!(matches!(error, EngineError::StoreCommit { .. }), "{error}");
        }
        write(&store, Durability::Kill, |connection| {
            schema::set_meta(connection, "d", "1")
        })
        .unwrap();
        assert_eq!(key(&store, "a"), None);
        assert_eq!(key(&store, "d").as_deref(), Some("1"));
    }

    #[test]
    fn a_panic_ends_one_transaction_and_not_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db")).unwrap();
        let failed = write(&store, Durability::Kill, |_| -> Result<()> {
            panic!("on purpose")
        });
        assert!(matches!(failed, Err(EngineError::Closing)));
        write(&store, Durability::PowerCut, |connection| {
            schema::set_meta(connection, "a", "1")
        })
        .unwrap();
        assert_eq!(key(&store, "a").as_deref(), Some("1"));
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        write(
            &Store::open(&path).unwrap(),
            Durability::PowerCut,
            |connection| schema::set_meta(connection, "a", "1"),
        )
        .unwrap();
        assert_eq!(key(&Store::open(&path).unwrap(), "a").as_deref(), Some("1"));
    }

    #[test]
    fn a_log_that_was_folded_gives_its_room_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let connection = connect(&path).unwrap();
        schema::migrate(&connection, &path).unwrap();
        let log = || {
            std::fs::metadata(folder.path().join("store.db-wal"))
                .unwrap()
                .len()
        };
        for number in 0..5000 {
            schema::set_meta(&connection, "a", &number.to_string()).unwrap();
        }
        assert!(log() > 2 * reserve::LOG, "{}", log());
        fold(&connection);
        assert!(log() <= reserve::LOG, "{}", log());
    }

    #[test]
    fn a_newer_schema_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        write(
            &Store::open(&path).unwrap(),
            Durability::Kill,
            |connection| schema::set_meta(connection, "schema", "999"),
        )
        .unwrap();
        let refused = Store::open(&path).err().unwrap().to_string();
        assert!(refused.contains("has schema 999"), "{refused}");
    }
}
