//! The daemon's side: finds the helper that lives, or makes one.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sys::fdpass::{self, Wait};

use crate::protocol::{Answer, LONGEST, Request, VERSION};

/// How long a helper may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it is waited for before it is looked at: one that is stopped serves nobody, and goes.
const MOMENT: Duration = Duration::from_millis(500);

/// Name of the helper's socket in its folder.
const SOCKET: &str = "sock";
/// Beside it, who it is: its pid, and when it started in the kernel's ticks.
const IDENTITY: &str = "process";

/// Why the helper could not be made or asked.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// A system call failed.
    #[error("cannot {action} the helper for names and ports: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It answered something that is no answer.
    #[error("the helper for names and ports answers what this release does not understand")]
    Strange,
    /// It refused.
    #[error("the helper for names and ports: {sentence}")]
    Refused {
        /// Its words.
        sentence: String,
    },
    /// The request does not fit into a message.
    #[error("a container has too many names on its networks")]
    TooLong,
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> HelperError {
    move |source| HelperError::Io { action, source }
}

#[derive(Debug, Default)]
struct State {
    connection: Option<OwnedFd>,
    /// Where this daemon made it.
    process: Option<Child>,
}

/// The helper of one engine, which may or may not live.
#[derive(Debug)]
pub struct Helper {
    folder: PathBuf,
    state: Mutex<State>,
    /// How many were made.
    made: AtomicU64,
}

impl Helper {
    /// The helper whose socket is in this folder.
    pub fn new(folder: PathBuf) -> Self {
        Helper {
            folder,
            state: Mutex::default(),
            made: AtomicU64::new(0),
        }
    }

    /// How many helpers this daemon has made: each knew nobody at first.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the helper that a former daemon made; false when none lives.
    ///
    /// # Errors
    /// [`HelperError::Io`].
    pub fn find(&self) -> Result<bool, HelperError> {
        let mut state = self.lock();
        if state.connection.is_some() {
            return Ok(true);
        }
        let Some(connection) = self.connect()? else {
            return Ok(false);
        };
        match self.greet(&connection) {
            Ok(true) => {
                state.connection = Some(connection);
                Ok(true)
            }
            // Of another release, or on its way out.
            Ok(false) | Err(_) => {
                let _ = self.exchange(&connection, &Request::Quit, &[]);
                Ok(false)
            }
        }
    }

    /// Finds the helper, or makes one; true when it was made, and so knows nobody.
    ///
    /// # Errors
    /// [`HelperError::Io`].
    pub fn ensure(&self) -> Result<bool, HelperError> {
        if self.find()? {
            return Ok(false);
        }
        let mut state = self.lock();
        if state.connection.is_some() {
            return Ok(false);
        }
        if let Some(mut dead) = state.process.take() {
            let _ = dead.kill();
            let _ = dead.wait();
        }
        state.process = Some(self.execute()?);
        self.made.fetch_add(1, Ordering::AcqRel);
        let connection = self
            .connect()?
            .ok_or_else(|| failed("connect to")(io::ErrorKind::ConnectionRefused.into()))?;
        if !self.greet(&connection)? {
            return Err(HelperError::Strange);
        }
        state.connection = Some(connection);
        Ok(true)
    }

    /// Asks, of a helper that was found or made. One that is gone is forgotten.
    ///
    /// # Errors
    /// [`HelperError`]; [`HelperError::Io`] when there is none.
    pub fn ask(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<bool, HelperError> {
        let mut state = self.lock();
        let Some(connection) = &state.connection else {
            return Err(failed("ask")(io::ErrorKind::NotConnected.into()));
        };
        match self.exchange(connection, request, descriptors) {
            Ok(Answer::Done { listening }) => Ok(listening),
            Ok(Answer::Refused { sentence }) => Err(HelperError::Refused { sentence }),
            Ok(Answer::Welcome { .. }) => Err(HelperError::Strange),
            Err(error) => {
                if matches!(error, HelperError::Io { .. }) {
                    state.connection = None;
                }
                Err(error)
            }
        }
    }

    /// A connection on which nothing comes until the helper ends: then it can be read.
    ///
    /// # Errors
    /// [`HelperError::Io`] when no helper lives.
    pub fn watch(&self) -> Result<OwnedFd, HelperError> {
        self.connect()?
            .ok_or_else(|| failed("watch")(io::ErrorKind::ConnectionRefused.into()))
    }

    /// Forgets a helper that has ended, and collects its process; false when one lives, which may be another one by now.
    pub fn ended(&self) -> bool {
        let mut state = self.lock();
        if let Some(connection) = &state.connection
            && matches!(self.greet(connection), Ok(true))
        {
            return false;
        }
        state.connection = None;
        if let Some(mut process) = state.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        // Else the next one replaces what is in it.
        let _ = self.clear();
        true
    }

    /// Removes the folder of a helper that has ended.
    fn clear(&self) -> Result<(), HelperError> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("clean up after")(error))
            }
            _ => Ok(()),
        }
    }

    /// Ends the helper, if one lives.
    ///
    /// # Errors
    /// [`HelperError::Io`].
    pub fn quit(&self) -> Result<(), HelperError> {
        if !self.find()? {
            return self.clear();
        }
        let outcome = match self.ask(&Request::Quit, &[]) {
            // It was faster than its answer.
            Ok(_) | Err(HelperError::Io { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        let mut state = self.lock();
        state.connection = None;
        if let Some(mut process) = state.process.take() {
            process.wait().map_err(failed("wait for"))?;
        }
        drop(state);
        self.clear().and(outcome)
    }

    fn connect(&self) -> Result<Option<OwnedFd>, HelperError> {
        let folder = match open_folder(&self.folder) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("look for")(error)),
        };
        match fdpass::connect_at(folder.as_fd(), SOCKET) {
            Ok(connection) => {
                for (timeout, patience) in [(Timeout::Recv, MOMENT), (Timeout::Send, PATIENCE)] {
                    set_socket_timeout(&connection, timeout, Some(patience))
                        .map_err(|errno| failed("connect to")(errno.into()))?;
                }
                Ok(Some(connection))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed("connect to")(error)),
        }
    }

    /// Executes this program in the role. It listens on a socket that is there before it is.
    fn execute(&self) -> Result<Child, HelperError> {
        let make = |folder: &Path| match std::fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome,
        };
        make(&self.folder).map_err(failed("make the folder of"))?;
        let folder = open_folder(&self.folder).map_err(failed("open the folder of"))?;
        let listener =
            fdpass::listen_at(folder.as_fd(), SOCKET, 8).map_err(failed("listen for"))?;
        let child = Command::new("/proc/self/exe")
            .arg0("wharf")
            .arg("net")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("execute"))?;
        // Without it a helper that is stopped is only waited for.
        if let Some(ticks) = sys::lifetime::start_ticks(child.id()) {
            let _ = std::fs::write(
                self.folder.join(IDENTITY),
                format!("{} {ticks}", child.id()),
            );
        }
        Ok(child)
    }

    /// Whether the helper speaks this version.
    fn greet(&self, connection: &OwnedFd) -> Result<bool, HelperError> {
        match self.exchange(connection, &Request::Hello { version: VERSION }, &[])? {
            Answer::Welcome { version } => Ok(version == VERSION),
            _ => Ok(false),
        }
    }

    fn exchange(
        &self,
        connection: &OwnedFd,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Answer, HelperError> {
        let text = serde_json::to_vec(request).map_err(|_| HelperError::Strange)?;
        if text.len() > LONGEST {
            return Err(HelperError::TooLong);
        }
        fdpass::send(
            connection.as_fd(),
            &[IoSlice::new(&text)],
            descriptors,
            Wait::Block,
        )
        .map_err(failed("tell"))?;
        let mut buffer = [0; 4096];
        let begun = Instant::now();
        let received = loop {
            match fdpass::recv(connection.as_fd(), &mut buffer, Wait::Block) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < PATIENCE =>
                {
                    if self.end_if_stopped() {
                        return Err(failed("hear")(io::Error::other(
                            "it was stopped, and is ended",
                        )));
                    }
                }
                received => break received.map_err(failed("hear"))?,
            }
        };
        if received.length == 0 {
            return Err(failed("hear")(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&buffer[..received.length]).map_err(|_| HelperError::Strange)
    }

    /// Ends a helper that somebody has stopped (SIGSTOP): its ports and names are another's to serve. False when it only
    /// takes its time.
    fn end_if_stopped(&self) -> bool {
        let Some((pid, ticks)) = self.identity() else {
            return false;
        };
        let is_stopped = || is_stopped(pid) && sys::lifetime::start_ticks(pid) == Some(ticks);
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(Ok(process)) = number.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
            return false;
        };
        // By now the descriptor and the number mean the same process, or the number is nobody's.
        if !is_stopped() || pidfd_send_signal(&process, Signal::KILL).is_err() {
            return false;
        }
        // Its sockets are closed when it is gone.
        let timeout = Timespec {
            tv_sec: MOMENT.as_secs().cast_signed(),
            tv_nsec: MOMENT.subsec_nanos().into(),
        };
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout));
        true
    }

    /// Pid and start of the helper that was made last.
    fn identity(&self) -> Option<(u32, u64)> {
        let text = std::fs::read_to_string(self.folder.join(IDENTITY)).ok()?;
        let (pid, ticks) = text.split_once(' ')?;
        Some((pid.parse().ok()?, ticks.parse().ok()?))
    }
}

/// Whether a process is stopped by a signal (proc(5), the third field of `stat`).
fn is_stopped(pid: u32) -> bool {
    let stat = sys::procfs::read_text(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map(|(_, after)| after.trim_start());
    after.is_some_and(|after| after.starts_with('T'))
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}
