//! System-call filters: a profile as data, and its compiler to classic BPF.
//!
//! The kernel tries every system-call number through a filter when it is loaded, so the length of the path to an
//! answer is what a container's start pays for. The compiler therefore merges neighbouring numbers with the same
//! answer into ranges and searches them as a balanced tree, one for each instruction set.

mod compile;
mod default;
mod json;
mod profile;
mod program;
mod syscalls;

#[cfg(test)]
mod interpreter;
#[cfg(test)]
mod tests;

pub use compile::{CompileEnv, KernelVersion, compile};
pub use default::default_profile;
pub use profile::{
    Action, Arch, Architectures, Argument, Comparison, Condition, Listener, Profile, Rule,
};
pub use sys::process::FilterInstruction as SockFilter;

/// Loading flag: speculation mitigations stay as they are (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`).
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// Loading flag: log every action but allow (`SECCOMP_FILTER_FLAG_LOG`).
pub const FLAG_LOG: u32 = 1 << 1;
/// Loading flag: apply to all threads of the process (`SECCOMP_FILTER_FLAG_TSYNC`).
pub const FLAG_TSYNC: u32 = 1;
/// Loading flag: only fatal signals interrupt a call that a supervisor has received
/// (`SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`).
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Loading flag: the answer is a listener (`SECCOMP_FILTER_FLAG_NEW_LISTENER`). Not of profiles.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The text is not JSON of the expected shape.
    #[error("decoding seccomp profile failed: {field}{source}")]
    Json {
        /// The field that is wrong, a colon and a blank; empty for the whole.
        field: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A word of the profile means nothing here.
    #[error("seccomp profile: unknown {kind} {word:?}")]
    Unknown {
        /// Kind of word: action, comparison, architecture, capability, flag.
        kind: &'static str,
        /// The word.
        word: String,
    },
    /// The profile says contradictory or impossible things.
    #[error("seccomp profile: {what}")]
    Invalid {
        /// The sentence's end.
        what: String,
    },
    /// The filter has more instructions than the kernel takes.
    #[error(
        "seccomp profile: the filter has {count} instructions, the kernel takes at most {limit}"
    )]
    TooLong {
        /// Instructions of the compiled filter.
        count: usize,
        /// The kernel's limit.
        limit: usize,
    },
}
