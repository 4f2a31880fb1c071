//! Copies of trees that keep everything: owners, modes, times, attributes, links, devices and holes.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use super::tree::{Descend, Entry, Order, Visitor, walk};
use super::{Root, Rule, Trail, Xattrs, chown_entry, fd_path};
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

/// Copies all that is in `source`, and the attributes of `source` itself, to the empty folder `target`.
///
/// # Errors
/// The first that occurs; what was copied by then stays.
pub fn tree(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let links = Links {
        target,
        first: HashMap::new(),
    };
    let mut copy = Copy {
        trail: Trail::new(target)?,
        path: Vec::new(),
        links,
    };
    walk(source, Order::Any, &mut copy)?;
    folder_attributes(source, &fs::fstat(source)?, target)
}

/// Gives `target` the owner, mode and times of `stat` and the attributes of `source`; both are open folders.
///
/// # Errors
/// The first that occurs.
pub fn folder_attributes(
    source: BorrowedFd<'_>,
    stat: &Stat,
    target: BorrowedFd<'_>,
) -> io::Result<()> {
    fs::fchown(
        target,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )?;
    fs::fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    copy_xattrs(&Xattrs::of(source, c"")?, &Xattrs::of(target, c"")?)?;
    Ok(fs::futimens(target, &times(stat))?)
}

struct Copy<'target> {
    /// The folder of the target that stands for the one the walk is in.
    trail: Trail,
    /// Its path, for hard links.
    path: Vec<u8>,
    links: Links<'target>,
}

impl Visitor for Copy<'_> {
    fn entry(&mut self, dir: BorrowedFd<'_>, entry: &Entry) -> io::Result<Descend> {
        let name = &*entry.name;
        let stat = match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Descend::No),
            other => other?,
        };
        let to = self.trail.current().ok_or(Errno::STALE)?;
        if entry.kind == FileType::Directory {
            fs::mkdirat(to, name, Mode::RWXU)?;
            return Ok(Descend::Yes);
        }
        if self.links.link(&self.path, to, name, &stat)? {
            return Ok(Descend::No);
        }
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => copy_file(dir, to, name)?,
            FileType::Symlink => fs::symlinkat(&*fs::readlinkat(dir, name, Vec::new())?, to, name)?,
            kind => fs::mknodat(to, name, kind, mode, stat.st_rdev)?,
        }
        attributes(dir, to, name, &stat)?;
        Ok(Descend::No)
    }

    fn entered(&mut self, _: BorrowedFd<'_>, entry: &Entry) -> io::Result<()> {
        self.trail.descend(&entry.name)?;
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(entry.name.as_bytes());
        Ok(())
    }

    fn left(&mut self, dir: BorrowedFd<'_>, entry: &Entry) -> io::Result<()> {
        self.trail.ascend()?;
        let above = self
            .path
            .iter()
            .rposition(|&byte| byte == b'/')
            .unwrap_or(0);
        self.path.truncate(above);
        let to = self.trail.current().ok_or(Errno::STALE)?;
        // Its entries are all there: their making changes its time no more.
        let stat = fs::statat(dir, &*entry.name, AtFlags::SYMLINK_NOFOLLOW)?;
        attributes(dir, to, &entry.name, &stat)
    }
}

/// Inodes with several names.
struct Links<'target> {
    target: BorrowedFd<'target>,
    /// Where the first name of each was copied to.
    first: HashMap<(u64, u64), Vec<u8>>,
}

impl Links<'_> {
    /// Makes a further name of an inode that was copied already; whether there was one.
    fn link(
        &mut self,
        path: &[u8],
        to: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> io::Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let inode = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.first.get(&inode) {
            let root = Root::with_rule(self.target, Rule::NoLinks);
            // A path that is too long to be opened at once: a copy of its own then.
            if let Ok((folder, first)) = root.parent(OsStr::from_bytes(first)) {
                fs::linkat(folder, first, to, name, AtFlags::empty())?;
                return Ok(true);
            }
        }
        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
        self.first
            .insert(inode, [path, slash, name.to_bytes()].concat());
        Ok(false)
    }
}

/// Gives the copy of an entry everything but its content. The copy's tree is nobody else's yet.
fn attributes(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = fs::openat(to, name, flags, Mode::empty())?;
    chown_entry(&copy, stat.st_uid, stat.st_gid)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        fs::chmod(fd_path(&copy), Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    }
    // After the owner: a change of owner takes file capabilities away.
    copy_xattrs(&Xattrs::of(from, name)?, &Xattrs::of(to, name)?)?;
    Ok(fs::utimensat(
        to,
        name,
        &times(stat),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn copy_xattrs(from: &Xattrs, to: &Xattrs) -> io::Result<()> {
    for name in from.names()? {
        // A label belongs to the place where a file is.
        if &*name == c"security.selinux" {
            continue;
        }
        if let Some(value) = from.get(&name)? {
            to.set(&name, &value)?;
        }
    }
    Ok(())
}

/// Copies the data of a regular file and leaves its holes out.
fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = fs::openat(from, name, reading, Mode::empty())?;
    let writing =
        OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = fs::openat(to, name, writing, Mode::RUSR | Mode::WUSR)?;
    let size = u64::try_from(fs::fstat(&source)?.st_size).unwrap_or(0);
    let mut at = 0;
    while at < size {
        let data = match fs::seek(&source, SeekFrom::Data(at)) {
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            other => other?,
        };
        let end = fs::seek(&source, SeekFrom::Hole(data))?;
        fs::seek(&target, SeekFrom::Start(data))?;
        at = data;
        while at < end {
            // Works from one file system to another, as overlayfs over ext4; a shared extent would not.
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
            if fs::sendfile(&target, &source, Some(&mut at), wanted)? == 0 {
                return Err(Errno::IO.into());
            }
        }
    }
    Ok(fs::ftruncate(&target, size)?)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec, nanoseconds| Timespec {
        tv_sec,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
