//! Paths in the trees of hostile images: see `runtime::fuzzing::paths`. Nothing outside of the tree may change.
#![no_main]

use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir_in("/dev/shm").expect("a temporary folder"));

libfuzzer_sys::fuzz_target!(|script: &[u8]| runtime::fuzzing::paths(FOLDER.path(), script));
