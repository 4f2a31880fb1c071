//! What a group is asked to limit.

use std::collections::BTreeMap;

/// Limits of a group. What is `None` is not touched: a fresh group has no limit there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Memory in bytes; -1 lifts the limit.
    pub memory: Option<i64>,
    /// Memory and swap together, in bytes; -1 lifts the limit. `None` beside a memory limit means twice the memory,
    /// as Docker has it. Ignored where the kernel does not account for swap (see `Support::swap_limit`).
    pub memory_swap: Option<i64>,
    /// Without `memory_swap`, a memory limit leaves that of both as it is, as the OCI specification has it.
    pub keep_swap: bool,
    /// Bytes that reclaim should leave to the group while memory is short elsewhere (soft limit).
    pub memory_reservation: Option<i64>,
    /// Tendency to swap, 0 to 100. Version 1 only.
    pub memory_swappiness: Option<u64>,
    /// Memory of groups beneath counts for this one; recent kernels know nothing else. `false` leaves it as it is.
    pub memory_hierarchy: bool,
    /// Refuse a limit of memory that is below what is used. Version 1 refuses it by itself where nothing can be freed.
    pub memory_check: bool,
    /// At the memory limit, stop processes instead of killing them. Version 1 only.
    pub oom_kill_disable: Option<bool>,
    /// Share of the processor while others want it too, 2 to 262,144; 1,024 is the usual one.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in each period; -1 lifts the limit.
    pub cpu_quota: Option<i64>,
    /// Length of a period in microseconds; 100,000 is the usual one.
    pub cpu_period: Option<u64>,
    /// Microseconds that a period may take from what former ones left of the quota; at most the quota.
    pub cpu_burst: Option<u64>,
    /// 1: the group runs when nobody else wants to. 0 takes that back.
    pub cpu_idle: Option<i64>,
    /// Microseconds of real-time scheduling in each period of that. Version 1 only.
    pub cpu_rt_runtime: Option<i64>,
    /// Length of such a period in microseconds. Version 1 only.
    pub cpu_rt_period: Option<u64>,
    /// Processors that may be used, as a list such as `0-2,4`; an empty one stands for that of the group above.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used, as a list; an empty one alike.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; 0 and below lift the limit.
    pub pids_max: Option<i64>,
    /// Block devices.
    pub block_io: BlockIo,
    /// Bytes of huge pages by their size, such as `2MB`.
    pub huge_pages: Vec<(String, u64)>,
    /// Mark of packets for filters. Version 1 only.
    pub net_class: Option<u32>,
    /// Priority of packets by network interface, as this process's network namespace names it. Version 1 only.
    pub net_priorities: Vec<(String, u32)>,
    /// Handles of adapters for remote memory access, by the adapter's name.
    pub rdma: BTreeMap<String, RdmaLimit>,
    /// Files of the group in the unified tree and what is written to them, after all other limits.
    pub unified: BTreeMap<String, String>,
    /// Devices: everything is denied, then the rules apply in order, and the last one that matches decides.
    /// `None` leaves devices to the parent's rules; a privileged container has that.
    pub devices: Option<Vec<DeviceRule>>,
    /// The group is one of its own in every hierarchy, also where no limit asks for it: who looks for it by its processes
    /// finds it nowhere else.
    pub apart: bool,
}

/// Weights and rates of block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// Share of each device while others want it too, 10 to 1,000. A device's scheduler has to know of it, as bfq does.
    pub weight: Option<u16>,
    /// Share of the group's own processes against groups beneath it, which no kernel since 5.0 has.
    pub leaf_weight: Option<u16>,
    /// Shares of single devices.
    pub weights: Vec<DeviceWeight>,
    /// Bytes a second that are read.
    pub read_bps: Vec<DeviceRate>,
    /// Bytes a second that are written.
    pub write_bps: Vec<DeviceRate>,
    /// Requests a second for reading.
    pub read_iops: Vec<DeviceRate>,
    /// Requests a second for writing.
    pub write_iops: Vec<DeviceRate>,
}

/// A share of one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceWeight {
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// As [`BlockIo::weight`].
    pub weight: Option<u16>,
    /// As [`BlockIo::leaf_weight`].
    pub leaf_weight: Option<u16>,
}

/// A rate of one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRate {
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// So much a second; 0 lifts the limit.
    pub rate: u64,
}

/// What may be opened of one adapter for remote memory access; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RdmaLimit {
    /// Handles.
    pub handles: Option<u32>,
    /// Objects.
    pub objects: Option<u32>,
}

/// Kind of a device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Both kinds.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// What may be done with a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Make a device file.
    pub mknod: bool,
}

impl Access {
    /// Everything.
    pub const ALL: Access = Access {
        read: true,
        write: true,
        mknod: true,
    };
    /// Making device files, which opens none.
    pub const MKNOD: Access = Access {
        read: false,
        write: false,
        mknod: true,
    };

    /// Reads letters of `r`, `w` and `m`; `None` for any other and for none at all.
    pub fn parse(letters: &str) -> Option<Access> {
        let mut access = Access::default();
        for letter in letters.chars() {
            match letter {
                'r' => access.read = true,
                'w' => access.write = true,
                'm' => access.mknod = true,
                _ => return None,
            }
        }
        (!letters.is_empty()).then_some(access)
    }

    /// What either allows.
    pub(super) fn union(self, other: Access) -> Access {
        let Access { read, write, mknod } = other;
        Access {
            read: self.read || read,
            write: self.write || write,
            mknod: self.mknod || mknod,
        }
    }

    /// What this allows and `other` does not.
    pub(super) fn difference(self, other: Access) -> Access {
        let Access { read, write, mknod } = other;
        Access {
            read: self.read && !read,
            write: self.write && !write,
            mknod: self.mknod && !mknod,
        }
    }

    /// The letters of [`Access::parse`].
    pub(crate) fn letters(self) -> String {
        [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')]
            .iter()
            .filter_map(|(set, letter)| set.then_some(*letter))
            .collect()
    }
}

/// A rule about devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceRule {
    /// Whether the rule allows or denies.
    pub allow: bool,
    /// Kind.
    pub kind: DeviceKind,
    /// Major number; `None` is any.
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// What is allowed or denied.
    pub access: Access,
}

impl DeviceRule {
    /// Allows `access` to one character device, or to all minors of a major number.
    pub const fn allow_char(major: u32, minor: Option<u32>, access: Access) -> DeviceRule {
        DeviceRule {
            allow: true,
            kind: DeviceKind::Char,
            major: Some(major),
            minor,
            access,
        }
    }

    /// Reads Docker's `--device-cgroup-rule`, such as `c 10:200 rwm` or `a *:* rwm`; `None` if malformed.
    pub fn parse(text: &str) -> Option<DeviceRule> {
        let mut words = text.split(' ');
        let kind = match words.next()? {
            "a" => DeviceKind::All,
            "c" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            _ => return None,
        };
        let (major, minor) = words.next()?.split_once(':')?;
        let number = |text: &str| {
            if text == "*" {
                Some(None)
            } else {
                text.parse().ok().map(Some)
            }
        };
        let (major, minor) = (number(major)?, number(minor)?);
        let access = Access::parse(words.next()?)?;
        words.next().is_none().then_some(DeviceRule {
            allow: true,
            kind,
            major,
            minor,
            access,
        })
    }
}

/// What Docker's containers may do with devices: make any node, and use null, zero, full, tty, random, urandom,
/// console, ptmx and terminals.
pub fn default_device_rules() -> Vec<DeviceRule> {
    let mknod = |kind| DeviceRule {
        allow: true,
        kind,
        major: None,
        minor: None,
        access: Access::MKNOD,
    };
    let mut rules = vec![mknod(DeviceKind::Char), mknod(DeviceKind::Block)];
    let memory = [3, 5, 7, 8, 9].map(|minor| (1, Some(minor)));
    let terminals = [(5, Some(0)), (5, Some(1)), (5, Some(2)), (136, None)];
    rules.extend(
        memory
            .into_iter()
            .chain(terminals)
            .map(|(major, minor)| DeviceRule::allow_char(major, minor, Access::ALL)),
    );
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_rules_are_read_as_docker_reads_them() {
        assert_eq!(
            DeviceRule::parse("c 10:200 rwm"),
            Some(DeviceRule::allow_char(10, Some(200), Access::ALL))
        );
        let any = DeviceRule::parse("a *:* r").unwrap();
        assert_eq!(
            (any.kind, any.major, any.minor),
            (DeviceKind::All, None, None)
        );
        assert_eq!(any.access.letters(), "r");
        for text in [
            "",
            "c",
            "c 1:3",
            "c 1 rwm",
            "x 1:3 rwm",
            "c 1:3 rwx",
            "c 1:3 ",
            "c 1:3 rwm x",
            "c -1:3 r",
        ] {
            assert_eq!(DeviceRule::parse(text), None, "{text:?}");
        }
    }
}
