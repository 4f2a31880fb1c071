//! A group's limits as properties of its unit: systemd writes its own idea of them to the group's files again whenever it
//! is reloaded, so that it has to know.

use super::wire::Value;
use crate::cgroup::{DeviceKind, DeviceRule, Resources, allowed_devices, weight_of_shares};

/// The longest list of processors that is told.
const MOST_PROCESSORS: u32 = 8192;
/// systemd's units of a quota, in microseconds a second.
const QUOTA_STEP: u64 = 10_000;

/// What `resources` ask for, in the words of a host of cgroup version 1 or 2.
pub(super) fn of(resources: &Resources, v2: bool) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    let unlimited = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let bytes = |value: i64| Value::Number(unlimited(value).unwrap_or(u64::MAX));
    if let Some(limit) = resources.memory {
        all.push((if v2 { "MemoryMax" } else { "MemoryLimit" }, bytes(limit)));
    }
    if v2 {
        if let Some(low) = resources.memory_reservation {
            all.push(("MemoryLow", bytes(low)));
        }
        if let Some(total) = resources.memory_swap {
            let alone = match (unlimited(total), resources.memory.and_then(unlimited)) {
                (Some(total), Some(memory)) => total.saturating_sub(memory),
                _ => u64::MAX,
            };
            all.push(("MemorySwapMax", Value::Number(alone)));
        }
        if let Some(cpus) = &resources.cpuset_cpus {
            all.extend(bits(cpus).map(|bits| ("AllowedCPUs", Value::Bytes(bits))));
        }
        if let Some(mems) = &resources.cpuset_mems {
            all.extend(bits(mems).map(|bits| ("AllowedMemoryNodes", Value::Bytes(bits))));
        }
    }
    if let Some(shares) = resources.cpu_shares {
        all.push(if v2 {
            ("CPUWeight", Value::Number(weight_of_shares(shares)))
        } else {
            ("CPUShares", Value::Number(shares))
        });
    }
    if resources.cpu_quota.is_some() || resources.cpu_period.is_some() {
        all.extend(quota(resources));
    }
    if let Some(max) = resources.pids_max {
        all.push(("TasksMax", bytes(max)));
    }
    if let (Some(weight), false) = (resources.block_io.weight, v2) {
        all.push(("BlockIOWeight", Value::Number(weight.into())));
    }
    // Version 1 has no program that stays beside systemd's own rules, which without a list are to allow everything.
    if let (Some(rules), false) = (&resources.devices, v2)
        && let Some(allowed) = allowed_devices(rules)
    {
        all.push(("DevicePolicy", Value::Text("strict".to_owned())));
        let pairs = allowed.iter().filter_map(device).collect();
        all.push(("DeviceAllow", Value::Pairs(pairs)));
    }
    all
}

/// A device by its node or its kind, and what may be done with it.
fn device(rule: &DeviceRule) -> Option<(String, String)> {
    let kind = match rule.kind {
        DeviceKind::Block => "block",
        _ => "char",
    };
    let name = match (rule.major, rule.minor) {
        (None, None) => format!("{kind}-*"),
        (Some(major), None) => format!("{kind}-{major}"),
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        // It knows no minor numbers of all majors.
        (None, Some(_)) => return None,
    };
    Some((name, rule.access.letters()))
}

/// The quota as time a second, in systemd's units and never less than asked for.
fn quota(resources: &Resources) -> Vec<(&'static str, Value)> {
    let period = resources.cpu_period.unwrap_or(100_000).max(1);
    let mut all = Vec::new();
    if let Some(period) = resources.cpu_period {
        all.push(("CPUQuotaPeriodUSec", Value::Number(period)));
    }
    if let Some(quota) = resources.cpu_quota {
        let a_second = match u64::try_from(quota) {
            Ok(quota) if quota > 0 => {
                let exact = quota.saturating_mul(1_000_000) / period;
                exact.div_ceil(QUOTA_STEP).saturating_mul(QUOTA_STEP)
            }
            _ => u64::MAX,
        };
        all.push(("CPUQuotaPerSecUSec", Value::Number(a_second)));
    }
    all
}

/// A list such as `0-2,4` as bits, the lowest first; `None` for what is no list.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST_PROCESSORS {
            return None;
        }
        for number in first..=last {
            let at = number as usize / 8;
            if bits.len() <= at {
                bits.resize(at + 1, 0);
            }
            bits[at] |= 1 << (number % 8);
        }
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_bits() {
        assert_eq!(bits("0-2,4"), Some(vec![0b1_0111]));
        assert_eq!(bits("9"), Some(vec![0, 2]));
        assert_eq!(bits("a"), None);
        assert_eq!(bits("0-4294967295"), None);
    }

    #[test]
    fn devices_are_named_as_systemd_knows_them() {
        let resources = Resources {
            devices: Some(crate::cgroup::default_device_rules()),
            ..Default::default()
        };
        let all = of(&resources, false);
        assert_eq!(all[0].1, Value::Text("strict".to_owned()));
        let Value::Pairs(pairs) = &all[1].1 else {
            panic!("{all:?}")
        };
        for (node, access) in [
            ("char-*", "m"),
            ("block-*", "m"),
            ("/dev/char/1:3", "rwm"),
            ("char-136", "rwm"),
        ] {
            assert!(
                pairs.contains(&(node.to_owned(), access.to_owned())),
                "{pairs:?}"
            );
        }
        assert!(of(&resources, true).is_empty());
    }

    #[test]
    fn limits_have_systemds_names() {
        let resources = Resources {
            memory: Some(100),
            memory_swap: Some(150),
            cpu_quota: Some(33_333),
            cpu_period: Some(100_000),
            cpu_shares: Some(1024),
            pids_max: Some(-1),
            ..Default::default()
        };
        assert_eq!(
            of(&resources, true),
            [
                ("MemoryMax", Value::Number(100)),
                ("MemorySwapMax", Value::Number(50)),
                ("CPUWeight", Value::Number(100)),
                ("CPUQuotaPeriodUSec", Value::Number(100_000)),
                ("CPUQuotaPerSecUSec", Value::Number(340_000)),
                ("TasksMax", Value::Number(u64::MAX)),
            ]
        );
        assert_eq!(
            of(&resources, false)[..2],
            [
                ("MemoryLimit", Value::Number(100)),
                ("CPUShares", Value::Number(1024)),
            ]
        );
    }
}
