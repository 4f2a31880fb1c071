//! Where nothing may be mounted: on and within the container's /proc.
//!
//! What the engine reads, writes, hides and protects there has to be the kernel's own. As runc does, mounts that hide a
//! part of it are refused, but for single files that lxcfs and the like stand in for.

/// Where the procfs is.
const PROC: &str = "/proc";

/// Files that others than the kernel may provide; the list of runc (checkProcMount), without what links of the procfs
/// itself lead to.
const REPLACEABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// What a path is to the procfs at /proc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Elsewhere, or a file that may be replaced.
    Apart,
    /// /proc itself, where only a procfs may be.
    Proc,
    /// Within, where nothing may be mounted.
    Inside,
}

/// Finds what a normal absolute path of the container is to the procfs. Links are not looked at.
pub fn relation(path: &str) -> Relation {
    match path.strip_prefix(PROC) {
        Some("") => Relation::Proc,
        Some(below) if below.starts_with('/') && !REPLACEABLE.contains(&path) => Relation::Inside,
        _ => Relation::Apart,
    }
}

/// Why nothing, or not this, is mounted at a target, in runc's words.
pub fn refusal(target: &str) -> String {
    match relation(target) {
        Relation::Proc => format!("{target:?} cannot be mounted because it is not of type proc"),
        // A link leads there, when the path itself does not.
        Relation::Inside | Relation::Apart => {
            format!("{target:?} cannot be mounted because it is inside /proc")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_procfs_itself_is_kept() {
        for (path, found) in [
            ("/proc", Relation::Proc),
            ("/proc/1", Relation::Inside),
            ("/proc/sys/kernel", Relation::Inside),
            ("/proc/cpuinfo/x", Relation::Inside),
            ("/proc/cpuinfo", Relation::Apart),
            ("/proc/sys/kernel/ns_last_pid", Relation::Apart),
            ("/process", Relation::Apart),
            ("/srv/proc/1", Relation::Apart),
            ("/", Relation::Apart),
        ] {
            assert_eq!(relation(path), found, "{path}");
        }
    }
}
