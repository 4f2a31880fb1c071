//! The turn of one container, and whether somebody waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// Taken by one at a time, in the order in which they come.
#[derive(Default)]
pub(crate) struct Turn {
    mutex: Mutex<()>,
    waiting: AtomicUsize,
}

/// Somebody waits, as long as this lives.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// Waits for the turn, and has it until the answer is dropped.
    pub(crate) async fn lock(&self) -> MutexGuard<'_, ()> {
        if let Ok(guard) = self.mutex.try_lock() {
            return guard;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        self.mutex.lock().await
    }

    /// Whether somebody waits for the turn.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}
