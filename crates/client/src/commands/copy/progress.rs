//! How much was copied, shown while it goes on where somebody looks.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::terminal;
use crate::units;

/// Between two showings.
const PERIOD: Duration = Duration::from_millis(75);

/// A stream whose bytes are counted.
pub(super) struct Progress<T> {
    inner: T,
    title: &'static str,
    count: u64,
    /// When it was shown last; `None` where nobody looks.
    shown: Option<Instant>,
}

impl<T> Progress<T> {
    /// Shows `title` and the count on standard error, if that is a terminal.
    pub(super) fn new(inner: T, title: &'static str, quiet: bool) -> Self {
        let shows = !quiet && terminal::is_terminal(rustix::stdio::stderr());
        Progress {
            inner,
            title,
            count: 0,
            shown: shows.then(Instant::now),
        }
    }

    fn add(&mut self, count: usize) {
        self.count += count as u64;
        if let Some(shown) = &mut self.shown
            && shown.elapsed() >= PERIOD
        {
            *shown = Instant::now();
            let size = units::size_with(self.count as f64, 3);
            put(&format!("\r\x1b[K{}{size}", self.title));
        }
    }

    /// How much went through; the line is cleared.
    pub(super) fn done(self) -> u64 {
        if self.shown.is_some() {
            put("\r\x1b[K");
        }
        self.count
    }
}

/// Nobody is left to tell when this fails.
fn put(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

impl<T: Read> Read for Progress<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.add(count);
        Ok(count)
    }
}

impl<T: Write> Write for Progress<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.add(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
