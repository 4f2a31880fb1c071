//! A seccomp profile as data, in the terms of Docker's and OCI's published formats.

use crate::caps::CapSet;

use super::{FLAG_SPEC_ALLOW, KernelVersion};

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Kill the process, as by SIGSYS.
    KillProcess,
    /// Kill the calling thread.
    KillThread,
    /// Send SIGSYS to the thread.
    Trap,
    /// Fail with this errno.
    Errno(u16),
    /// Ask a tracer, to which this number is given; fail with ENOSYS where there is none.
    Trace(u16),
    /// Ask the supervisor behind the filter's listener.
    Notify,
    /// Allow, and write to the audit log.
    Log,
    /// Allow.
    Allow,
}

impl Action {
    /// The filter's return value.
    pub(super) fn code(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0x0000_0000,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trace(number) => 0x7ff0_0000 | u32::from(number),
            Action::Notify => 0x7fc0_0000,
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }
}

/// An instruction set with system-call numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit x86 with 32-bit pointers.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM (EABI).
    Arm,
}

impl Arch {
    /// The set this program was compiled for.
    pub const NATIVE: Arch = if cfg!(target_arch = "aarch64") {
        Arch::Aarch64
    } else {
        Arch::X86_64
    };

    /// The word that profiles use in `includes.arches`.
    pub fn docker_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::X86 => "x86",
            Arch::X32 => "x32",
            Arch::Aarch64 => "arm64",
            Arch::Arm => "arm",
        }
    }

    /// Whether its registers have 32 bits.
    pub(super) fn is_32_bit(self) -> bool {
        matches!(self, Arch::X86 | Arch::Arm)
    }

    /// The value of `seccomp_data.arch` (AUDIT_ARCH_*). x32 shares that of its 64-bit sibling.
    pub(super) fn audit_code(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }
}

/// How an argument is compared, as unsigned 64-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less than the value.
    Lt,
    /// At most the value.
    Le,
    /// Greater than the value.
    Gt,
    /// At least the value.
    Ge,
    /// The bits of this mask equal the value.
    MaskedEq(u64),
}

/// A test of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Argument {
    /// Position, 0 to 5.
    pub index: u8,
    /// Comparison of the argument (left) with the value (right).
    pub comparison: Comparison,
    /// The value.
    pub value: u64,
}

impl Argument {
    /// Whether a call with `args` passes.
    #[cfg(test)]
    pub(super) fn holds(self, args: &[u64; 6]) -> bool {
        let argument = args[usize::from(self.index)];
        match self.comparison {
            Comparison::Eq => argument == self.value,
            Comparison::Ne => argument != self.value,
            Comparison::Lt => argument < self.value,
            Comparison::Le => argument <= self.value,
            Comparison::Gt => argument > self.value,
            Comparison::Ge => argument >= self.value,
            Comparison::MaskedEq(mask) => argument & mask == self.value,
        }
    }
}

/// When a rule is part of the profile. Empty fields ask nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The container has all of these capabilities.
    pub caps: CapSet,
    /// The native instruction set is one of these ([`Arch::docker_name`]).
    pub arches: Vec<String>,
    /// The kernel is at least this version.
    pub min_kernel: Option<KernelVersion>,
    /// The container has none of these capabilities.
    pub without_caps: CapSet,
    /// The native instruction set is none of these.
    pub without_arches: Vec<String>,
    /// The kernel is older than this version.
    pub before_kernel: Option<KernelVersion>,
}

impl Condition {
    /// Whether the condition holds for a container with `caps` on this kind of host.
    pub(super) fn holds(&self, caps: CapSet, arch: Arch, kernel: KernelVersion) -> bool {
        let named = |arches: &[String]| arches.iter().any(|name| name == arch.docker_name());
        caps.includes(self.caps)
            && (self.arches.is_empty() || named(&self.arches))
            && self.min_kernel.is_none_or(|least| kernel >= least)
            && !caps.intersects(self.without_caps)
            && !named(&self.without_arches)
            && self.before_kernel.is_none_or(|first| kernel < first)
    }
}

/// What happens to some calls.
///
/// Several argument tests must all hold, except that tests of the same argument are alternatives, as runc reads
/// them. Among rules for one call, one without tests decides alone; otherwise the first whose tests hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Calls by name. A name that this instruction set lacks is skipped.
    pub names: Vec<String>,
    /// What to do.
    pub action: Action,
    /// Tests of arguments.
    pub args: Vec<Argument>,
    /// When the rule applies at all.
    pub condition: Condition,
}

/// Instruction sets that the filter lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Architectures {
    /// The native one and the listed others, whatever the host.
    Listed(Vec<Arch>),
    /// For each native one, its companions; a native one that is not listed stands alone.
    ByNative(Vec<(Arch, Vec<Arch>)>),
}

/// A seccomp profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What happens to calls that no rule names.
    pub default_action: Action,
    /// Instruction sets beside the native one.
    pub architectures: Architectures,
    /// Flags of the kernel's loading call.
    pub flags: u32,
    /// Rules in order.
    pub rules: Vec<Rule>,
    /// The supervisor that [`Action::Notify`] asks.
    pub listener: Option<Listener>,
}

/// Who takes a filter's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The socket that it is sent to.
    pub path: String,
    /// What is sent beside, as the profile says.
    pub metadata: String,
}

impl Profile {
    /// A profile without rules.
    pub fn new(default_action: Action) -> Profile {
        Profile {
            default_action,
            architectures: Architectures::ByNative(vec![
                (Arch::X86_64, vec![Arch::X86, Arch::X32]),
                (Arch::Aarch64, vec![Arch::Arm]),
            ]),
            flags: FLAG_SPEC_ALLOW,
            rules: Vec::new(),
            listener: None,
        }
    }

    /// The instruction sets for a host whose own one is `native`; the native one first.
    pub(super) fn architectures_for(&self, native: Arch) -> Vec<Arch> {
        let mut all = vec![native];
        let others: &[Arch] = match &self.architectures {
            Architectures::Listed(list) => list,
            Architectures::ByNative(table) => table
                .iter()
                .find(|(arch, _)| *arch == native)
                .map_or(&[], |(_, others)| others),
        };
        for arch in others {
            if !all.contains(arch) {
                all.push(*arch);
            }
        }
        all
    }

    /// Whether any rule or the default asks a supervisor, so that loading yields a listener.
    pub fn notifies(&self) -> bool {
        self.default_action == Action::Notify
            || self.rules.iter().any(|rule| rule.action == Action::Notify)
    }
}
