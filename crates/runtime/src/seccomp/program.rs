//! An assembler for classic BPF that writes from the end to the start.
//!
//! Jumps go forward only, so an instruction's targets exist before it does: distances are known at once, and a
//! return that lies within reach is shared instead of repeated.

use std::collections::HashMap;

use super::SockFilter;
use super::profile::Action;

const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// The longest distance of a conditional jump.
const REACH: usize = 255;

/// Condition of a jump: the accumulator against the constant.
#[derive(Clone, Copy)]
pub(super) enum Test {
    Equal = 0x15,
    Greater = 0x25,
    AtLeast = 0x35,
}

/// Place of an instruction, counted from the program's end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program under construction, last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    reversed: Vec<SockFilter>,
    returns: HashMap<u32, Label>,
}

impl Assembler {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(SockFilter { code, jt, jf, k });
        Label(self.reversed.len())
    }

    /// Instructions between the next one to be written, after `more` others, and `target`.
    fn distance(&self, target: Label, more: usize) -> usize {
        self.reversed.len() + more - target.0
    }

    /// An answer: a return that is already near, or a new one.
    pub(super) fn answer(&mut self, action: Action) -> Label {
        let code = action.code();
        match self.returns.get(&code) {
            // Half of the reach is left to whoever jumps there.
            Some(label) if self.distance(*label, 0) <= REACH / 2 => *label,
            _ => {
                let label = self.push(RETURN, 0, 0, code);
                self.returns.insert(code, label);
                label
            }
        }
    }

    /// A jump that depends on the accumulator.
    pub(super) fn branch(&mut self, test: Test, k: u32, yes: Label, no: Label) -> Label {
        // The bridge of `no` may come between, hence the room for one more instruction.
        let yes = self.within_reach(yes, 1);
        let no = self.within_reach(no, 0);
        let (jt, jf) = (self.distance(yes, 0), self.distance(no, 0));
        self.push(test as u16, jt as u8, jf as u8, k)
    }

    fn within_reach(&mut self, target: Label, more: usize) -> Label {
        if self.distance(target, more) <= REACH {
            target
        } else {
            self.jump(target)
        }
    }

    fn jump(&mut self, target: Label) -> Label {
        let distance = self.distance(target, 0);
        self.push(JUMP, 0, 0, distance as u32)
    }

    /// Makes `next` the next instruction, by a jump unless it is.
    fn followed_by(&mut self, next: Label) {
        if self.distance(next, 0) != 0 {
            self.jump(next);
        }
    }

    /// Loads the word at `offset` of the call's data into the accumulator, then goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.followed_by(next);
        self.push(LOAD_WORD, 0, 0, offset)
    }

    /// Keeps only the bits of `mask` in the accumulator, then goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.followed_by(next);
        self.push(AND, 0, 0, mask)
    }

    /// The program from its start, which is the instruction written last.
    pub(super) fn finish(mut self) -> Vec<SockFilter> {
        self.reversed.reverse();
        self.reversed
    }
}
