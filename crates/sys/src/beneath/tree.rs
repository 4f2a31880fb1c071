//! Walks and removals of trees of any depth with few descriptors.
//!
//! A container may nest folders by the ten thousand. So a walk neither recurses nor holds a descriptor for each level:
//! a [`Trail`] keeps the deepest ones open and finds those above again.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, AtFlags, FileType, RawDir};
use rustix::io::Errno;

use super::trail::{Trail, open_folder, reopen};

/// Bytes for the entries of one getdents64 call.
const ENTRIES_BUFFER: usize = 32 * 1024;
/// So many sub-folders of one folder a removal remembers before it removes them and reads the folder again.
const REMOVAL_BATCH: usize = 4096;

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: one component.
    pub name: CString,
    /// What it is.
    pub kind: FileType,
}

/// What a walk does with a folder that it was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descend {
    /// Walk through it.
    Yes,
    /// Leave it out.
    No,
}

/// Who is told of a tree's entries. `dir` is the open folder that holds the entry.
pub trait Visitor {
    /// An entry; for a folder the answer says whether to go in. The entry may be gone already in a live tree.
    fn entry(&mut self, dir: BorrowedFd<'_>, entry: &Entry) -> io::Result<Descend>;
    /// The folder of `entry` was entered: `dir` is the folder itself.
    fn entered(&mut self, _dir: BorrowedFd<'_>, _entry: &Entry) -> io::Result<()> {
        Ok(())
    }
    /// A folder that had been entered is complete: `dir` is the one above.
    fn left(&mut self, _dir: BorrowedFd<'_>, _entry: &Entry) -> io::Result<()> {
        Ok(())
    }
}

/// The order of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the file system gives them; only the names of folders are held in memory.
    Any,
    /// By name, byte for byte, each folder's entries right after it.
    Sorted,
}

/// Tells `visitor` of everything below `top` (not of `top`). Other mounts are not entered; a folder that vanishes
/// while the walk is on its way to it is passed over.
///
/// # Errors
/// What the visitor gave; ESTALE when a folder on the way back up has been moved.
pub fn walk(top: BorrowedFd<'_>, order: Order, visitor: &mut dyn Visitor) -> io::Result<()> {
    walk_along(Trail::new(top)?, order, visitor)
}

/// As [`walk`], but goes into other mounts, too; the visitor says where not.
///
/// # Errors
/// As [`walk`].
pub fn walk_across(top: BorrowedFd<'_>, order: Order, visitor: &mut dyn Visitor) -> io::Result<()> {
    walk_along(Trail::across(top)?, order, visitor)
}

fn walk_along(mut trail: Trail, order: Order, visitor: &mut dyn Visitor) -> io::Result<()> {
    let mut waiting: Vec<std::vec::IntoIter<Entry>> =
        vec![list(&trail, order, visitor)?.into_iter()];
    let mut names: Vec<Entry> = Vec::new();
    while let Some(entries) = waiting.last_mut() {
        let Some(entry) = entries.next() else {
            waiting.pop();
            if let Some(name) = names.pop() {
                trail.ascend()?;
                visitor.left(current(&trail)?, &name)?;
            }
            continue;
        };
        // Unsorted walks told of everything while reading and kept only the folders to enter.
        if order == Order::Sorted && visitor.entry(current(&trail)?, &entry)? == Descend::No {
            continue;
        }
        if entry.kind != FileType::Directory {
            continue;
        }
        match trail.descend(&entry.name) {
            Ok(()) => {}
            Err(Errno::XDEV | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(errno.into()),
        }
        visitor.entered(current(&trail)?, &entry)?;
        waiting.push(list(&trail, order, visitor)?.into_iter());
        names.push(entry);
    }
    Ok(())
}

/// Reads the current folder: all entries sorted, or only the folders that the visitor wants entered.
fn list(trail: &Trail, order: Order, visitor: &mut dyn Visitor) -> io::Result<Vec<Entry>> {
    let dir = current(trail)?;
    let mut kept = Vec::new();
    read_entries(dir, |entry| {
        let keep = match order {
            Order::Sorted => true,
            Order::Any => {
                visitor.entry(dir, entry)? == Descend::Yes && entry.kind == FileType::Directory
            }
        };
        if keep {
            kept.push(entry.clone());
        }
        Ok(Reading::GoOn)
    })?;
    if order == Order::Sorted {
        kept.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(kept)
}

/// The folder that a walk is in, which is always there.
fn current(trail: &Trail) -> io::Result<BorrowedFd<'_>> {
    Ok(trail.current().ok_or(Errno::BADF)?)
}

/// Whether to read further entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    GoOn,
    Stop,
}

/// Gives the entries of a folder without `.` and `..`, with their kinds known, from its beginning.
fn read_entries(
    dir: BorrowedFd<'_>,
    mut each: impl FnMut(&Entry) -> io::Result<Reading>,
) -> io::Result<Reading> {
    fs::seek(dir, fs::SeekFrom::Start(0))?;
    let mut buffer = vec![MaybeUninit::<u8>::uninit(); ENTRIES_BUFFER];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            kind = match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
        }
        if each(&Entry {
            name: name.to_owned(),
            kind,
        })? == Reading::Stop
        {
            return Ok(Reading::Stop);
        }
    }
    Ok(Reading::GoOn)
}

/// The names in a folder with their kinds, sorted.
///
/// # Errors
/// ENOTDIR for what is no folder.
pub fn entries(dir: BorrowedFd<'_>) -> io::Result<Vec<Entry>> {
    let mut all = Vec::new();
    read_entries(reopen(dir)?.as_fd(), |entry| {
        all.push(entry.clone());
        Ok(Reading::GoOn)
    })?;
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Whether a folder has no entries.
pub fn is_empty(dir: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(read_entries(reopen(dir)?.as_fd(), |_| Ok(Reading::Stop))? == Reading::GoOn)
}

/// Removes `name` in `dir` and all below it; that it is missing is no error. Mounts on the way are not entered: they
/// stop the removal with EXDEV or EBUSY.
///
/// # Errors
/// The first that occurs; what was removed by then stays removed, so that a later call can finish.
pub fn remove(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let name = CString::new(name.as_bytes())?;
    if name.is_empty()
        || name.as_bytes().contains(&b'/')
        || name.as_c_str() == c"."
        || name.as_c_str() == c".."
    {
        return Err(Errno::INVAL.into());
    }
    match fs::unlinkat(dir, &*name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux says EISDIR; EPERM is what POSIX allows.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let top = open_folder(dir, &name)?;
    remove_contents(top.as_fd())?;
    remove_folder(dir, &name)
}

/// Removes everything below `top`, which stays. See [`remove`].
pub fn remove_contents(top: BorrowedFd<'_>) -> io::Result<()> {
    let mut trail = Trail::new(top)?;
    let mut pending = vec![unlink_files(current(&trail)?)?];
    let mut names: Vec<CString> = Vec::new();
    while let Some((folders, state)) = pending.last_mut() {
        if let Some(folder) = folders.pop() {
            match trail.descend(&folder) {
                Ok(()) => {}
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            }
            names.push(folder);
            pending.push(unlink_files(current(&trail)?)?);
        } else if *state == Reading::Stop {
            // Something was removed since, so this comes to an end.
            let again = unlink_files(current(&trail)?)?;
            if let Some(last) = pending.last_mut() {
                *last = again;
            }
        } else {
            pending.pop();
            if let Some(name) = names.pop() {
                trail.ascend()?;
                remove_folder(current(&trail)?, &name)?;
            }
        }
    }
    Ok(())
}

/// Unlinks the files of a folder and gives its sub-folders, at most a batch of them.
fn unlink_files(dir: BorrowedFd<'_>) -> io::Result<(Vec<CString>, Reading)> {
    let mut folders = Vec::new();
    let state = read_entries(dir, |entry| {
        if entry.kind == FileType::Directory {
            folders.push(entry.name.clone());
        } else {
            match fs::unlinkat(dir, &*entry.name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                // It became a folder since it was listed.
                Err(Errno::ISDIR) => folders.push(entry.name.clone()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(if folders.len() < REMOVAL_BATCH {
            Reading::GoOn
        } else {
            Reading::Stop
        })
    })?;
    Ok((folders, state))
}

fn remove_folder(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;

    pub(crate) struct Scratch(pub(crate) PathBuf);
    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("wharf-tree-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }
        fn open(&self) -> OwnedFd {
            fs::open(&self.0, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
        }
    }
    impl Drop for Scratch {
        fn drop(&mut self) {
            if let Ok(dir) = fs::open(&self.0, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                let _ = remove_contents(dir.as_fd());
            }
            let _ = std::fs::remove_dir(&self.0);
        }
    }

    fn make_deep(top: BorrowedFd<'_>, depth: usize) {
        let mut at = reopen(top).unwrap();
        for _ in 0..depth {
            fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
            fs::openat(&at, c"file", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
            at = fs::openat(&at, c"d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
    }

    struct Count {
        entries: usize,
        deepest: usize,
        depth: usize,
        descriptors: usize,
    }
    impl Visitor for Count {
        fn entry(&mut self, _: BorrowedFd<'_>, _: &Entry) -> io::Result<Descend> {
            self.entries += 1;
            Ok(Descend::Yes)
        }
        fn entered(&mut self, dir: BorrowedFd<'_>, _: &Entry) -> io::Result<()> {
            use std::os::fd::AsRawFd;
            self.descriptors = self.descriptors.max(dir.as_raw_fd() as usize);
            self.depth += 1;
            self.deepest = self.deepest.max(self.depth);
            Ok(())
        }
        fn left(&mut self, _: BorrowedFd<'_>, _: &Entry) -> io::Result<()> {
            self.depth -= 1;
            Ok(())
        }
    }

    #[test]
    fn a_tree_of_five_thousand_levels_is_walked_and_removed() {
        let scratch = Scratch::new("deep");
        let top = scratch.open();
        make_deep(top.as_fd(), 5000);
        for order in [Order::Any, Order::Sorted] {
            let mut count = Count {
                entries: 0,
                deepest: 0,
                depth: 0,
                descriptors: 0,
            };
            walk(top.as_fd(), order, &mut count).unwrap();
            assert_eq!(
                (count.entries, count.deepest, count.depth),
                (10_000, 5000, 0)
            );
            assert!(
                count.descriptors < 1000,
                "descriptor {} was in use",
                count.descriptors
            );
        }
        remove(top.as_fd(), OsStr::new("d")).unwrap();
        assert_eq!(entries(top.as_fd()).unwrap().len(), 1);
        remove_contents(top.as_fd()).unwrap();
        assert!(is_empty(top.as_fd()).unwrap());
    }

    #[test]
    fn a_removal_takes_folders_in_batches_and_does_not_follow_links() {
        let scratch = Scratch::new("batch");
        let kept = Scratch::new("kept");
        std::fs::write(kept.0.join("file"), "x").unwrap();
        for number in 0..REMOVAL_BATCH + 50 {
            std::fs::create_dir_all(scratch.0.join(format!("t/{number}"))).unwrap();
        }
        std::os::unix::fs::symlink(&kept.0, scratch.0.join("t/link")).unwrap();
        remove(scratch.open().as_fd(), OsStr::new("t")).unwrap();
        assert!(is_empty(scratch.open().as_fd()).unwrap());
        assert!(kept.0.join("file").exists());
        remove(scratch.open().as_fd(), OsStr::new("missing")).unwrap();
        for bad in ["", ".", "..", "a/b"] {
            remove(scratch.open().as_fd(), OsStr::new(bad)).unwrap_err();
        }
    }

    #[test]
    fn a_sorted_walk_gives_each_folder_before_its_entries() {
        struct Names(Vec<String>);
        impl Visitor for Names {
            fn entry(&mut self, _: BorrowedFd<'_>, entry: &Entry) -> io::Result<Descend> {
                let name = entry.name.to_string_lossy().into_owned();
                let skip = name == "skip";
                self.0.push(name);
                Ok(if skip { Descend::No } else { Descend::Yes })
            }
        }
        let scratch = Scratch::new("sorted");
        for path in ["b/2", "b/1", "a", "skip/inside", "c"] {
            std::fs::create_dir_all(scratch.0.join(path)).unwrap();
        }
        let mut names = Names(Vec::new());
        walk(scratch.open().as_fd(), Order::Sorted, &mut names).unwrap();
        assert_eq!(names.0, ["a", "b", "1", "2", "c", "skip"]);
    }
}
