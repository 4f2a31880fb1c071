//! Parameters and filters of a request to the API.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| api::fuzzing::query(text));
