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

/// A pipe whose one end, the supervisor's, does not block. (The other end is an open file of its own.)
fn pipe() -> Result<(OwnedFd, OwnedFd), Refusal> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| system("make a pipe", errno))
}

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

    /// The process is made: its own ends are closed here.
    fn newborn(self, spawned: Spawned, shape: Shape) -> Result<Newborn, Refusal> {
        let mut born = Newborn {
            pid: spawned.pid.cast_unsigned(),
            pidfd: spawned.pidfd,
            input: self.input,
            outputs: self.outputs,
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
            if shape.input {
                born.input = Some(copy()?);
            }
            born.console = Some(console);
        }
        Ok(born)
    }
}

/// A first process that waits in its namespaces.
#[derive(Debug)]
pub(super) struct Half {
    pending: Pending,
    streams: Streams,
    shape: Shape,
}

impl Half {
    pub(super) fn pid(&self) -> u32 {
        self.pending.pid().cast_unsigned()
    }

    pub(super) fn network_namespace(&self) -> Result<OwnedFd, Fault> {
        self.pending.network_namespace()
    }

    /// Lets it go on to its program.
    pub(super) fn proceed(self, plan: &Plan) -> Result<Newborn, Refusal> {
        let Half {
            pending,
            streams,
            shape,
        } = self;
        let spawned = pending
            .proceed()
            .map_err(|fault| refusal(&fault, fault.describe(plan)))?;
        streams.newborn(spawned, shape)
    }
}

/// Starts a container's first process.
pub(super) fn first(
    prepared: &Prepared,
    fds: &[OwnedFd],
    shape: Shape,
) -> Result<Newborn, Refusal> {
    let streams = Streams::new(shape)?;
    let spawned = spawn::spawn(prepared, fds, streams.stdio())
        .map_err(|fault| refusal(&fault, fault.describe(prepared.plan())))?;
    streams.newborn(spawned, shape)
}

/// Starts a container's first process as far as its namespaces.
pub(super) fn first_half(
    prepared: &Prepared,
    fds: &[OwnedFd],
    shape: Shape,
) -> Result<Half, Refusal> {
    let streams = Streams::new(shape)?;
    let pending = spawn::begin(prepared, fds, streams.stdio())
        .map_err(|fault| refusal(&fault, fault.describe(prepared.plan())))?;
    Ok(Half {
        pending,
        streams,
        shape,
    })
}

/// Starts a further process beside `target`. An empty cgroup entry in the plan means that of the container.
pub(super) fn further(
    target: BorrowedFd<'_>,
    encoded: &[u8],
    cgroup: &CgroupEntry,
    fds: &[OwnedFd],
    shape: Shape,
) -> Result<Newborn, Refusal> {
    let mut plan = ExecPlan::decode(encoded).map_err(|error| invalid(&error))?;
    if plan.cgroup == CgroupEntry::default() {
        plan.cgroup = cgroup.clone();
    }
    if plan.terminal != shape.tty {
        return Err(Refusal::Invalid {
            text: "request and plan differ about the terminal".to_owned(),
        });
    }
    let prepared = PreparedExec::new(plan).map_err(|error| invalid(&error))?;
    let streams = Streams::new(shape)?;
    let spawned = spawn::exec(target, &prepared, fds, streams.stdio())
        .map_err(|fault| refusal(&fault, fault.describe_process(&prepared.plan().process)))?;
    streams.newborn(spawned, shape)
}

pub(super) fn invalid(error: &dyn std::error::Error) -> Refusal {
    Refusal::Invalid {
        text: error.to_string(),
    }
}

pub(super) fn refusal(fault: &Fault, text: String) -> Refusal {
    Refusal::Fault {
        text,
        exit_code: u8::try_from(fault.exit_code()).unwrap_or(125),
        step: fault.step as u16,
        errno: fault.errno,
        index: fault.index,
    }
}
