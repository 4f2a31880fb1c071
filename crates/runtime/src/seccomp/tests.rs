//! The compiled filter against a naive reading of the profile.

use std::time::Instant;

use proptest::prelude::*;

use crate::caps::{CapSet, Capability};

use super::interpreter::{call_data, run};
use super::profile::{Action, Arch, Architectures, Argument, Comparison, Condition, Profile, Rule};
use super::syscalls::{ARM_PRIVATE, X32_BIT, X32_OWN, number};
use super::{CompileEnv, KernelVersion, SockFilter, compile, default_profile};

const DOCKER_CAPS: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

fn caps(names: &[&str]) -> CapSet {
    names
        .iter()
        .map(|name| Capability::from_name(name).unwrap())
        .collect()
}

fn env(arch: Arch, caps: CapSet) -> CompileEnv {
    CompileEnv {
        caps,
        arch,
        kernel: KernelVersion(6, 18),
    }
}

/// What the profile's documentation says of one call, by looking through the rules one after the other.
fn naive(profile: &Profile, env: &CompileEnv, audit: u32, call: u32, args: &[u64; 6]) -> Action {
    let arches = profile.architectures_for(env.arch);
    let listed = arches
        .iter()
        .copied()
        .find(|arch| *arch != Arch::X32 && arch.audit_code() == audit);
    let Some(mut arch) = listed else {
        return Action::KillProcess;
    };
    let mut call = call;
    if arch == Arch::X86_64 && arches.contains(&Arch::X32) {
        call &= !X32_BIT;
        if call >= X32_OWN {
            arch = Arch::X32;
        }
    } else if arch == Arch::X86_64 && call >= X32_BIT {
        return Action::KillProcess;
    }
    let active: Vec<&Rule> = profile
        .rules
        .iter()
        .filter(|r| r.condition.holds(env.caps, env.arch, env.kernel))
        .collect();
    let numbers_on = |arch: Arch, rule: &Rule| -> Vec<u32> {
        rule.names
            .iter()
            .filter_map(|name| number(arch, name))
            .map(|number| number & !X32_BIT)
            .collect()
    };
    let numbers = |rule: &Rule| numbers_on(arch, rule);
    let ints = ["socket", "personality"]
        .iter()
        .any(|name| number(arch, name).map(|n| n & !X32_BIT) == Some(call));
    let args = &if ints || matches!(arch, Arch::X86 | Arch::Arm) {
        args.map(|arg| arg & 0xffff_ffff)
    } else {
        *args
    };
    let mine: Vec<&Rule> = active
        .iter()
        .copied()
        .filter(|rule| numbers(rule).contains(&call))
        .collect();
    if let Some(rule) = mine.iter().find(|rule| rule.args.is_empty()) {
        return rule.action;
    }
    for rule in &mine {
        let indexes: Vec<u8> = rule.args.iter().map(|arg| arg.index).collect();
        let twice = (0..6).any(|index| indexes.iter().filter(|other| **other == index).count() > 1);
        let hit = if twice {
            rule.args.iter().any(|arg| arg.holds(args))
        } else {
            rule.args.iter().all(|arg| arg.holds(args))
        };
        if hit {
            return rule.action;
        }
    }
    let native = if arch == Arch::X32 {
        Arch::X86_64
    } else {
        arch
    };
    let newest = active
        .iter()
        .flat_map(|rule| numbers_on(native, rule))
        .filter(|number| arch != Arch::Arm || *number < ARM_PRIVATE)
        .max();
    let denies = !matches!(
        profile.default_action,
        Action::Allow | Action::Log | Action::Notify | Action::Trace(_)
    );
    if mine.is_empty() && denies && newest.is_some_and(|newest| call > newest) {
        return Action::Errno(libc::ENOSYS as u16);
    }
    profile.default_action
}

fn assert_same(
    profile: &Profile,
    env: &CompileEnv,
    filter: &[SockFilter],
    audit: u32,
    call: u32,
    args: &[u64; 6],
) {
    let (answer, _) = run(filter, &call_data(call, audit, args));
    let expected = naive(profile, env, audit, call, args);
    assert_eq!(
        answer,
        expected.code(),
        "arch {audit:#x} call {call} args {args:x?}: expected {expected:?}"
    );
}

/// Every number that means something, and its neighbours, for each value of `seccomp_data.arch`.
fn interesting_calls() -> Vec<u32> {
    let private =
        (ARM_PRIVATE - 2..ARM_PRIVATE + 10).chain([u32::MAX, u32::MAX - 1, X32_BIT - 1, 0x9_0000]);
    (0..600)
        .chain(X32_BIT..X32_BIT + 600)
        .chain(private)
        .collect()
}

const AUDIT: [u32; 5] = [
    0xc000_003e,
    0x4000_0003,
    0xc000_00b7,
    0x4000_0028,
    0x8000_0016,
];

#[test]
fn the_default_profile_compiles_to_what_it_says() {
    let arguments: [[u64; 6]; 10] = [
        [0; 6],
        [8, 0, 0, 0, 0, 0],
        [38, 0x7e02_0000, 0, 0, 0, 0],
        [39, 0, 0, 0, 0, 0],
        [40, 0, 0, 0, 0, 0],
        [41, 0, 0, 0, 0, 0],
        [0x2_0008, 0, 0, 0, 0, 0],
        [0xffff_ffff, 1, 2, 3, 4, 5],
        [0x1000_0000, 0, 0, 0, 0, 0],
        [0x1_0000_0011, 0, 0, 0, 0, 0],
    ];
    let profile = default_profile();
    for arch in [Arch::X86_64, Arch::Aarch64] {
        for caps in [
            CapSet::EMPTY,
            caps(&DOCKER_CAPS),
            caps(&["SYS_ADMIN"]),
            CapSet::ALL,
        ] {
            let env = env(arch, caps);
            let filter = compile(&profile, &env).unwrap();
            for audit in AUDIT {
                for call in interesting_calls() {
                    for args in &arguments {
                        assert_same(&profile, &env, &filter, audit, call, args);
                    }
                }
            }
        }
    }
}

#[test]
fn docker_defaults_by_name() {
    let filter = compile(&default_profile(), &env(Arch::X86_64, caps(&DOCKER_CAPS))).unwrap();
    let answer = |name: &str, first: u64| {
        let call = number(Arch::X86_64, name).unwrap();
        run(
            &filter,
            &call_data(call, Arch::X86_64.audit_code(), &[first, 0, 0, 0, 0, 0]),
        )
        .0
    };
    let (allow, eperm, enosys) = (
        Action::Allow.code(),
        Action::Errno(1).code(),
        Action::Errno(38).code(),
    );
    for name in [
        "read",
        "openat",
        "execve",
        "futex",
        "ptrace",
        "chroot",
        "arch_prctl",
        "landlock_restrict_self",
    ] {
        assert_eq!(answer(name, 0), allow, "{name}");
    }
    for name in [
        "mount",
        "bpf",
        "unshare",
        "reboot",
        "init_module",
        "kexec_load",
        "add_key",
        "keyctl",
        "setns",
    ] {
        assert_eq!(answer(name, 0), eperm, "{name}");
    }
    assert_eq!(answer("clone3", 0), enosys);
    assert_eq!(answer("clone", 0x11), allow);
    assert_eq!(answer("clone", 0x1000_0011), eperm, "CLONE_NEWUSER");
    assert_eq!(answer("socket", 2), allow);
    assert_eq!(answer("socket", 40), eperm, "AF_VSOCK");
    assert_eq!(
        answer("socket", 0x1_0000_0026),
        eperm,
        "AF_ALG with a bit that the kernel does not look at"
    );
    assert_eq!(answer("personality", 4), eperm);
}

#[test]
fn the_way_to_an_answer_is_short() {
    for set in [caps(&DOCKER_CAPS), CapSet::ALL] {
        let filter = compile(&default_profile(), &env(Arch::X86_64, set)).unwrap();
        assert!(filter.len() < 420, "{} instructions", filter.len());
        for audit in [AUDIT[0], AUDIT[1]] {
            let longest = (0..600)
                .map(|call| run(&filter, &call_data(call, audit, &[0; 6])).1)
                .max()
                .unwrap();
            // 3 to the tree, 8 through it, the rest for tests of arguments.
            assert!(longest <= 26, "{longest} steps");
        }
    }
}

#[test]
fn compiling_takes_no_noticeable_time() {
    let profile = default_profile();
    let env = env(Arch::X86_64, caps(&DOCKER_CAPS));
    compile(&profile, &env).unwrap();
    let start = Instant::now();
    compile(&profile, &env).unwrap();
    assert!(start.elapsed().as_millis() < 20, "{:?}", start.elapsed());
}

#[test]
fn far_jumps_reach_their_targets() {
    // Every second call has tests of its own, so that both subtrees are far longer than a jump reaches.
    let mut profile = Profile::new(Action::Errno(1));
    let table = include_str!("syscalls.tsv");
    for (n, name) in table
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split('\t').next())
        .enumerate()
    {
        let args = (0..2)
            .map(|index| Argument {
                index,
                comparison: Comparison::Eq,
                value: (n as u64) << 20,
            })
            .collect();
        let action = [
            Action::Allow,
            Action::Errno(n as u16),
            Action::Log,
            Action::Trap,
        ][n % 4];
        profile.rules.push(Rule {
            names: vec![name.to_owned()],
            action,
            args,
            condition: Condition::default(),
        });
    }
    profile.architectures = Architectures::Listed(vec![]);
    let env = env(Arch::X86_64, CapSet::EMPTY);
    let filter = compile(&profile, &env).unwrap();
    assert!(filter.len() > 2_000);
    for call in interesting_calls() {
        for n in 0..484u64 {
            if n % 7 == u64::from(call) % 7 {
                assert_same(
                    &profile,
                    &env,
                    &filter,
                    AUDIT[0],
                    call,
                    &[n << 20, n << 20, n << 20, 0, 0, 0],
                );
            }
        }
    }
}

#[test]
fn a_filter_that_the_kernel_would_refuse_is_refused_first() {
    let mut profile = Profile::new(Action::Errno(1));
    for value in 0..1_500 {
        profile.rules.push(Rule {
            names: vec!["read".to_owned()],
            action: Action::Allow,
            args: vec![Argument {
                index: 0,
                comparison: Comparison::Eq,
                value,
            }],
            condition: Condition::default(),
        });
    }
    let error = compile(&profile, &env(Arch::X86_64, CapSet::EMPTY)).unwrap_err();
    assert!(
        error.to_string().contains("the kernel takes at most 4096"),
        "{error}"
    );
}

#[test]
fn json_says_the_same_as_the_table() {
    let json = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                    {"architecture": "SCMP_ARCH_S390X", "subArchitectures": null}],
        "syscalls": [
            {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"name": "clone", "action": "SCMP_ACT_TRACE", "errnoRet": 7,
             "args": [{"index": 1, "value": 240, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}],
             "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390"]}}
        ]}"#;
    let profile = Profile::from_json(json).unwrap();
    assert_eq!(profile.default_action, Action::Errno(38));
    assert_eq!(
        profile.architectures_for(Arch::X86_64),
        [Arch::X86_64, Arch::X86]
    );
    assert_eq!(profile.architectures_for(Arch::Aarch64), [Arch::Aarch64]);
    assert_eq!(
        profile.rules[0].condition.min_kernel,
        Some(KernelVersion(4, 8))
    );
    let clone = &profile.rules[1];
    assert_eq!(clone.action, Action::Trace(7));
    assert_eq!(
        clone.args,
        [Argument {
            index: 1,
            comparison: Comparison::MaskedEq(240),
            value: 16
        }]
    );
    assert!(
        clone
            .condition
            .holds(CapSet::EMPTY, Arch::X86_64, KernelVersion(5, 10))
    );
    assert!(
        !clone
            .condition
            .holds(CapSet::ALL, Arch::X86_64, KernelVersion(5, 10))
    );
}

#[test]
fn words_without_meaning_are_refused() {
    for (json, words) in [
        ("{", "decoding seccomp profile failed"),
        (
            r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#,
            "unknown action \"SCMP_ACT_MAYBE\"",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]}"#,
            "unknown flag",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["VAX"]}"#,
            "string VAX is not a valid arch for seccomp",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"}"#,
            "SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "SCMP_ACT_NOTIFY needs a listenerPath",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x",
                "syscalls": [{"names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "cannot be used for the sendmsg syscall",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x",
                "syscalls": [{"names": ["mkdir", "write"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "cannot be used for the write syscall",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
            "no argument 6",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL",
                "includes": {"caps": ["CAP_FLY"]}}]}"#,
            "unknown capability \"CAP_FLY\"",
        ),
    ] {
        let error = Profile::from_json(json).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn kernel_versions_are_compared_as_numbers() {
    assert_eq!(
        KernelVersion::parse("6.18.44-fc-v782"),
        KernelVersion(6, 18)
    );
    assert_eq!(KernelVersion::parse("5.10-rc1"), KernelVersion(5, 10));
    assert!(KernelVersion::parse("4.19") > KernelVersion(4, 8));
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::KillProcess),
        Just(Action::KillThread),
        Just(Action::Trap),
        any::<u16>().prop_map(|errno| Action::Errno(errno % 4096)),
        any::<u16>().prop_map(Action::Trace),
        Just(Action::Notify),
        Just(Action::Log),
        Just(Action::Allow),
    ]
}

/// Values that make halves equal often.
fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4u64,
        (0..3u64).prop_map(|n| n << 32),
        (0..3u64).prop_map(|n| (n << 32) | 1),
        any::<u64>()
    ]
}

fn any_argument() -> impl Strategy<Value = Argument> {
    let comparison = prop_oneof![
        Just(Comparison::Eq),
        Just(Comparison::Ne),
        Just(Comparison::Lt),
        Just(Comparison::Le),
        Just(Comparison::Gt),
        Just(Comparison::Ge),
        any_value().prop_map(Comparison::MaskedEq),
    ];
    (0..6u8, comparison, any_value()).prop_map(|(index, comparison, value)| Argument {
        index,
        comparison,
        value,
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    const SOME: [&str; 12] = [
        "read", "write", "open", "close", "stat", "clone", "clone3", "execve", "socket", "futex",
        "set_tls", "recv",
    ];
    let names = proptest::collection::vec(proptest::sample::select(&SOME[..]), 1..4);
    (
        names,
        any_action(),
        proptest::collection::vec(any_argument(), 0..4),
    )
        .prop_map(|(names, action, args)| Rule {
            names: names.into_iter().map(str::to_owned).collect(),
            action,
            args,
            condition: Condition::default(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_profile_compiles_to_what_it_says(
        default in any_action(),
        rules in proptest::collection::vec(any_rule(), 0..12),
        listed in proptest::collection::vec(proptest::sample::select(&[Arch::X86, Arch::X32, Arch::Arm][..]), 0..3),
        native in proptest::sample::select(&[Arch::X86_64, Arch::Aarch64][..]),
        args in proptest::collection::vec(proptest::array::uniform6(any_value()), 8),
    ) {
        let mut profile = Profile::new(default);
        profile.rules = rules;
        profile.architectures = Architectures::Listed(listed);
        let env = env(native, CapSet::EMPTY);
        let filter = compile(&profile, &env).unwrap();
        for audit in AUDIT {
            for (n, call) in interesting_calls().into_iter().enumerate() {
                assert_same(&profile, &env, &filter, audit, call, &args[n % 8]);
            }
            let named = ["read", "socket", "clone", "execve", "futex", "set_tls"];
            for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm] {
                for call in named.iter().filter_map(|name| number(arch, name)) {
                    for args in &args {
                        assert_same(&profile, &env, &filter, audit, call, args);
                    }
                }
            }
        }
    }
}
