//! Flags that `run`, `create` and `update` share: what a container may use.

use super::{disks, values};
use crate::flag::Flag;

pub(crate) const BLKIO_WEIGHT: Flag = Flag::one(
    "blkio-weight",
    "uint16",
    "Block IO weight, between 10 and 1000",
)
.checked(disks::weight_checked);

pub(crate) const CPU_PERIOD: Flag = Flag::one(
    "cpu-period",
    "int",
    "CPU period of the fair scheduler, in microseconds",
);

pub(crate) const CPU_QUOTA: Flag = Flag::one(
    "cpu-quota",
    "int",
    "CPU quota of the fair scheduler, in microseconds a period",
);

pub(crate) const CPU_RT_PERIOD: Flag = Flag::one(
    "cpu-rt-period",
    "int",
    "CPU real-time period, in microseconds",
);

pub(crate) const CPU_RT_RUNTIME: Flag = Flag::one(
    "cpu-rt-runtime",
    "int",
    "CPU real-time runtime, in microseconds",
);

pub(crate) const CPU_SHARES: Flag =
    Flag::one("cpu-shares", "int", "CPU shares (relative weight)").letter('c');

pub(crate) const CPUS: Flag =
    Flag::one("cpus", "decimal", "Number of CPUs").checked(values::nano_cpus_checked);

pub(crate) const CPUSET_CPUS: Flag = Flag::one(
    "cpuset-cpus",
    "string",
    "CPUs in which to allow execution (0-3, 0,1)",
);

pub(crate) const CPUSET_MEMS: Flag = Flag::one(
    "cpuset-mems",
    "string",
    "Memory nodes in which to allow execution (0-3, 0,1)",
);

pub(crate) const KERNEL_MEMORY: Flag =
    Flag::one("kernel-memory", "bytes", "Kernel memory limit").checked(values::bytes_checked);

pub(crate) const MEMORY: Flag = Flag::one("memory", "bytes", "Memory limit")
    .checked(values::bytes_checked)
    .letter('m');

pub(crate) const MEMORY_RESERVATION: Flag =
    Flag::one("memory-reservation", "bytes", "Memory soft limit").checked(values::bytes_checked);

pub(crate) const MEMORY_SWAP: Flag = Flag::one(
    "memory-swap",
    "bytes",
    "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
)
.checked(values::bytes_or_unlimited_checked);

pub(crate) const PIDS_LIMIT: Flag = Flag::one(
    "pids-limit",
    "int",
    "Tune container pids limit (set -1 for unlimited)",
);

pub(crate) const RESTART: Flag = Flag::one(
    "restart",
    "string",
    "Restart policy to apply when a container exits",
);
