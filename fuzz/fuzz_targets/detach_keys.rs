//! Keys that leave a terminal, and what is typed: found alike whatever pieces it arrives in.
#![no_main]

use types::detach::{Scanner, parse_keys};

libfuzzer_sys::fuzz_target!(|given: (&str, &[u8], u8)| {
    let (keys, input, size) = given;
    client::fuzzing::keys(keys);
    let Ok(keys) = parse_keys(keys) else { return };
    let (whole, found) = scan(&keys, input, input.len());
    let pieces = scan(&keys, input, size.into());
    assert_eq!(pieces, (whole.clone(), found));
    assert!(found || whole == input, "what is no key is passed on");
    assert!(input.starts_with(&whole), "what is passed on is what was typed");
});

/// What is for the container when the input arrives in pieces of `size` bytes, and whether the keys came.
fn scan(keys: &[u8], input: &[u8], size: usize) -> (Vec<u8>, bool) {
    let (mut scanner, mut out) = (Scanner::new(keys.to_vec()), Vec::new());
    for piece in input.chunks(size.max(1)) {
        if scanner.scan(piece, &mut out) {
            return (out, true);
        }
    }
    out.extend(scanner.rest());
    (out, false)
}
