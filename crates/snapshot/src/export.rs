//! Trees as archives: a container's changes as a layer, and a whole root.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sys::beneath::tree::{Descend, Entry as Listed, Order, Visitor, walk};
use sys::beneath::{Root, Rule, Xattrs};

use crate::error::path_of;
use crate::mount::UPPER;
use crate::tar::{Content, Device, Entry, Kind, Time, Writer};
use crate::{LayerStore, SnapshotError, whiteout};

/// Bytes that are read of a file at a time.
const BUFFER: usize = 256 * 1024;

impl LayerStore {
    /// Writes what the container's upper folder adds to its image's `layers` (top first) as the archive of a layer,
    /// whiteouts included, and gives its length. The same folder gives the same bytes.
    ///
    /// Sockets are left out: archives cannot hold them. A file that shrinks meanwhile is filled up with zeros.
    pub fn write_changes(
        &self,
        layers: &[u64],
        container: BorrowedFd<'_>,
        out: &mut dyn Write,
    ) -> Result<u64, SnapshotError> {
        let upper = Root::with_rule(container, Rule::NoLinks)
            .open_dir(UPPER)
            .map_err(|source| SnapshotError::tree("open", UPPER.as_bytes(), source))?;
        let mut export = Export::new(out, true);
        let differs = self.top_differs(layers, upper.as_fd())?;
        let written = if differs {
            export.top(upper.as_fd())
        } else {
            Ok(())
        };
        let walked = written.and_then(|()| walk(upper.as_fd(), Order::Sorted, &mut export));
        export.finish(walked)
    }

    /// Whether the container changed the owner or mode of its top folder.
    fn top_differs(&self, layers: &[u64], upper: BorrowedFd<'_>) -> Result<bool, SnapshotError> {
        let fault = |errno: Errno| SnapshotError::tree("look at", b"/", errno.into());
        let of = |stat: Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
        let now = of(fs::fstat(upper).map_err(fault)?);
        let before = match layers.first() {
            Some(&top) => of(fs::fstat(self.content(top)?).map_err(fault)?),
            None => (FileType::Directory.as_raw_mode() | 0o755, 0, 0),
        };
        Ok(now != before)
    }
}

/// Writes all that is beneath `root`, a mounted container's root, and gives the archive's length. Other mounts are
/// written as the empty folders that they cover.
pub fn export(root: BorrowedFd<'_>, out: &mut dyn Write) -> Result<u64, SnapshotError> {
    let mut export = Export::new(out, false);
    let walked = walk(root, Order::Sorted, &mut export);
    export.finish(walked)
}

struct Export<'out> {
    writer: Writer<&'out mut dyn Write>,
    /// Turn overlayfs's marks into names.
    whiteouts: bool,
    /// The folder that the walk is in, with a slash behind.
    path: Vec<u8>,
    /// The first name of each inode that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    /// A fault of the output, which is told as such.
    failed: Option<io::Error>,
}

impl<'out> Export<'out> {
    fn new(out: &'out mut dyn Write, whiteouts: bool) -> Self {
        let writer = Writer::new(out);
        Self {
            writer,
            whiteouts,
            path: Vec::new(),
            links: HashMap::new(),
            buffer: Vec::new(),
            failed: None,
        }
    }

    fn finish(mut self, walked: io::Result<()>) -> Result<u64, SnapshotError> {
        if let Some(fault) = self.failed.take() {
            return Err(SnapshotError::Write(fault));
        }
        walked.map_err(|source| SnapshotError::Tree {
            action: "read",
            entry: path_of(&self.path),
            source,
        })?;
        let before = self.writer.written();
        self.writer.finish().map_err(SnapshotError::Write)?;
        Ok(before + crate::tar::END as u64)
    }

    /// The tree's top folder itself.
    fn top(&mut self, dir: BorrowedFd<'_>) -> io::Result<()> {
        let mut entry = entry_of(Kind::Directory, b"./".to_vec(), &fs::fstat(dir)?);
        entry.xattrs = xattrs(dir, c"")?;
        self.put(&entry)
    }

    fn path_of(&self, name: &CStr) -> Vec<u8> {
        [&self.path, name.to_bytes()].concat()
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

    /// An empty file whose name says something of the layers below.
    fn mark(&mut self, path: Vec<u8>) -> io::Result<()> {
        let (time, device) = (Time::default(), Device::default());
        self.put(&Entry {
            at: 0,
            kind: Kind::File,
            path,
            link: Vec::new(),
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: time,
            size: 0,
            content: Content::Plain,
            device,
            xattrs: Vec::new(),
        })
    }

    /// An entry that is no regular file and no folder.
    fn special(&mut self, dir: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Fifo => Kind::Fifo,
            _ => {
                tracing::debug!(entry = ?path_of(&self.path_of(name)), "a socket is left out of an archive");
                return Ok(());
            }
        };
        let mut entry = entry_of(kind, self.path_of(name), stat);
        entry.xattrs = xattrs(dir, name)?;
        match kind {
            Kind::Symlink => entry.link = fs::readlinkat(dir, name, Vec::new())?.into_bytes(),
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

    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        // Not to wait, should it have become a fifo since.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut file = match fs::openat(dir, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => File::from(other?),
        };
        let stat = fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::STALE.into());
        }
        let mut entry = entry_of(Kind::File, self.path_of(name), &stat);
        entry.size = u64::try_from(stat.st_size).unwrap_or(0);
        entry.xattrs = xattrs(dir, name)?;
        self.put(&entry)?;
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

impl Visitor for Export<'_> {
    fn entry(&mut self, dir: BorrowedFd<'_>, listed: &Listed) -> io::Result<Descend> {
        let name = &*listed.name;
        let Some(stat) = whiteout::lstat(dir, name)? else {
            return Ok(Descend::No);
        };
        if self.whiteouts && whiteout::is_whiteout(&stat) {
            self.mark([&self.path, whiteout::PREFIX, name.to_bytes()].concat())?;
            return Ok(Descend::No);
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let path = [&self.path, name.to_bytes(), b"/"].concat();
            let mut entry = entry_of(Kind::Directory, path.clone(), &stat);
            entry.xattrs = xattrs(dir, name)?;
            self.put(&entry)?;
            if self.whiteouts && whiteout::is_opaque(dir, name)? {
                self.mark([&path, whiteout::OPAQUE].concat())?;
            }
            return Ok(Descend::Yes);
        }
        if stat.st_nlink > 1 {
            let path = self.path_of(name);
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let mut entry = entry_of(Kind::HardLink, path, &stat);
                entry.link.clone_from(first);
                self.put(&entry)?;
                return Ok(Descend::No);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path);
        }
        if kind == FileType::RegularFile {
            self.file(dir, name)?
        } else {
            self.special(dir, name, &stat)?
        }
        Ok(Descend::No)
    }

    fn entered(&mut self, _: BorrowedFd<'_>, listed: &Listed) -> io::Result<()> {
        self.path.extend_from_slice(listed.name.as_bytes());
        self.path.push(b'/');
        Ok(())
    }

    fn left(&mut self, _: BorrowedFd<'_>, listed: &Listed) -> io::Result<()> {
        let above = self.path.len() - listed.name.as_bytes().len() - 1;
        self.path.truncate(above);
        Ok(())
    }
}

fn entry_of(kind: Kind, path: Vec<u8>, stat: &Stat) -> Entry {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
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
            nanoseconds,
        },
        size: 0,
        content: Content::Plain,
        device: Device::default(),
        xattrs: Vec::new(),
    }
}

/// The attributes that travel: neither overlayfs's own nor labels, which belong to the place where a file is.
fn xattrs(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let attributes = Xattrs::of(dir, name)?;
    let mut all = Vec::new();
    for name in attributes.names()? {
        if whiteout::is_overlay_xattr(name.to_bytes()) || &*name == c"security.selinux" {
            continue;
        }
        if let Some(value) = attributes.get(&name)? {
            all.push((name.into_bytes(), value));
        }
    }
    Ok(all)
}
