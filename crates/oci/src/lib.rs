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
mod objects;
mod place;
mod process;
mod signals;
mod spec;
mod state;
mod supervisor;

use std::ffi::OsString;

use error::Error;

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
            // Statuses are runc's.
            let status = if matches!(failure, Error::NoVerb(_)) {
                3
            } else {
                1
            };
            match failure {
                // Nothing of the container's, nor of this command's: on the streams that would have been the program's
                // its own line stands as a shell would write it.
                Error::Program(text) if global.log.file.is_none() => eprintln!("{text}"),
                other => global.log.error(&other.to_string()),
            }
            status
        }
    }
}
