//! Requests to one repository: authorisation, redirections, answers that are errors.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use types::{DEFAULT_DOMAIN, Digest, Reference};

use super::auth::{self, Challenge};
use super::error::{RegistryError, Subject, TransportFault, from_answer};
use super::proxy;
use super::transport::{Answer, Transport};
use super::url::{Origin, Scheme, Url};
use super::{Client, ClientOptions, Credentials};
use crate::manifest::{MAX_MANIFEST_BYTES, media_type};

/// Where docker.io's registry really is.
const DEFAULT_REGISTRY: &str = "registry-1.docker.io";
const MAX_REDIRECTS: usize = 10;
const ERROR_BODY_LIMIT: u64 = 64 << 10;
const ACCEPTED: [&str; 4] = [
    media_type::OCI_INDEX,
    media_type::DOCKER_LIST,
    media_type::OCI_MANIFEST,
    media_type::DOCKER_MANIFEST,
];

/// A place where a repository may be found.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    origin: Origin,
    /// Whether the user's credentials are meant for it.
    trusted: bool,
}

/// The places for a reference, in the order in which they are asked.
pub(super) fn endpoints(
    options: &ClientOptions,
    reference: &Reference,
) -> Result<Vec<Endpoint>, RegistryError> {
    let unusable = |registry: &str| RegistryError::Address {
        registry: registry.to_owned(),
    };
    let domain = reference.domain();
    let mut list = Vec::new();
    if domain == DEFAULT_DOMAIN {
        for mirror in &options.mirrors {
            let url = Url::parse(mirror).ok_or_else(|| unusable(mirror))?;
            list.push(Endpoint {
                origin: url.origin,
                trusted: false,
            });
        }
    }
    let authority = if domain == DEFAULT_DOMAIN {
        DEFAULT_REGISTRY
    } else {
        domain
    };
    let scheme = if is_insecure(options, domain) {
        Scheme::Http
    } else {
        Scheme::Https
    };
    let origin = Origin::new(scheme, authority).ok_or_else(|| unusable(authority))?;
    list.push(Endpoint {
        origin,
        trusted: true,
    });
    Ok(list)
}

/// Whether plain http is allowed: for loopback addresses, and for what the administrator lists.
fn is_insecure(options: &ClientOptions, domain: &str) -> bool {
    let Some(origin) = Origin::new(Scheme::Http, domain) else {
        return false;
    };
    let host = origin.host();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    options.insecure.iter().any(|entry| {
        let listed = entry.trim_start_matches("http://").trim_end_matches('/');
        listed.eq_ignore_ascii_case(domain)
            || listed.eq_ignore_ascii_case(host)
            || address
                .zip(proxy::network(listed))
                .is_some_and(|(address, (base, bits))| proxy::in_network(base, bits, address))
    })
}

/// One repository at one endpoint.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    origin: Origin,
    repository: String,
    subject: Subject,
    credentials: Option<Credentials>,
    /// What answered the last challenge.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A manifest's bytes and what came with them.
#[derive(Debug)]
pub(super) struct RawManifest {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: Option<String>,
    pub(super) digest: Digest,
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
            repository: reference.path().to_owned(),
            subject: Subject {
                reference: reference.familiar(),
                repository: reference.familiar_name(),
            },
            credentials,
            authorization: Mutex::new(authorization),
        };
        let Err(error) = session.greet().await else {
            return Ok(session);
        };
        if !session.may_want_tls(&error) {
            return Err(error);
        }
        // Plain http is allowed here, so encryption with whomever is no worse.
        session.origin.scheme = Scheme::HttpsUnverified;
        match session.greet().await {
            Ok(()) => Ok(session),
            Err(_) => Err(error),
        }
    }

    /// Whether a plain greeting failed as it does where https is spoken.
    fn may_want_tls(&self, error: &RegistryError) -> bool {
        let broken = match error {
            RegistryError::Transport { what, .. } => {
                matches!(what, TransportFault::Broken(_) | TransportFault::Short)
            }
            // A proxy on the way tells of the break.
            RegistryError::Status { status } => {
                matches!(*status, StatusCode::BAD_REQUEST | StatusCode::BAD_GATEWAY)
            }
            _ => false,
        };
        self.origin.scheme == Scheme::Http && broken
    }

    fn transport(&self) -> &Transport {
        &self.client.inner.transport
    }

    fn url(&self, path: String) -> Url {
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
        self.authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sends a request, answers a challenge once, follows redirections, and turns everything
    /// but success into an error.
    async fn request(
        &self,
        method: Method,
        path: String,
        headers: &HeaderMap,
    ) -> Result<Answer, RegistryError> {
        let url = self.url(path);
        let mut answer = self.follow(&method, &url, headers).await?;
        if answer.status == StatusCode::UNAUTHORIZED
            && answer.url.origin == self.origin
            && let Some(challenge) = Challenge::of(&answer.headers)
            && !challenge.is_scope_refusal()
        {
            let credentials = self.credentials.as_ref();
            let transport = self.transport();
            let header = auth::answer(
                transport,
                &answer,
                &challenge,
                &self.repository,
                credentials,
            )
            .await?;
            *self
                .authorization
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(header);
            answer = self.follow(&method, &url, headers).await?;
        }
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(self.refusal(answer).await)
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
    async fn follow(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Answer, RegistryError> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = headers.clone();
            if url.origin == self.origin
                && let Some(value) = self.authorization()
            {
                headers.insert(header::AUTHORIZATION, value);
            }
            let answer = self
                .transport()
                .send(method.clone(), &url, &headers)
                .await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
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

    fn manifest_path(&self, name: &str) -> String {
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
        let status = answer.status;
        let bytes = answer.read(MAX_MANIFEST_BYTES).await?;
        if content_type
            .as_deref()
            .is_some_and(|kind| kind.starts_with("text/html"))
        {
            return Err(RegistryError::Garbage {
                status,
                reason: format!("a web page instead of a manifest from {}", self.origin),
                body: String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned(),
            });
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn insecure(domain: &str, listed: &[&str]) -> bool {
        let insecure = listed.iter().map(|s| (*s).to_owned()).collect();
        is_insecure(
            &ClientOptions {
                insecure,
                ..ClientOptions::default()
            },
            domain,
        )
    }

    #[test]
    fn loopback_and_listed_registries_are_insecure() {
        for domain in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            assert!(insecure(domain, &[]), "{domain}");
        }
        assert!(!insecure("docker.io", &[]));
        assert!(!insecure("10.0.0.1:5000", &[]));
        assert!(insecure("10.0.0.1:5000", &["10.0.0.0/8"]));
        assert!(!insecure("11.0.0.1:5000", &["10.0.0.0/8"]));
        assert!(insecure("1.2.3.4", &["0.0.0.0/0"]));
        assert!(insecure("reg.example:5000", &["reg.example:5000"]));
        assert!(insecure("reg.example:5000", &["reg.example"]));
        assert!(!insecure("reg.example:5001", &["reg.example:5000"]));
        assert!(insecure("[fd00::1]:5000", &["fd00::/8"]));
    }

    #[test]
    fn mirrors_come_first_for_the_default_registry_only() {
        let mirrors = vec!["http://mirror:5000".to_owned()];
        let options = ClientOptions {
            mirrors,
            ..ClientOptions::default()
        };
        let of = |name: &str| {
            let list = endpoints(&options, &name.parse().unwrap()).unwrap();
            list.iter()
                .map(|e| (e.origin.to_string(), e.trusted))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("debian"),
            [
                ("http://mirror:5000".to_owned(), false),
                ("https://registry-1.docker.io".to_owned(), true)
            ]
        );
        assert_eq!(
            of("localhost:5000/x"),
            [("http://localhost:5000".to_owned(), true)]
        );
    }
}
