//! Profiles of system call filters, compiled for two sets of capabilities.
#![no_main]

use runtime::caps::CapSet;
use runtime::seccomp::{Arch, CompileEnv, KernelVersion, Profile, compile};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(profile) = Profile::from_json(text) else {
        return;
    };
    for caps in [CapSet::EMPTY, CapSet::from_bits(u64::MAX)] {
        let env = CompileEnv {
            caps,
            arch: Arch::NATIVE,
            kernel: KernelVersion::parse("6.1"),
        };
        if let Ok(program) = compile(&profile, &env) {
            assert!(program.len() <= 4096, "the kernel takes no longer one");
        }
    }
});
