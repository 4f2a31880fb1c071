//! From a profile to a filter: what each number is answered, merged into ranges, searched as a tree.

use std::collections::BTreeMap;

use crate::caps::CapSet;

use super::profile::{Action, Arch, Argument, Comparison, Profile, Rule};
use super::program::{Assembler, Label, Test};
use super::syscalls::{self, ARM_PRIVATE, X32_BIT};
use super::{SeccompError, SockFilter};

/// The longest filter that the kernel loads (BPF_MAXINSNS).
const LIMIT: usize = 4096;
/// Offsets in `struct seccomp_data`.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;
const ENOSYS: u16 = libc::ENOSYS as u16;

/// Major and minor number of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion(pub u32, pub u32);

impl KernelVersion {
    /// The version in a release string such as `6.18.44-custom`; what is missing counts as 0.
    pub fn parse(release: &str) -> KernelVersion {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        KernelVersion(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// The running kernel's.
    pub fn running() -> KernelVersion {
        KernelVersion::parse(&rustix::system::uname().release().to_string_lossy())
    }
}

/// What conditions of a profile are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompileEnv {
    /// The container's capabilities (its bounding set).
    pub caps: CapSet,
    /// The host's instruction set.
    pub arch: Arch,
    /// The host's kernel.
    pub kernel: KernelVersion,
}

impl CompileEnv {
    /// This host, and a container with `caps`.
    pub fn host(caps: CapSet) -> CompileEnv {
        CompileEnv { caps, arch: Arch::NATIVE, kernel: KernelVersion::running() }
    }
}

/// What one number is answered: the first alternative whose tests all hold, else the last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) alternatives: Vec<(Vec<Argument>, Action)>,
    pub(super) otherwise: Action,
}

impl Decision {
    fn plain(action: Action) -> Decision {
        Decision { alternatives: Vec::new(), otherwise: action }
    }

    fn of(rules: &[&Rule], default: Action) -> Decision {
        if let Some(rule) = rules.iter().find(|rule| rule.args.is_empty()) {
            return Decision::plain(rule.action);
        }
        let mut alternatives: Vec<_> = rules.iter().flat_map(|rule| alternatives(rule)).collect();
        while alternatives.last().is_some_and(|(_, action)| *action == default) {
            alternatives.pop();
        }
        Decision { alternatives, otherwise: default }
    }
}

/// A rule's tests as lists that must hold whole: one list, or one a test when an argument is tested twice.
fn alternatives(rule: &Rule) -> Vec<(Vec<Argument>, Action)> {
    let twice = rule.args.iter().enumerate().any(|(n, arg)| rule.args[..n].iter().any(|a| a.index == arg.index));
    if twice {
        rule.args.iter().map(|arg| (vec![*arg], rule.action)).collect()
    } else {
        vec![(rule.args.clone(), rule.action)]
    }
}

/// Start of each range of numbers and what they are answered, up to the next range.
pub(super) type Ranges = Vec<(u32, Decision)>;

/// Compiles `profile` for a container in `env`.
///
/// Calls of an instruction set that the profile does not let in kill the process. Numbers above every call that
/// the profile names are answered ENOSYS where the profile denies by default, so that programs fall back from
/// calls that are younger than the profile.
pub fn compile(profile: &Profile, env: &CompileEnv) -> Result<Vec<SockFilter>, SeccompError> {
    let mut assembler = Assembler::default();
    let mut next = assembler.answer(Action::KillProcess);
    for (code, ranges) in by_audit_code(profile, env)?.into_iter().rev() {
        let tree = tree(&mut assembler, &ranges);
        let known = assembler.load(OFFSET_NUMBER, tree);
        // The next test of the instruction set finds it in the accumulator still.
        next = assembler.branch(Test::Equal, code, known, next);
    }
    assembler.load(OFFSET_ARCH, next);
    let filter = assembler.finish();
    if filter.len() > LIMIT {
        return Err(SeccompError::TooLong { count: filter.len(), limit: LIMIT });
    }
    Ok(filter)
}

/// For each value of `seccomp_data.arch` that is let in, the native one first, what all numbers are answered.
pub(super) fn by_audit_code(profile: &Profile, env: &CompileEnv) -> Result<Vec<(u32, Ranges)>, SeccompError> {
    let rules: Vec<&Rule> =
        profile.rules.iter().filter(|rule| rule.condition.holds(env.caps, env.arch, env.kernel)).collect();
    if let Some(arg) = rules.iter().flat_map(|rule| &rule.args).find(|arg| arg.index > 5) {
        return Err(SeccompError::Invalid { what: format!("there is no argument {}", arg.index) });
    }
    let arches = profile.architectures_for(env.arch);
    let mut blocks = Vec::new();
    for arch in arches.iter().copied().filter(|arch| *arch != Arch::X32) {
        let mut ranges = numbers(profile, &rules, arch);
        if arch == Arch::X86_64 {
            ranges.retain(|(start, _)| *start < X32_BIT);
            if arches.contains(&Arch::X32) {
                ranges.extend(numbers(profile, &rules, Arch::X32).into_iter().filter(|(start, _)| *start >= X32_BIT));
            } else {
                ranges.push((X32_BIT, Decision::plain(Action::KillProcess)));
            }
        }
        ranges.dedup_by(|later, earlier| later.1 == earlier.1);
        blocks.push((arch.audit_code(), ranges));
    }
    Ok(blocks)
}

/// What the whole number space of `arch` is answered, ranges not yet merged.
fn numbers(profile: &Profile, rules: &[&Rule], arch: Arch) -> Ranges {
    let mut calls: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
    for rule in rules {
        for number in rule.names.iter().filter_map(|name| syscalls::number(arch, name)) {
            calls.entry(number).or_default().push(rule);
        }
    }
    let base = if arch == Arch::X32 { X32_BIT } else { 0 };
    let private = if arch == Arch::Arm { ARM_PRIVATE } else { u32::MAX };
    let newest = calls.keys().copied().filter(|number| *number < private).max();
    let unnamed = Decision::plain(profile.default_action);
    let unknown = Decision::plain(beyond_knowledge(profile.default_action));

    let mut ranges = BTreeMap::from([(base, unnamed.clone())]);
    for (number, rules) in &calls {
        ranges.insert(*number, Decision::of(rules, profile.default_action));
        let after = if newest.is_none_or(|newest| *number >= newest) { &unknown } else { &unnamed };
        if let Some(following) = number.checked_add(1) {
            ranges.insert(following, after.clone());
        }
    }
    ranges.into_iter().collect()
}

/// The answer to calls that are younger than the profile. A profile that allows by default goes on allowing.
fn beyond_knowledge(default: Action) -> Action {
    match default {
        Action::Allow | Action::Log | Action::Notify | Action::Trace(_) => default,
        Action::KillProcess | Action::KillThread | Action::Trap | Action::Errno(_) => Action::Errno(ENOSYS),
    }
}

/// Finds the range of the number in the accumulator by halving.
fn tree(assembler: &mut Assembler, ranges: &[(u32, Decision)]) -> Label {
    match ranges {
        [] => assembler.answer(Action::KillProcess),
        [(_, decision)] => leaf(assembler, decision),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let first = high[0].0;
            let high = tree(assembler, high);
            let low = tree(assembler, low);
            assembler.branch(Test::AtLeast, first, high, low)
        }
    }
}

fn leaf(assembler: &mut Assembler, decision: &Decision) -> Label {
    let mut next = assembler.answer(decision.otherwise);
    for (tests, action) in decision.alternatives.iter().rev() {
        let mut hit = assembler.answer(*action);
        for test in tests.iter().rev() {
            hit = argument(assembler, test, hit, next);
        }
        next = hit;
    }
    next
}

/// Tests a 64-bit argument in its two halves: the upper one decides unless it is equal.
fn argument(assembler: &mut Assembler, test: &Argument, yes: Label, no: Label) -> Label {
    let low_offset = OFFSET_ARGS + 8 * u32::from(test.index);
    let high_offset = low_offset + 4;
    let (low, high) = (test.value as u32, (test.value >> 32) as u32);
    match test.comparison {
        Comparison::Eq => equal(assembler, test, u64::MAX, yes, no),
        Comparison::Ne => equal(assembler, test, u64::MAX, no, yes),
        Comparison::MaskedEq(mask) => equal(assembler, test, mask, yes, no),
        Comparison::Gt | Comparison::Ge | Comparison::Lt | Comparison::Le => {
            let (test, yes, no) = match test.comparison {
                Comparison::Gt => (Test::Greater, yes, no),
                Comparison::Ge => (Test::AtLeast, yes, no),
                Comparison::Le => (Test::Greater, no, yes),
                _ => (Test::AtLeast, no, yes),
            };
            let lower = assembler.branch(test, low, yes, no);
            let lower = assembler.load(low_offset, lower);
            let same = assembler.branch(Test::Equal, high, lower, no);
            let upper = assembler.branch(Test::Greater, high, yes, same);
            assembler.load(high_offset, upper)
        }
    }
}

fn equal(assembler: &mut Assembler, test: &Argument, mask: u64, yes: Label, no: Label) -> Label {
    let low_offset = OFFSET_ARGS + 8 * u32::from(test.index);
    let halves = [(low_offset, mask as u32, test.value as u32), (low_offset + 4, (mask >> 32) as u32, (test.value >> 32) as u32)];
    let mut next = yes;
    for (offset, mask, value) in halves {
        if mask == 0 && value == 0 {
            continue;
        }
        let mut check = assembler.branch(Test::Equal, value, next, no);
        if mask != u32::MAX {
            check = assembler.and(mask, check);
        }
        next = assembler.load(offset, check);
    }
    next
}
