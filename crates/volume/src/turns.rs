//! Who looks at a volume and fills it: one at a time.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

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
        self.turn(name)
    }

    /// As [`Turns::take`]; `None` when somebody else has the turn all that time.
    pub(crate) fn take_within(&self, name: &str, patience: Duration) -> Option<Turn<'_>> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, waited) = self
            .given_back
            .wait_timeout_while(taken, patience, |taken| taken.contains(name))
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        taken.insert(name.to_owned());
        Some(self.turn(name))
    }

    fn turn(&self, name: &str) -> Turn<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_somebody_keeps_is_not_waited_for_without_end() {
        let turns = Turns::default();
        let kept = turns.take("vol");
        assert!(turns.take_within("vol", Duration::ZERO).is_none());
        assert!(turns.take_within("vol", Duration::from_millis(5)).is_none());
        assert!(turns.take_within("other", Duration::ZERO).is_some());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turns.take_within("vol", Duration::from_secs(60)).is_some());
            drop(kept);
            assert!(waits.join().unwrap());
        });
    }
}
