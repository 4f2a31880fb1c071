//! The command line: docker's verbs, flags, columns and exit statuses, over the public API alone.
//!
//! Every flag is a value (`flag::Flag`) and every verb too (`verb::Verb`): the parser, the
//! help texts and the tests read the same tables. One thread, one connection a request, nothing
//! started that the verb does not need: a command is over in a millisecond.

#[macro_use]
mod output;

mod commands;
mod complete;
mod connection;
mod container;
mod contexts;
mod credentials;
mod detach;
mod duration;
mod failure;
mod file;
mod flag;
mod frames;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod help;
mod host;
mod invoke;
mod manual;
mod moment;
mod number;
mod parse;
mod plugins;
mod progress;
mod query;
mod registries;
mod secure;
mod session;
mod ssh;
mod stream;
mod table;
mod template;
mod terminal;
mod time;
mod trust;
mod units;
mod verb;

use std::ffi::OsString;

pub use registries::{Access, Described, Document, Index, Registries, RegistryFault, RemoteImage};
pub use types::Build;

/// What the client gets from the program that it is a part of.
#[derive(Clone, Copy)]
pub struct Outside {
    /// What `version` tells.
    pub build: Build,
    /// What speaks to registries where no engine does.
    pub registries: &'static dyn Registries,
}

/// Runs one command of the client; `args` are those behind the program's name.
///
/// Returns the exit status. Everything that went wrong has been told on standard error.
pub fn main(args: Vec<OsString>, outside: Outside) -> u8 {
    let args = args
        .into_iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    invoke::run(args, outside)
}
