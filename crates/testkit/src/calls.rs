//! Which system calls change state that outlives the caller, or that somebody else sees.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A system call at its entry.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The thread, as the host counts.
    pub thread: i32,
    /// The call's number.
    pub number: i64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Commands of fsconfig(2) that make, change or open a superblock.
const FSCONFIG_CREATE: std::ops::RangeInclusive<u64> = 6..=8;
/// `OPEN_TREE_CLONE`.
const CLONE_TREE: u64 = 1;

impl Call {
    /// Whether this call changes something that outlives the process or that another one sees.
    ///
    /// Counted are: open with O_CREAT, O_TRUNC or O_TMPFILE; write and its kin to what has a path
    /// (files, /proc/sys, control groups); rename, unlink, rmdir, mkdir, link, symlink, mknod;
    /// mount, umount, fsconfig that creates or changes, fsmount, move_mount, open_tree that
    /// clones, mount_setattr; sendmsg and sendto on netlink and on SEQPACKET sockets (launcher
    /// and shims); fsync, fdatasync, syncfs, sync; ftruncate, truncate, fallocate; chown, chmod,
    /// utimes, extended attributes; clone and fork of a process, not of a thread; setns, unshare;
    /// kill and pidfd_send_signal; bind.
    ///
    /// Not counted are answers on stream sockets: what was told is true by then.
    pub fn changes_state(&self) -> bool {
        let [first, second, third, ..] = self.arguments;
        match self.number {
            libc::SYS_openat => makes_file(third),
            libc::SYS_openat2 => self.read_word(third).is_none_or(makes_file),
            libc::SYS_write
            | libc::SYS_pwrite64
            | libc::SYS_writev
            | libc::SYS_pwritev
            | libc::SYS_pwritev2
            | libc::SYS_ftruncate
            | libc::SYS_fallocate => self.has_path(first),
            libc::SYS_copy_file_range => self.has_path(third),
            libc::SYS_sendfile => self.has_path(first),
            libc::SYS_sendmsg | libc::SYS_sendto | libc::SYS_sendmmsg => {
                self.is_command_socket(first)
            }
            libc::SYS_fsconfig => FSCONFIG_CREATE.contains(&second),
            libc::SYS_open_tree => third & CLONE_TREE != 0,
            libc::SYS_clone => first & libc::CLONE_THREAD as u64 == 0,
            libc::SYS_clone3 => self
                .read_word(first)
                .is_none_or(|flags| flags & libc::CLONE_THREAD as u64 == 0),
            number => ALWAYS.contains(&number) || self.changes_state_by_an_old_name(),
        }
    }

    /// Calls that newer architectures do without.
    #[cfg(target_arch = "x86_64")]
    fn changes_state_by_an_old_name(&self) -> bool {
        match self.number {
            libc::SYS_open => makes_file(self.arguments[1]),
            number => OLD.contains(&number),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn changes_state_by_an_old_name(&self) -> bool {
        false
    }

    /// Whether a descriptor is of something with a path, other than a device that forgets.
    fn has_path(&self, descriptor: u64) -> bool {
        fs::read_link(format!("/proc/{}/fd/{descriptor}", self.thread))
            .is_ok_and(|path| path.starts_with("/") && !path.starts_with("/dev"))
    }

    /// Whether a descriptor is a netlink or a SEQPACKET socket.
    fn is_command_socket(&self, descriptor: u64) -> bool {
        let Some(copy) = self.copy_of(descriptor) else {
            return false;
        };
        rustix::net::sockopt::socket_domain(&copy)
            .is_ok_and(|domain| domain == rustix::net::AddressFamily::NETLINK)
            || rustix::net::sockopt::socket_type(&copy)
                .is_ok_and(|kind| kind == rustix::net::SocketType::SEQPACKET)
    }

    fn copy_of(&self, descriptor: u64) -> Option<OwnedFd> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.thread)).ok()?;
        let leader: i32 = status
            .lines()
            .find_map(|line| line.strip_prefix("Tgid:"))?
            .trim()
            .parse()
            .ok()?;
        let leader = rustix::process::pidfd_open(
            rustix::process::Pid::from_raw(leader)?,
            rustix::process::PidfdFlags::empty(),
        )
        .ok()?;
        // SAFETY: pidfd_getfd(2) takes three numbers and touches no memory.
        let copy = unsafe {
            libc::syscall(
                libc::SYS_pidfd_getfd,
                leader.as_raw_fd(),
                descriptor as i32,
                0,
            )
        };
        // SAFETY: a descriptor that is not negative was made by the call above for us alone.
        (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy as i32) })
    }

    /// The first eight bytes of a structure in the caller's memory.
    fn read_word(&self, address: u64) -> Option<u64> {
        use std::os::unix::fs::FileExt;
        let memory = fs::File::open(format!("/proc/{}/mem", self.thread)).ok()?;
        let mut word = [0; 8];
        memory.read_exact_at(&mut word, address).ok()?;
        Some(u64::from_ne_bytes(word))
    }
}

fn makes_file(flags: u64) -> bool {
    // O_TMPFILE contains O_DIRECTORY, which alone makes nothing.
    let temporary = libc::O_TMPFILE as u64;
    flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0 || flags & temporary == temporary
}

/// Calls that change state whatever their arguments are.
const ALWAYS: &[i64] = &[
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mknodat,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_fsmount,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_sync,
    libc::SYS_truncate,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_kill,
    libc::SYS_pidfd_send_signal,
    libc::SYS_bind,
];

#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_creat,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_mkdir,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_mknod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_chmod,
    libc::SYS_fork,
    libc::SYS_vfork,
];
