//! The folder of an image, and what is noted there beside criu's own files: what the processes have from outside.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::cli::Given;
use crate::error::{Error, Result};
use crate::mountinfo::{self, Mount};

/// Where an image is without `--image-path`.
const FOLDER: &str = "checkpoint";
/// The note's name.
const NOTE: &str = "wharf.json";
/// Standard streams.
const STREAMS: u32 = 3;

/// Folders of an image.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    pub(crate) folder: OwnedFd,
    /// Where criu's log and what it needs meanwhile go, if not there.
    pub(crate) work: Option<OwnedFd>,
    log_in: PathBuf,
}

impl Image {
    /// Opens the folders that the flags name; `make` those that are missing.
    pub(crate) fn open(given: &Given, make: bool) -> Result<Self> {
        let path = given.path("image-path").unwrap_or_else(|| FOLDER.into());
        let work = given.path("work-path");
        let folder = open(&path, make)?;
        Ok(Self {
            folder,
            work: work.as_deref().map(|work| open(work, true)).transpose()?,
            log_in: work.unwrap_or_else(|| path.clone()),
            path,
        })
    }

    /// Where criu writes a log of this name.
    pub(crate) fn log(&self, name: &str) -> String {
        self.log_in.join(name).display().to_string()
    }

    pub(crate) fn write(&self, external: &External) -> Result<()> {
        let path = self.path.join(NOTE);
        let failed = |source| Error::io("writing", &path, source);
        let text = serde_json::to_vec(external).map_err(|error| failed(error.into()))?;
        fs::write(&path, text).map_err(failed)
    }

    pub(crate) fn read(&self) -> Result<External> {
        let path = self.path.join(NOTE);
        let text =
            fs::read_to_string(&path).map_err(|source| Error::io("reading", &path, source))?;
        crate::spec::parse(NOTE, &text)
    }
}

fn open(path: &Path, make: bool) -> Result<OwnedFd> {
    let failed = |source| Error::io("opening the folder", path, source);
    if make {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(path);
        made.map_err(failed)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))
}

/// What processes have from outside of their container.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct External {
    /// Places of mounts that are somebody else's, too.
    pub(crate) mounts: Vec<String>,
    /// Of each standard stream, criu's name for a pipe, socket or file that is not the container's.
    pub(crate) descriptors: Vec<Option<String>>,
}

impl External {
    /// Looks at a process.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let own = mountinfo::read(&process.join("mountinfo"))?;
        let ours = mountinfo::read(Path::new("/proc/self/mountinfo"))?;
        Ok(Self {
            mounts: mounts(&own, &ours),
            descriptors: (0..STREAMS)
                .map(|number| descriptor(&process, number, &own))
                .collect(),
        })
    }
}

/// Mounts but the root of file systems that are mounted here as well, or of which the container has only a part.
fn mounts(own: &[Mount], ours: &[Mount]) -> Vec<String> {
    let devices = |mounts: &[Mount]| -> BTreeSet<String> {
        mounts.iter().map(|mount| mount.device.clone()).collect()
    };
    let ours = devices(ours);
    let whole: BTreeSet<&str> = own
        .iter()
        .filter(|mount| mount.root == "/")
        .map(|mount| mount.device.as_str())
        .collect();
    own.iter()
        .filter(|mount| mount.place != "/")
        .filter(|mount| ours.contains(&mount.device) || !whole.contains(mount.device.as_str()))
        .map(|mount| mount.place.clone())
        .collect()
}

fn descriptor(process: &Path, number: u32, own: &[Mount]) -> Option<String> {
    let path = process.join(format!("fd/{number}"));
    let link = fs::read_link(&path).ok()?.to_string_lossy().into_owned();
    if link.starts_with("pipe:") || link.starts_with("socket:") {
        return Some(link);
    }
    let about = fs::read_to_string(process.join(format!("fdinfo/{number}"))).ok()?;
    let mount = about
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))?;
    let mount: u64 = mount.trim().parse().ok()?;
    if own.iter().any(|one| one.id == mount) {
        return None;
    }
    let inode = fs::metadata(&path).ok()?.ino();
    Some(format!("file[{mount:x}:{inode:x}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_somebody_elses_is_found() {
        let ours =
            "20 1 0:20 / / rw - ext4 /dev/x rw\n21 20 0:21 / /sys/fs/cgroup rw - cgroup2 x rw\n";
        let own = "30 20 0:20 /root / rw - ext4 /dev/x rw\n31 30 0:31 / /proc rw - proc proc rw\n\
            32 31 0:31 /sys /proc/sys ro - proc proc rw\n33 30 0:21 /box /sys/fs/cgroup ro - cgroup2 x rw\n\
            34 30 0:20 /data /da\\040ta rw - ext4 /dev/x rw\n35 30 0:50 /part /part rw - tmpfs x rw\n";
        let found = mounts(&mountinfo::parse(own), &mountinfo::parse(ours));
        assert_eq!(found, ["/sys/fs/cgroup", "/da ta", "/part"]);
    }
}
