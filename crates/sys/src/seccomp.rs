//! Loading of system-call filters (seccomp(2)).

use std::os::fd::{FromRawFd, OwnedFd};

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Operation and addressing mode.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Constant operand.
    pub k: u32,
}

/// The kernel's `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

const SECCOMP_SET_MODE_FILTER: libc::c_ulong = 1;
/// Flag of [`install`]: return a descriptor on which a supervisor answers `notify` actions.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;

/// Loads `program` for the calling thread. Needs CAP_SYS_ADMIN in the thread's user namespace or no_new_privs.
///
/// `flags` are `SECCOMP_FILTER_FLAG_*`. Returns the listener when [`FLAG_NEW_LISTENER`] is among them. Allocates
/// nothing, so it may be called between fork and exec. The error is the kernel's errno (EINVAL also for a program
/// that is empty or longer than 4,096 instructions).
pub fn install(program: &[Instruction], flags: u32) -> Result<Option<OwnedFd>, i32> {
    let Ok(len) = u16::try_from(program.len()) else {
        return Err(libc::EINVAL);
    };
    let program = Program { len, filter: program.as_ptr() };
    // SAFETY: `program` points to `len` live instructions, which the kernel copies before the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, libc::c_ulong::from(flags), &raw const program)
    };
    if result < 0 {
        // SAFETY: errno is the calling thread's own variable, always readable.
        return Err(unsafe { *libc::__errno_location() });
    }
    if flags & FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let listener = libc::c_int::try_from(result).map_err(|_| libc::EBADF)?;
    // SAFETY: with FLAG_NEW_LISTENER the kernel returned a fresh descriptor that nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
}
