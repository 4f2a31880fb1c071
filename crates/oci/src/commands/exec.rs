//! `exec`: a further process in a container that runs.

mod subgroup;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;

use runtime::PreparedExec;
use runtime::plan::ExecPlan;
use runtime::spawn::{self, Spawned, Stdio, Stream};

use super::run::status;
use crate::cli::{Flag, Given, Global, NAME, is_nested, is_unprivileged, switch, value};
use crate::compile::{add_home_within, affinity, exec_process, listener, memory_policy};
use crate::create::{in_both_words, preserve};
use crate::error::{Error, Result};
use crate::spec::{self, Capabilities, Process, User};
use crate::state::{Container, Status};
use crate::supervisor::{self, Failure};
use crate::{console, guard, hooks, process};

/// The exit status where there is no process whose it could be.
const FAILED: u8 = 255;

const FLAGS: [Flag; 17] = [
    value("console-socket"),
    value("pidfd-socket"),
    value("cwd"),
    value("env").or("e"),
    switch("tty").or("t"),
    value("user").or("u"),
    value("additional-gids").or("g"),
    value("process").or("p"),
    switch("detach").or("d"),
    value("pid-file"),
    value("process-label"),
    value("apparmor"),
    switch("no-new-privs"),
    value("cap").or("c"),
    value("preserve-fds"),
    value("cgroup"),
    switch("ignore-paused"),
];

pub(super) fn run(global: &Global, words: &[String], args: &[OsString]) -> Result<u8> {
    match exec(global, words, args) {
        // As runc's parser of its command line ends, which the container has no part in.
        Err(error) if !matches!(error, Error::Help(_) | Error::Usage(_)) => {
            global.log.error(&format!("exec failed: {error}"));
            Ok(FAILED)
        }
        other => other,
    }
}

fn exec(global: &Global, words: &[String], args: &[OsString]) -> Result<u8> {
    let given = Given::parse_leading(&FLAGS, words)?;
    let Some((id, command)) = given.args.split_first() else {
        let text = format!("{NAME}: \"exec\" requires a minimum of 1 argument(s)");
        return Err(Error::Usage(text));
    };
    let program = guard::ensure(args)?;
    let container = Container::open(&global.root, id)?;
    let refuse = |state: &str| {
        let text = format!("cannot exec in a {state} container");
        Err(Error::State(text))
    };
    match container.status() {
        Status::Stopped => return refuse("stopped"),
        Status::Creating => {
            return Err(Error::State(
                "cannot exec in a container that is being created, or whose creation was broken off"
                    .to_owned(),
            ));
        }
        Status::Paused if !given.is_on("ignore-paused") => {
            return Err(Error::State(
                "cannot exec in a paused container (use --ignore-paused to override)".to_owned(),
            ));
        }
        _ => {}
    }
    let Some(target) = container.pidfd()? else {
        return refuse("stopped");
    };
    process::run_anywhere()?;
    let process = wanted(&given, &container, command)?;
    let attached = !given.is_on("detach");
    let signals = attached.then(console::passed_signals).transpose()?;
    let spawned = start(global, &given, &container, &process, target.as_fd())?;
    // The process has its own by now, and whoever called waits for it.
    drop(program);
    match signals {
        None => Ok(0),
        Some(signals) => {
            let pidfd = spawned.pidfd.as_fd();
            console::attend(pidfd, spawned.console.as_ref(), &signals)?;
            sys::process::wait(pidfd, true)
                .map_err(Error::call("waiting for the process"))?
                .map(status)
                .ok_or(Error::NoContainer)
        }
    }
}

fn start(
    global: &Global,
    given: &Given,
    container: &Container,
    process: &Process,
    target: std::os::fd::BorrowedFd<'_>,
) -> Result<Spawned> {
    let record = &container.record;
    let seccomp = record.seccomp.as_ref().map(|seccomp| seccomp.get());
    // The container has told of its limits, and this command's streams are the program's.
    let lowered = |text: &str| global.log.debug(text);
    let mut plan = exec_process(process, seccomp, &global.log, &lowered)?;
    plan.create_cwd = false;
    plan.memory_policy = memory_policy(record.memory_policy.as_ref())?;
    plan.personality = record.personality;
    plan.keyring.clone_from(&record.keyring);
    preserve(&mut plan, given)?;
    add_home_within(&mut plan, container.record.pid);
    let terminal = process.terminal == Some(true);
    let socket = given.path("console-socket");
    check_console(terminal, socket.is_some(), given.is_on("detach"))?;
    record.place.approach()?;
    let mut entry = match given.values("cgroup").collect::<Vec<_>>().as_slice() {
        [] | [""] => container.entry()?,
        asked => subgroup::entry(container, asked)?,
    };
    if let Some(assigned) = &record.resctrl {
        entry.push(assigned.entry_fds()?);
    }
    if record.host_mounts {
        entry.take_root_of(record.pid)?;
    }
    let plan = ExecPlan {
        process: plan,
        terminal,
        console_size: process
            .console_size
            .as_ref()
            .map(|size| (size.height.unwrap_or(0), size.width.unwrap_or(0))),
        plain_lines: !given.is_on("detach"),
        cgroup: entry.cgroup,
        root: entry.root,
        user_namespace: record.user_namespace,
        time_namespace: record.time_namespace,
        affinity: affinity(process)?,
        unprivileged: is_unprivileged() || is_nested(),
    };
    let log = &global.log;
    // Whoever reads the debug lines of runc finds the same marks here.
    log.debug(&format!(
        "nsexec container setup: joining process {}",
        record.pid
    ));
    if let [Some(before), _] = &plan.affinity {
        log.debug(&format!("nsexec: affinity: {}", mask(before)));
    }
    let prepared = PreparedExec::new(plan)?;
    let inherit = Stdio {
        stdin: Stream::Inherit,
        stdout: Stream::Inherit,
        stderr: Stream::Inherit,
    };
    let state = |_| hooks::state(record, container.status(), record.pid);
    let spawned = spawn::exec_set_off(target, &prepared, &entry.fds, inherit)
        .map_err(Failure::Fault)
        .and_then(|pending| {
            supervisor::proceed(
                pending,
                listener(seccomp).map_err(Failure::Other)?.as_ref(),
                &state,
            )
        })
        .map_err(|failure| match failure {
            Failure::Fault(fault) => {
                let told = fault.describe_process(&prepared.plan().process);
                Error::Start(in_both_words(&fault, told))
            }
            Failure::Other(error) => error,
        })?;
    log.debug(&format!("child process in init(): {}", spawned.pid));
    log.debug("setns_init: about to exec: what comes next is the program's own");
    let told = given
        .path("pid-file")
        .map_or(Ok(()), |path| process::write_pid(&path, spawned.pid))
        .and_then(|()| match given.path("pidfd-socket") {
            Some(socket) => console::send_process(&socket, "setns", &spawned.pidfd),
            None => Ok(()),
        })
        .and_then(|()| match (&socket, &spawned.console) {
            (Some(socket), Some(console)) => console::send(socket, console),
            _ => Ok(()),
        });
    if let Err(error) = told {
        // Whoever called takes it for one that was not started.
        let _ = sys::process::pidfd_send_signal(spawned.pidfd.as_fd(), libc::SIGKILL);
        let _ = sys::process::wait(spawned.pidfd.as_fd(), true);
        return Err(error);
    }
    Ok(spawned)
}

/// A set of processors as one number, for the first 64.
fn mask(set: &[u8]) -> String {
    let bits = set.iter().take(8).rev();
    format!(
        "{:#x}",
        bits.fold(0u64, |mask, byte| mask << 8 | u64::from(*byte))
    )
}

fn check_console(terminal: bool, socket: bool, detached: bool) -> Result<()> {
    let text = match (terminal && detached, socket) {
        (true, false) => "cannot allocate tty if runc will detach without setting console socket",
        (false, true) => "cannot use console socket if runc will not detach or allocate tty",
        _ => return Ok(()),
    };
    Err(Error::State(text.to_owned()))
}

/// The process that is asked for: that of a file, or the container's with what the flags say.
fn wanted(given: &Given, container: &Container, command: &[String]) -> Result<Process> {
    if let Some(path) = given.path("process") {
        return from_file(&path);
    }
    if command.is_empty() {
        return Err(Error::State("process args cannot be empty".to_owned()));
    }
    let mut process = container.record.process.clone();
    process.args = Some(command.to_vec());
    process.terminal = Some(given.is_on("tty"));
    if let Some(cwd) = given.value("cwd").filter(|cwd| !cwd.is_empty()) {
        process.cwd = Some(cwd.to_owned());
    }
    let env = given.values("env").map(str::to_owned);
    process.env.get_or_insert_default().extend(env);
    let label = |flag: &str| {
        let value = given.value(flag).filter(|value| !value.is_empty());
        value.map(str::to_owned)
    };
    if let Some(profile) = label("apparmor") {
        process.apparmor_profile = Some(profile);
    }
    if let Some(label) = label("process-label") {
        process.selinux_label = Some(label);
    }
    if let Some(value) = given.value("no-new-privs") {
        process.no_new_privileges = Some(value == "true");
    }
    if let Some(user) = given.value("user").filter(|user| !user.is_empty()) {
        set_user(process.user.get_or_insert_default(), user)?;
    }
    let added: Vec<String> = given.values("cap").map(str::to_owned).collect();
    if !added.is_empty() {
        let is_root = process.user.as_ref().and_then(|user| user.uid).unwrap_or(0) == 0;
        add_caps(
            process.capabilities.get_or_insert_default(),
            &added,
            is_root,
        );
    }
    for gid in given.values("additional-gids") {
        let gid = gid
            .parse()
            .map_err(|_| Error::Usage(format!("additional-gids: {gid:?} is no group id")))?;
        let user = process.user.get_or_insert_default();
        user.additional_gids.get_or_insert_default().push(gid);
    }
    Ok(process)
}

fn add_caps(caps: &mut Capabilities, added: &[String], is_root: bool) {
    if is_root && let Some(inheritable) = &caps.inheritable {
        // Root's are handed down as far as the configuration says that they may be.
        let may = added.iter().filter(|cap| inheritable.contains(cap));
        caps.ambient.get_or_insert_default().extend(may.cloned());
    }
    let mut sets = vec![&mut caps.bounding, &mut caps.effective, &mut caps.permitted];
    if !is_root {
        // Another user's program keeps what is handed down, and nothing else.
        sets.extend([&mut caps.inheritable, &mut caps.ambient]);
    }
    for set in sets {
        set.get_or_insert_default().extend_from_slice(added);
    }
}

fn set_user(user: &mut User, text: &str) -> Result<()> {
    let id = |what: &str, text: &str| {
        text.parse::<u32>()
            .map_err(|_| Error::State(format!("parsing {text} as int for {what} failed")))
    };
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (text, None),
    };
    // Where both are wrong, runc names the group.
    if let Some(gid) = gid {
        user.gid = Some(id("gid", gid)?);
    }
    user.uid = Some(id("uid", uid)?);
    Ok(())
}

fn from_file(path: &Path) -> Result<Process> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::io("reading", path, source))?;
    spec::parse("process", &text)
}
