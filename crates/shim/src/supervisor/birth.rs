//! Making processes: pipes, the runtime's call, and its faults in words.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use runtime::plan::{CgroupEntry, ExecPlan, Plan};
use runtime::spawn::{self, Pending, Spawned, Stdio, Stream};
use runtime::{Fault, Prepared, PreparedExec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::session::Newborn;
use crate::protocol::Refusal;

/// Which streams a process gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) tty: bool,
    pub(super) input: bool,
    pub(super) outputs: bool,
}

/// The two sides of a process's streams.
#[derive(Debug, Default)]
struct Streams {
    theirs: [Option<OwnedFd>; 3],
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
}

fn system(action: &str, errno: Errno) -> Refusal {
    Refusal::System {
        action: action.to_owned(),
        errno: errno.raw_os_error(),
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Refusal> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| system("make a pipe", errno))
}

/// The supervisor's end of a pipe, or its side of a terminal, does not block. (The process's is an open file
/// of its own.)
fn unblock(fd: OwnedFd) -> Result<OwnedFd, Refusal> {
    rustix::fs::fcntl_setfl(&fd, OFlags::NONBLOCK)
        .map_err(|errno| system("set up a stream", errno))?;
    Ok(fd)
}

impl Streams {
    fn new(shape: Shape) -> Result<Self, Refusal> {
        let mut streams = Streams::default();
        if shape.tty {
            return Ok(streams);
        }
        if shape.input {
            let (read, write) = pipe()?;
            streams.theirs[0] = Some(read);
            streams.input = Some(unblock(write)?);
        }
        if shape.outputs {
            for (output, theirs) in streams.outputs.iter_mut().zip(&mut streams.theirs[1..]) {
                let (read, write) = pipe()?;
                *theirs = Some(write);
                *output = Some(unblock(read)?);
            }
        }
        Ok(streams)
    }

    fn stdio(&self) -> Stdio<'_> {
        let stream = |index: usize| match &self.theirs[index] {
            Some(fd) => Stream::Fd(fd.as_fd()),
            None => Stream::Null,
        };
        Stdio {
            stdin: stream(0),
            stdout: stream(1),
            stderr: stream(2),
        }
    }
}

/// A process on its way to its program.
#[derive(Debug)]
pub(super) struct Birth {
    pending: Pending,
    streams: Streams,
    shape: Shape,
    /// The plan of a further process.
    exec: Option<PreparedExec>,
}

impl Birth {
    /// Starts a container's first process; with `gated`, only as far as its namespaces.
    pub(super) fn first(
        prepared: &Prepared,
        fds: &[OwnedFd],
        shape: Shape,
        gated: bool,
    ) -> Result<Self, Refusal> {
        let mut streams = Streams::new(shape)?;
        let stdio = streams.stdio();
        let set_off = if gated { spawn::begin } else { spawn::set_off };
        let pending = set_off(prepared, fds, stdio)
            .map_err(|fault| refusal(&fault, fault.describe(prepared.plan())))?;
        // The process has its own ends.
        streams.theirs = Default::default();
        Ok(Birth {
            pending,
            streams,
            shape,
            exec: None,
        })
    }

    /// Starts a further process beside `target`. An empty cgroup entry in the plan means that of the container.
    pub(super) fn further(
        target: BorrowedFd<'_>,
        encoded: &[u8],
        cgroup: &CgroupEntry,
        fds: &[OwnedFd],
        shape: Shape,
    ) -> Result<Self, Refusal> {
        let mut plan = ExecPlan::decode(encoded).map_err(|error| invalid(&error))?;
        if plan.cgroup == CgroupEntry::default() {
            plan.cgroup = cgroup.clone();
        }
        if plan.terminal != shape.tty {
            let text = "request and plan differ about the terminal".to_owned();
            return Err(Refusal::Invalid { text });
        }
        let prepared = PreparedExec::new(plan).map_err(|error| invalid(&error))?;
        let mut streams = Streams::new(shape)?;
        let pending = spawn::exec_set_off(target, &prepared, fds, streams.stdio())
            .map_err(|fault| refusal(&fault, fault.describe_process(&prepared.plan().process)))?;
        streams.theirs = Default::default();
        Ok(Birth {
            pending,
            streams,
            shape,
            exec: Some(prepared),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pending.pid().cast_unsigned()
    }

    pub(super) fn network_namespace(&self, plan: &Plan) -> Result<OwnedFd, Refusal> {
        self.pending
            .network_namespace()
            .map_err(|fault| refusal(&fault, fault.describe(plan)))
    }

    /// Lets the process go on, and tells whether it runs its program. `plan` is the container's.
    pub(super) fn poll(&mut self, plan: &Plan) -> Result<Option<Newborn>, Refusal> {
        match self.pending.poll() {
            Ok(None) => Ok(None),
            Ok(Some(spawned)) => self.newborn(spawned).map(Some),
            Err(fault) => {
                let text = match &self.exec {
                    Some(exec) => fault.describe_process(&exec.plan().process),
                    None => fault.describe(plan),
                };
                Err(refusal(&fault, text))
            }
        }
    }

    fn newborn(&mut self, spawned: Spawned) -> Result<Newborn, Refusal> {
        let streams = std::mem::take(&mut self.streams);
        let mut born = Newborn {
            pid: spawned.pid.cast_unsigned(),
            pidfd: spawned.pidfd,
            input: streams.input,
            outputs: streams.outputs,
            console: None,
        };
        if let Some(console) = spawned.console {
            let console = unblock(console)?;
            // One descriptor for each thing that is waited for.
            let copy = || {
                rustix::io::fcntl_dupfd_cloexec(&console, 3)
                    .map_err(|errno| system("copy the terminal's descriptor", errno))
            };
            born.outputs[0] = Some(copy()?);
            if self.shape.input {
                born.input = Some(copy()?);
            }
            born.console = Some(console);
        }
        Ok(born)
    }
}

impl AsFd for Birth {
    /// Readable when [`Birth::poll`] has something to tell.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pending.as_fd()
    }
}

pub(super) fn invalid(error: &dyn std::error::Error) -> Refusal {
    Refusal::Invalid {
        text: error.to_string(),
    }
}

fn refusal(fault: &Fault, text: String) -> Refusal {
    Refusal::Fault {
        text,
        exit_code: u8::try_from(fault.exit_code()).unwrap_or(125),
        step: fault.step as u16,
        errno: fault.errno,
        index: fault.index,
    }
}
