//! A bundle's config.json, read and compiled to a plan.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| oci::fuzzing::configuration(text));
