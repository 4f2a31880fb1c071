//! Memory, all of it.

use std::collections::BTreeMap;

use super::{Gauge, MemoryReport, number_if_there};
use crate::cgroup::CgroupError;
use crate::cgroup::directory::{Folder, keyed};
use crate::cgroup::memory::{STAT, V2_EVENTS};

/// Lines of `memory.stat` that are read.
const MOST_LINES: usize = 512;

pub(super) fn read_v1(folder: &Folder<'_>) -> Result<MemoryReport, CgroupError> {
    Ok(MemoryReport {
        swap: gauge_v1(folder, "memsw.")?,
        kernel: gauge_v1(folder, "kmem.")?,
        kernel_tcp: gauge_v1(folder, "kmem.tcp.")?,
        ..usage_v1(folder)?
    })
}

/// Memory without swap and the kernel's.
pub(super) fn usage_v1(folder: &Folder<'_>) -> Result<MemoryReport, CgroupError> {
    let raw = stat(folder)?;
    Ok(MemoryReport {
        cache: raw.get("cache").copied().unwrap_or(0),
        memory: gauge_v1(folder, "")?,
        raw,
        ..MemoryReport::default()
    })
}

/// The gauge whose files begin with `name` after `memory.`.
fn gauge_v1(folder: &Folder<'_>, name: &str) -> Result<Gauge, CgroupError> {
    let number = |file: &str| number_if_there(folder, &format!("memory.{name}{file}"));
    Ok(Gauge {
        usage: number("usage_in_bytes")?,
        max: number("max_usage_in_bytes")?,
        limit: number("limit_in_bytes")?,
        failures: number("failcnt")?,
    })
}

/// Version 2 has swap alone; memory is added to it, as version 1 counts.
pub(super) fn read_v2(folder: &Folder<'_>) -> Result<MemoryReport, CgroupError> {
    let usage = usage_v2(folder)?;
    let memory = usage.memory;
    Ok(MemoryReport {
        swap: Gauge {
            usage: number_if_there(folder, "memory.swap.current")?.saturating_add(memory.usage),
            max: 0,
            limit: number_if_there(folder, "memory.swap.max")?.saturating_add(memory.limit),
            failures: failures_v2(folder, "memory.swap.events")?,
        },
        ..usage
    })
}

/// Memory without swap.
pub(super) fn usage_v2(folder: &Folder<'_>) -> Result<MemoryReport, CgroupError> {
    let raw = stat(folder)?;
    Ok(MemoryReport {
        cache: raw.get("file").copied().unwrap_or(0),
        memory: Gauge {
            usage: number_if_there(folder, "memory.current")?,
            max: number_if_there(folder, "memory.peak")?,
            limit: number_if_there(folder, "memory.max")?,
            failures: failures_v2(folder, V2_EVENTS)?,
        },
        raw,
        ..MemoryReport::default()
    })
}

/// How often a limit was hit, by a file of events.
fn failures_v2(folder: &Folder<'_>, file: &str) -> Result<u64, CgroupError> {
    let text = folder.read_if_exists(file)?;
    let max = text.as_deref().and_then(|text| keyed(text, "max"));
    Ok(max.and_then(|value| value.parse().ok()).unwrap_or(0))
}

fn stat(folder: &Folder<'_>) -> Result<BTreeMap<String, u64>, CgroupError> {
    let text = folder.read(STAT)?;
    let lines = text.lines().take(MOST_LINES).filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.parse().ok()?))
    });
    Ok(lines.collect())
}
