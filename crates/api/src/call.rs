//! One request on its way to a handler.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use engine::{Engine, Filters};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::peer::Phase;
use crate::query::Query;
use crate::version::Version;

/// A body of JSON is refused above this size.
const MAX_JSON: usize = 4 << 20;
/// A body of JSON must be complete within this time.
const JSON_TIMEOUT: Duration = Duration::from_secs(60);
/// The rest of a body that nobody reads is taken up to this size, so that the client gets to see the answer.
const MAX_DRAIN: u64 = 1 << 30;
/// And within this time.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Pieces of a body on their way to a reader.
const BODY_QUEUE: usize = 8;

/// What every request needs to know of the server.
pub(crate) struct Context {
    /// The engine.
    pub(crate) engine: Engine,
    /// Value of the header `Server`.
    pub(crate) server: http::HeaderValue,
}

/// One request.
pub(crate) struct Call {
    /// The server.
    pub(crate) context: Arc<Context>,
    /// The version that the client speaks.
    pub(crate) version: Version,
    /// Parts of the path that the route leaves open, in their order.
    pub(crate) captures: Vec<String>,
    /// The query.
    pub(crate) query: Query,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Upload,
}

impl Call {
    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.context.engine
    }

    /// The open part of the path: an id or name.
    pub(crate) fn name(&self) -> &str {
        self.captures.first().map_or("", String::as_str)
    }

    /// The filters of the query.
    pub(crate) fn filters(&self) -> Result<Filters, Failure> {
        match self.query.get("filters") {
            None | Some("") => Ok(Filters::default()),
            Some(text) => crate::filters::parse(text),
        }
    }

    /// The bytes of a body of JSON; empty when there is none.
    pub(crate) async fn json_bytes(&mut self) -> Result<Bytes, Failure> {
        let text = self.small_body().await?;
        if !text.is_empty() {
            self.check_content_type()?;
        }
        Ok(text)
    }

    /// The bytes of a short body, whatever its client calls it.
    pub(crate) async fn small_body(&mut self) -> Result<Bytes, Failure> {
        match tokio::time::timeout(JSON_TIMEOUT, collect(&mut self.body)).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(failure)) => {
                self.drain().await;
                Err(failure)
            }
            Err(_) => {
                let sentence = "the request's body did not arrive in time";
                Err(Failure::new(StatusCode::REQUEST_TIMEOUT, sentence))
            }
        }
    }

    /// A body of JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let text = self.json_bytes().await?;
        parse_object(&text, |text| serde_json::from_slice(text))
    }

    /// A body of JSON that may be missing.
    pub(crate) async fn optional_json<T: DeserializeOwned + Default>(
        &mut self,
    ) -> Result<T, Failure> {
        let text = self.json_bytes().await?;
        if text.is_empty() {
            return Ok(T::default());
        }
        parse_object(&text, |text| serde_json::from_slice(text))
    }

    /// Refuses a body that its client does not call JSON, as Docker does: a web page may send other kinds, and one
    /// without a name, to foreign hosts unasked.
    fn check_content_type(&self) -> Result<(), Failure> {
        let value = self.headers.get(CONTENT_TYPE);
        let text = value.map_or("", |value| value.to_str().unwrap_or(""));
        let kind = text.split(';').next().unwrap_or("").trim();
        if kind.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(Failure::bad_request(if kind.is_empty() {
            format!("malformed Content-Type header ({text}): mime: no media type")
        } else {
            format!("unsupported Content-Type header ({text}): must be 'application/json'")
        }))
    }

    /// Takes the rest of the body and forgets it.
    pub(crate) async fn drain(&mut self) {
        drain(&mut self.body).await;
    }

    /// The body as a blocking reader. What the reader leaves is drained.
    pub(crate) fn into_reader(self) -> BodyReader {
        let (sender, receiver) = tokio::sync::mpsc::channel(BODY_QUEUE);
        let mut body = self.body;
        tokio::spawn(async move {
            while let Some(piece) = body.next().await {
                let failed = piece.is_err();
                if sender.send(piece).await.is_err() {
                    drain(&mut body).await;
                    break;
                }
                if failed {
                    break;
                }
            }
        });
        BodyReader {
            receiver,
            piece: Bytes::new(),
        }
    }
}

/// Reads an object. Docker's bodies are objects, and a list is not taken for one.
pub(crate) fn parse_object<T>(
    text: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
) -> Result<T, Failure> {
    match text.trim_ascii_start().first() {
        None => Err(Failure::bad_request(
            "invalid JSON: got EOF while reading request body",
        )),
        Some(b'{') => parse(text).map_err(|error| Failure::bad_request(json_fault(text, &error))),
        Some(_) => Err(Failure::bad_request("invalid JSON: an object is expected")),
    }
}

/// What is wrong with a text, in the words of Docker's daemon where its syntax is at fault: tests of tools read them.
fn json_fault(text: &[u8], error: &serde_json::Error) -> String {
    let told = error.to_string();
    let said = told.split(" at line ").next().unwrap_or(&told);
    if error.is_eof() {
        return "invalid JSON: unexpected EOF".to_owned();
    }
    let place = match said {
        "trailing characters" => return "unexpected content after JSON".to_owned(),
        "key must be a string" => "looking for beginning of object key string",
        "expected value" | "expected ident" => "looking for beginning of value",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        _ => return format!("invalid JSON: {error}"),
    };
    let line = text
        .split(|&byte| byte == b'\n')
        .nth(error.line().saturating_sub(1));
    let character = line.and_then(|line| line.get(error.column().saturating_sub(1)));
    match character {
        Some(&byte) => format!(
            "invalid JSON: invalid character {:?} {place}",
            char::from(byte)
        ),
        None => format!("invalid JSON: {error}"),
    }
}

async fn collect(body: &mut Upload) -> Result<Bytes, Failure> {
    let mut all = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            Failure::bad_request(format!("cannot read the request's body: {error}"))
        })?;
        if all.is_empty() && body.body.is_end_stream() && piece.len() <= MAX_JSON {
            return Ok(piece);
        }
        if all.len() + piece.len() > MAX_JSON {
            return Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request's body is larger than 4 MiB",
            ));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

async fn drain(body: &mut Upload) {
    let taking = async {
        let mut taken = 0;
        while let Some(Ok(piece)) = body.next().await {
            taken += piece.len() as u64;
            if taken > MAX_DRAIN {
                break;
            }
        }
    };
    // What is not taken in time is left: the connection is then closed after the answer.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, taking).await;
}

/// What is told of a body that can not be read: hyper's own words do not say that it is cut short.
fn unreadable(error: hyper::Error) -> io::Error {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    let cut = |cause: &io::Error| cause.kind() == io::ErrorKind::UnexpectedEof;
    if error.is_incomplete_message() || cause.is_some_and(cut) {
        io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected EOF")
    } else {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// A request's body as it arrives.
pub(crate) struct Upload {
    body: Incoming,
    phase: Arc<Phase>,
}

impl Upload {
    /// A body of the connection in this phase.
    pub(crate) fn new(body: Incoming, phase: Arc<Phase>) -> Upload {
        Upload { body, phase }
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let frame = std::future::poll_fn(|context| self.poll_frame(context)).await?;
            match frame {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(unreadable(error))),
            }
        }
    }

    fn poll_frame(
        &mut self,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let first = Pin::new(&mut self.body).poll_frame(context);
        if first.is_ready() || !self.phase.ended(context) {
            return first;
        }
        // Whatever was sent is here now: it came before the end did.
        let last = Pin::new(&mut self.body).poll_frame(context);
        if last.is_pending() {
            self.phase.starve();
        }
        last
    }
}

/// How long code that blocks waits for a client before it looks whether that is still wanted.
pub(crate) const MOMENT: Duration = Duration::from_secs(1);

/// A request's body for code that blocks, on a thread of the runtime. Where nothing comes for a moment it answers
/// [`io::ErrorKind::WouldBlock`], as
/// [`engine::Engine::load`] expects.
pub(crate) struct BodyReader {
    receiver: tokio::sync::mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl io::Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let piece = match self.receiver.try_recv() {
                Ok(piece) => Some(piece),
                Err(_) => {
                    let next = async { timeout(MOMENT, self.receiver.recv()).await };
                    Handle::current()
                        .block_on(next)
                        .map_err(|_| io::ErrorKind::WouldBlock)?
                }
            };
            match piece {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
