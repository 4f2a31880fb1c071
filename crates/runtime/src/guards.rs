//! Guards against hostile images and containers, by name: a test turns each off, in a build of its own, to see that what it
//! keeps out gets in then.

/// What a guard watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The runtime's own program, which no container may write to (CVE-2019-5736).
    Program,
    /// Descriptors that are closed before the program (CVE-2024-21626).
    Descriptors,
    /// The working folder, which is in the container (CVE-2024-21626).
    WorkingFolder,
    /// Mount targets, which are in the container (CVE-2021-30465).
    Targets,
    /// The null device behind masked paths, which is one (CVE-2025-31133).
    NullDevice,
    /// The procfs that is written to, which is the kernel's (CVE-2025-52881).
    Procfs,
    /// The place of the container's procfs, which is /proc.
    ProcPlace,
    /// The place of the terminal at /dev/console, which no link leads elsewhere (CVE-2025-52565).
    Console,
    /// A process that is not yet the container's, which nobody there may look into (CVE-2016-9962).
    Hiding,
}

/// Whether a guard is turned off: never.
#[cfg(not(feature = "unguarded"))]
#[inline]
pub const fn is_off(_: Guard) -> bool {
    false
}

/// Whether the environment turns a guard off. Allocates nothing.
#[cfg(feature = "unguarded")]
pub fn is_off(guard: Guard) -> bool {
    let name = match guard {
        Guard::Program => c"program",
        Guard::Descriptors => c"descriptors",
        Guard::WorkingFolder => c"working-folder",
        Guard::Targets => c"targets",
        Guard::NullDevice => c"null-device",
        Guard::Procfs => c"procfs",
        Guard::ProcPlace => c"proc-place",
        Guard::Console => c"console",
        Guard::Hiding => c"hiding",
    };
    // SAFETY: the name ends with a NUL; nobody changes the environment of a runtime's command.
    let value = unsafe { libc::getenv(c"WHARF_UNGUARDED".as_ptr()) };
    // SAFETY: what getenv finds ends with a NUL and stays.
    !value.is_null() && unsafe { std::ffi::CStr::from_ptr(value) } == name
}
