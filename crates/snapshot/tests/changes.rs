//! What a container changed: told, written as a layer, and exported.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fixture::{Scratch, Tar};
use rustix::fs::{self, FileType, Mode, OFlags, RenameFlags};
use snapshot::{ChangeKind, MountOptions};
use sys::beneath::{Root, Xattrs};

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

/// A container on an image of two layers, in which every sort of change was made through the mount.
fn changed() -> (Scratch, OwnedFd, OwnedFd) {
    let scratch = Scratch::new();
    let base = Tar::new()
        .dir("a")
        .dir("a/deep")
        .file("a/deep/f", "1")
        .file("a/touched", "t")
        .file("a/mode", "m");
    let base = base
        .file("gone", "g")
        .dir("emptied")
        .file("emptied/x", "x")
        .dir("again")
        .file("again/old", "o");
    let base = base
        .dir("kind")
        .file("kind/in", "i")
        .file("same", "s")
        .symlink("link", "same")
        .dir("read");
    scratch
        .unpack(
            1,
            &[],
            &base
                .file("read/r", "r")
                .dir("a.b")
                .file("a.b/f", "f")
                .done(),
        )
        .unwrap();
    scratch
        .unpack(
            2,
            &[1],
            &Tar::new()
                .dir("second")
                .file("second/f", "2")
                .file("again/kept", "k")
                .done(),
        )
        .unwrap();
    let container = scratch.container("c", &[2, 1]);
    let options = MountOptions {
        init: true,
        ..MountOptions::default()
    };
    let root = scratch
        .store
        .mount(&[2, 1], Some(container.as_fd()), &options)
        .unwrap();
    let files = Root::new(root.as_fd());
    files.replace("a/deep/new", b"new", mode(0o644)).unwrap();
    files.chmod("a/mode", mode(0o600)).unwrap();
    // Written, yet the same: overlayfs copies it up.
    files.chmod("same", mode(0o644)).unwrap();
    files.chmod("a.b/f", mode(0o644)).unwrap();
    let touched = files
        .open("a/touched", OFlags::WRONLY | OFlags::APPEND, Mode::empty())
        .unwrap();
    rustix::io::write(&touched, b"more").unwrap();
    files.unlink("gone").unwrap();
    files.remove_tree("emptied/x").unwrap();
    files.remove_tree("again").unwrap();
    files.mkdir("again", mode(0o755)).unwrap();
    files.replace("again/kept", b"k", mode(0o644)).unwrap();
    files.replace("again/fresh", b"f", mode(0o644)).unwrap();
    files.remove_tree("kind").unwrap();
    files.replace("kind", b"a file now", mode(0o644)).unwrap();
    files.mkdir("made", mode(0o1777)).unwrap();
    files.chown("made", 70_000, 3_000_000_000).unwrap();
    files
        .mknod(
            "made/null",
            FileType::CharacterDevice,
            mode(0o666),
            fs::makedev(1, 3),
        )
        .unwrap();
    files
        .mknod("made/fifo", FileType::Fifo, mode(0o600), 0)
        .unwrap();
    files
        .mknod("made/socket", FileType::Socket, mode(0o600), 0)
        .unwrap();
    files.replace("made/one", b"linked", mode(0o4755)).unwrap();
    files.hardlink("made/one", "made/two").unwrap();
    files.symlink("../nowhere", "made/link").unwrap();
    files
        .mkdir_all(format!("made/{}", "long".repeat(40)), mode(0o755))
        .unwrap();
    files
        .replace(
            format!("made/{}/{}", "long".repeat(40), "n".repeat(200)),
            b"",
            mode(0o644),
        )
        .unwrap();
    let made = files.open_dir("made").unwrap();
    Xattrs::of(made.as_fd(), c"one")
        .unwrap()
        .set(c"user.a=b%c", b"\0\xff")
        .unwrap();
    Xattrs::of(made.as_fd(), c"one")
        .unwrap()
        .set(c"trusted.t", b"t")
        .unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Xattrs::of(made.as_fd(), c"two")
        .unwrap()
        .set(c"security.capability", &capability)
        .unwrap();
    // Overlayfs leaves a whiteout behind; without the mark it would be no change at all.
    let (from, to) = (
        files.open_dir("second").unwrap(),
        files.open_dir("").unwrap(),
    );
    fs::renameat_with(&from, "f", &to, "moved", RenameFlags::NOREPLACE).unwrap();
    (scratch, container, root)
}

#[test]
fn changes_are_told_as_clients_know_them() {
    let (scratch, container, _root) = changed();
    let changes = scratch.store.changes(&[2, 1], container.as_fd()).unwrap();
    let told: Vec<String> = changes
        .iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Modified => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            format!("{kind} {}", change.path.display())
        })
        .collect();
    let (long, name) = ("long".repeat(40), "n".repeat(200));
    let expected = format!(
        "C /a|C /a/deep|A /a/deep/new|C /a/mode|C /a/touched|C /again|A /again/fresh|C /again/kept|D /again/old|\
         C /emptied|D /emptied/x|D /gone|C /kind|D /kind/in|A /made|A /made/fifo|A /made/link|A /made/{long}|\
         A /made/{long}/{name}|A /made/null|A /made/one|A /made/socket|A /made/two|A /moved|C /second|D /second/f"
    );
    assert_eq!(told.join("|"), expected);
}

#[test]
fn nothing_is_told_of_a_container_that_changed_nothing() {
    let scratch = Scratch::new();
    scratch
        .unpack(1, &[], &Tar::new().file("f", "").done())
        .unwrap();
    let container = scratch.container("c", &[1]);
    assert_eq!(scratch.store.changes(&[1], container.as_fd()).unwrap(), []);
    assert_eq!(
        scratch
            .store
            .changes(&[], scratch.container("d", &[]).as_fd())
            .unwrap(),
        []
    );
    let mut archive = Vec::new();
    assert_eq!(
        scratch
            .store
            .write_changes(&[1], container.as_fd(), &mut archive)
            .unwrap(),
        1024
    );
    assert_eq!(archive, [0; 1024]);
}

/// Everything of a tree that the program `find` sees, and what is read.
fn picture(path: &Path, without: &str) -> String {
    let find = std::process::Command::new("find")
        .current_dir(path)
        .args([
            ".",
            "-name",
            without,
            "-prune",
            "-o",
            "-printf",
            "%p %y %m %U %G %l ",
        ])
        // Size and link count of a folder are the file system's matter; the top folder's time is the mount's.
        .args(["(", "-type", "d", "-o", "-printf", "%s %n ", ")"])
        .args([
            "(", "-path", ".", "-o", "-printf", "%T@", ")", "-printf", "\n",
        ])
        .output()
        .unwrap();
    assert!(
        find.status.success(),
        "{}",
        String::from_utf8_lossy(&find.stderr)
    );
    let mut lines: Vec<_> = String::from_utf8(find.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.join("\n")
}

fn xattrs(root: &OwnedFd, folder: &str, name: &std::ffi::CStr) -> Vec<(String, Vec<u8>)> {
    let dir = Root::new(root.as_fd()).open_dir(folder).unwrap();
    let attributes = Xattrs::of(dir.as_fd(), name).unwrap();
    let names = attributes.names().unwrap();
    names
        .iter()
        .map(|name| {
            (
                name.to_str().unwrap().to_owned(),
                attributes.get(name).unwrap().unwrap(),
            )
        })
        .collect()
}

#[test]
fn written_changes_make_the_same_root_as_a_layer() {
    let (scratch, container, root) = changed();
    let mut archive = Vec::new();
    let length = scratch
        .store
        .write_changes(&[2, 1], container.as_fd(), &mut archive)
        .unwrap();
    assert_eq!(length, archive.len() as u64);
    let mut again = Vec::new();
    scratch
        .store
        .write_changes(&[2, 1], container.as_fd(), &mut again)
        .unwrap();
    assert!(archive == again, "the same folder gave different archives");
    let unpacked = scratch.unpack(3, &[2, 1], &archive).unwrap();
    assert_eq!(unpacked.diff_id, types::Digest::sha256(&archive));

    let other = scratch.container("d", &[3, 2, 1]);
    let options = MountOptions {
        init: true,
        ..MountOptions::default()
    };
    let committed = scratch
        .store
        .mount(&[3, 2, 1], Some(other.as_fd()), &options)
        .unwrap();
    let [before, after] =
        [&root, &committed].map(|root| picture(&sys::beneath::fd_path(root).join("."), "socket"));
    // A mount's own top folder is the upper one, with the time of its making.
    assert_eq!(before, after);
    for name in [c"one", c"two"] {
        assert_eq!(
            xattrs(&root, "made", name),
            xattrs(&committed, "made", name)
        );
        assert_eq!(xattrs(&root, "made", name).len(), 3);
    }
}

#[test]
fn a_changed_top_folder_is_written() {
    let scratch = Scratch::new();
    scratch
        .unpack(1, &[], &Tar::new().file("f", "").done())
        .unwrap();
    let container = scratch.container("c", &[1]);
    Root::new(scratch.mount(&[1], Some(&container)).as_fd())
        .chmod("", mode(0o1700))
        .unwrap();
    let mut archive = Vec::new();
    scratch
        .store
        .write_changes(&[1], container.as_fd(), &mut archive)
        .unwrap();
    scratch.unpack(2, &[1], &archive).unwrap();
    let top = std::fs::metadata(scratch.layer(2, "")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&top.permissions()) & 0o7777,
        0o1700
    );
}

#[test]
fn an_export_is_the_whole_root() {
    let (scratch, _container, root) = changed();
    let mut archive = Vec::new();
    let length = snapshot::export(root.as_fd(), &mut archive).unwrap();
    assert_eq!(length, archive.len() as u64);
    scratch.unpack(9, &[], &archive).unwrap();
    let before = picture(&sys::beneath::fd_path(&root).join("."), "socket");
    let after = picture(&scratch.layer(9, ""), "socket");
    // The archive has no entry for the top folder itself.
    let without_top = |picture: String| {
        picture
            .lines()
            .filter(|line| !line.starts_with(". "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(without_top(before), without_top(after));
}

#[test]
fn a_full_output_is_told_as_such() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (_scratch, _container, root) = changed();
    let fault = snapshot::export(root.as_fd(), &mut Full).unwrap_err();
    assert_eq!(fault.to_string(), "cannot write the archive");
    assert_eq!(fault.io().unwrap().kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn a_tree_of_thousands_of_levels_is_compared_written_and_removed() {
    let scratch = Scratch::new();
    scratch
        .unpack(1, &[], &Tar::new().dir("d").dir("d/d").done())
        .unwrap();
    let container = scratch.container("c", &[1]);
    let upper = Root::new(container.as_fd()).open_dir("upper").unwrap();
    let mut at = upper;
    for _ in 0..700 {
        fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
        at = fs::openat(&at, c"d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let changes = scratch.store.changes(&[1], container.as_fd()).unwrap();
    assert_eq!(
        (changes.len(), changes[1].kind, changes[2].kind),
        (700, ChangeKind::Modified, ChangeKind::Added)
    );
    let mut archive = Vec::new();
    scratch
        .store
        .write_changes(&[1], container.as_fd(), &mut archive)
        .unwrap();
    scratch.unpack(2, &[1], &archive).unwrap();
    scratch.store.remove(2).unwrap();
    assert!(scratch.leftovers().is_empty());
}
