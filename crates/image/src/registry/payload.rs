//! What a request carries: nothing, a document, or a part of a blob.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::store::BlobReader;

/// A blob is read in pieces of this size...
const PIECE: usize = 256 << 10;
/// ...of which so many are read ahead.
const QUEUE: usize = 4;

/// What a request is to carry. It can be sent again.
#[derive(Debug, Clone, Default)]
pub(crate) enum Payload {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes in memory.
    Whole(Bytes),
    /// A part of a blob: from here, so many bytes.
    Part(BlobReader, u64, u64),
}

/// The body of one request.
#[derive(Debug)]
pub(crate) struct Outgoing {
    source: Source,
    left: u64,
    sent: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Source {
    Whole(Bytes),
    Pieces(mpsc::Receiver<io::Result<Bytes>>),
}

impl Payload {
    /// Whether sending it can not be repeated for nothing.
    pub(crate) fn is_large(&self) -> bool {
        matches!(self, Payload::Part(..))
    }

    /// A body; what is handed to the connection is added to `sent`.
    pub(crate) fn body(&self, sent: &Arc<AtomicU64>) -> Outgoing {
        let (source, left) = match self {
            Payload::Empty => (Source::Whole(Bytes::new()), 0),
            Payload::Whole(bytes) => (Source::Whole(bytes.clone()), bytes.len() as u64),
            Payload::Part(blob, from, length) => {
                (Source::Pieces(read(blob.clone(), *from, *length)), *length)
            }
        };
        let sent = Arc::clone(sent);
        Outgoing { source, left, sent }
    }
}

/// Reads a part of a blob on a thread of its own, which ends when nobody takes the pieces.
fn read(blob: BlobReader, from: u64, length: u64) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        let mut part = blob.at(from).take(length);
        let mut left = length;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let mut piece = vec![0; size];
            let read = part.read_exact(&mut piece);
            left -= size as u64;
            let failed = read.is_err();
            if sender.blocking_send(read.map(|()| piece.into())).is_err() || failed {
                return;
            }
        }
    });
    pieces
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut self.source {
            Source::Whole(bytes) => std::mem::take(bytes),
            Source::Pieces(pieces) => match ready!(pieces.poll_recv(context)) {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            },
        };
        self.left -= piece.len() as u64;
        self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
