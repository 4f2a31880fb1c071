//! Writes a folder with all that is in it, or one entry, as an archive.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sys::beneath::fd_path;
use sys::beneath::tree::{Descend, Entry as Listed, Order, Visitor, walk_across};

use crate::tar::{Content, Device, Entry, Kind, Time, Writer};

/// Bytes that are read of a file at a time.
const BUFFER: usize = 256 * 1024;
/// Inodes with several names of which the first is remembered; further ones become files of their own.
const MAX_LINKS: usize = 1 << 20;
/// The attribute that travels: what a program may do. Others belong to the place where a file is.
const CAPABILITY: &CStr = c"security.capability";

/// Why an archive was not written to its end.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something of the tree could not be read.
    #[error("{action} {}: {}", entry.display(), crate::words(source))]
    Read {
        /// What was being done.
        action: &'static str,
        /// To what, by its name in the archive.
        entry: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The other side does not take the archive.
    #[error("write the archive: {}", crate::words(.0))]
    Write(#[source] io::Error),
}

/// A folder on which something is mounted: `true` has it written as an empty one.
pub type Leaves<'a> = dyn Fn(BorrowedFd<'_>, &Stat) -> bool + 'a;

/// Writes `folder` under `name` and all that is in it; what is mounted below is gone into unless `leaves` says otherwise.
///
/// Times are whole seconds and owners are numbers, as Docker sends them. Sockets are left out: archives cannot hold them.
/// A file that shrinks meanwhile is filled up with zeros.
///
/// # Errors
/// The first fault.
pub fn folder(
    folder: BorrowedFd<'_>,
    name: &[u8],
    leaves: &Leaves<'_>,
    out: &mut dyn Write,
) -> Result<(), PackError> {
    let mut pack = Pack::new(out, leaves);
    let packed = pack
        .top(folder, name)
        .and_then(|()| walk_across(folder, Order::Sorted, &mut pack));
    pack.finish(packed)
}

/// Writes the one entry `entry` of the folder `dir`, no folder itself, under `name`. As [`folder`] otherwise.
///
/// # Errors
/// The first fault.
pub fn entry(
    dir: BorrowedFd<'_>,
    entry: &CStr,
    name: &[u8],
    out: &mut dyn Write,
) -> Result<(), PackError> {
    let mut pack = Pack::new(out, &|_, _| true);
    let packed = pack.other(dir, entry, name.to_vec());
    pack.finish(packed)
}

struct Pack<'out> {
    writer: Writer<&'out mut dyn Write>,
    leaves: &'out Leaves<'out>,
    /// The name of the folder that the walk is in, with a slash behind, and the file system that it is on.
    path: Vec<u8>,
    devices: Vec<u64>,
    /// The first name of each inode that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    /// What was being done last, and a fault of the output, which is told as such.
    action: &'static str,
    current: Vec<u8>,
    failed: Option<io::Error>,
}

impl<'out> Pack<'out> {
    fn new(out: &'out mut dyn Write, leaves: &'out Leaves<'out>) -> Self {
        Self {
            writer: Writer::new(out),
            leaves,
            path: Vec::new(),
            devices: Vec::new(),
            links: HashMap::new(),
            buffer: Vec::new(),
            action: "open",
            current: Vec::new(),
            failed: None,
        }
    }

    fn finish(mut self, packed: io::Result<()>) -> Result<(), PackError> {
        if let Some(fault) = self.failed.take() {
            return Err(PackError::Write(fault));
        }
        packed.map_err(|source| PackError::Read {
            action: self.action,
            entry: OsStr::from_bytes(&self.current).into(),
            source,
        })?;
        self.writer.finish().map(drop).map_err(PackError::Write)
    }

    fn top(&mut self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        self.current = name.to_vec();
        let stat = fs::fstat(dir)?;
        self.path = name.to_vec();
        if !self.path.ends_with(b"/") {
            self.path.push(b'/');
        }
        self.devices.push(stat.st_dev);
        let entry = entry_of(Kind::Directory, self.path.clone(), &stat);
        self.put(&entry)
    }

    fn put(&mut self, entry: &Entry) -> io::Result<()> {
        let written = self.writer.entry(entry);
        self.output(written)
    }

    /// Remembers that it was the output that failed; the walk ends either way.
    fn output(&mut self, written: io::Result<()>) -> io::Result<()> {
        written.map_err(|fault| {
            self.failed = Some(fault);
            io::Error::from(io::ErrorKind::Other)
        })
    }

    /// An entry that is no folder. Its descriptor is one of the place alone until it is known to be a regular file: to
    /// open a device or a fifo would do something, or wait.
    fn other(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: Vec<u8>) -> io::Result<()> {
        self.current.clone_from(&path);
        self.action = "lstat";
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = match fs::openat(dir, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let stat = fs::fstat(&place)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Fifo => Kind::Fifo,
            // A socket, or what became a folder since it was listed.
            _ => return Ok(()),
        };
        let mut entry = entry_of(kind, path, &stat);
        if stat.st_nlink > 1 && !self.is_first(&stat, &entry.path) {
            entry.kind = Kind::HardLink;
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                entry.link.clone_from(first);
            }
            return self.put(&entry);
        }
        match kind {
            Kind::File => return self.file(&place, entry, &stat),
            Kind::Symlink => {
                self.action = "readlink";
                entry.link = fs::readlinkat(&place, c"", Vec::new())?.into_bytes();
            }
            Kind::Fifo => {}
            _ => {
                entry.device = Device {
                    major: fs::major(stat.st_rdev),
                    minor: fs::minor(stat.st_rdev),
                }
            }
        }
        self.put(&entry)
    }

    /// Whether this is the first name of an inode that has several.
    fn is_first(&mut self, stat: &Stat, path: &[u8]) -> bool {
        let inode = (stat.st_dev, stat.st_ino);
        if self.links.contains_key(&inode) {
            return false;
        }
        if self.links.len() < MAX_LINKS {
            self.links.insert(inode, path.to_vec());
        }
        true
    }

    fn file(
        &mut self,
        place: &impl std::os::fd::AsRawFd,
        mut entry: Entry,
        stat: &Stat,
    ) -> io::Result<()> {
        self.action = "open";
        entry.size = u64::try_from(stat.st_size).unwrap_or(0);
        // The same inode, whatever has its name by now.
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut file = File::from(fs::open(fd_path(place), flags, Mode::empty())?);
        let mut value = [0; 64];
        match fs::fgetxattr(&file, CAPABILITY, &mut value[..]) {
            Ok(length) => {
                let value = value[..length].to_vec();
                entry.xattrs.push((CAPABILITY.to_bytes().to_vec(), value));
            }
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.put(&entry)?;
        self.action = "read";
        self.buffer.resize(BUFFER, 0);
        let mut left = entry.size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let mut length = match file.read(&mut self.buffer[..wanted]) {
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if length == 0 {
                self.buffer.fill(0);
                length = wanted;
            }
            let written = self.writer.content(&self.buffer[..length]);
            self.output(written)?;
            left -= length as u64;
        }
        Ok(())
    }
}

impl Visitor for Pack<'_> {
    fn entry(&mut self, dir: BorrowedFd<'_>, listed: &Listed) -> io::Result<Descend> {
        let name = &*listed.name;
        let mut path = [&self.path, name.to_bytes()].concat();
        if listed.kind != FileType::Directory {
            self.other(dir, name, path)?;
            return Ok(Descend::No);
        }
        self.current.clone_from(&path);
        self.action = "lstat";
        let stat = match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Descend::No),
            other => other?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Descend::No);
        }
        path.push(b'/');
        self.put(&entry_of(Kind::Directory, path, &stat))?;
        self.action = "open";
        let mounted = self.devices.last() != Some(&stat.st_dev);
        if mounted && self.is_left(dir, name, &stat) {
            return Ok(Descend::No);
        }
        Ok(Descend::Yes)
    }

    fn entered(&mut self, dir: BorrowedFd<'_>, listed: &Listed) -> io::Result<()> {
        self.path.extend_from_slice(listed.name.as_bytes());
        self.path.push(b'/');
        self.devices.push(fs::fstat(dir)?.st_dev);
        Ok(())
    }

    fn left(&mut self, _: BorrowedFd<'_>, listed: &Listed) -> io::Result<()> {
        let above = self.path.len() - listed.name.as_bytes().len() - 1;
        self.path.truncate(above);
        self.devices.pop();
        Ok(())
    }
}

impl Pack<'_> {
    fn is_left(&self, dir: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> bool {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(dir, name, flags, Mode::empty()) {
            Ok(mounted) => (self.leaves)(mounted.as_fd(), stat),
            Err(_) => true,
        }
    }
}

fn entry_of(kind: Kind, path: Vec<u8>, stat: &Stat) -> Entry {
    Entry {
        at: 0,
        kind,
        path,
        link: Vec::new(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time {
            seconds: stat.st_mtime,
            nanoseconds: 0,
        },
        size: 0,
        content: Content::Plain,
        device: Device::default(),
        xattrs: Vec::new(),
    }
}
