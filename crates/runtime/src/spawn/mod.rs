//! Starting processes: the caller's side.

mod gate;
mod pending;
mod supply;
mod users;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use sys::process::{CloneArgs, Cloned, Namespace};

use crate::fault::{Fault, Step};
use crate::plan::{CgroupEntry, FdSlot, Namespaces, NsMode, Plan};
use crate::prepared::{Prepared, PreparedExec};
use crate::walk::{self, Supply};

pub use gate::{GateError, is_waited_at, make_gate, pass_gate};
pub use pending::{HandOver, Pending};
pub use users::user_namespace;

/// One of the program's standard streams.
#[derive(Debug, Clone, Copy, Default)]
pub enum Stream<'a> {
    /// The null device, opened within the container.
    #[default]
    Null,
    /// The caller's own.
    Inherit,
    /// This descriptor.
    Fd(BorrowedFd<'a>),
}

/// The program's standard streams. A plan with a terminal takes none of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stdio<'a> {
    /// Standard input.
    pub stdin: Stream<'a>,
    /// Standard output.
    pub stdout: Stream<'a>,
    /// Standard error.
    pub stderr: Stream<'a>,
}

/// A process that runs its program, or waits at its gate.
#[derive(Debug)]
pub struct Spawned {
    /// Its number in the caller's pid namespace.
    pub pid: i32,
    /// Its descriptor. The process is the caller's child, and the caller has to wait for it.
    pub pidfd: OwnedFd,
    /// The caller's side of its terminal.
    pub console: Option<OwnedFd>,
}

/// Starts a container's first process and returns when it runs its program.
///
/// `fds` are the descriptors that the plan names by slot. Detached mounts among them are the container's afterwards,
/// and so are not to be used again, even when the start fails.
///
/// # Errors
/// What stopped the process; it is gone and waited for then.
pub fn spawn(prepared: &Prepared, fds: &[OwnedFd], stdio: Stdio<'_>) -> Result<Spawned, Fault> {
    set_off(prepared, fds, stdio)?.proceed()
}

/// As [`spawn`], but returns as soon as there is a process: the caller has time for other things meanwhile.
///
/// # Errors
/// As for [`spawn`]; what happens later is told by [`Pending::proceed`] and [`Pending::poll`].
pub fn set_off(prepared: &Prepared, fds: &[OwnedFd], stdio: Stdio<'_>) -> Result<Pending, Fault> {
    let gated = prepared.plan.namespaces.user == NsMode::New;
    let mut pending = start(prepared, fds, stdio, gated)?;
    pending
        .open_gate()
        .map_err(|errno| Fault::new(Step::Channel, errno))?;
    Ok(pending)
}

/// Starts a container's first process as far as its namespaces; [`Pending::proceed`] lets it go on.
///
/// # Errors
/// As for [`spawn`].
pub fn begin(prepared: &Prepared, fds: &[OwnedFd], stdio: Stdio<'_>) -> Result<Pending, Fault> {
    start(prepared, fds, stdio, true)
}

/// Starts a process in the namespaces of a container's process and returns when it runs its program.
///
/// # Errors
/// As for [`spawn`].
pub fn exec(
    target: BorrowedFd<'_>,
    prepared: &PreparedExec,
    fds: &[OwnedFd],
    stdio: Stdio<'_>,
) -> Result<Spawned, Fault> {
    exec_set_off(target, prepared, fds, stdio)?.proceed()
}

/// As [`exec`], but returns as soon as there is a process. That of a frozen container does not get on until it is
/// thawed, and [`exec`] would wait for it.
///
/// # Errors
/// As for [`spawn`]; what happens later is told by [`Pending::proceed`] and [`Pending::poll`].
pub fn exec_set_off(
    target: BorrowedFd<'_>,
    prepared: &PreparedExec,
    fds: &[OwnedFd],
    stdio: Stdio<'_>,
) -> Result<Pending, Fault> {
    let (ours, theirs) = channel().map_err(|errno| Fault::new(Step::Channel, errno))?;
    let mut supply = Supply::plain(fds, stdio, theirs);
    if prepared.plan.unprivileged {
        let args = sibling(0, &prepared.plan.cgroup, fds)?;
        return match clone_here()? {
            Cloned::Child => {
                drop(ours);
                walk::join_beyond(prepared, &mut supply, target, &args)
            }
            Cloned::Parent { pidfd, .. } => {
                drop(supply);
                Pending::of_sibling(&pidfd, ours)
            }
        };
    }
    let elsewhere = Elsewhere::pid_namespace(target)?;
    match clone_into(0, &prepared.plan.cgroup, fds)? {
        Cloned::Child => {
            drop(ours);
            walk::join(prepared, &supply, target)
        }
        Cloned::Parent { pid, pidfd } => {
            let pending = Pending::new(pid, pidfd, ours, false);
            elsewhere.leave()?;
            drop(supply);
            Ok(pending)
        }
    }
}

fn start(
    prepared: &Prepared,
    fds: &[OwnedFd],
    stdio: Stdio<'_>,
    gated: bool,
) -> Result<Pending, Fault> {
    let plan = &prepared.plan;
    let (ours, theirs) = channel().map_err(|errno| Fault::new(Step::Channel, errno))?;
    let mut supply = Supply::for_plan(prepared, fds, stdio, theirs)?;
    supply.gated = gated;
    if has_to_go_between(plan) {
        return start_beyond(prepared, fds, supply, ours);
    }
    // The child, which never returns from its walk, does not go back from where these lead.
    let pid_namespace = match plan.namespaces.pid {
        NsMode::Join(slot) => Some(Elsewhere::pid_namespace(at_slot(fds, slot)?)?),
        NsMode::Host | NsMode::New => None,
    };
    let birthplace = prepared
        .birthplace()
        .map(Elsewhere::mount_namespace)
        .transpose()?;
    let cloned = clone_into(new_namespaces(&plan.namespaces), &plan.cgroup, fds)?;
    match cloned {
        Cloned::Child => {
            // Our end must be nobody's but the caller's, so that its end can be noticed.
            drop(ours);
            walk::first(prepared, &supply)
        }
        Cloned::Parent { pid, pidfd } => {
            let pending = Pending::new(pid, pidfd, ours, gated);
            birthplace.map_or(Ok(()), Elsewhere::leave)?;
            pid_namespace.map_or(Ok(()), Elsewhere::leave)?;
            drop(supply);
            if plan.namespaces.user == NsMode::New {
                pending.map_users(plan)?;
            }
            Ok(pending)
        }
    }
}

/// Whether namespaces have to be joined before the process is made: one that is born in a user namespace of its own has no
/// rights over others, and one that joins a user namespace makes its own within that. Nor would a caller get back to its own
/// pid namespace who has no rights over it.
fn has_to_go_between(plan: &Plan) -> bool {
    let namespaces = &plan.namespaces;
    let joins = [
        namespaces.net,
        namespaces.ipc,
        namespaces.uts,
        namespaces.cgroup,
        namespaces.time,
        namespaces.mount,
        namespaces.pid,
    ];
    let is_joined = |mode: &NsMode| matches!(mode, NsMode::Join(_));
    match namespaces.user {
        NsMode::Host => plan.nested && is_joined(&namespaces.pid),
        NsMode::New => joins.iter().any(is_joined),
        NsMode::Join(_) => true,
    }
}

/// Starts a first process by another that joins namespaces for it.
fn start_beyond(
    prepared: &Prepared,
    fds: &[OwnedFd],
    mut supply: Supply<'_>,
    ours: OwnedFd,
) -> Result<Pending, Fault> {
    let plan = &prepared.plan;
    let args = sibling(new_namespaces(&plan.namespaces), &plan.cgroup, fds)?;
    match clone_here()? {
        Cloned::Child => {
            drop(ours);
            walk::first_beyond(prepared, &mut supply, &args)
        }
        Cloned::Parent { pidfd, .. } => {
            drop(supply);
            let pending = Pending::of_sibling(&pidfd, ours)?;
            if plan.namespaces.user == NsMode::New {
                pending.map_users(plan)?;
            }
            Ok(pending)
        }
    }
}

/// A process of the caller's namespaces and groups.
fn clone_here() -> Result<Cloned, Fault> {
    // SAFETY: as for `clone_into`.
    unsafe { sys::process::clone(&CloneArgs::default()) }
        .map_err(|errno| Fault::new(Step::Clone, errno))
}

/// How a process makes another in its own place.
fn sibling<'a>(
    flags: u64,
    entry: &CgroupEntry,
    fds: &'a [OwnedFd],
) -> Result<CloneArgs<'a>, Fault> {
    Ok(CloneArgs {
        flags,
        cgroup: entry.unified.map(|slot| at_slot(fds, slot)).transpose()?,
        sibling: true,
    })
}

fn at_slot(fds: &[OwnedFd], slot: FdSlot) -> Result<BorrowedFd<'_>, Fault> {
    let fd = fds.get(usize::from(slot.0)).map(AsFd::as_fd);
    fd.ok_or(Fault::indexed(Step::Prepare, slot.0.into(), Errno::BADF))
}

/// The namespaces that clone makes. (A cgroup namespace is made later; see there.)
fn new_namespaces(namespaces: &Namespaces) -> u64 {
    let kinds = [
        (namespaces.pid, libc::CLONE_NEWPID),
        (namespaces.net, libc::CLONE_NEWNET),
        (namespaces.ipc, libc::CLONE_NEWIPC),
        (namespaces.uts, libc::CLONE_NEWUTS),
        (namespaces.mount, libc::CLONE_NEWNS),
        (namespaces.user, libc::CLONE_NEWUSER),
    ];
    let new = kinds.into_iter().filter(|(mode, _)| *mode == NsMode::New);
    new.fold(0, |flags, (_, flag)| flags | flag as u64)
}

fn clone_into(flags: u64, entry: &CgroupEntry, fds: &[OwnedFd]) -> Result<Cloned, Fault> {
    let cgroup = entry.unified.map(|slot| at_slot(fds, slot)).transpose()?;
    let args = CloneArgs {
        flags,
        cgroup,
        sibling: false,
    };
    // SAFETY: in the child both callers go straight into the walk, which keeps to the rules of `clone` and never
    // returns.
    unsafe { sys::process::clone(&args) }.map_err(|errno| Fault::new(Step::Clone, errno))
}

/// The channel: our end, and the child's, whose number stays clear of the standard streams.
fn channel() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let theirs = if theirs.as_raw_fd() < 3 {
        rustix::io::fcntl_dupfd_cloexec(&theirs, 3)?
    } else {
        theirs
    };
    Ok((ours, theirs))
}

/// While it lives, children of this thread are born in another namespace.
struct Elsewhere {
    /// `None` once the way back was gone.
    home: Option<OwnedFd>,
    kind: i32,
    step: Step,
}

impl Elsewhere {
    /// `target` is a pid namespace's or a process's descriptor.
    fn pid_namespace(target: BorrowedFd<'_>) -> Result<Self, Fault> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        Self::enter(
            target,
            sys::process::pidfd_open(own),
            libc::CLONE_NEWPID,
            Step::PidNamespace,
        )
    }

    /// `target` is a mount namespace's descriptor.
    fn mount_namespace(target: BorrowedFd<'_>) -> Result<Self, Fault> {
        let home = sys::process::own_namespace(Namespace::Mount);
        Self::enter(target, home, libc::CLONE_NEWNS, Step::Isolate)
    }

    fn enter(
        target: BorrowedFd<'_>,
        home: Result<OwnedFd, Errno>,
        kind: i32,
        step: Step,
    ) -> Result<Self, Fault> {
        let at = |errno| Fault::new(step, errno);
        let home = Some(home.map_err(at)?);
        sys::process::setns(target, kind).map_err(at)?;
        Ok(Self { home, kind, step })
    }

    fn leave(mut self) -> Result<(), Fault> {
        self.go_home().map_err(|errno| Fault::new(self.step, errno))
    }

    fn go_home(&mut self) -> Result<(), Errno> {
        match self.home.take() {
            Some(home) => sys::process::setns(home.as_fd(), self.kind),
            None => Ok(()),
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // On the way out of a failed clone, whose error is the one to tell.
        let _ = self.go_home();
    }
}
