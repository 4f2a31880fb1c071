//! Entries of a layer's archive, with their content.
#![no_main]

use snapshot::tar::Archive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut archive = Archive::new(bytes);
    while let Ok(Some(_)) = archive.next_entry() {
        while let Ok(chunk) = archive.chunk(4096) {
            let length = chunk.len();
            if length == 0 {
                break;
            }
            archive.consume(length);
        }
    }
    assert!(archive.position() <= bytes.len() as u64 + 1);
});
