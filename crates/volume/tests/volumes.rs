//! Volumes on a real file system.
#![allow(clippy::unwrap_used)]

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{self, FileType, Mode, OFlags};
use sys::beneath::{Root, Xattrs};
use volume::{BindOptions, Device, VolumeError, VolumeStore};

struct Scratch {
    folder: tempfile::TempDir,
    store: VolumeStore,
}

fn scratch() -> Scratch {
    let folder = tempfile::Builder::new()
        .prefix("wharf-volume-")
        .tempdir()
        .unwrap();
    let store = VolumeStore::open(folder.path()).unwrap();
    std::fs::create_dir(folder.path().join("image")).unwrap();
    Scratch { folder, store }
}

impl Scratch {
    fn image(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("image").join(path)
    }
    fn volume(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("volumes").join(path)
    }
    fn copy_up(&self, path: &str) -> Result<(), VolumeError> {
        self.store.copy_up(
            open(&self.image("")).as_fd(),
            Path::new(path),
            "vol",
            None,
            true,
        )
    }
}

/// Gives this thread mounts of its own.
fn own_mounts() {
    sys::process::unshare(libc::CLONE_NEWNS).unwrap();
    let flags =
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).unwrap();
}

fn open(path: &Path) -> OwnedFd {
    fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

#[test]
fn a_volume_is_made_listed_and_removed() {
    let Scratch { folder, store } = scratch();
    for name in ["vol", "a.b-c_d", "0123"] {
        assert!(store.create(name).unwrap());
    }
    assert!(!store.create("vol").unwrap());
    assert_eq!(store.list().unwrap(), ["0123", "a.b-c_d", "vol"]);
    assert_eq!(store.path("vol"), folder.path().join("volumes/vol/_data"));
    assert_eq!(
        std::fs::metadata(store.path("vol"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o755
    );
    std::fs::write(store.path("vol").join("f"), vec![1; 10_000]).unwrap();
    assert!(store.usage("vol").unwrap() >= 10_000);
    store.remove("vol").unwrap();
    store.remove("vol").unwrap();
    assert_eq!(store.list().unwrap(), ["0123", "a.b-c_d"]);
    assert_eq!(
        std::fs::read_dir(folder.path().join("volumes"))
            .unwrap()
            .count(),
        2
    );
    let fault = store.usage("vol").unwrap_err();
    assert_eq!(fault.to_string(), "no such volume: vol");
}

#[test]
fn names_are_refused_in_the_words_that_clients_know() {
    let Scratch { store, .. } = scratch();
    for name in ["../x", "a/b", ".hidden", "-x", "", "a b", "_data", "é1"] {
        let fault = store.create(name).unwrap_err().to_string();
        assert!(
            fault.ends_with(
                "includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. \
                 If you intended to pass a host directory, use absolute path"
            ),
            "{fault}"
        );
        store.remove(name).unwrap_err();
        store
            .open_tree(name, None, &BindOptions::default())
            .unwrap_err();
    }
    assert!(matches!(store.create("x"), Err(VolumeError::ShortName)));
    assert!(matches!(
        store.create(&"x".repeat(256)),
        Err(VolumeError::LongName)
    ));
}

#[test]
fn the_first_use_keeps_everything_of_the_images_folder() {
    let scratch = scratch();
    scratch.store.create("vol").unwrap();
    let top = scratch.image("var/lib/data");
    std::fs::create_dir_all(top.join("deep/er")).unwrap();
    symlink("/var/lib/data", scratch.image("data")).unwrap();
    std::fs::write(top.join("file"), "content").unwrap();
    std::fs::hard_link(top.join("file"), top.join("deep/er/twin")).unwrap();
    symlink("../outside", top.join("link")).unwrap();
    let root = open(&top);
    let files = Root::new(root.as_fd());
    files
        .mknod(
            "deep/null",
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o622),
            fs::makedev(1, 3),
        )
        .unwrap();
    files
        .mknod("fifo", FileType::Fifo, Mode::from_raw_mode(0o640), 0)
        .unwrap();
    let sparse = std::fs::File::create(top.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"x", 50 << 20).unwrap();
    sparse.set_len(100 << 20).unwrap();
    files.chown("file", 70_001, 70_002).unwrap();
    files.chmod("file", Mode::from_raw_mode(0o4755)).unwrap();
    // A capability: version 2, cap_net_bind_service.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Xattrs::of(root.as_fd(), c"file")
        .unwrap()
        .set(c"security.capability", &capability)
        .unwrap();
    Xattrs::of(root.as_fd(), c"deep")
        .unwrap()
        .set(c"user.note", b"n")
        .unwrap();
    let then = std::fs::FileTimes::new()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 7));
    for folder in ["deep/er", "deep", ""] {
        std::fs::File::open(top.join(folder))
            .unwrap()
            .set_times(then)
            .unwrap();
    }
    files.chown("", 33, 34).unwrap();
    std::fs::set_permissions(&top, PermissionsExt::from_mode(0o2770)).unwrap();

    // A mount that a container has already shows the content too.
    let before = scratch
        .store
        .open_tree("vol", None, &BindOptions::default())
        .unwrap();
    scratch.copy_up("/data").unwrap();
    assert_eq!(
        Root::new(before.as_fd()).read("file", 100).unwrap(),
        b"content"
    );

    let same = |path: &str| {
        let (a, b) = (
            std::fs::symlink_metadata(top.join(path)).unwrap(),
            std::fs::symlink_metadata(scratch.volume("vol/_data").join(path)).unwrap(),
        );
        let of = |m: &std::fs::Metadata| {
            (
                m.mode(),
                m.uid(),
                m.gid(),
                m.rdev(),
                m.mtime(),
                m.mtime_nsec(),
                m.nlink(),
            )
        };
        assert_eq!(of(&a), of(&b), "{path}");
        assert_eq!(
            if a.is_dir() { 0 } else { a.size() },
            if b.is_dir() { 0 } else { b.size() },
            "{path}"
        );
    };
    for path in [
        "",
        "file",
        "deep",
        "deep/er",
        "deep/er/twin",
        "deep/null",
        "fifo",
        "link",
        "sparse",
    ] {
        same(path);
    }
    let data = scratch.volume("vol/_data");
    assert_eq!(
        std::fs::metadata(data.join("file")).unwrap().ino(),
        std::fs::metadata(data.join("deep/er/twin")).unwrap().ino()
    );
    assert!(
        std::fs::metadata(data.join("sparse")).unwrap().blocks() < 100,
        "holes were filled"
    );
    let copy = open(&data);
    assert_eq!(
        Xattrs::of(copy.as_fd(), c"file")
            .unwrap()
            .get(c"security.capability")
            .unwrap()
            .unwrap(),
        capability
    );
    assert_eq!(
        Xattrs::of(copy.as_fd(), c"deep")
            .unwrap()
            .get(c"user.note")
            .unwrap()
            .unwrap(),
        b"n"
    );
    assert_eq!(
        std::fs::read_link(data.join("link")).unwrap(),
        Path::new("../outside")
    );
    assert_eq!(std::fs::read_dir(scratch.volume("vol")).unwrap().count(), 1);
}

#[test]
fn only_an_empty_volume_is_filled_and_only_from_a_folder() {
    let scratch = scratch();
    scratch.store.create("vol").unwrap();
    std::fs::create_dir(scratch.image("dir")).unwrap();
    std::fs::write(scratch.image("dir/f"), "").unwrap();
    std::fs::write(scratch.image("file"), "").unwrap();
    symlink("../../..", scratch.image("up")).unwrap();
    scratch.copy_up("missing").unwrap();
    let fault = scratch.copy_up("file").unwrap_err();
    assert_eq!(
        fault.to_string(),
        "cannot fill volume vol from the image's file"
    );
    std::fs::write(scratch.volume("vol/_data/own"), "").unwrap();
    scratch.copy_up("dir").unwrap();
    assert_eq!(
        std::fs::read_dir(scratch.volume("vol/_data"))
            .unwrap()
            .count(),
        1
    );
    std::fs::remove_file(scratch.volume("vol/_data/own")).unwrap();
    // Up from the image's root is the image's root.
    scratch.copy_up("up").unwrap();
    assert!(scratch.volume("vol/_data/dir/f").exists());
    assert!(!scratch.volume("vol/_data/image").exists());
}

#[test]
fn a_crash_leaves_a_volume_as_it_was_or_filled() {
    let scratch = scratch();
    for name in ["half", "whole"] {
        scratch.store.create(name).unwrap();
    }
    std::fs::create_dir(scratch.volume("half/_fill")).unwrap();
    std::fs::write(scratch.volume("half/_fill/part"), "").unwrap();
    // Some entries moved already; one name was taken by a container meanwhile.
    std::fs::create_dir(scratch.volume("whole/_filled")).unwrap();
    std::fs::set_permissions(
        scratch.volume("whole/_filled"),
        PermissionsExt::from_mode(0o1711),
    )
    .unwrap();
    std::fs::write(scratch.volume("whole/_filled/left"), "").unwrap();
    std::fs::write(scratch.volume("whole/_filled/taken"), "image").unwrap();
    std::fs::write(scratch.volume("whole/_data/moved"), "").unwrap();
    std::fs::write(scratch.volume("whole/_data/taken"), "container").unwrap();
    std::fs::create_dir_all(scratch.volume(".removed-1-2/_data/x")).unwrap();
    let store = VolumeStore::open(scratch.folder.path()).unwrap();
    assert_eq!(store.list().unwrap(), ["half", "whole"]);
    assert_eq!(std::fs::read_dir(scratch.volume("")).unwrap().count(), 2);
    let names = |path: &str| {
        let mut names: Vec<_> = std::fs::read_dir(scratch.volume(path))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("half"), ["_data"]);
    assert_eq!(names("half/_data"), [""; 0]);
    assert_eq!(names("whole"), ["_data"]);
    assert_eq!(names("whole/_data"), ["left", "moved", "taken"]);
    assert_eq!(
        std::fs::read_to_string(scratch.volume("whole/_data/taken")).unwrap(),
        "container"
    );
    assert_eq!(
        std::fs::metadata(scratch.volume("whole/_data"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o1711
    );
}

#[test]
fn mounts_are_of_the_volume_or_a_part_and_may_be_read_only() {
    let scratch = scratch();
    scratch.store.create("vol").unwrap();
    let data = scratch.volume("vol/_data");
    std::fs::create_dir_all(data.join("sub")).unwrap();
    std::fs::write(data.join("sub/f"), "s").unwrap();
    symlink("sub", data.join("inner")).unwrap();
    symlink("/etc", data.join("outer")).unwrap();
    symlink("..", data.join("above")).unwrap();
    let options = BindOptions {
        read_only: true,
        ..BindOptions::default()
    };
    let whole = scratch.store.open_tree("vol", None, &options).unwrap();
    let fault = Root::new(whole.as_fd())
        .create_new("new", Mode::RUSR)
        .unwrap_err();
    assert_eq!(fault.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    for part in ["sub", "inner"] {
        let tree = scratch
            .store
            .open_tree("vol", Some(Path::new(part)), &BindOptions::default())
            .unwrap();
        assert_eq!(Root::new(tree.as_fd()).read("f", 10).unwrap(), b"s");
    }
    let file = scratch
        .store
        .open_tree("vol", Some(Path::new("sub/f")), &options)
        .unwrap();
    assert_eq!(
        FileType::from_raw_mode(fs::fstat(&file).unwrap().st_mode),
        FileType::RegularFile
    );
    for bad in ["outer", "above", "../vol", "/etc", "missing"] {
        let fault = scratch
            .store
            .open_tree("vol", Some(Path::new(bad)), &options)
            .unwrap_err();
        let expected = match bad {
            "missing" => matches!(fault, VolumeError::Subpath { .. }),
            _ => matches!(fault, VolumeError::Escape { .. }),
        };
        assert!(expected, "{bad}: {fault}");
    }
}

#[test]
fn who_starts_together_finds_the_volume_whole() {
    const FILES: usize = 2000;
    let scratch = scratch();
    scratch.store.create("vol").unwrap();
    for number in 0..FILES {
        let folder = scratch.image(&format!("data/{}", number % 10));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(number.to_string()), "content").unwrap();
    }
    let together = std::sync::Barrier::new(8);
    let count = |folder: &Path| std::fs::read_dir(folder).map_or(0, Iterator::count);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                together.wait();
                scratch.copy_up("/data").unwrap();
                let whole: usize = (0..10)
                    .map(|part| count(&scratch.volume(&format!("vol/_data/{part}"))))
                    .sum();
                assert_eq!(whole, FILES);
            });
        }
    });
    assert_eq!(count(&scratch.volume("vol")), 1);
}

/// What the kernel has mounted below a folder, as this thread sees it.
fn mounts_below(folder: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let folder = format!(" {}/", folder.display());
    table.lines().filter(|line| line.contains(&folder)).count()
}

#[test]
fn what_a_volume_is_stays_mounted_as_long_as_somebody_uses_it() {
    own_mounts();
    let Scratch { folder, store } = scratch();
    let memory = Device {
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options: "size=1m".to_owned(),
    };
    for name in ["vol", "other"] {
        store.create(name).unwrap();
        store.attach(name, &memory, "one").unwrap();
    }
    store.attach("vol", &memory, "two").unwrap();
    assert_eq!(mounts_below(folder.path()), 2);
    assert!(store.has("one") && !store.has("three"));
    let detach = |name| store.detach_unused(name, Duration::ZERO);
    assert!(matches!(detach("vol"), Err(VolumeError::Used { .. })));
    assert!(store.release("three").is_empty());
    assert!(store.release("one").is_empty());
    assert!(store.is_attached("vol").unwrap() && !store.is_attached("other").unwrap());
    detach("other").unwrap();
    assert!(store.release("two").is_empty());
    assert_eq!(mounts_below(folder.path()), 0);
    // Of a former daemon's, and of one that is gone.
    store.attach("vol", &memory, "one").unwrap();
    let again = VolumeStore::open(folder.path()).unwrap();
    again.detach_unused("vol", Duration::ZERO).unwrap();
    again.detach_unused("nothing", Duration::ZERO).unwrap();
    assert_eq!(mounts_below(folder.path()), 0);
    drop(store);
}

#[test]
fn what_can_not_be_tidied_up_keeps_no_store_from_opening() {
    own_mounts();
    let Scratch { folder, store } = scratch();
    store.create("vol").unwrap();
    let left = folder.path().join("volumes/.removed-1-1/_data");
    std::fs::create_dir_all(&left).unwrap();
    let target = std::ffi::CString::new(left.to_str().unwrap()).unwrap();
    sys::mount::by_flags(c"tmpfs", &target, c"tmpfs", 0, c"").unwrap();
    let again = VolumeStore::open(folder.path()).unwrap();
    assert_eq!(again.left().len(), 1);
    assert_eq!(again.list().unwrap(), ["vol"]);
    sys::mount::detach(&target).unwrap();
    let again = VolumeStore::open(folder.path()).unwrap();
    assert!(again.left().is_empty() && !left.exists());
}
