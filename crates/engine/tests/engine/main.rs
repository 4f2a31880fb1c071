//! The engine with its real pieces: launcher, shims, namespaces, control groups, overlay mounts.
//!
//! This program is launcher, program in the container, and test: the engine executes it for its launcher, and its
//! built-in image holds it. Each test runs in a process of its own, in network and mount namespaces of its own, with
//! roots of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that fails shall say where"
)]

mod images;
mod inside;
mod kit;
mod lifecycle;
mod measure;
mod network;
mod recovery;
mod settings;
mod streams;
mod unwritten;

use std::process::{Command, ExitCode};
use std::time::Instant;

type Test = (&'static str, fn());

fn tests() -> Vec<Test> {
    let mut all = Vec::new();
    all.extend(lifecycle::TESTS);
    all.extend(streams::TESTS);
    all.extend(network::TESTS);
    all.extend(recovery::TESTS);
    all.extend(images::TESTS);
    all.extend(settings::TESTS);
    all.extend(unwritten::TESTS);
    all
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("launcher") => shim::launcher::main(),
        Some("net") => ExitCode::from(net::main()),
        Some("inside") | Some("isolation") => inside::main(&arguments[2..]),
        Some("first") => {
            recovery::first_daemon(&arguments[2]);
            ExitCode::SUCCESS
        }
        Some("measure") => {
            measure::main(&arguments[2..]);
            ExitCode::SUCCESS
        }
        Some("one") => one(&arguments[2]),
        _ => all(&arguments[1..]),
    }
}

/// Runs one test in this process.
fn one(name: &str) -> ExitCode {
    let Some((_, test)) = tests().into_iter().find(|(known, _)| *known == name) else {
        return ExitCode::FAILURE;
    };
    kit::own_namespaces();
    test();
    ExitCode::SUCCESS
}

/// Runs each test whose name contains one of the filters, one after the other.
fn all(arguments: &[String]) -> ExitCode {
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        tests()
            .iter()
            .for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    let mut count = 0;
    for (name, _) in tests() {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        count += 1;
        let begun = Instant::now();
        let output = Command::new("/proc/self/exe")
            .args(["one", name])
            .output()
            .expect("run a test");
        let passed = output.status.success();
        println!(
            "test {name} ... {} ({} ms)",
            if passed { "ok" } else { "FAILED" },
            begun.elapsed().as_millis()
        );
        if !passed {
            println!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            failed.push(name);
        }
    }
    println!(
        "\ntest result: {}. {} passed; {} failed",
        if failed.is_empty() { "ok" } else { "FAILED" },
        count - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
