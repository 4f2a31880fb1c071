//! Answers that are made while something long goes on: progress of a pull or load, and archives.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use api_types::{ErrorDetail, Progress};
use bytes::Bytes;
use engine::{EngineError, ProgressSender, progress_channel};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;

use crate::call::MOMENT;
use crate::failure::Failure;
use crate::reply::{self, JSON, Pieces, Reply, TAR};

/// Pieces on their way to the client.
const QUEUE: usize = 32;
/// An archive is sent in pieces of about this size.
const PIECE: usize = 64 << 10;

/// An operation of the engine.
pub(crate) type Work = Pin<Box<dyn Future<Output = Result<(), EngineError>> + Send>>;

/// Tells how an operation goes on, one line of JSON after the other.
///
/// If it fails before it said anything, that is a failure in HTTP; later, it is the last line.
pub(crate) async fn progress(start: impl FnOnce(ProgressSender) -> Work) -> Result<Reply, Failure> {
    let (sender, lines) = progress_channel();
    let mut telling = Telling {
        work: Some(start(sender)),
        lines,
        failed: None,
    };
    let first = std::future::poll_fn(|context| telling.poll_line(context)).await;
    let first = match first {
        Some(line) => Some(line),
        None => match telling.failed.take() {
            Some(error) => return Err(error.into()),
            None => None,
        },
    };
    let mut first = first.map(line);
    Ok(reply::stream(
        Some(JSON),
        move |context: &mut Context<'_>| match first.take() {
            Some(line) => Poll::Ready(Some(line)),
            None => telling.poll_piece(context),
        },
    ))
}

/// [`progress`] whose failure is a line of the stream even when it is the first: clients of `docker load` look for it
/// there alone. The head waits for the first line all the same: some clients take it for the end, and send no more.
pub(crate) async fn told_progress(
    start: impl FnOnce(ProgressSender) -> Work,
) -> Result<Reply, Failure> {
    let (sender, lines) = progress_channel();
    let mut telling = Telling {
        work: Some(start(sender)),
        lines,
        failed: None,
    };
    let mut first = std::future::poll_fn(|context| telling.poll_piece(context)).await;
    Ok(reply::stream(
        Some(JSON),
        move |context: &mut Context<'_>| match first.take() {
            Some(line) => Poll::Ready(Some(line)),
            None => telling.poll_piece(context),
        },
    ))
}

/// An operation and what it tells.
struct Telling {
    work: Option<Work>,
    lines: mpsc::Receiver<Progress>,
    failed: Option<EngineError>,
}

impl Telling {
    /// The next line; `None` when the operation has ended and everything was told.
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Progress>> {
        if let Some(work) = &mut self.work
            && let Poll::Ready(ended) = work.as_mut().poll(context)
        {
            self.work = None;
            self.failed = ended.err();
        }
        match self.lines.poll_recv(context) {
            Poll::Ready(Some(line)) => Poll::Ready(Some(line)),
            // A clone of the sender may outlive the operation; its end is what counts.
            Poll::Ready(None) | Poll::Pending if self.work.is_none() => Poll::Ready(None),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Pieces for Telling {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let next = ready!(self.poll_line(context)).or_else(|| self.failed.take().map(error_line));
        Poll::Ready(next.map(line))
    }
}

/// The last line of what failed.
fn error_line(error: EngineError) -> Progress {
    let message = error.sentence();
    Progress {
        error_detail: Some(ErrorDetail {
            code: 0,
            message: message.clone(),
        }),
        error: message,
        ..Progress::default()
    }
}

fn line(progress: Progress) -> io::Result<Bytes> {
    let mut text = serde_json::to_vec(&progress)?;
    text.extend_from_slice(b"\r\n");
    Ok(text.into())
}

/// Sends an archive while it is written.
///
/// If writing fails before the first piece, that is a failure in HTTP; later, the connection is cut, so that the
/// client does not take the beginning for the whole.
pub(crate) async fn archive(
    start: impl FnOnce(Box<dyn Write + Send>) -> Work,
) -> Result<Reply, Failure> {
    let (sender, pieces) = mpsc::channel(QUEUE);
    let writer = PieceWriter {
        sender,
        buffer: Vec::with_capacity(PIECE),
    };
    let mut sending = Sending {
        work: Some(start(Box::new(writer))),
        pieces,
        failed: None,
    };
    let mut first = match std::future::poll_fn(|context| sending.poll_next(context)).await {
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(piece)) => Some(piece),
        None => None,
    };
    Ok(reply::stream(
        Some(TAR),
        move |context: &mut Context<'_>| match first.take() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None => sending
                .poll_next(context)
                .map(|next| next.map(|piece| piece.map_err(io::Error::other))),
        },
    ))
}

/// An operation and what it writes.
struct Sending {
    work: Option<Work>,
    pieces: mpsc::Receiver<Bytes>,
    failed: Option<EngineError>,
}

impl Sending {
    /// The next piece; what went wrong comes after the last one.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, EngineError>>> {
        if let Some(work) = &mut self.work
            && let Poll::Ready(ended) = work.as_mut().poll(context)
        {
            self.work = None;
            self.failed = ended.err();
        }
        match self.pieces.poll_recv(context) {
            Poll::Ready(Some(piece)) => Poll::Ready(Some(Ok(piece))),
            Poll::Ready(None) if self.work.is_none() => Poll::Ready(self.failed.take().map(Err)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Where code that blocks, on a thread of the runtime, writes an archive. A write that the client does not let through
/// for a moment answers [`io::ErrorKind::WouldBlock`] and has taken nothing, as [`engine::Engine::save`] expects.
struct PieceWriter {
    sender: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl PieceWriter {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client went away");
        let place = match self.sender.try_reserve() {
            Ok(place) => place,
            Err(TrySendError::Closed(())) => return Err(gone()),
            Err(TrySendError::Full(())) => {
                let reserved = async { timeout(MOMENT, self.sender.reserve()).await };
                let reserved = Handle::current().block_on(reserved);
                reserved
                    .map_err(|_| io::ErrorKind::WouldBlock)?
                    .map_err(|_| gone())?
            }
        };
        place.send(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE)).into());
        Ok(())
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= PIECE {
            self.send()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body::Body as _;

    use super::*;

    async fn body(reply: Reply) -> Result<String, io::Error> {
        let Reply::Http(response) = reply else {
            panic!("a stream is not expected")
        };
        let mut body = response.into_body();
        let mut all = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        {
            all.extend_from_slice(&frame?.into_data().unwrap());
        }
        Ok(String::from_utf8(all).unwrap())
    }

    fn status(text: &str) -> Progress {
        Progress {
            status: text.to_owned(),
            ..Progress::default()
        }
    }

    fn missing() -> EngineError {
        EngineError::NoSuchImage {
            name: "a:latest".to_owned(),
        }
    }

    #[tokio::test]
    async fn each_step_is_a_line() {
        let reply = progress(|sender| {
            Box::pin(async move {
                for step in ["one", "two"] {
                    sender.send(status(step)).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(())
            })
        });
        assert_eq!(
            body(reply.await.unwrap()).await.unwrap(),
            "{\"status\":\"one\"}\r\n{\"status\":\"two\"}\r\n"
        );
    }

    #[tokio::test]
    async fn an_early_failure_is_one_of_http_and_a_late_one_the_last_line() {
        let early = progress(|_sender| Box::pin(async { Err(missing()) })).await;
        assert_eq!(early.err().unwrap().status(), http::StatusCode::NOT_FOUND);
        let told = told_progress(|_sender| Box::pin(async { Err(missing()) })).await;
        assert!(
            body(told.unwrap())
                .await
                .unwrap()
                .ends_with("\"error\":\"No such image: a:latest\"}\r\n")
        );
        let late = progress(|sender| {
            Box::pin(async move {
                sender.send(status("one")).await.unwrap();
                Err(missing())
            })
        });
        let text = body(late.await.unwrap()).await.unwrap();
        let last = text.trim_end().rsplit("\r\n").next().unwrap();
        assert_eq!(
            last,
            r#"{"errorDetail":{"message":"No such image: a:latest"},"error":"No such image: a:latest"}"#
        );
    }

    #[tokio::test]
    async fn the_answer_to_a_load_begins_with_its_first_line() {
        let (go, wait) = tokio::sync::oneshot::channel();
        let mut reply = Box::pin(told_progress(|sender| {
            Box::pin(async move {
                wait.await.unwrap();
                sender.send(status("Loaded image: a:latest")).await.unwrap();
                Ok(())
            })
        }));
        assert!(ready_now(reply.as_mut()).is_none());
        go.send(()).unwrap();
        assert_eq!(
            body(reply.await.unwrap()).await.unwrap(),
            "{\"status\":\"Loaded image: a:latest\"}\r\n"
        );
    }

    /// What a future has now, if anything.
    fn ready_now<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn an_archive_comes_in_pieces_and_is_cut_when_it_fails() {
        let write = |fails: bool| {
            move |mut writer: Box<dyn Write + Send>| -> Work {
                Box::pin(async move {
                    let written = tokio::task::spawn_blocking(move || {
                        writer.write_all(&vec![b'x'; PIECE]).unwrap();
                        writer.write_all(b"end").unwrap();
                        writer.flush().unwrap();
                    });
                    written.await.unwrap();
                    if fails { Err(missing()) } else { Ok(()) }
                })
            }
        };
        assert_eq!(
            body(archive(write(false)).await.unwrap())
                .await
                .unwrap()
                .len(),
            PIECE + 3
        );
        assert!(body(archive(write(true)).await.unwrap()).await.is_err());
    }
}
