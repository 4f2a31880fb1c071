//! Resource limits and scheduling.

use super::{Result, outcome};

/// Sets a resource's limits for the calling process. `resource` is an `RLIMIT_*` number.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` outlives the call; the old limits are not asked for.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            &raw const limit,
            std::ptr::null::<libc::rlimit64>(),
        )
    };
    outcome(answer).map(drop)
}

/// Reads a resource's limits (soft, hard) of the calling process.
pub fn limit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives the call; no new limits are given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    };
    outcome(answer).map(|_| (limit.rlim_cur, limit.rlim_max))
}

/// Sets the execution domain.
pub fn set_personality(persona: u32) -> Result<()> {
    // SAFETY: a number.
    outcome(unsafe { libc::personality(persona.into()) }.into()).map(drop)
}

/// Sets the i/o priority of the calling process: class << 13 | level.
pub fn set_io_priority(priority: u32) -> Result<()> {
    /// `IOPRIO_WHO_PROCESS`
    const PROCESS: i32 = 1;
    // SAFETY: numbers.
    outcome(unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, 0, priority) }).map(drop)
}

/// Chooses the nodes that memory of the calling thread, and of what it executes, comes from (set_mempolicy(2)): `nodes` has
/// a bit for each. `EINVAL` where the mode wants others, or none of them may be used here.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel counts one bit more than it looks at.
    let (mask, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        nodes => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: the kernel reads as many bits as the slice has.
    outcome(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

/// A scheduling policy in the kernel's layout (`struct sched_attr`, its first version).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct SchedulingAttributes {
    /// The structure's size in bytes; [`set_scheduler`] fills it in.
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority.
    pub priority: u32,
    /// SCHED_DEADLINE: nanoseconds.
    pub runtime: u64,
    /// SCHED_DEADLINE: nanoseconds.
    pub deadline: u64,
    /// SCHED_DEADLINE: nanoseconds.
    pub period: u64,
}

/// Sets the scheduling policy of the calling thread.
pub fn set_scheduler(attributes: SchedulingAttributes) -> Result<()> {
    let attributes = SchedulingAttributes {
        size: size_of::<SchedulingAttributes>() as u32,
        ..attributes
    };
    // SAFETY: the structure outlives the call and holds its size; the kernel only reads.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
        .map(drop)
}

/// Keeps the calling thread on the processors of `set`, a bit each (sched_setaffinity(2)). `EINVAL` where none of them is
/// one that it may run on.
pub fn set_affinity(set: &[u8]) -> Result<()> {
    // SAFETY: pointer and length are the slice's; the kernel only reads.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, set.len(), set.as_ptr()) })
        .map(drop)
}

/// Raises the hard limit of another process (or, with 0, the caller) to at least `hard`; the soft limit stays.
pub fn raise_hard_limit(pid: i32, resource: u32, hard: u64) -> Result<()> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives the call; no new limits are given.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    })?;
    if limit.rlim_max >= hard {
        return Ok(());
    }
    limit.rlim_max = hard;
    // SAFETY: `limit` outlives the call; the old limits are not asked for.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            &raw const limit,
            std::ptr::null::<libc::rlimit64>(),
        )
    })
    .map(drop)
}
