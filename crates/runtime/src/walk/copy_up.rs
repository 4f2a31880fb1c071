//! A tmpfs that begins with what it hides, for a process that makes it in a user namespace of its own. As all of the walk it
//! allocates nothing.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::place;

/// Folders within folders, at most: each takes a few KiB of the stack.
const DEEPEST: u32 = 100;
/// Room for entries of a folder that are read at once.
const ENTRIES: usize = 4096;
/// Bytes that one call copies at most.
const PIECE: usize = 1 << 30;

/// Copies into the new file system's folder what the container shows at `path` before it is mounted there: owners, modes,
/// times, links and pipes; a file with several names becomes as many files. Without `takes_mode` its folder has a mode already.
///
/// # Errors
/// The kernel's answer; `NAMETOOLONG` beyond [`DEEPEST`] folders.
pub(super) fn fill(
    made: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    path: &CStr,
    takes_mode: bool,
) -> Result<(), Errno> {
    let Some(hidden) = place::find(root, path)? else {
        return Ok(());
    };
    let stat = fs::fstat(&hidden)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(());
    }
    let from = folder(hidden.as_fd(), c".")?;
    let to = folder(made, c".")?;
    copy_entries(from.as_fd(), to.as_fd(), DEEPEST)?;
    let (user, group) = owner(&stat);
    unless_unmapped(fs::fchown(&to, user, group))?;
    if takes_mode {
        fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    }
    fs::futimens(&to, &times(&stat))
}

fn folder(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, name, flags, Mode::empty())
}

fn copy_entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Removed meanwhile.
            Err(Errno::NOENT) => {}
            found => copy_entry(from, to, name, &found?, depth)?,
        }
    }
    Ok(())
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    depth: u32,
) -> Result<(), Errno> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let (user, group) = owner(stat);
    match kind {
        FileType::Directory => {
            let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
            fs::mkdirat(to, name, Mode::RWXU)?;
            copy_entries(
                folder(from, name)?.as_fd(),
                folder(to, name)?.as_fd(),
                depth,
            )?;
        }
        FileType::RegularFile => copy_file(from, to, name)?,
        FileType::Symlink => {
            let mut buffer = [MaybeUninit::uninit(); libc::PATH_MAX as usize];
            // One byte is left for the end.
            let room = buffer.len() - 1;
            let (target, _) = fs::readlinkat_raw(from, name, &mut buffer[..room])?;
            let length = target.len();
            let mut text = [0; libc::PATH_MAX as usize];
            text[..length].copy_from_slice(target);
            let target = CStr::from_bytes_until_nul(&text).map_err(|_| Errno::INVAL)?;
            fs::symlinkat(target, to, name)?;
        }
        _ => fs::mknodat(to, name, kind, mode, stat.st_rdev)?,
    }
    unless_unmapped(fs::chownat(
        to,
        name,
        user,
        group,
        AtFlags::SYMLINK_NOFOLLOW,
    ))?;
    if kind != FileType::Symlink {
        // After the owner, whose change takes set-user-id bits away.
        fs::chmodat(to, name, mode, AtFlags::empty())?;
    }
    fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = fs::openat(from, name, reading, Mode::empty())?;
    let writing = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = fs::openat(to, name, writing, Mode::RUSR | Mode::WUSR)?;
    while fs::sendfile(&target, &source, None, PIECE)? != 0 {}
    Ok(())
}

/// What belongs to somebody whom the user namespace does not know is its root's in the copy: nobody could give it away.
fn unless_unmapped(given: Result<(), Errno>) -> Result<(), Errno> {
    match given {
        Err(Errno::INVAL) => Ok(()),
        other => other,
    }
}

fn owner(stat: &Stat) -> (Option<fs::Uid>, Option<Gid>) {
    let user = fs::Uid::from_raw(stat.st_uid);
    (Some(user), Some(Gid::from_raw(stat.st_gid)))
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
