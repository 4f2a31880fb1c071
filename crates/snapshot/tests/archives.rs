//! Archives made by other people's programs: what GNU tar, bsdtar and Python's tarfile write is unpacked to the tree
//! that it was made from.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use fixture::{Scratch, open};
use rustix::fs::{self, FileType, Mode};
use sys::beneath::{Root, Xattrs};

/// A tree with everything that archives carry.
fn make_tree(top: &Path) {
    std::fs::create_dir_all(top.join("dir/sub")).unwrap();
    let root = open(top);
    let files = Root::new(root.as_fd());
    for (name, mode) in [("plain", 0o644), ("setuid", 0o6755), ("none", 0)] {
        files
            .replace(name, name.as_bytes(), Mode::from_raw_mode(mode))
            .unwrap();
    }
    std::fs::write(
        top.join("big"),
        (0..2_000_000u32)
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<_>>(),
    )
    .unwrap();
    let deep = top.join("dir").join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("f".repeat(200)), "deep").unwrap();
    std::fs::hard_link(deep.join("f".repeat(200)), top.join("hard")).unwrap();
    symlink("x".repeat(300), top.join("long-link")).unwrap();
    symlink("../up", top.join("dir/link")).unwrap();
    std::fs::write(top.join("caf\u{e9} \u{20ac}"), "unicode").unwrap();
    files.chown("plain", 3_000_000, 4_000_000_000).unwrap();
    files.chown("dir/link", 5, 6).unwrap();
    files
        .mknod(
            "null",
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            fs::makedev(1, 3),
        )
        .unwrap();
    files
        .mknod(
            "loop",
            FileType::BlockDevice,
            Mode::from_raw_mode(0o660),
            fs::makedev(7, 300),
        )
        .unwrap();
    files
        .mknod("fifo", FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let sparse = std::fs::File::create(top.join("sparse")).unwrap();
    for piece in 0..50 {
        sparse.write_at(b"piece", piece * 300_000).unwrap();
    }
    sparse.set_len(20 << 20).unwrap();
    std::fs::File::create(top.join("hole"))
        .unwrap()
        .set_len(10 << 20)
        .unwrap();
    std::fs::set_permissions(top.join("dir/sub"), PermissionsExt::from_mode(0o3771)).unwrap();
    for (name, seconds, nanoseconds) in [
        ("plain", 1_234_567_890, 123_456_789),
        ("dir/sub", 7, 0),
        ("dir", 9, 0),
    ] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, nanoseconds);
        std::fs::File::open(top.join(name))
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
}

fn add_xattrs(top: &Path) {
    let root = open(top);
    let set = |file, name, value: &[u8]| {
        Xattrs::of(root.as_fd(), file)
            .unwrap()
            .set(name, value)
            .unwrap()
    };
    set(c"plain", c"user.binary", &[0, 10, 61, 255]);
    set(c"plain", c"trusted.t", b"t");
    set(c"dir", c"user.on-a-folder", b"d");
    set(
        c"hole",
        c"security.capability",
        &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
}

/// How much of the times an archive keeps.
#[derive(Clone, Copy, PartialEq)]
enum Times {
    Nanoseconds,
    Seconds,
}

/// Names, kinds, modes, owners, links, devices, times, attributes, and the digest of each file.
fn picture(top: &Path, times: Times) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![top.to_owned()];
    while let Some(folder) = todo.pop() {
        let dir = open(&folder);
        for entry in sys::beneath::tree::entries(dir.as_fd()).unwrap() {
            use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
            let path = folder.join(std::ffi::OsStr::from_bytes(entry.name.as_bytes()));
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let nanoseconds = if times == Times::Seconds {
                0
            } else {
                meta.mtime_nsec()
            };
            let content = match &entry.kind {
                FileType::Directory => {
                    todo.push(path.clone());
                    String::new()
                }
                FileType::Symlink => std::fs::read_link(&path).unwrap().display().to_string(),
                FileType::RegularFile => {
                    let bytes = std::fs::read(&path).unwrap();
                    format!(
                        "{} {} {}",
                        meta.nlink(),
                        bytes.len(),
                        types::Digest::sha256(&bytes)
                    )
                }
                _ => meta.rdev().to_string(),
            };
            let attributes = Xattrs::of(dir.as_fd(), &entry.name).unwrap();
            let attributes: Vec<_> = attributes
                .names()
                .unwrap()
                .iter()
                .map(|name| (name.clone(), attributes.get(name).unwrap()))
                .collect();
            let name = path.strip_prefix(top).unwrap().display().to_string();
            lines.push(format!(
                "{name} {:o} {}:{} {}.{nanoseconds} {content} {attributes:?}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime(),
            ));
        }
    }
    lines.sort();
    lines
}

/// Packs a tree with a shell command that writes the archive `$1` from the current folder, and compares.
fn round_trip(command: &str, xattrs: bool, times: Times) -> (Scratch, Vec<u8>) {
    let scratch = Scratch::new();
    let top = scratch.path().join("tree");
    make_tree(&top);
    if xattrs {
        add_xattrs(&top);
    }
    let archive = scratch.path().join("archive.tar");
    let made = Command::new("sh")
        .current_dir(&top)
        .arg("-ec")
        .arg(command)
        .arg("sh")
        .arg(&archive)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let bytes = std::fs::read(&archive).unwrap();
    scratch.unpack(1, &[], &bytes).unwrap();
    let (before, after) = (picture(&top, times), picture(&scratch.layer(1, ""), times));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after, "{command}");
    }
    assert_eq!(before.len(), after.len());
    (scratch, bytes)
}

fn is_sparse(scratch: &Scratch) -> bool {
    use std::os::unix::fs::MetadataExt;
    let blocks = |name| std::fs::metadata(scratch.layer(1, name)).unwrap().blocks();
    blocks("sparse") < 2000 && blocks("hole") == 0
}

#[test]
fn gnu_tar_in_its_own_format() {
    round_trip("tar --format=gnu -cf \"$1\" .", false, Times::Seconds);
    let (scratch, bytes) = round_trip("tar --format=gnu -Scf \"$1\" *", false, Times::Seconds);
    assert!(is_sparse(&scratch));
    assert!(bytes.len() < 20_000_000);
}

#[test]
fn gnu_tar_in_pax_format_with_each_kind_of_sparse_file() {
    round_trip(
        "tar --format=posix --xattrs --xattrs-include='*' -cf \"$1\" .",
        true,
        Times::Nanoseconds,
    );
    for version in ["0.0", "0.1", "1.0"] {
        let command = format!(
            "tar --format=posix --sparse-version={version} --xattrs --xattrs-include='*' -Scf \"$1\" ."
        );
        let (scratch, _) = round_trip(&command, true, Times::Nanoseconds);
        assert!(is_sparse(&scratch), "{version}");
    }
}

#[test]
fn bsdtar_in_pax_and_gnu_format() {
    let (scratch, _) = round_trip(
        "LC_ALL=C.UTF-8 bsdtar --format=pax --xattrs -cf \"$1\" .",
        true,
        Times::Nanoseconds,
    );
    assert!(is_sparse(&scratch));
    round_trip(
        "LC_ALL=C.UTF-8 bsdtar --format=gnutar -cf \"$1\" .",
        false,
        Times::Seconds,
    );
}

#[test]
fn pythons_tarfile_in_pax_and_gnu_format() {
    for format in ["PAX_FORMAT", "GNU_FORMAT"] {
        // Python keeps times as floating-point numbers, which hold no nanoseconds: seconds are compared.
        let program = format!(
            "import sys, tarfile\nwith tarfile.open(sys.argv[1], 'w', format=tarfile.{format}) as archive: archive.add('.')"
        );
        round_trip(
            &format!("python3 -c \"{program}\" \"$1\""),
            false,
            Times::Seconds,
        );
    }
}

#[test]
fn changes_are_read_by_other_tars() {
    let scratch = Scratch::new();
    let top = scratch.path().join("tree");
    make_tree(&top);
    add_xattrs(&top);
    let archive = scratch.path().join("archive.tar");
    snapshot::export(
        open(&top).as_fd(),
        &mut std::fs::File::create(&archive).unwrap(),
    )
    .unwrap();
    for command in [
        "tar --xattrs --xattrs-include='*' -xpf \"$1\"",
        "LC_ALL=C.UTF-8 bsdtar -xpf \"$1\"",
    ] {
        let target = scratch.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let read = Command::new("sh")
            .current_dir(&target)
            .arg("-ec")
            .arg(format!("umask 0; {command}"))
            .arg("sh")
            .arg(&archive)
            .output()
            .unwrap();
        assert!(
            read.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&read.stderr)
        );
        assert_eq!(
            picture(&top, Times::Nanoseconds),
            picture(&target, Times::Nanoseconds),
            "{command}"
        );
        std::fs::remove_dir_all(&target).unwrap();
    }
}
