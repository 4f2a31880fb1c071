//! Limits of the container's group.

use runtime::cgroup::{Access, DeviceKind, DeviceRule, Resources, default_device_rules};

use crate::error::{Error, Result};
use crate::spec::{self, refuse};

const FIELD: &str = "linux.resources";

/// What a new group is given. The devices that every container may use come after the configuration's rules.
pub(crate) fn compile(asked: Option<&spec::Resources>) -> Result<Resources> {
    let mut resources = match asked {
        Some(asked) => limits(asked)?,
        None => Resources::default(),
    };
    let mut rules = match asked.and_then(|asked| asked.devices.as_ref()) {
        Some(rules) => device_rules(rules)?,
        None => Vec::new(),
    };
    rules.extend(default_device_rules());
    resources.devices = Some(rules);
    resources.apart = true;
    Ok(resources)
}

/// Limits without devices: what can be changed while the container runs.
pub(crate) fn limits(asked: &spec::Resources) -> Result<Resources> {
    refuse_what_is_not_built(asked)?;
    let mut resources = Resources {
        keep_swap: true,
        ..Resources::default()
    };
    // Zero means that nothing is asked for, as for runc.
    if let Some(memory) = &asked.memory {
        let set = |value: Option<i64>| value.filter(|value| *value != 0);
        resources.memory = set(memory.limit);
        resources.memory_swap = set(memory.swap);
        resources.memory_reservation = set(memory.reservation);
        resources.memory_swappiness = memory.swappiness;
        resources.oom_kill_disable = memory.disable_oom_killer;
    }
    if let Some(cpu) = &asked.cpu {
        resources.cpu_shares = cpu.shares.filter(|shares| *shares != 0);
        resources.cpu_quota = cpu.quota.filter(|quota| *quota != 0);
        resources.cpu_period = cpu.period.filter(|period| *period != 0);
        resources.cpuset_cpus = cpu.cpus.clone().filter(|list| !list.is_empty());
        resources.cpuset_mems = cpu.mems.clone().filter(|list| !list.is_empty());
    }
    if let Some(pids) = &asked.pids {
        resources.pids_max = pids.limit.filter(|limit| *limit != 0);
    }
    Ok(resources)
}

fn refuse_what_is_not_built(asked: &spec::Resources) -> Result<()> {
    let field = |name: &str| format!("{FIELD}.{name}");
    refuse(&field("blockIO"), asked.block_io.as_ref())?;
    refuse(&field("hugepageLimits"), asked.hugepage_limits.as_ref())?;
    refuse(&field("network"), asked.network.as_ref())?;
    refuse(&field("rdma"), asked.rdma.as_ref())?;
    refuse(&field("unified"), asked.unified.as_ref())?;
    let memory = asked.memory.as_ref();
    let cpu = asked.cpu.as_ref();
    let numbers = [
        ("memory.kernel", memory.and_then(|memory| memory.kernel)),
        (
            "memory.kernelTCP",
            memory.and_then(|memory| memory.kernel_tcp),
        ),
        (
            "cpu.realtimeRuntime",
            cpu.and_then(|cpu| cpu.realtime_runtime),
        ),
        (
            "cpu.realtimePeriod",
            cpu.and_then(|cpu| cpu.realtime_period)
                .map(u64::cast_signed),
        ),
        (
            "cpu.burst",
            cpu.and_then(|cpu| cpu.burst).map(u64::cast_signed),
        ),
        ("cpu.idle", cpu.and_then(|cpu| cpu.idle)),
        (
            "memory.checkBeforeUpdate",
            memory
                .and_then(|memory| memory.check_before_update)
                .map(i64::from),
        ),
    ];
    match numbers
        .iter()
        .find(|(_, number)| number.is_some_and(|number| number != 0))
    {
        Some((name, _)) => Err(Error::unsupported(field(name))),
        None => Ok(()),
    }
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
            letters => Access::parse(letters).ok_or_else(|| {
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
