//! Progress of transfers as the lines that docker's clients show.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use api_types::{Progress, ProgressDetail};

use crate::options::ProgressSender;

/// A layer's numbers are told so often at most.
const PACE: Duration = Duration::from_millis(100);

/// Sends lines to a client; a client that went away stops nothing.
pub(crate) struct Reporter {
    sender: ProgressSender,
    last: Mutex<HashMap<String, Instant>>,
}

impl Reporter {
    pub(crate) fn new(sender: ProgressSender) -> Reporter {
        Reporter {
            sender,
            last: Mutex::default(),
        }
    }

    /// A line of its own.
    pub(crate) async fn line(&self, id: &str, status: impl Into<String>) {
        let line = Progress {
            id: id.to_owned(),
            status: status.into(),
            ..Default::default()
        };
        let _ = self.sender.send(line).await;
    }

    /// Text that the client prints as it is.
    pub(crate) async fn stream(&self, text: impl Into<String>) {
        let _ = self
            .sender
            .send(Progress {
                stream: text.into(),
                ..Default::default()
            })
            .await;
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
            // Numbers that do not fit are followed by newer ones.
            let _ = self.sender.try_send(line);
            return;
        }
        line.progress_detail = Some(ProgressDetail::default());
        // A word about a layer must arrive. Called on threads of the runtime: it waits only for a slow client.
        let mut line = Some(line);
        for _ in 0..50 {
            let Some(next) = line.take() else { return };
            match self.sender.try_send(next) {
                Err(tokio::sync::mpsc::error::TrySendError::Full(back)) => {
                    line = Some(back);
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(()) | Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    }
}

/// Docker's bar: `[==>    ]  1.2MB/3.4MB`.
fn bar(current: u64, total: u64) -> String {
    const WIDTH: u64 = 50;
    if total == 0 {
        return size(current);
    }
    let filled = (current.min(total) * WIDTH / total) as usize;
    let mut text = String::from("[");
    text.push_str(&"=".repeat(filled));
    if filled < WIDTH as usize {
        text.push('>');
        text.push_str(&" ".repeat(WIDTH as usize - filled - 1));
    }
    format!("{text}]  {}/{}", size(current), size(total))
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

    #[test]
    fn bars_look_like_dockers() {
        assert_eq!(
            bar(1_500_000, 3_000_000),
            format!("[{}>{}]  1.5MB/3MB", "=".repeat(25), " ".repeat(24))
        );
        assert_eq!(bar(10, 10), format!("[{}]  10B/10B", "=".repeat(50)));
    }
}
