//! An archive of images as `load` reads it.
#![no_main]

use std::sync::LazyLock;

use image::ContentStore;
use image::archive::{LoadOptions, read};

static STORE: LazyLock<(tempfile::TempDir, ContentStore)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = ContentStore::open(folder.path()).expect("a store");
    (folder, store)
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let options = LoadOptions {
        limit: 1 << 20,
        ..LoadOptions::default()
    };
    let _ = read(bytes, &STORE.1, &options, |_| {});
});
