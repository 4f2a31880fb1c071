//! Processors and memory nodes of version 1.

use super::CpusetReport;
use crate::cgroup::CgroupError;
use crate::cgroup::directory::Folder;

/// The most processors or nodes that a list is taken to have.
const MOST: usize = 8192;

const SWITCHES: [&str; 9] = [
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
];

pub(super) fn read(folder: &Folder<'_>) -> Result<CpusetReport, CgroupError> {
    let mut report = CpusetReport {
        cpus: list(&folder.read("cpuset.cpus")?),
        mems: list(&folder.read("cpuset.mems")?),
        ..CpusetReport::default()
    };
    for switch in SWITCHES {
        let file = format!("cpuset.{switch}");
        let text = folder.read_if_exists(&file)?;
        let value = text.as_deref().map_or(Ok(0), |text| {
            text.trim().parse().map_err(|_| folder.content(&file, text))
        })?;
        report.switches.insert(switch, value);
    }
    Ok(report)
}

/// The numbers of a list such as `0-2,4`.
fn list(text: &str) -> Vec<u16> {
    let ranges = text.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    });
    ranges.flatten().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        assert_eq!(list("0-2,4\n"), [0, 1, 2, 4]);
        assert!(list("\n").is_empty());
        assert_eq!(list("0-65535\n").len(), MOST);
    }
}
