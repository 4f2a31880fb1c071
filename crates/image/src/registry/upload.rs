//! One blob on its way to a registry: not sent where it is, mounted from another repository, or sent in one piece or
//! several, and continued after a break where the registry can do that.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use types::Digest;

use super::error::{RegistryError, TransportFault};
use super::payload::Payload;
use super::session::Session;
use super::transport::Answer;
use super::url::{Url, escape_query};
use crate::store::BlobReader;

/// A blob up to this size is sent in one piece, and larger ones in pieces of it, unless the registry wants larger ones.
const PIECE: u64 = 32 << 20;
/// The most that a registry may want to get at once.
const LARGEST_PIECE: u64 = 1 << 30;
const REPORT_EVERY: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Getting this much further makes a broken attempt a good one.
const WORTHWHILE: u64 = 1 << 20;
/// Repositories that a blob is tried to be mounted from.
const MAX_MOUNTS: usize = 4;

/// A blob that is to be in a registry.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) content: BlobReader,
}

/// How it came to be there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was there.
    Exists,
    /// It was in this other repository.
    Mounted(String),
    /// It was sent.
    Sent,
}

/// An upload that a registry waits for.
#[derive(Debug)]
struct Upload {
    location: Url,
    /// So much of the blob has come.
    offset: u64,
    /// The least size of a piece that is not the last one.
    least: u64,
}

/// What a registry says to the wish for an upload.
enum Begun {
    Mounted,
    Upload(Upload),
}

/// Sends a blob unless it is there. `mounts` are repositories of the same registry that should have it; `report` hears
/// how many bytes were sent.
///
/// # Errors
/// The registry does not take it, or breaks off again and again.
pub(super) async fn upload(
    session: &Session,
    blob: &Blob,
    mounts: &[String],
    attempts: u32,
    report: &(dyn Fn(u64) + Sync),
) -> Result<Outcome, RegistryError> {
    if is_there(session, &blob.digest).await? {
        return Ok(Outcome::Exists);
    }
    let mut upload = None;
    for from in mounts.iter().take(MAX_MOUNTS) {
        match begin(session, Some((&blob.digest, from))).await {
            Ok(Begun::Mounted) => return Ok(Outcome::Mounted(from.clone())),
            Ok(Begun::Upload(begun)) => {
                upload = Some(begun);
                break;
            }
            Err(error) => tracing::debug!(%error, from, "a blob is not mounted"),
        }
    }
    let sending = Sending {
        session,
        blob,
        report,
    };
    sending.to_the_end(upload, attempts).await?;
    Ok(Outcome::Sent)
}

/// Has a blob mounted from another repository unless it is there; whether it is there then.
///
/// # Errors
/// The registry's refusal.
pub(super) async fn mount(
    session: &Session,
    blob: &Digest,
    from: &str,
) -> Result<bool, RegistryError> {
    if is_there(session, blob).await? {
        return Ok(true);
    }
    Ok(matches!(
        begin(session, Some((blob, from))).await?,
        Begun::Mounted
    ))
}

async fn is_there(session: &Session, blob: &Digest) -> Result<bool, RegistryError> {
    let url = session.url(format!("/v2/{}/blobs/{blob}", session.repository()));
    let (headers, sent) = (HeaderMap::new(), Arc::default());
    let asked = session
        .request_with(Method::HEAD, &url, &headers, &Payload::Empty, &sent)
        .await;
    match asked {
        Ok(_) => Ok(true),
        Err(error @ RegistryError::Refused { .. }) => Err(error),
        // Such a question is answered without words; what is wrong is said to the next one.
        Err(_) => Ok(false),
    }
}

async fn begin(session: &Session, from: Option<(&Digest, &str)>) -> Result<Begun, RegistryError> {
    let mut path = format!("/v2/{}/blobs/uploads/", session.repository());
    if let Some((digest, from)) = from {
        let digest = escape_query(&digest.to_string());
        path.push_str(&format!("?mount={digest}&from={}", escape_query(from)));
    }
    let (url, sent) = (session.url(path), Arc::default());
    let answer = session
        .request_with(
            Method::POST,
            &url,
            &HeaderMap::new(),
            &Payload::Empty,
            &sent,
        )
        .await?;
    if answer.status == StatusCode::CREATED && from.is_some() {
        return Ok(Begun::Mounted);
    }
    let least = answer
        .header(HeaderName::from_static("oci-chunk-min-length"))
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    if least > LARGEST_PIECE {
        return Err(answer.fault(TransportFault::Long(LARGEST_PIECE)));
    }
    Ok(Begun::Upload(Upload {
        location: location(&answer, &url)?,
        offset: 0,
        least,
    }))
}

/// Where the next part of an upload goes.
fn location(answer: &Answer, asked: &Url) -> Result<Url, RegistryError> {
    let text = answer.header(header::LOCATION).unwrap_or_default();
    asked
        .join_upload(text)
        .ok_or_else(|| answer.fault(TransportFault::Location(text.to_owned())))
}

/// How much a registry has, by the header `Range: 0-LAST`.
fn received(answer: &Answer) -> Option<u64> {
    let text = answer.header(header::RANGE)?;
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let (first, last) = text.split_once('-')?;
    let last: u64 = last.parse().ok().filter(|_| first == "0")?;
    // There is no way to write that nothing has come.
    Some(if last == 0 { 0 } else { last + 1 })
}

/// Sends one blob.
struct Sending<'a> {
    session: &'a Session,
    blob: &'a Blob,
    report: &'a (dyn Fn(u64) + Sync),
}

impl Sending<'_> {
    /// Breaks are mended: each new attempt goes on where the registry is, until `attempts` in a row got no further.
    async fn to_the_end(
        &self,
        mut upload: Option<Upload>,
        attempts: u32,
    ) -> Result<(), RegistryError> {
        let (mut tried, mut best, mut in_one) = (0, 0, false);
        loop {
            let outcome = async {
                let mut current = match upload.take() {
                    Some(upload) => upload,
                    None => match begin(self.session, None).await? {
                        Begun::Upload(upload) => upload,
                        Begun::Mounted => return Ok(()),
                    },
                };
                let sent = self.send(&mut current, in_one).await;
                upload = Some(current);
                sent
            };
            let Err(error) = outcome.await else {
                return Ok(());
            };
            let reached = upload.as_ref().map_or(0, |upload| upload.offset);
            // Some take no pieces, or lost those that came: then once more, in one.
            if !in_one && self.blob.size > PIECE && refuses_pieces(&error) {
                tracing::debug!(%error, "a registry takes no pieces");
                (in_one, upload) = (true, None);
                continue;
            }
            if !error.is_passing() {
                return Err(error);
            }
            tried += 1;
            if reached >= best + WORTHWHILE {
                (best, tried) = (reached, 1);
            }
            if tried >= attempts {
                let source = Box::new(error);
                return Err(RegistryError::Attempts {
                    what: "upload",
                    attempts: tried,
                    source,
                });
            }
            tracing::debug!(digest = %self.blob.digest, %error, "an upload broke; trying again");
            pause(tried).await;
            upload = match upload {
                Some(broken) => self.resume(broken).await,
                None => None,
            };
        }
    }

    /// Where the registry is; `None` if it has nothing of it any more.
    async fn resume(&self, broken: Upload) -> Option<Upload> {
        let sent = Arc::default();
        let answer = self
            .session
            .request_with(
                Method::GET,
                &broken.location,
                &HeaderMap::new(),
                &Payload::Empty,
                &sent,
            )
            .await;
        match answer {
            Ok(answer) => {
                let offset = received(&answer).filter(|offset| *offset <= self.blob.size)?;
                let location = location(&answer, &broken.location).unwrap_or(broken.location);
                Some(Upload {
                    location,
                    offset,
                    ..broken
                })
            }
            Err(error) => {
                tracing::debug!(%error, "an upload begins anew");
                None
            }
        }
    }

    /// Sends what is missing, and ends the upload.
    async fn send(&self, upload: &mut Upload, in_one: bool) -> Result<(), RegistryError> {
        let size = self.blob.size;
        let whole = in_one || size <= PIECE.max(upload.least);
        if whole && upload.offset == 0 {
            let payload = Payload::Part(self.blob.content.clone(), 0, size);
            return self.end(upload, &payload).await;
        }
        let piece = match in_one {
            true => size,
            false => PIECE.max(upload.least),
        };
        while upload.offset < size {
            let length = piece.min(size - upload.offset);
            let last = upload.offset + length - 1;
            let mut headers = octets();
            if let Ok(range) = HeaderValue::from_str(&format!("{}-{last}", upload.offset)) {
                headers.insert(header::CONTENT_RANGE, range);
            }
            let payload = Payload::Part(self.blob.content.clone(), upload.offset, length);
            let answer = self
                .request(
                    Method::PATCH,
                    &upload.location,
                    &headers,
                    &payload,
                    upload.offset,
                )
                .await?;
            upload.location = location(&answer, &upload.location)?;
            let now = received(&answer).unwrap_or(last + 1);
            if now <= upload.offset || now > last + 1 {
                return Err(answer.fault(TransportFault::Short));
            }
            upload.offset = now;
        }
        self.end(upload, &Payload::Empty).await
    }

    async fn end(&self, upload: &Upload, payload: &Payload) -> Result<(), RegistryError> {
        let mut url = upload.location.clone();
        let digest = escape_query(&self.blob.digest.to_string());
        let and = if url.path.contains('?') { '&' } else { '?' };
        url.path.push_str(&format!("{and}digest={digest}"));
        self.request(Method::PUT, &url, &octets(), payload, upload.offset)
            .await
            .map(drop)
    }

    /// A request that tells how far it is.
    async fn request(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        payload: &Payload,
        base: u64,
    ) -> Result<Answer, RegistryError> {
        let sent: Arc<AtomicU64> = Arc::default();
        let work = self
            .session
            .request_with(method, url, headers, payload, &sent);
        let now = || (base + sent.load(Ordering::Relaxed)).min(self.blob.size);
        let answer = told(work, || (self.report)(now())).await;
        (self.report)(now());
        answer
    }
}

/// Waits before something is tried again, after it was `tried` so often.
pub(super) async fn pause(tried: u32) {
    let pause = FIRST_PAUSE.saturating_mul(1 << (tried - 1).min(10));
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
}

/// Waits for `work`, and calls `tell` meanwhile.
async fn told<T>(work: impl Future<Output = T>, tell: impl Fn()) -> T {
    tokio::pin!(work);
    loop {
        match tokio::time::timeout(REPORT_EVERY, &mut work).await {
            Ok(done) => return done,
            Err(_) => tell(),
        }
    }
}

fn octets() -> HeaderMap {
    let octets = HeaderValue::from_static("application/octet-stream");
    [(header::CONTENT_TYPE, octets)].into_iter().collect()
}

/// Whether a registry may mean that it takes a blob only as a whole.
fn refuses_pieces(error: &RegistryError) -> bool {
    let (RegistryError::Answer { status, .. } | RegistryError::Garbage { status, .. }) = error
    else {
        return matches!(error, RegistryError::Status { status } if *status == StatusCode::NOT_IMPLEMENTED);
    };
    matches!(
        *status,
        StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::NOT_FOUND
            | StatusCode::BAD_REQUEST
    )
}
