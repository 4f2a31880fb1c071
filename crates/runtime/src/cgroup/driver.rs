//! What each controller offers, and the list of them.

use super::directory::Folder;
use super::{
    CgroupError, Controller, Resources, Stats, cpu, cpuset, devices, hugetlb, io, memory, net,
    pids, rdma,
};

/// What a controller's file offers.
pub(super) struct Driver {
    pub(super) controller: Controller,
    /// The setting that needs the controller, if any of its settings is asked for.
    pub(super) wanted: fn(&Resources) -> Option<&'static str>,
    pub(super) apply_v1: fn(&Folder<'_>, &Resources) -> Result<(), CgroupError>,
    pub(super) apply_v2: fn(&Folder<'_>, &Resources) -> Result<(), CgroupError>,
    pub(super) read_v1: fn(&Folder<'_>, &mut Stats) -> Result<(), CgroupError>,
    pub(super) read_v2: fn(&Folder<'_>, &mut Stats) -> Result<(), CgroupError>,
}

/// Settings are applied, and figures are read, in this order.
pub(super) const DRIVERS: [Driver; 11] = [
    memory::DRIVER,
    cpu::DRIVER,
    cpu::ACCOUNTING,
    cpuset::DRIVER,
    pids::DRIVER,
    devices::DRIVER,
    io::DRIVER,
    hugetlb::DRIVER,
    net::CLASS,
    net::PRIORITY,
    rdma::DRIVER,
];
