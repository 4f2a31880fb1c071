//! The mount interface that works with descriptors (Linux 5.2 and later, attributes 5.12).
//!
//! Every function is one system call or a short fixed row of them, allocates nothing as long as names are
//! `CStr`, and returns the kernel's error number: they serve in a freshly cloned child as well as elsewhere.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount as raw;

/// The kernel's answer: a value or an error number.
pub type Result<T> = core::result::Result<T, Errno>;

/// Bits of a mount's attributes (`MOUNT_ATTR_*` of mount_setattr(2)).
pub mod attr {
    /// Nothing can be written through the mount.
    pub const READ_ONLY: u64 = 0x1;
    /// Set-user-id bits and file capabilities count for nothing.
    pub const NO_SUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NO_DEV: u64 = 0x4;
    /// Programs cannot be executed.
    pub const NO_EXEC: u64 = 0x8;
    /// The mask of the access-time setting; zero within it is `relatime`.
    pub const ATIME_MASK: u64 = 0x70;
    /// Access times are updated when they tell something new, and once a day: the kernel's default.
    pub const RELATIVE_ATIME: u64 = 0;
    /// Access times are not updated.
    pub const NO_ATIME: u64 = 0x10;
    /// Access times are always updated.
    pub const STRICT_ATIME: u64 = 0x20;
    /// Access times of directories are not updated.
    pub const NO_DIR_ATIME: u64 = 0x80;
    /// Owners are mapped by the user namespace that is given beside.
    pub const ID_MAP: u64 = 0x0010_0000;
    /// Symbolic links are not followed.
    pub const NO_SYMFOLLOW: u64 = 0x0020_0000;
}

/// Flags of mount(2), for mounts that are described in its words (`linux/mount.h`).
pub mod flags {
    /// Nothing can be written.
    pub const READ_ONLY: u32 = 1;
    /// Set-user-id bits count for nothing.
    pub const NO_SUID: u32 = 1 << 1;
    /// Device nodes cannot be opened.
    pub const NO_DEV: u32 = 1 << 2;
    /// Programs cannot be executed.
    pub const NO_EXEC: u32 = 1 << 3;
    /// Writes are on the disk when they return.
    pub const SYNCHRONOUS: u32 = 1 << 4;
    /// What is mounted there already is changed.
    pub const REMOUNT: u32 = 1 << 5;
    /// Mandatory locks, which kernels since 5.15 do not have.
    pub const MANDATORY_LOCK: u32 = 1 << 6;
    /// Changes of folders are on the disk when they return.
    pub const DIR_SYNC: u32 = 1 << 7;
    /// Access times are not updated.
    pub const NO_ATIME: u32 = 1 << 10;
    /// Access times of folders are not updated.
    pub const NO_DIR_ATIME: u32 = 1 << 11;
    /// The source is a path.
    pub const BIND: u32 = 1 << 12;
    /// With the mounts below.
    pub const RECURSIVE: u32 = 1 << 14;
    /// Cannot be bind mounted.
    pub const UNBINDABLE: u32 = 1 << 17;
    /// Neither receives nor sends mounts.
    pub const PRIVATE: u32 = 1 << 18;
    /// Receives mounts.
    pub const SLAVE: u32 = 1 << 19;
    /// Receives and sends mounts.
    pub const SHARED: u32 = 1 << 20;
    /// Access times are updated now and then.
    pub const REL_ATIME: u32 = 1 << 21;
    /// Access times are always updated.
    pub const STRICT_ATIME: u32 = 1 << 24;
}

/// How a mount shares later mounts with its peers (`MS_*` propagation types).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Neither receives nor sends.
    Private,
    /// Receives only.
    Slave,
    /// Receives and sends.
    Shared,
    /// Private, and cannot be bind mounted.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// What [`set_attributes`] changes; the default changes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Bits of [`attr`] to set.
    pub set: u64,
    /// Bits of [`attr`] to clear. A new access-time setting needs [`attr::ATIME_MASK`] here.
    pub clear: u64,
    /// The new propagation type.
    pub propagation: Option<Propagation>,
    /// The user namespace for [`attr::ID_MAP`].
    pub user_namespace: Option<BorrowedFd<'a>>,
    /// The mounts below are changed too, all or none.
    pub recursive: bool,
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// A file system that is being configured (fsopen(2)).
#[derive(Debug)]
pub struct Context(OwnedFd);

impl Context {
    /// Begins a file system of the given type.
    pub fn open(fstype: &CStr) -> Result<Self> {
        raw::fsopen(fstype, raw::FsOpenFlags::FSOPEN_CLOEXEC).map(Self)
    }

    /// Begins to configure the file system anew whose mount `mount` is open on; [`Context::reconfigure`] ends it.
    pub fn pick(mount: BorrowedFd<'_>) -> Result<Self> {
        let flags = raw::FsPickFlags::FSPICK_CLOEXEC | raw::FsPickFlags::FSPICK_EMPTY_PATH;
        raw::fspick(mount, c"", flags).map(Self)
    }

    /// Sets an option that has a value.
    pub fn string(&self, key: &CStr, value: &CStr) -> Result<()> {
        raw::fsconfig_set_string(&self.0, key, value)
    }

    /// Sets an option without a value.
    pub fn flag(&self, key: &CStr) -> Result<()> {
        raw::fsconfig_set_flag(&self.0, key)
    }

    /// Sets an option to an open descriptor.
    pub fn descriptor(&self, key: &CStr, value: BorrowedFd<'_>) -> Result<()> {
        raw::fsconfig_set_fd(&self.0, key, value)
    }

    /// Makes the file system's instance; no option can be set after it.
    pub fn create(&self) -> Result<()> {
        raw::fsconfig_create(&self.0)
    }

    /// Gives the instance, which exists, the options that were set.
    pub fn reconfigure(&self) -> Result<()> {
        raw::fsconfig_reconfigure(&self.0)
    }

    /// Mounts the instance, attached nowhere. `attributes` are bits of [`attr`].
    pub fn mount(&self, attributes: u64) -> Result<OwnedFd> {
        // The mask of access-time bits and the flags fit 32 bits; see `attr`.
        let bits = raw::MountAttrFlags::from_bits_retain(attributes as u32);
        raw::fsmount(&self.0, raw::FsMountFlags::FSMOUNT_CLOEXEC, bits)
    }

    /// Reads the newest message that the file system left, for an error's text. Empty when there is none.
    pub fn message<'b>(&self, buffer: &'b mut [u8]) -> &'b [u8] {
        let length = rustix::io::read(&self.0, &mut *buffer).unwrap_or(0);
        buffer.get(..length).unwrap_or_default()
    }

    /// The descriptor itself, for options that this type has no method for.
    pub fn as_context(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Mounts a file system of its own, attached nowhere: `options` in order, then creation, then the mount.
pub fn detached(
    fstype: &CStr,
    options: &[(&CStr, Option<&CStr>)],
    attributes: u64,
) -> Result<OwnedFd> {
    let context = Context::open(fstype)?;
    for (key, value) in options {
        match value {
            Some(value) => context.string(key, value)?,
            None => context.flag(key)?,
        }
    }
    context.create()?;
    context.mount(attributes)
}

/// Clones the mount at `path` (beneath `dir`; `.`-relative forms work, an empty path is `dir` itself) into one
/// that is attached nowhere. The path's mount must be in the caller's mount namespace, or detached itself
/// (the latter since 6.15).
pub fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut flags = raw::OpenTreeFlags::OPEN_TREE_CLONE | raw::OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= raw::OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= raw::OpenTreeFlags::AT_RECURSIVE;
    }
    raw::open_tree(dir, path, flags)
}

/// Attaches a detached mount onto what `target` is open on.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags =
        raw::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | raw::MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    raw::move_mount(mount, c"", target, c"", flags)
}

/// Attaches a detached mount at a path, which is resolved like any other: for paths that nobody else can change.
pub fn attach_at(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    raw::move_mount(
        mount,
        c"",
        dir,
        path,
        raw::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

/// Changes attributes of the mount whose root is at `path` beneath `dir` (an empty path: `dir` itself).
pub fn set_attributes(dir: BorrowedFd<'_>, path: &CStr, change: &Change<'_>) -> Result<()> {
    let user_namespace = change.user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64);
    let attributes = MountAttr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns_fd: user_namespace,
    };
    let mut flags = 0;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    if change.recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: path ends with a NUL and the structure outlives the call; the kernel only reads both
    // (mount_setattr(2), since 5.12).
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    crate::process::outcome(answer).map(drop)
}

/// mount(2) as it is: for file systems whose options their own parser alone knows. `flags` are of [`flags`].
pub fn by_flags(
    source: &CStr,
    target: &CStr,
    fstype: &CStr,
    flags: u32,
    data: &CStr,
) -> Result<()> {
    let flags = raw::MountFlags::from_bits_retain(flags);
    raw::mount(source, target, fstype, flags, data)
}

/// Takes the topmost mount at `path` out of the tree; it ends when its last user does.
pub fn detach(path: &CStr) -> Result<()> {
    raw::unmount(path, raw::UnmountFlags::DETACH)
}

/// Makes the working folder the root and puts the former root on top of it, from where [`detach`] of `.` drops it.
pub fn pivot_to_working_folder() -> Result<()> {
    rustix::process::pivot_root(c".", c".")
}

/// Opens a path beneath `root` as a place (`O_PATH`): absolute paths and links stay within it, links of procfs
/// are not followed. `extra` may hold `DIRECTORY` or `NOFOLLOW`.
pub fn place_in(root: BorrowedFd<'_>, path: &CStr, extra: OFlags) -> Result<OwnedFd> {
    open_in(root, path, OFlags::PATH | extra)
}

/// As [`place_in`], for a path without links: ELOOP where there is one.
pub fn place_without_links_in(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    resolve_in(root, path, OFlags::PATH, ResolveFlags::NO_SYMLINKS)
}

/// Opens a path beneath `root` as [`place_in`] does, with other flags than `O_PATH`.
pub fn open_in(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    resolve_in(root, path, flags, ResolveFlags::NO_MAGICLINKS)
}

fn resolve_in(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    rule: ResolveFlags,
) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | rule;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // The kernel could not prove that a rename beside us did not lead out of the root: ask again.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// A procfs of the caller's pid namespace that is attached nowhere: it can be trusted whatever `/proc` is.
pub fn private_procfs() -> Result<OwnedFd> {
    detached(c"proc", &[], attr::NO_SUID | attr::NO_DEV | attr::NO_EXEC)
}
