//! The descriptors of a launch: some are the shim's, the others the plan's.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::protocol::{Refusal, Slot};

/// Descriptors by slot, while they are being handed out.
#[derive(Debug)]
pub(super) struct Slots {
    table: Vec<Option<OwnedFd>>,
}

impl Slots {
    pub(super) fn new(descriptors: Vec<OwnedFd>) -> Self {
        Slots {
            table: descriptors.into_iter().map(Some).collect(),
        }
    }

    /// Takes the descriptor out of its slot.
    pub(super) fn take(&mut self, slot: Slot) -> Result<OwnedFd, Refusal> {
        let entry = self.table.get_mut(usize::from(slot.0));
        entry
            .and_then(Option::take)
            .ok_or_else(|| Refusal::Invalid {
                text: format!("slot {} holds no descriptor, or is used twice", slot.0),
            })
    }

    /// What was not taken, each still in its slot. Gaps hold the null device; there are none if what is taken
    /// comes last.
    pub(super) fn finish(mut self) -> rustix::io::Result<Vec<OwnedFd>> {
        while let Some(None) = self.table.last() {
            self.table.pop();
        }
        let filler = || {
            rustix::fs::open(
                "/proc/self/fd/0",
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
            )
        };
        self.table
            .into_iter()
            .map(|entry| entry.map_or_else(filler, Ok))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn descriptors(count: usize) -> Vec<OwnedFd> {
        (0..count)
            .map(|_| std::fs::File::open("/").unwrap().into())
            .collect()
    }

    #[test]
    fn each_slot_is_taken_once() {
        let mut slots = Slots::new(descriptors(2));
        assert!(slots.take(Slot(1)).is_ok());
        assert!(slots.take(Slot(1)).is_err());
        assert!(slots.take(Slot(2)).is_err());
        assert_eq!(slots.finish().unwrap().len(), 1);
    }

    #[test]
    fn what_is_left_stays_in_its_slot() {
        let all = descriptors(4);
        let numbers: Vec<i32> = all.iter().map(|fd| fd.as_raw_fd()).collect();
        let mut slots = Slots::new(all);
        let taken = [slots.take(Slot(0)).unwrap(), slots.take(Slot(3)).unwrap()];
        let left = slots.finish().unwrap();
        assert_eq!(left.len(), 3);
        assert_eq!(
            [left[1].as_raw_fd(), left[2].as_raw_fd()],
            [numbers[1], numbers[2]]
        );
        drop(taken);
    }
}
