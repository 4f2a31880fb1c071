//! Processor time: shares, quota, bursts, real time and what was used.

use super::directory::{Folder, keyed};
use super::driver::Driver;
use super::{CgroupError, Controller, Resources, Stats};

pub(super) const V1_QUOTA: &str = "cpu.cfs_quota_us";
const V1_PERIOD: &str = "cpu.cfs_period_us";
const V1_SHARES: &str = "cpu.shares";
const V2_WEIGHT: &str = "cpu.weight";
const V2_MAX: &str = "cpu.max";
const V1_BURST: &str = "cpu.cfs_burst_us";
const V2_BURST: &str = "cpu.max.burst";
/// Both versions have it, since Linux 5.15.
const IDLE_FILE: &str = "cpu.idle";
const V1_RT_RUNTIME: &str = "cpu.rt_runtime_us";
const V1_RT_PERIOD: &str = "cpu.rt_period_us";
pub(super) const STAT: &str = "cpu.stat";

const BURST: &str = "a burst above the processor quota";
const IDLE: &str = "an idle group (cpu.idle)";
const REALTIME: &str = "time of real-time scheduling (cpu.rt_runtime_us)";

/// The kernel's period in microseconds where none is given.
const USUAL_PERIOD: u64 = 100_000;

pub(super) const DRIVER: Driver = Driver {
    controller: Controller::Cpu,
    wanted,
    apply_v1,
    apply_v2,
    read_v1,
    read_v2,
};

/// Used processor time, which version 1 has in a controller of its own.
pub(super) const ACCOUNTING: Driver = Driver {
    controller: Controller::Cpuacct,
    wanted: |_| None,
    apply_v1: |_, _| Ok(()),
    apply_v2: |_, _| Ok(()),
    read_v1: read_accounting_v1,
    read_v2: read_accounting_v2,
};

/// Quota and period in microseconds for a number of processors given in billionths, as Docker's NanoCpus.
pub fn quota_of_cpus(nano_cpus: u64) -> (i64, u64) {
    let quota = u128::from(nano_cpus) * u128::from(USUAL_PERIOD) / 1_000_000_000;
    (i64::try_from(quota).unwrap_or(i64::MAX), USUAL_PERIOD)
}

fn wanted(resources: &Resources) -> Option<&'static str> {
    let set = |value: Option<i64>| value.is_some_and(|value| value > 0);
    let positive = |value: Option<u64>| value.is_some_and(|value| value > 0);
    if set(resources.cpu_quota) || resources.cpu_period.is_some() {
        Some("a processor quota")
    } else if positive(resources.cpu_burst) {
        Some(BURST)
    } else if set(resources.cpu_idle) {
        Some(IDLE)
    } else if resources.cpu_rt_runtime.is_some() || resources.cpu_rt_period.is_some() {
        Some(REALTIME)
    } else {
        resources.cpu_shares.map(|_| "a processor share")
    }
}

fn apply_v1(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    weigh(folder, resources, &|shares| {
        folder.write(V1_SHARES, &shares.to_string())
    })?;
    let quota = resources.cpu_quota.map(|quota| {
        if quota > 0 {
            quota.to_string()
        } else {
            "-1".to_owned()
        }
    });
    let period = resources.cpu_period.map(|period| period.to_string());
    // Neither order always works: each value in between must go with those that are there, and with the parent's.
    let mut later = Vec::new();
    if let Some(period) = &period {
        match folder.write(V1_PERIOD, period) {
            Err(error) if quota.is_some() && error.refused_with(libc::EINVAL) => {
                later.push((V1_PERIOD, period.clone()));
            }
            other => other?,
        }
    }
    later.extend(burst(folder, V1_BURST, resources, quota.is_some())?);
    if let Some(quota) = quota {
        folder.write(V1_QUOTA, &quota)?;
    }
    for (file, value) in later {
        folder.write(file, &value)?;
    }
    realtime(folder, resources)
}

fn apply_v2(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    if resources.cpu_rt_runtime.is_some() || resources.cpu_rt_period.is_some() {
        return Err(CgroupError::Unsupported { setting: REALTIME });
    }
    weigh(folder, resources, &|shares| {
        folder.write(V2_WEIGHT, &weight_of_shares(shares).to_string())
    })?;
    let limited = resources.cpu_quota.is_some() || resources.cpu_period.is_some();
    let later = burst(folder, V2_BURST, resources, limited)?;
    if limited {
        let quota = match resources.cpu_quota {
            Some(quota) if quota > 0 => quota.to_string(),
            Some(_) => "max".to_owned(),
            // Only the period changes, and the file takes no period alone.
            None => folder
                .read(V2_MAX)?
                .split_ascii_whitespace()
                .next()
                .unwrap_or("max")
                .to_owned(),
        };
        match resources.cpu_period {
            Some(period) => folder.write(V2_MAX, &format!("{quota} {period}"))?,
            None => folder.write(V2_MAX, &quota)?,
        }
    }
    match later {
        Some((file, value)) => folder.write(file, &value),
        None => Ok(()),
    }
}

/// Sets the share by `write`, and whether the group is idle. An idle group takes no share.
fn weigh(
    folder: &Folder<'_>,
    resources: &Resources,
    write: &dyn Fn(u64) -> Result<(), CgroupError>,
) -> Result<(), CgroupError> {
    let idle = resources.cpu_idle.map(|idle| (idle, idle.to_string()));
    match &idle {
        Some((0, value)) if folder.has(IDLE_FILE) => folder.write(IDLE_FILE, value)?,
        _ => {}
    }
    if let Some(shares) = resources.cpu_shares {
        write(shares)?;
    }
    match idle {
        None | Some((0, _)) => Ok(()),
        Some((_, value)) => folder.set(IDLE_FILE, &value, IDLE),
    }
}

/// Sets the burst, which goes with no quota below it: what is refused beside the old one is returned, to be written
/// after the new.
fn burst(
    folder: &Folder<'_>,
    file: &'static str,
    resources: &Resources,
    has_quota: bool,
) -> Result<Option<(&'static str, String)>, CgroupError> {
    let value = match resources.cpu_burst {
        None => return Ok(None),
        Some(0) if !folder.has(file) => return Ok(None),
        Some(burst) => burst.to_string(),
    };
    match folder.set(file, &value, BURST) {
        Err(error) if has_quota && error.refused_with(libc::EINVAL) => Ok(Some((file, value))),
        other => other.map(|()| None),
    }
}

/// Sets the time of real-time scheduling, which the group above must have to give.
fn realtime(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    let runtime = resources.cpu_rt_runtime;
    let mut period = resources.cpu_rt_period.map(|period| period.to_string());
    if let Some(value) = &period {
        match folder.set(V1_RT_PERIOD, value, REALTIME) {
            // Shorter than the time that is there.
            Err(error) if runtime.is_some() && error.refused_with(libc::EINVAL) => {}
            other => {
                other?;
                period = None;
            }
        }
    }
    if let Some(value) = runtime {
        match folder.set(V1_RT_RUNTIME, &value.to_string(), REALTIME) {
            Err(error) if error.refused_with(libc::EINVAL) => {
                let above = folder.read(&format!("../{V1_RT_RUNTIME}"))?;
                return Err(CgroupError::NoRealtime {
                    path: folder.full(V1_RT_RUNTIME),
                    value,
                    above: above.trim().to_owned(),
                });
            }
            other => other?,
        }
    }
    match period {
        Some(value) => folder.write(V1_RT_PERIOD, &value),
        None => Ok(()),
    }
}

/// The weight, 1 to 10,000, that stands for `shares`, 2 to 262,144: the ends and the usual values (1,024 and 100)
/// meet, with a quadratic curve through their logarithms.
pub(crate) fn weight_of_shares(shares: u64) -> u64 {
    let log = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // Rounded up, but not because of the last binary digits.
    let weight = (10f64.powf(exponent) - 1e-6).ceil();
    (weight as u64).clamp(1, 10_000)
}

fn read_v1(folder: &Folder<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    read_throttling(folder, stats, "throttled_time", 1)
}

fn read_v2(folder: &Folder<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    read_throttling(folder, stats, "throttled_usec", 1_000)
}

/// Reads how often the quota was used up; `time` names the time, in units of `unit` nanoseconds.
fn read_throttling(
    folder: &Folder<'_>,
    stats: &mut Stats,
    time: &str,
    unit: u64,
) -> Result<(), CgroupError> {
    let text = folder.read(STAT)?;
    let number = |key| {
        keyed(&text, key)
            .and_then(|value| value.parse::<u64>().ok())
            .unwrap_or(0)
    };
    stats.cpu_periods = number("nr_periods");
    stats.cpu_throttled_periods = number("nr_throttled");
    stats.cpu_throttled = number(time).saturating_mul(unit);
    Ok(())
}

fn read_accounting_v1(folder: &Folder<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    stats.cpu_total = folder.read_number("cpuacct.usage")?;
    stats.cpu_user = folder.read_number("cpuacct.usage_user")?;
    stats.cpu_system = folder.read_number("cpuacct.usage_sys")?;
    Ok(())
}

fn read_accounting_v2(folder: &Folder<'_>, stats: &mut Stats) -> Result<(), CgroupError> {
    let text = folder.read(STAT)?;
    let nanoseconds = |key| {
        let microseconds = keyed(&text, key)
            .and_then(|value| value.parse::<u64>().ok())
            .unwrap_or(0);
        microseconds.saturating_mul(1_000)
    };
    stats.cpu_total = nanoseconds("usage_usec");
    stats.cpu_user = nanoseconds("user_usec");
    stats.cpu_system = nanoseconds("system_usec");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_weights_meet_at_the_usual_values() {
        assert_eq!(
            [0, 2, 1024, 262_144, u64::MAX].map(weight_of_shares),
            [1, 1, 100, 10_000, 10_000]
        );
        let weights: Vec<u64> = (1..19).map(|bits| weight_of_shares(1 << bits)).collect();
        assert!(weights.is_sorted(), "{weights:?}");
    }

    #[test]
    fn cpus_become_a_quota() {
        assert_eq!(quota_of_cpus(1_500_000_000), (150_000, 100_000));
        assert_eq!(quota_of_cpus(10_000_000), (1_000, 100_000));
    }
}
