//! What the first process of a container does, in order, with nothing left to decide.
//!
//! A [`Plan`] is plain data: it can be written in one process and carried out in another. Whatever the plan needs
//! that is open already travels beside it as descriptors, which it names by [`FdSlot`].

mod codec;
mod process;
mod wire;

pub use process::{
    CapSets, ExecPlan, Landlock, MAX_NODES, MemoryPolicy, ProcessPlan, Rlimit, Scheduler, Seccomp,
};

/// The largest encoded plan: what a program's arguments and environment may take in all (`ARG_MAX` is a quarter
/// of the stack limit, 2 MiB by default and 6 MiB at most), and room for the rest.
pub const MAX_ENCODED: usize = 16 << 20;

/// Why bytes are no plan, or a plan cannot be carried out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// The message ends within a value.
    #[error("plan: the message ends within a value")]
    Truncated,
    /// Bytes remain after the last value.
    #[error("plan: {bytes} bytes after the end")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A number means nothing for its type.
    #[error("plan: {value} is no {what}")]
    Value {
        /// The type.
        what: &'static str,
        /// The number that was found.
        value: u64,
    },
    /// A text is not UTF-8.
    #[error("plan: a text is not UTF-8")]
    Text,
    /// The plan is of another version, or the message is none.
    #[error("plan: version {found}, but this program knows {known}")]
    Version {
        /// The version (or what stands in its place) of the message.
        found: u32,
        /// This program's version.
        known: u32,
    },
    /// The message is larger than [`MAX_ENCODED`].
    #[error("plan: {bytes} bytes, more than {limit}")]
    TooLarge {
        /// The message's size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A text that the kernel reads up to its first NUL holds one.
    #[error("{what} {text:?} contains a NUL byte")]
    Nul {
        /// Which field.
        what: &'static str,
        /// Its text.
        text: String,
    },
    /// A path within the container is not absolute, or names the root itself.
    #[error("{what} {path:?} is not an absolute path below the root")]
    Path {
        /// Which field.
        what: &'static str,
        /// Its text.
        path: String,
    },
    /// A caller without rights over the host cannot have it.
    #[error("{what} needs rights over the host")]
    WithoutRights {
        /// What was asked for.
        what: &'static str,
    },
    /// There is no program to execute.
    #[error("no command specified")]
    NoProgram,
    /// The kernel or this engine cannot do what is asked for.
    #[error("{what} is not supported")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
}

/// The place of a descriptor in the array that travels beside the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdSlot(pub u16);

/// Which namespace of one kind the process gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NsMode {
    /// The caller's.
    #[default]
    Host,
    /// One of its own.
    New,
    /// An existing one.
    Join(FdSlot),
}

/// The namespaces, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// Process numbers.
    pub pid: NsMode,
    /// Network devices, addresses, ports.
    pub net: NsMode,
    /// System V IPC and POSIX message queues.
    pub ipc: NsMode,
    /// Host and domain name.
    pub uts: NsMode,
    /// Mounts. `Host` with a root takes [`Plan::shown_at`].
    pub mount: NsMode,
    /// The view of the cgroup tree; made after the cgroups were entered.
    pub cgroup: NsMode,
    /// Users. `New` takes the plan's maps.
    pub user: NsMode,
    /// Clocks. `New` takes the plan's offsets.
    pub time: NsMode,
}

/// By how much a clock of a new time namespace differs from the host's (time_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOffset {
    /// `CLOCK_MONOTONIC` or `CLOCK_BOOTTIME`.
    pub clock: i32,
    /// Seconds; the kernel refuses to go back beyond the host's start.
    pub seconds: i64,
    /// Nanoseconds on top, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// One line of a user namespace's map (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// First id within the container.
    pub inside: u32,
    /// First id outside of it.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The cgroups that the process enters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CgroupEntry {
    /// The v1 groups' `tasks` files, open for writing: the process writes itself into each while it has one thread.
    pub dirs: Vec<FdSlot>,
    /// The v2 group's folder, in which the process is born.
    pub unified: Option<FdSlot>,
}

/// Where the container's root folder comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSource {
    /// A detached mount; it becomes the container's and cannot be used again.
    Mount(FdSlot),
    /// A folder in the caller's mount namespace; it is cloned with all mounts below.
    Path(String),
}

/// How the root takes the place of the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RootChange {
    /// They change places, and the caller's is dropped (pivot_root(2)).
    #[default]
    Pivot,
    /// It is mounted over the caller's, where that cannot be dropped: the kernel's first root, in memory. The mounts
    /// below these places of the caller's root are dropped, as far as the kernel lets them go.
    Cover(Vec<String>),
}

pub use sys::mount::{Propagation, attr};

/// Changes to a mount's attributes; bits as in [`attr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountAttrs {
    /// Bits that are set.
    pub set: u64,
    /// Bits that are cleared, for bind mounts, which begin with their source's. Clear [`attr::ATIME_MASK`] to set
    /// another access-time mode.
    pub clear: u64,
    /// After that, bits that are set for the mount and all below it.
    pub below_set: u64,
    /// After that, bits that are cleared for the mount and all below it.
    pub below_clear: u64,
    /// A bind mount has no other attributes than those that are set; its access times stay unless [`attr::ATIME_MASK`] is
    /// cleared. In a user namespace it keeps those that the kernel would lock (mount_namespaces(7)), and clearing one of
    /// them, or changing access times, is refused.
    pub replaces: bool,
}

impl MountAttrs {
    /// Attributes with these bits set.
    pub const fn of(set: u64) -> Self {
        Self {
            set,
            clear: 0,
            below_set: 0,
            below_clear: 0,
            replaces: false,
        }
    }

    /// What /dev/pts and /sys have in common: nothing to execute, no set-user-id; see [`attr`].
    pub const NO_SUID_NO_EXEC: Self = Self::of(attr::NO_SUID | attr::NO_EXEC);
    /// As for procfs: besides, no devices.
    pub const NO_SUID_NO_DEV_NO_EXEC: Self = Self::of(attr::NO_SUID | attr::NO_DEV | attr::NO_EXEC);

    /// The same and read-only. A new tmpfs becomes read-only only after everything has been mounted within.
    pub const fn read_only(self) -> Self {
        Self {
            set: self.set | attr::READ_ONLY,
            ..self
        }
    }
}

/// An option of a tmpfs that the kernel does not know: it begins with a copy of what it hides, made by the process itself
/// without attributes beside owner, mode and times.
pub const COPY_UP: &str = "tmpcopyup";

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A new file system, made within the container's namespaces.
    Fs {
        /// Its type, as in /proc/filesystems.
        fstype: String,
        /// What /proc/mounts shows as its source; empty for the type's name.
        source: String,
        /// Options in order, with or without a value, for a tmpfs [`COPY_UP`] among them. Not the attributes.
        options: Vec<(String, Option<String>)>,
    },
    /// A detached mount; it becomes the container's and cannot be used again.
    Detached {
        /// Its descriptor.
        slot: FdSlot,
        /// The path that it is of, which messages name; empty when it is the caller's own.
        source: String,
    },
    /// A path in the caller's mount namespace.
    Bind {
        /// The path; links are followed, as the caller's.
        source: String,
        /// With the mounts below it.
        recursive: bool,
        /// Whose files they are, where that is not what the disk says.
        idmap: Option<MountIdMap>,
    },
    /// What the container's own tree shows at a path by then: of the mounts before this one.
    Copy {
        /// The path within the container.
        source: String,
        /// With the mounts below it.
        recursive: bool,
        /// As for [`MountKind::Bind`].
        idmap: Option<MountIdMap>,
    },
    /// What is mounted at the target already: its attributes are changed, and where `options` are given those of the
    /// file system itself.
    Remount {
        /// As for a new file system.
        options: Vec<(String, Option<String>)>,
    },
}

/// A mount that shows files as other users' (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountIdMap {
    /// The user namespace whose maps count: inside is what the disk says.
    pub namespace: FdSlot,
    /// Mounts below are changed too.
    pub recursive: bool,
}

impl MountKind {
    /// A detached mount of the caller's own, which has no path.
    pub fn own(slot: FdSlot) -> Self {
        Self::Detached {
            slot,
            source: String::new(),
        }
    }
}

/// What is made where a mount's target is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// An empty file, and the folders above it.
    File,
    /// A folder, and those above it.
    Dir,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Where, an absolute path within the container.
    pub target: String,
    /// What.
    pub kind: MountKind,
    /// Attributes, applied after cloning a bind.
    pub attrs: MountAttrs,
    /// Propagation of the mount and those below; `None` leaves what the source had.
    pub propagation: Option<Propagation>,
    /// What is made where the target is missing.
    pub create_target: TargetKind,
}

/// The kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// A device node. In a user namespace nodes cannot be made: there the caller's node of the same path, or `bind`,
/// is mounted onto an empty file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where, an absolute path within the container. A file that exists is left alone.
    pub path: String,
    /// Its kind.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// A detached mount of the node for user namespaces.
    pub bind: Option<FdSlot>,
}

/// The whole plan. See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Namespaces to make or join.
    pub namespaces: Namespaces,
    /// Users of a new user namespace.
    pub uid_map: Vec<IdMap>,
    /// Groups of a new user namespace.
    pub gid_map: Vec<IdMap>,
    /// The caller has no rights over the host: what the plan names is opened within a new user namespace, whose maps are
    /// the caller's own user's alone or are written by newuidmap(1) and newgidmap(1). Needs [`Plan::shown_at`].
    pub unprivileged: bool,
    /// The caller is root of a user namespace that is not the first: of no use for the host, whose device nodes are mounted, and
    /// whose mounts keep what keeps their users from rights. Needs [`Plan::shown_at`], as the caller's procfs is to be in sight.
    pub nested: bool,
    /// Clocks of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
    /// Cgroups to enter.
    pub cgroup: CgroupEntry,
    /// The root folder; `None` stays in the caller's.
    pub root: Option<RootSource>,
    /// Where in the caller's tree, as the process sees it, the root is mounted at first. The process stops there when
    /// everything is mounted within, so that others can look and add to it ([`crate::spawn::Pending::await_mounts`]).
    /// `None`: it is put in place at once. Without a mount namespace of its own the process makes its mounts in the caller's,
    /// where they stay.
    pub shown_at: Option<String>,
    /// How the root takes the place of the caller's.
    pub root_change: RootChange,
    /// The root mount is made read-only at the end.
    pub root_readonly: bool,
    /// The root mount's propagation, once all is mounted. `None`: a root folder's mount is private, and one that the caller
    /// gives stays as it was.
    pub root_propagation: Option<Propagation>,
    /// The mounts below the root get its propagation, too.
    pub root_propagation_below: bool,
    /// Mounts, in order.
    pub mounts: Vec<MountEntry>,
    /// Device nodes, made after the mounts.
    pub devices: Vec<Device>,
    /// Symbolic links: (what it says, where it is), made after the devices. One that exists is left alone.
    pub links: Vec<(String, String)>,
    /// Paths that are hidden: files behind /dev/null, folders behind an empty read-only one. Missing ones are left.
    pub masked: Vec<String>,
    /// Paths that become read-only with all below. Missing ones are left.
    pub readonly: Vec<String>,
    /// Kernel parameters: (name with dots or slashes, value).
    pub sysctls: Vec<(String, String)>,
    /// Host name, for a new uts namespace.
    pub hostname: Option<String>,
    /// NIS domain name, for a new uts namespace.
    pub domainname: Option<String>,
    /// The process gets a new terminal of the container's own devpts, whose other side the caller gets.
    pub terminal: bool,
    /// The terminal's size at first: rows, columns.
    pub console_size: Option<(u16, u16)>,
    /// The terminal passes line ends on as they are written: its output is shown on another terminal.
    pub plain_lines: bool,
    /// The terminal is mounted at /dev/console too.
    pub console_bind: bool,
    /// The program and who it runs as.
    pub process: ProcessPlan,
    /// Process 1 is ours: it starts the program, forwards signals and reaps, and ends as the program ends.
    pub init: bool,
}

impl Default for Plan {
    /// Everything of the caller's, no program: a start for filling in.
    fn default() -> Self {
        Self {
            namespaces: Namespaces::default(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            unprivileged: false,
            nested: false,
            time_offsets: Vec::new(),
            cgroup: CgroupEntry::default(),
            root: None,
            shown_at: None,
            root_change: RootChange::Pivot,
            root_readonly: false,
            root_propagation: None,
            root_propagation_below: false,
            mounts: Vec::new(),
            devices: Vec::new(),
            links: Vec::new(),
            masked: Vec::new(),
            readonly: Vec::new(),
            sysctls: Vec::new(),
            hostname: None,
            domainname: None,
            terminal: false,
            console_size: None,
            plain_lines: false,
            console_bind: false,
            process: ProcessPlan::default(),
            init: false,
        }
    }
}
