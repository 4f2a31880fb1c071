//! Filters as the kernel carries them out. Each is loaded for a thread or a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use runtime::caps::{CapSet, Capability};
use runtime::plan::Seccomp;
use runtime::seccomp::{Action, CompileEnv, Condition, Profile, Rule, compile, default_profile};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use support::{plan, root, run};
use sys::process::{Exit, FilterInstruction, load_filter, unshare};

/// What a filter did to a few calls.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    inet: Option<Errno>,
    vsock: Option<Errno>,
    alg: Option<Errno>,
    new_uts: Option<Errno>,
    mount: Option<Errno>,
}

/// Loads the filter of `profile` for a thread and tries some calls there.
fn try_calls(profile: &Profile, caps: CapSet) -> Seen {
    let filter = compile(profile, &CompileEnv::host(caps)).unwrap();
    let flags = profile.flags;
    std::thread::spawn(move || {
        load_filter(&filter, flags).unwrap();
        let opened = |family| socket(family, SocketType::STREAM, None).err();
        Seen {
            inet: opened(AddressFamily::INET),
            vsock: opened(AddressFamily::VSOCK),
            alg: opened(AddressFamily::from_raw(38)),
            new_uts: unshare(libc::CLONE_NEWUTS).err(),
            mount: rustix::mount::unmount("/no/such/place", rustix::mount::UnmountFlags::empty())
                .err(),
        }
    })
    .join()
    .unwrap()
}

#[test]
fn the_default_profile_denies_what_reaches_the_host() {
    let seen = try_calls(&default_profile(), CapSet::EMPTY);
    let denied = Some(Errno::PERM);
    assert_eq!(
        seen,
        Seen {
            inet: None,
            vsock: denied,
            alg: denied,
            new_uts: denied,
            mount: denied
        }
    );
}

#[test]
fn the_default_profile_follows_the_capabilities() {
    let seen = try_calls(
        &default_profile(),
        CapSet::EMPTY.with(Capability::SYS_ADMIN),
    );
    assert_eq!((seen.new_uts, seen.mount), (None, Some(Errno::NOENT)));
    assert_eq!(seen.vsock, Some(Errno::PERM));
}

/// Allows all but `names`.
fn without(names: &[&str], action: Action) -> Profile {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let mut profile = Profile::new(Action::Allow);
    profile.rules.push(Rule {
        names,
        action,
        args: vec![],
        condition: Condition::default(),
    });
    profile
}

/// Runs `script` under the filter of `profile`.
fn run_under(profile: &Profile, script: &str) -> (String, Exit) {
    let root = root();
    let mut plan = plan(root.path(), script);
    let filter = compile(profile, &CompileEnv::host(CapSet::EMPTY)).unwrap();
    plan.process.seccomp = Some(Seccomp {
        program: filter
            .iter()
            .map(|one| (one.code, one.jt, one.jf, one.k))
            .collect(),
        flags: profile.flags,
    });
    let ended = run(plan).unwrap();
    (ended.output, ended.exit)
}

#[test]
fn every_action_is_carried_out() {
    let script = "busybox mkdir /tmp/made && echo made; echo $?";
    let under = |action| run_under(&without(&["mkdir", "mkdirat"], action), script).0;
    assert_eq!(under(Action::Allow), "made\n0\n");
    assert_eq!(under(Action::Log), "made\n0\n");
    let failed = under(Action::Errno(libc::EIO as u16));
    assert!(
        !failed.starts_with("made") && failed.ends_with("1\n"),
        "{failed:?}"
    );
    // A shell reports death by signal 31, SIGSYS, as 128 + 31.
    for action in [Action::KillProcess, Action::KillThread, Action::Trap] {
        let said = under(action);
        assert!(said.ends_with("159\n"), "{action:?}: {said:?}");
    }
    // Without a tracer the call does not exist.
    assert!(!under(Action::Trace(1)).starts_with("made"));
}

/// The least time that loading a filter takes a thread, of many, because a busy machine can only add to it.
fn least_time(filter: &[FilterInstruction]) -> Duration {
    let load = || {
        let filter = filter.to_vec();
        std::thread::spawn(move || {
            let start = Instant::now();
            load_filter(&filter, 0).unwrap();
            start.elapsed()
        })
        .join()
        .unwrap()
    };
    (0..40).map(|_| load()).min().unwrap()
}

/// A filter that compares the number of a call with `count` others, one after another, and allows it.
fn chain(count: u32) -> Vec<FilterInstruction> {
    let one = |code: u32, jf, k| FilterInstruction {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let answer = |action| one(libc::BPF_RET | libc::BPF_K, 0, action);
    let mut filter = vec![one(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for number in 0..count {
        filter.push(one(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            1,
            100_000 + number,
        ));
        filter.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    filter
}

/// On the machine of docs/performance.md it takes 0.1 ms. What another takes is held against a list of as many numbers as
/// the profile allows.
#[test]
fn loading_the_default_profile_costs_a_quarter_of_a_list() {
    let names = runtime::caps::NAMES.iter().take(14);
    let caps: CapSet = names
        .filter_map(|name| Capability::from_name(name))
        .collect();
    let filter = compile(&default_profile(), &CompileEnv::host(caps)).unwrap();
    let (profile, list) = (least_time(&filter), least_time(&chain(350)));
    println!("{} instructions, {profile:?}, {list:?}", filter.len());
    assert!(profile * 4 < list, "{profile:?}, {list:?}");
}
