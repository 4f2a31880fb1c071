//! Looking at every instruction that a program executes.

use std::io;
use std::ops::Range;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

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

/// Which instructions programs execute, at addresses of one range: those of a program's file that is linked to a place.
///
/// It follows whatever a program forks until that executes another program, on the thread that it is made on.
pub struct Stepper {
    range: Range<u64>,
    seen: Vec<bool>,
    order: Vec<u64>,
}

impl Stepper {
    /// One that has seen nothing yet.
    pub fn new(range: Range<u64>) -> Self {
        let length = range.end.saturating_sub(range.start) as usize;
        Stepper {
            range,
            seen: vec![false; length],
            order: Vec::new(),
        }
    }

    /// The addresses in the order in which they came first.
    pub fn into_order(self) -> Vec<u64> {
        self.order
    }

    /// Runs a program to its end, and looks at it and at what it forks.
    ///
    /// # Errors
    /// When it can not be started or traced.
    pub fn run(&mut self, command: &mut Command) -> io::Result<ExitStatus> {
        // SAFETY: one system call between fork and execve.
        unsafe {
            command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        let pid = command.spawn()?.id() as libc::pid_t;
        let Some((_, status)) = stopped(pid, 0)? else {
            return Err(io::Error::other("it did not stop at its execve"));
        };
        if status.stopped_signal().is_none() {
            return Ok(status);
        }
        let options = FOLLOW | libc::PTRACE_O_EXITKILL;
        request(libc::PTRACE_SETOPTIONS, pid, 0, options as usize)?;
        request(libc::PTRACE_SINGLESTEP, pid, 0, 0)?;
        loop {
            let Some((stopped, status)) = stopped(-1, 0)? else {
                return Err(io::Error::other("it is gone"));
            };
            if status.stopped_signal().is_none() {
                if stopped == pid {
                    return Ok(status);
                }
                continue;
            }
            self.step(stopped, status)?;
        }
    }

    /// Looks at processes that run, and at what they fork, until `done`.
    ///
    /// # Errors
    /// When one of them can not be traced.
    pub fn attend(&mut self, pids: &[u32], mut done: impl FnMut() -> bool) -> io::Result<()> {
        for pid in pids {
            let pid = *pid as libc::pid_t;
            request(libc::PTRACE_SEIZE, pid, 0, FOLLOW as usize)?;
            request(libc::PTRACE_INTERRUPT, pid, 0, 0)?;
        }
        while !done() {
            match stopped(-1, libc::WNOHANG)? {
                None => std::thread::sleep(Duration::from_micros(20)),
                Some((pid, status)) if status.stopped_signal().is_some() => {
                    self.step(pid, status)?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Takes down where a process stopped, and lets it go on to its next instruction.
    fn step(&mut self, pid: libc::pid_t, status: ExitStatus) -> io::Result<()> {
        let event = status.into_raw() >> 16;
        let signal = status.stopped_signal().unwrap_or(0);
        let next = if event == libc::PTRACE_EVENT_EXEC {
            request(libc::PTRACE_DETACH, pid, 0, 0)
        } else {
            self.take_down(pid)?;
            let is_own = event != 0 || [libc::SIGTRAP, libc::SIGSTOP].contains(&signal);
            let passed = if is_own { 0 } else { signal as usize };
            request(libc::PTRACE_SINGLESTEP, pid, 0, passed)
        };
        match next {
            // Killed meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other.map(drop),
        }
    }

    fn take_down(&mut self, pid: libc::pid_t) -> io::Result<()> {
        // SAFETY: registers are numbers, and are written whole.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        match request(libc::PTRACE_GETREGS, pid, 0, (&raw mut registers) as usize) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            other => other?,
        };
        if self.range.contains(&registers.rip) {
            let at = (registers.rip - self.range.start) as usize;
            if !std::mem::replace(&mut self.seen[at], true) {
                self.order.push(registers.rip);
            }
        }
        Ok(())
    }
}

const FOLLOW: i32 = libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC;

/// The next of this thread's processes that stopped or ended; `None` when there is nothing to tell, or nobody.
fn stopped(pid: libc::pid_t, flags: i32) -> io::Result<Option<(libc::pid_t, ExitStatus)>> {
    let mut status = 0;
    let flags = flags | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: a number is written.
    match unsafe { libc::waitpid(pid, &raw mut status, flags) } {
        0 => Ok(None),
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            error => Err(error),
        },
        pid => Ok(Some((pid, ExitStatus::from_raw(status)))),
    }
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
