//! Overlay mounts of layers.
//!
//! The mount is made by `fsopen`, so it is attached nowhere: whoever gets the descriptor attaches it, or drops it and
//! it is gone. Options, each for a reason:
//!
//! - `index=off`: an index ties an upper folder to the inodes of its layers, but layers are shared, and may be removed
//!   and unpacked again. Hard links in layers are broken by the first write, as with other engines.
//! - `metacopy=off`, `redirect_dir=nofollow`: the upper folder then holds whole files at their own paths, so that it
//!   can be read by itself, and no attribute in a layer can point anywhere. Renaming a folder of the image gives EXDEV,
//!   which programs know from other engines.
//! - `xino` is left alone: all layers are on one file system, where inode numbers are true anyway.
//! - `volatile` on request: nothing is ever synced, and dropping the mount does not write out the upper file system.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount,
    mount_change, open_tree, unmount,
};
use sys::beneath::{Root, Rule};
use sys::mount::{Change, Propagation, attr, clone_tree, set_attributes};

use crate::SnapshotError;
use crate::store::{CONTENT, LayerStore};

pub use types::MAX_LAYERS;

/// A container's own folders.
pub(crate) const UPPER: &str = "upper";
const WORK: &str = "work";
/// Overlayfs leaves this behind when it was mounted volatile, and refuses to mount again while it is there.
const VOLATILE_MARK: &str = "work/work/incompat/volatile";

/// How a root is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountOptions {
    /// Never sync: for containers that are removed when they end, and for build steps.
    pub volatile: bool,
    /// The mount itself is read-only.
    pub read_only: bool,
    /// Put the shared layer with mount points on top of the image's.
    pub init: bool,
}

impl LayerStore {
    /// Makes `upper` and `work` in a container's folder. The upper folder gets the owner and mode of the image's top
    /// folder, since it stands for the root of the container. Both may be there already.
    pub fn prepare_upper(
        &self,
        container: BorrowedFd<'_>,
        layers: &[u64],
    ) -> Result<(), SnapshotError> {
        let fault = |source: io::Error| SnapshotError::tree("make", UPPER.as_bytes(), source);
        let made = match fs::mkdirat(container, UPPER, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(fault(errno.into())),
        };
        match fs::mkdirat(container, WORK, Mode::from_raw_mode(0o711)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(SnapshotError::tree("make", WORK.as_bytes(), errno.into())),
        }
        if made {
            let (mode, uid, gid) = match layers.first() {
                Some(&top) => {
                    let stat =
                        fs::fstat(self.content(top)?).map_err(|errno| fault(errno.into()))?;
                    (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)
                }
                None => (0o755, 0, 0),
            };
            set_owner_and_mode(container, mode, uid, gid).map_err(fault)?;
        }
        Ok(())
    }

    /// Whether [`LayerStore::prepare_upper`] was called for the container.
    pub fn has_upper(&self, container: BorrowedFd<'_>) -> bool {
        let flags = fs::AtFlags::SYMLINK_NOFOLLOW;
        fs::accessat(container, UPPER, fs::Access::EXISTS, flags).is_ok()
    }

    /// Mounts `layers` (top first) with the container's `upper` and `work` (see [`LayerStore::prepare_upper`]), or
    /// without an upper folder read-only, and gives the detached mount.
    ///
    /// Folders are found through descriptors, so the length of the data root's path does not matter, and the mount
    /// table in a container tells nothing of it.
    ///
    /// # Errors
    /// [`SnapshotError::TooDeep`] above [`MAX_LAYERS`], [`SnapshotError::Missing`] for an unknown layer.
    pub fn mount(
        &self,
        layers: &[u64],
        container: Option<BorrowedFd<'_>>,
        options: &MountOptions,
    ) -> Result<OwnedFd, SnapshotError> {
        if layers.len() > MAX_LAYERS {
            return Err(SnapshotError::TooDeep {
                wanted: layers.len(),
                limit: MAX_LAYERS,
            });
        }
        let lower = self.lower(layers, options.init)?;
        if let ([only], None) = (&lower[..], container) {
            // An overlay without an upper folder has at least two lower ones; one alone needs none.
            return self.only(only);
        }
        let stack = Stack {
            layers: self.dir(),
            lower: &lower,
            container,
            options,
        };
        let mounted = stack.mount().or_else(|fault| match container {
            // A former volatile mount left its mark. It was ours, and what it wrote is wanted.
            Some(container) if is_invalid(&fault) && remove_volatile_mark(container) => {
                stack.mount()
            }
            _ => Err(fault),
        });
        mounted.map_err(|fault| self.explain(fault, layers))
    }

    /// A mount of one folder, never writable: layers do not change.
    fn only(&self, lower: &str) -> Result<OwnedFd, SnapshotError> {
        let path = std::ffi::CString::new(lower).map_err(|_| at("open_tree")(Errno::INVAL))?;
        let tree = clone_tree(self.dir(), &path, false).map_err(|errno| {
            let number = lower
                .split('/')
                .next()
                .and_then(|number| number.parse().ok());
            match (errno, number) {
                (Errno::NOENT, Some(layer)) => SnapshotError::Missing { layer },
                _ => at("open_tree")(errno),
            }
        })?;
        let change = Change {
            set: attr::READ_ONLY,
            propagation: Some(Propagation::Private),
            ..Change::default()
        };
        set_attributes(tree.as_fd(), c"", &change).map_err(at("mount_setattr"))?;
        Ok(tree)
    }

    /// As [`LayerStore::mount`], by the way that kernels before 6.5 need: public so that it is tested on others too.
    #[doc(hidden)]
    pub fn mount_by_one_option(
        &self,
        layers: &[u64],
        container: Option<BorrowedFd<'_>>,
        options: &MountOptions,
    ) -> Result<OwnedFd, SnapshotError> {
        let lower = self.lower(layers, options.init)?;
        Stack {
            layers: self.dir(),
            lower: &lower,
            container,
            options,
        }
        .by_one_option()
    }

    /// The lower folders relative to `layers`, top first.
    fn lower(&self, layers: &[u64], init: bool) -> Result<Vec<String>, SnapshotError> {
        let mut lower = Vec::with_capacity(layers.len() + 1);
        if init {
            lower.push(self.init_layer(layers)?);
        }
        lower.extend(layers.iter().map(|layer| format!("{layer}/{CONTENT}")));
        Ok(lower)
    }

    /// A layer that does not exist is told by its number; to ask before every mount would cost more.
    fn explain(&self, fault: SnapshotError, layers: &[u64]) -> SnapshotError {
        match layers.iter().find_map(|&layer| self.content(layer).err()) {
            Some(missing) => missing,
            None => fault,
        }
    }
}

fn set_owner_and_mode(container: BorrowedFd<'_>, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let upper = fs::openat(container, UPPER, flags, Mode::empty())?;
    if (uid, gid) != (0, 0) {
        fs::fchown(
            &upper,
            Some(fs::Uid::from_raw(uid)),
            Some(fs::Gid::from_raw(gid)),
        )?;
    }
    Ok(fs::fchmod(&upper, Mode::from_raw_mode(mode))?)
}

fn is_invalid(fault: &SnapshotError) -> bool {
    matches!(fault, SnapshotError::Mount { source, .. } if source.raw_os_error() == Some(Errno::INVAL.raw_os_error()))
}

/// Removes the mark of a volatile mount; whether there was one.
fn remove_volatile_mark(container: BorrowedFd<'_>) -> bool {
    let root = Root::with_rule(container, Rule::NoLinks);
    root.lstat(VOLATILE_MARK).is_ok() && root.remove_tree(VOLATILE_MARK).is_ok()
}

/// Whether this kernel was seen to take lower folders in one option only.
static BY_ONE_OPTION: AtomicBool = AtomicBool::new(false);

/// What is to be mounted.
#[derive(Clone, Copy)]
struct Stack<'mount> {
    layers: BorrowedFd<'mount>,
    lower: &'mount [String],
    container: Option<BorrowedFd<'mount>>,
    options: &'mount MountOptions,
}

fn at(step: &'static str) -> impl Fn(Errno) -> SnapshotError {
    move |errno| SnapshotError::Mount {
        step,
        source: errno.into(),
    }
}

impl Stack<'_> {
    fn mount(&self) -> Result<OwnedFd, SnapshotError> {
        if BY_ONE_OPTION.load(Ordering::Relaxed) {
            return self.by_one_option();
        }
        match self.by_parameters() {
            // Before 6.5 overlayfs takes all lower folders in one option, and tells so only when it is created.
            Err(SnapshotError::Mount {
                step: "lowerdir+" | "create",
                source,
            }) if source.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                let made = self.by_one_option()?;
                BY_ONE_OPTION.store(true, Ordering::Relaxed);
                Ok(made)
            }
            other => other,
        }
    }

    /// One parameter a layer: no limit on their lengths together.
    fn by_parameters(&self) -> Result<OwnedFd, SnapshotError> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(at("fsopen"))?;
        let context = context.as_fd();
        // What df and mount show: programs look for it there.
        fsconfig_set_string(context, "source", "overlay").map_err(at("source"))?;
        let layers = self.layers.as_raw_fd();
        for lower in self.lower {
            let path = format!("/proc/self/fd/{layers}/{lower}");
            fsconfig_set_string(context, "lowerdir+", path).map_err(at("lowerdir+"))?;
        }
        if let Some(container) = self.container {
            let container = container.as_raw_fd();
            fsconfig_set_string(
                context,
                "upperdir",
                format!("/proc/self/fd/{container}/{UPPER}"),
            )
            .map_err(at("upperdir"))?;
            fsconfig_set_string(
                context,
                "workdir",
                format!("/proc/self/fd/{container}/{WORK}"),
            )
            .map_err(at("workdir"))?;
            if self.options.volatile {
                fsconfig_set_flag(context, "volatile").map_err(at("volatile"))?;
            }
        }
        for (option, value) in FIXED_OPTIONS {
            fsconfig_set_string(context, option, value).map_err(at(option))?;
        }
        fsconfig_create(context).map_err(at("create"))?;
        let attributes = if self.options.read_only {
            MountAttrFlags::MOUNT_ATTR_RDONLY
        } else {
            MountAttrFlags::empty()
        };
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(at("fsmount"))
    }

    /// All folders in one option of mount(2), whose data is a page: so they are named relative to the folder of
    /// layers, in a thread that has a working folder and a mount namespace of its own. What leaves the thread is a
    /// detached clone.
    fn by_one_option(&self) -> Result<OwnedFd, SnapshotError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("overlay".into());
            let thread = thread
                .spawn_scoped(scope, || self.in_own_namespace())
                .map_err(SnapshotError::Thread)?;
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn in_own_namespace(&self) -> Result<OwnedFd, SnapshotError> {
        sys::process::unshare(libc::CLONE_NEWNS).map_err(at("unshare"))?;
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .map_err(at("private"))?;
        let layers = in_this_namespace(self.layers)?;
        rustix::process::fchdir(&layers).map_err(at("fchdir"))?;
        let mut data = format!("lowerdir={}", self.lower.join(":"));
        // Held open until the mount is made.
        let container = self.container.map(in_this_namespace).transpose()?;
        if let Some(container) = &container {
            let container = format!("/proc/thread-self/fd/{}", container.as_raw_fd());
            data += &format!(",upperdir={container}/{UPPER},workdir={container}/{WORK}");
            if self.options.volatile {
                data += ",volatile";
            }
        }
        for (option, value) in FIXED_OPTIONS {
            data += &format!(",{option}={value}");
        }
        let data = std::ffi::CString::new(data).map_err(|_| at("options")(Errno::INVAL))?;
        // Any folder serves: only this thread sees what is on it.
        let target = "tmp";
        let flags = if self.options.read_only {
            MountFlags::RDONLY
        } else {
            MountFlags::empty()
        };
        mount("overlay", target, "overlay", flags, &*data).map_err(at("mount"))?;
        let tree = open_tree(
            rustix::fs::CWD,
            target,
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        );
        unmount(target, UnmountFlags::DETACH).map_err(at("detach"))?;
        tree.map_err(at("open_tree"))
    }
}

/// Opens the same folder again by its path: overlayfs takes folders of this mount namespace only, and a descriptor
/// stays in the namespace where it was opened.
fn in_this_namespace(folder: BorrowedFd<'_>) -> Result<OwnedFd, SnapshotError> {
    let path =
        fs::readlink(sys::beneath::fd_path(&folder), Vec::new()).map_err(at("find a folder"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let again = fs::open(path, flags, Mode::empty()).map_err(at("open a folder again"))?;
    let (old, new) = (fs::fstat(folder), fs::fstat(&again));
    match (old, new) {
        (Ok(old), Ok(new)) if (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino) => Ok(again),
        _ => Err(at("open a folder again")(Errno::STALE)),
    }
}

/// See the module's description.
const FIXED_OPTIONS: [(&str, &str); 3] = [
    ("index", "off"),
    ("metacopy", "off"),
    ("redirect_dir", "nofollow"),
];
