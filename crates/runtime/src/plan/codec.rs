//! Binary forms of the plan's types, and the message around them.

use super::process::{
    CapSets, ExecPlan, Landlock, MemoryPolicy, ProcessPlan, Rlimit, Scheduler, Seccomp,
};
use super::wire::{Reader, Wire, wire_enum, wire_struct};
use super::{
    CgroupEntry, Device, DeviceKind, FdSlot, IdMap, MAX_ENCODED, MountAttrs, MountEntry,
    MountIdMap, MountKind, Namespaces, NsMode, Plan, PlanError, Propagation, RootChange,
    RootSource, TargetKind, TimeOffset,
};

/// First bytes of an encoded plan: `WP`, and the version of the form. One is for [`Plan`], the other for [`ExecPlan`].
const PLAN_VERSION: u32 = u32::from_be_bytes(*b"WP\0\x06");
const EXEC_VERSION: u32 = u32::from_be_bytes(*b"WX\0\x05");

impl Plan {
    /// Writes the plan in its binary form.
    pub fn encode(&self) -> Vec<u8> {
        encode(PLAN_VERSION, self)
    }

    /// Reads what [`Plan::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        decode(PLAN_VERSION, bytes)
    }
}

impl ExecPlan {
    /// Writes the plan in its binary form.
    pub fn encode(&self) -> Vec<u8> {
        encode(EXEC_VERSION, self)
    }

    /// Reads what [`ExecPlan::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        decode(EXEC_VERSION, bytes)
    }
}

fn encode(version: u32, value: &impl Wire) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    version.put(&mut out);
    value.put(&mut out);
    out
}

fn decode<T: Wire>(version: u32, bytes: &[u8]) -> Result<T, PlanError> {
    if bytes.len() > MAX_ENCODED {
        return Err(PlanError::TooLarge {
            bytes: bytes.len(),
            limit: MAX_ENCODED,
        });
    }
    let mut reader = Reader::new(bytes);
    let found = u32::get(&mut reader)?;
    if found != version {
        return Err(PlanError::Version {
            found,
            known: version,
        });
    }
    let value = T::get(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

impl Wire for FdSlot {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
        u16::get(from).map(Self)
    }
}

impl Wire for [Option<Vec<u8>>; 2] {
    fn put(&self, out: &mut Vec<u8>) {
        let [first, second] = self;
        first.put(out);
        second.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
        Ok([Wire::get(from)?, Wire::get(from)?])
    }
}

impl Wire for (u16, u8, u8, u32) {
    fn put(&self, out: &mut Vec<u8>) {
        (self.0, (self.1, (self.2, self.3))).put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
        let (code, (if_true, (if_false, operand))) = Wire::get(from)?;
        Ok((code, if_true, if_false, operand))
    }
}

wire_enum!(NsMode { 0 = Host, 1 = New, 2 = Join(slot) });
wire_struct!(Namespaces {
    pid,
    net,
    ipc,
    uts,
    mount,
    cgroup,
    user,
    time
});
wire_struct!(IdMap {
    inside,
    outside,
    count
});
wire_struct!(TimeOffset {
    clock,
    seconds,
    nanoseconds
});
wire_struct!(CgroupEntry { dirs, unified });
wire_enum!(RootChange { 0 = Pivot, 1 = Cover(places) });
wire_enum!(RootSource { 0 = Mount(slot), 1 = Path(path) });
wire_enum!(Propagation { 0 = Private, 1 = Slave, 2 = Shared, 3 = Unbindable });
wire_struct!(MountAttrs {
    set,
    clear,
    below_set,
    below_clear,
    replaces
});
wire_struct!(MountIdMap {
    namespace,
    recursive
});
wire_enum!(MountKind {
    0 = Fs { fstype, source, options },
    1 = Detached { slot, source },
    2 = Bind { source, recursive, idmap },
    3 = Remount { options },
    4 = Copy { source, recursive, idmap },
});
wire_enum!(TargetKind { 0 = File, 1 = Dir });
wire_struct!(MountEntry {
    target,
    kind,
    attrs,
    propagation,
    create_target
});
wire_enum!(DeviceKind { 0 = Char, 1 = Block, 2 = Fifo });
wire_struct!(Device {
    path,
    kind,
    major,
    minor,
    mode,
    uid,
    gid,
    bind
});
wire_struct!(CapSets {
    bounding,
    effective,
    permitted,
    inheritable,
    ambient
});
wire_struct!(Rlimit {
    resource,
    soft,
    hard,
    explicit
});
wire_struct!(Seccomp { program, flags });
wire_struct!(Scheduler {
    policy,
    flags,
    nice,
    priority,
    runtime,
    deadline,
    period
});
wire_struct!(MemoryPolicy { mode, nodes });
wire_struct!(Landlock {
    files,
    network,
    scoped,
    paths,
    ports
});
wire_struct!(ProcessPlan {
    args,
    program,
    env,
    cwd,
    create_cwd,
    uid,
    gid,
    groups,
    umask,
    rlimits,
    oom_score_adj,
    caps,
    no_new_privs,
    seccomp,
    labels,
    landlock,
    keyring,
    personality,
    scheduler,
    memory_policy,
    io_priority,
    die_with_parent,
    preserved,
    gate,
});
wire_struct!(Plan {
    namespaces,
    uid_map,
    gid_map,
    unprivileged,
    nested,
    time_offsets,
    cgroup,
    root,
    shown_at,
    root_change,
    root_readonly,
    root_propagation,
    root_propagation_below,
    mounts,
    devices,
    links,
    masked,
    readonly,
    sysctls,
    hostname,
    domainname,
    terminal,
    console_size,
    plain_lines,
    console_bind,
    process,
    init,
});
wire_struct!(ExecPlan {
    process,
    terminal,
    console_size,
    plain_lines,
    cgroup,
    root,
    user_namespace,
    time_namespace,
    unprivileged,
    affinity,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::attr;

    fn full() -> Plan {
        Plan {
            namespaces: Namespaces {
                pid: NsMode::New,
                net: NsMode::Join(FdSlot(3)),
                ..Default::default()
            },
            uid_map: vec![IdMap {
                inside: 0,
                outside: 100_000,
                count: 65_536,
            }],
            cgroup: CgroupEntry {
                dirs: vec![FdSlot(1), FdSlot(2)],
                unified: Some(FdSlot(9)),
            },
            root: Some(RootSource::Path("/srv/ü".into())),
            mounts: vec![
                MountEntry {
                    target: "/dev".into(),
                    kind: MountKind::Fs {
                        fstype: "tmpfs".into(),
                        source: String::new(),
                        options: vec![("mode".into(), Some("755".into())), ("swap".into(), None)],
                    },
                    attrs: MountAttrs::of(attr::NO_SUID).read_only(),
                    propagation: Some(Propagation::Slave),
                    create_target: TargetKind::Dir,
                },
                MountEntry {
                    target: "/etc/hosts".into(),
                    kind: MountKind::Bind {
                        source: "/tmp/hosts".into(),
                        recursive: true,
                        idmap: None,
                    },
                    attrs: MountAttrs::default(),
                    propagation: None,
                    create_target: TargetKind::File,
                },
            ],
            links: vec![("/proc/self/fd".into(), "/dev/fd".into())],
            console_size: Some((24, 80)),
            process: ProcessPlan {
                args: vec![b"a\xff".to_vec(), Vec::new()],
                oom_score_adj: Some((-5, true)),
                seccomp: Some(Seccomp {
                    program: vec![(6, 1, 2, 0x7fff_0000)],
                    flags: 4,
                }),
                ..Default::default()
            },
            init: true,
            ..Default::default()
        }
    }

    #[test]
    fn a_plan_survives_the_way_there_and_back() {
        assert_eq!(Plan::decode(&full().encode()), Ok(full()));
        let exec = ExecPlan {
            terminal: true,
            process: full().process,
            ..Default::default()
        };
        assert_eq!(ExecPlan::decode(&exec.encode()), Ok(exec));
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = full().encode();
        for length in 0..bytes.len() {
            assert!(
                Plan::decode(&bytes[..length]).is_err(),
                "{length} of {} bytes",
                bytes.len()
            );
        }
    }

    #[test]
    fn another_version_trailing_bytes_and_huge_counts_are_refused() {
        let mut bytes = full().encode();
        assert!(matches!(
            ExecPlan::decode(&bytes),
            Err(PlanError::Version { .. })
        ));
        bytes.push(0);
        assert_eq!(Plan::decode(&bytes), Err(PlanError::Trailing { bytes: 1 }));
        let mut reader = Reader::new(&[0xff; 8]);
        assert_eq!(Vec::<u8>::get(&mut reader), Err(PlanError::Truncated));
    }
}
