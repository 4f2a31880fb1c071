//! Limits of the container's group.

use runtime::cgroup::{
    Access, BlockIo, DeviceKind, DeviceRate, DeviceRule, DeviceWeight, RdmaLimit, Resources,
    default_device_rules,
};

use crate::cli::{is_nested, is_unprivileged};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::spec;

const FIELD: &str = "linux.resources";

/// What a new group is given. The devices that every container may use come after the configuration's rules.
pub(crate) fn compile(asked: Option<&spec::Resources>, log: &Log) -> Result<Resources> {
    let mut resources = match asked {
        Some(asked) => limits(asked, log)?,
        None => Resources::default(),
    };
    let mut rules = match asked.and_then(|asked| asked.devices.as_ref()) {
        Some(rules) => device_rules(rules)?,
        None => Vec::new(),
    };
    rules.extend(default_device_rules());
    // An ordinary user may set no rules, root of a user namespace neither, and has no devices but those that it may open
    // anyhow.
    resources.devices = (!is_unprivileged() && !is_nested()).then_some(rules);
    resources.apart = true;
    Ok(resources)
}

/// Whether there is anything that comes of a group alone. Who may make none has no rules for devices either.
pub(crate) fn asks_for_limits(asked: Option<&spec::Resources>) -> bool {
    let limits = asked.map(|asked| spec::Resources {
        devices: None,
        ..asked.clone()
    });
    let limits = limits.and_then(|limits| serde_json::to_value(limits).ok());
    limits.is_some_and(|limits| !spec::is_nothing(&limits))
}

/// Limits without devices: what can be changed while the container runs.
pub(crate) fn limits(asked: &spec::Resources, log: &Log) -> Result<Resources> {
    let mut resources = Resources {
        keep_swap: true,
        ..Resources::default()
    };
    // Zero means that nothing is asked for, as for runc.
    if let Some(memory) = &asked.memory {
        let set = |value: Option<i64>| value.filter(|value| *value != 0);
        let limit = |name: &str, value: Option<i64>| match set(value) {
            Some(value @ ..-1) => {
                let why = format!("invalid argument: {value} is neither a limit nor -1, for none");
                Err(Error::field(format!("{FIELD}.memory.{name}"), why))
            }
            value => Ok(value),
        };
        resources.memory = limit("limit", memory.limit)?;
        resources.memory_swap = limit("swap", memory.swap)?;
        resources.memory_reservation = limit("reservation", memory.reservation)?;
        resources.memory_swappiness = memory.swappiness;
        resources.memory_hierarchy = memory.use_hierarchy == Some(true);
        resources.memory_check = memory.check_before_update == Some(true);
        resources.oom_kill_disable = memory.disable_oom_killer;
        if set(memory.kernel).or(set(memory.kernel_tcp)).is_some() {
            log.warning("Kernel memory settings are ignored and will be removed");
        }
    }
    if let Some(cpu) = &asked.cpu {
        resources.cpu_shares = cpu.shares.filter(|shares| *shares != 0);
        resources.cpu_quota = cpu.quota.filter(|quota| *quota != 0);
        resources.cpu_period = cpu.period.filter(|period| *period != 0);
        resources.cpu_burst = cpu.burst;
        resources.cpu_idle = cpu.idle;
        resources.cpu_rt_runtime = cpu.realtime_runtime.filter(|runtime| *runtime != 0);
        resources.cpu_rt_period = cpu.realtime_period.filter(|period| *period != 0);
        resources.cpuset_cpus = cpu.cpus.clone().filter(|list| !list.is_empty());
        resources.cpuset_mems = cpu.mems.clone().filter(|list| !list.is_empty());
    }
    if let Some(pids) = &asked.pids {
        resources.pids_max = pids.limit.filter(|limit| *limit != 0);
    }
    if let Some(io) = &asked.block_io {
        resources.block_io = block_io(io)?;
    }
    if let Some(network) = &asked.network {
        resources.net_class = network.class_id.filter(|class| *class != 0);
        let named = network.priorities.iter().flatten();
        let named = named.map(|one| (one.name.clone().unwrap_or_default(), one.priority));
        resources.net_priorities = named
            .map(|(name, priority)| (name, priority.unwrap_or_default()))
            .collect();
    }
    let pages = asked.hugepage_limits.iter().flatten();
    let page = |one: &spec::HugepageLimit| {
        let size = one.page_size.clone().unwrap_or_default();
        (size, one.limit.unwrap_or_default())
    };
    resources.huge_pages = pages.map(page).collect();
    for (adapter, limit) in asked.rdma.iter().flatten() {
        let limit = RdmaLimit {
            handles: limit.hca_handles,
            objects: limit.hca_objects,
        };
        if limit != RdmaLimit::default() {
            resources.rdma.insert(adapter.clone(), limit);
        }
    }
    resources.unified = asked.unified.clone().unwrap_or_default();
    Ok(resources)
}

fn block_io(asked: &spec::BlockIo) -> Result<BlockIo> {
    let number = |list: &str, index: usize, name: &str, value: Option<i64>| {
        let value = value.unwrap_or_default();
        u32::try_from(value).map_err(|_| {
            let field = format!("{FIELD}.blockIO.{list}[{index}].{name}");
            Error::field(field, format!("{value} is no device number"))
        })
    };
    let rates = |name: &str, list: &Option<Vec<spec::ThrottleDevice>>| {
        let devices = list.iter().flatten().enumerate();
        let one = |(index, device): (usize, &spec::ThrottleDevice)| {
            Ok(DeviceRate {
                major: number(name, index, "major", device.major)?,
                minor: number(name, index, "minor", device.minor)?,
                rate: device.rate.unwrap_or_default(),
            })
        };
        devices.map(one).collect::<Result<Vec<DeviceRate>>>()
    };
    let set = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    let weight = |(index, device): (usize, &spec::WeightDevice)| {
        let name = "weightDevice";
        Ok(DeviceWeight {
            major: number(name, index, "major", device.major)?,
            minor: number(name, index, "minor", device.minor)?,
            weight: set(device.weight),
            leaf_weight: set(device.leaf_weight),
        })
    };
    let weights = asked.weight_device.iter().flatten().enumerate();
    Ok(BlockIo {
        weight: set(asked.weight),
        leaf_weight: set(asked.leaf_weight),
        weights: weights.map(weight).collect::<Result<Vec<DeviceWeight>>>()?,
        read_bps: rates("throttleReadBpsDevice", &asked.throttle_read_bps_device)?,
        write_bps: rates("throttleWriteBpsDevice", &asked.throttle_write_bps_device)?,
        read_iops: rates("throttleReadIOPSDevice", &asked.throttle_read_iops_device)?,
        write_iops: rates("throttleWriteIOPSDevice", &asked.throttle_write_iops_device)?,
    })
}

fn device_rules(rules: &[spec::DeviceRule]) -> Result<Vec<DeviceRule>> {
    let one = |(index, rule): (usize, &spec::DeviceRule)| {
        let field = |name: &str| format!("{FIELD}.devices[{index}].{name}");
        let kind = match rule.kind.as_deref().unwrap_or_default() {
            "" | "a" => DeviceKind::All,
            "c" | "u" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            other => {
                let why = format!("{other:?} is no kind of device");
                return Err(Error::field(field("type"), why));
            }
        };
        let access = match rule.access.as_deref().unwrap_or_default() {
            "" => Access::ALL,
            // runc passes over an `a`, which is none of the kernel's letters.
            letters => Access::parse(&letters.replace('a', "")).ok_or_else(|| {
                Error::field(field("access"), format!("{letters:?} is not of r, w and m"))
            })?,
        };
        // Missing and negative numbers stand for all.
        let number = |name: &str, value: Option<i64>| match value {
            None | Some(..0) => Ok(None),
            Some(value) => u32::try_from(value)
                .map(Some)
                .map_err(|_| Error::field(field(name), format!("{value} is no device number"))),
        };
        Ok(DeviceRule {
            allow: rule.allow == Some(true),
            kind,
            major: number("major", rule.major)?,
            minor: number("minor", rule.minor)?,
            access,
        })
    };
    rules.iter().enumerate().map(one).collect()
}
