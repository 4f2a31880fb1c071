//! What a container sends to the resolver: a query is read, answered in every way, and held against itself as an answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|packet: &[u8]| net::fuzzing::query(packet));
