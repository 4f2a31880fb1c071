//! The daemon's part: a root folder, a plan, descriptors, and a connection to wait on.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use runtime::plan::{ExecPlan, NsMode, Plan, ProcessPlan, RootSource};
use shim::launcher::Launcher;
use shim::protocol::{
    Answer, Attachment, Event, EventKind, Framing, Launch, LogConfig, Message, Refusal, Reply,
    Request, Slot, Status,
};
use shim::{Delivery, ShimConn};
use types::ContainerId;

/// How long anything may take before a case fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The launcher that all cases share.
pub(crate) fn launcher() -> &'static Launcher {
    static LAUNCHER: OnceLock<Launcher> = OnceLock::new();
    LAUNCHER.get_or_init(|| Launcher::spawn_as(&["shim-test", "launcher"]).unwrap())
}

/// A container to be: its root folder, its files, and what it is told.
pub(crate) struct Container {
    folder: tempfile::TempDir,
    pub(crate) plan: Plan,
    pub(crate) launch: Launch,
    fds: Vec<OwnedFd>,
}

/// The slots that every container here fills; clients follow.
const ROOT: Slot = Slot(0);
const JOURNAL: Slot = Slot(1);
const LISTENER: Slot = Slot(2);
const LOGS: Slot = Slot(3);

impl Container {
    /// A container that runs a line of shell.
    pub(crate) fn shell(script: &str) -> Self {
        Self::program(&["/bin/sh", "-c", script])
    }

    pub(crate) fn program(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        make_root(&root);
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        let journal = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(folder.path().join("journal"))
            .unwrap();
        let place = File::open(folder.path()).unwrap();
        let listener = sys::fdpass::listen_at(place.as_fd(), "sock", 16).unwrap();
        let logs = File::open(folder.path().join("logs")).unwrap();
        let root = File::open(&root).unwrap();
        let mount = sys::mount::clone_tree(root.as_fd(), c"", false).unwrap();
        let mut launch = Launch::new(
            ContainerId::random().unwrap(),
            Vec::new(),
            JOURNAL,
            LISTENER,
        );
        launch.log = LogConfig::JsonFile {
            folder: LOGS,
            name: "x-json.log".to_owned(),
            max_size: 10 << 20,
            max_files: 3,
            attrs: Vec::new(),
            buffer: None,
            remote: None,
        };
        launch.detach_keys = types::detach::DEFAULT_KEYS.to_vec();
        Container {
            folder,
            plan: plan(arguments),
            launch,
            fds: vec![mount, journal.into(), listener, logs.into()],
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file below the container's root, as the host sees it.
    pub(crate) fn in_root(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// The descriptors by slot.
    pub(crate) fn descriptors(&self) -> &[OwnedFd] {
        &self.fds
    }

    /// Adds a descriptor; its slot.
    pub(crate) fn descriptor(&mut self, fd: OwnedFd) -> Slot {
        self.fds.push(fd);
        Slot(u16::try_from(self.fds.len() - 1).unwrap())
    }

    /// Adds a client that is there from the first byte on; its own end of the socket.
    pub(crate) fn client(&mut self, stdin: bool, framing: Framing) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let socket = self.descriptor(theirs.into());
        self.launch.attachments.push(client(socket, stdin, framing));
        ours
    }

    /// Gives it a terminal.
    pub(crate) fn with_terminal(mut self) -> Self {
        self.plan.terminal = true;
        self.launch.tty = true;
        self.with_input(false)
    }

    /// Gives it an input.
    pub(crate) fn with_input(mut self, once: bool) -> Self {
        self.launch.open_stdin = true;
        self.launch.stdin_once = once;
        self
    }

    /// Starts it and waits for the answer.
    pub(crate) fn launch(&mut self) -> Result<Running, Refusal> {
        self.launch_with(launcher())
    }

    pub(crate) fn launch_with(&mut self, launcher: &Launcher) -> Result<Running, Refusal> {
        self.launch.plan = self.plan.encode();
        let fds: Vec<BorrowedFd<'_>> = self.fds.iter().map(AsFd::as_fd).collect();
        let (conn, _) = launcher.launch(&self.launch, &fds).unwrap();
        // The shim has its own copies now; ours would keep the sockets open.
        self.fds.clear();
        let mut running = Running {
            conn,
            events: Vec::new(),
            folder: self.folder.path().to_owned(),
            pid: 0,
        };
        match running.answer(0)? {
            Reply::Started { pid, .. } | Reply::Prepared { pid } => running.pid = pid,
            other => panic!("{other:?}"),
        }
        Ok(running)
    }
}

pub(crate) fn client(socket: Slot, stdin: bool, framing: Framing) -> Attachment {
    Attachment {
        stdin,
        stdout: true,
        stderr: true,
        framing,
        token: 7,
        ..Attachment::new(socket)
    }
}

fn make_root(root: &Path) {
    for folder in ["bin", "proc", "dev", "sys", "tmp"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in [
        "sh", "cat", "echo", "sleep", "true", "head", "stty", "printf", "kill", "seq", "id", "yes",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
}

pub(crate) fn process(arguments: &[&str]) -> ProcessPlan {
    ProcessPlan {
        args: arguments
            .iter()
            .map(|argument| argument.as_bytes().to_vec())
            .collect(),
        env: vec![b"PATH=/bin".to_vec()],
        ..ProcessPlan::default()
    }
}

pub(crate) fn exec_plan(arguments: &[&str]) -> ExecPlan {
    ExecPlan {
        process: process(arguments),
        ..ExecPlan::default()
    }
}

fn plan(arguments: &[&str]) -> Plan {
    let mut plan = Plan {
        root: Some(RootSource::Mount(ROOT)),
        mounts: runtime::defaults::mounts(),
        devices: runtime::defaults::devices(),
        links: runtime::defaults::links(),
        process: process(arguments),
        ..Plan::default()
    };
    let namespaces = &mut plan.namespaces;
    for mode in [
        &mut namespaces.pid,
        &mut namespaces.ipc,
        &mut namespaces.uts,
        &mut namespaces.mount,
        &mut namespaces.net,
    ] {
        *mode = NsMode::New;
    }
    plan
}

/// A started container.
pub(crate) struct Running {
    conn: ShimConn,
    events: Vec<Event>,
    folder: std::path::PathBuf,
    pub(crate) pid: u32,
}

impl Running {
    /// Connects to the shim as a daemon that was not there at its birth.
    pub(crate) fn connect(container: &Container) -> Self {
        let folder = container.folder().to_owned();
        let place = File::open(&folder).unwrap();
        let conn = ShimConn::connect(place.as_fd(), "sock").unwrap();
        Running {
            conn,
            events: Vec::new(),
            folder,
            pid: 0,
        }
    }

    /// The shim's process: the parent of the first one.
    pub(crate) fn shim(&self) -> u32 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields
            .split_ascii_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    fn receive(&mut self) -> Option<Delivery> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.conn.recv() {
                Ok(delivery) => return Some(delivery),
                Err(error) if error.would_block() => {}
                Err(shim::ShimError::Closed) => return None,
                Err(error) => panic!("{error}"),
            }
            wait_readable(self.conn.as_fd(), deadline);
        }
    }

    /// Waits for the answer of that number; events on the way are kept.
    pub(crate) fn answer(&mut self, wanted: u32) -> Result<Reply, Refusal> {
        loop {
            match self.receive().expect("the shim is gone").message {
                Message::Answer(Answer { number, result }) if number == wanted => return result,
                Message::Answer(other) => panic!("{other:?}"),
                Message::Event(event) => self.events.push(event),
            }
        }
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply, Refusal> {
        self.ask_with(request, &[])
    }

    pub(crate) fn ask_with(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Reply, Refusal> {
        let number = self.conn.send(request, fds).unwrap();
        self.answer(number)
    }

    /// Sends a request whose answer comes later; its number.
    pub(crate) fn send(&mut self, request: &Request) -> u32 {
        self.conn.send(request, &[]).unwrap()
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.ask(&Request::Status).unwrap() {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the next event for which `choose` has an answer; the ones before it are dropped.
    pub(crate) fn event<T>(&mut self, mut choose: impl FnMut(&EventKind) -> Option<T>) -> T {
        loop {
            while !self.events.is_empty() {
                let event = self.events.remove(0);
                if let Some(chosen) = choose(&event.kind) {
                    return chosen;
                }
            }
            match self.receive().expect("the shim is gone").message {
                Message::Event(event) => self.events.push(event),
                Message::Answer(answer) => panic!("{answer:?}"),
            }
        }
    }

    /// Waits for the exit; its status.
    pub(crate) fn exit(&mut self) -> u8 {
        self.event(|kind| match kind {
            EventKind::Exited { code, .. } => Some(*code),
            _ => None,
        })
    }

    /// Lets the shim go, and waits until it has.
    pub(crate) fn release(mut self) {
        assert_eq!(self.ask(&Request::Release), Ok(Reply::Done));
        while let Some(delivery) = self.receive() {
            assert!(matches!(delivery.message, Message::Event(_)));
        }
    }

    /// Waits for the connection's end: the shim is gone.
    pub(crate) fn gone(&mut self) {
        while self.receive().is_some() {}
    }

    /// What the journal says.
    pub(crate) fn journal(&self) -> Vec<EventKind> {
        let file = File::open(self.folder.join("journal")).unwrap();
        let contents = shim::journal::read(&file).unwrap();
        assert_eq!(contents.torn, 0);
        contents
            .events
            .into_iter()
            .map(|event| event.kind)
            .collect()
    }

    /// The log's text, as it lies there.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("logs/x-json.log")).unwrap_or_default()
    }
}

pub(crate) fn wait_readable(fd: BorrowedFd<'_>, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    assert!(
        !left.is_zero(),
        "nothing came on descriptor {}",
        fd.as_raw_fd()
    );
    let timeout = rustix::event::Timespec {
        tv_sec: left.as_secs() as i64 + 1,
        tv_nsec: 0,
    };
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(
        fd,
        rustix::event::PollFlags::IN,
    )];
    let _ = rustix::event::poll(&mut fds, Some(&timeout));
}

/// Reads until the other side ends.
pub(crate) fn read_all(client: &mut UnixStream) -> Vec<u8> {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    all
}

/// Reads until `wanted` has come.
pub(crate) fn read_until(client: &mut UnixStream, wanted: &str) -> String {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(wanted) {
        let length = client.read(&mut buffer).unwrap_or_else(|error| {
            panic!(
                "{error} while waiting for {wanted:?} after {:?}",
                String::from_utf8_lossy(&all)
            )
        });
        assert_ne!(
            length,
            0,
            "the end came after {:?}",
            String::from_utf8_lossy(&all)
        );
        all.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(all).unwrap()
}

/// Takes the frames apart: what came on standard output, and on standard error.
pub(crate) fn unframe(mut bytes: &[u8]) -> (String, String) {
    let mut streams = [String::new(), String::new()];
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        assert_eq!(header[1..4], [0; 3]);
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let (payload, rest) = rest.split_at(length);
        streams[usize::from(header[0]) - 1].push_str(std::str::from_utf8(payload).unwrap());
        bytes = rest;
    }
    assert!(bytes.is_empty());
    let [stdout, stderr] = streams;
    (stdout, stderr)
}

pub(crate) fn send(client: &mut UnixStream, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
}
