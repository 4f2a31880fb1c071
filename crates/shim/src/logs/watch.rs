//! Being told when log files change: one inotify descriptor for all of a daemon's followers.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// A folder that is watched. Watching the same folder twice gives the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(i32);

/// Tells in which folders something changed.
///
/// The kernel limits how many such objects a user may have (128 by default), so a daemon has one.
#[derive(Debug)]
pub struct Watcher {
    inotify: OwnedFd,
}

/// What happened since the last time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The folders in which something changed.
    pub folders: Vec<WatchId>,
    /// Something was missed: every folder may have changed.
    pub all: bool,
}

impl Watcher {
    /// Makes one that watches nothing yet.
    ///
    /// # Errors
    /// As inotify_init1(2).
    pub fn new() -> io::Result<Self> {
        Ok(Watcher {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        })
    }

    /// Watches a log's folder: what is written there, and files that change their names.
    ///
    /// # Errors
    /// As inotify_add_watch(2).
    pub fn add(&self, folder: BorrowedFd<'_>) -> io::Result<WatchId> {
        let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let what =
            WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        Ok(WatchId(inotify::add_watch(&self.inotify, path, what)?))
    }

    /// Stops watching a folder.
    pub fn remove(&self, id: WatchId) {
        // The kernel has done so by itself if the folder is gone.
        let _ = inotify::remove_watch(&self.inotify, id.0);
    }

    /// Takes what happened; nothing if nothing did. The descriptor is readable while there is something.
    ///
    /// # Errors
    /// As read(2).
    pub fn changes(&self) -> io::Result<Changes> {
        let mut changes = Changes::default();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                    changes.all = true
                }
                Ok(event) if event.events().contains(inotify::ReadFlags::IGNORED) => {}
                Ok(event) => {
                    let id = WatchId(event.wd());
                    if !changes.folders.contains(&id) {
                        changes.folders.push(id);
                    }
                }
                Err(Errno::AGAIN) => return Ok(changes),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}
