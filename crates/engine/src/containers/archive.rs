//! Files into containers and out of them, as archives: `docker cp`.

use std::ffi::{CString, OsStr};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use api_types::PathStat;
use archive::extract::{self, Owner, Place};
use archive::pack;
use image::compression::{self, PacedBy};
use image::pace::{Paced, Patient};
use rustix::fs::{AtFlags, FileType, Stat, StatVfsMountFlags, StatxFlags};
use sys::beneath::Root;

use super::view::{Purpose, View};
use crate::clock;
use crate::compile::plan;
use crate::engine::Engine;
use crate::options::ExtractOptions;
use crate::outcome::{EngineError, Result, words};

/// Bytes of an archive that are read at a time.
const BUFFER: usize = 256 * 1024;
/// Links that are followed one after the other, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// File systems that are the kernel's own view of itself, by their magic numbers (statfs(2)): proc, sysfs, cgroup,
/// cgroup2, devpts, mqueue, debugfs, tracefs, securityfs, bpf, pstore, efivarfs, binfmt_misc, configfs, nsfs.
const OF_THE_KERNEL: [u64; 15] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x1cd1,
    0x1980_0202,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xcafe_4a11,
    0x6165_676c,
    0xde5e_81e4,
    0x4249_4e4d,
    0x6265_6570,
    0x6e73_6673,
];

impl Engine {
    /// What is at a path in a container.
    pub async fn path_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        let container = self.registry().find(name)?;
        let (shown, name) = (path.to_owned(), name.to_owned());
        let engine = self.clone();
        self.to_the_end("copy", async move {
            let kind = &engine.inner().places.copies;
            engine
                .with_view(&container, Purpose::Read, kind, move |_, view, _| {
                    let path = absolute(&shown);
                    let (_, stat) = look_at(&view.root(), &path)
                        .map_err(|fault| missing(fault, &path, &shown, &name))?;
                    Ok(stat)
                })
                .await
        })
        .await
    }

    /// Writes what is at a path in a container as an archive; what it is, is told before the first byte. Writing may
    /// answer that it would block, see [`Paced`].
    pub async fn copy_from(
        &self,
        name: &str,
        path: &str,
        told: Arc<OnceLock<PathStat>>,
        out: Box<dyn Write + Send>,
    ) -> Result<()> {
        let container = self.registry().find(name)?;
        let (shown, name) = (path.to_owned(), name.to_owned());
        let engine = self.clone();
        self.to_the_end("copy", async move {
            let kind = &engine.inner().places.copies;
            let event = container.event("archive-path", &[]);
            engine
                .with_view(
                    &container,
                    Purpose::Read,
                    kind,
                    move |engine, view, wanted| {
                        let path = absolute(&shown);
                        let (entry, stat) = look_at(&view.root(), &path)
                            .map_err(|fault| missing(fault, &path, &shown, &name))?;
                        let folder = stat.mode & PathStat::FOLDER != 0;
                        let base = stat.name.clone();
                        engine.tell_later(event);
                        // Its first reader: nobody else tells.
                        let _ = told.set(stat);
                        let mut out = Patient(Paced::new(out, wanted));
                        if folder {
                            pack_folder(view, &entry, &base, &mut out)?;
                        } else {
                            pack_entry(view, &path, &base, &mut out)?;
                        }
                        out.flush().map_err(EngineError::io("write the archive"))
                    },
                )
                .await
        })
        .await
    }

    /// Makes the files of an archive, compressed or not, in a folder of a container. Reading may answer that it would
    /// block, see [`Paced`].
    pub async fn copy_to(
        &self,
        name: &str,
        path: &str,
        options: ExtractOptions,
        body: Box<dyn Read + Send>,
    ) -> Result<()> {
        let container = self.registry().find(name)?;
        let (shown, name) = (path.to_owned(), name.to_owned());
        let engine = self.clone();
        self.to_the_end("copy", async move {
            let kind = &engine.inner().places.copies;
            let target = Arc::clone(&container);
            let event = container.event("extract-to-dir", &[]);
            engine
                .with_view(
                    &container,
                    Purpose::Write,
                    kind,
                    move |engine, view, wanted| {
                        let path = absolute(&shown);
                        let root = view.root();
                        let folder = root
                            .open_path(&path)
                            .map_err(|fault| missing(fault, &path, &shown, &name))?;
                        check_target(&root, &folder)?;
                        let user = &target.spec.config.user;
                        let owner = match options.copy_uid_gid && !user.is_empty() {
                            true => {
                                let user = plan::identify(&root, user, &[])?;
                                Owner::One(user.uid, user.gid)
                            }
                            false => Owner::Archived,
                        };
                        let (body, _) = compression::reader(
                            Paced::new(body, wanted),
                            u64::MAX,
                            PacedBy::Client,
                        )
                        .map_err(|fault| EngineError::Copy {
                            sentence: words(&fault),
                        })?;
                        let real =
                            real_path(folder.as_fd()).map_err(EngineError::io("find a folder"))?;
                        let place = Place {
                            folder: folder.as_fd(),
                            root: Some((root.dir(), &real)),
                            shown: Path::new(&path),
                        };
                        let options = extract::Options {
                            owner,
                            keeps_kind: options.no_overwrite_dir_non_dir,
                            rename: None,
                        };
                        extract::extract(&place, BufReader::with_capacity(BUFFER, body), &options)
                            .map_err(|fault| EngineError::Copy {
                                sentence: fault.to_string(),
                            })?;
                        engine.tell_later(event);
                        Ok(())
                    },
                )
                .await
        })
        .await
    }
}

/// Writes a folder; what the kernel shows of itself, and /dev, are left empty where they are mounted below it.
fn pack_folder(view: &View, folder: &OwnedFd, name: &str, out: &mut dyn Write) -> Result<()> {
    let devices = view.root().stat("dev").ok();
    let leaves = |mounted: BorrowedFd<'_>, stat: &Stat| {
        let is = |other: &Stat| (other.st_dev, other.st_ino) == (stat.st_dev, stat.st_ino);
        devices.as_ref().is_some_and(is)
            || rustix::fs::fstatfs(mounted)
                .is_ok_and(|found| OF_THE_KERNEL.contains(&(found.f_type as u64)))
    };
    pack::folder(folder.as_fd(), name.as_bytes(), &leaves, out).map_err(packing)
}

/// Writes what is no folder.
fn pack_entry(view: &View, path: &str, name: &str, out: &mut dyn Write) -> Result<()> {
    let at = |source: io::Error| EngineError::Copy {
        sentence: format!("open {path}: {}", words(&source)),
    };
    let (dir, entry) = view.root().parent(path).map_err(at)?;
    let entry = CString::new(entry.into_vec()).map_err(|fault| at(fault.into()))?;
    pack::entry(dir.as_fd(), &entry, name.as_bytes(), out).map_err(packing)
}

fn packing(fault: pack::PackError) -> EngineError {
    EngineError::Copy {
        sentence: fault.to_string(),
    }
}

/// Docker's sentences for a path that leads nowhere.
fn missing(fault: io::Error, path: &str, shown: &str, container: &str) -> EngineError {
    if fault.kind() == io::ErrorKind::NotFound {
        return EngineError::NoSuchFile {
            path: shown.to_owned(),
            container: container.to_owned(),
        };
    }
    EngineError::Copy {
        sentence: format!("lstat {path}: {}", words(&fault)),
    }
}

/// Refuses a place that is no folder, or that nothing can be written to.
fn check_target(root: &Root<'_>, folder: &OwnedFd) -> Result<()> {
    let io = |errno: rustix::io::Errno| EngineError::io("look at a folder")(errno.into());
    let stat = rustix::fs::fstat(folder).map_err(io)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(EngineError::invalid("extraction point is not a directory"));
    }
    let flags = rustix::fs::fstatvfs(folder).map_err(io)?.f_flag;
    if !flags.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let mount = |fd: BorrowedFd<'_>| {
        rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
            .map(|found| found.stx_mnt_id)
    };
    let same = mount(root.dir()).map_err(io)? == mount(folder.as_fd()).map_err(io)?;
    Err(EngineError::invalid(match same {
        true => "container rootfs is marked read-only",
        false => "mounted volume is marked read-only",
    }))
}

/// Opens what is at a path, a link itself, and tells what it is.
fn look_at(root: &Root<'_>, path: &str) -> io::Result<(OwnedFd, PathStat)> {
    let entry = root.open_entry(path)?;
    let stat = rustix::fs::fstat(&entry)?;
    let link_target = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => link_target(root, path)?,
        _ => String::new(),
    };
    let told = PathStat {
        name: base(path).to_owned(),
        size: stat.st_size,
        mode: go_mode(stat.st_mode),
        mtime: clock::of_file(stat.st_mtime, stat.st_mtime_nsec),
        link_target,
    };
    Ok((entry, told))
}

/// Where an open place lies in its root: the kernel's own path of it.
fn real_path(place: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let path = rustix::fs::readlink(sys::beneath::fd_path(&place), Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(
        path.into_bytes(),
    )))
}

/// Where a link leads in the container, as far as that is there.
fn link_target(root: &Root<'_>, path: &str) -> io::Result<String> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match root.open_path(&path) {
            Ok(place) => return Ok(real_path(place.as_fd())?.to_string_lossy().into_owned()),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => return Err(fault),
        }
        let Ok(target) = root.read_link(&path) else {
            break;
        };
        let above = Path::new(&path).parent().unwrap_or(Path::new("/"));
        let above = match root.open_path(above) {
            Ok(place) => real_path(place.as_fd())?,
            Err(_) => above.to_owned(),
        };
        path = clean(above.join(target).as_os_str());
    }
    Ok(path)
}

/// A path in a container as an absolute one, without `.` and `..` but for a `/` or `/.` at its end.
fn absolute(path: &str) -> String {
    let mut absolute = clean(OsStr::new(&format!("/{path}")));
    let dotted = path.trim_end_matches('/').rsplit('/').next() == Some(".");
    if dotted || path.ends_with('/') {
        if absolute != "/" {
            absolute.push('/');
        }
        if dotted {
            absolute.push_str(if path.ends_with('/') { "./" } else { "." });
        }
    }
    absolute
}

/// The path from the root without what means nothing; `..` takes the name before it away.
fn clean(path: &OsStr) -> String {
    let path = String::from_utf8_lossy(path.as_bytes()).into_owned();
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The last name of an absolute path.
fn base(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit('/').next() {
        None | Some("") => "/",
        Some(name) => name,
    }
}

/// A mode in the bits of Go's `fs.FileMode`.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => PathStat::FOLDER,
        FileType::Symlink => PathStat::LINK,
        FileType::BlockDevice => PathStat::DEVICE,
        FileType::CharacterDevice => PathStat::DEVICE | PathStat::CHARACTER,
        FileType::Fifo => PathStat::FIFO,
        FileType::Socket => PathStat::SOCKET,
        _ => 0,
    };
    let bits = [
        (0o4000, PathStat::SETUID),
        (0o2000, PathStat::SETGID),
        (0o1000, PathStat::STICKY),
    ];
    let special = bits.into_iter().filter(|(bit, _)| mode & bit != 0);
    kind | mode & 0o777 | special.fold(0, |all, (_, bit)| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_root_and_keep_what_their_end_asks_for() {
        for (path, expected, name) in [
            ("/d", "/d", "d"),
            ("d/f", "/d/f", "f"),
            ("/d/", "/d/", "d"),
            ("/d/.", "/d/.", "."),
            (".", "/.", "."),
            ("./", "/./", "."),
            ("/./", "/./", "."),
            ("/d/./", "/d/./", "."),
            ("/", "/", "/"),
            ("//", "/", "/"),
            ("/d/..", "/", "/"),
            ("../../x", "/x", "x"),
            ("/d/../../x/", "/x/", "x"),
        ] {
            assert_eq!(absolute(path), expected, "{path}");
            assert_eq!(base(expected), name, "{path}");
        }
    }

    #[test]
    fn modes_are_those_of_go() {
        for (mode, expected) in [
            (0o100_644, 0o644),
            (0o104_755, 0o755 | 1 << 23),
            (0o041_777, 0o777 | 1 << 31 | 1 << 20),
            (0o120_777, 0o777 | 1 << 27),
            (0o020_666, 0o666 | 1 << 26 | 1 << 21),
            (0o060_660, 0o660 | 1 << 26),
            (0o010_644, 0o644 | 1 << 25),
        ] {
            assert_eq!(go_mode(mode), expected, "{mode:o}");
        }
    }
}
