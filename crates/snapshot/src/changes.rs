//! What a container changed, as `docker diff` tells it.
//!
//! The upper folder says what was touched; what counts as a change is decided by comparing with the image: a folder
//! that overlayfs copied only to have a place for something below is none by itself, but is told as changed because of
//! what is below.

use std::cmp::Ordering;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, Stat};
use sys::beneath::tree::{Descend, Entry, Order, Visitor, entries, walk};
use sys::beneath::{Root, Rule, Trail, Xattrs};

use crate::error::path_of;
use crate::mount::{MountOptions, UPPER};
use crate::{LayerStore, SnapshotError, whiteout};

/// How something differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was there, and is different, or something in it is.
    Modified,
    /// It was not there.
    Added,
    /// It is gone.
    Deleted,
}

/// One difference from the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From the root, with a slash in front.
    pub path: PathBuf,
    /// How it differs.
    pub kind: ChangeKind,
}

impl LayerStore {
    /// What the container's upper folder changes of its image's `layers` (top first) and their mount points, sorted by
    /// path, a folder before what is in it.
    pub fn changes(
        &self,
        layers: &[u64],
        container: BorrowedFd<'_>,
    ) -> Result<Vec<Change>, SnapshotError> {
        let options = MountOptions {
            read_only: true,
            init: true,
            volatile: false,
        };
        let base = self.mount(layers, None, &options)?;
        let fault = |source: io::Error| SnapshotError::tree("compare", UPPER.as_bytes(), source);
        let upper = Root::with_rule(container, Rule::NoLinks)
            .open_dir(UPPER)
            .map_err(fault)?;
        let trail = Trail::new(base.as_fd()).map_err(fault)?;
        let mut compare = Compare {
            base: trail,
            path: vec![b'/'],
            changes: Vec::new(),
            open: Vec::new(),
        };
        walk(upper.as_fd(), Order::Sorted, &mut compare).map_err(|source| SnapshotError::Tree {
            action: "compare",
            entry: path_of(&compare.path),
            source,
        })?;
        let mut changes = compare.changes;
        changes.sort_by(|(a, _), (b, _)| by_components(a, b));
        Ok(changes
            .into_iter()
            .map(|(path, kind)| Change {
                path: path_of(&path),
                kind,
            })
            .collect())
    }
}

/// A slash comes before all else, so that a folder's entries follow it at once.
fn by_components(a: &[u8], b: &[u8]) -> Ordering {
    a.split(|&byte| byte == b'/')
        .cmp(b.split(|&byte| byte == b'/'))
}

struct Compare {
    /// The image, followed beside the upper folder.
    base: Trail,
    /// The folder that the walk is in, with a slash behind.
    path: Vec<u8>,
    changes: Vec<(Vec<u8>, ChangeKind)>,
    /// For each folder that the walk is in: whether it was told already, and how many changes there were before.
    open: Vec<(bool, usize)>,
}

impl Compare {
    fn path_of(&self, name: &CStr) -> Vec<u8> {
        [&self.path, name.to_bytes()].concat()
    }

    fn tell(&mut self, name: &CStr, kind: ChangeKind) {
        let path = self.path_of(name);
        self.changes.push((path, kind));
    }

    /// Tells of all that the image has in its folder `name` and `still` does not say is there.
    fn tell_hidden(
        &mut self,
        name: &CStr,
        still: impl Fn(&CStr) -> io::Result<bool>,
    ) -> io::Result<()> {
        let Some(base) = self.base.current() else {
            return Ok(());
        };
        let root = Root::with_rule(base, Rule::NoLinks);
        for entry in entries(root.open_dir(path_of(name.to_bytes()))?.as_fd())? {
            if !still(&entry.name)? {
                let path = [&self.path_of(name), &b"/"[..], entry.name.as_bytes()].concat();
                self.changes.push((path, ChangeKind::Deleted));
            }
        }
        Ok(())
    }
}

impl Visitor for Compare {
    fn entry(&mut self, dir: BorrowedFd<'_>, entry: &Entry) -> io::Result<Descend> {
        let name = &*entry.name;
        let Some(now) = whiteout::lstat(dir, name)? else {
            return Ok(Descend::No);
        };
        let before = match self.base.current() {
            Some(base) => whiteout::lstat(base, name)?,
            None => None,
        };
        let was_folder = before.as_ref().is_some_and(is_folder);
        match (&before, self.base.current()) {
            (None, _) | (_, None) if whiteout::is_whiteout(&now) => return Ok(Descend::No),
            (Some(_), _) if whiteout::is_whiteout(&now) => {
                self.tell(name, ChangeKind::Deleted);
                return Ok(Descend::No);
            }
            (Some(before), Some(base)) => {
                if differs(before, &now) || capability(base, name)? != capability(dir, name)? {
                    self.tell(name, ChangeKind::Modified);
                }
            }
            _ => self.tell(name, ChangeKind::Added),
        }
        if !is_folder(&now) {
            if was_folder {
                self.tell_hidden(name, |_| Ok(false))?;
            }
            return Ok(Descend::No);
        }
        Ok(Descend::Yes)
    }

    fn entered(&mut self, dir: BorrowedFd<'_>, entry: &Entry) -> io::Result<()> {
        let name = &*entry.name;
        let path = self.path_of(name);
        let told = self.changes.last().is_some_and(|(last, _)| *last == path);
        self.open.push((told, self.changes.len()));
        let was_folder = match self.base.current() {
            Some(base) => whiteout::lstat(base, name)?.as_ref().is_some_and(is_folder),
            None => false,
        };
        if was_folder && whiteout::is_opaque(dir, c"")? {
            self.tell_hidden(name, |inside| Ok(whiteout::lstat(dir, inside)?.is_some()))?;
        }
        self.base.follow(name)?;
        self.path = path;
        self.path.push(b'/');
        Ok(())
    }

    fn left(&mut self, _: BorrowedFd<'_>, entry: &Entry) -> io::Result<()> {
        self.base.ascend()?;
        let above = self.path.len() - entry.name.as_bytes().len() - 1;
        self.path.truncate(above);
        if let Some((false, before)) = self.open.pop()
            && self.changes.len() > before
        {
            self.tell(&entry.name, ChangeKind::Modified);
        }
        Ok(())
    }
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// What counts: kind, mode, owner and device; of all but folders also size and time.
fn differs(before: &Stat, now: &Stat) -> bool {
    let of = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let content = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    of(before) != of(now) || !is_folder(now) && content(before) != content(now)
}

fn capability(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    Xattrs::of(dir, name)?.get(c"security.capability")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_entries_follow_it_before_its_longer_namesakes() {
        let mut paths = [&b"/a.b"[..], b"/a/z", b"/a", b"/a-", b"/"];
        paths.sort_by(|a, b| by_components(a, b));
        assert_eq!(paths, [&b"/"[..], b"/a", b"/a/z", b"/a-", b"/a.b"]);
    }
}
