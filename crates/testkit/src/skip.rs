//! Tests that can not run here.

use std::io::Write;

/// Tells that the test of this thread is skipped, and why: on standard output, which the test runner keeps to itself
/// when a test passes, and as a line of the file that `WHARF_SKIPS` names, by which `tests/run` counts.
///
/// # Panics
/// When that file can not be written: a skip that nobody counts is a test that nobody misses.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {reason}\n", thread.name().unwrap_or("?"));
    print!("{line}");
    if let Some(path) = std::env::var_os("WHARF_SKIPS") {
        std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap();
    }
}
