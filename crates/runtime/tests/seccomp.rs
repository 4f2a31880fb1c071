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
use sys::process::{Exit, load_filter, unshare};

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

#[test]
fn loading_the_default_profile_costs_less_than_a_sixth_of_a_millisecond() {
    let names = runtime::caps::NAMES.iter().take(14);
    let caps: CapSet = names
        .filter_map(|name| Capability::from_name(name))
        .collect();
    let filter = compile(&default_profile(), &CompileEnv::host(caps)).unwrap();
    let load = || {
        let filter = filter.clone();
        std::thread::spawn(move || {
            let start = Instant::now();
            load_filter(&filter, 0).unwrap();
            start.elapsed()
        })
        .join()
        .unwrap()
    };
    // The least of many, because a busy machine can only add to it.
    let least = (0..40).map(|_| load()).min().unwrap();
    println!("{} instructions, {least:?}", filter.len());
    assert!(least < Duration::from_micros(150), "{least:?}");
}
