//! Reading logs: from the shim's files, followed by one watcher for the whole engine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use shim::logs::{Line, Next, Options, Reader, Stream, WatchId, Watcher};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc};

use super::registry::{Container, Progress};
use crate::compile::logging;
use crate::engine::Engine;
use crate::options::{LogChunk, LogStream, LogsOptions, StreamKind};
use crate::outcome::{EngineError, Result};
use crate::paths;

/// Bytes of adjacent lines that are sent as one chunk.
const CHUNK: usize = 32 << 10;
/// Chunks that wait for a client; a client that stops holds back its own reader alone.
const CHANNEL: usize = 4;
/// Lines that are read before the client's pace is looked at again.
const BATCH: usize = 512;

/// Tells followers that their log's folder changed.
pub(crate) struct Follow {
    watcher: AsyncFd<Watcher>,
    /// Each follower is told by itself: one that reads at the moment finds its permit later, whatever others do.
    followers: Mutex<HashMap<WatchId, Vec<Arc<Notify>>>>,
}

impl Follow {
    /// Makes the engine's one watcher; call within the runtime.
    pub(crate) fn new() -> Result<Follow> {
        let watcher = Watcher::new().map_err(EngineError::io("watch logs"))?;
        // The newer constructor is unsafe; what it asks for holds: a watcher keeps one descriptor for its life.
        #[allow(deprecated)]
        let watcher = AsyncFd::new(watcher).map_err(EngineError::io("watch logs"))?;
        Ok(Follow {
            watcher,
            followers: Mutex::default(),
        })
    }

    fn add(&self, reader: &Reader) -> Result<(WatchId, Arc<Notify>)> {
        let mut followers = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let id = self
            .watcher
            .get_ref()
            .add(reader.folder())
            .map_err(EngineError::io("watch a log"))?;
        let changed = Arc::new(Notify::new());
        followers.entry(id).or_default().push(Arc::clone(&changed));
        Ok((id, changed))
    }

    fn remove(&self, id: WatchId, changed: &Arc<Notify>) {
        let mut followers = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = followers.get_mut(&id) {
            entry.retain(|other| !Arc::ptr_eq(other, changed));
            if entry.is_empty() {
                followers.remove(&id);
                self.watcher.get_ref().remove(id);
            }
        }
    }

    /// Passes changes on until the engine closes.
    async fn pass_on(&self) {
        while let Ok(mut ready) = self.watcher.readable().await {
            ready.clear_ready();
            let Ok(changes) = self.watcher.get_ref().changes() else {
                continue;
            };
            let followers = self
                .followers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for (id, all) in followers.iter() {
                if changes.all || changes.folders.contains(id) {
                    all.iter().for_each(|changed| changed.notify_one());
                }
            }
        }
    }
}

/// Ends a follower's watch when its reader goes.
struct Watched {
    engine: Engine,
    id: WatchId,
    changed: Arc<Notify>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.engine.inner().follow.remove(self.id, &self.changed);
    }
}

impl Engine {
    /// One task: ends with the engine.
    pub(crate) fn pass_log_changes_on(&self) {
        let engine = self.clone();
        let closing = self.closing();
        tokio::spawn(async move {
            tokio::select! {
                () = engine.inner().follow.pass_on() => {}
                () = closing => {}
            }
        });
    }

    /// Reads a container's log, and when asked to follows it until the container ends. As docker, also if it is started
    /// again: who follows compose's services begins anew with each start.
    ///
    /// # Errors
    /// Docker's sentence when the container keeps no log.
    pub async fn logs(&self, id: &str, options: LogsOptions) -> Result<LogStream> {
        let container = self.registry().find(id)?;
        if !options.stdout && !options.stderr {
            return Err(EngineError::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        if !logging::is_kept(&container.spec.host.log_config.kind) {
            return Err(EngineError::LogsNotKept);
        }
        let time = |time: Option<i64>| time.map(|time| u64::try_from(time).unwrap_or(0));
        let wanted = Options {
            tail: options.tail,
            since: time(options.since),
            until: time(options.until),
            follow: options.follow,
        };
        let opened = Arc::clone(&container);
        let reader = self
            .blocking("logs", move |engine| {
                let folder = paths::open_folder(&engine.paths().container(opened.id()))?;
                Reader::open(folder, &paths::log_name(opened.id()), wanted)
                    .map_err(EngineError::io("open a log"))
            })
            .await?;
        let watched = match options.follow {
            true => {
                let (id, changed) = self.inner().follow.add(&reader)?;
                Some(Watched {
                    engine: self.clone(),
                    id,
                    changed,
                })
            }
            false => None,
        };
        let (sender, chunks) = mpsc::channel(CHANNEL);
        let closing = self.closing();
        let tty = container.spec.config.tty;
        let run = FollowedRun::of(&container);
        // Ends at the log's end, when the client goes, or with the engine.
        tokio::spawn(async move {
            tokio::select! {
                () = send_log(run, reader, options, watched, &sender) => {}
                () = sender.closed() => {}
                () = closing => {}
            }
        });
        Ok(LogStream { tty, chunks })
    }
}

/// The run of a container whose log is followed: from now to its end.
struct FollowedRun {
    container: Arc<Container>,
    /// How many ends there were before.
    exits: u64,
    /// When it began, nanoseconds since 1970.
    began: i64,
}

impl FollowedRun {
    fn of(container: &Arc<Container>) -> FollowedRun {
        FollowedRun {
            exits: container.progress.borrow().exits,
            began: container.run().started_at,
            container: Arc::clone(container),
        }
    }

    fn is_over(&self, now: &Progress) -> bool {
        !now.up || now.between_runs || now.removed || now.exits != self.exits
    }

    /// Ready at its end.
    async fn ended(&self) {
        let mut progress = self.container.progress.subscribe();
        // The sender lives in the container.
        let _ = progress.wait_for(|now| self.is_over(now)).await;
    }

    /// When the next run began, if one has; nanoseconds since 1970.
    fn next(&self) -> Option<u64> {
        let began = self.container.run().started_at;
        (began != self.began).then(|| u64::try_from(began).unwrap_or(0))
    }
}

/// Sends a log's chunks until its end.
async fn send_log(
    run: FollowedRun,
    mut reader: Reader,
    options: LogsOptions,
    watched: Option<Watched>,
    sender: &mpsc::Sender<Result<LogChunk>>,
) {
    loop {
        // Asked before reading: what was written before the end is read after it.
        let over = run.is_over(&run.container.progress.borrow());
        let (chosen, next) = (options.clone(), run.next());
        let read = move || {
            if over && let Err(error) = reader.stop_following(next) {
                return (reader, Err(EngineError::io("read a log")(error)));
            }
            read_some(reader, &chosen)
        };
        let Ok((returned, outcome)) = tokio::task::spawn_blocking(read).await else {
            return;
        };
        reader = returned;
        let (chunks, more) = match outcome {
            Ok(read) => read,
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        for chunk in chunks {
            let Some(returned) = send(chunk, reader, watched.as_ref(), sender).await else {
                return;
            };
            reader = returned;
        }
        match (more, &watched) {
            (More::Now, _) => {}
            (More::Later, Some(watched)) if !over => {
                tokio::select! {
                    () = watched.changed.notified() => {}
                    () = run.ended() => {}
                }
            }
            (More::Later, _) if !over => return,
            (More::Later, _) => {}
            (More::Never, _) => return,
        }
    }
}

/// Sends a chunk when the client takes it. Until then the reader keeps hold of what is written meanwhile. `None` when
/// the client is gone.
async fn send(
    chunk: LogChunk,
    mut reader: Reader,
    watched: Option<&Watched>,
    sender: &mpsc::Sender<Result<LogChunk>>,
) -> Option<Reader> {
    loop {
        let changed = async {
            match watched {
                Some(watched) => watched.changed.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // In this order: a permit of a change is left for later when the client takes the chunk.
            biased;
            room = sender.reserve() => {
                room.ok()?.send(Ok(chunk));
                return Some(reader);
            }
            () = changed => {}
        }
        let look = move || {
            // What cannot be opened now is tried again when it is read.
            let _ = reader.look_ahead();
            reader
        };
        reader = tokio::task::spawn_blocking(look).await.ok()?;
    }
}

/// Whether there is more to read.
enum More {
    Now,
    Later,
    Never,
}

fn read_some(mut reader: Reader, options: &LogsOptions) -> (Reader, Result<(Vec<LogChunk>, More)>) {
    let mut chunks: Vec<LogChunk> = Vec::new();
    for _ in 0..BATCH {
        match reader.next_line() {
            Ok(Next::Line(line)) => add(&mut chunks, line, options),
            Ok(Next::Nothing) => return (reader, Ok((chunks, More::Later))),
            Ok(Next::End) => return (reader, Ok((chunks, More::Never))),
            Err(error) => return (reader, Err(EngineError::io("read a log")(error))),
        }
    }
    (reader, Ok((chunks, More::Now)))
}

fn add(chunks: &mut Vec<LogChunk>, line: Line, options: &LogsOptions) {
    let stream = match line.stream {
        Stream::Stdout if options.stdout => StreamKind::Stdout,
        Stream::Stderr if options.stderr => StreamKind::Stderr,
        _ => return,
    };
    let mut bytes = Vec::with_capacity(line.text.len() + 36);
    if options.timestamps {
        bytes.extend(
            crate::clock::fixed_rfc3339(i64::try_from(line.time).unwrap_or(0)).into_bytes(),
        );
        bytes.push(b' ');
    }
    if options.details {
        bytes.extend(attributes(&line.attrs).into_bytes());
        bytes.push(b' ');
    }
    bytes.extend(line.text);
    match chunks.last_mut() {
        // A piece of a line is a chunk's last: so clients can tell where messages begin.
        Some(last)
            if last.stream == stream
                && last.bytes.ends_with(b"\n")
                && last.bytes.len() + bytes.len() <= CHUNK =>
        {
            last.bytes.extend(bytes)
        }
        _ => chunks.push(LogChunk { stream, bytes }),
    }
}

/// `key=value,…` of a JSON object of texts, escaped as in a query.
fn attributes(object: &[u8]) -> String {
    let pairs: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(object).unwrap_or_default();
    pairs
        .iter()
        .map(|(key, value)| format!("{}={}", escaped(key), escaped(value)))
        .collect::<Vec<_>>()
        .join(",")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_told_as_in_a_query() {
        let object = br#"{"b c":"x=1,2/\u00e9","a.b-c_d~":"0"}"#;
        assert_eq!(attributes(object), "a.b-c_d~=0,b+c=x%3D1%2C2%2F%C3%A9");
        assert_eq!(attributes(b""), "");
    }
}
