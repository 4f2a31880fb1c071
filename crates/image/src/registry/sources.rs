//! Where an image is fetched from: a mirror that has it, and who comes after when that one fails.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Mutex;
use types::{Digest, Reference};

use super::auth::Scope;
use super::download::{self, Fetched, Wanted};
use super::endpoint::{self, Endpoint};
use super::error::RegistryError;
use super::session::{RawManifest, Session};
use super::{Client, Credentials};
use crate::error::ImageError;
use crate::progress::Progress;
use crate::store::ContentStore;

/// How often a mirror is tried without getting further: others have the same.
const MIRROR_ATTEMPTS: u32 = 2;

/// The places of one image. What is asked for by digest may come from any of them.
#[derive(Debug)]
pub(super) struct Sources {
    client: Client,
    reference: Reference,
    credentials: Option<Credentials>,
    places: Mutex<Places>,
}

#[derive(Debug)]
struct Places {
    current: Arc<Session>,
    later: VecDeque<Endpoint>,
}

/// The digest if there is one, else the tag.
pub(super) fn reference_name(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or(types::DEFAULT_TAG).to_owned(),
    }
}

impl Sources {
    /// Asks mirrors and registry in turn for what a reference names; the registry's own refusal is the one to tell.
    ///
    /// # Errors
    /// Nobody has it.
    pub(super) async fn find(
        client: &Client,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<(Sources, RawManifest), ImageError> {
        let mut later: VecDeque<_> = endpoint::endpoints(&client.inner.options, reference)?.into();
        let mut last = None;
        while let Some(endpoint) = later.pop_front() {
            let asked = async {
                let scope = Scope::Pull;
                let session =
                    Session::open(client, endpoint, reference, scope, credentials.clone()).await?;
                let name = reference_name(reference);
                let raw = session.manifest(&name, reference.digest().copied()).await?;
                Ok((Arc::new(session), raw))
            };
            match asked.await {
                Ok((current, raw)) => {
                    let places = Mutex::new(Places { current, later });
                    let sources = Sources {
                        client: client.clone(),
                        reference: reference.clone(),
                        credentials,
                        places,
                    };
                    return Ok((sources, raw));
                }
                Err::<_, RegistryError>(error) => {
                    tracing::debug!(%error, "an endpoint did not help");
                    last = Some(error);
                }
            }
        }
        Err(last.map_or(
            ImageError::Interrupted {
                what: "no endpoint",
            },
            ImageError::from,
        ))
    }

    /// Who is asked at the moment, and whether others come after.
    async fn current(&self) -> (Arc<Session>, bool) {
        let places = self.places.lock().await;
        (Arc::clone(&places.current), !places.later.is_empty())
    }

    /// Scheme, host and port of who is asked at the moment.
    pub(super) async fn registry(&self) -> String {
        self.current().await.0.registry()
    }

    /// Who to ask instead of one that failed.
    async fn after(&self, failed: &Arc<Session>) -> Option<Arc<Session>> {
        let mut places = self.places.lock().await;
        if !Arc::ptr_eq(&places.current, failed) {
            return Some(Arc::clone(&places.current));
        }
        while let Some(endpoint) = places.later.pop_front() {
            let credentials = self.credentials.clone();
            let (client, reference) = (&self.client, &self.reference);
            let opened = Session::open(client, endpoint, reference, Scope::Pull, credentials);
            match opened.await {
                Ok(session) => {
                    places.current = Arc::new(session);
                    return Some(Arc::clone(&places.current));
                }
                Err(error) => tracing::debug!(%error, "an endpoint did not help"),
            }
        }
        None
    }

    /// A manifest by its digest.
    ///
    /// # Errors
    /// What the last that was asked said.
    pub(super) async fn manifest(&self, digest: Digest) -> Result<RawManifest, RegistryError> {
        let (mut session, _) = self.current().await;
        loop {
            match session.manifest(&digest.to_string(), Some(digest)).await {
                Ok(raw) => return Ok(raw),
                Err(error) => session = self.after(&session).await.ok_or(error)?,
            }
        }
    }

    /// A blob of at most `limit` bytes, in memory.
    ///
    /// # Errors
    /// What the last that was asked said.
    pub(super) async fn small_blob(
        &self,
        digest: Digest,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let (mut session, _) = self.current().await;
        loop {
            match session.small_blob(digest, limit).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => session = self.after(&session).await.ok_or(error)?,
            }
        }
    }

    /// A blob; see [`download::fetch`].
    ///
    /// # Errors
    /// What the last that was asked said, or the disk.
    pub(super) async fn blob(
        &self,
        store: &ContentStore,
        wanted: Wanted,
        progress: &Arc<dyn Progress>,
    ) -> Result<Fetched, ImageError> {
        let (mut session, mut is_mirror) = self.current().await;
        loop {
            let attempts = match is_mirror {
                true => MIRROR_ATTEMPTS,
                false => self.client.inner.options.attempts,
            };
            let error = match download::fetch(&session, store, wanted, attempts, progress).await {
                Err(
                    error @ (ImageError::Registry(_)
                    | ImageError::DigestMismatch { .. }
                    | ImageError::SizeMismatch { .. }),
                ) => error,
                fetched => return fetched,
            };
            let Some(next) = self.after(&session).await else {
                return Err(error);
            };
            tracing::info!(digest = %wanted.digest, %error, registry = %next.registry(), "asking another");
            session = next;
            is_mirror = self.current().await.1;
        }
    }
}
