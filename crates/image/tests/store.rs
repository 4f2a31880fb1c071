//! What the content store promises about its files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use image::{ContentStore, ImageError};
use types::Digest;

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn store() -> (tempfile::TempDir, ContentStore) {
    let temp = tempfile::tempdir().unwrap();
    let store = ContentStore::open(temp.path()).unwrap();
    (temp, store)
}

#[test]
fn a_group_becomes_visible_together_and_reads_back() {
    let (temp, store) = store();
    let one = store.stage(b"one").unwrap();
    let mut named = store.writer(Some(Digest::sha256(b"two")), true).unwrap();
    named.append(b"tw").unwrap();
    named.append(b"o").unwrap();
    let two = named.finish().unwrap();
    assert_eq!(store.list().unwrap(), []);
    let mut early = String::new();
    two.reader().read_to_string(&mut early).unwrap();
    assert_eq!(early, "two");
    store.commit(vec![one, two]).unwrap();
    assert_eq!(store.read(&Digest::sha256(b"one"), 3).unwrap(), b"one");
    assert_eq!(store.size(&Digest::sha256(b"two")), Some(3));
    assert_eq!(store.list().unwrap().len(), 2);
    assert!(store.usage().unwrap() > 0);
    assert_eq!(files(&temp.path().join("ingest")), 0);
    let error = store.read(&Digest::sha256(b"one"), 2).unwrap_err();
    assert!(matches!(error, ImageError::TooLarge { limit: 2, .. }));
    assert!(store.remove(&Digest::sha256(b"one")).unwrap());
    assert!(!store.remove(&Digest::sha256(b"one")).unwrap());
    assert!(matches!(
        store.blob(&Digest::sha256(b"one")),
        Err(ImageError::BlobMissing { .. })
    ));
}

#[test]
fn the_same_blob_twice_is_one() {
    let (temp, store) = store();
    let digest = Digest::sha256(b"same");
    let mut named = store.writer(Some(digest), true).unwrap();
    named.append(b"same").unwrap();
    let group = vec![
        store.stage(b"same").unwrap(),
        named.finish().unwrap(),
        store.stage(b"same").unwrap(),
    ];
    store.commit(group).unwrap();
    assert_eq!(store.list().unwrap(), [(digest, 4)]);
    assert_eq!(files(&temp.path().join("ingest")), 0);
}

#[test]
fn a_partial_file_is_continued_and_a_wrong_one_removed() {
    let (temp, store) = store();
    let digest = Digest::sha256(b"hello world");
    let mut first = store.writer(Some(digest), true).unwrap();
    first.append(b"hello ").unwrap();
    drop(first);
    let reopened = ContentStore::open(temp.path()).unwrap();
    let mut second = reopened.writer(Some(digest), true).unwrap();
    assert_eq!(second.length(), 6);
    second.append(b"world").unwrap();
    reopened.commit(vec![second.finish().unwrap()]).unwrap();
    assert!(store.contains(&digest));

    let wanted = Digest::sha256(b"wanted");
    let mut wrong = store.writer(Some(wanted), true).unwrap();
    wrong.append(b"wrong").unwrap();
    let error = wrong.finish().unwrap_err();
    let actual = Digest::sha256(b"wrong");
    assert!(matches!(
        error,
        ImageError::DigestMismatch { expected, actual: a } if expected == wanted && a == actual
    ));
    let mut again = store.writer(Some(wanted), true).unwrap();
    assert_eq!(again.length(), 0);
    again.append(b"xx").unwrap();
    again.restart().unwrap();
    again.append(b"wanted").unwrap();
    assert_eq!(again.finish().unwrap().size(), 6);
}

#[test]
fn a_group_that_fails_leaves_no_part_behind() {
    let (temp, store) = store();
    let good = store.stage(b"good").unwrap();
    let digest = Digest::sha256(b"bad");
    let mut named = store.writer(Some(digest), false).unwrap();
    named.append(b"bad").unwrap();
    let bad = named.finish().unwrap();
    fs::remove_file(temp.path().join("ingest").join(digest.hex())).unwrap();
    let error = store.commit(vec![good, bad]).unwrap_err();
    assert!(
        matches!(error, ImageError::Store { what: "make", .. }),
        "{error}"
    );
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn leftovers_go_when_the_store_is_opened_or_pruned() {
    let (temp, store) = store();
    let ingest = temp.path().join("ingest");
    fs::write(ingest.join("left-over"), "x").unwrap();
    let digest = Digest::sha256(b"later");
    store
        .writer(Some(digest), true)
        .unwrap()
        .append(b"la")
        .unwrap();
    ContentStore::open(temp.path()).unwrap();
    assert_eq!(files(&ingest), 1);
    assert_eq!(store.prune_ingest(Duration::from_secs(3600)).unwrap(), 0);
    assert_eq!(files(&ingest), 1);
    let used = store.usage().unwrap();
    assert_eq!(store.prune_ingest(Duration::ZERO).unwrap(), used);
    assert_eq!(files(&ingest), 0);
    // A writer that is dropped before its end leaves nothing that has no name.
    store.writer(None, false).unwrap().append(b"x").unwrap();
    assert_eq!(files(&ingest), 0);
}
