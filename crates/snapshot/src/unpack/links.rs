//! Hard links to files that only the layers below have.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, FileType, Gid, Mode, OFlags, SeekFrom, Uid};
use rustix::io::Errno;
use sys::beneath::{Root, Rule, Xattrs};

use super::folders::{Folder, timestamps};
use super::path::{LayerPath, c_name};
use crate::error::path_of;
use crate::tar::Time;
use crate::whiteout;

/// Copies a regular file from the topmost parent layer that has it, with everything, to `name` in `folder`, and gives
/// its size and how many bytes were copied, which are fewer where it has holes; `None`, with a part of it left there,
/// when they would be more than `most`.
///
/// # Errors
/// ENOENT when no parent has it, EOPNOTSUPP when it is no regular file.
pub(super) fn copy_from_parents(
    parents: &[OwnedFd],
    target: &LayerPath,
    folder: &Folder,
    name: &CStr,
    most: u64,
) -> io::Result<Option<(u64, u64)>> {
    let (above, last) = find(parents, target)?;
    let from = fs::openat(
        &above,
        &*last,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = fs::fstat(&from)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = fs::openat(&folder.fd, name, flags, Mode::RUSR | Mode::WUSR)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let Some(copied) = copy_data(&from, &to, size, most)? else {
        return Ok(None);
    };
    fs::fchown(
        &to,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )?;
    fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let attributes = Xattrs::of(above.as_fd(), &last)?;
    for attribute in attributes.names()? {
        if !whiteout::is_overlay_xattr(attribute.to_bytes())
            && let Some(value) = attributes.get(&attribute)?
        {
            fs::fsetxattr(&to, &*attribute, &value, fs::XattrFlags::empty())?;
        }
    }
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    fs::futimens(
        &to,
        &timestamps(Time {
            seconds: stat.st_mtime,
            nanoseconds,
        }),
    )?;
    Ok(Some((size, copied)))
}

/// Copies what is no hole, and gives how many bytes that were; `None` when they would be more than `most`.
fn copy_data(from: &OwnedFd, to: &OwnedFd, size: u64, most: u64) -> io::Result<Option<u64>> {
    let (mut at, mut copied) = (0, 0);
    while at < size {
        let start = match fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // A hole to the end.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = fs::seek(from, SeekFrom::Hole(start))?.min(size);
        copied += end.saturating_sub(start);
        if copied > most {
            return Ok(None);
        }
        at = start;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
            let (mut source, mut target) = (at, at);
            let moved =
                fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), wanted)?;
            if moved == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            at += moved as u64;
        }
    }
    fs::ftruncate(to, size)?;
    Ok(Some(copied))
}

/// The folder and name of the file in the topmost parent that says anything of the path.
fn find(parents: &[OwnedFd], target: &LayerPath) -> io::Result<(OwnedFd, CString)> {
    let (above, name) = target.split();
    let name = c_name(name)?;
    for parent in parents {
        let root = Root::with_rule(parent.as_fd(), Rule::NoLinks);
        let folder = match root.open(
            path_of(above),
            OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        ) {
            Ok(folder) => folder,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
            // A file, link or whiteout on the way hides what is below.
            Err(_) => break,
        };
        match whiteout::lstat(folder.as_fd(), &name)? {
            None if whiteout::is_opaque(folder.as_fd(), c"")? => break,
            None => {}
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                return Ok((folder, name));
            }
            Some(stat) if whiteout::is_whiteout(&stat) => break,
            Some(_) => return Err(Errno::OPNOTSUPP.into()),
        }
    }
    Err(Errno::NOENT.into())
}
