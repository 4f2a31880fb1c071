//! Namespaces that are joined, or made when the process is already alive.

use std::os::fd::BorrowedFd;

use super::{At, Walk};
use crate::fault::{Fault, Step};
use crate::plan::{ExecPlan, Namespaces, NsMode, Plan};

impl Walk<'_> {
    /// Joins the namespaces that the plan names. (A pid namespace is entered by the caller, for its children; a user
    /// namespace only by a process that joins all.)
    pub(super) fn join_namespaces(&self, namespaces: &Namespaces) -> Result<(), Fault> {
        let joins = [
            (namespaces.net, libc::CLONE_NEWNET),
            (namespaces.ipc, libc::CLONE_NEWIPC),
            (namespaces.uts, libc::CLONE_NEWUTS),
            (namespaces.cgroup, libc::CLONE_NEWCGROUP),
            (namespaces.time, libc::CLONE_NEWTIME),
            (namespaces.mount, libc::CLONE_NEWNS),
        ];
        for (mode, flag) in joins {
            if let NsMode::Join(slot) = mode {
                let namespace = self.supply.slot(slot);
                namespace
                    .and_then(|fd| sys::process::setns(fd, flag))
                    .at_index(Step::JoinNamespace, flag as usize)?;
            }
        }
        Ok(())
    }

    /// Joins all namespaces of a running process, by its descriptor.
    pub(super) fn join_target(&self, target: BorrowedFd<'_>, plan: &ExecPlan) -> Result<(), Fault> {
        let mut flags = libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWNS;
        self.hide_from_others()?;
        if plan.user_namespace {
            flags |= libc::CLONE_NEWUSER;
        }
        if plan.time_namespace {
            flags |= libc::CLONE_NEWTIME;
        }
        sys::process::setns(target, flags).at(Step::JoinNamespace)
    }

    /// Until execve, processes that see this one must not look into it, which has the caller's memory and program: in a
    /// user namespace of theirs or with their user and capabilities they might.
    pub(super) fn hide_from_others(&self) -> Result<(), Fault> {
        sys::process::set_dumpable(false).at(Step::JoinNamespace)
    }

    /// Becomes root of the user namespace, where the process may still be nobody.
    pub(super) fn become_namespace_root(&self) -> Result<(), Fault> {
        sys::process::set_groups(&[]).at(Step::NamespaceRoot)?;
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
