//! The launcher and its shims, driven as a daemon drives them. Needs root, and busybox as a static program.
//!
//! The program is its own launcher: with the argument `launcher` it takes that role. So it has a `main`, and
//! finds its cases in a table.

// A case fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checks;
mod daemon;
mod execs;
mod exits;
mod speed;
mod streams;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

type Case = (&'static str, fn());

fn cases() -> Vec<Case> {
    [exits::CASES, streams::CASES, execs::CASES, checks::CASES].concat()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|role| role == "launcher") {
        return shim::launcher::main();
    }
    if arguments.first().is_some_and(|wish| wish == "speed") {
        speed::report();
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|text| !text.starts_with('-'))
        .collect();
    let mut failed = 0;
    for (name, case) in cases() {
        if arguments.iter().any(|argument| argument == "--list") {
            println!("{name}: test");
            continue;
        }
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(case));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {word} ({} ms)",
            begun.elapsed().as_millis()
        );
        failed += usize::from(outcome.is_err());
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
