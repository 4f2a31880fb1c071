//! Running programs and reading what they said.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit status; 128 + n for signal n, as a shell tells it.
    pub status: i32,
    /// Standard output, as text.
    pub stdout: String,
    /// Standard error, as text.
    pub stderr: String,
    /// How it was called, for messages.
    pub line: String,
}

impl Finished {
    /// Panics with everything that is known unless the status is 0; gives itself back.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.fails_with(0)
    }

    /// Panics with everything that is known unless the status is this one.
    #[track_caller]
    pub fn fails_with(self, status: i32) -> Self {
        assert_eq!(
            self.status, status,
            "{}\nstdout: {}\nstderr: {}",
            self.line, self.stdout, self.stderr
        );
        self
    }

    /// Standard output without white space at its ends.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.line, self.stdout))
    }
}

/// Runs a command to its end, at most 120 seconds, with `input` on standard input.
///
/// # Panics
/// When it can not be started, or does not end in time (it is killed then).
#[track_caller]
pub fn run(mut command: Command, input: &[u8]) -> Finished {
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program may end without reading everything: that is no fault of the test.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = reader(child.stdout.take().unwrap());
    let stderr = reader(child.stderr.take().unwrap());
    let status = wait(&mut child, Duration::from_secs(120))
        .unwrap_or_else(|| panic!("{line}: did not end in 120 s"));
    writer.join().unwrap();
    Finished {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
        line,
    }
}

fn reader(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child, and kills it when the time is over.
fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(
                status
                    .code()
                    .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            );
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Asks until the answer is `Some`, at most for this long; `what` is told when it never is.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A program on a pseudo-terminal, as a person would run it.
pub struct Terminal {
    child: Child,
    master: File,
    seen: String,
}

impl Terminal {
    /// Starts the command as leader of a session whose terminal has this size.
    pub fn start(mut command: Command, rows: u16, columns: u16) -> Self {
        let master = rustix::pty::openpt(
            rustix::pty::OpenptFlags::RDWR
                | rustix::pty::OpenptFlags::NOCTTY
                | rustix::pty::OpenptFlags::CLOEXEC,
        )
        .unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let slave: OwnedFd = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap()
            .into();
        resize(&master, rows, columns);
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        // SAFETY: setsid and ioctl are async-signal-safe (signal-safety(7)) and touch no memory of
        // the parent; descriptor 0 is the terminal by then.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                if libc::ioctl(0, libc::TIOCSCTTY, 0) == 0 {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            });
        }
        Terminal {
            child: command.spawn().unwrap(),
            master: File::from(master),
            seen: String::new(),
        }
    }

    /// Types text.
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Changes the size, as a window manager does: the foreground group gets SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.master, rows, columns);
    }

    /// Whether the terminal shows what is typed.
    pub fn shows_what_is_typed(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.master)
            .unwrap()
            .local_modes;
        modes.contains(rustix::termios::LocalModes::ECHO)
    }

    /// Reads until the text has been seen since the last such call, at most 20 seconds; gives
    /// what was read up to and with it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && self.read_some(left),
                "{text:?} was not printed, but: {:?}",
                self.seen
            );
        }
    }

    /// Reads what is there; false at the end of the terminal or of the time.
    fn read_some(&mut self, limit: Duration) -> bool {
        let mut poll = libc::pollfd {
            fd: self.master.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd on the stack, which outlives the call.
        if unsafe { libc::poll(&mut poll, 1, limit.as_millis() as i32) } <= 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(number) => {
                self.seen
                    .push_str(&String::from_utf8_lossy(&buffer[..number]));
                true
            }
        }
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill(2) touches no memory; the child is not reaped, so its pid is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Reads to the end and waits: exit status and all text that no `expect` has taken.
    #[track_caller]
    pub fn finish(mut self) -> (i32, String) {
        while self.read_some(Duration::from_secs(20)) {}
        let status = wait(&mut self.child, Duration::from_secs(20))
            .expect("the program on the terminal ends");
        (status, std::mem::take(&mut self.seen))
    }
}

fn resize(terminal: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size).unwrap();
}
