//! Namespaces for one engine: network, mounts, processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A holder process in new network, mount and process namespaces, with the loopback device up.
///
/// When it ends, the kernel ends everything inside.
pub struct Sandbox {
    unshare: Child,
    holder: u32,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// Makes the namespaces.
    ///
    /// Needs root, unshare(1) and ip(8).
    ///
    /// # Panics
    /// When one of these is missing: no test can go on without.
    pub fn new() -> Self {
        // The holder reaps orphans: a shell's `wait` collects adopted children too.
        let script =
            "ip link set lo up && echo $$ && exec 1>&- && while :; do sleep 1 & wait; done";
        let mut unshare = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--propagation",
                "slave",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sh",
                "-c",
                script,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) of util-linux is needed");
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(
            line.trim(),
            "1",
            "the sandbox could not be made (root and ip(8) are needed)"
        );
        let children =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", unshare.id())).unwrap();
        let holder = children
            .split_whitespace()
            .next()
            .expect("the holder runs")
            .parse()
            .unwrap();
        Sandbox { unshare, holder }
    }

    /// The holder's pid, as the host counts.
    pub fn holder(&self) -> u32 {
        self.holder
    }

    /// A command inside the namespaces.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.holder))
            .args(["--net", "--mount", "--pid", "--"])
            .arg(program);
        command
    }

    /// A command in the sandbox's network alone: the host's files and processes.
    pub fn network_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs a closure in the sandbox's network: a socket that it makes stays there, whoever uses it
    /// afterwards.
    ///
    /// # Panics
    /// With the closure, or when the namespace can not be entered.
    pub fn within_network<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> T {
        match self.network_thread(run).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Starts a thread that lives in the sandbox's network.
    ///
    /// # Panics
    /// The thread does when the namespace can not be entered.
    pub fn network_thread<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let net = fs::File::open(format!("/proc/{}/ns/net", self.holder)).unwrap();
        std::thread::spawn(move || {
            enter_network(&net);
            run()
        })
    }

    /// The sandbox's root folder, as the host reaches it.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.holder))
    }

    /// Every process inside, nested namespaces included; the holder and its pause are left out.
    pub fn processes(&self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir(self.root().join("proc")) else {
            return Vec::new();
        };
        let mut found: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                Process::read(entry.file_name().to_str()?.parse().ok()?, &entry.path())
            })
            .filter(|process| {
                process.pid != 1 && !(process.parent == 1 && process.command == "sleep 1")
            })
            .collect();
        found.sort_by_key(|process| process.pid);
        found
    }

    /// The pid by which the host knows a process inside; `None` when it is gone.
    pub fn host_pid(&self, pid: u32) -> Option<u32> {
        let space = |folder: &Path| fs::read_link(folder.join("ns/pid")).ok();
        let ours = space(Path::new(&format!("/proc/{}", self.holder)));
        let inside = |folder: &Path| {
            let status = fs::read_to_string(folder.join("status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("NSpid:"))?;
            line.split_whitespace().last()?.parse::<u32>().ok()
        };
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|entry| space(&entry.path()) == ours)
            .find(|entry| inside(&entry.path()) == Some(pid))
            .and_then(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// Sends a signal to a process inside.
    #[track_caller]
    pub fn kill(&self, pid: u32, signal: &str) {
        let status = self
            .command("kill")
            .args([format!("-{signal}"), pid.to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill -{signal} {pid} inside the sandbox");
    }
}

/// Moves the calling thread into a network, by its file `/proc/PID/ns/net`.
///
/// # Panics
/// When it can not be entered.
pub fn enter_network(net: &fs::File) {
    let kind = rustix::thread::LinkNameSpaceType::Network;
    rustix::thread::move_into_link_name_space(net.as_fd(), Some(kind)).unwrap();
}

/// A process inside a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its pid, as the sandbox counts.
    pub pid: u32,
    /// Its parent's pid, as the sandbox counts; 0 for a parent outside.
    pub parent: u32,
    /// Its arguments with spaces between them.
    pub command: String,
    /// Its folder in the sandbox's `/proc`, as the host reaches it.
    pub folder: PathBuf,
}

impl Process {
    fn read(pid: u32, folder: &Path) -> Option<Self> {
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        // A zombie is the matter of its parent, and is seen when it stays.
        let zombie = fields.next()? == "Z";
        let parent = fields.next()?.parse().ok()?;
        let line = fs::read(folder.join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&line)
            .replace('\0', " ")
            .trim_end()
            .to_owned();
        let command = if zombie {
            format!("(zombie of {parent})")
        } else {
            command
        };
        Some(Process {
            pid,
            parent,
            command,
            folder: folder.to_owned(),
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // --kill-child: the holder goes with unshare, and with it the process namespace.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
