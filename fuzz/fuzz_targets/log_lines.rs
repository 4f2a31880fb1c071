//! Objects of a json-file log; what is written as text is read as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = shim::fuzzing::log_line(bytes);
    let mut object = b"{\"log\":\"".to_vec();
    shim::fuzzing::escape(bytes, &mut object);
    object.extend(b"\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}");
    let line = shim::fuzzing::log_line(&object).expect("our own line is read");
    // What is no UTF-8 is replaced, byte by byte.
    if std::str::from_utf8(bytes).is_ok() {
        assert_eq!(line.text, bytes);
    }
    serde_json::from_slice::<serde_json::Value>(&object).expect("it is JSON");
});
