//! Signals read from a descriptor, signalfd(2), so that they fit into a poll loop.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Signals that are held back from their handlers and wait to be read.
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks these signals for the calling thread and opens a descriptor on which they arrive.
    ///
    /// They stay blocked after this value is gone: a signal that came in between must not end
    /// the process. Call it before other threads are started, which inherit the mask.
    ///
    /// # Errors
    /// What sigprocmask(2) or signalfd(2) gave.
    pub fn hold(signals: &[i32]) -> io::Result<Self> {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set, which outlives every call; sigaddset refuses
        // numbers that are no signals.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                if libc::sigaddset(set.as_mut_ptr(), *signal) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals {
                fd: OwnedFd::from_raw_fd(fd),
            })
        }
    }

    /// The next signal that has arrived, if any.
    pub fn take(&self) -> Option<i32> {
        let mut info = std::mem::MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = std::mem::size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes at most `size` bytes into a value of that size.
        let number = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        // SAFETY: a read of the whole size has filled the value.
        (number == size as isize).then(|| unsafe { info.assume_init().ssi_signo } as i32)
    }
}

/// What the terminal was like before somebody changed it; null while nobody has.
static TERMINAL: AtomicPtr<libc::termios> = AtomicPtr::new(std::ptr::null_mut());
/// Whether somebody is asked something.
static ASKING: AtomicBool = AtomicBool::new(false);

/// From now on each of these signals ends the process with the status 128 and the signal's number, or 0 while somebody is
/// asked something ([`asking`]), as docker's client ends: not by the signal itself, at which a shell gives up what comes
/// next. A terminal that was changed is as it was before ([`remember_terminal`]). This holds also where the process was
/// started with a signal ignored.
pub fn exit_at(signals: &[i32]) {
    let handler: extern "C" fn(i32) = exit;
    for signal in signals {
        // SAFETY: the structure is zero but for a handler that does only what is async-signal-safe; numbers that are no
        // signals are refused.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            libc::sigaction(*signal, &action, std::ptr::null_mut());
        }
    }
}

extern "C" fn exit(signal: i32) {
    let before = TERMINAL.load(Ordering::Acquire);
    let asking = ASKING.load(Ordering::Relaxed);
    // SAFETY: tcsetattr, write and _exit are async-signal-safe (signal-safety(7)); what the pointer leads to is never freed.
    unsafe {
        if !before.is_null() {
            libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before);
        }
        if asking {
            libc::write(libc::STDOUT_FILENO, c"\n".as_ptr().cast(), 1);
        }
        libc::_exit(if asking { 0 } else { 128 + signal });
    }
}

/// Says that somebody is asked something, or not any more.
pub fn asking(now: bool) {
    ASKING.store(now, Ordering::Relaxed);
}

/// Has the terminal of standard input put back as it is now, should a signal end the process ([`exit_at`]).
pub fn remember_terminal() {
    let mut now = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: tcgetattr fills the value where it succeeds.
    let filled = unsafe { libc::tcgetattr(libc::STDIN_FILENO, now.as_mut_ptr()) } == 0;
    if filled {
        // SAFETY: it was filled. A handler may read it at any time, so it stays for ever: some bytes each time.
        let kept = Box::leak(Box::new(unsafe { now.assume_init() }));
        TERMINAL.store(kept, Ordering::Release);
    }
}

/// The terminal is as it was.
pub fn forget_terminal() {
    TERMINAL.store(std::ptr::null_mut(), Ordering::Release);
}

/// Leaves every signal to other threads.
pub fn block_all() {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set, which outlives both calls.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
