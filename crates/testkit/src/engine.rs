//! One private engine, and everything that a test does with it.

use std::fs;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::census::Census;
use crate::command::{Finished, Terminal, eventually, run};
use crate::sandbox::{Process, Sandbox};

/// How long an engine may take until nothing of a removed container is left.
const SETTLE: Duration = Duration::from_secs(10);
/// How long a daemon may take to answer, and to end.
const DAEMON: Duration = Duration::from_secs(30);

/// Which daemon is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This project's.
    Wharf,
    /// Docker's own, to see whether a test is right.
    Dockerd,
}

impl Kind {
    /// `ENGINE=dockerd` in the environment chooses Docker's daemon.
    pub fn from_environment() -> Self {
        match std::env::var("ENGINE").as_deref() {
            Ok("dockerd") => Kind::Dockerd,
            Ok("wharf") | Err(_) => Kind::Wharf,
            Ok(other) => panic!("ENGINE={other}: wharf or dockerd is expected"),
        }
    }
}

/// How an engine is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further flags of the daemon.
    pub flags: Vec<String>,
    /// Variables of the daemon's environment, which else has no proxies.
    pub environment: Vec<(String, String)>,
    /// A folder to use as data root in place of a fresh one.
    pub data_root: Option<PathBuf>,
    /// Puts the exec root on a tmpfs, as `/run` is on every host, in place of the disk with the temporary folders.
    pub exec_root_in_memory: bool,
}

/// A running engine in a sandbox.
pub struct Engine {
    kind: Kind,
    sandbox: Sandbox,
    folder: tempfile::TempDir,
    options: Options,
    before: Option<Census>,
}

impl Engine {
    /// Runs a test on a fresh engine, and the leak check after it.
    ///
    /// # Panics
    /// With the test, or when something is left behind.
    #[track_caller]
    pub fn run(test: impl FnOnce(&mut Engine)) {
        Self::run_with(Options::default(), test);
    }

    /// [`Engine::run`] with options.
    #[track_caller]
    pub fn run_with(options: Options, test: impl FnOnce(&mut Engine)) {
        let mut engine = Self::start(Kind::from_environment(), options);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            test(&mut engine);
            engine.check_leaks();
            engine.stop_daemon();
        }));
        if let Err(panic) = outcome {
            eprintln!("--- the daemon's log ---\n{}", engine.log());
            resume_unwind(panic);
        }
    }

    /// Starts an engine; the caller ends it, and does without the leak check if it likes.
    #[track_caller]
    pub fn start(kind: Kind, options: Options) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("wharf-test-")
            .tempdir()
            .unwrap();
        let mut engine = Engine {
            kind,
            sandbox: Sandbox::new(),
            folder,
            options,
            before: None,
        };
        if engine.options.exec_root_in_memory {
            fs::create_dir(engine.exec_root()).unwrap();
            let mut mount = engine.sandbox.command("mount");
            mount.args(["-t", "tmpfs", "none"]).arg(engine.exec_root());
            run(mount, b"").ok();
        }
        engine.start_daemon();
        if kind == Kind::Wharf {
            // What an engine makes once and keeps, it makes with its first container.
            engine.d(&["run", "--rm", "wharf/isolation"]).ok();
            engine.before = Some(engine.settled());
        }
        engine
    }

    /// Which daemon this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The engine's namespaces.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A folder for the test's own files; it goes with the engine.
    pub fn folder(&self) -> PathBuf {
        let folder = self.folder.path().join("test");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Where the engine keeps what persists.
    pub fn data_root(&self) -> PathBuf {
        self.options
            .data_root
            .clone()
            .unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// Where the engine keeps run-time state.
    pub fn exec_root(&self) -> PathBuf {
        self.folder.path().join("exec")
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// What the daemon has logged, all its runs together.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    /// The program under test.
    pub fn program() -> PathBuf {
        match std::env::var_os("WHARF") {
            Some(path) => path.into(),
            None => {
                // target/TRIPLE/PROFILE/deps/test-hash → target/TRIPLE/PROFILE/wharf
                let test = std::env::current_exe().unwrap();
                test.ancestors().nth(2).unwrap().join("wharf")
            }
        }
    }

    /// Starts the daemon and waits until it answers.
    #[track_caller]
    pub fn start_daemon(&self) {
        self.start_daemon_by(&[]);
        self.wait_until_it_answers();
    }

    /// Starts the daemon by way of another program, such as prlimit(1), which is given the daemon's own command line. The
    /// thread ends with the daemon.
    #[track_caller]
    pub fn start_daemon_by(&self, wrapper: &[&str]) -> std::thread::JoinHandle<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("daemon.log"))
            .unwrap();
        let program = match self.kind {
            Kind::Wharf => Self::program(),
            Kind::Dockerd => dockerd(),
        };
        let mut command = match wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = self.sandbox.command(first);
                command.args(rest).arg(program);
                command
            }
            None => self.sandbox.command(program),
        };
        match self.kind {
            Kind::Wharf => drop(command.arg("daemon")),
            Kind::Dockerd => {
                // Its proxy lies beside it.
                let folder = dockerd().parent().unwrap_or(Path::new("/")).to_owned();
                let path = std::env::var("PATH").unwrap_or_default();
                command.env("PATH", format!("{}:{path}", folder.display()));
            }
        }
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
            command.env_remove(name);
            command.env_remove(name.to_ascii_lowercase());
        }
        command
            .arg(format!("--host=unix://{}", self.socket().display()))
            .arg(format!("--data-root={}", self.data_root().display()))
            .arg(format!("--exec-root={}", self.exec_root().display()))
            .arg(format!(
                "--pidfile={}",
                self.folder.path().join("daemon.pid").display()
            ))
            .args(&self.options.flags)
            .envs(self.options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut child = command.spawn().unwrap();
        // Reaped when it ends; whether it answers is seen at the socket.
        std::thread::spawn(move || drop(child.wait()))
    }

    /// Waits until the daemon answers.
    #[track_caller]
    pub fn wait_until_it_answers(&self) {
        eventually("the daemon answers", DAEMON, || {
            let answer = self.http("GET", "/_ping", "");
            (answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))).then_some(())
        });
    }

    /// One HTTP request over the socket, without a client: status line, headers and body.
    /// `None` when nobody answers.
    pub fn http(&self, method: &str, path: &str, body: &str) -> Option<String> {
        let mut answer = Vec::new();
        self.request(method, path, "application/json", body.as_bytes())?
            .read_to_end(&mut answer)
            .ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// One HTTP request without a client: status and body of an answer that came whole, chunks
    /// joined. `None` when nobody answers or the answer was cut short.
    pub fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut answer = Vec::new();
        self.request(method, path, kind, body)?
            .read_to_end(&mut answer)
            .ok()?;
        crate::http::read_answer(&answer)
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &[u8],
    ) -> Option<std::os::unix::net::UnixStream> {
        let mut socket = std::os::unix::net::UnixStream::connect(self.socket()).ok()?;
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        socket.write_all(head.as_bytes()).ok()?;
        socket.write_all(body).ok()?;
        Some(socket)
    }

    /// The daemon's process.
    #[track_caller]
    pub fn daemon(&self) -> Process {
        let root = self.data_root().display().to_string();
        let is_daemon = |process: &Process| {
            let wrapper = process.command.starts_with("nsenter");
            process.command.contains(&root) && process.command.contains("--pidfile") && !wrapper
        };
        self.sandbox
            .processes()
            .into_iter()
            .find(is_daemon)
            .expect("the daemon runs")
    }

    /// kill -9, and no daemon afterwards.
    #[track_caller]
    pub fn kill_daemon(&self) {
        let pid = self.daemon().pid;
        self.sandbox.kill(pid, "KILL");
        self.wait_gone(pid);
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub fn stop_daemon(&self) {
        let pid = self.daemon().pid;
        self.sandbox.kill(pid, "TERM");
        self.wait_gone(pid);
    }

    #[track_caller]
    fn wait_gone(&self, pid: u32) {
        eventually("the daemon ends", DAEMON, || {
            (!self
                .sandbox
                .processes()
                .iter()
                .any(|process| process.pid == pid))
            .then_some(())
        });
    }

    /// Docker's client on this engine.
    pub fn docker(&self, args: &[&str]) -> Command {
        self.client("docker", args)
    }

    /// Wharf's client on this engine; on Docker's daemon, whose newest API it does not speak, Docker's.
    pub fn wharf(&self, args: &[&str]) -> Command {
        match self.kind {
            Kind::Wharf => self.client(Self::program(), args),
            Kind::Dockerd => self.docker(args),
        }
    }

    fn client(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
        let mut command = self.sandbox.network_command(program);
        command
            .args(args)
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", self.folder.path().join("config"))
            .env_remove("DOCKER_CONTEXT");
        command
    }

    /// Runs Docker's client to its end.
    #[track_caller]
    pub fn d(&self, args: &[&str]) -> Finished {
        run(self.docker(args), b"")
    }

    /// Runs Wharf's client to its end.
    #[track_caller]
    pub fn w(&self, args: &[&str]) -> Finished {
        run(self.wharf(args), b"")
    }

    /// Docker's client on a terminal of 30 rows and 100 columns.
    pub fn terminal(&self, args: &[&str]) -> Terminal {
        Terminal::start(self.docker(args), 30, 100)
    }

    /// Loads an archive.
    #[track_caller]
    pub fn load(&self, archive: &Path) {
        self.d(&["load", "-q", "-i", archive.to_str().unwrap()])
            .ok();
    }

    /// Loads the small test image, `busybox:latest`.
    #[track_caller]
    pub fn load_busybox(&self) {
        self.load(&crate::image::busybox());
    }

    /// Counts what there is now.
    pub fn census(&self) -> Census {
        let instance = types::InstanceId::of_data_root(&self.data_root());
        Census::take(
            &self.sandbox,
            &instance.to_string(),
            &[self.data_root(), self.exec_root()],
        )
    }

    /// Counts until two counts are equal.
    #[track_caller]
    pub fn settled(&self) -> Census {
        let mut last = self.census();
        eventually("the engine comes to rest", SETTLE, || {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.census();
            let same = now == last;
            last = now.clone();
            same.then_some(now)
        })
    }

    /// Removes everything through the API, and fails when something stays that was not there
    /// when the engine was started.
    #[track_caller]
    pub fn check_leaks(&self) {
        self.remove_containers();
        for name in self.names(&["images", "-q", "--no-trunc"]) {
            let tags = self.quick(&["image", "inspect", "-f", "{{join .RepoTags \",\"}}", &name]);
            if tags.status == 0 && !tags.stdout.contains("wharf") {
                self.quick(&["rmi", "-f", &name]).ok();
            }
        }
        if let Some(before) = &self.before {
            self.nothing_beyond(before);
        }
    }

    /// Removes all containers, volumes and networks through the API.
    #[track_caller]
    pub fn remove_containers(&self) {
        for id in self.names(&["ps", "-aq", "--no-trunc"]) {
            self.quick(&["rm", "-f", "-v", &id]).ok();
        }
        for name in self.names(&["volume", "ls", "-q"]) {
            self.quick(&["volume", "rm", &name]).ok();
        }
        for id in self.names(&[
            "network",
            "ls",
            "-q",
            "--no-trunc",
            "--filter",
            "type=custom",
        ]) {
            self.quick(&["network", "rm", &id]).ok();
        }
    }

    /// Fails unless everything is gone soon that an earlier census has not.
    #[track_caller]
    pub fn nothing_beyond(&self, before: &Census) {
        let mut left = self.census().beyond(before);
        for _ in 0..SETTLE.as_millis() / 50 {
            if left.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
            left = self.census().beyond(before);
        }
        panic!("left behind:\n{left}");
    }

    fn names(&self, args: &[&str]) -> Vec<String> {
        self.quick(args)
            .ok()
            .stdout
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// The client that starts fastest where either will do.
    fn quick(&self, args: &[&str]) -> Finished {
        match self.kind {
            Kind::Wharf => self.w(args),
            Kind::Dockerd => self.d(args),
        }
    }

    /// Waits for the daemon's end, whoever brought it about.
    #[track_caller]
    pub fn wait_daemon_gone(&self, pid: u32) {
        self.wait_gone(pid);
    }
}

impl Drop for Engine {
    /// Whatever still runs goes with the sandbox; its cgroups are removed here so that a failed
    /// test leaves nothing on the host either.
    fn drop(&mut self) {
        let instance = types::InstanceId::of_data_root(&self.data_root());
        for process in self.sandbox.processes() {
            let _ = self
                .sandbox
                .command("kill")
                .args(["-KILL", &process.pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            remove_cgroups(&hierarchy.path().join(format!("wharf-{instance}")));
        }
    }
}

/// Docker's daemon: Debian's, or the one that `DOCKERD` names.
fn dockerd() -> PathBuf {
    std::env::var_os("DOCKERD").map_or_else(|| "/usr/sbin/dockerd".into(), PathBuf::from)
}

fn remove_cgroups(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
