//! Processes: clone3, pidfds, namespaces, credentials, and what a child does before it executes a program.
//!
//! As in [`crate::mount`] nothing here allocates, and errors are the kernel's numbers: all of it can be used
//! between clone and execve.

mod identity;
mod landlock;
mod limits;
mod signals;
mod terminal;

use std::ffi::{CStr, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

pub use identity::*;
pub use landlock::*;
pub use limits::*;
pub use signals::*;
pub use terminal::*;

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
    /// The child's parent is the caller's: the two are siblings.
    pub sibling: bool,
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
    if args.sibling {
        // It ends with the signal that the caller ends with.
        arguments.flags |= libc::CLONE_PARENT as u64;
    } else {
        arguments.exit_signal = libc::SIGCHLD as u64;
    }
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

/// The `CLONE_NEW*` flag of a namespace's kind (ioctl_ns(2)). `ENOTTY` for what is no namespace.
pub fn namespace_kind(fd: BorrowedFd<'_>) -> Result<i32> {
    /// `NSFS_MAGIC`
    const NSFS: rustix::fs::FsWord = 0x6e73_6673;
    /// `NS_GET_NSTYPE`
    const GET_KIND: u32 = 0xb703;
    // Other files may make something else of the ioctl.
    if rustix::fs::fstatfs(fd)?.f_type != NSFS {
        return Err(Errno::NOTTY);
    }
    // SAFETY: this ioctl takes no argument.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), GET_KIND as _) };
    outcome(answer.into()).map(|kind| kind as i32)
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

/// Gives the process a name (15 bytes) for `ps`.
pub fn set_name(name: &CStr) -> Result<()> {
    prctl(libc::PR_SET_NAME, name.as_ptr() as u64, 0).map(drop)
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

/// Closes every descriptor from `first` up but those in `keep`.
pub fn close_all_but<const N: usize>(first: u32, keep: [Option<BorrowedFd<'_>>; N]) -> Result<()> {
    let mut keep = keep.map(|fd| fd.map_or(0, |fd| fd.as_raw_fd() as u32));
    keep.sort_unstable();
    let mut first = first;
    for kept in keep.into_iter().filter(|kept| *kept >= 3) {
        if kept > first {
            close_range(first, kept - 1, 0)?;
        }
        first = first.max(kept.saturating_add(1));
    }
    close_range(first, u32::MAX, 0)
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

/// The kinds of namespace that a process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Its view of the cgroup tree.
    Cgroup,
    /// System V IPC and message queues.
    Ipc,
    /// Mounts.
    Mount,
    /// Network.
    Network,
    /// Process numbers.
    Pid,
    /// Clocks.
    Time,
    /// Users.
    User,
    /// Host name.
    Uts,
}

impl Namespace {
    /// The ioctl of a pidfd (`PIDFD_GET_*_NAMESPACE`, 6.11) and the name in procfs.
    fn ways(self) -> (libc::c_ulong, &'static str) {
        match self {
            Self::Cgroup => (0xff01, "cgroup"),
            Self::Ipc => (0xff02, "ipc"),
            Self::Mount => (0xff03, "mnt"),
            Self::Network => (0xff04, "net"),
            Self::Pid => (0xff05, "pid"),
            Self::Time => (0xff07, "time"),
            Self::User => (0xff09, "user"),
            Self::Uts => (0xff0a, "uts"),
        }
    }
}

/// Opens a namespace of a process: by its descriptor, on older kernels by a procfs of this function's own. Allocates.
pub fn namespace_of(pidfd: BorrowedFd<'_>, pid: i32, kind: Namespace) -> Result<OwnedFd> {
    let (request, name) = kind.ways();
    // SAFETY: these ioctls take no argument but zero.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), request as _, 0) };
    if let Ok(fd) = outcome(answer.into()) {
        // SAFETY: a success is a new descriptor that nobody else has.
        return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    }
    let procfs = crate::mount::private_procfs()?;
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat(
        procfs,
        format!("{pid}/ns/{name}"),
        flags,
        rustix::fs::Mode::empty(),
    )
}

/// Whether a namespace is the calling process's or that of process 1: what is changed there is changed for all that run
/// outside of containers. One that cannot be looked at counts as such.
pub fn is_hosts_namespace(namespace: BorrowedFd<'_>, kind: Namespace) -> bool {
    let (_, name) = kind.ways();
    let Ok(found) = rustix::fs::fstat(namespace) else {
        return true;
    };
    let same = |process: &str| {
        let theirs = rustix::fs::stat(format!("/proc/{process}/ns/{name}"));
        theirs.map(|theirs| (theirs.st_dev, theirs.st_ino) == (found.st_dev, found.st_ino))
    };
    // Another's may be hidden, one's own is not.
    same("self").unwrap_or(true) || same("1").unwrap_or(false)
}

/// Opens a namespace of the calling process. Allocates.
pub fn own_namespace(kind: Namespace) -> Result<OwnedFd> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let own = pidfd_open(pid)?;
    namespace_of(own.as_fd(), pid, kind)
}
