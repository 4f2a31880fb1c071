//! Linux capabilities: names, sets as bit masks, and what this host can give.

use std::fmt;
use std::sync::OnceLock;

/// Names in the order of the kernel's numbers (`linux/capability.h`), without the prefix `CAP_`.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Number of capabilities this program knows by name.
pub const COUNT: u8 = NAMES.len() as u8;

/// One capability, by its kernel number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

impl Capability {
    /// CAP_SYS_ADMIN.
    pub const SYS_ADMIN: Capability = Capability(21);
    /// CAP_SYS_RESOURCE.
    pub const SYS_RESOURCE: Capability = Capability(24);

    /// The capability called `name`, in any case, with or without `CAP_`.
    pub fn from_name(name: &str) -> Option<Capability> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let number = NAMES.iter().position(|known| *known == bare)?;
        u8::try_from(number).ok().map(Capability)
    }

    /// The capability with the kernel's number `number`, if this program knows it.
    pub fn from_number(number: u8) -> Option<Capability> {
        (number < COUNT).then_some(Capability(number))
    }

    /// The kernel's number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The name without its prefix, such as `NET_ADMIN`.
    pub fn bare_name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", self.bare_name())
    }
}

/// A set of capabilities, one bit each, as the kernel's masks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapSet(u64);

impl CapSet {
    /// The set without members.
    pub const EMPTY: CapSet = CapSet(0);
    /// Every capability that this program knows.
    pub const ALL: CapSet = CapSet((1 << COUNT) - 1);

    /// The set with the kernel's mask `bits`; bits without a name are kept.
    pub const fn from_bits(bits: u64) -> CapSet {
        CapSet(bits)
    }

    /// The kernel's mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether `capability` is a member.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Whether every member of `other` is a member.
    pub fn includes(self, other: CapSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any member of `other` is a member.
    pub fn intersects(self, other: CapSet) -> bool {
        self.0 & other.0 != 0
    }

    /// This set and `capability`.
    #[must_use]
    pub fn with(self, capability: Capability) -> CapSet {
        CapSet(self.0 | 1 << capability.0)
    }

    /// This set without `capability`.
    #[must_use]
    pub fn without(self, capability: Capability) -> CapSet {
        CapSet(self.0 & !(1 << capability.0))
    }

    /// The members of both sets.
    #[must_use]
    pub fn intersection(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }

    /// The members that have names, in the kernel's order.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..COUNT)
            .map(Capability)
            .filter(move |capability| self.contains(*capability))
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|c| c.bare_name()))
            .finish()
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> CapSet {
        capabilities.into_iter().fold(CapSet::EMPTY, CapSet::with)
    }
}

/// What a container of this process can have at most: the bounding set of the process that asks first.
///
/// `--privileged` means this set. It is asked for once: granting a capability that the host lacks would fail every start.
pub fn host_bounding_set() -> CapSet {
    static SET: OnceLock<CapSet> = OnceLock::new();
    *SET.get_or_init(|| {
        // An error comes above the last that the kernel knows.
        let known = (0..u64::BITS).map_while(|number| sys::process::has_bounding(number).ok());
        CapSet(
            (0..)
                .zip(known)
                .fold(0, |set, (number, has)| set | u64::from(has) << number),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_every_spelling() {
        for name in ["CAP_NET_ADMIN", "net_admin", "NET_ADMIN", "cap_net_admin"] {
            assert_eq!(
                Capability::from_name(name).map(Capability::number),
                Some(12),
                "{name}"
            );
        }
        assert_eq!(
            Capability::from_name("CAP_CHECKPOINT_RESTORE").map(Capability::number),
            Some(40)
        );
        assert_eq!(Capability::from_name("ALL"), None);
        assert_eq!(Capability::from_name("CAP_"), None);
        assert_eq!(Capability::SYS_ADMIN.to_string(), "CAP_SYS_ADMIN");
        assert_eq!(Capability::SYS_RESOURCE.to_string(), "CAP_SYS_RESOURCE");
    }

    #[test]
    fn every_capability_of_the_kernel_has_a_name() {
        let last: u8 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(last < COUNT, "the kernel knows capability {last}");
        for number in 0..COUNT {
            let capability = Capability::from_number(number).unwrap();
            assert_eq!(
                Capability::from_name(&capability.to_string()),
                Some(capability)
            );
        }
        assert_eq!(Capability::from_number(COUNT), None);
    }

    #[test]
    fn sets_behave_as_masks() {
        let kill = Capability::from_name("KILL").unwrap();
        let set: CapSet = [Capability::SYS_ADMIN, kill].into_iter().collect();
        assert_eq!(set.bits(), 1 << 21 | 1 << 5);
        assert!(set.includes(CapSet::EMPTY.with(kill)) && !CapSet::EMPTY.with(kill).includes(set));
        assert!(set.without(kill).intersects(set) && !CapSet::EMPTY.intersects(set));
        assert_eq!(
            set.iter().map(|c| c.bare_name()).collect::<Vec<_>>(),
            ["KILL", "SYS_ADMIN"]
        );
        assert_eq!(CapSet::ALL.iter().count(), usize::from(COUNT));
    }

    #[test]
    fn the_bounding_set_is_what_status_tells() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let told = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        let told = u64::from_str_radix(told.unwrap().trim(), 16).unwrap();
        assert_eq!(host_bounding_set(), CapSet(told));
    }
}
