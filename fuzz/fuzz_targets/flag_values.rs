//! Values of the command line's flags: sizes, processors, limits, mounts, volumes, ports, times.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| client::fuzzing::value(text));
