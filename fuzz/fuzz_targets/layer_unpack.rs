//! A layer's archive on its way into files. Needs root. Nothing outside of the layer may change.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use snapshot::{LayerStore, Limits};

struct Place {
    folder: tempfile::TempDir,
    store: LayerStore,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = LayerStore::open(&folder.path().join("data")).expect("a store");
    fs::write(folder.path().join("victim"), "unharmed").expect("a victim");
    Place { folder, store }
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        stream: 1 << 20,
        entries: 100,
        folders: 100,
        folder_bytes: 1 << 16,
        devices: 10,
        copied: 1 << 20,
    };
    let unpacked = PLACE.store.unpack(1, &[], &mut &bytes[..], None, &limits);
    if unpacked.is_ok() {
        PLACE.store.remove(1).expect("the layer goes");
    }
    let names: Vec<_> = fs::read_dir(PLACE.folder.path())
        .expect("the folder")
        .collect();
    assert_eq!(names.len(), 2, "nothing appears beside the store");
    let victim = fs::read(PLACE.folder.path().join("victim"));
    assert_eq!(victim.expect("the victim"), b"unharmed");
});
