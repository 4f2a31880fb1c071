//! The way of a new process from its clone to its program.
//!
//! All of it runs in a copy of a process that may have had other threads: nothing here allocates, locks, parses or
//! panics. It reads what [`Prepared`] laid out and makes system calls; the first that fails is written to the
//! channel as a [`Fault`], and the process exits.
//!
//! *Invariant:* no allocation between clone and execve (`tests/allocation.rs`).

mod channel;
mod copy_up;
mod devices;
mod gate;
mod identity;
mod init;
mod landlock;
mod limits;
mod links;
mod mounts;
mod namespaces;
mod place;
mod program;
mod protect;
mod root;
mod stdio;
mod terminal;

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use sys::process::{CloneArgs, Cloned};

use crate::fault::{Fault, Step};
use crate::plan::{CgroupEntry, FdSlot, NsMode, ProcessPlan};
use crate::prepared::{MAX_REVEALING, Prepared, PreparedExec, Program, Title};
use crate::spawn::Stdio;

/// What fuzz targets resolve paths with.
#[cfg(any(test, fuzzing))]
pub(crate) mod paths {
    pub(crate) use super::links::real;
    pub(crate) use super::place::{find_or_make, target};
}

pub(crate) use channel::{Message, receive, send_go};
pub(crate) use mounts::map_ids;
pub(crate) use place::callers_procfs;

/// Descriptors that the caller gave or opened for the walk.
pub(crate) struct Supply<'a> {
    /// By [`FdSlot`].
    pub(crate) slots: &'a [OwnedFd],
    /// The root folder's clone, where the plan names a path.
    pub(crate) root: Option<OwnedFd>,
    /// By mount: the clone of a bind mount's source.
    pub(crate) sources: Vec<Option<OwnedFd>>,
    /// By mount: what the child makes or opens while it sees the caller's tree. Empty where it does not.
    pub(crate) ahead: Vec<Cell<Option<OwnedFd>>>,
    /// By device: the clone of the caller's node, where nodes cannot be made.
    pub(crate) nodes: Vec<Option<OwnedFd>>,
    /// For a user namespace: a procfs and a sysfs of the caller's.
    pub(crate) revealed: [Option<OwnedFd>; 2],
    /// Standard streams.
    pub(crate) stdio: Stdio<'a>,
    /// The child's end of the channel; its number is above 2.
    pub(crate) channel: OwnedFd,
    /// The child waits for a word before it does anything in its namespaces.
    pub(crate) gated: bool,
    /// The namespaces that exist already were joined on the child's way.
    pub(crate) joined: bool,
}

impl Supply<'_> {
    fn slot(&self, slot: FdSlot) -> Result<BorrowedFd<'_>, Errno> {
        self.slots
            .get(usize::from(slot.0))
            .map(AsFd::as_fd)
            .ok_or(Errno::BADF)
    }
}

/// Names the step at which a system call was made.
trait At<T> {
    fn at(self, step: Step) -> Result<T, Fault>;
    fn at_index(self, step: Step, index: usize) -> Result<T, Fault>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Fault> {
        self.map_err(|errno| Fault::new(step, errno))
    }
    fn at_index(self, step: Step, index: usize) -> Result<T, Fault> {
        self.map_err(|errno| Fault::indexed(step, index as u32, errno))
    }
}

/// What the two kinds of walk have in common.
struct Walk<'a> {
    supply: &'a Supply<'a>,
    process: &'a ProcessPlan,
    program: &'a Program,
    /// The container's root.
    root: Option<OwnedFd>,
    /// A procfs of the container's pid namespace that nobody can have tampered with.
    procfs: Option<OwnedFd>,
    /// The caller's, for a process that may make none: kernel parameters are those of its own namespaces in any procfs.
    callers_procfs: Option<OwnedFd>,
    /// The container's devpts.
    devpts: Option<OwnedFd>,
    /// The program's side of the terminal.
    terminal: Option<OwnedFd>,
    /// File systems that had to be made before the caller's were out of sight.
    revealing: [Option<OwnedFd>; MAX_REVEALING],
    /// The process was let through its gate: the caller hears no more of it.
    passed_gate: bool,
    /// Mounts of the caller's keep what keeps their users from rights, as in any copy that a user namespace gets.
    locks_attributes: bool,
}

impl<'a> Walk<'a> {
    fn new(supply: &'a Supply<'a>, process: &'a ProcessPlan, program: &'a Program) -> Self {
        Self {
            supply,
            process,
            program,
            root: None,
            procfs: None,
            callers_procfs: None,
            devpts: None,
            terminal: None,
            revealing: [const { None }; MAX_REVEALING],
            passed_gate: false,
            locks_attributes: false,
        }
    }

    /// Writes this process, which has one thread, into the v1 groups.
    fn enter_cgroups(&self, cgroup: &CgroupEntry) -> Result<(), Fault> {
        for (index, slot) in cgroup.dirs.iter().enumerate() {
            let tasks = self.supply.slot(*slot).at_index(Step::Cgroup, index)?;
            rustix::io::write(tasks, b"0").at_index(Step::Cgroup, index)?;
        }
        Ok(())
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }
}

/// Walks a container's first process; ends in its program or with the fault in the channel.
pub(crate) fn first(prepared: &Prepared, supply: &Supply<'_>) -> ! {
    let mut walk = Walk::new(supply, &prepared.plan.process, &prepared.program);
    let Err(fault) = walk.first(prepared);
    walk.tell_late(&fault);
    channel::fail(supply.channel.as_fd(), fault)
}

/// Walks a process that joins a container.
pub(crate) fn join(prepared: &PreparedExec, supply: &Supply<'_>, target: BorrowedFd<'_>) -> ! {
    let mut walk = Walk::new(supply, &prepared.plan.process, &prepared.program);
    let Err(fault) = walk.join(prepared, target);
    channel::fail(supply.channel.as_fd(), fault)
}

/// Keeps this process on some processors.
fn run_on(processors: Option<&[u8]>) -> Result<(), Fault> {
    match processors {
        Some(set) => sys::process::set_affinity(set).at(Step::Affinity),
        None => Ok(()),
    }
}

/// Joins the namespaces that `prepared` names and makes the container's first process in this one's place.
pub(crate) fn first_beyond(
    prepared: &Prepared,
    supply: &mut Supply<'_>,
    args: &CloneArgs<'_>,
) -> ! {
    let walk = Walk::new(supply, &prepared.plan.process, &prepared.program);
    let joined = walk
        .hide_from_others()
        .and_then(|()| walk.join_for_child(&prepared.plan.namespaces));
    make_sibling(supply.channel.as_fd(), joined, args);
    supply.joined = true;
    supply.gated = false;
    first(prepared, supply)
}

/// Joins a container by its user namespace and makes the further process in this one's place.
pub(crate) fn join_beyond(
    prepared: &PreparedExec,
    supply: &mut Supply<'_>,
    target: BorrowedFd<'_>,
    args: &CloneArgs<'_>,
) -> ! {
    let mut walk = Walk::new(supply, &prepared.plan.process, &prepared.program);
    // While its files in procfs are the caller's.
    let joined = walk
        .be_preferred()
        .and_then(|()| walk.join_target_for_child(target, &prepared.plan));
    make_sibling(supply.channel.as_fd(), joined, args);
    supply.joined = true;
    join(prepared, supply, target)
}

/// Returns in the process that is made; this one tells of it and ends.
fn make_sibling(channel: BorrowedFd<'_>, joined: Result<(), Fault>, args: &CloneArgs<'_>) {
    // SAFETY: both processes go on within the walk, which keeps to the rules of `clone`.
    let made = joined.and_then(|()| unsafe { sys::process::clone(args) }.at(Step::Clone));
    let told = made.and_then(|made| match made {
        // Until this one has told of it, and the caller has its part done, it does and says nothing.
        Cloned::Child => channel::await_go(channel).map(|()| false),
        Cloned::Parent { pid, pidfd } => {
            channel::send_sibling(channel, pid, pidfd.as_fd()).map(|()| true)
        }
    });
    match told {
        Ok(false) => {}
        Ok(true) => sys::process::exit(0),
        Err(fault) => channel::fail(channel, fault),
    }
}

/// What a walk returns: only ever a fault.
enum Never {}

/// What the last steps want to know of a container's first process.
#[derive(Clone, Copy)]
struct Beginning<'a> {
    /// Process 1 is ours.
    init: bool,
    /// The pid namespace is the container's own.
    pid_namespace: bool,
    title: Option<&'a Title>,
}

impl Walk<'_> {
    /// The steps of a container's first process, in their order. Where the order matters, the reason stands beside.
    fn first(&mut self, prepared: &Prepared) -> Result<Never, Fault> {
        let plan = &prepared.plan;
        let seen_by_others =
            plan.namespaces.pid != NsMode::New || matches!(plan.namespaces.user, NsMode::Join(_));
        // A caller without rights writes this process's maps, for which it has to look like its own.
        if seen_by_others && !plan.unprivileged {
            self.hide_from_others()?;
        }
        self.locks_attributes = plan.namespaces.user != NsMode::Host || plan.nested;
        // The rights to the groups' files are the caller's, and a cgroup namespace begins where the process is.
        self.enter_cgroups(&plan.cgroup)?;
        if self.supply.gated {
            channel::await_go(self.supply.channel.as_fd())?;
        }
        // The files of the process in procfs are its own still.
        self.new_clocks(prepared)?;
        let foreign = plan.namespaces.user != NsMode::Host && !plan.unprivileged;
        if foreign {
            self.be_preferred()?;
            self.procfs = None;
        }
        let own_users = plan.namespaces.user != NsMode::Host || plan.nested;
        if own_users && plan.namespaces.pid != NsMode::New && !prepared.sysctls.is_empty() {
            self.callers_procfs = Some(place::callers_procfs().at(Step::Sysctl)?);
        }
        if seen_by_others && plan.unprivileged {
            self.hide_from_others()?;
        }
        if !self.supply.joined {
            self.join_namespaces(&plan.namespaces)?;
        }
        let ahead = prepared.makes_ahead();
        if ahead {
            self.new_cgroup_namespace(&plan.namespaces)?;
            // Before the mounts are cut off from the caller's, which a bind mount may be asked to stay one with.
            self.make_ahead(prepared)?;
        }
        self.isolate_mounts(prepared)?;
        // The way to the root's place may be open to the caller's user alone.
        self.show_root(prepared)?;
        if plan.namespaces.user != NsMode::Host {
            // File systems and mount points are to belong to the container's root.
            self.become_namespace_root(plan.unprivileged || plan.nested)?;
        }
        if !ahead {
            self.new_cgroup_namespace(&plan.namespaces)?;
        }
        sys::process::lead_session().at(Step::Session)?;
        rustix::process::umask(rustix::fs::Mode::empty());
        self.make_revealing(prepared)?;
        self.enter_root(prepared)?;
        self.mount_all(prepared)?;
        self.make_devices(prepared)?;
        self.make_links(prepared)?;
        if plan.shown_at.is_some() {
            channel::tell_mounted(self.supply.channel.as_fd())?;
            channel::await_go(self.supply.channel.as_fd())?;
            self.change_root(prepared)?;
        }
        self.settle_root(prepared)?;
        self.host_names(plan)?;
        if plan.terminal {
            self.open_terminal(plan.console_size, plan.plain_lines)?;
            if plan.console_bind {
                self.bind_console()?;
            }
        }
        // Kernel parameters before the paths that hide or protect them.
        self.write_sysctls(prepared)?;
        if !foreign {
            self.prefer_to_be_killed()?;
        }
        self.mask_paths(prepared)?;
        self.protect_paths(prepared)?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(
            self.process.umask.unwrap_or(0o022),
        ));
        // The working folder may have to be made: before the root becomes read-only.
        self.enter_working_folder()?;
        self.finish_read_only(prepared)?;
        self.finish(
            plan.unprivileged || plan.nested,
            Some(Beginning {
                init: plan.init,
                pid_namespace: plan.namespaces.pid == NsMode::New,
                title: prepared.title.as_ref(),
            }),
        )
    }

    /// Sets the inclination to be killed of a process that joins, or that is to be another user in the container.
    fn be_preferred(&mut self) -> Result<(), Fault> {
        if self.process.oom_score_adj.is_some() {
            // The container's own /proc may be anything, the caller's is not. A mount of its own would have to end
            // here too, and the end of one waits for a grace period.
            self.procfs = Some(place::callers_procfs().at(Step::OomScore)?);
            self.prefer_to_be_killed()?;
        }
        Ok(())
    }

    /// The steps of a process that joins.
    fn join(&mut self, prepared: &PreparedExec, target: BorrowedFd<'_>) -> Result<Never, Fault> {
        let plan = &prepared.plan;
        let [before, after] = &plan.affinity;
        run_on(before.as_deref())?;
        self.enter_cgroups(&plan.cgroup)?;
        // Entering a group may have changed it.
        run_on(after.as_deref())?;
        if !self.supply.joined {
            self.be_preferred()?;
        }
        if !self.program.labels.is_empty() {
            self.procfs = Some(place::callers_procfs().at(Step::Label)?);
        }
        if plan.user_namespace {
            self.raise_limits();
        }
        if !self.supply.joined {
            self.join_target(target, plan)?;
        }
        if plan.user_namespace {
            self.become_namespace_root(plan.unprivileged)?;
        }
        sys::process::lead_session().at(Step::Session)?;
        if let Some(root) = plan.root {
            let root = self.supply.slot(root).at(Step::Root)?;
            rustix::process::fchdir(root).at(Step::Root)?;
            rustix::process::chroot(c".").at(Step::Root)?;
        }
        self.root = Some(place::working_root().at(Step::Root)?);
        if plan.terminal {
            self.open_terminal(plan.console_size, plan.plain_lines)?;
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(
            self.process.umask.unwrap_or(0o022),
        ));
        self.enter_working_folder()?;
        self.finish(plan.unprivileged, None)
    }

    /// The steps from the finished surroundings to the program; `beginning` is there for a container's first.
    fn finish(
        &mut self,
        unprivileged: bool,
        beginning: Option<Beginning<'_>>,
    ) -> Result<Never, Fault> {
        self.place_streams()?;
        self.set_scheduling()?;
        self.set_limits()?;
        self.join_keyring(beginning.is_some())?;
        self.write_labels()?;
        // While the process has the right to, and when it opens nothing more but its program.
        self.give_up_rights()?;
        self.take_identity(unprivileged)?;
        if self.process.gate.is_some() {
            self.wait_at_gate(beginning.and_then(|beginning| beginning.title))?;
        }
        if let Some(Beginning {
            init: true,
            pid_namespace,
            title,
        }) = beginning
        {
            init::below(self.terminal.is_some(), pid_namespace, title)?;
        }
        self.execute()
    }
}
