#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::pack;
use crate::tar::{Device, Writer};

fn opened(path: &Path) -> OwnedFd {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).unwrap()
}

fn entry(kind: Kind, path: &str, link: &str, size: u64) -> Entry {
    Entry {
        at: 0,
        kind,
        path: path.as_bytes().to_vec(),
        link: link.as_bytes().to_vec(),
        mode: if kind == Kind::Directory {
            0o755
        } else {
            0o644
        },
        uid: 0,
        gid: 0,
        mtime: Time {
            seconds: 1_000_000,
            nanoseconds: 0,
        },
        size,
        content: Content::Plain,
        device: Device::default(),
        xattrs: Vec::new(),
    }
}

/// An archive of entries: kind, name, and the target of a link or the content of a file.
fn archive(entries: &[(Kind, &str, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (kind, path, text) in entries {
        if *kind == Kind::File {
            writer
                .entry(&entry(*kind, path, "", text.len() as u64))
                .unwrap();
            writer.content(text.as_bytes()).unwrap();
        } else {
            writer.entry(&entry(*kind, path, text, 0)).unwrap();
        }
    }
    writer.finish().unwrap()
}

/// Extracts within `ROOT/in`, of which `ROOT` is the root for links if `rooted`.
fn extract_at(
    root: &Path,
    rooted: bool,
    archive: &[u8],
    options: &Options<'_>,
) -> Result<(), ExtractError> {
    let (folder, whole) = (opened(&root.join("in")), opened(root));
    let place = Place {
        folder: folder.as_fd(),
        root: rooted.then_some((whole.as_fd(), Path::new("/in"))),
        shown: Path::new("/in"),
    };
    extract(&place, archive, options)
}

const KEEPS: Options<'_> = Options {
    owner: Owner::Caller,
    keeps_kind: true,
    rename: None,
};

fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir_all(scratch.path().join("in")).unwrap();
    scratch
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let (from, to) = (scratch(), scratch());
    let top = from.path().join("in");
    fs::create_dir_all(top.join("sub/deeper")).unwrap();
    fs::write(top.join("sub/file"), vec![7; 300_000]).unwrap();
    fs::set_permissions(top.join("sub/file"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::hard_link(top.join("sub/file"), top.join("sub/twin")).unwrap();
    fs::write(top.join("empty"), "").unwrap();
    symlink("nowhere", top.join("link")).unwrap();
    let mut bytes = Vec::new();
    pack::folder(opened(&top).as_fd(), b"name", &|_, _| false, &mut bytes).unwrap();
    extract_at(to.path(), false, &bytes, &KEEPS).unwrap();
    let made = to.path().join("in/name");
    assert_eq!(fs::read(made.join("sub/file")).unwrap(), vec![7; 300_000]);
    let (file, twin) = (
        fs::metadata(made.join("sub/file")).unwrap(),
        fs::metadata(made.join("sub/twin")).unwrap(),
    );
    assert_eq!((file.mode() & 0o7777, file.nlink()), (0o4750, 2));
    assert_eq!(file.ino(), twin.ino());
    let before = fs::metadata(top.join("sub")).unwrap();
    let after = fs::metadata(made.join("sub")).unwrap();
    assert_eq!(before.mtime(), after.mtime());
    assert_eq!(
        fs::read_link(made.join("link")).unwrap(),
        Path::new("nowhere")
    );
    assert!(made.join("sub/deeper").is_dir() && made.join("empty").is_file());
}

#[test]
fn one_entry_has_the_name_that_it_is_given() {
    let (from, to) = (scratch(), scratch());
    fs::write(from.path().join("in/file"), "x").unwrap();
    let mut bytes = Vec::new();
    pack::entry(
        opened(&from.path().join("in")).as_fd(),
        c"file",
        b"other",
        &mut bytes,
    )
    .unwrap();
    // A header, a block of content, the end: what clients count.
    assert_eq!(bytes.len(), 2048);
    let renamed = Options {
        rename: Some((b"other", b"third")),
        ..KEEPS
    };
    extract_at(to.path(), false, &bytes, &renamed).unwrap();
    assert_eq!(fs::read(to.path().join("in/third")).unwrap(), b"x");
}

#[test]
fn a_folder_is_not_replaced_by_something_else_unless_that_is_wanted() {
    let scratch = scratch();
    let top = scratch.path().join("in");
    fs::create_dir(top.join("folder")).unwrap();
    fs::write(top.join("file"), "old").unwrap();
    let over_folder = archive(&[(Kind::File, "folder", "x")]);
    let over_file = archive(&[(Kind::Directory, "file", "")]);
    let refused = |bytes: &[u8]| {
        extract_at(scratch.path(), false, bytes, &KEEPS)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(&over_folder),
        "cannot overwrite directory \"/in/folder\" with non-directory \"/in\""
    );
    assert_eq!(
        refused(&over_file),
        "cannot overwrite non-directory \"/in/file\" with directory \"/in\""
    );
    let replaces = Options {
        keeps_kind: false,
        ..KEEPS
    };
    extract_at(scratch.path(), false, &over_folder, &replaces).unwrap();
    extract_at(scratch.path(), false, &over_file, &replaces).unwrap();
    assert!(top.join("folder").is_file() && top.join("file").is_dir());
}

#[test]
fn no_name_and_no_link_leads_out_of_the_place() {
    let scratch = scratch();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "s").unwrap();
    let absolute = outside.display().to_string();
    for hostile in [
        archive(&[(Kind::File, "../outside/new", "x")]),
        archive(&[(Kind::File, "a/../../outside/new", "x")]),
        archive(&[(Kind::Symlink, "l", &absolute), (Kind::File, "l/new", "x")]),
        archive(&[
            (Kind::Symlink, "l", "../outside"),
            (Kind::File, "l/new", "x"),
        ]),
        archive(&[
            (Kind::Symlink, "l", "../outside"),
            (Kind::HardLink, "h", "l/secret"),
        ]),
        archive(&[(Kind::HardLink, "h", "../outside/secret")]),
    ] {
        extract_at(scratch.path(), false, &hostile, &KEEPS).unwrap_err();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::metadata(outside.join("secret")).unwrap().nlink(), 1);
        for left in ["l", "h", "a"] {
            let left = scratch.path().join("in").join(left);
            let _ = fs::remove_file(&left).or_else(|_| fs::remove_dir_all(&left));
        }
    }
    // What has the last name of a file is replaced, not followed.
    symlink(outside.join("secret"), scratch.path().join("in/f")).unwrap();
    let file = archive(&[(Kind::File, "f", "mine")]);
    extract_at(scratch.path(), false, &file, &KEEPS).unwrap();
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"s");
}

#[test]
fn links_lead_within_the_root_where_there_is_one() {
    let scratch = scratch();
    let top = scratch.path().join("in");
    fs::create_dir(scratch.path().join("etc")).unwrap();
    symlink("/etc", top.join("absolute")).unwrap();
    symlink("../../../../etc", top.join("up")).unwrap();
    let bytes = archive(&[
        (Kind::File, "absolute/one", "1"),
        (Kind::File, "up/two", "2"),
        (Kind::File, "up/made/three", "3"),
    ]);
    extract_at(scratch.path(), true, &bytes, &KEEPS).unwrap();
    for (name, content) in [("one", "1"), ("two", "2"), ("made/three", "3")] {
        let path = scratch.path().join("etc").join(name);
        assert_eq!(fs::read_to_string(path).unwrap(), content);
    }
}

#[test]
fn an_archive_that_is_cut_is_told_in_docker_s_words() {
    let scratch = scratch();
    let whole = archive(&[(Kind::File, "f", "content")]);
    for cut in [&b"junk"[..], &[0; 100], &whole[..515]] {
        let told = extract_at(scratch.path(), false, cut, &KEEPS).unwrap_err();
        assert_eq!(told.to_string(), "unexpected EOF");
    }
    extract_at(scratch.path(), false, b"", &KEEPS).unwrap();
}
