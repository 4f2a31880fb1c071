//! Killing a process before its n-th state-changing system call.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::calls::Call;

/// A process under ptrace(2), all its threads with it, that is killed before a certain call.
///
/// Calls are counted over all threads in the order in which they are entered. The call before
/// which it is killed is not carried out. Processes that it makes are not followed.
pub struct Trap {
    process: i32,
    shared: Arc<Shared>,
    tracer: Option<JoinHandle<Vec<i64>>>,
}

#[derive(Default)]
struct Shared {
    counted: AtomicU64,
    sprung: AtomicBool,
}

impl Trap {
    /// Attaches to a process, by its pid as the host counts, and kills it before its `n`-th call
    /// that changes state; 1 is the first from now.
    ///
    /// # Panics
    /// When it can not be traced.
    #[track_caller]
    pub fn set(process: u32, n: u64) -> Trap {
        let process = process as i32;
        let shared = Arc::new(Shared::default());
        let (ready, attached) = mpsc::channel();
        let tracing = Arc::clone(&shared);
        let tracer = std::thread::Builder::new()
            .name("tracer".to_owned())
            .spawn(move || match Tracer::attach(process) {
                Ok(mut tracer) => tracer.follow(&tracing, n, &ready),
                Err(error) => {
                    drop(ready.send(Err(error)));
                    Vec::new()
                }
            })
            .unwrap();
        attached
            .recv()
            .expect("the tracer attaches")
            .unwrap_or_else(|error| panic!("process {process} can not be traced: {error}"));
        Trap {
            process,
            shared,
            tracer: Some(tracer),
        }
    }

    /// Waits until the process was killed by the trap, or has changed nothing for `quiet`; true
    /// when it was killed.
    pub fn rest(&self, quiet: Duration) -> bool {
        let mut last = (self.shared.counted.load(Ordering::SeqCst), Instant::now());
        while !self.shared.sprung.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
            let counted = self.shared.counted.load(Ordering::SeqCst);
            if counted != last.0 {
                last = (counted, Instant::now());
            } else if last.1.elapsed() > quiet {
                return false;
            }
        }
        true
    }

    /// Kills the process if it still lives, and gives the numbers of the calls that were counted;
    /// the last is the one that was not carried out if the trap had sprung.
    pub fn finish(mut self) -> Vec<i64> {
        self.kill();
        let tracer = self.tracer.take().expect("joined once");
        tracer.join().expect("the tracer ends with the process")
    }

    fn kill(&self) {
        // SAFETY: kill(2) touches no memory. The pid is not reused while the tracer has not
        // reaped the process's first thread; a pid that is gone is answered by ESRCH.
        unsafe { libc::kill(self.process, libc::SIGKILL) };
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        if let Some(tracer) = self.tracer.take() {
            self.kill();
            let _ = tracer.join();
        }
    }
}

/// The tracing thread's own: ptrace answers nobody else.
struct Tracer {
    process: i32,
    /// Threads that were seized; true once each has stopped for the first time.
    threads: HashMap<i32, bool>,
}

impl Tracer {
    fn attach(process: i32) -> io::Result<Tracer> {
        let mut tracer = Tracer {
            process,
            threads: HashMap::new(),
        };
        // A thread may be made while others are seized: look until no new one is seen.
        loop {
            let mut new = false;
            for entry in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
                let Some(thread) = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok())
                else {
                    continue;
                };
                if tracer.threads.contains_key(&thread) {
                    continue;
                }
                match seize(thread) {
                    Ok(()) => {
                        tracer.threads.insert(thread, false);
                        new = true;
                    }
                    // It has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    // It is traced already, with the one that made it.
                    Err(error)
                        if error.raw_os_error() == Some(libc::EPERM)
                            && !tracer.threads.is_empty() =>
                    {
                        tracer.threads.insert(thread, false);
                    }
                    Err(error) => return Err(error),
                }
            }
            if !new {
                return Ok(tracer);
            }
        }
    }

    /// Until all threads have ended.
    fn follow(
        &mut self,
        shared: &Shared,
        n: u64,
        ready: &mpsc::Sender<io::Result<()>>,
    ) -> Vec<i64> {
        let mut counted = Vec::new();
        let mut told = false;
        loop {
            let mut status = 0;
            // SAFETY: the status is on this stack. Children of other threads are not waited for.
            let thread =
                unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
            if thread < 0 {
                return counted;
            }
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                self.threads.remove(&thread);
            } else {
                // What the first threads do while others are seized does not count: it is before "now".
                let signal = self.stopped(thread, status, shared, n, told.then_some(&mut counted));
                self.threads.insert(thread, true);
                let _ = resume(thread, signal);
            }
            if !told && self.threads.values().all(|stopped| *stopped) {
                told = true;
                let _ = ready.send(Ok(()));
            }
        }
    }

    /// Looks at a stop, and gives how the thread goes on.
    fn stopped(
        &self,
        thread: i32,
        status: i32,
        shared: &Shared,
        n: u64,
        counted: Option<&mut Vec<i64>>,
    ) -> Resume {
        let signal = libc::WSTOPSIG(status);
        if signal == libc::SIGTRAP | 0x80 {
            if let Some(counted) = counted
                && let Some(call) = entered(thread)
                && !shared.sprung.load(Ordering::SeqCst)
                && call.changes_state()
            {
                counted.push(call.number);
                if counted.len() as u64 == n {
                    shared.sprung.store(true, Ordering::SeqCst);
                    // SAFETY: kill(2) touches no memory; the process is ours to trace, so its pid
                    // is its own.
                    unsafe { libc::kill(self.process, libc::SIGKILL) };
                }
                shared.counted.store(counted.len() as u64, Ordering::SeqCst);
            }
            return Resume::ToNextCall(0);
        }
        if status >> 16 == libc::PTRACE_EVENT_STOP {
            return match signal {
                libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Resume::Listen,
                _ => Resume::ToNextCall(0),
            };
        }
        if status >> 16 != 0 {
            return Resume::ToNextCall(0);
        }
        Resume::ToNextCall(signal)
    }
}

/// How a stopped thread goes on.
enum Resume {
    /// To its next entry or exit of a call, with this signal unless it is 0.
    ToNextCall(i32),
    /// It stays stopped, as job control wants it.
    Listen,
}

fn resume(thread: i32, how: Resume) -> io::Result<()> {
    match how {
        Resume::ToNextCall(signal) => ptrace(libc::PTRACE_SYSCALL, thread, 0, signal as usize),
        Resume::Listen => ptrace(libc::PTRACE_LISTEN, thread, 0, 0),
    }
    .map(drop)
}

fn seize(thread: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    ptrace(libc::PTRACE_SEIZE, thread, 0, options as usize)?;
    ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0).map(drop)
}

/// The call that a stopped thread enters; `None` when it leaves one.
fn entered(thread: i32) -> Option<Call> {
    // SAFETY: all bytes of the structure may be zero.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of_val(&info);
    ptrace(
        libc::PTRACE_GET_SYSCALL_INFO,
        thread,
        size,
        (&raw mut info).expose_provenance(),
    )
    .ok()?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: the kernel has filled the variant that `op` names.
    let entry = unsafe { info.u.entry };
    Some(Call {
        thread,
        number: entry.nr as i64,
        arguments: entry.args,
    })
}

fn ptrace(request: libc::c_uint, thread: i32, address: usize, data: usize) -> io::Result<i64> {
    // SAFETY: the requests of this module write at most one structure, which the caller owns and
    // whose size it gives.
    let answer = unsafe { libc::ptrace(request as _, thread, address, data) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}
