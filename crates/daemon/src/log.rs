//! The daemon's log: lines on standard error, written by a thread of their own.
//!
//! Standard error may be a pipe that nobody reads, or a terminal that was stopped. A write to it then never ends, and
//! who logs must not wait for it: requests do. So lines are queued; what does not fit is dropped and counted.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait to be written.
const WAITING: usize = 1 << 20;
/// Bytes of one line; the rest of a longer one is left out.
const LINE: usize = 64 << 10;
/// The stack of the thread that writes.
const STACK: usize = 128 << 10;

/// Lines on their way to a file that may not take them.
#[derive(Default)]
struct Queue {
    lines: Mutex<Lines>,
    /// Told of a line, and of each that was written.
    moved: Condvar,
}

#[derive(Default)]
struct Lines {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// A line is being written.
    writing: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line, or counts it as dropped. Does not wait for the file.
    fn add(&self, line: Vec<u8>) {
        let mut lines = self.lock();
        if lines.bytes + line.len() > WAITING {
            lines.dropped += 1;
            return;
        }
        lines.bytes += line.len();
        lines.waiting.push_back(line);
        drop(lines);
        self.moved.notify_all();
    }

    /// Writes what comes, for ever.
    fn write_to(&self, mut file: impl Write) {
        let mut lines = self.lock();
        loop {
            let dropped = std::mem::take(&mut lines.dropped);
            let next = lines.waiting.pop_front();
            lines.writing = dropped > 0 || next.is_some();
            if !lines.writing {
                lines = self
                    .moved
                    .wait(lines)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let next = next.unwrap_or_default();
            lines.bytes -= next.len();
            drop(lines);
            // A log that can not be written is nothing to end for, and nobody is left to tell.
            let _ = file.write_all(&next);
            if dropped > 0 {
                let _ = writeln!(
                    file,
                    "{dropped} lines of the log were dropped: they were not read in time"
                );
            }
            lines = self.lock();
            lines.writing = false;
            self.moved.notify_all();
        }
    }

    /// Waits until all is written, or the time is up.
    fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut lines = self.lock();
        while lines.writing || !lines.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.moved.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// One line that is being put together; queued when it is dropped.
struct Line {
    text: Vec<u8>,
    queue: Arc<Queue>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE.saturating_sub(self.text.len()).min(bytes.len());
        self.text.extend_from_slice(&bytes[..room]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        if text.len() == LINE {
            text.extend_from_slice("…\n".as_bytes());
        }
        if !text.is_empty() {
            self.queue.add(text);
        }
    }
}

struct Lined(Arc<Queue>);

impl<'a> MakeWriter<'a> for Lined {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            text: Vec::new(),
            queue: Arc::clone(&self.0),
        }
    }
}

/// The log of this process.
pub(crate) struct Log {
    queue: Arc<Queue>,
    set_level: Box<dyn Fn(&str)>,
}

impl Log {
    /// Sends what is traced from this level on to standard error, and the words of a panic.
    ///
    /// # Errors
    /// There can be no further thread.
    pub(crate) fn to_stderr(level: &str) -> io::Result<Log> {
        let queue = Arc::<Queue>::default();
        let lines = Arc::clone(&queue);
        // A descriptor of its own: a write that does not end must not hold the lock of the standard library's.
        let file = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
        thread::Builder::new()
            .name("log".to_owned())
            .stack_size(STACK)
            .spawn(move || lines.write_to(std::fs::File::from(file)))?;
        let subscriber = tracing_subscriber::fmt()
            .with_writer(Lined(Arc::clone(&queue)))
            .with_target(false)
            .with_ansi(false)
            .with_env_filter(EnvFilter::new(level))
            .with_filter_reloading();
        let handle = subscriber.reload_handle();
        subscriber.init();
        std::panic::set_hook(Box::new(|panic| {
            tracing::error!("{}", panic.to_string().replace('\n', " "));
            // Where RUST_BACKTRACE asks for one.
            let way = Backtrace::capture();
            if way.status() == BacktraceStatus::Captured {
                tracing::error!("{}", way.to_string().replace('\n', " "));
            }
        }));
        Ok(Log {
            queue,
            set_level: Box::new(move |level| {
                if let Err(error) = handle.reload(EnvFilter::new(level)) {
                    tracing::warn!(%error, "the log level stays as it is");
                }
            }),
        })
    }

    /// Changes the level.
    pub(crate) fn set_level(&self, level: &str) {
        (self.set_level)(level);
    }

    /// Says why the daemon ends, as the daemon itself and not as a line of its log.
    pub(crate) fn tell(&self, error: &dyn std::error::Error) {
        self.queue
            .add(format!("wharf daemon: {error}\n").into_bytes());
    }

    /// Waits until all was written, or the time is up.
    pub(crate) fn flush(&self, patience: Duration) {
        self.queue.flush(patience);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn line(queue: &Arc<Queue>, text: &str) {
        Lined(Arc::clone(queue))
            .make_writer()
            .write_all(text.as_bytes())
            .unwrap();
    }

    #[test]
    fn who_logs_does_not_wait_for_a_reader_and_what_is_dropped_is_counted() {
        let queue = Arc::<Queue>::default();
        let (reading, writing) = std::io::pipe().unwrap();
        let lines = Arc::clone(&queue);
        thread::spawn(move || lines.write_to(writing));
        let long = format!("{}\n", "x".repeat(999));
        // Much more than the pipe and the queue hold; without the queue's bound this test would not end.
        let written = 3 * WAITING / long.len();
        for _ in 0..written {
            line(&queue, &long);
        }
        queue.flush(Duration::from_millis(1));
        line(&queue, "one more\n");
        let mut reading = io::BufReader::new(reading);
        let (mut read, mut dropped) = (0, 0);
        while dropped == 0 || read + dropped <= written {
            let mut text = String::new();
            io::BufRead::read_line(&mut reading, &mut text).unwrap();
            match text.split_once(" lines of the log were dropped") {
                Some((count, _)) => dropped += count.parse::<usize>().unwrap(),
                None => read += 1,
            }
        }
        assert_eq!(read + dropped, written + 1);
        queue.flush(Duration::from_secs(60));
        line(&queue, "afterwards\n");
        let mut text = [0; 11];
        reading.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"afterwards\n");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let queue = Arc::<Queue>::default();
        line(&queue, &"x".repeat(2 * LINE));
        let kept = queue.lock().waiting.pop_front().unwrap();
        assert_eq!(kept.len(), LINE + "…\n".len());
        assert!(kept.ends_with("x…\n".as_bytes()));
    }
}
