//! What a program inherits that [`Command`] starts.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the program take every signal: else it holds back what the thread that starts it does.
pub fn takes_signals(command: &mut Command) {
    // SAFETY: the closure makes system calls alone and touches no memory of the parent's (signal-safety(7)).
    unsafe {
        command.pre_exec(|| {
            let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
            Ok(())
        });
    }
}

/// Keeps what a terminal sends (SIGINT, SIGQUIT) from the program, and ends it with SIGTERM when the thread that starts
/// it is gone.
pub fn serves_its_parent(command: &mut Command) {
    // SAFETY: as above; prctl(2) is a system call.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_IGN);
            libc::signal(libc::SIGQUIT, libc::SIG_IGN);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
}
