//! Programs that the configuration runs at points of a container's life.

use std::io::Read as _;
use std::io::Seek as _;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runtime::PreparedExec;
use runtime::cgroup::Group;
use runtime::plan::{CapSets, ExecPlan, ProcessPlan};
use runtime::spawn::{self, Stream};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use serde_json::Value;
use sys::process::Exit;

use crate::cli;
use crate::compile;
use crate::error::{Error, Result};
use crate::process;
use crate::signals;
use crate::spec::{Hook, Hooks};
use crate::state::{Record, Status};

/// How much of a hook's output is told when it fails.
const MAX_TOLD: u64 = 4096;

/// Where a hook runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// Where this command runs.
    Runtime,
    /// In the namespaces and groups of the container's process.
    Container(Within<'a>),
}

/// A container's process for a hook that runs beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within<'a> {
    pub(crate) process: BorrowedFd<'a>,
    pub(crate) group: Option<&'a Group>,
    /// Where the hook begins, in the process's tree.
    pub(crate) cwd: &'a str,
    /// The container's filter of system calls is the hook's, too; one that asks a listener is the process's alone.
    pub(crate) filtered: bool,
}

/// Looks whether hooks can be run at all.
///
/// # Errors
/// A path that is not absolute, or no time to run in.
pub(crate) fn check(hooks: Option<&Hooks>) -> Result<()> {
    let Some(hooks) = hooks else {
        return Ok(());
    };
    for (kind, list) in [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ] {
        for (index, hook) in list.iter().flatten().enumerate() {
            let field = |name: &str| format!("hooks.{kind}[{index}].{name}");
            let path = hook.path.as_deref().unwrap_or_default();
            if !path.starts_with('/') {
                let why = format!("{path:?} is no absolute path");
                return Err(Error::field(field("path"), why));
            }
            if hook.timeout.is_some_and(|timeout| timeout <= 0) {
                let why = "it has to be above zero";
                return Err(Error::field(field("timeout"), why));
            }
        }
    }
    Ok(())
}

/// Runs hooks in their order until one fails.
///
/// # Errors
/// A hook that cannot be started, ends with another status than 0 or runs out of its time.
pub(crate) fn run(
    kind: &'static str,
    hooks: Option<&Vec<Hook>>,
    record: &Record,
    status: Status,
    place: Place<'_>,
) -> Result<()> {
    each(kind, hooks, record, status, place).collect()
}

/// Runs a hook whenever the next one's outcome is asked for.
pub(crate) fn each<'a>(
    kind: &'static str,
    hooks: Option<&'a Vec<Hook>>,
    record: &'a Record,
    status: Status,
    place: Place<'a>,
) -> impl Iterator<Item = Result<()>> + use<'a> {
    let pid = match place {
        _ if status == Status::Stopped => 0,
        Place::Runtime => record.pid,
        // As the container sees it, says the specification.
        Place::Container(_) => process::innermost(record.pid).unwrap_or(record.pid),
    };
    let state = state(record, status, pid).to_string().into_bytes();
    let hooks = hooks.into_iter().flatten().enumerate();
    hooks.map(move |(index, hook)| {
        run_one(hook, &state, record, place).map_err(|why| Error::Hook { kind, index, why })
    })
}

/// The state as the specification has it.
pub(crate) fn state(record: &Record, status: Status, pid: i32) -> Value {
    let mut state = serde_json::json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "status": status.word(),
        "pid": pid,
        "bundle": record.bundle,
    });
    if !record.annotations.is_empty() {
        state["annotations"] = serde_json::json!(record.annotations);
    }
    state
}

fn run_one(hook: &Hook, state: &[u8], record: &Record, place: Place<'_>) -> Result<(), String> {
    let failed = |action: &'static str| {
        move |error: std::io::Error| match error.raw_os_error() {
            Some(errno) => format!("{action}: {}", runtime::words(errno)),
            None => format!("{action}: {error}"),
        }
    };
    let path = hook.path.as_deref().unwrap_or_default();
    if !path.starts_with('/') {
        return Err(format!("{path:?} is no absolute path"));
    }
    // Files in memory, so that no hook can hold us up by what it writes or does not read.
    let mut input = memory().map_err(failed("preparing the state"))?;
    input
        .write_all(state)
        .and_then(|()| input.rewind())
        .map_err(failed("preparing the state"))?;
    let mut outputs = [
        memory().map_err(failed("preparing the output"))?,
        memory().map_err(failed("preparing the output"))?,
    ];
    let pidfd = match place {
        Place::Runtime => {
            in_runtime(hook, path, &record.bundle, &input, &outputs).map_err(failed("starting it"))
        }
        Place::Container(within) => in_container(
            hook,
            path,
            record,
            within,
            [&input, &outputs[0], &outputs[1]],
        ),
    }?;
    let timeout = hook
        .timeout
        .map(|seconds| Duration::from_secs(seconds.max(0).cast_unsigned()));
    let exit = wait(pidfd.as_fd(), timeout)?;
    match exit {
        Exit::Code(0) => return Ok(()),
        Exit::Code(code) => Err(format!("exit status {code}")),
        Exit::Signal(signal) => Err(format!("signal: {}", signals::words(signal))),
    }
    .map_err(|why: String| {
        let [stdout, stderr] = outputs.each_mut().map(told);
        format!("error running hook: {why}, stdout: {stdout}, stderr: {stderr}")
    })
}

fn memory() -> std::io::Result<std::fs::File> {
    Ok(rustix::fs::memfd_create("hook", MemfdFlags::CLOEXEC)?.into())
}

fn told(output: &mut std::fs::File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is not told.
    let _ = output.rewind();
    let _ = output.take(MAX_TOLD).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn in_runtime(
    hook: &Hook,
    path: &str,
    bundle: &Path,
    input: &std::fs::File,
    outputs: &[std::fs::File; 2],
) -> std::io::Result<OwnedFd> {
    let [stdout, stderr] = outputs;
    let mut args = hook.args.iter().flatten();
    let mut command = Command::new(path);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    let variables = hook
        .env
        .iter()
        .flatten()
        .filter_map(|one| one.split_once('='));
    let child = command
        .args(args)
        .env_clear()
        .envs(variables)
        .current_dir(bundle)
        .stdin(Stdio::from(input.try_clone()?))
        .stdout(Stdio::from(stdout.try_clone()?))
        .stderr(Stdio::from(stderr.try_clone()?))
        .spawn()?;
    Ok(sys::process::pidfd_open(child.id().cast_signed())?)
}

/// The path is looked for where the container's process is by now: in the host's tree until it has entered its root.
fn in_container(
    hook: &Hook,
    path: &str,
    record: &Record,
    within: Within<'_>,
    streams: [&std::fs::File; 3],
) -> Result<OwnedFd, String> {
    let own = sys::process::capabilities().map_or(0, |own| own.permitted);
    let bytes = |list: &Option<Vec<String>>| -> Vec<Vec<u8>> {
        let items = list.iter().flatten();
        items.map(|item| item.clone().into_bytes()).collect()
    };
    let mut args = bytes(&hook.args);
    if args.is_empty() {
        args.push(path.as_bytes().to_vec());
    }
    let env = match (&hook.env, within.filtered) {
        // As runc has it; the specification does not say.
        (None, true) => {
            let own = &record.process;
            let mut process = ProcessPlan {
                env: compile::environment(own.env.as_deref().unwrap_or_default()),
                uid: own.user.as_ref().and_then(|user| user.uid).unwrap_or(0),
                ..ProcessPlan::default()
            };
            compile::add_home_within(&mut process, record.pid);
            process.env
        }
        _ => bytes(&hook.env),
    };
    let mut entry = compile::entry(within.group).map_err(|error| error.to_string())?;
    if record.host_mounts {
        entry
            .take_root_of(record.pid)
            .map_err(|error| error.to_string())?;
    }
    let profile = record.seccomp.as_ref().filter(|_| within.filtered);
    let seccomp = profile
        .map(|profile| compile::filter_of_hooks(profile.get(), own))
        .transpose()
        .map_err(|error| error.to_string())?;
    let plan = ExecPlan {
        process: ProcessPlan {
            cwd: within.cwd.to_owned(),
            args,
            program: Some(path.as_bytes().to_vec()),
            env,
            seccomp: seccomp.flatten(),
            caps: CapSets {
                bounding: own,
                effective: own,
                permitted: own,
                inheritable: 0,
                ambient: 0,
            },
            ..ProcessPlan::default()
        },
        cgroup: entry.cgroup,
        root: entry.root,
        user_namespace: record.user_namespace,
        time_namespace: record.time_namespace,
        unprivileged: cli::is_unprivileged() || cli::is_nested(),
        ..ExecPlan::default()
    };
    let [stdin, stdout, stderr] = streams.map(|stream| Stream::Fd(stream.as_fd()));
    let stdio = spawn::Stdio {
        stdin,
        stdout,
        stderr,
    };
    let process = plan.process.clone();
    let prepared = PreparedExec::new(plan).map_err(|error| error.to_string())?;
    spawn::exec(within.process, &prepared, &entry.fds, stdio)
        .map(|spawned| spawned.pidfd)
        .map_err(|fault| fault.describe_process(&process))
}

/// Waits for a hook's end, and ends it when its time is over.
fn wait(pidfd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<Exit, String> {
    let failed = |errno: Errno| format!("waiting for it: {errno}");
    if let Some(timeout) = timeout {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut polled = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut polled, Some(&left)) {
                Ok(0) => {
                    let _ = sys::process::pidfd_send_signal(pidfd, libc::SIGKILL);
                    let _ = sys::process::wait(pidfd, true);
                    let seconds = timeout.as_secs_f64();
                    return Err(format!("hook ran past specified timeout of {seconds:.1}s"));
                }
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
    sys::process::wait(pidfd, true)
        .map_err(failed)?
        .ok_or_else(|| failed(Errno::CHILD))
}
