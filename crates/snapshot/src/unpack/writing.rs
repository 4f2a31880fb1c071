//! Entries become files: as few system calls an entry as give it everything that the archive says.

mod hard_link;

use std::ffi::{CStr, CString};
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use sys::beneath::{Xattrs, tree};

use super::Limits;
use super::content::{Fault, Unkept, set_xattrs, write_content};
use super::folders::{DEFAULT_ACL, Folder, Folders, timestamps};
use super::path::{LayerPath, c_name};
use crate::SnapshotError;
use crate::error::path_of;
use crate::tar::{Archive, Entry, Kind};
use crate::whiteout;

/// The kernel's limits on device numbers (12 and 20 bits).
const MAX_MAJOR: u32 = 0xfff;
const MAX_MINOR: u32 = 0xf_ffff;

/// Writes all entries of the archive in `stream` and gives the bytes of regular files and the count of entries.
pub(super) fn write_entries(
    layer: u64,
    content: OwnedFd,
    parents: Vec<OwnedFd>,
    stream: &mut impl BufRead,
    limits: &Limits,
) -> Result<(u64, u64), SnapshotError> {
    let folders = Folders::new(content, parents).map_err(|source| SnapshotError::Entry {
        action: "prepare",
        entry: path_of(b"/"),
        source,
    })?;
    let mut writing = Writing {
        folders,
        limits: *limits,
        entries: 0,
        devices: 0,
        copied: 0,
        size: 0,
        unkept: Unkept::default(),
    };
    let mut archive = Archive::new(stream);
    while let Some(entry) = archive
        .next_entry()
        .map_err(|source| SnapshotError::Archive { source })?
    {
        writing.entry(&entry, &mut archive)?;
    }
    let Writing {
        folders,
        entries,
        size,
        unkept,
        ..
    } = writing;
    unkept.tell(layer);
    folders
        .finish()
        .map_err(|(path, source)| SnapshotError::Entry {
            action: "set the time of",
            entry: path_of(&path),
            source,
        })?;
    Ok((size, entries))
}

/// What befell an entry.
fn entry_fault(action: &'static str, entry: &Entry, fault: Fault) -> SnapshotError {
    match fault {
        Fault::Archive(source) => SnapshotError::Archive { source },
        Fault::Io(source) => SnapshotError::Entry {
            action,
            entry: path_of(&entry.path),
            source,
        },
        Fault::Copied(limit) => SnapshotError::Limit {
            what: "bytes copied from the layers below",
            limit,
        },
    }
}

struct Writing {
    folders: Folders,
    limits: Limits,
    entries: u64,
    devices: u64,
    copied: u64,
    size: u64,
    unkept: Unkept,
}

/// Where an entry goes.
struct Place<'entry> {
    folder: Rc<Folder>,
    name: CString,
    entry: &'entry Entry,
}

impl Writing {
    fn entry(
        &mut self,
        entry: &Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), SnapshotError> {
        self.entries += 1;
        self.check(self.entries, self.limits.entries, "entries")?;
        let Some(path) = LayerPath::parse(&entry.path) else {
            return Err(SnapshotError::Escapes {
                entry: path_of(&entry.path),
            });
        };
        if path.is_top() {
            return self
                .top(entry)
                .map_err(|fault| entry_fault("set up", entry, fault));
        }
        let (above, name) = path.split();
        if path
            .components()
            .any(|component| component.starts_with(whiteout::META_PREFIX))
        {
            let is_opaque = name == whiteout::OPAQUE;
            return if is_opaque
                && !above
                    .split(|&byte| byte == b'/')
                    .any(|c| c.starts_with(whiteout::META_PREFIX))
            {
                self.opaque(above)
                    .map_err(|fault| entry_fault("empty", entry, fault))
            } else {
                Ok(())
            };
        }
        let place = self
            .place(above, name, entry)
            .map_err(|fault| entry_fault("make the folder of", entry, fault))?;
        self.check(self.folders.count(), self.limits.folders, "folders")?;
        self.check(
            self.folders.bytes(),
            self.limits.folder_bytes,
            "bytes of folders' names and access lists",
        )?;
        if let Some(hidden) = name.strip_prefix(whiteout::PREFIX) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(SnapshotError::Escapes {
                    entry: path_of(&entry.path),
                });
            }
            let hidden = c_name(hidden)
                .map_err(Fault::Io)
                .and_then(|hidden| hide(&place.folder, &hidden));
            return hidden.map_err(|fault| entry_fault("remove", entry, fault));
        }
        match entry.kind {
            Kind::File => self
                .file(&place, archive)
                .map_err(|fault| entry_fault("write", entry, fault)),
            Kind::Directory => {
                let made = self.directory(&place, path.bytes());
                made.map_err(|fault| entry_fault("make", entry, fault))
            }
            Kind::Symlink => self
                .symlink(&place)
                .map_err(|fault| entry_fault("link", entry, fault)),
            Kind::HardLink => self.hard_link(&place, &path),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                self.devices += 1;
                self.check(self.devices, self.limits.devices, "devices")?;
                self.node(&place)
                    .map_err(|fault| entry_fault("make", entry, fault))
            }
        }
    }

    fn check(&self, count: u64, limit: u64, what: &'static str) -> Result<(), SnapshotError> {
        if count > limit {
            return Err(SnapshotError::Limit { what, limit });
        }
        Ok(())
    }

    fn place<'entry>(
        &mut self,
        above: &[u8],
        name: &[u8],
        entry: &'entry Entry,
    ) -> Result<Place<'entry>, Fault> {
        Ok(Place {
            folder: self.folders.get(above)?,
            name: c_name(name)?,
            entry,
        })
    }

    /// An entry for the layer's top folder itself.
    fn top(&mut self, entry: &Entry) -> Result<(), Fault> {
        if entry.kind != Kind::Directory {
            return Err(Errno::ISDIR.into());
        }
        let top = self.folders.top();
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        fs::fchown(top, Some(uid), Some(gid))?;
        fs::fchmod(top, Mode::from_raw_mode(entry.mode))?;
        let attributes = Xattrs::of(top.as_fd(), c"")?;
        set_xattrs(entry, &mut self.unkept, |name, value| {
            attributes.set(name, value)
        })?;
        self.directory_end(b"", entry);
        Ok(())
    }

    fn opaque(&mut self, path: &[u8]) -> Result<(), Fault> {
        if path.is_empty() {
            // Overlayfs does not look for the mark on the top folders of a stack: name by name instead.
            let top = self.folders.get(b"")?;
            let mut hidden = Vec::new();
            for parent in self.folders.parents() {
                hidden.extend(tree::entries(parent.as_fd())?);
            }
            return hidden.iter().try_for_each(|entry| hide(&top, &entry.name));
        }
        let folder = self.folders.get(path)?;
        Ok(whiteout::make_opaque(folder.fd.as_fd(), c"")?)
    }

    fn file(
        &mut self,
        place: &Place<'_>,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), Fault> {
        let entry = place.entry;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let make = || fs::openat(&place.folder.fd, &*place.name, flags, mode);
        let file = self.making(place, make)?;
        write_content(&file, entry, archive)?;
        let owned = needs_owner(place);
        if owned {
            fs::fchown(
                &file,
                Some(Uid::from_raw(entry.uid)),
                Some(Gid::from_raw(entry.gid)),
            )?;
        }
        if entry.mode & (0o7000 | self.folders.masked) != 0 {
            fs::fchmod(&file, Mode::from_raw_mode(entry.mode))?;
        }
        // After the owner: a change of owner takes file capabilities away.
        set_xattrs(entry, &mut self.unkept, |name, value| {
            Ok(fs::fsetxattr(&file, name, value, fs::XattrFlags::empty())?)
        })?;
        fs::futimens(&file, &timestamps(entry.mtime))?;
        self.size = self.size.saturating_add(entry.size);
        Ok(())
    }

    fn directory(&mut self, place: &Place<'_>, path: &[u8]) -> Result<(), Fault> {
        let entry = place.entry;
        let (folder, name) = (&place.folder, &*place.name);
        let make = || fs::mkdirat(&folder.fd, name, Mode::from_raw_mode(entry.mode & 0o777));
        let mut exact = entry.mode & (0o7000 | self.folders.masked) != 0 || folder.gives_group;
        let mut owned = needs_owner(place);
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => match whiteout::lstat(folder.fd.as_fd(), name)? {
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    // What is known of its group bit may become untrue.
                    self.folders.forget();
                    (exact, owned) = (true, true);
                }
                Some(stat) => {
                    self.displace(place)?;
                    make()?;
                    if whiteout::is_whiteout(&stat) {
                        whiteout::make_opaque(folder.fd.as_fd(), name)?;
                    }
                }
                None => return Err(Errno::EXIST.into()),
            },
            Err(errno) => return Err(errno.into()),
        }
        if owned {
            self.own(place)?;
        }
        if exact {
            // A folder, as was just seen, in a tree that nobody else writes to.
            fs::chmodat(
                &folder.fd,
                name,
                Mode::from_raw_mode(entry.mode),
                AtFlags::empty(),
            )?;
        }
        if !entry.xattrs.is_empty() {
            let attributes = Xattrs::of(folder.fd.as_fd(), name)?;
            set_xattrs(entry, &mut self.unkept, |name, value| {
                attributes.set(name, value)
            })?;
        }
        self.directory_end(path, entry);
        Ok(())
    }

    fn directory_end(&mut self, path: &[u8], entry: &Entry) {
        self.folders.set_mtime_at_end(path, entry.mtime);
        if let Some((_, list)) = entry.xattrs.iter().find(|(name, _)| name == DEFAULT_ACL) {
            self.folders.set_default_acl_at_end(path, list);
        }
    }

    fn symlink(&mut self, place: &Place<'_>) -> Result<(), Fault> {
        let target = c_name(&place.entry.link)?;
        self.making(place, || {
            fs::symlinkat(&*target, &place.folder.fd, &*place.name)
        })?;
        if needs_owner(place) {
            self.own(place)?;
        }
        self.attributes_by_name(place)
    }

    fn node(&mut self, place: &Place<'_>) -> Result<(), Fault> {
        let entry = place.entry;
        let (major, minor) = (entry.device.major, entry.device.minor);
        if major > MAX_MAJOR || minor > MAX_MINOR {
            return Err(Errno::NXIO.into());
        }
        let kind = match entry.kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let (mode, device) = (
            Mode::from_raw_mode(entry.mode & 0o777),
            fs::makedev(major, minor),
        );
        self.making(place, || {
            fs::mknodat(&place.folder.fd, &*place.name, kind, mode, device)
        })?;
        if needs_owner(place) {
            self.own(place)?;
        }
        if entry.mode & (0o7000 | self.folders.masked) != 0 {
            // Made a moment ago in a tree that nobody else writes to: the name is no link.
            fs::chmodat(
                &place.folder.fd,
                &*place.name,
                Mode::from_raw_mode(entry.mode),
                AtFlags::empty(),
            )?;
        }
        self.attributes_by_name(place)
    }

    /// Makes an entry, in place of what has the name already.
    fn making<T>(
        &mut self,
        place: &Place<'_>,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Fault> {
        match make() {
            Err(Errno::EXIST) => {
                self.displace(place)?;
                Ok(make()?)
            }
            other => Ok(other?),
        }
    }

    /// Removes what has the name, with all below it. Folders known until now may have gone with it.
    fn displace(&mut self, place: &Place<'_>) -> Result<(), Fault> {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(place.name.as_bytes());
        tree::remove(place.folder.fd.as_fd(), name)?;
        self.folders.forget();
        Ok(())
    }

    fn own(&self, place: &Place<'_>) -> Result<(), Fault> {
        let (uid, gid) = (
            Uid::from_raw(place.entry.uid),
            Gid::from_raw(place.entry.gid),
        );
        Ok(fs::chownat(
            &place.folder.fd,
            &*place.name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn attributes_by_name(&mut self, place: &Place<'_>) -> Result<(), Fault> {
        if !place.entry.xattrs.is_empty() {
            let attributes = Xattrs::of(place.folder.fd.as_fd(), &place.name)?;
            set_xattrs(place.entry, &mut self.unkept, |name, value| {
                attributes.set(name, value)
            })?;
        }
        let times = timestamps(place.entry.mtime);
        Ok(fs::utimensat(
            &place.folder.fd,
            &*place.name,
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }
}

/// Hides `name` of the layers below. What this layer itself has by that name stays: an archive's order says nothing,
/// whiteouts are about the layers below only.
fn hide(folder: &Folder, name: &CStr) -> Result<(), Fault> {
    let dir = folder.fd.as_fd();
    match whiteout::make(dir, name) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            let stat = whiteout::lstat(dir, name)?;
            if stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
            {
                whiteout::make_opaque(dir, name)?;
            }
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a new entry has another owner than the one that it gets by itself. The engine runs as root.
fn needs_owner(place: &Place<'_>) -> bool {
    (place.entry.uid, place.entry.gid) != (0, 0) || place.folder.gives_group
}
