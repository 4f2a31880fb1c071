//! Layers as the kernel shows them once they are mounted.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::os::fd::{AsFd, OwnedFd};

use fixture::{Scratch, Tar, open};
use rustix::fs::{Mode, OFlags};
use snapshot::{MAX_LAYERS, MountOptions, SnapshotError};
use sys::beneath::{Root, tree};

fn text(root: &OwnedFd, path: &str) -> Option<String> {
    Root::new(root.as_fd()).read_to_string(path, 1000).ok()
}

fn names(root: &OwnedFd, path: &str) -> Vec<String> {
    let dir = Root::new(root.as_fd()).open_dir(path).unwrap();
    let entries = tree::entries(dir.as_fd()).unwrap();
    entries
        .into_iter()
        .map(|entry| entry.name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn whiteouts_and_opaque_folders_hide_the_layers_below() {
    let scratch = Scratch::new();
    let base = Tar::new()
        .dir("a")
        .file("a/1", "one")
        .file("a/2", "two")
        .dir("b")
        .file("b/old", "old")
        .file("top", "t");
    scratch
        .unpack(
            1,
            &[],
            &base
                .dir("c")
                .file("c/x", "x")
                .dir("d")
                .file("d/y", "y")
                .done(),
        )
        .unwrap();
    let next = Tar::new()
        .file("a/.wh.1", "")
        .dir("b")
        .file("b/.wh..wh..opq", "")
        .file("b/new", "new")
        .file(".wh.top", "");
    // Gone and made again as a folder: nothing of the old one may shine through, in either order.
    let next = next
        .file(".wh.c", "")
        .dir("c")
        .file("c/z", "z")
        .dir("d")
        .file("d/z", "z")
        .file(".wh.d", "");
    scratch.unpack(2, &[1], &next.done()).unwrap();
    let root = scratch.mount(&[2, 1], None);
    assert_eq!(names(&root, ""), ["a", "b", "c", "d"]);
    assert_eq!(names(&root, "a"), ["2"]);
    assert_eq!(names(&root, "b"), ["new"]);
    assert_eq!(names(&root, "c"), ["z"]);
    assert_eq!(names(&root, "d"), ["z"]);
    scratch
        .unpack(
            3,
            &[2, 1],
            &Tar::new()
                .file("b/n", "")
                .file(".wh..wh..opq", "")
                .dir("c")
                .done(),
        )
        .unwrap();
    let root = scratch.mount(&[3, 2, 1], None);
    assert_eq!(names(&root, ""), ["b", "c"]);
    assert_eq!(
        (names(&root, "b"), names(&root, "c")),
        (vec!["n".to_string()], vec![])
    );
}

#[test]
fn a_container_writes_to_its_own_folder_only() {
    let scratch = Scratch::new();
    scratch
        .unpack(
            1,
            &[],
            &Tar::new().file("kept", "1").hardlink("twin", "kept").done(),
        )
        .unwrap();
    let container = scratch.container("c", &[1]);
    let root = scratch.mount(&[1], Some(&container));
    let files = Root::new(root.as_fd());
    files.replace("new", b"2", Mode::RUSR).unwrap();
    files.unlink("kept").unwrap();
    assert_eq!(
        (text(&root, "kept"), text(&root, "twin"), text(&root, "new")),
        (None, Some("1".into()), Some("2".into()))
    );
    assert_eq!(
        std::fs::read_to_string(scratch.layer(1, "kept")).unwrap(),
        "1"
    );
    assert_eq!(names(&container, "upper"), ["kept", "new"]);
}

#[test]
fn as_many_layers_as_images_have_are_mounted_under_a_long_path_by_both_ways() {
    let scratch = Scratch::new();
    let long = scratch
        .path()
        .join("x".repeat(200))
        .join("y".repeat(200))
        .join("z".repeat(200));
    std::fs::create_dir_all(&long).unwrap();
    let store = snapshot::LayerStore::open(&long).unwrap();
    let mut layers = Vec::new();
    for number in 1001..=1000 + MAX_LAYERS as u64 {
        let tar = Tar::new()
            .file(&format!("f{number}"), &number.to_string())
            .file("last", &number.to_string())
            .done();
        store
            .unpack(number, &layers, &mut &tar[..], None, &Default::default())
            .unwrap();
        layers.insert(0, number);
    }
    let folder = long.join("container");
    std::fs::create_dir(&folder).unwrap();
    let container = open(&folder);
    store.prepare_upper(container.as_fd(), &layers).unwrap();
    let options = MountOptions {
        init: true,
        ..Default::default()
    };
    for mount in [
        snapshot::LayerStore::mount,
        snapshot::LayerStore::mount_by_one_option,
    ] {
        let root = mount(&store, &layers, Some(container.as_fd()), &options).unwrap();
        assert_eq!(text(&root, "f1001").unwrap(), "1001");
        assert_eq!(
            text(&root, "last").unwrap(),
            (1000 + MAX_LAYERS).to_string()
        );
        Root::new(root.as_fd())
            .replace("written", b"w", Mode::RUSR)
            .unwrap();
        assert_eq!(text(&container, "upper/written").unwrap(), "w");
    }
    layers.push(1);
    let fault = store.mount(&layers, None, &options).unwrap_err();
    assert!(
        matches!(
            fault,
            SnapshotError::TooDeep {
                wanted: 128,
                limit: 127
            }
        ),
        "{fault}"
    );
}

#[test]
fn a_layer_that_is_missing_is_told_by_its_number() {
    let scratch = Scratch::new();
    scratch
        .unpack(1, &[], &Tar::new().file("f", "").done())
        .unwrap();
    let fault = scratch
        .store
        .mount(&[1, 7], None, &MountOptions::default())
        .unwrap_err();
    assert_eq!(fault.to_string(), "layer 7 does not exist");
}

#[test]
fn a_volatile_root_can_be_mounted_again() {
    let scratch = Scratch::new();
    scratch
        .unpack(1, &[], &Tar::new().file("f", "1").done())
        .unwrap();
    let container = scratch.container("c", &[1]);
    let options = MountOptions {
        volatile: true,
        init: true,
        ..Default::default()
    };
    for round in 0..3 {
        let root = scratch
            .store
            .mount(&[1], Some(container.as_fd()), &options)
            .unwrap();
        Root::new(root.as_fd())
            .replace(format!("f{round}"), b"x", Mode::RUSR)
            .unwrap();
        assert!(
            scratch
                .path()
                .join("c/work/work/incompat/volatile")
                .is_dir()
        );
    }
    let root = scratch.mount(&[1], Some(&container));
    assert_eq!(names(&root, ""), ["f", "f0", "f1", "f2"]);
}

#[test]
fn mount_points_come_from_a_shared_layer_and_keep_the_images_choices() {
    let scratch = Scratch::new();
    let tar = Tar::new().with(tar::EntryType::Directory, "./", |header| {
        header.set_mode(0o1777)
    });
    let tar = tar.with(tar::EntryType::Directory, "etc", |header| {
        header.set_mode(0o2750);
        header.set_gid(42);
    });
    scratch
        .unpack(
            1,
            &[],
            &tar.symlink("etc/resolv.conf", "../run/nowhere")
                .file("etc/own", "o")
                .done(),
        )
        .unwrap();
    scratch
        .unpack(2, &[1], &Tar::new().file("x", "").done())
        .unwrap();
    let container = scratch.container("c", &[2, 1]);
    let options = MountOptions {
        init: true,
        read_only: true,
        ..Default::default()
    };
    for _ in 0..2 {
        let root = scratch
            .store
            .mount(&[2, 1], Some(container.as_fd()), &options)
            .unwrap();
        let files = Root::new(root.as_fd());
        assert_eq!(
            names(&root, ""),
            [".dockerenv", "dev", "etc", "proc", "sys", "x"]
        );
        assert_eq!(names(&root, "dev"), ["console", "pts", "shm"]);
        assert_eq!(
            names(&root, "etc"),
            ["hostname", "hosts", "mtab", "own", "resolv.conf"]
        );
        assert_eq!(files.read("etc/resolv.conf", 1).unwrap(), b"");
        assert_eq!(files.read_link("etc/mtab").unwrap(), "/proc/mounts");
        let etc = files.stat("etc").unwrap();
        assert_eq!((etc.st_mode & 0o7777, etc.st_gid), (0o2750, 42));
        assert_eq!(files.stat("").unwrap().st_mode & 0o7777, 0o1777);
        let fault = files
            .open("etc/own", OFlags::WRONLY, Mode::empty())
            .unwrap_err();
        assert_eq!(fault.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(names(&container, "upper"), [""; 0]);
    }
    assert_eq!(
        std::fs::read_dir(scratch.path().join("layers/init"))
            .unwrap()
            .count(),
        1
    );
    assert!(scratch.leftovers().is_empty());
}

#[test]
fn exotic_names_survive() {
    let scratch = Scratch::new();
    let names_in = [
        "a b",
        "colon:comma,back\\slash",
        "new\nline",
        "\u{fc}\u{20ac}",
        "-rf",
        "\u{1}",
        "'\"$",
    ];
    let mut tar = Tar::new();
    for name in names_in {
        tar = tar.file(name, name);
    }
    scratch.unpack(1, &[], &tar.done()).unwrap();
    let root = scratch.mount(&[1], Some(&scratch.container("c:d,e\\f", &[1])));
    for name in names_in {
        assert_eq!(text(&root, name).as_deref(), Some(name));
    }
}
