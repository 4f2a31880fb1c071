//! What registries answer and how they fail, in docker's sentences.

use std::io;

use http::StatusCode;
use serde::Deserialize;
use types::Digest;

/// How much of a body that makes no sense is quoted.
const QUOTED_BYTES: usize = 200;

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or it broke.
    #[error("{method} \"{url}\": {what}")]
    Transport {
        /// `Get`, `Head`, `Post`, `Patch` or `Put`.
        method: &'static str,
        /// What was requested.
        url: String,
        /// What happened.
        what: TransportFault,
    },
    /// A registry's or a mirror's name is no address.
    #[error("invalid registry address {registry:?}")]
    Address {
        /// Its name.
        registry: String,
    },
    /// The manifest does not exist.
    #[error("manifest for {reference} not found: {answer}")]
    ManifestUnknown {
        /// What was asked for.
        reference: String,
        /// The registry's words.
        answer: String,
    },
    /// The repository does not exist.
    #[error("repository {repository} not found: {answer}")]
    NameUnknown {
        /// What was asked for.
        repository: String,
        /// The registry's words.
        answer: String,
    },
    /// The registry does not say whether the repository exists.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker \
         login': {answer}"
    )]
    Denied {
        /// What was asked for.
        repository: String,
        /// The registry's words.
        answer: String,
    },
    /// Credentials are missing or wrong.
    #[error("{method} \"{url}\": {answer}")]
    Unauthorized {
        /// `Get`, `Head`, `Post`, `Patch` or `Put`.
        method: &'static str,
        /// What was requested.
        url: String,
        /// The registry's words, or ours.
        answer: String,
    },
    /// Nobody gave credentials, and the registry asks for some.
    #[error("{method} \"{url}\": no basic auth credentials")]
    NoCredentials {
        /// `Get`, `Head`, `Post`, `Patch` or `Put`.
        method: &'static str,
        /// What was requested.
        url: String,
    },
    /// The registry does not take what is sent to it.
    #[error("{answer}")]
    Refused {
        /// The registry's words.
        answer: String,
    },
    /// A login that is not right.
    #[error("login attempt to {url} failed with status: {status}")]
    Login {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// The registry offers no search.
    #[error("{registry} offers no search: {status}")]
    NoSearch {
        /// Its name.
        registry: String,
        /// What it answered.
        status: StatusCode,
    },
    /// More tags than are listed.
    #[error("{repository} has more than {most} tags: name those that are wanted")]
    TooManyTags {
        /// The repository.
        repository: String,
        /// How many there may be.
        most: usize,
    },
    /// A web server does not give a file.
    #[error("failed to GET {url} with status {status}: {body}")]
    Download {
        /// What was asked for.
        url: String,
        /// Its answer.
        status: StatusCode,
        /// Its words.
        body: String,
    },
    /// A refusal where nothing is pulled or sent: the registry's status is passed on.
    #[error("{answer}")]
    Told {
        /// The HTTP status.
        status: StatusCode,
        /// The registry's words.
        answer: String,
    },
    /// Another answer in the registry's form.
    #[error("{answer}")]
    Answer {
        /// The HTTP status.
        status: StatusCode,
        /// The registry's words.
        answer: String,
    },
    /// An answer that is not in a registry's form.
    #[error("error parsing HTTP {} response body: {reason}: {body:?}", status.as_u16())]
    Garbage {
        /// The HTTP status.
        status: StatusCode,
        /// What is wrong with it.
        reason: String,
        /// Its beginning.
        body: String,
    },
    /// A failure of the registry itself.
    #[error("received unexpected HTTP status: {status}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
    },
    /// The manifest's content is not what its digest says.
    #[error("manifest verification failed for digest {expected}")]
    ManifestDigest {
        /// What was asked for.
        expected: Digest,
    },
    /// A small blob's content is not what its digest says.
    #[error("content verification failed for digest {expected}")]
    BlobDigest {
        /// What was asked for.
        expected: Digest,
    },
    /// A blob could not be fetched or sent, however often it was tried.
    #[error("{what} failed after attempts={attempts}: {source}")]
    Attempts {
        /// `download` or `upload`.
        what: &'static str,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        #[source]
        source: Box<RegistryError>,
    },
}

/// How a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum TransportFault {
    /// The name has no address.
    #[error("dial tcp: lookup {host}{reason}")]
    Lookup {
        /// The name.
        host: String,
        /// Why, with what stands between: `: no such host`, ` on SERVER: REASON`.
        reason: String,
    },
    /// No connection could be made.
    #[error("dial tcp {address}: connect: {}", plain(source))]
    Connect {
        /// The address that was tried last.
        address: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The peer did not take the connection in time.
    #[error("dial tcp {address}: i/o timeout")]
    ConnectTimeout {
        /// The address that was tried last.
        address: String,
    },
    /// The proxy on the way could not be reached.
    #[error("proxyconnect tcp: {source}")]
    Proxy {
        /// How that failed.
        #[source]
        source: Box<TransportFault>,
    },
    /// The proxy does not connect to the registry.
    #[error("proxyconnect tcp: the proxy answered {status}")]
    ProxyRefused {
        /// Its answer.
        status: StatusCode,
    },
    /// What is configured as a proxy is none.
    #[error("proxyconnect tcp: {address:?} is no address of an http or https proxy")]
    ProxyAddress {
        /// The address, without credentials.
        address: String,
    },
    /// The connection could not be encrypted, or not with the right peer.
    #[error("{0}")]
    Tls(String),
    /// The peer took the request and said nothing.
    #[error("net/http: request canceled (Client.Timeout exceeded while awaiting headers)")]
    HeaderTimeout,
    /// The peer stopped in the middle of its answer.
    #[error(
        "net/http: request canceled (Client.Timeout or context cancellation while reading body)"
    )]
    BodyTimeout,
    /// The peer sends less than anyone can wait for.
    #[error(
        "the registry is too slow: it sent {bytes} bytes in {seconds} seconds, less than {least}"
    )]
    Slow {
        /// How much came.
        bytes: u64,
        /// In how many seconds of waiting.
        seconds: u64,
        /// What had to come.
        least: u64,
    },
    /// The peer does not speak HTTP, or broke off.
    #[error("net/http: HTTP/1.x transport connection broken: {0}")]
    Broken(String),
    /// The answer ended too early.
    #[error("unexpected EOF")]
    Short,
    /// The answer is longer than it may be.
    #[error("the answer is larger than {0} bytes")]
    Long(u64),
    /// Redirections without an end, or to nowhere.
    #[error("stopped after {0} redirects")]
    Redirects(usize),
    /// An address that cannot be used.
    #[error("invalid location {0:?}")]
    Location(String),
    /// A way to speak that is none of http and https.
    #[error("unsupported protocol scheme {0:?}")]
    Scheme(String),
}

/// An I/O error without Rust's "(os error N)", and in lowercase as Go writes it.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

impl TransportFault {
    fn is_passing(&self) -> bool {
        match self {
            TransportFault::Redirects(_)
            | TransportFault::Location(_)
            | TransportFault::Scheme(_)
            | TransportFault::Long(_)
            | TransportFault::Slow { .. }
            | TransportFault::Tls(_)
            | TransportFault::ProxyAddress { .. }
            | TransportFault::Lookup { .. } => false,
            TransportFault::ProxyRefused { status } => status.is_server_error(),
            TransportFault::Proxy { source } => source.is_passing(),
            TransportFault::Connect { .. }
            | TransportFault::ConnectTimeout { .. }
            | TransportFault::HeaderTimeout
            | TransportFault::BodyTimeout
            | TransportFault::Broken(_)
            | TransportFault::Short => true,
        }
    }
}

impl RegistryError {
    /// Whether trying again may help: the connection broke, or the registry is unwell or busy.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            RegistryError::Transport { what, .. } => what.is_passing(),
            RegistryError::Status { status }
            | RegistryError::Answer { status, .. }
            | RegistryError::Garbage { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

/// Which sentence a refusal becomes: what was asked for, in the user's words.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// `name:tag`, short form.
    pub(crate) reference: String,
    /// The name without tag, short form.
    pub(crate) repository: String,
    /// Whether it is to be sent there: docker then tells the registry's words alone.
    pub(crate) is_push: bool,
}

impl Subject {
    /// A refusal as docker tells it of what is being done.
    pub(crate) fn shown(&self, error: RegistryError) -> RegistryError {
        if !self.is_push {
            return error;
        }
        match error {
            RegistryError::Denied { answer, .. }
            | RegistryError::NameUnknown { answer, .. }
            | RegistryError::ManifestUnknown { answer, .. } => RegistryError::Refused { answer },
            RegistryError::Unauthorized { answer, .. } => RegistryError::Refused { answer },
            RegistryError::NoCredentials { .. } => RegistryError::Refused {
                answer: "no basic auth credentials".to_owned(),
            },
            other => other,
        }
    }
}

/// The registry's own words about who was refused, if it has any.
pub(crate) fn refused_words(body: &[u8]) -> Option<String> {
    let entry = first_entry(body).ok()?;
    let message = entry.message.filter(|message| !message.is_empty());
    let code = entry.code.to_lowercase().replace('_', " ");
    let code = if code == "unknown" || code.is_empty() {
        "unauthorized".to_owned()
    } else {
        code
    };
    Some(match message {
        Some(message) => format!("{code}: {message}"),
        None => code,
    })
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Option<Vec<ErrorEntry>>,
    details: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

/// Turns an answer that is not a success into an error.
///
/// `scope_refused` says that the answer's challenge named insufficient scope, which is how token
/// registries say "denied".
pub(crate) fn from_answer(
    subject: &Subject,
    request: (&'static str, &str),
    status: StatusCode,
    body: &[u8],
    scope_refused: bool,
) -> RegistryError {
    subject.shown(refusal(subject, request, status, body, scope_refused))
}

fn refusal(
    subject: &Subject,
    (method, url): (&'static str, &str),
    status: StatusCode,
    body: &[u8],
    scope_refused: bool,
) -> RegistryError {
    if status.is_server_error() {
        return RegistryError::Status { status };
    }
    let repository = subject.repository.clone();
    if scope_refused {
        let answer = "denied: requested access to the resource is denied".to_owned();
        return RegistryError::Denied { repository, answer };
    }
    let entry = match first_entry(body) {
        Ok(entry) => entry,
        Err(_) if status == StatusCode::UNAUTHORIZED => {
            let answer = "unauthorized: authentication required".to_owned();
            return RegistryError::Unauthorized {
                method,
                url: url.to_owned(),
                answer,
            };
        }
        Err(reason) => {
            let quoted = &body[..body.len().min(QUOTED_BYTES)];
            let body = String::from_utf8_lossy(quoted).into_owned();
            return RegistryError::Garbage {
                status,
                reason,
                body,
            };
        }
    };
    let words = entry.code.to_lowercase().replace('_', " ");
    let message = entry
        .message
        .filter(|m| !m.is_empty())
        .unwrap_or_else(|| words.clone());
    let answer = format!("{words}: {message}");
    match entry.code.as_str() {
        "MANIFEST_UNKNOWN" => RegistryError::ManifestUnknown {
            reference: subject.reference.clone(),
            answer,
        },
        "NAME_UNKNOWN" => RegistryError::NameUnknown { repository, answer },
        "DENIED" => RegistryError::Denied { repository, answer },
        "UNAUTHORIZED" => RegistryError::Unauthorized {
            method,
            url: url.to_owned(),
            answer,
        },
        _ => RegistryError::Answer { status, answer },
    }
}

fn first_entry(body: &[u8]) -> Result<ErrorEntry, String> {
    let parsed: ErrorBody = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if let Some(first) = parsed.errors.unwrap_or_default().into_iter().next() {
        return Ok(first);
    }
    // Some gateways answer with a plain object.
    match parsed.details.or(parsed.message) {
        Some(text) => Ok(ErrorEntry {
            code: "UNKNOWN".into(),
            message: Some(text),
        }),
        None => Err("no error details found in HTTP response body".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> String {
        let subject = Subject {
            reference: "h:5/x:1".into(),
            repository: "h:5/x".into(),
            is_push: false,
        };
        let status = StatusCode::from_u16(status).unwrap_or_default();
        let request = ("Get", "http://h:5/v2/x/manifests/1");
        from_answer(&subject, request, status, body.as_bytes(), false).to_string()
    }

    #[test]
    fn answers_become_the_known_sentences() {
        let body = |code, message| {
            format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"{message}\"}}]}}")
        };
        for (status, body, sentence) in [
            (
                404,
                body("MANIFEST_UNKNOWN", "manifest unknown"),
                "manifest for h:5/x:1 not found: manifest unknown: manifest unknown",
            ),
            (
                404,
                body("NAME_UNKNOWN", "repository name not known to registry"),
                "repository h:5/x not found: name unknown: repository name not known to registry",
            ),
            (
                403,
                body("DENIED", "requested access to the resource is denied"),
                "pull access denied for h:5/x, repository does not exist or may require 'docker \
                 login': denied: requested access to the resource is denied",
            ),
            (
                401,
                body("UNAUTHORIZED", "authentication required"),
                "Get \"http://h:5/v2/x/manifests/1\": unauthorized: authentication required",
            ),
            (
                429,
                body("TOOMANYREQUESTS", ""),
                "toomanyrequests: toomanyrequests",
            ),
            (
                503,
                String::new(),
                "received unexpected HTTP status: 503 Service Unavailable",
            ),
        ] {
            assert_eq!(answer(status, &body), sentence);
        }
        let garbage = answer(404, "<html>no</html>");
        assert!(garbage.starts_with("error parsing HTTP 404 response body: expected value"));
        assert!(garbage.ends_with(": \"<html>no</html>\""), "{garbage}");
    }

    #[test]
    fn the_system_s_words_are_go_s() {
        let source = io::Error::from_raw_os_error(111);
        let fault = TransportFault::Connect {
            address: "127.0.0.1:1".into(),
            source,
        };
        assert_eq!(
            fault.to_string(),
            "dial tcp 127.0.0.1:1: connect: connection refused"
        );
    }
}
