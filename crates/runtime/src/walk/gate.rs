//! The gate: a named pipe at which a process waits when nothing is left to do but its program's execution.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::{At, Walk, channel};
use crate::fault::{Fault, Step};
use crate::prepared::Title;

impl Walk<'_> {
    pub(super) fn gate(&self) -> Result<Option<BorrowedFd<'_>>, Errno> {
        self.process
            .gate
            .map(|slot| self.supply.slot(slot))
            .transpose()
    }

    /// Tells the caller that all is ready, and waits until somebody writes a byte to the gate.
    pub(super) fn wait_at_gate(&mut self, title: Option<&Title>) -> Result<(), Fault> {
        let supply = self.supply;
        let Some(gate) = self.gate().at(Step::Gate)? else {
            return Ok(());
        };
        // Whoever creates a container is told of a program that cannot be executed.
        self.look_for_program()?;
        // Others may join the container meanwhile; the last change of user has undone what was said before.
        self.hide_from_others()?;
        if let Some(title) = title {
            // SAFETY: this is the walk.
            unsafe { title.show() };
        }
        channel::tell_waiting(std::os::fd::AsFd::as_fd(&supply.channel))?;
        let mut byte = [0];
        loop {
            match rustix::io::read(gate, &mut byte) {
                Ok(1) => break,
                Ok(_) => return Err(Fault::new(Step::Gate, Errno::PIPE)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Fault::new(Step::Gate, errno)),
            }
        }
        self.passed_gate = true;
        if self.waits_without_filter() {
            return self.load_filter();
        }
        Ok(())
    }

    /// Leaves a fault in the gate, where whoever let the process through finds it.
    pub(super) fn tell_late(&self, fault: &Fault) {
        if let (true, Ok(Some(gate))) = (self.passed_gate, self.gate()) {
            // The status of the process tells it too, if this can not.
            let _ = rustix::io::write(gate, &fault.record());
        }
    }
}
