//! Looking at every instruction that a program executes.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// The instruction that asks the processor what it is (`0f a2`), as the low half of a word in memory.
const CPUID: i64 = 0xa20f;

/// Whether a program asks the processor what it can before it has ended. It is stepped through, some
/// 30,000 instructions a second and more, and killed once it has asked.
///
/// # Errors
/// When it can not be started or traced, or executes more than ten million instructions.
pub fn asks_the_processor(program: &Path, args: &[&str]) -> io::Result<bool> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one system call between fork and execve.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let mut child = command.spawn()?;
    let pid = child.id() as libc::pid_t;
    for _ in 0..10_000_000 {
        let mut status = 0;
        // SAFETY: a number is written.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid {
            return Err(io::Error::last_os_error());
        }
        if ExitStatus::from_raw(status).stopped_signal().is_none() {
            return Ok(false);
        }
        // SAFETY: registers are numbers, and are written whole.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        request(libc::PTRACE_GETREGS, pid, 0, (&raw mut registers) as usize)?;
        let word = request(libc::PTRACE_PEEKTEXT, pid, registers.rip as usize, 0)?;
        if word & 0xffff == CPUID {
            child.kill()?;
            child.wait()?;
            return Ok(true);
        }
        request(libc::PTRACE_SINGLESTEP, pid, 0, 0)?;
    }
    child.kill()?;
    child.wait()?;
    Err(io::Error::other("it executes more than can be looked at"))
}

/// ptrace(2) as the C library gives it: what is peeked is its answer, and errno alone tells an error.
fn request(request: libc::c_uint, pid: i32, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: errno is this thread's; for the requests above `data` is 0 or where registers have room.
    unsafe {
        *libc::__errno_location() = 0;
        let answer = libc::ptrace(request, pid, address, data);
        match *libc::__errno_location() {
            0 => Ok(answer),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
