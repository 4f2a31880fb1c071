//! Progress of transfers as the lines that docker's clients show.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api_types::{Progress, ProgressDetail};

use crate::options::ProgressSender;

/// A layer's numbers are told so often at most.
const PACE: Duration = Duration::from_millis(100);

/// Numbers are told only while less than this waits for the client: newer ones follow.
const NUMBERS_WAITING: usize = 32;

/// Sends lines to a client, and waits for it only where that is said: a client that does not read holds up nobody.
pub(crate) struct Reporter {
    sender: ProgressSender,
    last: Mutex<HashMap<String, Instant>>,
    given_up: AtomicBool,
}

impl Reporter {
    pub(crate) fn new(sender: ProgressSender) -> Reporter {
        Reporter {
            sender,
            last: Mutex::default(),
            given_up: AtomicBool::new(false),
        }
    }

    /// A line of its own.
    pub(crate) fn line(&self, id: &str, status: impl Into<String>) {
        self.tell(Progress {
            id: id.to_owned(),
            status: status.into(),
            ..Default::default()
        });
    }

    /// Text that the client prints as it is. Waits for the client.
    pub(crate) async fn stream(&self, text: impl Into<String>) {
        let _ = self
            .sender
            .send(Progress {
                stream: text.into(),
                ..Default::default()
            })
            .await;
    }

    /// Ready when the client went away.
    pub(crate) async fn gone(&self) {
        self.sender.closed().await;
    }

    /// Ends what reads through [`Counted`].
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn tell(&self, line: Progress) {
        // Full only if the client has not read for thousands of lines; closed if it went away.
        let _ = self.sender.try_send(line);
    }

    fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    /// Whether the next numbers of this layer are due.
    fn due(&self, id: &str, done: bool) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if !done
            && last
                .get(id)
                .is_some_and(|last| now.duration_since(*last) < PACE)
        {
            return false;
        }
        last.insert(id.to_owned(), now);
        true
    }
}

impl image::Progress for Reporter {
    fn message(&self, id: &str, text: &str) {
        self.line(id, text);
    }

    fn status(&self, id: &str, text: &str, amount: Option<(u64, u64)>) {
        let mut line = Progress {
            id: id.to_owned(),
            status: text.to_owned(),
            ..Default::default()
        };
        if let Some((current, total)) = amount {
            if !self.due(id, current == total) {
                return;
            }
            line.progress_detail = Some(ProgressDetail {
                current: current as i64,
                total: total as i64,
                ..Default::default()
            });
            line.progress = bar(current, total);
            if self.waiting() < NUMBERS_WAITING {
                self.tell(line);
            }
            return;
        }
        line.progress_detail = Some(ProgressDetail::default());
        self.tell(line);
    }
}

/// A stream that tells how much of it was read, and breaks off when that is given up.
pub(crate) struct Counted<R> {
    pub(crate) inner: R,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) id: String,
    pub(crate) text: &'static str,
    pub(crate) reporter: Arc<Reporter>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.reporter.given_up.load(Ordering::Relaxed) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "nobody waits for the image any more",
            ));
        }
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        image::Progress::status(
            &*self.reporter,
            &self.id,
            self.text,
            Some((self.done, self.total)),
        );
        Ok(count)
    }
}

/// Docker's bar: `[==>    ]   1.2MB/3.4MB`.
fn bar(current: u64, total: u64) -> String {
    const WIDTH: u64 = 50;
    if total == 0 {
        return match current {
            0 => String::new(),
            _ => format!("{:>8}", size(current)),
        };
    }
    let filled = (current.min(total).saturating_mul(WIDTH) / total) as usize;
    let rest = WIDTH as usize - filled;
    format!(
        "[{}>{}] {:>8}/{}",
        "=".repeat(filled),
        " ".repeat(rest),
        size(current),
        size(total)
    )
}

/// Decimal units with four digits, as docker writes them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value >= 100.0 {
        1
    } else if value >= 10.0 {
        2
    } else {
        3
    };
    let mut text = format!("{value:.digits$}");
    if text.contains('.') {
        text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that has stopped reading neither waits on a thread of the runtime, nor makes words be lost.
    #[test]
    fn words_are_kept_and_numbers_dropped_for_a_client_that_does_not_read() {
        use image::Progress as _;
        let (sender, mut lines) = crate::options::progress_channel();
        let reporter = Reporter::new(sender);
        let begun = Instant::now();
        for layer in 0..types::MAX_LAYERS {
            let id = layer.to_string();
            for word in 0..8 {
                reporter.status(&id, &format!("word {word}"), None);
                reporter.status(&id, "Downloading", Some((word + 1, word + 1)));
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        drop(reporter);
        let (mut words, mut numbers) = (0, 0);
        while let Some(line) = lines.blocking_recv() {
            match line.progress.is_empty() {
                true => words += 1,
                false => numbers += 1,
            }
        }
        assert_eq!(words, 8 * types::MAX_LAYERS);
        assert!(numbers <= NUMBERS_WAITING, "{numbers}");
    }

    #[test]
    fn bars_look_like_dockers() {
        assert_eq!(
            bar(1_500_000, 3_000_000),
            format!("[{}>{}]    1.5MB/3MB", "=".repeat(25), " ".repeat(25))
        );
        assert_eq!(bar(10, 10), format!("[{}>]      10B/10B", "=".repeat(50)));
        assert_eq!(bar(0, 0), "");
    }
}
