//! From a profile to a filter: what each number is answered, merged into ranges, searched as a tree.

use std::collections::BTreeMap;

use crate::caps::CapSet;

use super::profile::{Action, Arch, Argument, Comparison, Profile, Rule};
use super::program::{Assembler, Label, Test};
use super::syscalls::{self, ARM_PRIVATE, X32_BIT, X32_OWN};
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
        let mut numbers = release
            .split(|c: char| !c.is_ascii_digit())
            .map(|part| part.parse().unwrap_or(0));
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
        CompileEnv {
            caps,
            arch: Arch::NATIVE,
            kernel: KernelVersion::running(),
        }
    }
}

/// Calls whose arguments the kernel takes as 32-bit numbers. The registers' upper halves mean nothing to it, so a test
/// that looked at them would be passed by setting a bit there.
const TAKES_32_BITS: [&str; 2] = ["socket", "personality"];

/// What one number is answered: the first alternative whose tests all hold, else the last word.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decision {
    /// Whether only the lower halves of arguments count, as for [`TAKES_32_BITS`] and for 32-bit programs: a 64-bit
    /// program may make a 32-bit call and leave anything in the upper halves.
    narrow: bool,
    alternatives: Vec<(Vec<Argument>, Action)>,
    otherwise: Action,
}

impl Decision {
    fn plain(action: Action) -> Decision {
        Decision {
            narrow: false,
            alternatives: Vec::new(),
            otherwise: action,
        }
    }

    fn of(Call { narrow, rules }: &Call<'_>, default: Action) -> Decision {
        if let Some(rule) = rules.iter().find(|rule| rule.args.is_empty()) {
            return Decision::plain(rule.action);
        }
        let mut alternatives: Vec<_> = rules.iter().flat_map(|rule| alternatives(rule)).collect();
        while alternatives
            .last()
            .is_some_and(|(_, action)| *action == default)
        {
            alternatives.pop();
        }
        Decision {
            narrow: *narrow,
            alternatives,
            otherwise: default,
        }
    }
}

/// What a profile says of one number.
#[derive(Default)]
struct Call<'a> {
    narrow: bool,
    rules: Vec<&'a Rule>,
}

/// A rule's tests as lists that must hold whole: one list, or one a test when an argument is tested twice.
fn alternatives(rule: &Rule) -> Vec<(Vec<Argument>, Action)> {
    let twice = rule
        .args
        .iter()
        .enumerate()
        .any(|(n, arg)| rule.args[..n].iter().any(|a| a.index == arg.index));
    if twice {
        rule.args
            .iter()
            .map(|arg| (vec![*arg], rule.action))
            .collect()
    } else {
        vec![(rule.args.clone(), rule.action)]
    }
}

/// Start of each range of numbers and what they are answered, up to the next range.
type Ranges = Vec<(u32, Decision)>;

/// Compiles `profile` for a container in `env`.
///
/// Calls of an instruction set that the profile does not let in kill the process. Numbers above every call that
/// the profile names are answered ENOSYS where the profile denies by default, so that programs fall back from
/// calls that are younger than the profile.
///
/// An x32 call is answered as the 64-bit call of the same number; those that differ have numbers apart. The kernel
/// answers ENOSYS to what is left: 64-bit calls that x32 lacks, and x32's own numbers without its bit.
pub fn compile(profile: &Profile, env: &CompileEnv) -> Result<Vec<SockFilter>, SeccompError> {
    let mut assembler = Assembler::default();
    let mut next = assembler.answer(Action::KillProcess);
    for block in blocks(profile, env)?.into_iter().rev() {
        let mut start = tree(&mut assembler, &block.ranges);
        if block.ignored_bits != 0 {
            start = assembler.and(!block.ignored_bits, start);
        }
        let known = assembler.load(OFFSET_NUMBER, start);
        // The next test of the instruction set finds it in the accumulator still.
        next = assembler.branch(Test::Equal, block.audit_code, known, next);
    }
    assembler.load(OFFSET_ARCH, next);
    let filter = assembler.finish();
    if filter.len() > LIMIT {
        return Err(SeccompError::TooLong {
            count: filter.len(),
            limit: LIMIT,
        });
    }
    Ok(filter)
}

/// What the calls with one value of `seccomp_data.arch` are answered.
struct Block {
    audit_code: u32,
    /// Bits that are taken from a number before it is looked for.
    ignored_bits: u32,
    ranges: Ranges,
}

/// A block for each kind of program that is let in, the native one first.
fn blocks(profile: &Profile, env: &CompileEnv) -> Result<Vec<Block>, SeccompError> {
    let rules: Vec<&Rule> = profile
        .rules
        .iter()
        .filter(|rule| rule.condition.holds(env.caps, env.arch, env.kernel))
        .collect();
    if let Some(arg) = rules
        .iter()
        .flat_map(|rule| &rule.args)
        .find(|arg| arg.index > 5)
    {
        return Err(SeccompError::Invalid {
            what: format!("there is no argument {}", arg.index),
        });
    }
    let arches = profile.architectures_for(env.arch);
    let mut blocks = Vec::new();
    for arch in arches.iter().copied().filter(|arch| *arch != Arch::X32) {
        let x32 = arch == Arch::X86_64 && arches.contains(&Arch::X32);
        let mut ranges = ranges(profile, &rules, arch, x32);
        if arch == Arch::X86_64 && !x32 {
            ranges.push((X32_BIT, Decision::plain(Action::KillProcess)));
        }
        ranges.dedup_by(|later, earlier| later.1 == earlier.1);
        let ignored_bits = if x32 { X32_BIT } else { 0 };
        blocks.push(Block {
            audit_code: arch.audit_code(),
            ignored_bits,
            ranges,
        });
    }
    Ok(blocks)
}

/// What the whole number space of `arch`, and of x32 if asked for, is answered; ranges not yet merged.
fn ranges(profile: &Profile, rules: &[&Rule], arch: Arch, x32: bool) -> Ranges {
    let mut calls: BTreeMap<u32, Call<'_>> = BTreeMap::new();
    for rule in rules {
        for name in &rule.names {
            let own = syscalls::number(Arch::X32, name).map(|number| number & !X32_BIT);
            let own = own.filter(|own| x32 && *own >= X32_OWN);
            for number in syscalls::number(arch, name).into_iter().chain(own) {
                let call = calls.entry(number).or_default();
                call.narrow |= arch.is_32_bit() || TAKES_32_BITS.contains(&name.as_str());
                call.rules.push(rule);
            }
        }
    }
    // Numbers apart from the common ones say nothing of the profile's age.
    let apart = match arch {
        Arch::Arm => ARM_PRIVATE,
        Arch::X86_64 => X32_OWN,
        _ => u32::MAX,
    };
    let newest = calls.keys().copied().filter(|number| *number < apart).max();
    let unnamed = Decision::plain(profile.default_action);
    let unknown = Decision::plain(beyond_knowledge(profile.default_action));

    let mut ranges = BTreeMap::from([(0, unnamed.clone())]);
    for (number, call) in &calls {
        ranges.insert(*number, Decision::of(call, profile.default_action));
        let after = if newest.is_some_and(|newest| *number >= newest) {
            &unknown
        } else {
            &unnamed
        };
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
        Action::KillProcess | Action::KillThread | Action::Trap | Action::Errno(_) => {
            Action::Errno(ENOSYS)
        }
    }
}

/// Finds the range of the number in the accumulator by halving.
fn tree(assembler: &mut Assembler, ranges: &[(u32, Decision)]) -> Label {
    match ranges {
        [] => assembler.answer(Action::KillProcess),
        [(_, decision)] => leaf(assembler, decision),
        _ => {
            let (low, high) = ranges.split_at(middle(ranges));
            let first = high[0].0;
            let high = tree(assembler, high);
            let low = tree(assembler, low);
            assembler.branch(Test::AtLeast, first, high, low)
        }
    }
}

/// Where to halve at least two ranges: both sides are to hold as many numbers. The kernel tries each number at
/// loading, so a wide range should be found soon. A range counts at least and at most something, which bounds the
/// depth.
fn middle(ranges: &[(u32, Decision)]) -> usize {
    const NARROW: u32 = 4;
    const WIDE: u32 = 64;
    let weight = |at: usize| match (ranges[at].0, ranges.get(at + 1)) {
        (start, Some((end, _))) => (end - start).clamp(NARROW, WIDE),
        _ => NARROW,
    };
    let all: u32 = (0..ranges.len()).map(weight).sum();
    let mut before = 0;
    let mut best = (u32::MAX, 1);
    for at in 1..ranges.len() {
        before += weight(at - 1);
        best = best.min((before.abs_diff(all - before), at));
    }
    best.1
}

fn leaf(assembler: &mut Assembler, decision: &Decision) -> Label {
    let mut next = assembler.answer(decision.otherwise);
    for (tests, action) in decision.alternatives.iter().rev() {
        let mut hit = assembler.answer(*action);
        for test in tests.iter().rev() {
            hit = argument(assembler, test, decision.narrow, hit, next);
        }
        next = hit;
    }
    next
}

/// Tests an argument in its two halves, of which the upper one counts as 0 if `narrow`.
fn argument(
    assembler: &mut Assembler,
    test: &Argument,
    narrow: bool,
    yes: Label,
    no: Label,
) -> Label {
    match test.comparison {
        Comparison::Eq => equal(assembler, test, u64::MAX, narrow, yes, no),
        Comparison::Ne => equal(assembler, test, u64::MAX, narrow, no, yes),
        Comparison::MaskedEq(mask) => equal(assembler, test, mask, narrow, yes, no),
        Comparison::Gt => ordered(assembler, test, Test::Greater, narrow, yes, no),
        Comparison::Ge => ordered(assembler, test, Test::AtLeast, narrow, yes, no),
        Comparison::Le => ordered(assembler, test, Test::Greater, narrow, no, yes),
        Comparison::Lt => ordered(assembler, test, Test::AtLeast, narrow, no, yes),
    }
}

/// Offsets of an argument's lower and upper half.
fn offsets(test: &Argument) -> (u32, u32) {
    let low = OFFSET_ARGS + 8 * u32::from(test.index);
    (low, low + 4)
}

/// A value's lower and upper half.
fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// The upper half decides unless it is equal.
fn ordered(
    assembler: &mut Assembler,
    test: &Argument,
    order: Test,
    narrow: bool,
    yes: Label,
    no: Label,
) -> Label {
    let (low_offset, high_offset) = offsets(test);
    let (low, high) = halves(test.value);
    if narrow && high != 0 {
        return no;
    }
    let lower = assembler.branch(order, low, yes, no);
    let lower = assembler.load(low_offset, lower);
    if narrow {
        return lower;
    }
    let same = assembler.branch(Test::Equal, high, lower, no);
    let upper = assembler.branch(Test::Greater, high, yes, same);
    assembler.load(high_offset, upper)
}

fn equal(
    assembler: &mut Assembler,
    test: &Argument,
    mask: u64,
    narrow: bool,
    yes: Label,
    no: Label,
) -> Label {
    let (low_offset, high_offset) = offsets(test);
    let (low, high) = halves(test.value);
    let (low_mask, high_mask) = halves(mask);
    if narrow && high != 0 {
        return no;
    }
    let high_mask = if narrow { 0 } else { high_mask };
    let mut next = yes;
    for (offset, mask, value) in [(low_offset, low_mask, low), (high_offset, high_mask, high)] {
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
