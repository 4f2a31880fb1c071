//! Everything that a group counts: more than a figure or two, and slower to read than [`Stats`].

mod cpu;
mod cpuset;
mod hugetlb;
mod io;
mod memory;

use std::collections::BTreeMap;

use super::directory::Folder;
use super::{CgroupError, Controller, Group, Stats};

/// All that a group counts, by the controllers that the host has. What is not counted is 0 or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Processor time.
    pub cpu: CpuReport,
    /// Processors and memory nodes; version 1 alone.
    pub cpuset: CpusetReport,
    /// Memory and swap.
    pub memory: MemoryReport,
    /// Processes and threads.
    pub pids: u64,
    /// Limit of these; `None` without one.
    pub pids_limit: Option<u64>,
    /// Blocks read and written.
    pub io: IoReport,
    /// Huge pages, by their size as `2MB`.
    pub hugetlb: BTreeMap<String, HugetlbReport>,
}

/// Processor time in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuReport {
    /// All of it.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// All of it by processor; version 1 alone, as the next two.
    pub per_cpu: Vec<u64>,
    /// In user mode by processor.
    pub per_cpu_user: Vec<u64>,
    /// In the kernel by processor.
    pub per_cpu_system: Vec<u64>,
    /// Periods in which processes wanted to run.
    pub periods: u64,
    /// Of these, ones in which the quota was used up.
    pub throttled_periods: u64,
    /// For how long processes were held back by the quota.
    pub throttled: u64,
    /// Periods in which more than the quota was used, of what was left before.
    pub bursts: u64,
    /// How much more.
    pub burst_time: u64,
}

/// What version 1 says of a group's processors and nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpusetReport {
    /// Processors.
    pub cpus: Vec<u16>,
    /// Memory nodes.
    pub mems: Vec<u16>,
    /// Switches, by the name of their files without `cpuset.`; `sched_relax_domain_level` may be -1.
    pub switches: BTreeMap<&'static str, i64>,
}

/// A gauge with its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Bytes in use.
    pub usage: u64,
    /// The most that ever was in use; 0 where the kernel does not keep it.
    pub max: u64,
    /// The limit; without one the largest number that the kernel has for it.
    pub limit: u64,
    /// How often the limit was hit.
    pub failures: u64,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Contents of files.
    pub cache: u64,
    /// Memory.
    pub memory: Gauge,
    /// Memory and swap together.
    pub swap: Gauge,
    /// The kernel's own; version 1 alone, as the next.
    pub kernel: Gauge,
    /// Of these, buffers of TCP.
    pub kernel_tcp: Gauge,
    /// All lines of `memory.stat`.
    pub raw: BTreeMap<String, u64>,
    /// Processes that the kernel killed at the limit.
    pub oom_kills: u64,
}

/// A figure of one block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoEntry {
    /// Device number.
    pub major: u64,
    /// Device number.
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard` or `Total`.
    pub operation: String,
    /// The figure.
    pub value: u64,
}

/// Blocks read and written, groups beneath included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoReport {
    /// Bytes.
    pub bytes: Vec<IoEntry>,
    /// Requests.
    pub requests: Vec<IoEntry>,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugetlbReport {
    /// In use.
    pub usage: u64,
    /// The most that ever was; 0 on version 2.
    pub max: u64,
    /// How often the limit was hit.
    pub failures: u64,
}

impl CpuReport {
    fn of(stats: &Stats) -> Self {
        CpuReport {
            total: stats.cpu_total,
            user: stats.cpu_user,
            system: stats.cpu_system,
            periods: stats.cpu_periods,
            throttled_periods: stats.cpu_throttled_periods,
            throttled: stats.cpu_throttled,
            ..CpuReport::default()
        }
    }
}

impl Group {
    /// Reads everything that the group counts.
    ///
    /// # Errors
    /// A file that the host's version of groups has can not be read, or is not understood.
    pub fn report(&self) -> Result<Report, CgroupError> {
        self.recognise()?;
        let mut report = Report::default();
        let stats = self.stats()?;
        report.pids = stats.pids;
        report.pids_limit = stats.pids_limit;
        report.cpu = CpuReport::of(&stats);
        if let Some((folder, v1)) = self.place(Controller::Cpu)? {
            cpu::bursts(&folder, v1, &mut report.cpu)?;
        }
        if let Some(folder) = self.in_v1(Controller::Cpuacct)? {
            cpu::by_processor(&folder, &mut report.cpu)?;
            cpu::by_mode(&folder, &mut report.cpu)?;
        }
        if let Some(folder) = self.in_v1(Controller::Cpuset)? {
            report.cpuset = cpuset::read(&folder)?;
        }
        match self.place(Controller::Memory)? {
            Some((folder, true)) => report.memory = memory::read_v1(&folder)?,
            Some((folder, false)) => report.memory = memory::read_v2(&folder)?,
            None => {}
        }
        report.memory.oom_kills = stats.oom_kills;
        report.io = self.blocks()?;
        if let Some((folder, v1)) = self.place(Controller::Hugetlb)? {
            report.hugetlb = hugetlb::read(&folder, v1)?;
        }
        Ok(report)
    }

    /// Reads what an engine tells of a container, by a third of the files that [`Group::report`] opens: processor time
    /// without modes by processor and bursts, memory without swap and the kernel's, processes and blocks. The rest stays
    /// empty.
    ///
    /// # Errors
    /// As [`Group::report`].
    pub fn usage(&self) -> Result<Report, CgroupError> {
        self.recognise()?;
        let stats = self.stats_of(|one| one == Controller::Pids)?;
        Ok(Report {
            cpu: self.processor_time()?,
            memory: match self.place(Controller::Memory)? {
                Some((folder, true)) => memory::usage_v1(&folder)?,
                Some((folder, false)) => memory::usage_v2(&folder)?,
                None => MemoryReport::default(),
            },
            pids: stats.pids,
            pids_limit: stats.pids_limit,
            io: self.blocks()?,
            ..Report::default()
        })
    }

    /// Of [`Group::usage`] the processor time alone.
    ///
    /// # Errors
    /// As [`Group::report`].
    pub fn processor_time(&self) -> Result<CpuReport, CgroupError> {
        let stats = self.stats_of(|one| matches!(one, Controller::Cpu | Controller::Cpuacct))?;
        let mut cpu = CpuReport::of(&stats);
        if let Some(folder) = self.in_v1(Controller::Cpuacct)? {
            cpu::by_processor(&folder, &mut cpu)?;
        }
        Ok(cpu)
    }

    fn blocks(&self) -> Result<IoReport, CgroupError> {
        match self.place(Controller::Blkio)? {
            Some((folder, true)) => io::read_v1(&folder),
            Some((folder, false)) => io::read_v2(&folder),
            None => Ok(IoReport::default()),
        }
    }

    /// The group's folder in the version 1 hierarchy of `controller`, also where another place counts first.
    fn in_v1(&self, controller: Controller) -> Result<Option<Folder<'_>>, CgroupError> {
        match self.parent().layout().index_v1(controller) {
            Some(index) if self.is_in(index) => self.v1(index).map(Some),
            _ => Ok(None),
        }
    }
}

/// The number of a file that not every kernel has; 0 where it is missing.
fn number_if_there(folder: &Folder<'_>, file: &str) -> Result<u64, CgroupError> {
    match folder.read_if_exists(file)? {
        None => Ok(0),
        Some(text) => match text.trim() {
            "max" => Ok(u64::MAX),
            number => number.parse().map_err(|_| folder.content(file, &text)),
        },
    }
}
