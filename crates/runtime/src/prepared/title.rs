//! What lists of processes show of a process that goes on for a while without executing its program.

use sys::title::Place;

use crate::plan::ProcessPlan;

/// A text, and where the kernel looks for it.
#[derive(Debug)]
pub(crate) struct Title {
    place: Place,
    text: Vec<u8>,
}

impl Title {
    /// `None` where nobody knows the place.
    pub(super) fn new(text: Vec<u8>) -> Option<Self> {
        let place = Place::own()?;
        Some(Self { place, text })
    }

    /// That of a process 1 of ours, as docker's is shown.
    pub(super) fn of_init(process: &ProcessPlan) -> Option<Self> {
        let words = [b"/sbin/docker-init".as_slice(), b"--"];
        let words = words
            .into_iter()
            .chain(process.args.iter().map(Vec::as_slice));
        Self::new(words.collect::<Vec<_>>().join(&b' '))
    }

    /// Shows it. It does not allocate.
    ///
    /// # Safety
    /// This process is on its walk: a copy with one thread, that reads the caller's arguments and environment no more.
    pub(crate) unsafe fn show(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.place.show(&self.text) };
    }
}
