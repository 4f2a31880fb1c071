//! Processes: clone3, pidfds, namespaces, credentials, and what a child does before it executes a program.
//!
//! As in [`crate::mount`] nothing here allocates, and errors are the kernel's numbers: all of it can be used
//! between clone and execve.

use std::ffi::{CStr, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// The kernel's answer: a value or an error number.
pub type Result<T> = core::result::Result<T, Errno>;

/// Turns the answer of [`libc::syscall`] or of a libc function into a result.
pub(crate) fn outcome(answer: i64) -> Result<i64> {
    if answer == -1 {
        Err(last_error())
    } else {
        Ok(answer)
    }
}

/// The error number that the last libc call of this thread left.
fn last_error() -> Errno {
    // SAFETY: the location is this thread's own and always valid (errno(3)).
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

/// `CLONE_CLEAR_SIGHAND` and `CLONE_INTO_CGROUP` lie above 32 bits, where libc's constants do not reach.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// What [`clone`] makes.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*` flags and others; `CLONE_PIDFD` and `CLONE_INTO_CGROUP` are added here, and flags that share
    /// memory are refused.
    pub flags: u64,
    /// A cgroup v2 folder in which the child begins.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// In which of the two processes [`clone`] returned.
#[derive(Debug)]
pub enum Cloned {
    /// The new process.
    Child,
    /// The caller, with the child's number and descriptor.
    Parent {
        /// The child's number in the caller's pid namespace.
        pid: i32,
        /// The child's descriptor.
        pidfd: OwnedFd,
    },
}

/// Makes a process by clone3(2) that is a copy of the caller, with handled signals back at their default
/// (`CLONE_CLEAR_SIGHAND`, 5.5) and SIGCHLD at its end.
///
/// # Safety
/// The child has one thread and may find locks of the allocator or of the standard library held for ever: until
/// it executes a program or exits by [`exit`] it may not allocate, lock, panic or return into code that does.
pub unsafe fn clone(args: &CloneArgs<'_>) -> Result<Cloned> {
    let sharing = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    if args.flags & (sharing as u64) != 0 {
        return Err(Errno::INVAL);
    }
    let mut pidfd: i32 = -1;
    let mut flags = args.flags | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND;
    let mut cgroup = 0;
    if let Some(fd) = args.cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: all fields of clone_args are integers, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = cgroup;
    // SAFETY: without CLONE_VM the child runs on its copy of this stack, as after fork; the structure and the
    // pidfd's place outlive the call (clone3(2)). The rest is the caller's promise.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match outcome(answer)? {
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: clone3 succeeded with CLONE_PIDFD, so it stored a new descriptor that nobody else has.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent {
                pid: pid as i32,
                pidfd,
            })
        }
    }
}

/// A plain second copy of the calling process, for a child that has been cloned already. 0 in the child, else its
/// number.
///
/// # Safety
/// As for [`clone`].
pub unsafe fn fork_again() -> Result<i32> {
    // Not clone3: filters of system calls cannot look into its arguments and therefore often refuse it.
    // SAFETY: no flags but the exit signal, so no argument counts and the child runs on a copy of this stack.
    let answer = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    outcome(answer).map(|pid| pid as i32)
}

/// Ends the process at once, without anything that exit(3) does besides.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit takes any number and does not return.
    unsafe { libc::_exit(code) }
}

/// Opens the descriptor of a process that the caller knows to be alive or not yet waited for.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Errno::INVAL)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
}

/// Sends a signal by number, real-time ones included.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a null siginfo is allowed; the other arguments are numbers (pidfd_send_signal(2)).
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    outcome(answer).map(drop)
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Waits until a child ends and takes its status. With `block` false, `None` while it lives.
pub fn wait(pidfd: BorrowedFd<'_>, block: bool) -> Result<Option<Exit>> {
    wait_for(
        libc::P_PIDFD,
        pidfd.as_raw_fd() as u32,
        if block { 0 } else { libc::WNOHANG },
    )
    .map(|found| found.map(|(_, exit)| exit))
}

/// Waits for any child, for a process that reaps. `None` with `block` false while none has ended.
pub fn wait_any(block: bool) -> Result<Option<(i32, Exit)>> {
    wait_for(libc::P_ALL, 0, if block { 0 } else { libc::WNOHANG })
}

fn wait_for(kind: libc::idtype_t, id: u32, options: i32) -> Result<Option<(i32, Exit)>> {
    loop {
        // SAFETY: siginfo_t is plain data for which zero is a value; waitid writes it.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` outlives the call.
        let answer = unsafe { libc::waitid(kind, id, &mut info, libc::WEXITED | options) };
        match outcome(answer.into()) {
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        // SAFETY: waitid succeeded, so the fields of SIGCHLD are set (zero when nothing has ended).
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok(match (pid, info.si_code) {
            (0, _) => None,
            (pid, libc::CLD_EXITED) => Some((pid, Exit::Code(status))),
            (pid, _) => Some((pid, Exit::Signal(status))),
        });
    }
}

/// Joins a namespace (or, with a pidfd, several): setns(2). `flags` are `CLONE_NEW*`.
pub fn setns(fd: BorrowedFd<'_>, flags: i32) -> Result<()> {
    // SAFETY: two numbers; the effect on the calling thread alone is what is asked for.
    outcome(unsafe { libc::setns(fd.as_raw_fd(), flags) }.into()).map(drop)
}

/// Leaves namespaces for new ones: unshare(2). `flags` are `CLONE_NEW*`.
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: a number; descriptors stay shared because CLONE_FILES is masked out.
    outcome(unsafe { libc::unshare(flags & !libc::CLONE_FILES) }.into()).map(drop)
}

fn prctl(option: i32, first: u64, second: u64) -> Result<i64> {
    // SAFETY: this module passes only options whose arguments are numbers.
    outcome(unsafe { libc::prctl(option, first, second, 0u64, 0u64) }.into())
}

/// Asks for a signal when the thread that made this process ends. Lost at a change of user or group.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as u64, 0).map(drop)
}

/// Makes the process inspectable (1) or not (0) for its equals.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, dumpable.into(), 0).map(drop)
}

/// Gives up ever gaining rights by execve.
pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Keeps permitted capabilities over a change of user, until execve.
pub fn set_keep_capabilities() -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0).map(drop)
}

/// Takes a capability out of the bounding set. `EINVAL` above the last that the kernel knows.
pub fn drop_bounding(capability: u32) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(drop)
}

/// Whether a capability is in the bounding set; an error above the last that the kernel knows.
pub fn has_bounding(capability: u32) -> Result<bool> {
    prctl(libc::PR_CAPBSET_READ, capability.into(), 0).map(|answer| answer == 1)
}

/// Puts a capability, permitted and inheritable already, into the ambient set.
pub fn raise_ambient(capability: u32) -> Result<()> {
    prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_RAISE as u64,
        capability.into(),
    )
    .map(drop)
}

/// Gives the process a name (15 bytes) for `ps`.
pub fn set_name(name: &CStr) -> Result<()> {
    prctl(libc::PR_SET_NAME, name.as_ptr() as u64, 0).map(drop)
}

/// A thread's capability sets, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// What counts now.
    pub effective: u64,
    /// What can be made effective.
    pub permitted: u64,
    /// What an execve can keep.
    pub inheritable: u64,
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAP_VERSION: u32 = 0x2008_0522;

/// Reads the calling thread's capabilities.
pub fn capabilities() -> Result<Capabilities> {
    let header = CapHeader {
        version: CAP_VERSION,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    // SAFETY: version 3 takes two data structures, and both outlive the call (capget(2)).
    outcome(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    let [low, high] = data;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Capabilities {
        effective: join(low.effective, high.effective),
        permitted: join(low.permitted, high.permitted),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

/// Sets the calling thread's capabilities.
pub fn set_capabilities(sets: Capabilities) -> Result<()> {
    let header = CapHeader {
        version: CAP_VERSION,
        pid: 0,
    };
    let half = |shift: u32| CapData {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: as for `capabilities`; the kernel only reads.
    outcome(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// Sets real, effective and saved user id of the calling thread.
pub fn set_user(uid: u32) -> Result<()> {
    // SAFETY: numbers. The raw call changes this thread only, which is all there is in a cloned child.
    outcome(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Sets real, effective and saved group id of the calling thread.
pub fn set_group(gid: u32) -> Result<()> {
    // SAFETY: as for `set_user`.
    outcome(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Sets the supplementary groups of the calling thread.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: pointer and length are the slice's; the kernel only reads.
    outcome(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// Sets a resource's limits for the calling process. `resource` is an `RLIMIT_*` number.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` outlives the call; the old limits are not asked for.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            &raw const limit,
            std::ptr::null::<libc::rlimit64>(),
        )
    };
    outcome(answer).map(drop)
}

/// Reads a resource's limits (soft, hard) of the calling process.
pub fn limit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives the call; no new limits are given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    };
    outcome(answer).map(|_| (limit.rlim_cur, limit.rlim_max))
}

/// Sets the uts namespace's host name.
pub fn set_host_name(name: &[u8]) -> Result<()> {
    // SAFETY: pointer and length are the slice's.
    outcome(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Sets the uts namespace's NIS domain name.
pub fn set_domain_name(name: &[u8]) -> Result<()> {
    // SAFETY: pointer and length are the slice's.
    outcome(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Marks every descriptor from `first` up as closed at execve (5.11), or closes them at once where the kernel
/// lacks the mark and `keep` is no problem: `keep` alone stays open then, and has its own mark.
pub fn close_on_execute(first: u32, keep: BorrowedFd<'_>) -> Result<()> {
    match close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) {
        Err(Errno::INVAL) => {}
        other => return other,
    }
    let keep = keep.as_raw_fd() as u32;
    if keep > first {
        close_range(first, keep - 1, 0)?;
    }
    close_range(keep.max(first.saturating_sub(1)) + 1, u32::MAX, 0)
}

/// Closes every descriptor from `first` up.
pub fn close_from(first: u32) -> Result<()> {
    close_range(first, u32::MAX, 0)
}

fn close_range(first: u32, last: u32, flags: i32) -> Result<()> {
    // SAFETY: three numbers. Descriptors that Rust values own in this process are closed under them, which is why
    // only a child that is about to execute or to idle calls it.
    outcome(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Sets every signal's disposition to the default and unblocks all: what a program expects at its start.
pub fn reset_signals() -> Result<()> {
    // The kernel's `struct sigaction` on x86_64 and aarch64: handler, flags, restorer, mask, 8 bytes each. Not libc's
    // function, which refuses the two signals that it keeps for itself.
    let default = [0u64; 4];
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: the structure outlives the call, which only reads it; the former action is not asked for.
        outcome(unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        })?;
    }
    set_blocked_signals(0)
}

/// Sets the mask of blocked signals; bit `n - 1` is signal `n`. All ones blocks all that can be blocked.
pub fn set_blocked_signals(mask: u64) -> Result<()> {
    // SAFETY: the kernel's signal set is 64 bits, of which it reads 8 bytes.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            std::ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    };
    outcome(answer).map(drop)
}

/// Ignores a signal.
pub fn ignore_signal(signal: i32) -> Result<()> {
    // SAFETY: sigaction is plain data for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = libc::SIG_IGN;
    // SAFETY: the structure outlives the call.
    outcome(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }.into()).map(drop)
}

/// Waits for one of the blocked signals and takes it; its number.
pub fn take_signal() -> Result<i32> {
    let all = u64::MAX;
    // SAFETY: the kernel's signal set is 64 bits; no details are asked for, no timeout given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const all,
            std::ptr::null_mut::<libc::siginfo_t>(),
            std::ptr::null::<libc::timespec>(),
            size_of::<u64>(),
        )
    };
    outcome(answer).map(|signal| signal as i32)
}

/// Sends a signal to a process, or with -1 to all that the caller may reach.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: two numbers.
    outcome(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// One instruction of a seccomp filter, in the kernel's layout (`struct sock_filter`).
pub type FilterInstruction = libc::sock_filter;

/// Loads a seccomp filter for the calling thread (seccomp(2)). `flags` are `SECCOMP_FILTER_FLAG_*`; with
/// `NEW_LISTENER` the answer is the listener's descriptor.
pub fn load_filter(filter: &[FilterInstruction], flags: u32) -> Result<Option<OwnedFd>> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program points to `filter`, whose length it holds; the kernel only reads.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    let answer = outcome(answer)?;
    if u64::from(flags) & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with NEW_LISTENER a success is a new descriptor that nobody else has.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(answer as i32) }))
}

/// Makes `fd` the number `target` in this process, kept open at execve. Equal numbers only lose the close mark.
///
/// # Safety
/// No Rust value may own the descriptor `target`, whose former meaning is lost.
pub unsafe fn place_descriptor(fd: BorrowedFd<'_>, target: i32) -> Result<()> {
    // SAFETY: numbers; the caller's promise covers the target.
    outcome(
        unsafe {
            if fd.as_raw_fd() == target {
                libc::fcntl(target, libc::F_SETFD, 0)
            } else {
                libc::dup2(fd.as_raw_fd(), target)
            }
        }
        .into(),
    )
    .map(drop)
}

/// Creates a session keyring of the given name and joins it, so that the former one is out of reach.
pub fn join_session_keyring(name: &CStr) -> Result<i32> {
    /// `KEYCTL_JOIN_SESSION_KEYRING`
    const JOIN: i32 = 1;
    // SAFETY: the name ends with a NUL and outlives the call.
    outcome(unsafe { libc::syscall(libc::SYS_keyctl, JOIN, name.as_ptr()) })
        .map(|serial| serial as i32)
}

/// Strings in the form that execve takes: an array of pointers that a null pointer ends.
#[derive(Debug)]
pub struct StringArray {
    strings: Vec<std::ffi::CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers point into the heap buffers of `strings`, which the value owns, never changes, and which do
// not move with it.
unsafe impl Send for StringArray {}
// SAFETY: as above; nothing is written through a shared reference.
unsafe impl Sync for StringArray {}

impl StringArray {
    /// Makes the array.
    pub fn new(strings: Vec<std::ffi::CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { strings, pointers }
    }

    /// The strings.
    pub fn strings(&self) -> &[std::ffi::CString] {
        &self.strings
    }
}

/// Executes a program; returns only the reason why it could not.
pub fn execute(path: &CStr, arguments: &StringArray, environment: &StringArray) -> Errno {
    // SAFETY: a CStr ends with a NUL, and a StringArray is what execve(2) asks for, kept alive by the references.
    unsafe {
        libc::syscall(
            libc::SYS_execve,
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    last_error()
}

/// Makes orphans below this process its children.
pub fn set_child_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(drop)
}

/// Sets the execution domain.
pub fn set_personality(persona: u32) -> Result<()> {
    // SAFETY: a number.
    outcome(unsafe { libc::personality(persona.into()) }.into()).map(drop)
}

/// Sets the i/o priority of the calling process: class << 13 | level.
pub fn set_io_priority(priority: u32) -> Result<()> {
    /// `IOPRIO_WHO_PROCESS`
    const PROCESS: i32 = 1;
    // SAFETY: numbers.
    outcome(unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, 0, priority) }).map(drop)
}

/// A scheduling policy in the kernel's layout (`struct sched_attr`, its first version).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct SchedulingAttributes {
    /// The structure's size in bytes; [`set_scheduler`] fills it in.
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority.
    pub priority: u32,
    /// SCHED_DEADLINE: nanoseconds.
    pub runtime: u64,
    /// SCHED_DEADLINE: nanoseconds.
    pub deadline: u64,
    /// SCHED_DEADLINE: nanoseconds.
    pub period: u64,
}

/// Sets the scheduling policy of the calling thread.
pub fn set_scheduler(attributes: SchedulingAttributes) -> Result<()> {
    let attributes = SchedulingAttributes {
        size: size_of::<SchedulingAttributes>() as u32,
        ..attributes
    };
    // SAFETY: the structure outlives the call and holds its size; the kernel only reads.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
        .map(drop)
}

/// Raises the hard limit of another process (or, with 0, the caller) to at least `hard`; the soft limit stays.
pub fn raise_hard_limit(pid: i32, resource: u32, hard: u64) -> Result<()> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives the call; no new limits are given.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    })?;
    if limit.rlim_max >= hard {
        return Ok(());
    }
    limit.rlim_max = hard;
    // SAFETY: `limit` outlives the call; the old limits are not asked for.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            &raw const limit,
            std::ptr::null::<libc::rlimit64>(),
        )
    })
    .map(drop)
}

/// The network namespace of a process, by its descriptor (6.11), else by procfs.
pub fn network_namespace(pidfd: BorrowedFd<'_>, pid: i32) -> Result<OwnedFd> {
    /// `PIDFD_GET_NET_NAMESPACE`: `_IO(0xFF, 4)`.
    const GET_NET_NAMESPACE: libc::c_ulong = 0xff04;
    // SAFETY: this ioctl takes no argument but zero.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_NET_NAMESPACE as _, 0) };
    if let Ok(fd) = outcome(answer.into()) {
        // SAFETY: a success is a new descriptor that nobody else has.
        return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    }
    let procfs = crate::mount::private_procfs()?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat(
        procfs,
        format!("{pid}/ns/net"),
        flags,
        rustix::fs::Mode::empty(),
    )
}

/// Makes the terminal `fd` the controlling one of the session that the caller leads.
pub fn set_controlling_terminal(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes a number: 0 does not steal.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// Makes a process group the foreground one of the terminal `fd`.
pub fn set_foreground(fd: BorrowedFd<'_>, group: i32) -> Result<()> {
    // SAFETY: tcsetpgrp takes two numbers.
    outcome(unsafe { libc::tcsetpgrp(fd.as_raw_fd(), group) }.into()).map(drop)
}

/// Makes the calling process the leader of a group of its own.
pub fn lead_group() -> Result<()> {
    // SAFETY: two numbers.
    outcome(unsafe { libc::setpgid(0, 0) }.into()).map(drop)
}

/// Makes the calling process the leader of a session of its own.
pub fn lead_session() -> Result<()> {
    // SAFETY: no arguments.
    outcome(unsafe { libc::setsid() }.into()).map(drop)
}

/// The other side of the terminal whose ptmx side is `ptmx`, opened without any path, and unlocked.
pub fn terminal_peer(ptmx: BorrowedFd<'_>) -> Result<OwnedFd> {
    let unlocked: i32 = 0;
    // SAFETY: TIOCSPTLCK reads an int, which outlives the call.
    outcome(
        unsafe { libc::ioctl(ptmx.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }.into(),
    )?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags.
    let answer = unsafe { libc::ioctl(ptmx.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    let fd = outcome(answer.into())?;
    // SAFETY: a success is a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sets a terminal's size, from either side.
pub fn set_terminal_size(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads the structure, which outlives the call.
    outcome(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
        .map(drop)
}
