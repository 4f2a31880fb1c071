//! Templates of `--format` over an object.
#![no_main]

use std::sync::LazyLock;

static DATA: LazyLock<serde_json::Value> = LazyLock::new(|| {
    serde_json::json!({
        "Name": "web", "Labels": "a=b,c=d", "Number": 7, "Small": -1.5, "Yes": true, "Nothing": null,
        "List": [1, "two", {"Three": 3}], "State": {"Health": {"Status": "healthy"}}, "Empty": {},
    })
});

libfuzzer_sys::fuzz_target!(|text: &str| client::fuzzing::template(text, &DATA));
