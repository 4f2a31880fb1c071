//! Signals of the calling process.

use super::{Result, outcome};

/// Sets every signal's disposition to the default and unblocks all: what a program expects at its start.
pub fn reset_signals() -> Result<()> {
    // The kernel's `struct sigaction` on x86_64 and aarch64: handler, flags, restorer, mask, 8 bytes each. Not libc's
    // function, which refuses the two signals that it keeps for itself.
    let default = [0u64; 4];
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: the structure outlives the call, which only reads it; the former action is not asked for.
        outcome(unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        })?;
    }
    set_blocked_signals(0)
}

/// Sets the mask of blocked signals; bit `n - 1` is signal `n`. All ones blocks all that can be blocked.
pub fn set_blocked_signals(mask: u64) -> Result<()> {
    // SAFETY: the kernel's signal set is 64 bits, of which it reads 8 bytes.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            std::ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    };
    outcome(answer).map(drop)
}

/// Ignores a signal.
pub fn ignore_signal(signal: i32) -> Result<()> {
    // SAFETY: sigaction is plain data for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = libc::SIG_IGN;
    // SAFETY: the structure outlives the call.
    outcome(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }.into()).map(drop)
}

/// Waits for one of the blocked signals and takes it; its number.
pub fn take_signal() -> Result<i32> {
    let all = u64::MAX;
    // SAFETY: the kernel's signal set is 64 bits; no details are asked for, no timeout given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const all,
            std::ptr::null_mut::<libc::siginfo_t>(),
            std::ptr::null::<libc::timespec>(),
            size_of::<u64>(),
        )
    };
    outcome(answer).map(|signal| signal as i32)
}

/// Waits for a signal that ends the process or that it handles.
pub fn pause() {
    // SAFETY: no arguments. It returns only after a handler, with an error that says so.
    unsafe { libc::pause() };
}

/// Sends a signal to a process, or with -1 to all that the caller may reach.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: two numbers.
    outcome(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Lets this process end by the signals that ask for an end, also where it is process 1 of a pid namespace, which does not by
/// itself. An execve takes it back.
pub fn end_on_signals() -> Result<()> {
    extern "C" fn end(signal: i32) {
        // SAFETY: it may be called at any time, and does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: sigaction is plain data for which zero is a value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = end as *const () as usize;
        // SAFETY: the action is valid for the call, and its function for the life of the program.
        let answer = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        outcome(answer.into())?;
    }
    Ok(())
}
