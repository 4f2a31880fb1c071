//! Names of images, digests, ids: what is read is written as it is read.
#![no_main]

use types::{ContainerId, Digest, Reference};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse_normalized(text) {
        for written in [reference.to_string(), reference.familiar()] {
            let again = Reference::parse_normalized(&written).expect("a written name is read");
            assert_eq!(again, reference, "{written}");
        }
        let _ = reference.with_default_tag().name();
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let _ = ContainerId::try_from(text.to_owned());
    let _ = types::valid_container_name(text) || types::valid_volume_name(text);
});
