//! What groups count.

/// Counters and gauges of a group. What the host does not count is 0 or `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of memory in use, page cache included.
    pub memory_usage: u64,
    /// Of these, pages of files that are not in active use.
    pub memory_inactive_file: u64,
    /// Limit of memory in bytes; `None` without one.
    pub memory_limit: Option<u64>,
    /// Processes that the kernel killed at the memory limit.
    pub oom_kills: u64,
    /// Processor time in nanoseconds.
    pub cpu_total: u64,
    /// Of these, in user mode.
    pub cpu_user: u64,
    /// Of these, in the kernel.
    pub cpu_system: u64,
    /// Periods in which processes wanted to run.
    pub cpu_periods: u64,
    /// Of these, ones in which the quota was used up.
    pub cpu_throttled_periods: u64,
    /// Nanoseconds for which processes were held back by the quota.
    pub cpu_throttled: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Limit of these; `None` without one.
    pub pids_limit: Option<u64>,
}
