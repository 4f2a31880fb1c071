//! Answers: their bodies, and the streams that leave HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use engine::AttachTicket;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};
use serde::Serialize;

use crate::failure::Failure;
use crate::peer::Busy;

/// The body of an answer. While it lives, its request is in work.
pub(crate) struct Body {
    content: Content,
    _busy: Option<Busy>,
}

enum Content {
    /// All of it; empty once it was taken.
    Whole(Bytes),
    /// Piece by piece. Each piece is flushed before the next is waited for.
    Stream(Box<dyn Pieces>),
}

impl Body {
    /// A body that is known.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
        Body {
            content: Content::Whole(bytes.into()),
            _busy: None,
        }
    }

    /// The same body, which keeps its request in work until it was sent.
    pub(crate) fn holding(self, busy: Busy) -> Body {
        Body {
            _busy: Some(busy),
            ..self
        }
    }

    /// Whether it has no certain end.
    pub(crate) fn streams(&self) -> bool {
        matches!(self.content, Content::Stream(_))
    }
}

/// Where the pieces of a streamed body come from.
pub(crate) trait Pieces: Send {
    /// The next piece; `None` is the end, an error breaks the connection so that the client sees a cut.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>;
}

impl<F> Pieces for F
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> + Send,
{
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self(context)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.get_mut().content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Stream(pieces) => pieces
                .poll_piece(context)
                .map(|piece| piece.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// What a handler answers.
pub(crate) enum Reply {
    /// An answer in HTTP.
    Http(Response<Body>),
    /// The connection becomes a stream between the client and a process.
    Hijack(Hijack),
}

/// A connection that leaves HTTP.
pub(crate) struct Hijack {
    /// Who gets the socket.
    pub(crate) ticket: AttachTicket,
    /// What travels on it.
    pub(crate) content_type: &'static str,
}

/// Bytes of a terminal, or of one stream.
pub(crate) const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// Frames that name their stream.
pub(crate) const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";
/// JSON, one value or several.
pub(crate) const JSON: &str = "application/json";
/// An archive.
pub(crate) const TAR: &str = "application/x-tar";

/// An answer in JSON, with the line end that Docker writes.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Reply, Failure> {
    let mut text = serde_json::to_vec(value).map_err(|error| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot write the answer: {error}"),
        )
    })?;
    text.push(b'\n');
    Ok(Reply::Http(whole(status, JSON, text)))
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = status;
    Reply::Http(response)
}

/// A response whose body is known.
pub(crate) fn whole(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer whose body comes piece by piece; its head is sent at once.
pub(crate) fn stream(content_type: Option<&'static str>, pieces: impl Pieces + 'static) -> Reply {
    let mut response = Response::new(Body {
        content: Content::Stream(Box::new(pieces)),
        _busy: None,
    });
    if let Some(content_type) = content_type {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    Reply::Http(response)
}
