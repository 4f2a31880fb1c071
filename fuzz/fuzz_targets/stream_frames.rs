//! Two streams in one: taken apart alike whatever pieces they arrive in.
#![no_main]

use client::fuzzing::frames;

libfuzzer_sys::fuzz_target!(|given: (u8, &[u8])| {
    let (size, stream) = given;
    let (out, err, whole) = frames(stream, size.into());
    let (all_out, all_err, all_whole) = frames(stream, stream.len());
    assert_eq!((out, err, whole), (all_out, all_err, all_whole));
});
