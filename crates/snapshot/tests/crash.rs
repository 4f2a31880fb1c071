//! What a store looks like after its process died, and who may use it at the same time.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{Scratch, Tar};
use snapshot::{LayerStore, Limits};

/// Set in the child that is to be killed: the data root.
const VICTIM: &str = "WHARF_TEST_UNPACK_IN";

/// A stream that says nothing more after its bytes, and does not end.
struct Stuck(std::io::Cursor<Vec<u8>>);
impl Read for Stuck {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => loop {
                std::thread::park();
            },
            length => Ok(length),
        }
    }
}

fn large() -> Vec<u8> {
    let mut tar = Tar::new();
    for number in 0..2000 {
        tar = tar.file(&format!("d{}/f{number}", number % 50), &"x".repeat(2000));
    }
    tar.done()
}

/// Not a test by itself: what the killed process does.
#[test]
fn victim() {
    let Ok(root) = std::env::var(VICTIM) else {
        return;
    };
    let store = LayerStore::open(root.as_ref()).unwrap();
    let _ = store.unpack(
        2,
        &[1],
        &mut Stuck(std::io::Cursor::new(large())),
        None,
        &Limits::default(),
    );
}

#[test]
fn a_killed_unpack_leaves_only_what_recovery_removes() {
    let scratch = Scratch::new();
    for number in [1, 3, 4] {
        scratch
            .unpack(number, &[], &Tar::new().file("f", "1").done())
            .unwrap();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact"])
        .env(VICTIM, scratch.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while scratch.leftovers().is_empty() {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "it did not begin"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(scratch.leftovers().len(), 1);
    let store = LayerStore::open(scratch.path()).unwrap();
    let recovered = store.recover(&[1, 3, 7]).unwrap();
    assert_eq!((recovered.removed, recovered.missing), (vec![4], vec![7]));
    assert!(recovered.faults.is_empty());
    assert!(scratch.leftovers().is_empty());
    assert!(scratch.layer(1, "f").exists() && scratch.layer(3, "f").exists());
    // And the number is free.
    store
        .unpack(2, &[1], &mut &large()[..], None, &Limits::default())
        .unwrap();
    assert_eq!(std::fs::read_dir(scratch.layer(2, "")).unwrap().count(), 50);
}

/// chattr(1) of e2fsprogs, which every Debian has.
fn chattr(flag: &str, path: &std::path::Path) {
    let status = Command::new("chattr").arg(flag).arg(path).status();
    assert!(status.unwrap().success());
}

#[test]
fn what_cannot_be_removed_holds_nothing_up() {
    let scratch = Scratch::new();
    for number in 1..=3 {
        scratch.unpack(number, &[], &large()).unwrap();
    }
    let file = std::fs::read_dir(scratch.layer(2, "")).unwrap().next();
    let file = file.unwrap().unwrap().file_name();
    let whole = scratch.layer(3, "").parent().unwrap().to_owned();
    chattr("+i", &scratch.layer(2, "").join(&file));
    chattr("+i", &whole);
    let store = LayerStore::open(scratch.path()).unwrap();
    let recovered = store.recover(&[1]);
    chattr("-i", &whole);
    let aside = scratch.leftovers();
    let left: Vec<_> = aside
        .iter()
        .map(|folder| folder.join("fs").join(&file))
        .collect();
    left.iter().for_each(|file| chattr("-i", file));
    let recovered = recovered.unwrap();
    assert_eq!((recovered.removed, recovered.stuck), (vec![2], vec![3]));
    let told: Vec<String> = recovered.faults.iter().map(ToString::to_string).collect();
    assert!(
        told.len() == 2 && told[1].contains("tmp/removed-2-"),
        "{told:?}"
    );
    assert_eq!(left.len(), 1);
    // And the next start has it all.
    let recovered = store.recover(&[1]).unwrap();
    assert!(recovered.faults.is_empty() && recovered.removed == [3]);
    assert!(scratch.leftovers().is_empty() && scratch.layer(1, "").exists());
}

#[test]
fn layers_are_unpacked_side_by_side_and_a_number_is_given_once() {
    let scratch = Scratch::new();
    let archive = large();
    std::thread::scope(|scope| {
        for number in 1..=6 {
            let (scratch, archive) = (&scratch, &archive);
            scope.spawn(move || scratch.unpack(number, &[], archive).unwrap());
        }
    });
    let won: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| scratch.unpack(7, &[], &archive).is_ok()))
            .collect();
        tries
            .into_iter()
            .map(|one| usize::from(one.join().unwrap()))
            .sum()
    });
    assert_eq!(won, 1);
    assert!(scratch.leftovers().is_empty());
    let one = scratch.store.info(1).unwrap();
    assert_eq!(
        (one.size, one.entries, one.diff_id),
        (4_000_000, 2000, types::Digest::sha256(&archive))
    );
    let usage = scratch.store.usage(1).unwrap();
    assert_eq!(usage, scratch.store.usage(7).unwrap());
    let du = Command::new("du")
        .args(["-s", "-B1"])
        .arg(scratch.path().join("layers/1"))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(du.stdout)
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap(),
        usage.bytes.to_string()
    );
    scratch.store.remove(1).unwrap();
    scratch.store.remove(1).unwrap();
    assert_eq!(
        scratch.store.info(1).unwrap_err().to_string(),
        "layer 1 does not exist"
    );
    assert_eq!(
        scratch.store.usage(1).unwrap_err().to_string(),
        "layer 1 does not exist"
    );
}

#[test]
fn implied_folders_and_link_targets_come_from_the_layers_below() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::new();
    let folder = |header: &mut tar::Header| {
        header.set_mode(0o2710);
        header.set_uid(33);
        header.set_gid(44);
    };
    let base = Tar::new()
        .with(tar::EntryType::Directory, "var", folder)
        .pax(&[("SCHILY.xattr.user.x", b"1")]);
    scratch
        .unpack(
            1,
            &[],
            &base.dir("var/lib").file("var/lib/f", "below").done(),
        )
        .unwrap();
    scratch
        .unpack(2, &[1], &Tar::new().file("other", "").done())
        .unwrap();
    let top = Tar::new()
        .file("var/lib/new", "")
        .hardlink("var/twin", "var/lib/f")
        .done();
    scratch.unpack(3, &[2, 1], &top).unwrap();
    let var = std::fs::metadata(scratch.layer(3, "var")).unwrap();
    assert_eq!(
        (var.mode() & 0o7777, var.uid(), var.gid(), var.mtime()),
        (0o2710, 33, 44, 1_000_000_000)
    );
    let twin = std::fs::metadata(scratch.layer(3, "var/twin")).unwrap();
    let copy = std::fs::metadata(scratch.layer(3, "var/lib/f")).unwrap();
    assert_eq!(
        (twin.ino(), twin.nlink(), twin.mtime()),
        (copy.ino(), 2, 1_000_000_000)
    );
    assert_eq!(
        std::fs::read_to_string(scratch.layer(3, "var/twin")).unwrap(),
        "below"
    );
    // Owners are the archive's, though the folder gives its group.
    assert_eq!(
        std::fs::metadata(scratch.layer(3, "var/lib/new"))
            .unwrap()
            .gid(),
        0
    );
}
