//! User namespaces from the caller's side: their maps, and ones that nobody runs in.

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sys::process::{CloneArgs, Cloned, Namespace};

use crate::plan::IdMap;
use crate::walk;

/// Writes the maps of the user namespace that a process was born in.
pub(super) fn write_maps(pid: i32, uids: &[IdMap], gids: &[IdMap]) -> Result<(), Errno> {
    let procfs = match sys::mount::private_procfs() {
        // Root of a user namespace in somebody else's pid namespace.
        Err(Errno::PERM) => walk::callers_procfs()?,
        other => other?,
    };
    for (name, map) in [("uid_map", uids), ("gid_map", gids)] {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let path = format!("{pid}/{name}");
        let file = rustix::fs::openat(&procfs, path, flags, Mode::empty())?;
        // The kernel takes the whole map in one call.
        rustix::io::write(file, lines(map).as_bytes())?;
    }
    Ok(())
}

/// Why maps were not written.
pub(super) struct MapFailure {
    /// 0 for the kernel, else the number of the helper in [`HELPERS`], from 1.
    pub(super) helper: u32,
    pub(super) errno: Errno,
}

/// Programs that write maps for users who may not, and the files they write.
const HELPERS: [(&str, &str); 2] = [("newuidmap", "uid_map"), ("newgidmap", "gid_map")];

/// Writes the maps of a process's new user namespace for a caller without rights: a map of its own user alone by itself,
/// others by the programs that ask /etc/subuid and /etc/subgid.
pub(super) fn write_maps_unprivileged(
    pid: i32,
    uids: &[IdMap],
    gids: &[IdMap],
) -> Result<(), MapFailure> {
    let own = [
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    ];
    let error = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let write = |name: &str, text: &str| {
        std::fs::write(format!("/proc/{pid}/{name}"), text).map_err(|failed| MapFailure {
            helper: 0,
            errno: error(failed),
        })
    };
    let kinds = [uids, gids].into_iter().zip(own).zip(HELPERS).zip(1..);
    for (((map, own), (program, file)), helper) in kinds {
        if matches!(map, [IdMap { outside, count: 1, .. }] if *outside == own) {
            if file == "gid_map" {
                // The kernel's condition for a map without a helper.
                write("setgroups", "deny")?;
            }
            write(file, &lines(map))?;
            continue;
        }
        let failure = |errno| MapFailure { helper, errno };
        let numbers = map
            .iter()
            .flat_map(|line| [line.inside, line.outside, line.count]);
        let status = std::process::Command::new(program)
            .arg(pid.to_string())
            .args(numbers.map(|number| number.to_string()))
            .status()
            .map_err(|failed| failure(error(failed)))?;
        if !status.success() {
            return Err(failure(Errno::PERM));
        }
    }
    Ok(())
}

fn lines(map: &[IdMap]) -> String {
    map.iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {}", line.inside, line.outside, line.count);
        text
    })
}

/// Makes a user namespace in which nothing runs, for what only its maps count for: it lives as long as the descriptor.
///
/// # Errors
/// As clone(2) and writing maps (user_namespaces(7)).
pub fn user_namespace(uids: &[IdMap], gids: &[IdMap]) -> Result<OwnedFd, Errno> {
    let args = CloneArgs {
        flags: libc::CLONE_NEWUSER as u64,
        ..CloneArgs::default()
    };
    // SAFETY: the child makes one system call and no other, again and again until it is killed.
    match unsafe { sys::process::clone(&args) }? {
        Cloned::Child => loop {
            sys::process::pause();
        },
        Cloned::Parent { pid, pidfd } => {
            let namespace = write_maps(pid, uids, gids)
                .and_then(|()| sys::process::namespace_of(pidfd.as_fd(), pid, Namespace::User));
            sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL)?;
            sys::process::wait(pidfd.as_fd(), true)?;
            namespace
        }
    }
}
