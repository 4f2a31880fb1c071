//! Docker's published default profile: what it allows, as facts, and under which conditions.

use crate::caps::{CapSet, Capability};

use super::KernelVersion;
use super::profile::{Action, Argument, Comparison, Condition, Profile, Rule};

/// Calls that every container may make.
const ALWAYS: &str = "\
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod \
    chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime \
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range \
    creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 \
    epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 \
    fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 \
    fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat \
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 \
    futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents \
    getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer \
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid \
    getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 \
    getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel \
    io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get \
    ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 \
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr \
    lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat \
    mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open \
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal \
    msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat \
    open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect \
    poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 \
    pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom \
    recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat \
    renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask \
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo \
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam \
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity \
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop \
    semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list \
    set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups \
    setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid \
    setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat \
    shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall \
    socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range \
    syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime \
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 \
    timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink \
    unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write \
    writev";

/// Calls that come with CAP_SYS_ADMIN.
const ADMINISTRATION: &str = "\
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
    lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
    quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare";

/// Calls that come with one other capability.
const BY_CAPABILITY: [(&str, &str); 11] = [
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module init_module finit_module"),
    ("SYS_PACCT", "acct"),
    (
        "SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("SYS_RAWIO", "iopl ioperm"),
    (
        "SYS_TIME",
        "settimeofday stime clock_settime clock_settime64",
    ),
    ("SYS_TTY_CONFIG", "vhangup"),
    (
        "SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("SYSLOG", "syslog"),
];
/// The same, for the capabilities that were once part of CAP_SYS_ADMIN.
const BY_YOUNG_CAPABILITY: [(&str, &str); 2] = [("BPF", "bpf"), ("PERFMON", "perf_event_open")];

/// Calls that exist for some instruction sets only.
const BY_ARCHITECTURE: [(&[&str], &str); 6] = [
    (&["ppc64le"], "sync_file_range2 swapcontext"),
    (
        &["arm", "arm64"],
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    (&["amd64", "x32"], "arch_prctl"),
    (&["amd64", "x32", "x86"], "modify_ldt"),
    (
        &["s390", "s390x"],
        "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    ),
    (&["riscv64"], "riscv_flush_icache"),
];

/// Debuggers' calls, which a filter could be left by until Linux 4.8.
const TRACING: &str = "process_vm_readv process_vm_writev ptrace";
const TRACING_SINCE: KernelVersion = KernelVersion(4, 8);

/// Sockets of all families but AF_ALG (38) and AF_VSOCK (40), with which a container reaches the host.
const SOCKET_FAMILIES: [(Comparison, u64); 3] = [
    (Comparison::Lt, 38),
    (Comparison::Eq, 39),
    (Comparison::Gt, 40),
];

/// PER_LINUX, PER_LINUX32, the same two with UNAME26, and the query.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The CLONE_NEW* flags: without CAP_SYS_ADMIN none of them may be set.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// s390 has clone's flags second.
const FLAGS_SECOND: [&str; 2] = ["s390", "s390x"];

/// Docker's default profile.
pub fn default_profile() -> Profile {
    let admin = CapSet::EMPTY.with(Capability::SYS_ADMIN);
    let mut profile = Profile::new(Action::Errno(libc::EPERM as u16));
    let mut rule = |names: &str, action: Action, args: Vec<Argument>, condition: Condition| {
        let names = names.split_ascii_whitespace().map(str::to_owned).collect();
        profile.rules.push(Rule {
            names,
            action,
            args,
            condition,
        });
    };
    let anyone = Condition::default;

    rule(ALWAYS, Action::Allow, vec![], anyone());
    rule(
        TRACING,
        Action::Allow,
        vec![],
        Condition {
            min_kernel: Some(TRACING_SINCE),
            ..anyone()
        },
    );
    for (comparison, value) in SOCKET_FAMILIES {
        rule(
            "socket",
            Action::Allow,
            vec![Argument {
                index: 0,
                comparison,
                value,
            }],
            anyone(),
        );
    }
    for value in PERSONALITIES {
        let test = Argument {
            index: 0,
            comparison: Comparison::Eq,
            value,
        };
        rule("personality", Action::Allow, vec![test], anyone());
    }
    for (arches, names) in BY_ARCHITECTURE {
        let arches = arches.iter().map(|arch| (*arch).to_owned()).collect();
        rule(
            names,
            Action::Allow,
            vec![],
            Condition { arches, ..anyone() },
        );
    }
    for (name, names) in BY_CAPABILITY.iter().chain(&BY_YOUNG_CAPABILITY) {
        let caps: CapSet = Capability::from_name(name).into_iter().collect();
        rule(names, Action::Allow, vec![], Condition { caps, ..anyone() });
    }
    rule(
        ADMINISTRATION,
        Action::Allow,
        vec![],
        Condition {
            caps: admin,
            ..anyone()
        },
    );
    clone_without_namespaces(admin, &mut rule);
    profile
}

/// Threads and processes for containers that may not make namespaces. The flags of clone3 lie in memory, where
/// no filter sees them: ENOSYS makes the C library use clone.
fn clone_without_namespaces(
    admin: CapSet,
    rule: &mut impl FnMut(&str, Action, Vec<Argument>, Condition),
) {
    let second: Vec<String> = FLAGS_SECOND.map(str::to_owned).to_vec();
    let no_namespace = |index| {
        vec![Argument {
            index,
            comparison: Comparison::MaskedEq(CLONE_NAMESPACES),
            value: 0,
        }]
    };
    let plain = || Condition {
        without_caps: admin,
        ..Condition::default()
    };
    rule(
        "clone",
        Action::Allow,
        no_namespace(0),
        Condition {
            without_arches: second.clone(),
            ..plain()
        },
    );
    rule(
        "clone",
        Action::Allow,
        no_namespace(1),
        Condition {
            arches: second,
            ..plain()
        },
    );
    rule(
        "clone3",
        Action::Errno(libc::ENOSYS as u16),
        vec![],
        plain(),
    );
}
