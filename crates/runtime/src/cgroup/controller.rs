//! The kernel's controllers, by name.

use std::fmt;

/// What a group can limit or count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Accounting of processor time; part of the core in version 2.
    Cpuacct,
    /// Processors and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Number of processes and threads.
    Pids,
    /// Device files; a program of the caller's in version 2.
    Devices,
    /// Stopping and resuming; part of the core in version 2.
    Freezer,
    /// Block devices: weights, rates and accounting. Version 2 calls it `io`.
    Blkio,
    /// Huge pages.
    Hugetlb,
    /// Marks of network packets, for filters; version 1 alone.
    NetCls,
    /// Priorities of network packets; version 1 alone.
    NetPrio,
    /// Groups as the unit of performance counters; part of the core in version 2.
    PerfEvent,
    /// Remote direct memory access.
    Rdma,
    /// Scalar resources that have no controller of their own.
    Misc,
}

impl Controller {
    pub(super) const ALL: [Controller; 14] = [
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Pids,
        Controller::Devices,
        Controller::Freezer,
        Controller::Blkio,
        Controller::Hugetlb,
        Controller::NetCls,
        Controller::NetPrio,
        Controller::PerfEvent,
        Controller::Rdma,
        Controller::Misc,
    ];

    /// Those that a group of the unified tree has only when something asks for them: each costs a start time.
    pub(super) const ON_REQUEST: [Controller; 4] = [
        Controller::Blkio,
        Controller::Hugetlb,
        Controller::Rdma,
        Controller::Misc,
    ];

    /// The kernel's name, in version 1 where the two differ.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
            Controller::Blkio => "blkio",
            Controller::Hugetlb => "hugetlb",
            Controller::NetCls => "net_cls",
            Controller::NetPrio => "net_prio",
            Controller::PerfEvent => "perf_event",
            Controller::Rdma => "rdma",
            Controller::Misc => "misc",
        }
    }

    /// The name in the unified tree.
    pub(super) fn unified_name(self) -> &'static str {
        match self {
            Controller::Blkio => "io",
            other => other.name(),
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Controller> {
        Controller::ALL
            .into_iter()
            .find(|controller| controller.name() == name)
    }

    pub(super) fn from_unified_name(name: &str) -> Option<Controller> {
        Controller::ALL
            .into_iter()
            .find(|controller| controller.unified_name() == name)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
