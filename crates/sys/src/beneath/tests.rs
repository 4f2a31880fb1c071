//! What a path may not do, on a real file system.
#![allow(clippy::unwrap_used)]

use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

struct Scratch(PathBuf);
impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("wharf-beneath-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("root")).unwrap();
        Self(path)
    }
    fn path(&self, below: &str) -> PathBuf {
        self.0.join("root").join(below)
    }
    fn open(&self) -> OwnedFd {
        fs::open(
            self.0.join("root"),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap()
    }
}
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

#[test]
fn links_and_dots_stay_within_the_root() {
    let scratch = Scratch::new("within");
    std::fs::write(scratch.0.join("secret"), "outside").unwrap();
    std::fs::write(scratch.path("secret"), "inside").unwrap();
    symlink("/secret", scratch.path("absolute")).unwrap();
    symlink("../../../secret", scratch.path("climbing")).unwrap();
    let fd = scratch.open();
    let root = Root::new(fd.as_fd());
    for path in ["secret", "/secret", "../secret", "absolute", "climbing"] {
        assert_eq!(root.read_to_string(path, 100).unwrap(), "inside", "{path}");
    }
    let strict = Root::with_rule(fd.as_fd(), Rule::Beneath);
    for path in ["/secret", "../secret", "absolute", "climbing"] {
        assert_eq!(
            strict.read(path, 100).unwrap_err().raw_os_error(),
            Some(Errno::XDEV.raw_os_error()),
            "{path}"
        );
    }
    symlink("secret", scratch.path("plain")).unwrap();
    assert_eq!(strict.read("plain", 100).unwrap(), b"inside");
    let fault = Root::with_rule(fd.as_fd(), Rule::NoLinks)
        .read("plain", 100)
        .unwrap_err();
    assert_eq!(fault.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
}

#[test]
fn magic_links_are_refused() {
    let fd = fs::open("/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    Root::new(fd.as_fd()).open_dir("self/root").unwrap_err();
}

#[test]
fn folders_are_made_through_links_that_point_to_nothing() {
    let scratch = Scratch::new("mkdir");
    symlink("/run", scratch.path("var-run")).unwrap();
    symlink("loop-b", scratch.path("loop-a")).unwrap();
    symlink("loop-a", scratch.path("loop-b")).unwrap();
    std::fs::write(scratch.path("file"), "").unwrap();
    let fd = scratch.open();
    let root = Root::new(fd.as_fd());
    root.mkdir_all("var-run/lock/deep", mode(0o1777)).unwrap();
    let made = std::fs::metadata(scratch.path("run/lock/deep")).unwrap();
    assert_eq!(made.permissions().mode() & 0o7777, 0o1777);
    root.mkdir_all("a/../b/c", mode(0o755)).unwrap();
    assert!(scratch.path("b/c").is_dir());
    root.mkdir_all("", mode(0o755)).unwrap();
    root.mkdir_all("loop-a/x", mode(0o755)).unwrap_err();
    root.mkdir_all("file/x", mode(0o755)).unwrap_err();
    assert_eq!(
        std::fs::read_dir(&scratch.0).unwrap().count(),
        1,
        "something was made outside"
    );
}

#[test]
fn a_read_is_bounded_and_never_waits_for_a_fifo() {
    let scratch = Scratch::new("read");
    let fd = scratch.open();
    let root = Root::new(fd.as_fd());
    root.mknod("fifo", FileType::Fifo, mode(0o666), 0).unwrap();
    assert_eq!(
        root.read("fifo", 10).unwrap_err().kind(),
        io::ErrorKind::InvalidInput
    );
    std::fs::write(scratch.path("file"), "12345").unwrap();
    assert_eq!(root.read("file", 5).unwrap(), b"12345");
    assert_eq!(
        root.read("file", 4).unwrap_err().kind(),
        io::ErrorKind::FileTooLarge
    );
}

#[test]
fn entries_are_made_with_exact_modes_and_links_are_not_followed() {
    let scratch = Scratch::new("entries");
    std::fs::write(scratch.0.join("outside"), "").unwrap();
    let outside = std::fs::metadata(scratch.0.join("outside")).unwrap();
    let fd = scratch.open();
    let root = Root::new(fd.as_fd());
    root.symlink("../outside", "link").unwrap();
    root.create_new("link", mode(0o666)).unwrap_err();
    root.chmod("link", mode(0o777)).unwrap_err();
    root.chown("link", 70_000, 80_000).unwrap();
    let link = root.lstat("link").unwrap();
    assert_eq!((link.st_uid, link.st_gid), (70_000, 80_000));
    root.create_new("file", mode(0o6777)).unwrap();
    root.mkdir("dir", mode(0o3777)).unwrap();
    root.hardlink("file", "dir/second").unwrap();
    assert_eq!(root.stat("dir/second").unwrap().st_mode & 0o7777, 0o6777);
    assert_eq!(root.stat("dir").unwrap().st_mode & 0o7777, 0o3777);
    root.hardlink("../outside", "stolen").unwrap_err();
    root.replace("link", b"new", mode(0o600)).unwrap();
    assert_eq!(root.read_to_string("link", 10).unwrap(), "new");
    assert_eq!(
        root.read_link("link").unwrap_err().raw_os_error(),
        Some(Errno::INVAL.raw_os_error())
    );
    root.remove_tree("dir").unwrap();
    root.remove_tree("dir/../missing/there").unwrap();
    let after = std::fs::metadata(scratch.0.join("outside")).unwrap();
    assert_eq!(
        (outside.uid(), outside.mode(), outside.nlink(), 0),
        (after.uid(), after.mode(), after.nlink(), after.len())
    );
}

#[test]
fn extended_attributes_belong_to_the_entry_itself() {
    let scratch = Scratch::new("xattr");
    std::fs::write(scratch.path("file"), "").unwrap();
    symlink("file", scratch.path("link")).unwrap();
    let fd = scratch.open();
    let file = Xattrs::of(fd.as_fd(), c"file").unwrap();
    let long = vec![7u8; 3000];
    file.set(c"trusted.long", &long).unwrap();
    file.set(c"trusted.a", b"").unwrap();
    let link = Xattrs::of(fd.as_fd(), c"link").unwrap();
    link.set(c"trusted.link", b"1").unwrap();
    assert_eq!(
        file.names().unwrap(),
        [c"trusted.a".to_owned(), c"trusted.long".to_owned()]
    );
    assert_eq!(link.names().unwrap(), [c"trusted.link".to_owned()]);
    assert_eq!(file.get(c"trusted.long").unwrap(), Some(long));
    assert_eq!(file.get(c"trusted.none").unwrap(), None);
    file.remove(c"trusted.a").unwrap();
    file.remove(c"trusted.a").unwrap();
    Xattrs::of(fd.as_fd(), c"")
        .unwrap()
        .set(c"trusted.top", b"x")
        .unwrap();
    assert!(Xattrs::of(fd.as_fd(), c"a/b").is_err());
}
