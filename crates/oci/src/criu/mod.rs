//! criu, the program that writes processes down and makes them again: asked over a socket of its own (`criu swrk`), as its
//! documentation calls it by RPC. The numbers are those of the fields of its `rpc.proto`.

mod image;
mod message;

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use message::{Fields, Message};
use rustix::io::FdFlags;
use sys::fdpass::{self, Received, Wait};

use crate::cli::{Flag, Given, Global, switch, value};
use crate::error::{Error, Result};

pub(crate) use image::{External, Image};

/// The largest answer.
const LARGEST: usize = 64 << 10;
/// Answers at most to one request: criu tells of a dozen points on the way.
const MOST: usize = 1000;

/// Flags that both commands have.
pub(crate) const FLAGS: [Flag; 11] = [
    value("image-path"),
    value("work-path"),
    switch("tcp-established"),
    switch("ext-unix-sk"),
    switch("shell-job"),
    switch("file-locks"),
    switch("auto-dedup"),
    switch("lazy-pages"),
    switch("link-remap"),
    value("manage-cgroups-mode"),
    value("empty-ns"),
];

/// What is asked of criu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Dump = 1,
    Restore = 2,
    /// Without another to follow over the same connection.
    PreDump = 13,
}

/// `NOTIFY`: criu tells where it is, and waits for an answer.
const NOTIFY: u64 = 6;

/// What criu is to do, and how.
#[derive(Debug, Default)]
pub(crate) struct Options(Message);

impl Options {
    /// What the flags of both commands say.
    pub(crate) fn new(given: &Given, image: &Image, log: &str) -> Result<Self> {
        let mut options = Message::default();
        // By the number that this process knows it by.
        options.number(1, image.folder.as_raw_fd() as u64);
        if let Some(work) = &image.work {
            options.number(17, work.as_raw_fd() as u64);
        }
        options.number(9, 4);
        options.text(10, log);
        options.switch(12, true);
        for (field, name) in [
            (4, "ext-unix-sk"),
            (5, "tcp-established"),
            (7, "shell-job"),
            (8, "file-locks"),
            (16, "auto-dedup"),
            (18, "link-remap"),
            (48, "lazy-pages"),
        ] {
            options.switch(field, given.is_on(name));
        }
        let mut made = Self(options);
        made.groups(given)?;
        let empty = match given.value("empty-ns").unwrap_or_default() {
            "" => 0,
            "network" => libc::CLONE_NEWNET,
            other => {
                let text = format!("namespace {other} is not supported for --empty-ns");
                return Err(Error::Usage(text));
            }
        };
        if empty != 0 {
            made.0.number(38, empty as u64);
        }
        Ok(made)
    }

    /// How criu treats control groups. Without a word it leaves them alone: it is in the container's itself when it makes
    /// processes again.
    fn groups(&mut self, given: &Given) -> Result<()> {
        let mode = match given.value("manage-cgroups-mode").unwrap_or_default() {
            "" | "ignore" => 0,
            "none" => 1,
            "props" => 2,
            "soft" => 3,
            "full" => 4,
            "strict" => 5,
            other => {
                let text = format!("invalid manage-cgroups-mode value: {other}");
                return Err(Error::Usage(text));
            }
        };
        self.0.switch(24, mode != 0);
        self.0.number(34, mode);
        Ok(())
    }

    pub(crate) fn number(&mut self, field: u32, value: u64) {
        self.0.number(field, value);
    }

    pub(crate) fn switch(&mut self, field: u32, on: bool) {
        self.0.switch(field, on);
    }

    pub(crate) fn text(&mut self, field: u32, value: &str) {
        self.0.text(field, value);
    }

    /// Where pages are sent to, `ADDRESS:PORT`.
    pub(crate) fn page_server(&mut self, place: &str) -> Result<()> {
        let parts = place.rsplit_once(':');
        let parts = parts.and_then(|(address, port)| Some((address, port.parse::<u16>().ok()?)));
        let Some((address, port)) = parts else {
            let text = format!("invalid value {place:?} for --page-server: ADDRESS:PORT");
            return Err(Error::Usage(text));
        };
        let mut server = Message::default();
        server.text(1, address);
        server.number(2, port.into());
        self.0.part(11, server.bytes());
        Ok(())
    }

    /// What is not in the image and comes from outside, at the dump.
    pub(crate) fn external(&mut self, external: &External) {
        for mount in &external.mounts {
            self.0.text(37, &format!("mnt[{mount}]:{mount}"));
        }
        let files = external.descriptors.iter().flatten();
        for file in files.filter(|name| name.starts_with("file[")) {
            self.0.text(37, file);
        }
    }

    /// A mount from outside and where it comes from, at the restore.
    pub(crate) fn mount(&mut self, place: &str, source: &str) {
        self.0.text(37, &format!("mnt[{place}]:{source}"));
    }

    /// A descriptor of ours that takes the place of one from outside.
    pub(crate) fn inherit(&mut self, key: &str, number: u64) {
        let mut inherited = Message::default();
        inherited.text(1, key);
        inherited.number(2, number);
        self.0.part(27, inherited.bytes());
    }
}

/// A criu that waits for one request.
#[derive(Debug)]
pub(crate) struct Criu {
    child: Child,
    socket: OwnedFd,
}

/// What came of a request.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The first process that was made.
    pub(crate) pid: i32,
    /// The other side of its terminal.
    pub(crate) console: Option<OwnedFd>,
}

impl Criu {
    /// Looks whether the program is there.
    ///
    /// # Errors
    /// It is not installed; `verb` needs it.
    pub(crate) fn check(global: &Global, verb: &str) -> Result<()> {
        let named = &global.criu;
        let there = if named.components().count() > 1 {
            named.exists()
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(named).exists())
        };
        if there {
            return Ok(());
        }
        let name = named.display();
        let text = format!("{verb} needs the program {name}, which is not installed");
        Err(Error::State(text))
    }

    /// Starts the program. Standard streams and what is marked as inherited are its, too.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(crate) fn start(global: &Global) -> Result<Self> {
        let failed = |source| Error::Io {
            action: "executing",
            path: global.criu.clone(),
            source,
        };
        let (socket, theirs) = fdpass::pair().map_err(failed)?;
        rustix::io::fcntl_setfd(&theirs, FdFlags::empty()).map_err(|errno| failed(errno.into()))?;
        let child = Command::new(&global.criu)
            .arg("swrk")
            .arg(theirs.as_raw_fd().to_string())
            .stdin(Stdio::inherit())
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, socket })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks, and waits until it is done.
    ///
    /// # Errors
    /// criu refuses; `log` tells where it says why.
    pub(crate) fn ask(self, request: Request, options: &Options, log: &str) -> Result<Outcome> {
        let mut message = Message::default();
        message.number(1, request as u64);
        message.part(2, options.0.bytes());
        self.send(&message)?;
        let mut outcome = Outcome::default();
        let mut buffer = vec![0; LARGEST];
        for _ in 0..MOST {
            let Received {
                length,
                descriptors,
            } = fdpass::recv(self.socket.as_fd(), &mut buffer, Wait::Block).map_err(talking)?;
            if length == 0 {
                break;
            }
            let answer = Fields(buffer.get(..length).unwrap_or_default());
            if answer.number(1) == Some(NOTIFY) {
                let told = answer.part(5).and_then(|told| told.text(1));
                if told == Some("orphan-pts-master") {
                    outcome.console = descriptors.into_iter().next();
                }
                let mut message = Message::default();
                message.number(1, NOTIFY);
                message.switch(3, true);
                self.send(&message)?;
                continue;
            }
            if answer.number(2) != Some(1) {
                // The answer has its first complaint, which may be of something that it does without.
                let text = format!("criu failed, and tells why in {log}");
                return Err(Error::State(text));
            }
            let pid = answer.part(4).and_then(|restored| restored.number(1));
            outcome.pid = pid.map_or(0, |pid| pid as i32);
            return Ok(outcome);
        }
        Err(Error::State(format!(
            "criu ended before it had done (see {log})"
        )))
    }

    fn send(&self, message: &Message) -> Result<()> {
        let parts = [IoSlice::new(message.bytes())];
        fdpass::send(self.socket.as_fd(), &parts, &[], Wait::Block).map_err(talking)
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        // At the end of the connection it ends by itself; that it failed was told by its answer.
        let (ours, _theirs) = match fdpass::pair() {
            Ok(pair) => pair,
            Err(_) => return drop(self.child.kill()),
        };
        self.socket = ours;
        let _ = self.child.wait();
    }
}

fn talking(source: std::io::Error) -> Error {
    Error::Io {
        action: "talking to",
        path: "criu".into(),
        source,
    }
}
