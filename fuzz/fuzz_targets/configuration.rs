//! The body of a container's creation.
#![no_main]

use api_types::ContainerCreate;

libfuzzer_sys::fuzz_target!(|text: &str| {
    engine::fuzzing::words(text);
    if let Ok(create) = ContainerCreate::from_json(text.as_bytes()) {
        engine::fuzzing::configuration(
            create.config,
            create.host_config,
            &create.networking_config,
        );
    }
});
