//! Requests to one repository: authorisation, redirections, answers that are errors.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use types::{Digest, Reference};

use super::auth::{self, Challenge, Scope};
use super::endpoint::Endpoint;
use super::error::{RegistryError, Subject, TransportFault, from_answer};
use super::payload::Payload;
use super::transport::{Answer, Transport};
use super::url::{Origin, Scheme, Url};
use super::{Client, Credentials};
use crate::manifest::{MAX_MANIFEST_BYTES, media_type};

const MAX_REDIRECTS: usize = 10;
const ERROR_BODY_LIMIT: u64 = 64 << 10;
/// A registry that is busy is asked again when it says, up to so often...
const MAX_RETURNS: u32 = 5;
/// ...unless that is later than this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const ACCEPTED: [&str; 4] = [
    media_type::OCI_INDEX,
    media_type::DOCKER_LIST,
    media_type::OCI_MANIFEST,
    media_type::DOCKER_MANIFEST,
];

/// One repository at one endpoint.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    origin: Origin,
    repository: String,
    scope: Scope,
    subject: Subject,
    credentials: Option<Credentials>,
    /// What answered the last challenge.
    authorization: Mutex<Option<HeaderValue>>,
    /// What the last token was to allow.
    asked: Mutex<String>,
}

/// A manifest's bytes and what came with them.
#[derive(Debug)]
pub(super) struct RawManifest {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: Option<String>,
    pub(super) digest: Digest,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request but for where it goes.
struct Request<'a> {
    method: Method,
    headers: &'a HeaderMap,
    payload: &'a Payload,
    sent: &'a Arc<AtomicU64>,
}

/// How long to wait before one asks again, if the answer says so: seconds, or a time (RFC 9110, section 10.2.3).
fn wait_for(answer: &Answer) -> Option<Duration> {
    if !matches!(
        answer.status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        return None;
    }
    let text = answer.header(header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let when = httpdate::parse_http_date(text).ok()?;
    Some(when.duration_since(SystemTime::now()).unwrap_or_default())
}

impl Drop for Session {
    /// A daemon at rest keeps no connections.
    fn drop(&mut self) {
        self.transport().forget();
    }
}

impl Session {
    /// Greets the registry. Its answer tells whether there is one, and what it wants to know.
    pub(super) async fn open(
        client: &Client,
        endpoint: Endpoint,
        reference: &Reference,
        scope: Scope,
        credentials: Option<Credentials>,
    ) -> Result<Session, RegistryError> {
        let credentials = credentials.filter(|_| endpoint.trusted);
        let sent_as_is = credentials
            .as_ref()
            .filter(|c| !c.registry_token.is_empty());
        let authorization = sent_as_is.and_then(|c| auth::bearer(&c.registry_token));
        let mut session = Session {
            client: client.clone(),
            origin: endpoint.origin,
            repository: format!("{}{}", endpoint.prefix, reference.path()),
            scope,
            subject: Subject {
                reference: reference.familiar(),
                repository: reference.familiar_name(),
                is_push: scope == Scope::Push,
            },
            credentials,
            authorization: Mutex::new(authorization),
            asked: Mutex::default(),
        };
        let Err(error) = session.greet().await else {
            return Ok(session);
        };
        let Some(other) = endpoint
            .otherwise
            .filter(|_| session.speaks_otherwise(&error))
        else {
            return Err(error);
        };
        let first = session.origin.scheme;
        session.origin.scheme = other;
        match session.greet().await {
            Ok(()) => Ok(session),
            // What plain http said is told.
            Err(last) if first == Scheme::HttpsUnverified => Err(last),
            Err(_) => Err(error),
        }
    }

    /// For what belongs to no repository; the registry is not greeted.
    pub(super) fn without_repository(
        client: &Client,
        origin: Origin,
        credentials: Option<Credentials>,
    ) -> Session {
        Session {
            client: client.clone(),
            origin,
            repository: String::new(),
            scope: Scope::None,
            subject: Subject {
                reference: String::new(),
                repository: String::new(),
                is_push: true,
            },
            credentials,
            authorization: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// Whether a greeting failed as it does where the other of http and https is spoken.
    fn speaks_otherwise(&self, error: &RegistryError) -> bool {
        match error {
            RegistryError::Transport { what, .. } => {
                self.origin.scheme != Scheme::Http
                    || matches!(what, TransportFault::Broken(_) | TransportFault::Short)
            }
            // A proxy on the way tells of the break.
            RegistryError::Status { status } => {
                matches!(*status, StatusCode::BAD_REQUEST | StatusCode::BAD_GATEWAY)
            }
            _ => false,
        }
    }

    fn transport(&self) -> &Transport {
        &self.client.inner.transport
    }

    /// The repository's name there.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// The address of something of the registry.
    pub(super) fn url(&self, path: String) -> Url {
        Url {
            origin: self.origin.clone(),
            path,
        }
    }

    async fn greet(&self) -> Result<(), RegistryError> {
        let url = self.url("/v2/".to_owned());
        let mut answer = self
            .transport()
            .send(Method::GET, &url, &HeaderMap::new())
            .await?;
        // A challenge is answered with the first request that names the repository; other
        // refusals come again there, with the repository's name in the sentence.
        let status = answer.status;
        if status.is_server_error() || status == StatusCode::BAD_REQUEST {
            return Err(RegistryError::Status { status });
        }
        // Reading a short body leaves the connection fit for the next request.
        answer.read(ERROR_BODY_LIMIT).await?;
        Ok(())
    }

    fn authorization(&self) -> Option<HeaderValue> {
        lock(&self.authorization).clone()
    }

    /// Sends a request, answers a challenge once, follows redirections, waits where the registry is busy and says how
    /// long, and turns everything but success into an error.
    async fn request(
        &self,
        method: Method,
        path: String,
        headers: &HeaderMap,
    ) -> Result<Answer, RegistryError> {
        let url = self.url(path);
        let sent = Arc::default();
        self.request_with(method, &url, headers, &Payload::Empty, &sent)
            .await
    }

    /// [`Session::request`] with something to send. `sent` grows by what was sent of it.
    pub(super) async fn request_with(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        payload: &Payload,
        sent: &Arc<AtomicU64>,
    ) -> Result<Answer, RegistryError> {
        let request = Request {
            method,
            headers,
            payload,
            sent,
        };
        let mut returns = 0;
        loop {
            let mut answer = self.authorized(&request, url).await?;
            if answer.status.is_success() {
                return match self.scope == Scope::Push && answer.is_page() {
                    true => Err(answer.page("a registry's answer").await),
                    false => Ok(answer),
                };
            }
            match wait_for(&answer) {
                Some(wait) if wait <= LONGEST_WAIT && returns < MAX_RETURNS => {
                    tracing::debug!(?wait, %url, "the registry is busy");
                    tokio::time::sleep(wait).await;
                    returns += 1;
                }
                _ => return Err(self.refusal(answer).await),
            }
        }
    }

    /// Answers a challenge once. A token that is no longer good is challenged, too.
    async fn authorized(&self, request: &Request<'_>, url: &Url) -> Result<Answer, RegistryError> {
        let answer = self.follow(request, url).await?;
        if answer.status != StatusCode::UNAUTHORIZED || answer.url.origin != self.origin {
            return Ok(answer);
        }
        let Some(challenge) = Challenge::of(&answer.headers) else {
            return Ok(answer);
        };
        // A token for the same would be refused again.
        let wanted = challenge.scopes(&self.scope.of(&self.repository));
        let known = std::mem::replace(&mut *lock(&self.asked), wanted.clone());
        if challenge.is_scope_refusal() && known == wanted {
            return Ok(answer);
        }
        let header = auth::answer(
            self.transport(),
            &answer,
            &challenge,
            &wanted,
            self.credentials.as_ref(),
        )
        .await;
        let header = header.map_err(|error| self.subject.shown(error))?;
        *lock(&self.authorization) = Some(header);
        self.follow(request, url).await
    }

    async fn refusal(&self, mut answer: Answer) -> RegistryError {
        let refused =
            Challenge::of(&answer.headers).is_some_and(|challenge| challenge.is_scope_refusal());
        let body = if answer.method == "Head" {
            Vec::new()
        } else {
            // The status says more than a body that cannot be read.
            answer.read(ERROR_BODY_LIMIT).await.unwrap_or_default()
        };
        let url = answer.url.to_string();
        from_answer(
            &self.subject,
            (answer.method, &url),
            answer.status,
            &body,
            refused,
        )
    }

    /// Follows redirections. Our authorisation goes only to the registry itself.
    async fn follow(&self, request: &Request<'_>, url: &Url) -> Result<Answer, RegistryError> {
        let Request {
            method,
            headers,
            payload,
            sent,
        } = request;
        let asks = matches!(*method, Method::GET | Method::HEAD);
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = (*headers).clone();
            if url.origin == self.origin
                && let Some(value) = self.authorization()
            {
                headers.insert(header::AUTHORIZATION, value);
            }
            let answer = self
                .transport()
                .send_with(method.clone(), &url, &headers, payload, sent)
                .await?;
            // What is sent is sent again only where that is asked for.
            let redirects = match answer.status.as_u16() {
                307 | 308 => true,
                301..=303 => asks,
                _ => false,
            };
            if !redirects {
                return Ok(answer);
            }
            let location = answer.header(header::LOCATION).unwrap_or_default();
            let next = answer
                .url
                .join(location)
                .map(|next| next.trusting_as(&self.origin));
            // Leaving https would show the content to everyone on the way.
            let next = next.filter(|next| {
                !url.origin.scheme.is_encrypted() || next.origin.scheme.is_encrypted()
            });
            url =
                next.ok_or_else(|| answer.fault(TransportFault::Location(location.to_owned())))?;
        }
        let what = TransportFault::Redirects(MAX_REDIRECTS);
        let method = super::transport::method_name(method);
        Err(RegistryError::Transport {
            method,
            url: url.to_string(),
            what,
        })
    }

    /// Who is asked: scheme, host and port.
    pub(super) fn registry(&self) -> String {
        self.origin.to_string()
    }

    /// The path of a manifest, by tag or digest.
    pub(super) fn manifest_path(&self, name: &str) -> String {
        format!("/v2/{}/manifests/{name}", self.repository)
    }

    /// Fetches a manifest by tag or digest and verifies its digest.
    pub(super) async fn manifest(
        &self,
        name: &str,
        expected: Option<Digest>,
    ) -> Result<RawManifest, RegistryError> {
        let mut answer = self
            .request(Method::GET, self.manifest_path(name), &accept())
            .await?;
        let content_type = answer.header(header::CONTENT_TYPE).map(str::to_owned);
        if answer.is_page() {
            return Err(answer.page("a manifest").await);
        }
        let bytes = answer.read(MAX_MANIFEST_BYTES).await?;
        let digest = Digest::sha256(&bytes);
        if let Some(expected) = expected
            && digest != expected
        {
            return Err(RegistryError::ManifestDigest { expected });
        }
        Ok(RawManifest {
            bytes,
            content_type,
            digest,
        })
    }

    /// Digest, media type and length of a manifest, without its content.
    pub(super) async fn head_manifest(
        &self,
        name: &str,
    ) -> Result<(Option<Digest>, Option<String>, Option<u64>), RegistryError> {
        let answer = self
            .request(Method::HEAD, self.manifest_path(name), &accept())
            .await?;
        let digest = answer.header(HeaderName::from_static("docker-content-digest"));
        let length = answer.header(header::CONTENT_LENGTH);
        Ok((
            digest.and_then(|text| text.parse().ok()),
            answer.header(header::CONTENT_TYPE).map(str::to_owned),
            length.and_then(|text| text.parse().ok()),
        ))
    }

    /// Fetches a blob of at most `limit` bytes and verifies its digest.
    pub(super) async fn small_blob(
        &self,
        digest: Digest,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let bytes = self.blob(&digest, 0).await?.read(limit).await?;
        match Digest::sha256(&bytes) == digest {
            true => Ok(bytes),
            false => Err(RegistryError::BlobDigest { expected: digest }),
        }
    }

    /// Begins to fetch a blob, from `offset` if the registry can do that.
    pub(super) async fn blob(&self, digest: &Digest, offset: u64) -> Result<Answer, RegistryError> {
        let mut headers = HeaderMap::new();
        if offset > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            headers.insert(header::RANGE, range);
        }
        let path = format!("/v2/{}/blobs/{digest}", self.repository);
        self.request(Method::GET, path, &headers).await
    }
}

fn accept() -> HeaderMap {
    let values = ACCEPTED.into_iter().map(HeaderValue::from_static);
    values.map(|value| (header::ACCEPT, value)).collect()
}
