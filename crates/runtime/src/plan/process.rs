//! The part of a plan that a first process and one that joins later have in common.

use super::{CgroupEntry, FdSlot};

/// The five capability sets, a bit for each capability's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapSets {
    /// What the process can ever gain by execve.
    pub bounding: u64,
    /// What counts at once.
    pub effective: u64,
    /// What can be made effective.
    pub permitted: u64,
    /// What an execve may keep.
    pub inheritable: u64,
    /// What an execve keeps for a user who is not root; within permitted and inheritable.
    pub ambient: u64,
}

/// A resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// The `RLIMIT_*` number.
    pub resource: u32,
    /// The limit that counts.
    pub soft: u64,
    /// How far `soft` can be raised.
    pub hard: u64,
    /// Somebody asked for it: not to get it is a fault. Otherwise it is lowered to what is allowed.
    pub explicit: bool,
}

/// A compiled seccomp filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seccomp {
    /// Instructions: code, jump if true, jump if false, operand, as in `struct sock_filter`.
    pub program: Vec<(u16, u8, u8, u32)>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
}

/// A scheduling policy (sched_setattr(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value, for the policies that have one.
    pub nice: i32,
    /// Priority, for the real-time policies.
    pub priority: u32,
    /// Runtime, deadline and period in nanoseconds, for SCHED_DEADLINE.
    pub runtime: u64,
    /// See `runtime`.
    pub deadline: u64,
    /// See `runtime`.
    pub period: u64,
}

/// Rights that a process and its children give up (landlock(7)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Landlock {
    /// Rights over files (`LANDLOCK_ACCESS_FS_*`) that are denied but where a rule gives them.
    pub files: u64,
    /// Rights over the network (`LANDLOCK_ACCESS_NET_*`), likewise.
    pub network: u64,
    /// What reaches no process outside (`LANDLOCK_SCOPE_*`).
    pub scoped: u64,
    /// Paths within the container that have to be there, and the rights over them and all below. For a file those count
    /// that files have.
    pub paths: Vec<(String, u64)>,
    /// Ports, and the rights over them.
    pub ports: Vec<(u16, u64)>,
}

/// Memory nodes that a [`MemoryPolicy`] can name (the kernel may be built for at most so many).
pub const MAX_NODES: usize = 1024;

/// From which nodes memory is taken (set_mempolicy(2)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryPolicy {
    /// `MPOL_*` with `MPOL_F_*`.
    pub mode: u32,
    /// A bit for each node, up to [`MAX_NODES`]; empty for a mode that takes none.
    pub nodes: Vec<u64>,
}

/// A program, and who it runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    /// The arguments; the first is the program, looked for in the environment's PATH when it has no slash.
    pub args: Vec<Vec<u8>>,
    /// The program, where it is not what the first argument says.
    pub program: Option<Vec<u8>>,
    /// The environment, `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// The working folder.
    pub cwd: String,
    /// The working folder is made when it is missing.
    pub create_cwd: bool,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask; `None` is 0022.
    pub umask: Option<u32>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Inclination to be killed when memory is short, -1000 to 1000, and whether somebody asked for it (otherwise
    /// it is raised to what is allowed).
    pub oom_score_adj: Option<(i32, bool)>,
    /// Capabilities.
    pub caps: CapSets,
    /// execve gains nothing (set-user-id, file capabilities).
    pub no_new_privs: bool,
    /// The filter of system calls.
    pub seccomp: Option<Seccomp>,
    /// For security modules: files below the process's `attr` in procfs, and what is written to each before execve.
    pub labels: Vec<(String, String)>,
    /// What it may not do beside.
    pub landlock: Option<Landlock>,
    /// A session keyring of this name is made and joined.
    pub keyring: Option<String>,
    /// An execution domain (personality(2)).
    pub personality: Option<u32>,
    /// A scheduling policy.
    pub scheduler: Option<Scheduler>,
    /// From which nodes its memory comes.
    pub memory_policy: Option<MemoryPolicy>,
    /// An i/o priority (class << 13 | level, ioprio_set(2)).
    pub io_priority: Option<u32>,
    /// The process is killed when the thread that started it ends.
    pub die_with_parent: bool,
    /// Descriptors from number 3 on that the program gets as they are; the caller has them open, without the mark that
    /// closes them at execve.
    pub preserved: u16,
    /// The process waits at this gate ([`crate::spawn::make_gate`]) when all but the program's execution is done.
    pub gate: Option<FdSlot>,
}

impl Default for ProcessPlan {
    /// Root in `/` without capabilities, and no program: a start for filling in.
    fn default() -> Self {
        Self {
            args: Vec::new(),
            program: None,
            env: Vec::new(),
            cwd: "/".to_owned(),
            create_cwd: false,
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            umask: None,
            rlimits: Vec::new(),
            oom_score_adj: None,
            caps: CapSets::default(),
            no_new_privs: false,
            seccomp: None,
            labels: Vec::new(),
            landlock: None,
            keyring: None,
            personality: None,
            scheduler: None,
            memory_policy: None,
            io_priority: None,
            die_with_parent: true,
            preserved: 0,
            gate: None,
        }
    }
}

/// A further process in a container that runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecPlan {
    /// The program and who it runs as.
    pub process: ProcessPlan,
    /// The process gets a new terminal of the container's own devpts.
    pub terminal: bool,
    /// The terminal's size at first: rows, columns.
    pub console_size: Option<(u16, u16)>,
    /// The terminal passes line ends on as they are written: its output is shown on another terminal.
    pub plain_lines: bool,
    /// The container's cgroups.
    pub cgroup: CgroupEntry,
    /// The container's root, where that is not the root of its mount namespace.
    pub root: Option<FdSlot>,
    /// The container has a user namespace of its own.
    pub user_namespace: bool,
    /// The container has a time namespace of its own.
    pub time_namespace: bool,
    /// The caller has no rights over the host, but over the container's namespaces.
    pub unprivileged: bool,
    /// The processors that it may run on, a bit each, before it enters the cgroups and after.
    pub affinity: [Option<Vec<u8>>; 2],
}
