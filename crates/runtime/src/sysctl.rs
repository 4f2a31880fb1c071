//! Kernel parameters (sysctl(8)): where they are, and which of them a container can have of its own.
//!
//! /proc/sys shows parameters of namespaces and of the whole host side by side, and the kernel lets root of the first user
//! namespace write to all of them, wherever it runs. So a name is looked at before anything is written.

use std::os::fd::AsFd;

use sys::process::{Namespace, is_hosts_namespace};

use crate::plan::{FdSlot, Namespaces, NsMode};

/// The parameters of System V IPC, which belong to an IPC namespace (ipc_namespaces(7)).
const OF_IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// Which namespaces with parameters a container has that are not the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// Its network.
    pub network: bool,
    /// Its IPC.
    pub ipc: bool,
    /// Its host name.
    pub uts: bool,
}

/// Why a parameter is not a container's to set. The words are runc's.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SysctlError {
    /// It would be the host's network's.
    #[error("sysctl {name:?} not allowed in host network namespace")]
    HostNetwork {
        /// As it was asked for.
        name: String,
    },
    /// It would be the host's IPC's.
    #[error("sysctl {name:?} is not allowed in the hosts ipc namespace")]
    HostIpc {
        /// As it was asked for.
        name: String,
    },
    /// There is another way to ask for it.
    #[error("sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field")]
    HostName {
        /// As it was asked for.
        name: String,
    },
    /// It is the whole host's.
    #[error("sysctl {name:?} is not in a separate kernel namespace")]
    Global {
        /// As it was asked for.
        name: String,
    },
}

impl Own {
    /// What a plan's namespaces are; `fds` are what it names by slot. One that is joined counts where it is neither the
    /// calling process's nor that of process 1.
    pub fn of(namespaces: &Namespaces, fds: &[impl AsFd]) -> Self {
        let own = |mode: NsMode, kind: Namespace| match mode {
            NsMode::Host => false,
            NsMode::New => true,
            NsMode::Join(FdSlot(slot)) => fds
                .get(usize::from(slot))
                .is_some_and(|fd| !is_hosts_namespace(fd.as_fd(), kind)),
        };
        Self {
            network: own(namespaces.net, Namespace::Network),
            ipc: own(namespaces.ipc, Namespace::Ipc),
            uts: own(namespaces.uts, Namespace::Uts),
        }
    }

    /// Whether a parameter is a container's with these namespaces.
    ///
    /// # Errors
    /// Whose it is instead.
    pub fn check(&self, name: &str) -> Result<(), SysctlError> {
        let named = || name.to_owned();
        // What is no path is none of a namespace either.
        let path = path(name).unwrap_or_default();
        if path.starts_with("net/") {
            return match self.network {
                true => Ok(()),
                false => Err(SysctlError::HostNetwork { name: named() }),
            };
        }
        if OF_IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
            return match self.ipc {
                true => Ok(()),
                false => Err(SysctlError::HostIpc { name: named() }),
            };
        }
        match path.as_str() {
            "kernel/domainname" if self.uts => Ok(()),
            "kernel/hostname" if self.uts => Err(SysctlError::HostName { name: named() }),
            _ => Err(SysctlError::Global { name: named() }),
        }
    }
}

/// A parameter's place below /proc/sys; `None` for what leads elsewhere. As for sysctl(8) the first separator is the one that
/// counts: `net.ipv4.conf.eth0/1.forwarding` and `net/ipv4/conf/eth0.1/forwarding` are the same.
pub(crate) fn path(name: &str) -> Option<String> {
    let path: String = match name.find(['.', '/']).map(|at| name.as_bytes().get(at)) {
        Some(Some(b'.')) => name
            .chars()
            .map(|letter| match letter {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    };
    let sound = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    sound.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Own = Own {
        network: true,
        ipc: true,
        uts: true,
    };
    const NONE: Own = Own {
        network: false,
        ipc: false,
        uts: false,
    };

    #[test]
    fn both_separators_are_known() {
        for (name, place) in [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/conf/eth0.1/x", Some("net/ipv4/conf/eth0.1/x")),
            ("net.ipv4.conf.eth0/1.x", Some("net/ipv4/conf/eth0.1/x")),
            ("plain", Some("plain")),
            ("", None),
            ("net/../vm/swappiness", None),
            ("net.//.vm.swappiness", None),
            ("/vm/swappiness", None),
            ("net..x", None),
        ] {
            assert_eq!(path(name).as_deref(), place, "{name}");
        }
    }

    #[test]
    fn parameters_of_namespaces_are_the_containers() {
        for name in [
            "net.ipv4.ip_forward",
            "net/ipv4/ip_forward",
            "kernel.sem",
            "kernel/shm_rmid_forced",
            "fs.mqueue.msg_max",
            "kernel.domainname",
        ] {
            assert_eq!(ALL.check(name), Ok(()), "{name}");
            assert!(NONE.check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn those_of_the_host_are_refused_in_runcs_words() {
        let words = |own: Own, name: &str| own.check(name).unwrap_err().to_string();
        for name in [
            "vm.swappiness",
            "vm/swappiness",
            "kernel.core_uses_pid",
            "kernel.core_pattern",
            "kernel.msgmax.x",
            "fs.mqueue",
            "net",
            "user.max_user_namespaces",
            "net/../vm/swappiness",
            "",
        ] {
            assert_eq!(
                words(ALL, name),
                format!("sysctl {name:?} is not in a separate kernel namespace")
            );
        }
        assert_eq!(
            words(NONE, "net.ipv4.ip_forward"),
            "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"
        );
        assert_eq!(
            words(NONE, "kernel.shmmni"),
            "sysctl \"kernel.shmmni\" is not allowed in the hosts ipc namespace"
        );
        assert_eq!(
            words(ALL, "kernel.hostname"),
            "sysctl \"kernel.hostname\" is not allowed as it conflicts with the OCI \"hostname\" field"
        );
        for name in ["kernel.hostname", "kernel.domainname"] {
            let told = words(NONE, name);
            assert!(told.ends_with("is not in a separate kernel namespace"));
        }
    }

    #[test]
    fn a_namespace_of_the_host_is_not_the_containers() {
        let joined = std::fs::File::open("/proc/self/ns/net").unwrap();
        let namespaces = Namespaces {
            net: NsMode::Join(FdSlot(0)),
            ipc: NsMode::New,
            uts: NsMode::Join(FdSlot(1)),
            ..Namespaces::default()
        };
        let own = Own::of(&namespaces, &[joined]);
        assert_eq!(own, Own { ipc: true, ..NONE });
    }
}
