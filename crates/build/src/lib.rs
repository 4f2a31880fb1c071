//! The room of the builder: what a Dockerfile says. Graph, cache and runs are not built; `/build` answers with a sentence.

pub mod instruction;
mod span;
mod words;

pub use instruction::{Instruction, InstructionError, instructions};
pub use words::expand;
