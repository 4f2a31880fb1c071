//! Landlock: rights that a process gives up for itself and its children (landlock(7)).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Result, outcome};

/// What a ruleset denies unless a rule allows it, in the kernel's layout (`struct landlock_ruleset_attr`).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct LandlockRuleset {
    /// `LANDLOCK_ACCESS_FS_*`
    pub files: u64,
    /// `LANDLOCK_ACCESS_NET_*`; since version 4.
    pub network: u64,
    /// `LANDLOCK_SCOPE_*`: what reaches no process outside; since version 6.
    pub scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which has no padding.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// `struct landlock_net_port_attr`
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// The version of the kernel's interface; 0 where it has none, or it is off.
pub fn landlock_version() -> u32 {
    /// `LANDLOCK_CREATE_RULESET_VERSION`
    const VERSION: u32 = 1;
    let none = std::ptr::null::<LandlockRuleset>();
    // SAFETY: with this flag the kernel reads nothing.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION) };
    outcome(answer).map_or(0, |version| version as u32)
}

/// Makes a ruleset without rules.
pub fn landlock_ruleset(ruleset: &LandlockRuleset) -> Result<OwnedFd> {
    // An older kernel takes a longer structure as long as it ends with zeros.
    let size = size_of::<LandlockRuleset>();
    let from = std::ptr::from_ref(ruleset);
    // SAFETY: the structure outlives the call and has the size that is told; the kernel only reads.
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, from, size, 0) };
    // SAFETY: a success is a new descriptor that nobody else has.
    outcome(answer).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Allows `access` to what `place` is and all below it. For a file, only rights over files are taken.
pub fn landlock_allow_path(
    ruleset: BorrowedFd<'_>,
    place: BorrowedFd<'_>,
    access: u64,
) -> Result<()> {
    /// `LANDLOCK_RULE_PATH_BENEATH`
    const KIND: u32 = 1;
    let rule = PathBeneath {
        allowed: access,
        parent: place.as_raw_fd(),
    };
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: the rule outlives the call; the kernel only reads.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset,
            KIND,
            &raw const rule,
            0,
        )
    })
    .map(drop)
}

/// Allows `access` to a port.
pub fn landlock_allow_port(ruleset: BorrowedFd<'_>, port: u16, access: u64) -> Result<()> {
    /// `LANDLOCK_RULE_NET_PORT`
    const KIND: u32 = 2;
    let rule = NetPort {
        allowed: access,
        port: port.into(),
    };
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: the rule outlives the call; the kernel only reads.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset,
            KIND,
            &raw const rule,
            0,
        )
    })
    .map(drop)
}

/// Gives up what the ruleset denies, for good. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn landlock_restrict(ruleset: BorrowedFd<'_>) -> Result<()> {
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: numbers.
    outcome(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) }).map(drop)
}
