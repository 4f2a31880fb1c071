//! Who looks at a volume and fills it: one at a time.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

/// The volumes whose turn somebody has.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    taken: Mutex<HashSet<String>>,
    given_back: Condvar,
}

/// The turn at one volume; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'turns> {
    turns: &'turns Turns,
    name: String,
}

impl Turns {
    /// Waits until nobody else has the volume's turn, and takes it.
    pub(crate) fn take(&self, name: &str) -> Turn<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .given_back
            .wait_while(taken, |taken| taken.contains(name))
            .unwrap_or_else(PoisonError::into_inner);
        taken.insert(name.to_owned());
        Turn {
            turns: self,
            name: name.to_owned(),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let taken = self.turns.taken.lock();
        taken
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.name);
        self.turns.given_back.notify_all();
    }
}
