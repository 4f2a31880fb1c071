//! A short way from the kernel to `main`.
//!
//! Before `main` the C library asks the processor what it can: 68 `cpuid` instructions in a static program of glibc 2.36
//! on an Intel processor, nearly all of them about the sizes of caches. Each leaves a virtual machine: over a
//! microsecond under KVM, and 12 µs where machines are nested, which is nearly a millisecond of a program whose whole
//! life is two. Rust's own start reads `/proc/self/maps` and sets up a second stack. A client needs neither: its
//! copies are short, and the routines that every x86-64 processor has do for them.
//!
//! So the program has an entry of its own that takes the same steps as glibc's `__libc_start_main` of a static program
//! (`csu/libc-start.c`, 2.36) without those. The daemon and the launcher, which run long and copy much, go on to
//! glibc's.
//!
//! The steps are no public interface. The build script lets this module in only for the version of glibc that it was
//! written for, on x86-64, linked statically; elsewhere the program starts as any other, only later.

use std::arch::naked_asm;
use std::ffi::{c_char, c_int, c_void};
use std::io;

/// Makes a function that returns the exit status what the short start begins.
#[macro_export]
macro_rules! short_start {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn wharf_short_main() -> ! {
            $crate::start::run($main)
        }
    };
}

unsafe extern "C" {
    // glibc, `elf/dl-support.c`, `csu/libc-tls.c`, `elf/libc_early_init.c`, `csu/init-first.c`.
    fn _start();
    fn _dl_aux_init(auxv: *const c_void);
    fn __tunables_init(envp: *const *const c_char);
    fn __libc_setup_tls();
    fn __libc_early_init(initial: bool);
    fn __libc_init_first(argc: c_int, argv: *const *const c_char, envp: *const *const c_char);
    static __environ: *const *const c_char;
    static __libc_stack_end: *const c_void;
    static _dl_random: *const [usize; 2];
    // `sysdeps/x86/cpu-features.c` and `cacheinfo.h`. The first word of the features is the kind of the processor.
    static _dl_x86_cpu_features: c_int;
    static __x86_shared_non_temporal_threshold: usize;
    static __x86_rep_movsb_stop_threshold: usize;
    // The linker's: relocations whose value a function chooses, and functions that run before `main`.
    static __rela_iplt_start: c_void;
    static __rela_iplt_end: c_void;
    static __preinit_array_start: c_void;
    static __preinit_array_end: c_void;
    static __init_array_start: c_void;
    static __init_array_end: c_void;
    // What `short_start!` made of the program's `main`.
    fn wharf_short_main() -> !;
}

/// What glibc calls a processor that it knows nothing of (`arch_kind_other`).
const UNKNOWN_PROCESSOR: usize = 4;

/// From how many bytes on a copy goes past the caches: three quarters of the 1 MiB that glibc takes a cache to be
/// that it knows nothing of. Zero, which stands there before, would send short copies that way too.
const PAST_THE_CACHES: usize = 0xc_0000;

/// The program's entry, named to the linker by the build script of the binary.
///
/// The stack is as the kernel leaves it (System V ABI for x86-64, 3.4.1): argc, argv, a null, envp, a null, auxv.
/// Called by nobody else. No function that a relocation chooses may run before those are applied: hence no Rust.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn wharf_start() -> ! {
    naked_asm!(
        // A name that ends in `d` (wharfd, dockerd), and the roles `daemon` and `launcher`, start the long way.
        "mov rsi, [rsp + 8]",
        "test rsi, rsi",
        "jz 9f",
        "2:",
        "inc rsi",
        "cmp byte ptr [rsi - 1], 0",
        "jne 2b",
        "cmp byte ptr [rsi - 2], 'd'",
        "je 9f",
        "cmp qword ptr [rsp], 2",
        "jb 3f",
        "mov rsi, [rsp + 16]",
        "cmp dword ptr [rsi], 0x6d656164", // "daem"
        "je 9f",
        "cmp dword ptr [rsi], 0x6e75616c", // "laun"
        "je 9f",
        // argc, argv and envp stay in r12, r13 and r14, which functions leave as they are.
        "3:",
        "xor ebp, ebp",
        "mov r12, [rsp]",
        "lea r13, [rsp + 8]",
        "lea r14, [r13 + r12 * 8 + 8]",
        "mov [rip + {environ}], r14",
        "mov [rip + {stack_end}], rsp",
        "and rsp, -16",
        "mov rdi, r14",
        "4:",
        "add rdi, 8",
        "cmp qword ptr [rdi - 8], 0",
        "jne 4b",
        "call {aux_init}",
        "mov rdi, r14",
        "call {tunables_init}",
        // Here glibc asks the processor.
        "mov dword ptr [rip + {features}], {unknown}",
        "mov qword ptr [rip + {past}], {limit}",
        "mov qword ptr [rip + {stop}], {limit}",
        // Each relocation (Elf64_Rela) is where, what kind, and the function that chooses.
        "lea rbx, [rip + {rela_start}]",
        "lea r15, [rip + {rela_end}]",
        "5:",
        "cmp rbx, r15",
        "jae 6f",
        "call [rbx + 16]",
        "mov rcx, [rbx]",
        "mov [rcx], rax",
        "add rbx, 24",
        "jmp 5b",
        "6:",
        "call {setup_tls}",
        // The guards of stacks and of saved pointers, from the kernel's random bytes.
        "mov rdx, [rip + {random}]",
        "mov rax, [rdx]",
        "xor al, al",
        "mov fs:[0x28], rax",
        "mov rax, [rdx + 8]",
        "mov fs:[0x30], rax",
        "mov edi, 1",
        "call {early_init}",
        "mov edi, r12d",
        "mov rsi, r13",
        "mov rdx, r14",
        "call {init_first}",
        "mov edi, r12d",
        "mov rsi, r13",
        "mov rdx, r14",
        "call {initialise}",
        "call {main}",
        "9:",
        "jmp {long}",
        environ = sym __environ,
        stack_end = sym __libc_stack_end,
        aux_init = sym _dl_aux_init,
        tunables_init = sym __tunables_init,
        features = sym _dl_x86_cpu_features,
        unknown = const UNKNOWN_PROCESSOR,
        past = sym __x86_shared_non_temporal_threshold,
        stop = sym __x86_rep_movsb_stop_threshold,
        limit = const PAST_THE_CACHES,
        rela_start = sym __rela_iplt_start,
        rela_end = sym __rela_iplt_end,
        setup_tls = sym __libc_setup_tls,
        random = sym _dl_random,
        early_init = sym __libc_early_init,
        init_first = sym __libc_init_first,
        initialise = sym initialise,
        main = sym wharf_short_main,
        long = sym _start,
    )
}

/// Runs what is to run before `main`; the standard library learns of the arguments so.
unsafe extern "C" fn initialise(
    argc: c_int,
    argv: *const *const c_char,
    envp: *const *const c_char,
) {
    type Initialiser = extern "C" fn(c_int, *const *const c_char, *const *const c_char);
    let arrays = [
        (
            &raw const __preinit_array_start,
            &raw const __preinit_array_end,
        ),
        (&raw const __init_array_start, &raw const __init_array_end),
    ];
    for (start, end) in arrays {
        let mut at: *const Initialiser = start.cast();
        while at.cast() < end {
            // SAFETY: between the linker's two marks stand functions of this kind.
            unsafe {
                (*at)(argc, argv, envp);
                at = at.add(1);
            }
        }
    }
}

/// Runs `main` as Rust's start does: with descriptors 0 to 2 open, and a closed pipe as an error and no signal.
pub fn run(main: fn() -> u8) -> ! {
    let ready = open_standard_descriptors();
    // SAFETY: a signal is ignored, and no other thread is there yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let status = match ready {
        // A panic has told its message by itself.
        Ok(()) => std::panic::catch_unwind(main).unwrap_or(101),
        Err(_) => 101,
    };
    std::process::exit(status.into())
}

/// Opens `/dev/null` in place of what was closed, so that no file of ours is taken for standard output.
fn open_standard_descriptors() -> io::Result<()> {
    let mut asked = [0, 1, 2].map(|fd| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    });
    // SAFETY: the array is as long as said.
    if unsafe { libc::poll(asked.as_mut_ptr(), 3, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    for one in asked {
        if one.revents & libc::POLLNVAL == 0 {
            continue;
        }
        // SAFETY: the path is a C string; the lowest free number is the closed one.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
