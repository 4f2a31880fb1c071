//! The OCI runtime command `wharf-runtime`: runc's command line over the crate `runtime`.
//!
//! Here are bundles, the state folder, hooks and verbs. What a process is made of (namespaces, mounts, groups,
//! capabilities) is a plan that `runtime` carries out, the same that the engine's containers take.

mod cli;
mod clock;
mod commands;
mod compile;
mod console;
mod create;
mod criu;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod hooks;
mod log;
mod mountinfo;
mod notify;
mod place;
mod process;
mod signals;
mod spec;
mod state;
mod supervisor;

use std::ffi::OsString;

/// Runs the command line `args`, the program's name first, and returns the exit status.
pub fn main(args: Vec<OsString>) -> u8 {
    let words: Vec<String> = args
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let (global, command) = cli::global(&words);
    let outcome = command.and_then(|command| commands::run(&global, &command, &args));
    match outcome {
        Ok(status) => status,
        Err(failure) => {
            global.log.error(&failure.to_string());
            1
        }
    }
}
