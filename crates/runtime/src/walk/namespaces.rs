//! Namespaces that are joined, or made when the process is already alive.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{At, Walk, place};
use crate::fault::{Fault, Step};
use crate::guards::{Guard, is_off};
use crate::plan::{ExecPlan, Namespaces, NsMode, Plan};
use crate::prepared::Prepared;

/// Kinds of namespaces that [`joins`] lists.
const JOINS: usize = 6;

/// Those that a process joins for itself.
fn joins(namespaces: &Namespaces) -> [(NsMode, i32); JOINS] {
    [
        (namespaces.net, libc::CLONE_NEWNET),
        (namespaces.ipc, libc::CLONE_NEWIPC),
        (namespaces.uts, libc::CLONE_NEWUTS),
        (namespaces.cgroup, libc::CLONE_NEWCGROUP),
        (namespaces.time, libc::CLONE_NEWTIME),
        (namespaces.mount, libc::CLONE_NEWNS),
    ]
}

impl Walk<'_> {
    /// Joins the namespaces that the plan names. (A pid namespace is entered by the caller, for its children; a user
    /// namespace only by a process that joins all.)
    pub(super) fn join_namespaces(&self, namespaces: &Namespaces) -> Result<(), Fault> {
        for (mode, flag) in joins(namespaces) {
            self.join_one(mode, flag)
                .at_index(Step::JoinNamespace, flag as usize)?;
        }
        Ok(())
    }

    fn join_one(&self, mode: NsMode, flag: i32) -> Result<(), Errno> {
        match mode {
            NsMode::Join(slot) => sys::process::setns(self.supply.slot(slot)?, flag),
            NsMode::Host | NsMode::New => Ok(()),
        }
    }

    /// Joins all namespaces that the plan names, for a process that is made next. Rights over them may be the caller's,
    /// or those that come with the user namespace: what the first do not reach is tried again with the second.
    pub(super) fn join_for_child(&self, namespaces: &Namespaces) -> Result<(), Fault> {
        let mut left = [false; JOINS + 1];
        let pid = (namespaces.pid, libc::CLONE_NEWPID);
        let all = || joins(namespaces).into_iter().chain([pid]);
        for ((mode, flag), left) in all().zip(&mut left) {
            *left = match self.join_one(mode, flag) {
                Ok(()) => false,
                Err(Errno::PERM) if matches!(namespaces.user, NsMode::Join(_)) => true,
                Err(errno) => {
                    return Err(Fault::indexed(Step::JoinNamespace, flag as u32, errno));
                }
            };
        }
        self.join_one(namespaces.user, libc::CLONE_NEWUSER)
            .at_index(Step::JoinNamespace, libc::CLONE_NEWUSER as usize)?;
        for ((mode, flag), _) in all().zip(&left).filter(|(_, left)| **left) {
            self.join_one(mode, flag)
                .at_index(Step::JoinNamespace, flag as usize)?;
        }
        Ok(())
    }

    /// Joins all namespaces of a running process, by its descriptor.
    pub(super) fn join_target(&self, target: BorrowedFd<'_>, plan: &ExecPlan) -> Result<(), Fault> {
        self.hide_from_others()?;
        let users = if plan.user_namespace {
            libc::CLONE_NEWUSER
        } else {
            0
        };
        self.join_rest(target, plan.time_namespace, users)
    }

    /// As [`Walk::join_target`], pid namespace included, by a caller who has rights within the user namespace alone.
    pub(super) fn join_target_for_child(
        &self,
        target: BorrowedFd<'_>,
        plan: &ExecPlan,
    ) -> Result<(), Fault> {
        self.hide_from_others()?;
        if plan.user_namespace {
            sys::process::setns(target, libc::CLONE_NEWUSER)
                .at_index(Step::JoinNamespace, libc::CLONE_NEWUSER as usize)?;
        }
        sys::process::setns(target, libc::CLONE_NEWPID).at(Step::PidNamespace)?;
        // Those that the container shares with the caller are the host's, over which it has no rights.
        for flag in [
            libc::CLONE_NEWNET,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWCGROUP,
        ] {
            match sys::process::setns(target, flag) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => {
                    return Err(Fault::indexed(Step::JoinNamespace, flag as u32, errno));
                }
            }
        }
        let mut flags = libc::CLONE_NEWNS;
        if plan.time_namespace {
            flags |= libc::CLONE_NEWTIME;
        }
        sys::process::setns(target, flags).at(Step::JoinNamespace)
    }

    fn join_rest(&self, target: BorrowedFd<'_>, time: bool, more: i32) -> Result<(), Fault> {
        let mut flags = libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWNS
            | more;
        if time {
            flags |= libc::CLONE_NEWTIME;
        }
        sys::process::setns(target, flags).at(Step::JoinNamespace)
    }

    /// Until execve, processes that see this one must not look into it, which has the caller's memory and program: in a
    /// user namespace of theirs or with their user and capabilities they might.
    pub(super) fn hide_from_others(&self) -> Result<(), Fault> {
        sys::process::set_dumpable(is_off(Guard::Hiding)).at(Step::JoinNamespace)
    }

    /// Becomes root of the user namespace, where the process may still be nobody.
    pub(super) fn become_namespace_root(&self, unprivileged: bool) -> Result<(), Fault> {
        self.set_groups(&[], unprivileged).at(Step::NamespaceRoot)?;
        sys::process::set_group(0).at(Step::NamespaceRoot)?;
        sys::process::set_user(0).at(Step::NamespaceRoot)
    }

    /// Makes the cgroup namespace, whose root is the group that the process is in by now. (Made by clone, it would
    /// begin at the caller's group.)
    pub(super) fn new_cgroup_namespace(&self, namespaces: &Namespaces) -> Result<(), Fault> {
        if namespaces.cgroup == NsMode::New {
            sys::process::unshare(libc::CLONE_NEWCGROUP).at(Step::CgroupNamespace)?;
        }
        Ok(())
    }

    /// Makes the time namespace, sets its clocks while nobody is in it, and enters it. (A caller of several threads could not
    /// make it for a child: it would not get back.)
    pub(super) fn new_clocks(&self, prepared: &Prepared) -> Result<(), Fault> {
        if prepared.plan.namespaces.time != NsMode::New {
            return Ok(());
        }
        let open = |path: &CStr, flags| {
            let procfs = place::callers_procfs()?;
            rustix::fs::openat(procfs, path, flags | OFlags::CLOEXEC, Mode::empty())
        };
        sys::process::unshare(libc::CLONE_NEWTIME).at(Step::TimeNamespace)?;
        if !prepared.clocks.is_empty() {
            let file = open(c"self/timens_offsets", OFlags::WRONLY).at(Step::TimeNamespace)?;
            rustix::io::write(file, &prepared.clocks).at(Step::TimeNamespace)?;
        }
        let made = open(c"self/ns/time_for_children", OFlags::RDONLY).at(Step::TimeNamespace)?;
        sys::process::setns(made.as_fd(), libc::CLONE_NEWTIME).at(Step::TimeNamespace)
    }

    /// Names of the new uts namespace.
    pub(super) fn host_names(&self, plan: &Plan) -> Result<(), Fault> {
        if let Some(name) = &plan.hostname {
            sys::process::set_host_name(name.as_bytes()).at(Step::HostName)?;
        }
        if let Some(name) = &plan.domainname {
            sys::process::set_domain_name(name.as_bytes()).at(Step::DomainName)?;
        }
        Ok(())
    }
}
