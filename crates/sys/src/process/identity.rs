//! Who a process is and what it may do: users, groups, capabilities, filters of system calls, keyrings.

use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::{Result, outcome, prctl};

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

/// Joins the session keyring of the given name, so that the former one is out of reach. It is a new one unless there is
/// one of that name that [`share_keyring`] was called for by the same user.
pub fn join_session_keyring(name: &CStr) -> Result<i32> {
    /// `KEYCTL_JOIN_SESSION_KEYRING`
    const JOIN: i32 = 1;
    // SAFETY: the name ends with a NUL and outlives the call.
    outcome(unsafe { libc::syscall(libc::SYS_keyctl, JOIN, name.as_ptr()) })
        .map(|serial| serial as i32)
}

/// Lets later processes of the same user join a session keyring that this process has made.
pub fn share_keyring(serial: i32) -> Result<()> {
    /// `KEYCTL_SETPERM`
    const SET_PERMISSIONS: i32 = 5;
    /// What the kernel gives a new session keyring (all for who possesses it; view, read and link for its owner), and
    /// the owner's right to search.
    const SEARCHABLE: u32 = 0x3f1b_0000;
    // SAFETY: numbers.
    outcome(unsafe { libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, serial, SEARCHABLE) })
        .map(drop)
}
