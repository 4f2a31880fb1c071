//! One blob: fetched, continued after a break, verified.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, header};
use tokio::sync::mpsc;
use types::Digest;

use super::error::{RegistryError, TransportFault};
use super::session::Session;
use super::transport::Answer;
use crate::error::ImageError;
use crate::progress::{Progress, words};
use crate::store::{BlobWriter, ContentStore, FillGuard, Staged};

/// Pieces on their way to the disk: a few hundred KiB for each download.
const QUEUED_PIECES: usize = 32;
const REPORT_EVERY: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Getting this much further makes a broken attempt a good one.
const WORTHWHILE: u64 = 1 << 20;

/// A blob that is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Wanted {
    /// Compares the promised size with that of the right content.
    fn check_size(&self, actual: u64) -> Result<(), ImageError> {
        if actual == self.size {
            return Ok(());
        }
        Err(ImageError::SizeMismatch {
            digest: self.digest,
            expected: self.size,
            actual,
        })
    }
}

/// How a blob came to be there.
#[derive(Debug)]
pub(super) enum Fetched {
    /// In the store already.
    Present,
    /// Complete and verified, not visible yet.
    Staged(Staged),
}

/// A file being filled, with the right to fill it. Both move into the thread that writes, so
/// that a pull that is dropped gives the right back only when the thread has ended.
struct Filling {
    writer: BlobWriter,
    guard: FillGuard,
}

/// Fetches a blob unless it is there. Breaks are mended: each new attempt asks for what is
/// missing, until `attempts` in a row got no further.
pub(super) async fn fetch(
    session: &Session,
    store: &ContentStore,
    wanted: Wanted,
    attempts: u32,
    progress: &Arc<dyn Progress>,
) -> Result<Fetched, ImageError> {
    let id = wanted.digest.short();
    let guard = turn(store, wanted, &id, progress).await;
    if store.contains(&wanted.digest) {
        return Ok(Fetched::Present);
    }
    // Complete, and waiting for the rest of another pull's image.
    if let Some(staged) = store.staged(&wanted.digest) {
        wanted.check_size(staged.size())?;
        return Ok(Fetched::Staged(staged));
    }
    let mut filling = open(store, wanted.digest, guard).await?;
    let length = filling.writer.length();
    if length > 0 && length != wanted.size && filling.writer.is_whole() {
        wanted.check_size(length)?;
    }
    if length > wanted.size {
        filling = restart(filling).await?;
    }
    // What a former engine left may be damaged; what came just now is not fetched twice.
    let mut left_by_other = filling.writer.length() > 0;
    let mut tried = 0;
    loop {
        let before = filling.writer.length();
        let (after, outcome) = attempt(session, filling, wanted, &id, progress).await?;
        filling = after;
        match outcome {
            Ok(()) => {
                progress.status(&id, words::VERIFYING, None);
                let Filling { writer, guard } = filling;
                let content = store.clone();
                match on_disk(move || content.finish(writer)).await? {
                    Err(ImageError::DigestMismatch { .. }) if left_by_other => {
                        left_by_other = false;
                        filling = open(store, wanted.digest, guard).await?;
                    }
                    finished => return finished.map(Fetched::Staged),
                }
            }
            Err(error) => {
                let gained = filling.writer.length().saturating_sub(before);
                tried = if gained >= WORTHWHILE { 1 } else { tried + 1 };
                if !error.is_passing() {
                    return Err(error.into());
                }
                if tried >= attempts {
                    let source = Box::new(error);
                    return Err(RegistryError::Attempts {
                        what: "download",
                        attempts: tried,
                        source,
                    }
                    .into());
                }
                tracing::debug!(digest = %wanted.digest, %error, "a download broke; trying again");
                pause(tried, &id, progress).await;
            }
        }
    }
}

/// Waits for the right to fill a blob. What another pull gets of it meanwhile is told as progress of this one.
async fn turn(
    store: &ContentStore,
    wanted: Wanted,
    id: &str,
    progress: &Arc<dyn Progress>,
) -> FillGuard {
    let mine = store.fill(&wanted.digest);
    tokio::pin!(mine);
    let mut told = 0;
    loop {
        match tokio::time::timeout(REPORT_EVERY, &mut mine).await {
            Ok(guard) => return guard,
            Err(_) => {
                let there = store.partial(&wanted.digest).min(wanted.size);
                if there > told {
                    told = there;
                    progress.status(id, words::DOWNLOADING, Some((there, wanted.size)));
                }
            }
        }
    }
}

async fn pause(tried: u32, id: &str, progress: &Arc<dyn Progress>) {
    let pause = FIRST_PAUSE
        .saturating_mul(1 << (tried - 1).min(10))
        .min(LONGEST_PAUSE);
    if pause.as_secs() >= 1 {
        let plural = if pause.as_secs() == 1 { "" } else { "s" };
        progress.status(
            id,
            &format!("Retrying in {} second{plural}", pause.as_secs()),
            None,
        );
    }
    tokio::time::sleep(pause).await;
}

/// Opens the partial file; reading again what is there takes a thread.
async fn open(
    store: &ContentStore,
    digest: Digest,
    guard: FillGuard,
) -> Result<Filling, ImageError> {
    let store = store.clone();
    on_disk(move || {
        Ok(Filling {
            writer: store.writer(Some(digest), true)?,
            guard,
        })
    })
    .await?
}

/// Begins a partial file anew.
async fn restart(mut filling: Filling) -> Result<Filling, ImageError> {
    on_disk(move || filling.writer.restart().map(|()| filling)).await?
}

/// What the disk may take its time for: to give the room of a whole layer back takes a good part of a second.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ImageError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ImageError::Interrupted {
        what: "writing a blob",
    })
}

/// One request for what is missing. The registry's failures are told apart from our own disk's:
/// only the former can be tried again.
async fn attempt(
    session: &Session,
    mut filling: Filling,
    wanted: Wanted,
    id: &str,
    progress: &Arc<dyn Progress>,
) -> Result<(Filling, Result<(), RegistryError>), ImageError> {
    let have = filling.writer.length();
    if have == wanted.size {
        return Ok((filling, Ok(())));
    }
    let mut answer = match session.blob(&wanted.digest, have).await {
        // A layer may come under any kind, but not with another length.
        Ok(mut answer)
            if answer.is_page()
                && answer.header(header::CONTENT_LENGTH)
                    != Some(&(wanted.size - have).to_string()) =>
        {
            let page = answer.page("a layer").await;
            return Ok((filling, Err(page)));
        }
        Ok(answer) => answer,
        Err(RegistryError::Answer { status, .. } | RegistryError::Garbage { status, .. })
            if status == StatusCode::RANGE_NOT_SATISFIABLE && have > 0 =>
        {
            filling = restart(filling).await?;
            match session.blob(&wanted.digest, 0).await {
                Ok(answer) => answer,
                Err(error) => return Ok((filling, Err(error))),
            }
        }
        Err(error) => return Ok((filling, Err(error))),
    };
    // A registry that does not know ranges sends all of it again: the known part is dropped.
    let have = filling.writer.length();
    let skip = if range_start(&answer) == Some(have) {
        0
    } else {
        have
    };
    let (pieces, queue) = mpsc::channel(QUEUED_PIECES);
    let writing = tokio::task::spawn_blocking(move || write(filling, queue));
    let outcome = forward(&mut answer, pieces, wanted, (have, skip), |now| {
        progress.status(id, words::DOWNLOADING, Some((now, wanted.size)));
    })
    .await;
    let (filling, written) = writing.await.map_err(|_| ImageError::Interrupted {
        what: "writing a blob",
    })?;
    if let Err(error) = written {
        // What cannot be written is given back at once, most of all on a full disk.
        if let Err(error) = on_disk(|| filling.writer.discard()).await? {
            tracing::warn!(%error, "a partial blob stays");
        }
        return Err(error);
    }
    Ok((filling, outcome))
}

/// Where a partial answer begins; `None` for a whole one.
fn range_start(answer: &Answer) -> Option<u64> {
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return None;
    }
    let range = answer
        .header(header::CONTENT_RANGE)?
        .strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}

/// Writes pieces in order until the sender is gone or the disk refuses.
fn write(
    mut filling: Filling,
    mut queue: mpsc::Receiver<Bytes>,
) -> (Filling, Result<(), ImageError>) {
    while let Some(piece) = queue.blocking_recv() {
        if let Err(error) = filling.writer.append(&piece) {
            return (filling, Err(error));
        }
    }
    (filling, Ok(()))
}

/// Hands the body on, without its first `skip` bytes, and makes sure that it is as long as
/// announced. A writer that gave up is not our failure: it tells by itself.
async fn forward(
    answer: &mut Answer,
    pieces: mpsc::Sender<Bytes>,
    wanted: Wanted,
    (mut have, mut skip): (u64, u64),
    report: impl Fn(u64),
) -> Result<(), RegistryError> {
    let mut reported = Instant::now();
    report(have);
    while let Some(mut piece) = answer.chunk().await? {
        let skipped = skip.min(piece.len() as u64);
        skip -= skipped;
        let piece = piece.split_off(usize::try_from(skipped).unwrap_or(piece.len()));
        if piece.is_empty() {
            continue;
        }
        have += piece.len() as u64;
        if have > wanted.size {
            return Err(answer.fault(TransportFault::Long(wanted.size)));
        }
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            report(have);
        }
    }
    if have < wanted.size {
        return Err(answer.fault(TransportFault::Short));
    }
    report(have);
    Ok(())
}
