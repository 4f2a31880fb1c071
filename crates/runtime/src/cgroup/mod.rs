//! Control groups: version 1, version 2 and the hybrid of both, behind one small interface.
//!
//! A container has one group at `PARENT/ID` in each hierarchy that it needs. [`Layout`] knows the host's hierarchies,
//! [`Parent`] holds the parent's folders open, and [`Group`] is a name beneath them. Each controller is a file with
//! the same parts: what it is called, what it writes for version 1 and for version 2, what it reads for statistics.
//!
//! Processes enter by themselves: through `tasks` files opened before (version 1, see
//! [`Group::entry_fds`]) and by being cloned into the unified folder. `cgroup.procs` is never written, because
//! moving a whole thread group waits for the kernel's grace periods, 5 to 14 ms.

mod controller;
mod cpu;
mod cpuset;
mod devices;
mod directory;
mod doors;
mod driver;
mod error;
mod freezer;
mod group;
mod hugetlb;
mod io;
mod kill;
mod layout;
mod memory;
mod net;
mod notice;
mod parent;
mod pids;
mod rdma;
mod removal;
mod report;
mod resources;
mod stats;
mod unified;

pub use controller::Controller;
pub use cpu::quota_of_cpus;
pub(crate) use cpu::weight_of_shares;
pub(crate) use devices::allowed as allowed_devices;
pub use doors::Doors;
pub use error::CgroupError;
pub use group::{Group, HierarchyView, View};
pub use kill::{clear_by_descriptor, kill_by_descriptor};
pub use layout::{Layout, Support};
pub use memory::oom_kills_by_descriptor;
pub use notice::{Pressure, Watch};
pub use parent::Parent;
pub use report::{
    CpuReport, CpusetReport, Gauge, HugetlbReport, IoEntry, IoReport, MemoryReport, Report,
};
pub use resources::{
    Access, BlockIo, DeviceKind, DeviceRate, DeviceRule, DeviceWeight, RdmaLimit, Resources,
    default_device_rules,
};
pub use stats::Stats;
