//! Keys that leave a terminal, and what is typed: found alike whatever pieces it arrives in.
#![no_main]

use shim::{detach::parse_keys, fuzzing::scan};

libfuzzer_sys::fuzz_target!(|given: (&str, &[u8], u8)| {
    let (keys, input, size) = given;
    client::fuzzing::keys(keys, input);
    let Ok(keys) = parse_keys(keys) else { return };
    let (whole, found) = scan(&keys, input, input.len());
    let pieces = scan(&keys, input, size.into());
    assert_eq!(pieces, (whole.clone(), found));
    assert!(found || whole == input, "what is no key is passed on");
});
