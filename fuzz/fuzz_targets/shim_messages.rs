//! Messages between daemon, launcher and shim. The first two bytes are the kind; the rest of the header is right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    shim::fuzzing::message(bytes);
    if let Some((kind, body)) = bytes.split_first_chunk::<2>() {
        let mut message = shim::protocol::MAGIC.to_vec();
        message.extend(shim::protocol::MAJOR.to_le_bytes());
        message.extend(shim::protocol::MINOR.to_le_bytes());
        message.extend(kind);
        message.extend([7, 0, 0, 0]);
        message.extend(body);
        shim::fuzzing::message(&message);
    }
});
