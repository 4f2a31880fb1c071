//! A record of a shim's journal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shim::fuzzing::record(bytes));
