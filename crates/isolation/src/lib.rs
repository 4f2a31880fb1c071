//! The report that the built-in image prints: what keeps this process apart from its host.
//!
//! Everything is read from the process's own `/proc` and `/sys`, as any program in a container
//! could do; nothing is asked of the engine.

mod report;

use std::io::Write;

/// Writes the report to standard output.
///
/// Returns the exit status: 0, or 1 when standard output is gone.
pub fn main() -> u8 {
    let text = report::Report::gather().to_string();
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}
