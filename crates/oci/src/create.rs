//! Making a container: what `create` and `run` have in common.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use runtime::Prepared;
use runtime::cgroup::{Group, Resources};
use runtime::netdevice::{self, NetDevice};
use runtime::plan::{FdSlot, NsMode, Plan, ProcessPlan, RootChange};
use runtime::resctrl::Assigned;
use runtime::spawn::{self, Pending, Spawned, Stdio, Stream};
use runtime::{Fault, Step};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::cli::{Flag, Given, Global, NAME, is_nested, is_unprivileged, switch, value};
use crate::compile::{self, Compiled};
use crate::error::{Error, Result};
use crate::hooks::{self, Place, Within};
use crate::process::{self, Guard};
use crate::spec::{Hooks, Spec};
use crate::state::{Folder, GATE, Record, Status};
use crate::supervisor::{self, Failure};
use crate::{clock, console, guard, notify};

/// Flags of `create`, which `run` has too.
pub(crate) const FLAGS: [Flag; 7] = [
    value("bundle").or("b"),
    value("console-socket"),
    value("pidfd-socket"),
    value("pid-file"),
    switch("no-pivot"),
    switch("no-new-keyring"),
    value("preserve-fds"),
];

/// What is to be made.
pub(crate) struct Request<'a> {
    pub(crate) global: &'a Global,
    pub(crate) id: &'a str,
    pub(crate) given: &'a Given,
    /// The process waits to be started.
    pub(crate) gated: bool,
    /// Whoever called waits for the container's end, and lends it its terminal.
    pub(crate) attached: bool,
}

/// A container with a process.
pub(crate) struct Made {
    pub(crate) folder: Folder,
    pub(crate) record: Record,
    pub(crate) spawned: Spawned,
    /// `None` for a container that may have none.
    pub(crate) group: Option<Group>,
    pub(crate) hooks: Hooks,
    /// The process waits to be let through.
    pub(crate) waits: bool,
}

/// Makes a container. Where that fails nothing of it is left. `program` is kept until the container's process needs it no more.
pub(crate) fn make(request: &Request<'_>, program: guard::Program) -> Result<Made> {
    let log = &request.global.log;
    let bundle = bundle(request.given)?;
    let spec = Spec::load(&bundle)?;
    let mut compiled = compile::container(&spec, &bundle, request.id, request.global)?;
    if request.given.is_on("no-pivot") {
        compiled.plan.root_change = RootChange::Cover(compile::mounts_below_root()?);
    }
    preserve(&mut compiled.plan.process, request.given)?;
    if !request.given.is_on("no-new-keyring") {
        compiled.plan.process.keyring = Some(format!("_ses.{}", request.id));
    }
    compiled.plan.plain_lines = request.attached;
    check_console(request, &compiled.plan)?;
    process::run_anywhere()?;
    let folder = Folder::claim(&request.global.root, request.id)?;
    if notify::manager().is_some()
        && let Err(error) = notify::prepare(&mut compiled.plan, &folder)
    {
        let _ = folder.remove();
        return Err(error);
    }
    let mut record = record(request.id, &bundle, &spec, &compiled)?;
    let limited = compile::asks_for_limits(spec.linux().resources.as_ref());
    let hooks = spec.hooks.unwrap_or_default();
    // From here on something exists: written down, `delete` can remove it whatever happens to this command.
    let made = folder
        .write(&record)
        .and_then(|()| {
            let lenient = request.global.rootless && !limited;
            let place = &compiled.place;
            place.make(request.id, &compiled.resources, lenient)
        })
        .and_then(|(group, keeper)| {
            record.ungrouped = group.is_none();
            let own = group.as_ref();
            let slot = program.map(|program| compiled.slot(program));
            let compiled = &mut compiled;
            let started = start(request, compiled, slot, own, &folder, &mut record, &hooks);
            drop(keeper);
            match started {
                Ok(spawned) => Ok((spawned, group)),
                Err(error) => {
                    // The first failure is the one to tell.
                    let _ = record.end(group.as_ref());
                    Err(error)
                }
            }
        });
    match made {
        Ok((spawned, group)) => Ok(Made {
            waits: waits(request, &hooks),
            folder,
            record,
            spawned,
            group,
            hooks,
        }),
        Err(error) => {
            let _ = folder.remove();
            run_poststop(&hooks, &record, log);
            Err(error)
        }
    }
}

/// The hooks after the end of a container that nobody deletes by hand: none keeps another from running.
pub(crate) fn run_poststop(hooks: &Hooks, record: &Record, log: &crate::log::Log) {
    let hooks = hooks.poststop.as_ref();
    for outcome in hooks::each("poststop", hooks, record, Status::Stopped, Place::Runtime) {
        if let Err(error) = outcome {
            log.warning(&error.to_string());
        }
    }
}

pub(crate) fn bundle(given: &Given) -> Result<PathBuf> {
    let path = given.path("bundle").unwrap_or_else(|| PathBuf::from("."));
    // By `.` and the links on the way, as a shell that went there would tell it.
    path.canonicalize()
        .map_err(|source| Error::io("opening the bundle", &path, source))
}

/// How many descriptors from 3 on the program gets: those of `--preserve-fds` and, before them, of socket activation, of
/// which its environment tells.
pub(crate) fn preserve(process: &mut ProcessPlan, given: &Given) -> Result<()> {
    let asked: u16 = given.number("preserve-fds")?.unwrap_or(0);
    let own = std::process::id().to_string();
    let is_ours = std::env::var("LISTEN_PID").is_ok_and(|pid| pid == own);
    let sockets = std::env::var("LISTEN_FDS").ok().filter(|_| is_ours);
    let sockets: u16 = sockets.and_then(|count| count.parse().ok()).unwrap_or(0);
    if sockets != 0 {
        // Process 1 of the container, or the program's own number: it is the one that looks.
        let mut tell = |text: String| process.env.push(text.into_bytes());
        tell(format!("LISTEN_FDS={sockets}"));
        tell("LISTEN_PID=1".to_owned());
        if let Ok(names) = std::env::var("LISTEN_FDNAMES") {
            tell(format!("LISTEN_FDNAMES={names}"));
        }
    }
    let all = asked.saturating_add(sockets);
    match sys::inherited::first_missing(3, all) {
        None => {
            process.preserved = all;
            Ok(())
        }
        Some(number) => Err(Error::State(format!(
            "please check that preserved-fd {number} is present"
        ))),
    }
}

fn check_console(request: &Request<'_>, plan: &Plan) -> Result<()> {
    let socket = request.given.value("console-socket").is_some();
    let state = |text: &str| Err(Error::State(text.to_owned()));
    match (request.attached, plan.terminal, socket) {
        (false, true, false) => {
            state("cannot allocate tty if runc will detach without setting console socket")
        }
        (false, false, true) | (true, _, true) => {
            state("cannot use console socket if runc will not detach or allocate tty")
        }
        _ => Ok(()),
    }
}

pub(crate) fn record(id: &str, bundle: &Path, spec: &Spec, compiled: &Compiled) -> Result<Record> {
    let mut annotations = spec.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !key.is_empty());
    Ok(Record {
        oci_version: spec.oci_version.clone().unwrap_or_default(),
        id: id.to_owned(),
        pid: 0,
        start: 0,
        bundle: bundle.to_owned(),
        rootfs: compiled.rootfs.clone(),
        created: clock::to_the_nanosecond(SystemTime::now()),
        owner: rustix::process::getuid().as_raw(),
        annotations,
        place: compiled.place.clone(),
        ungrouped: false,
        doors: None,
        host_mounts: compiled.plan.namespaces.mount == NsMode::Host,
        user_namespace: compiled.plan.namespaces.user != NsMode::Host,
        time_namespace: compiled.plan.namespaces.time != NsMode::Host,
        shared_pids: compiled.plan.namespaces.pid != NsMode::New,
        resctrl: compiled
            .rdt
            .as_ref()
            .map(|rdt| Assigned::new(&rdt.root, &rdt.service, id)),
        keyring: compiled.plan.process.keyring.clone(),
        process: spec.process.clone().unwrap_or_default(),
        personality: compiled.plan.process.personality,
        memory_policy: spec.linux().memory_policy.clone(),
        seccomp: spec.linux().seccomp.clone(),
        hooks: spec.hooks.clone(),
    })
}

fn start(
    request: &Request<'_>,
    compiled: &mut Compiled,
    program: Option<FdSlot>,
    group: Option<&Group>,
    folder: &Folder,
    record: &mut Record,
    hooks: &Hooks,
) -> Result<Spawned> {
    compiled.enter(group)?;
    if let (Some(rdt), Some(assigned)) = (&compiled.rdt, &record.resctrl) {
        if let Err(error) = assigned.make(&rdt.service) {
            // Nothing of it is the container's.
            record.resctrl = None;
            return Err(error.into());
        }
        let entries = assigned.entry_fds()?.into_iter();
        let entries: Vec<FdSlot> = entries.map(|fd| compiled.slot(fd)).collect();
        compiled.plan.cgroup.dirs.extend(entries);
    }
    if waits(request, hooks) {
        let gate = spawn::make_gate(std::os::fd::AsFd::as_fd(folder), GATE)
            .map_err(Error::call("making the pipe at which the process waits"))?;
        let slot = compiled.slot(gate);
        compiled.plan.process.gate = Some(slot);
    }
    let mut plan = std::mem::take(&mut compiled.plan);
    plan.unprivileged = is_unprivileged();
    plan.nested = is_nested();
    let apart = record.host_mounts || plan.unprivileged || plan.nested || early_hooks(hooks);
    if apart || compile::names_host_paths(&plan.mounts) {
        plan.shown_at = Some(shown_at(&compiled.rootfs)?);
    }
    let shown = record
        .host_mounts
        .then(|| Shown::at(&compiled.rootfs))
        .transpose()?;
    let terminal = plan.terminal;
    let mut prepared = Prepared::new(plan)?;
    if let Some(slot) = program {
        prepared.dismiss(slot);
    }
    if prepared.plan().process.gate.is_some() {
        prepared.show_waiting_as(&format!("{NAME} init {}", record.id));
    }
    let fds: Vec<OwnedFd> = std::mem::take(&mut compiled.fds);
    let made = Beginning {
        prepared: &prepared,
        fds: &fds,
        devices: &compiled.net_devices,
    };
    let log = &request.global.log;
    // Whoever reads the debug lines of runc finds the same marks here.
    log.debug("nsexec container setup: one clone makes the namespaces that are new");
    let spawned = process(&made, record, group, hooks).map_err(|failure| match failure {
        Failure::Fault(fault) if fault.step == Step::RootSource => invalid_root(
            &compiled.rootfs,
            Errno::from_raw_os_error(fault.errno).into(),
        ),
        other => told(other, prepared.plan(), &compiled.resources),
    })?;
    log.debug(&format!("child process in init(): {}", spawned.pid));
    log.debug("init: closing the pipe to signal completion: it is at its gate, or its program");
    drop(fds);
    let gated = prepared.plan().process.gate.is_some();
    let guard = Guard(Some(spawned));
    if let Some(spawned) = &guard.0 {
        let (started, executed) = process::start(spawned.pid).unwrap_or_default();
        let is_there = match gated {
            true => spawn::is_waited_at(folder.as_fd(), GATE),
            false => executed,
        };
        // A process that was killed on its way said nothing.
        if !is_there {
            let why =
                "the process was killed on its way to its program (is the memory limit too low?)";
            return Err(Error::Start(why.to_owned()));
        }
        record.pid = spawned.pid;
        record.start = started;
        record.doors = group.map(Group::doors).transpose()?;
        folder.write(record)?;
        if let Some(path) = request.given.path("pid-file") {
            process::write_pid(&path, spawned.pid)?;
        }
        if let Some(socket) = request.given.path("pidfd-socket") {
            console::send_process(&socket, "standard", &spawned.pidfd)?;
        }
        if let (true, Some(socket), Some(console)) = (
            terminal,
            request.given.path("console-socket"),
            &spawned.console,
        ) {
            console::send(&socket, console)?;
        }
    }
    if let Some(shown) = shown {
        shown.keep();
    }
    guard.keep()
}

/// What is mounted on the root's place in the host's tree. More than there was is dropped with the value, unless it is kept.
struct Shown<'a> {
    rootfs: &'a Path,
    before: u64,
}

impl<'a> Shown<'a> {
    fn at(rootfs: &'a Path) -> Result<Self> {
        let before = mount_of(rootfs).map_err(|errno| invalid_root(rootfs, errno.into()))?;
        Ok(Self { rootfs, before })
    }

    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if mount_of(self.rootfs).is_ok_and(|now| now != self.before) {
            let flags = UnmountFlags::DETACH;
            // The failure before is the one to tell.
            let _ = rustix::mount::unmount(self.rootfs, flags);
        }
    }
}

/// The number of the mount that a folder is on.
fn mount_of(folder: &Path) -> Result<u64, Errno> {
    let found = rustix::fs::statx(CWD, folder, AtFlags::empty(), StatxFlags::MNT_ID)?;
    Ok(found.stx_mnt_id)
}

/// Whether the process waits before its program until it is let through.
fn waits(request: &Request<'_>, hooks: &Hooks) -> bool {
    // A service manager's socket is made when the container is started.
    request.gated || has(hooks.start_container.as_ref()) || notify::manager().is_some()
}

fn has(hooks: Option<&Vec<crate::spec::Hook>>) -> bool {
    hooks.is_some_and(|hooks| !hooks.is_empty())
}

/// What is told of a process that did not get to its program.
fn told(failure: Failure, plan: &Plan, resources: &Resources) -> Error {
    let is_pinned = resources.cpuset_cpus.is_some() && plan.process.scheduler.is_some();
    match failure {
        Failure::Fault(fault)
            if is_pinned && fault.step == Step::Scheduling && fault.errno == libc::EPERM =>
        {
            // As runc tells it, by systemd's name of `cpuset`.
            Error::Start(format!(
                "error during container init: process scheduler can't be used together with AllowedCPUs (linux.resources.cpu.cpus): {}",
                fault.describe(plan)
            ))
        }
        Failure::Fault(fault) if fault.step == Step::Execute => {
            Error::Program(sentence(&fault, plan))
        }
        Failure::Fault(fault) => Error::Start(sentence(&fault, plan)),
        Failure::Other(error) => error,
    }
}

/// The fault in runc's words.
pub(crate) fn sentence(fault: &Fault, plan: &Plan) -> String {
    let core = in_both_words(fault, fault.describe(plan));
    match fault.step {
        Step::Lookup | Step::Stat | Step::IsDirectory | Step::NotExecutable | Step::Execute => core,
        _ => format!("error during container init: {core}"),
    }
}

/// Of a folder in the place of a program the kernel's own word besides runc's, which engines look for: Docker 20.10 and podman
/// make it the status 126.
pub(crate) fn in_both_words(fault: &Fault, told: String) -> String {
    match fault.step {
        Step::IsDirectory => format!("{told}: permission denied"),
        _ => told,
    }
}

/// What a process begins with.
struct Beginning<'a> {
    prepared: &'a Prepared,
    /// What its plan names by slot.
    fds: &'a [OwnedFd],
    /// What becomes its network namespace's.
    devices: &'a [NetDevice],
}

/// Moves devices into the network namespace of a process that has not gone on yet.
fn move_devices(begun: &Beginning<'_>, pending: &Pending) -> Result<(), Failure> {
    if begun.devices.is_empty() {
        return Ok(());
    }
    let born_in;
    let namespace = match begun.prepared.plan().namespaces.net {
        NsMode::Join(slot) => begun.fds.get(usize::from(slot.0)).map(AsFd::as_fd),
        NsMode::Host | NsMode::New => {
            born_in = pending.network_namespace()?;
            Some(born_in.as_fd())
        }
    };
    let missing = || Failure::Other(Error::State("the network namespace is missing".to_owned()));
    netdevice::move_all(begun.devices, namespace.ok_or_else(missing)?)
        .map_err(|error| Failure::Other(error.into()))
}

/// Starts the process, with the hooks between that see its mounts before they are all that it sees.
fn process(
    begun: &Beginning<'_>,
    record: &mut Record,
    group: Option<&Group>,
    hooks: &Hooks,
) -> Result<Spawned, Failure> {
    let Beginning { prepared, fds, .. } = *begun;
    let inherit = Stdio {
        stdin: Stream::Inherit,
        stdout: Stream::Inherit,
        stderr: Stream::Inherit,
    };
    let seccomp = record.seccomp.as_ref().map(|seccomp| seccomp.get());
    let listener = compile::listener(seccomp).map_err(Failure::Other)?;
    let about = record.clone();
    let state = |pid| hooks::state(&about, Status::Creating, pid);
    let Some(cwd) = &prepared.plan().shown_at else {
        let pending = match begun.devices {
            [] => spawn::set_off(prepared, fds, inherit)?,
            _ => spawn::begin(prepared, fds, inherit)?,
        };
        move_devices(begun, &pending)?;
        return supervisor::proceed(pending, listener.as_ref(), &state);
    };
    let mut pending = spawn::begin(prepared, fds, inherit)?;
    move_devices(begun, &pending)?;
    pending.await_mounts()?;
    record.pid = pending.pid();
    let outside = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
    ];
    for (kind, list) in outside {
        hooks::run(
            kind,
            list.as_ref(),
            record,
            Status::Creating,
            Place::Runtime,
        )
        .map_err(Failure::Other)?;
    }
    if let (Some(process), true) = (pending.pidfd(), has(hooks.create_container.as_ref())) {
        let within = Within {
            process,
            group,
            cwd,
            filtered: false,
        };
        let list = hooks.create_container.as_ref();
        hooks::run(
            "createContainer",
            list,
            record,
            Status::Creating,
            Place::Container(within),
        )
        .map_err(Failure::Other)?;
    }
    supervisor::proceed(pending, listener.as_ref(), &state)
}

/// Whether hooks come before the root is all that the process sees.
fn early_hooks(hooks: &Hooks) -> bool {
    let early = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
    ];
    early.iter().any(|list| has(list.as_ref()))
}

/// A root folder that cannot be opened.
fn invalid_root(rootfs: &Path, source: std::io::Error) -> Error {
    Error::io("invalid rootfs: stat", rootfs, source)
}

/// Where the root lies in the host's tree while that is still there.
fn shown_at(rootfs: &Path) -> Result<String> {
    let path = rootfs
        .canonicalize()
        .map_err(|source| invalid_root(rootfs, source))?;
    Ok(path.to_string_lossy().into_owned())
}
