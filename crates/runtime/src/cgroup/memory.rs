//! Memory and swap.

use std::io;
use std::os::fd::BorrowedFd;

use super::directory::{Folder, keyed, read_from_start};
use super::driver::Driver;
use super::{CgroupError, Controller, Resources, Stats};

pub(super) const V1_SWAP: &str = "memory.memsw.limit_in_bytes";
pub(super) const V1_SWAPPINESS: &str = "memory.swappiness";
pub(super) const V1_OOM: &str = "memory.oom_control";
const V1_LIMIT: &str = "memory.limit_in_bytes";
const V1_SOFT: &str = "memory.soft_limit_in_bytes";
const V1_HIERARCHY: &str = "memory.use_hierarchy";
const V1_USAGE: &str = "memory.usage_in_bytes";
const V1_PEAK: &str = "memory.max_usage_in_bytes";
const V2_MAX: &str = "memory.max";
const V2_SWAP: &str = "memory.swap.max";
const V2_LOW: &str = "memory.low";
const V2_CURRENT: &str = "memory.current";
pub(super) const V2_EVENTS: &str = "memory.events";
pub(super) const STAT: &str = "memory.stat";
const OOM_KILL: &str = "oom_kill";

const SWAPPINESS: &str = "a memory swappiness";

/// Version 1 writes "no limit" as the largest multiple of the page size; nothing real comes near.
const V1_NO_LIMIT: u64 = 1 << 62;

pub(super) const DRIVER: Driver = Driver {
    controller: Controller::Memory,
    wanted,
    apply_v1,
    apply_v2,
    read_v1,
    read_v2,
};

/// Limit of memory and swap together that goes with `resources`.
fn swap_total(resources: &Resources) -> Option<i64> {
    resources.memory_swap.or_else(|| match resources.memory? {
        limit if limit > 0 && resources.keep_swap => None,
        limit if limit > 0 => Some(limit.saturating_mul(2)),
        // Lifting the one without the other would leave the sum in the way.
        _ => Some(-1),
    })
}

fn wanted(resources: &Resources) -> Option<&'static str> {
    let limit = |value: Option<i64>| value.is_some_and(|value| value > 0);
    if limit(resources.memory)
        || limit(resources.memory_swap)
        || limit(resources.memory_reservation)
    {
        Some("a memory limit")
    } else if resources.memory_swappiness.is_some() {
        Some(SWAPPINESS)
    } else {
        resources
            .oom_kill_disable
            .filter(|disable| *disable)
            .map(|_| "disabling the out-of-memory killer")
    }
}

fn apply_v1(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    let number = |value: i64| {
        if value > 0 {
            value.to_string()
        } else {
            "-1".to_owned()
        }
    };
    if resources.memory_hierarchy && folder.has(V1_HIERARCHY) {
        folder.write(V1_HIERARCHY, "1")?;
    }
    let limit = resources.memory.map(number);
    let total = swap_total(resources).map(number);
    match (limit, total) {
        (Some(limit), Some(total)) if folder.has(V1_SWAP) => limits_v1(folder, &limit, &total)?,
        (Some(limit), _) => limit_v1(folder, V1_LIMIT, &limit)?,
        (None, Some(total)) if folder.has(V1_SWAP) => limit_v1(folder, V1_SWAP, &total)?,
        (None, _) => {}
    }
    if let Some(soft) = resources.memory_reservation {
        folder.write(V1_SOFT, &number(soft))?;
    }
    if let Some(swappiness) = resources.memory_swappiness {
        folder.set(V1_SWAPPINESS, &swappiness.to_string(), SWAPPINESS)?;
    }
    match resources.oom_kill_disable {
        Some(disable) => folder.write(V1_OOM, if disable { "1" } else { "0" }),
        None => Ok(()),
    }
}

/// Sets both limits, or neither. The kernel keeps the sum at or above the memory limit after each write, so growing goes
/// with the sum first and shrinking with the memory first.
fn limits_v1(folder: &Folder<'_>, limit: &str, total: &str) -> Result<(), CgroupError> {
    let (first, second) = match limit_v1_in_turn(folder, V1_LIMIT, limit, V1_SWAP, total) {
        Err(error) if error.refused_with(libc::EINVAL) => ((V1_SWAP, total), (V1_LIMIT, limit)),
        other => return other,
    };
    limit_v1_in_turn(folder, first.0, first.1, second.0, second.1)
}

/// Sets one limit and then the other; the first is as it was when the second is refused.
fn limit_v1_in_turn(
    folder: &Folder<'_>,
    first: &str,
    value: &str,
    second: &str,
    next: &str,
) -> Result<(), CgroupError> {
    let before = folder.read(first)?;
    limit_v1(folder, first, value)?;
    limit_v1(folder, second, next).inspect_err(|_| {
        // The refusal is the one to tell.
        let _ = folder.write(first, before.trim());
    })
}

/// Sets one limit. The kernel frees what it can first, and refuses with EBUSY where more stays in use.
fn limit_v1(folder: &Folder<'_>, file: &str, value: &str) -> Result<(), CgroupError> {
    match folder.write(file, value) {
        Err(error) if error.refused_with(libc::EBUSY) => Err(CgroupError::InUse {
            limit: value.to_owned(),
            usage: folder.read_number(V1_USAGE)?,
            peak: folder.read_number(V1_PEAK)?,
        }),
        other => other,
    }
}

fn apply_v2(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    if resources.memory_swappiness.is_some() {
        return Err(CgroupError::Unsupported {
            setting: SWAPPINESS,
        });
    }
    if resources.oom_kill_disable == Some(true) {
        return Err(CgroupError::Unsupported {
            setting: "disabling the out-of-memory killer",
        });
    }
    if resources.memory_check {
        refuse_below_use(folder, resources)?;
    }
    let number = |value: i64| {
        if value > 0 {
            value.to_string()
        } else {
            "max".to_owned()
        }
    };
    if let Some(total) = swap_total(resources)
        && let Some(swap) = swap_alone(folder, resources, total)?
        && folder.has(V2_SWAP)
    {
        folder.write(V2_SWAP, &swap)?;
    }
    if let Some(limit) = resources.memory {
        folder.write(V2_MAX, &number(limit))?;
    }
    match resources.memory_reservation {
        Some(low) => folder.write(V2_LOW, &number(low)),
        None => Ok(()),
    }
}

/// Refuses limits for which the kernel would kill at once.
fn refuse_below_use(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    let asked = [
        ("memory+swap", resources.memory_swap),
        ("memory", resources.memory),
    ];
    let usage = folder.read_number(V2_CURRENT)?;
    for (what, limit) in asked {
        if let Some(limit) = limit.filter(|limit| *limit > 0)
            && limit.unsigned_abs() <= usage
        {
            return Err(CgroupError::BelowUse { what, limit, usage });
        }
    }
    Ok(())
}

/// Version 2 limits swap alone: the sum less the memory limit, which may have been set before.
fn swap_alone(
    folder: &Folder<'_>,
    resources: &Resources,
    total: i64,
) -> Result<Option<String>, CgroupError> {
    if total <= 0 {
        return Ok(Some("max".to_owned()));
    }
    let limit = match resources.memory {
        Some(limit) => Some(limit),
        None => folder.read(V2_MAX)?.trim().parse().ok(),
    };
    match limit {
        Some(limit) if limit > 0 => Ok(Some(total.saturating_sub(limit).max(0).to_string())),
        _ => Err(CgroupError::Unsupported {
            setting: "a swap limit without a memory limit",
        }),
    }
}

fn read_v1(folder: &Folder<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    stats.memory_usage = folder.read_number(V1_USAGE)?;
    stats.memory_limit = Some(folder.read_number(V1_LIMIT)?).filter(|limit| *limit < V1_NO_LIMIT);
    stats.memory_inactive_file = folder.read_keyed(STAT, "total_inactive_file")?;
    stats.oom_kills = folder.read_keyed(V1_OOM, OOM_KILL)?;
    Ok(())
}

fn read_v2(folder: &Folder<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    stats.memory_usage = folder.read_number(V2_CURRENT)?;
    stats.memory_limit = folder.read(V2_MAX)?.trim().parse().ok();
    stats.memory_inactive_file = folder.read_keyed(STAT, "inactive_file")?;
    stats.oom_kills = folder.read_keyed(V2_EVENTS, OOM_KILL)?;
    Ok(())
}

/// How many processes the kernel killed at the memory limit, read again from the descriptor that
/// [`super::Group::oom_fd`] gave.
pub fn oom_kills_by_descriptor(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let text = read_from_start(fd)?;
    match keyed(&text, OOM_KILL) {
        Some(number) => number
            .parse()
            .map_err(|_| io::ErrorKind::InvalidData.into()),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_follows_dockers_rules() {
        let total = |memory, memory_swap| {
            swap_total(&Resources {
                memory,
                memory_swap,
                ..Resources::default()
            })
        };
        assert_eq!(total(None, None), None);
        assert_eq!(total(Some(100), None), Some(200), "twice the memory");
        assert_eq!(total(Some(100), Some(100)), Some(100), "no swap");
        assert_eq!(total(Some(100), Some(-1)), Some(-1), "all swap");
        assert_eq!(total(Some(-1), None), Some(-1), "all limits are lifted");
        assert_eq!(total(Some(i64::MAX), None), Some(i64::MAX));
    }
}
