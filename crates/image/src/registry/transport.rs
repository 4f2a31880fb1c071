//! Connections: one request, one answer, bounded in time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use super::ClientOptions;
use super::error::{RegistryError, TransportFault};
use super::payload::{Outgoing, Payload};
use super::proxy::{Proxies, Proxy};
use super::resolve;
use super::tls;
use super::tunnel;
use super::url::{Origin, Scheme, Url};

pub(super) const USER_AGENT: &str = concat!("wharf/", env!("CARGO_PKG_VERSION"));
/// Connections that are kept for later, for each registry.
const KEPT_CONNECTIONS: usize = 4;
/// A body of which less than this comes within [`Timeouts::pace`] is given up: the slowest lines that people have carry
/// it in a fraction of that.
const LEAST_BYTES: u64 = 64 << 10;

/// The longest web page of which the beginning is quoted, and how much of it.
const PAGE: u64 = 4 << 20;
const QUOTED: usize = 200;

/// How long to wait for a peer.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection to be made.
    pub connect: Duration,
    /// From the request to the answer's headers.
    pub headers: Duration,
    /// For the next piece of a body.
    pub idle: Duration,
    /// For the next 64 KiB of a body, or its end. Only the time counts in which nothing else was
    /// waited for, such as our own disk. Also for the answer to what was sent to a registry, which may have to look
    /// through all of a blob first.
    pub pace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(15),
            headers: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            pace: Duration::from_secs(300),
        }
    }
}

type Sender = SendRequest<Outgoing>;

/// A connection of whatever kind.
pub(super) type Stream = Box<dyn Duplex>;

/// Both directions of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Makes and keeps connections.
#[derive(Debug)]
pub(crate) struct Transport {
    timeouts: Timeouts,
    proxies: Proxies,
    kept: Mutex<HashMap<Origin, Vec<Sender>>>,
    /// Each holds a folder of certificates for some registries; the first that has one counts.
    certificates: Vec<PathBuf>,
    trusted: Mutex<HashMap<Origin, Arc<ClientConfig>>>,
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `Get` or `Head` and what was asked for, for messages.
    pub(crate) method: &'static str,
    pub(crate) url: Url,
    body: Incoming,
    idle: Duration,
    pace: Pace,
}

/// How fast a body comes.
#[derive(Debug)]
struct Pace {
    within: Duration,
    waited: Duration,
    came: u64,
}

impl Pace {
    fn new(within: Duration) -> Pace {
        Pace {
            within,
            waited: Duration::ZERO,
            came: 0,
        }
    }

    /// Counts what came after so much waiting.
    fn count(&mut self, waited: Duration, bytes: usize) -> Result<(), TransportFault> {
        self.waited += waited;
        self.came += bytes as u64;
        if self.waited < self.within {
            return Ok(());
        }
        if self.came < LEAST_BYTES {
            return Err(TransportFault::Slow {
                bytes: self.came,
                seconds: self.waited.as_secs(),
                least: LEAST_BYTES,
            });
        }
        *self = Pace::new(self.within);
        Ok(())
    }
}

/// A method as Go's messages write it.
pub(crate) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "Head",
        Method::POST => "Post",
        Method::PATCH => "Patch",
        Method::PUT => "Put",
        Method::DELETE => "Delete",
        _ => "Get",
    }
}

impl Transport {
    pub(crate) fn new(options: &ClientOptions) -> Transport {
        let (kept, trusted) = Default::default();
        Transport {
            timeouts: options.timeouts,
            proxies: options.proxies.clone(),
            kept,
            certificates: options.certificates.clone(),
            trusted,
        }
    }

    /// Sends one request without a body and waits for the answer's headers.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Answer, RegistryError> {
        let sent = Arc::default();
        self.send_with(method, url, headers, &Payload::Empty, &sent)
            .await
    }

    /// Sends one request and waits for the answer's headers; `sent` grows by what was sent of the payload. A kept
    /// connection that turns out to be closed is replaced by a new one, once.
    pub(crate) async fn send_with(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        payload: &Payload,
        sent: &Arc<AtomicU64>,
    ) -> Result<Answer, RegistryError> {
        let name = method_name(&method);
        let fault = |what| RegistryError::Transport {
            method: name,
            url: url.to_string(),
            what,
        };
        let proxy = self.proxies.of(&url.origin).map_err(fault)?;
        let request = || {
            let body = payload.body(sent);
            build(&method, url, headers, proxy.as_ref(), body).map_err(fault)
        };
        // What is large is sent over a connection that can not have been closed meanwhile.
        if !payload.is_large()
            && let Some(sender) = self.take(&url.origin)
        {
            match self.exchange(sender, request()?, name, url, sent).await {
                Err(TransportFault::Broken(_)) => {}
                outcome => return outcome.map_err(fault),
            }
        }
        let connected = self.connect(&url.origin, proxy.as_ref()).await;
        let sender = connected.map_err(fault)?;
        let answer = self.exchange(sender, request()?, name, url, sent).await;
        let answer = answer.map_err(fault)?;
        let status = answer.status;
        if proxy.is_some() && status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(fault(TransportFault::ProxyRefused { status }));
        }
        Ok(answer)
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        request: Request<Outgoing>,
        method: &'static str,
        url: &Url,
        sent: &AtomicU64,
    ) -> Result<Answer, TransportFault> {
        let asks = matches!(method, "Get" | "Head");
        let patience = if asks {
            self.timeouts.headers
        } else {
            self.timeouts.pace
        };
        let answer = sender.send_request(request);
        tokio::pin!(answer);
        let answer = loop {
            let before = sent.load(Ordering::Relaxed);
            match timeout(patience, &mut answer).await {
                Ok(answer) => break answer,
                // As long as it takes enough of what is sent, it may take its time.
                Err(_) if sent.load(Ordering::Relaxed) - before >= LEAST_BYTES => {}
                Err(_) => return Err(TransportFault::HeaderTimeout),
            }
        };
        let answer = answer.map_err(|error| broken(&error))?;
        self.keep(&url.origin, sender);
        let (head, body) = answer.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            method,
            url: url.clone(),
            body,
            idle: self.timeouts.idle,
            pace: Pace::new(self.timeouts.pace),
        })
    }

    /// A kept connection that is ready, and none that is still busy with a body.
    fn take(&self, origin: &Origin) -> Option<Sender> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = kept.get_mut(origin)?;
        senders.retain(|sender| !sender.is_closed());
        let ready = senders.iter().position(SendRequest::is_ready)?;
        Some(senders.swap_remove(ready))
    }

    fn keep(&self, origin: &Origin, sender: Sender) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let senders = kept.entry(origin.clone()).or_default();
        senders.retain(|sender| !sender.is_closed());
        if senders.len() < KEPT_CONNECTIONS {
            senders.push(sender);
        }
    }

    /// Closes the connections that are kept for later, and forgets whom to trust.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        trusted.clear();
    }

    async fn connect(
        &self,
        origin: &Origin,
        proxy: Option<&Proxy>,
    ) -> Result<Sender, TransportFault> {
        let encrypted = origin.scheme.is_encrypted();
        let stream = match proxy {
            None => Box::new(self.dial(origin).await?) as Stream,
            Some(proxy) => {
                let source = |source| TransportFault::Proxy {
                    source: Box::new(source),
                };
                let stream = self.reach(proxy).await.map_err(source)?;
                match encrypted {
                    true => self.pass(stream, proxy, origin).await?,
                    false => stream,
                }
            }
        };
        match encrypted {
            true => handshake(self.encrypt(stream, origin).await?).await,
            false => handshake(stream).await,
        }
    }

    /// A connection to a proxy.
    async fn reach(&self, proxy: &Proxy) -> Result<Stream, TransportFault> {
        let stream: Stream = Box::new(self.dial(&proxy.origin).await?);
        match proxy.origin.scheme.is_encrypted() {
            true => self.encrypt(stream, &proxy.origin).await,
            false => Ok(stream),
        }
    }

    /// A connection through a proxy.
    async fn pass(
        &self,
        stream: Stream,
        proxy: &Proxy,
        origin: &Origin,
    ) -> Result<Stream, TransportFault> {
        let opened = timeout(self.timeouts.headers, tunnel::open(stream, proxy, origin));
        opened.await.unwrap_or_else(|_| {
            Err(TransportFault::Proxy {
                source: Box::new(TransportFault::HeaderTimeout),
            })
        })
    }

    async fn encrypt(&self, stream: Stream, origin: &Origin) -> Result<Stream, TransportFault> {
        let config = self.trust(origin).await.map_err(TransportFault::Tls)?;
        let encrypted = tls::connect(stream, origin.host(), config);
        match timeout(self.timeouts.connect, encrypted).await {
            Ok(stream) => Ok(Box::new(stream.map_err(TransportFault::Tls)?)),
            Err(_) => Err(TransportFault::Tls(
                "net/http: TLS handshake timeout".to_owned(),
            )),
        }
    }

    /// Reads whom to trust once for each pull.
    async fn trust(&self, origin: &Origin) -> Result<Arc<ClientConfig>, String> {
        let trusted = || self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = trusted().get(origin) {
            return Ok(Arc::clone(config));
        }
        let folders = self.certificates.iter();
        let folders: Vec<PathBuf> = folders.map(|all| all.join(origin.authority())).collect();
        let verify = origin.scheme == Scheme::Https;
        // Files of the host, and a hundred certificates to take apart.
        let config = tokio::task::spawn_blocking(move || tls::config(&folders, verify))
            .await
            .map_err(|_| "reading whom to trust was cut short".to_owned())??;
        trusted().insert(origin.clone(), Arc::clone(&config));
        Ok(config)
    }

    async fn dial(&self, origin: &Origin) -> Result<TcpStream, TransportFault> {
        let host = origin.host();
        let lookup = timeout(self.timeouts.connect, resolve::addresses(host));
        let addresses = lookup
            .await
            .unwrap_or_else(|_| Err(": i/o timeout".to_owned()))
            .map_err(|reason| TransportFault::Lookup {
                host: host.to_owned(),
                reason,
            })?;
        let mut last = None;
        for address in addresses {
            let address = SocketAddr::new(address, origin.port());
            match timeout(self.timeouts.connect, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are one small write each; there is nothing to gather.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY");
                    }
                    return Ok(stream);
                }
                Ok(Err(source)) => {
                    let address = address.to_string();
                    last = Some(TransportFault::Connect { address, source });
                }
                Err(_) => {
                    let address = address.to_string();
                    last = Some(TransportFault::ConnectTimeout { address });
                }
            }
        }
        Err(last.unwrap_or_else(|| TransportFault::Lookup {
            host: host.to_owned(),
            reason: ": no such host".to_owned(),
        }))
    }
}

/// Begins to speak HTTP. The connection's task ends when the sender and the body are dropped, or
/// the peer closes.
async fn handshake(stream: Stream) -> Result<Sender, TransportFault> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a registry's connection ended");
        }
    });
    Ok(sender)
}

fn build(
    method: &Method,
    url: &Url,
    headers: &HeaderMap,
    proxy: Option<&Proxy>,
    body: Outgoing,
) -> Result<Request<Outgoing>, TransportFault> {
    let invalid = |_| TransportFault::Location(url.to_string());
    // A proxy that is to ask for us must know whom; one that only connects does not see the request.
    let asks = proxy.filter(|_| !url.origin.scheme.is_encrypted());
    let target = match asks {
        Some(_) => url.to_string(),
        None => url.path.clone(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, url.origin.authority())
        .body(body)
        .map_err(invalid)?;
    request.headers_mut().extend(headers.clone());
    if let Some(authorization) = asks.and_then(|proxy| proxy.authorization.as_ref()) {
        let headers = request.headers_mut();
        headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
    }
    request
        .headers_mut()
        .insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    Ok(request)
}

/// hyper's sentence with its causes, which carry the interesting part; or what the peer refused.
pub(super) fn broken(error: &hyper::Error) -> TransportFault {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if ::tls::is_refusal(error)
            && let Some(refusal) = error.downcast_ref().and_then(::tls::describe)
        {
            return TransportFault::Tls(refusal);
        }
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    TransportFault::Broken(text)
}

impl Answer {
    /// The answer's error for `what`.
    pub(crate) fn fault(&self, what: TransportFault) -> RegistryError {
        RegistryError::Transport {
            method: self.method,
            url: self.url.to_string(),
            what,
        }
    }

    /// The next piece of the body, `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let begun = Instant::now();
            let frame = timeout(self.idle, self.body.frame()).await;
            let waited = begun.elapsed();
            let frame = match frame {
                Err(_) => return Err(self.fault(TransportFault::BodyTimeout)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    let what = if error.is_incomplete_message() || error.is_body_write_aborted() {
                        TransportFault::Short
                    } else {
                        broken(&error)
                    };
                    return Err(self.fault(what));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers say nothing that matters here.
            let data = frame.into_data().unwrap_or_default();
            self.pace
                .count(waited, data.len())
                .map_err(|what| self.fault(what))?;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body, which may not be longer than `limit` bytes.
    pub(crate) async fn read(&mut self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut data = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if data.len() as u64 + chunk.len() as u64 > limit {
                return Err(self.fault(TransportFault::Long(limit)));
            }
            data.extend_from_slice(&chunk);
        }
        Ok(data)
    }

    /// Whether it is a web page.
    pub(crate) fn is_page(&self) -> bool {
        self.header(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.starts_with("text/html"))
    }

    /// The error for a web page in place of something.
    pub(crate) async fn page(&mut self, wanted: &str) -> RegistryError {
        let body = match self.method {
            "Head" => Vec::new(),
            // What it is says more than a body that cannot be read.
            _ => self.read(PAGE).await.unwrap_or_default(),
        };
        RegistryError::Garbage {
            status: self.status,
            reason: format!("a web page instead of {wanted} from {}", self.url.origin),
            body: String::from_utf8_lossy(&body[..body.len().min(QUOTED)]).into_owned(),
        }
    }

    /// A header's text, if it is there and readable.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
