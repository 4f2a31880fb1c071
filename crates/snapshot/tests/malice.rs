//! Archives that mean harm: nothing outside of the layer changes, nothing stays behind, and the fault has a name.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fixture::{Scratch, Tar};
use snapshot::{Limits, SnapshotError};
use tar::EntryType;

/// A folder beside the layers, and above them, that no archive may reach.
fn with_victim() -> Scratch {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path().join("victim")).unwrap();
    std::fs::write(scratch.path().join("victim/secret"), "untouched").unwrap();
    scratch
}

fn assert_unharmed(scratch: &Scratch) {
    let secret = std::fs::metadata(scratch.path().join("victim/secret")).unwrap();
    assert_eq!(
        (secret.nlink(), secret.mode() & 0o7777, secret.uid()),
        (1, 0o644, 0)
    );
    assert_eq!(
        std::fs::read_to_string(scratch.path().join("victim/secret")).unwrap(),
        "untouched"
    );
    assert_eq!(
        std::fs::read_dir(scratch.path().join("victim"))
            .unwrap()
            .count(),
        1
    );
    let mut names: Vec<_> = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["layers", "victim"]);
    assert!(scratch.leftovers().is_empty(), "{:?}", scratch.leftovers());
    assert!(!Path::new("/wharf-malice").exists());
}

#[track_caller]
fn refused(tar: Tar, message: &str) {
    let scratch = with_victim();
    let fault = scratch.unpack(1, &[], &tar.done()).unwrap_err();
    assert_eq!(fault.to_string(), message);
    assert!(!scratch.layer(1, "").exists());
    assert_unharmed(&scratch);
}

/// Accepted, since all of it can be kept within the layer.
#[track_caller]
fn contained(tar: Tar) -> Scratch {
    let scratch = with_victim();
    scratch.unpack(1, &[], &tar.done()).unwrap();
    assert_unharmed(&scratch);
    scratch
}

/// From a layer's top folder in `layers/tmp/NAME/fs` to the victim.
const UP: &str = "../../../../victim";

#[test]
fn names_that_climb_are_refused() {
    for name in ["../x", "a/../../x", "/../x", "..", "./../x", "a/../.."] {
        refused(
            Tar::new().file(name, ""),
            &format!("{name:?} leads out of the layer"),
        );
        refused(
            Tar::new().dir(name),
            &format!("{name:?} leads out of the layer"),
        );
        refused(
            Tar::new().symlink(name, "x"),
            &format!("{name:?} leads out of the layer"),
        );
    }
    refused(
        Tar::new().file(".wh...", ""),
        "\".wh...\" leads out of the layer",
    );
    refused(
        Tar::new().file("a/.wh..", ""),
        "\"a/.wh..\" leads out of the layer",
    );
    refused(
        Tar::new().file(".wh.", ""),
        "\".wh.\" leads out of the layer",
    );
    let scratch = contained(Tar::new().file("/wharf-malice", "absolute"));
    assert_eq!(
        std::fs::read_to_string(scratch.layer(1, "wharf-malice")).unwrap(),
        "absolute"
    );
}

#[test]
fn links_do_not_lead_out() {
    // Through a link the way leads within the layer, as in a chroot.
    let scratch = contained(Tar::new().symlink("up", UP).file("up/new", "n"));
    assert_eq!(
        std::fs::read_to_string(scratch.layer(1, "victim/new")).unwrap(),
        "n"
    );
    let scratch = contained(Tar::new().symlink("abs", "/").file("abs/wharf-malice", "n"));
    assert!(scratch.layer(1, "wharf-malice").exists());
    contained(
        Tar::new()
            .symlink("a", "/victim")
            .symlink("b", "a")
            .dir("victim")
            .dir("b/c")
            .file("b/c/d", ""),
    );
    // The link itself is replaced, not what it leads to.
    let scratch = contained(
        Tar::new()
            .symlink("secret", &format!("{UP}/secret"))
            .file("secret", "mine"),
    );
    assert_eq!(
        std::fs::read_to_string(scratch.layer(1, "secret")).unwrap(),
        "mine"
    );
    let scratch = contained(
        Tar::new()
            .symlink("d", UP)
            .dir("d")
            .file("d/secret", "mine"),
    );
    assert!(scratch.layer(1, "d").symlink_metadata().unwrap().is_dir());
    contained(Tar::new().symlink("secret", &format!("{UP}/secret")).with(
        EntryType::Fifo,
        "secret",
        |_| {},
    ));
    contained(
        Tar::new()
            .symlink("up", UP)
            .file("up/.wh.secret", "")
            .file("up/.wh..wh..opq", ""),
    );
}

#[test]
fn a_link_that_takes_a_known_folders_place_is_not_walked() {
    let swap = |target: &str| {
        Tar::new()
            .dir("a")
            .file("a/1", "")
            .symlink("a", target)
            .file("a/secret", "mine")
    };
    let scratch = contained(swap(UP));
    assert_eq!(
        std::fs::read_to_string(scratch.layer(1, "victim/secret")).unwrap(),
        "mine"
    );
    // The times of folders are set at the end, when their names may mean something else.
    let then = std::fs::metadata("/tmp").unwrap().mtime();
    contained(Tar::new().dir("a").dir("a/b").symlink("a", "/tmp"));
    assert_ne!(then, 1_000_000_000);
    contained(
        Tar::new()
            .dir("a")
            .symlink("a", UP)
            .file("a/x", "")
            .hardlink("y", "a/x"),
    );
}

#[test]
fn hard_links_reach_nothing_outside() {
    refused(
        Tar::new().hardlink("stolen", "../../../../victim/secret"),
        "\"../../../../victim/secret\" leads out of the layer",
    );
    refused(
        Tar::new().hardlink("stolen", "/"),
        "\"/\" leads out of the layer",
    );
    refused(
        Tar::new().symlink("up", UP).hardlink("stolen", "up/secret"),
        "cannot link \"stolen\"",
    );
    refused(
        Tar::new().hardlink("stolen", "/etc/passwd"),
        "cannot link \"stolen\"",
    );
    refused(Tar::new().hardlink("self", "self"), "cannot link \"self\"");
    refused(
        Tar::new().dir("d").hardlink("dir", "d"),
        "cannot link \"dir\"",
    );
    // A link to a link is one more link, and is not followed when it is written to.
    contained(
        Tar::new()
            .symlink("l", &format!("{UP}/secret"))
            .hardlink("m", "l")
            .file("m", "mine"),
    );
}

#[test]
fn overlayfs_is_not_lied_to() {
    let tar = Tar::new().pax(&[
        ("SCHILY.xattr.trusted.overlay.redirect", b"/victim"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.kept", b"k"),
    ]);
    let scratch = contained(tar.dir("d"));
    let top = fixture::open(&scratch.layer(1, ""));
    let attributes = sys::beneath::Xattrs::of(std::os::fd::AsFd::as_fd(&top), c"d").unwrap();
    assert_eq!(attributes.names().unwrap(), [c"user.kept".to_owned()]);
}

fn limited(tar: &mut dyn Read, limits: Limits, message: &str) {
    let scratch = with_victim();
    let fault = scratch
        .store
        .unpack(1, &[], tar, None, &limits)
        .unwrap_err();
    assert!(matches!(fault, SnapshotError::Limit { .. }), "{fault}");
    assert_eq!(fault.to_string(), message);
    assert_unharmed(&scratch);
}

/// The same archive again and again, without an end.
struct Endless(Vec<u8>, usize);
impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(self.0.len() - self.1);
        buffer[..length].copy_from_slice(&self.0[self.1..][..length]);
        self.1 = (self.1 + length) % self.0.len();
        Ok(length)
    }
}

#[test]
fn nothing_is_without_end() {
    let endless = |tar: Tar| {
        let mut bytes = tar.done();
        bytes.truncate(bytes.len() - 1024);
        Endless(bytes, 0)
    };
    let limits = Limits {
        stream: 10_000_000,
        entries: 1000,
        folders: 300,
        devices: 20,
        ..Limits::default()
    };
    limited(
        &mut endless(Tar::new().file("f", "")),
        limits,
        "more than 1000 entries",
    );
    let node = |header: &mut tar::Header| header.set_device_major(1).unwrap();
    limited(
        &mut endless(Tar::new().with(EntryType::Char, "n", node)),
        limits,
        "more than 20 devices",
    );
    limited(
        &mut endless(Tar::new().file("f", &"x".repeat(1 << 20))),
        limits,
        "more than 10000000 bytes",
    );
    limited(&mut std::io::repeat(0), limits, "more than 10000000 bytes");
    let mut folders = Tar::new();
    for number in 0..400 {
        folders = folders.dir(&format!("d{number}"));
    }
    limited(&mut &folders.done()[..], limits, "more than 300 folders");
    // Headers about headers, and never an entry.
    let scratch = with_victim();
    let mut headers = endless(Tar::new().pax(&[("comment", &[b'x'; 5000][..])]));
    let fault = scratch
        .store
        .unpack(1, &[], &mut headers, None, &Limits::default())
        .unwrap_err();
    assert!(
        fault.to_string().contains("an extended header of"),
        "{fault}"
    );
    assert_unharmed(&scratch);
}

#[test]
fn what_is_kept_for_folders_until_the_end_does_not_fill_the_memory() {
    let list = |size: usize| vec![1u8; size];
    // No file system takes a longer value than 64 KiB.
    refused(
        Tar::new()
            .pax(&[("SCHILY.xattr.system.posix_acl_default", &list(65_537))])
            .dir("d"),
        "tar header at byte 0: an extended attribute of 65537 is above the limit of 65536",
    );
    let limits = Limits {
        folder_bytes: 1 << 20,
        ..Limits::default()
    };
    let mut lists = Tar::new();
    for number in 0..40 {
        lists = lists
            .pax(&[("SCHILY.xattr.system.posix_acl_default", &list(60_000))])
            .dir(&format!("d{number}"));
    }
    limited(
        &mut &lists.done()[..],
        limits,
        "more than 1048576 bytes of folders' names and access lists",
    );
    let mut names = Tar::new();
    for number in 0..400 {
        let path = format!("{}{number}", "d/".repeat(2000));
        names = names.pax(&[("path", path.as_bytes())]).dir("d");
    }
    limited(
        &mut &names.done()[..],
        limits,
        "more than 1048576 bytes of folders' names and access lists",
    );
    // A list that replaces another does not count twice.
    let mut again = Tar::new();
    for _ in 0..40 {
        again = again
            .pax(&[("SCHILY.xattr.system.posix_acl_default", &list(60_000))])
            .dir("d");
    }
    let scratch = with_victim();
    let fault = scratch
        .store
        .unpack(1, &[], &mut &again.done()[..], None, &limits)
        .unwrap_err();
    // The kernel refuses this list; the limit did not.
    assert_eq!(fault.to_string(), "cannot set the time of \"d\"");
    assert_unharmed(&scratch);
}

#[test]
fn an_entry_has_a_limited_number_of_attributes() {
    let names: Vec<String> = (0..513).map(|n| format!("SCHILY.xattr.user.{n}")).collect();
    let records: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b"v"[..])).collect();
    let tar = |records: &[(&str, &[u8])]| Tar::new().pax(records).file(".wh..wh.x", "");
    contained(tar(&records[..512]));
    refused(
        tar(&records),
        "extended tar header at byte 0: it has more than 512 records of extended attributes",
    );
}

#[test]
fn attributes_that_cannot_be_kept_are_told_once() {
    use std::sync::{Arc, Mutex};
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    // Files are written by a thread of its own.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let mut tar = Tar::new();
    for number in 0..100 {
        tar = tar
            .pax(&[
                ("SCHILY.xattr.nosuch.name", b"v"),
                ("SCHILY.xattr.nor.this", b"v"),
            ])
            .file(&format!("f{number}"), "");
    }
    contained(tar);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("attribute"))
        .collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(told[0].contains("200") && told[0].contains("f0"), "{text}");
}

#[test]
fn hard_links_to_the_layers_below_do_not_fill_the_disk() {
    let scratch = with_victim();
    let below = Tar::new().file("d/big", &"x".repeat(1 << 20)).done();
    let unpack = |number, parents: &[u64], tar: &[u8], limits| {
        scratch
            .store
            .unpack(number, parents, &mut &tar[..], None, &limits)
    };
    unpack(1, &[], &below, Limits::default()).unwrap();
    // Each link finds the copy of the one before gone.
    let mut hostile = Tar::new();
    for number in 0..10 {
        hostile = hostile
            .hardlink(&format!("copy{number}"), "d/big")
            .symlink("d", "elsewhere")
            .dir("d");
    }
    let limits = Limits {
        copied: 5 << 20,
        ..Limits::default()
    };
    let hostile = hostile.done();
    let fault = unpack(2, &[1], &hostile, limits).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "more than 5242880 bytes copied from the layers below"
    );
    assert_unharmed(&scratch);
    let unpacked = unpack(3, &[1], &hostile, Limits::default()).unwrap();
    assert_eq!(unpacked.size, 10 << 20);
}

#[test]
fn folders_that_are_only_implied_count_too() {
    let scratch = with_victim();
    let limits = Limits {
        folders: 1000,
        ..Limits::default()
    };
    let mut tar = Tar::new();
    for number in 0..60 {
        tar = tar.file(&format!("{number}{}/f", "/d".repeat(40)), "");
    }
    let fault = scratch
        .store
        .unpack(1, &[], &mut &tar.done()[..], None, &limits)
        .unwrap_err();
    assert_eq!(fault.to_string(), "more than 1000 folders");
    assert_unharmed(&scratch);
}

#[test]
fn damaged_archives_are_refused() {
    refused(
        Tar::new().with(EntryType::new(b'Z'), "odd", |_| {}),
        "tar header at byte 0: entries of type 'Z' are not supported",
    );
    refused(
        Tar::new().with(EntryType::Char, "dev", |header| {
            header.set_device_major(4096).unwrap();
        }),
        "cannot make \"dev\"",
    );
    refused(
        Tar::new()
            .file(&"n".repeat(99), "")
            .pax(&[("path", "x".repeat(5000).as_bytes())])
            .file("f", ""),
        &format!("cannot write {:?}", "x".repeat(5000)),
    );
    refused(
        Tar::new().pax(&[("path", b"a\0b")]).file("f", ""),
        "extended tar header at byte 0: a name contains a NUL byte",
    );
    refused(
        Tar::new()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"99"),
            ])
            .file("f", "5\nx"),
        "sparse file in the tar header at byte 1024: its map does not end",
    );
    refused(
        Tar::new().pax(&[("size", b"99999999")]).file("f", "x"),
        "the archive ends in the middle of an entry's content",
    );
    let scratch = with_victim();
    for (bytes, message) in [
        (
            b"PK\x03\x04".repeat(400),
            "no tar header at byte 0: wrong checksum",
        ),
        (
            vec![0x1f; 100],
            "the archive ends in the middle of a header",
        ),
        (
            Tar::new().file("f", &"x".repeat(2000)).done()[..1500].to_vec(),
            "the archive ends in the middle of an entry's content",
        ),
    ] {
        assert_eq!(
            scratch.unpack(1, &[], &bytes).unwrap_err().to_string(),
            message
        );
        assert_unharmed(&scratch);
    }
}

#[test]
fn an_archive_may_end_where_its_last_content_does() {
    let whole = Tar::new().file("f", "first").file("g", "last").done();
    let end = 512 + 512 + 512 + 4;
    for end in [end, end + 100, end + 508] {
        let scratch = with_victim();
        scratch.unpack(1, &[], &whole[..end]).unwrap();
        let last = std::fs::read_to_string(scratch.layer(1, "g")).unwrap();
        assert_eq!(last, "last");
    }
    let scratch = with_victim();
    let fault = scratch.unpack(1, &[], &whole[..end - 1]).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "the archive ends in the middle of an entry's content"
    );
}

#[test]
fn a_file_too_long_for_the_file_system_is_refused() {
    let size = (1u64 << 60).to_string();
    let records: &[(&str, &[u8])] = &[
        ("GNU.sparse.size", size.as_bytes()),
        ("GNU.sparse.map", b"0,1"),
        ("GNU.sparse.name", b"huge"),
    ];
    refused(
        Tar::new().pax(records).file("f", "x"),
        "cannot write \"huge\"",
    );
}

#[test]
fn a_deep_tree_is_made_and_removed() {
    let scratch = with_victim();
    let mut tar = Tar::new();
    let path = "d/".repeat(2000);
    tar = tar
        .pax(&[("path", format!("{path}f").as_bytes())])
        .file("f", "deep");
    scratch.unpack(1, &[], &tar.done()).unwrap();
    scratch.store.remove(1).unwrap();
    assert_unharmed(&scratch);
}

#[test]
fn content_with_another_digest_is_refused() {
    let scratch = with_victim();
    let bytes = Tar::new().file("f", "content").done();
    let (right, wrong) = (
        types::Digest::sha256(&bytes),
        types::Digest::sha256(b"else"),
    );
    let unpack = |expected| {
        scratch
            .store
            .unpack(1, &[], &mut &bytes[..], Some(expected), &Limits::default())
    };
    let fault = unpack(&wrong).unwrap_err();
    assert_eq!(
        fault.to_string(),
        format!("its content has the digest {right}, but {wrong} was expected")
    );
    assert_unharmed(&scratch);
    assert_eq!(unpack(&right).unwrap().diff_id, right);
    assert!(matches!(
        unpack(&right),
        Err(SnapshotError::Exists { layer: 1 })
    ));
    assert_unharmed(&scratch);
    // What follows the archive's end belongs to the digest.
    let mut longer = bytes.clone();
    longer.extend([0; 20_000]);
    assert_eq!(
        scratch.unpack(2, &[], &longer).unwrap().diff_id,
        types::Digest::sha256(&longer)
    );
}

#[test]
fn a_stream_that_fails_leaves_nothing() {
    struct Fails(Vec<u8>, usize);
    impl Read for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let left = &self.0[self.1..];
            if left.is_empty() {
                return Err(std::io::Error::other("the line was cut"));
            }
            let length = left.len().min(buffer.len());
            buffer[..length].copy_from_slice(&left[..length]);
            self.1 += length;
            Ok(length)
        }
    }
    let scratch = with_victim();
    let bytes = Tar::new().file("f", &"x".repeat(1 << 20)).done();
    let mut stream = Fails(bytes[..600_000].to_vec(), 0);
    let fault = scratch
        .store
        .unpack(1, &[], &mut stream, None, &Limits::default())
        .unwrap_err();
    assert_eq!(
        (fault.to_string(), fault.io().unwrap().to_string()),
        ("cannot read its content".into(), "the line was cut".into())
    );
    assert_unharmed(&scratch);
}
