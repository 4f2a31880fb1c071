//! Archives for `import` that the daemon fetches itself.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use image::registry::Remote;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::progress::{Counted, Reporter};
use crate::engine::Engine;
use crate::options::{ImportOptions, ProgressSender};
use crate::outcome::Result;

/// Pieces that were fetched and not yet written.
const QUEUE: usize = 8;
/// How long a reader waits before it says that nothing came, so that others may have its turn.
const MOMENT: Duration = Duration::from_secs(1);

impl Engine {
    /// [`Engine::image_import`] of an archive that is at `options.source`, an http or https address. Progress goes to
    /// `progress` in docker's words; when nobody takes it any more, the fetching is given up.
    ///
    /// # Errors
    /// Those of [`Engine::image_import`], and what the server said.
    pub async fn image_import_from(
        &self,
        options: ImportOptions,
        progress: ProgressSender,
    ) -> Result<String> {
        // What makes no sense is said before anything is fetched.
        self.check_import(&options)?;
        let address = match options.source.contains("://") {
            true => options.source.clone(),
            false => format!("http://{}", options.source),
        };
        let reporter = Arc::new(Reporter::new(progress));
        let remote = self.registry_client().open(&address).await?;
        reporter.line("", format!("Downloading from {address}"));
        let archive = Counted {
            done: 0,
            total: remote.length().unwrap_or(0),
            inner: fetched(remote, Arc::clone(&reporter)),
            id: String::new(),
            text: "Importing",
            reporter: Arc::clone(&reporter),
        };
        self.image_import(options, Box::new(archive)).await
    }
}

/// Fetches as fast as somebody reads, in a task that ends with the reader.
fn fetched(mut remote: Remote, reporter: Arc<Reporter>) -> Fetched {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                // The end is an empty piece: a channel that closes without one broke off.
                next = remote.chunk() => next.map(Option::unwrap_or_default).map_err(io::Error::other),
                () = reporter.gone() => Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "nobody waits for the image any more",
                )),
            };
            let last = next.as_ref().map_or(true, Bytes::is_empty);
            if sender.send(next).await.is_err() || last {
                return;
            }
        }
    });
    Fetched {
        receiver,
        piece: Bytes::new(),
        ended: false,
    }
}

/// What code that blocks reads. A read for which nothing comes for a moment answers [`io::ErrorKind::WouldBlock`], as
/// [`Engine::image_import`] expects.
struct Fetched {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
    ended: bool,
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.ended {
            let next = async { timeout(MOMENT, self.receiver.recv()).await };
            match Handle::current().block_on(next) {
                Err(_) => return Err(io::ErrorKind::WouldBlock.into()),
                Ok(None) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(Some(piece)) => self.piece = piece?,
            }
            self.ended = self.piece.is_empty();
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
