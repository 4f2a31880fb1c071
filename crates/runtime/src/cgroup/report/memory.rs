//! Memory, all of it.

use std::collections::BTreeMap;

use super::{Gauge, MemoryReport, number_if_there};
use crate::cgroup::CgroupError;
use crate::cgroup::directory::{Folder, keyed};
use crate::cgroup::memory::{STAT, V2_EVENTS};

/// Lines of `memory.stat` that are read.
const MOST_LINES: usize = 512;

pub(super) fn read_v1(folder: &Folder<'_>) -> Result<MemoryReport, CgroupError> {
    let gauge = |name: &str| {
        let number = |file: &str| number_if_there(folder, &format!("memory.{name}{file}"));
        Ok::<_, CgroupError>(Gauge {
            usage: number("usage_in_bytes")?,
            max: number("max_usage_in_bytes")?,
            limit: number("limit_in_bytes")?,
            failures: number("failcnt")?,
        })
    };
    let raw = stat(folder)?;
    Ok(MemoryReport {
        cache: raw.get("cache").copied().unwrap_or(0),
        memory: gauge("")?,
        swap: gauge("memsw.")?,
        kernel: gauge("kmem.")?,
        kernel_tcp: gauge("kmem.tcp.")?,
        raw,
        oom_kills: 0,
    })
}

/// Version 2 has swap alone; memory is added to it, as version 1 counts.
pub(super) fn read_v2(folder: &Folder<'_>) -> Result<MemoryReport, CgroupError> {
    let number = |file: &str| number_if_there(folder, file);
    let failures = |file: &str| {
        let text = folder.read_if_exists(file)?;
        let max = text.as_deref().and_then(|text| keyed(text, "max"));
        Ok::<_, CgroupError>(max.and_then(|value| value.parse().ok()).unwrap_or(0))
    };
    let raw = stat(folder)?;
    let memory = Gauge {
        usage: number("memory.current")?,
        max: number("memory.peak")?,
        limit: number("memory.max")?,
        failures: failures(V2_EVENTS)?,
    };
    let swap = Gauge {
        usage: number("memory.swap.current")?.saturating_add(memory.usage),
        max: 0,
        limit: number("memory.swap.max")?.saturating_add(memory.limit),
        failures: failures("memory.swap.events")?,
    };
    Ok(MemoryReport {
        cache: raw.get("file").copied().unwrap_or(0),
        memory,
        swap,
        kernel: Gauge::default(),
        kernel_tcp: Gauge::default(),
        raw,
        oom_kills: 0,
    })
}

fn stat(folder: &Folder<'_>) -> Result<BTreeMap<String, u64>, CgroupError> {
    let text = folder.read(STAT)?;
    let lines = text.lines().take(MOST_LINES).filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.parse().ok()?))
    });
    Ok(lines.collect())
}
