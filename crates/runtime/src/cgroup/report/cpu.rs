//! Processor time by processor, and bursts.

use super::CpuReport;
use crate::cgroup::CgroupError;
use crate::cgroup::directory::{Folder, keyed};

/// The most processors that are read.
const MOST: usize = 8192;

/// Bursts of either version, which count nanoseconds and microseconds.
pub(super) fn bursts(
    folder: &Folder<'_>,
    v1: bool,
    cpu: &mut CpuReport,
) -> Result<(), CgroupError> {
    let text = folder.read(crate::cgroup::cpu::STAT)?;
    let number = |key| {
        keyed(&text, key)
            .and_then(|value| value.parse::<u64>().ok())
            .unwrap_or(0)
    };
    cpu.bursts = number("nr_bursts");
    cpu.burst_time = if v1 {
        number("burst_time")
    } else {
        number("burst_usec").saturating_mul(1_000)
    };
    Ok(())
}

/// What version 1 counts for each processor.
pub(super) fn by_processor(folder: &Folder<'_>, cpu: &mut CpuReport) -> Result<(), CgroupError> {
    let all = folder.read_if_exists("cpuacct.usage_percpu")?;
    cpu.per_cpu = all
        .iter()
        .flat_map(|text| text.split_ascii_whitespace())
        .filter_map(|word| word.parse().ok())
        .take(MOST)
        .collect();
    Ok(())
}

/// The same in user mode and in the kernel.
pub(super) fn by_mode(folder: &Folder<'_>, cpu: &mut CpuReport) -> Result<(), CgroupError> {
    let Some(table) = folder.read_if_exists("cpuacct.usage_all")? else {
        return Ok(());
    };
    // The first line has the names: processor, user, system.
    for line in table.lines().skip(1).take(MOST) {
        let numbers: Vec<u64> = line
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        if let [_, user, system] = numbers[..] {
            cpu.per_cpu_user.push(user);
            cpu.per_cpu_system.push(system);
        }
    }
    Ok(())
}
