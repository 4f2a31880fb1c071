//! Namespaces: new, joined by a path, or the caller's.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use runtime::plan::{FdSlot, IdMap, Namespaces, NsMode, TimeOffset};
use runtime::sysctl::Own;
use rustix::fs::{Mode, OFlags};
use sys::process::{Namespace, is_hosts_namespace};

use crate::cli::is_unprivileged;
use crate::error::{Error, Result};
use crate::spec::{self, IdMapping, Spec};

pub(super) fn compile(spec: &Spec, fds: &mut Vec<OwnedFd>) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    let listed = spec.linux().namespaces.iter().flatten().enumerate();
    let mut seen = Vec::new();
    for (index, namespace) in listed {
        let kind = namespace.kind.as_deref().unwrap_or_default();
        let field = format!("linux.namespaces[{index}]");
        let mode = match kind {
            "pid" => &mut namespaces.pid,
            "network" => &mut namespaces.net,
            "ipc" => &mut namespaces.ipc,
            "uts" => &mut namespaces.uts,
            "mount" => &mut namespaces.mount,
            "cgroup" => &mut namespaces.cgroup,
            "user" => &mut namespaces.user,
            "time" => &mut namespaces.time,
            other => {
                let why = format!("{other:?} is no kind of namespace");
                return Err(Error::field(format!("{field}.type"), why));
            }
        };
        if seen.contains(&kind) {
            let why = format!("there are two namespaces of the type {kind:?}");
            return Err(Error::field(field, why));
        }
        seen.push(kind);
        *mode = match namespace.path.as_deref().filter(|path| !path.is_empty()) {
            None => NsMode::New,
            Some(path) => {
                let opened = open(path, kind, &field)?;
                if kind == "mount" && is_hosts_namespace(opened.as_fd(), Namespace::Mount) {
                    let why =
                        format!("{path:?} is the caller's own, whose root may not be changed");
                    return Err(Error::field(format!("{field}.path"), why));
                }
                fds.push(opened);
                NsMode::Join(FdSlot((fds.len() - 1) as u16))
            }
        };
    }
    let of = |kind: &str| seen.contains(&kind);
    check_needed(spec, &namespaces)?;
    if !of("mount") {
        check_without_mounts(spec, of("user"))?;
    }
    Ok(namespaces)
}

/// What is asked of a namespace needs one: without, a container would be the host's root where it was not to be.
fn check_needed(spec: &Spec, namespaces: &Namespaces) -> Result<()> {
    let linux = spec.linux();
    let has = |map: &Option<Vec<IdMapping>>| map.as_ref().is_some_and(|map| !map.is_empty());
    let error = |text: &str| Err(Error::State(text.to_owned()));
    if namespaces.user == NsMode::Host && (has(&linux.uid_mappings) || has(&linux.gid_mappings)) {
        return error(
            "user namespace mappings specified, but user namespace isn't enabled in the config",
        );
    }
    let clocks = linux.time_offsets.as_ref();
    if namespaces.time == NsMode::Host && clocks.is_some_and(|clocks| !clocks.is_empty()) {
        return error(
            "time namespace offsets specified, but time namespace isn't enabled in the config",
        );
    }
    Ok(())
}

/// What is set for a namespace needs one that is not the host's.
pub(super) fn check_names(spec: &Spec, own: Own) -> Result<()> {
    let names = [
        ("hostname", &spec.hostname),
        ("domainname", &spec.domainname),
    ];
    for (what, name) in names {
        if name.as_deref().is_some_and(|name| !name.is_empty()) && !own.uts {
            return Err(Error::State(format!(
                "unable to set {what} without a private UTS namespace"
            )));
        }
    }
    Ok(())
}

/// What a container that makes its mounts in the caller's mount namespace cannot have.
fn check_without_mounts(spec: &Spec, users: bool) -> Result<()> {
    let linux = spec.linux();
    let hides = |paths: &Option<Vec<String>>| paths.as_ref().is_some_and(|paths| !paths.is_empty());
    if hides(&linux.masked_paths) || hides(&linux.readonly_paths) {
        return Err(Error::State(
            "unable to restrict sys entries without a private MNT namespace".to_owned(),
        ));
    }
    if users || is_unprivileged() {
        return Err(Error::field(
            "linux.namespaces",
            "a user namespace without a mount namespace is not supported",
        ));
    }
    Ok(())
}

fn open(path: &str, kind: &str, field: &str) -> Result<OwnedFd> {
    let wrong = |why: String| Err(Error::field(format!("{field}.path"), why));
    if !path.starts_with('/') {
        return wrong(format!("{path:?} is no absolute path"));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let found = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::io("opening the namespace", Path::new(path), errno))?;
    match sys::process::namespace_kind(found.as_fd()) {
        Ok(found) if Some(found) != flag(kind) => {
            wrong(format!("{path:?} is a namespace, but no {kind} namespace"))
        }
        Ok(_) => Ok(found),
        Err(_) => wrong(format!("{path:?} is no namespace")),
    }
}

/// The `CLONE_NEW*` flag of a kind.
fn flag(kind: &str) -> Option<i32> {
    Some(match kind {
        "pid" => libc::CLONE_NEWPID,
        "network" => libc::CLONE_NEWNET,
        "ipc" => libc::CLONE_NEWIPC,
        "uts" => libc::CLONE_NEWUTS,
        "mount" => libc::CLONE_NEWNS,
        "cgroup" => libc::CLONE_NEWCGROUP,
        "user" => libc::CLONE_NEWUSER,
        "time" => libc::CLONE_NEWTIME,
        _ => return None,
    })
}

/// Lines of a user namespace's map; `whose` needs some.
pub(super) fn id_map(field: &str, lines: Option<&[IdMapping]>, whose: &str) -> Result<Vec<IdMap>> {
    let lines = lines.unwrap_or_default();
    if lines.is_empty() {
        return Err(Error::field(field, format!("{whose} needs some")));
    }
    Ok(lines
        .iter()
        .map(|line| IdMap {
            inside: line.container_id.unwrap_or_default(),
            outside: line.host_id.unwrap_or_default(),
            count: line.size.unwrap_or_default(),
        })
        .collect())
}

/// Clocks of a new time namespace.
pub(super) fn time_offsets(
    asked: Option<&BTreeMap<String, spec::TimeOffset>>,
) -> Result<Vec<TimeOffset>> {
    let one = |(clock, offset): (&String, &spec::TimeOffset)| {
        let number = match clock.as_str() {
            "monotonic" => libc::CLOCK_MONOTONIC,
            "boottime" => libc::CLOCK_BOOTTIME,
            other => {
                let why = format!("{other:?} is no clock of a time namespace");
                return Err(Error::field("linux.timeOffsets", why));
            }
        };
        Ok(TimeOffset {
            clock: number,
            seconds: offset.secs.unwrap_or_default(),
            nanoseconds: offset.nanosecs.unwrap_or_default(),
        })
    };
    asked.into_iter().flatten().map(one).collect()
}
