//! The plan of a start: everything looked up and opened, nothing left to decide.

mod mounts;

use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use api_types::{Config, HostConfig};
use runtime::defaults;
use runtime::plan::{
    CgroupEntry, ExecPlan, FdSlot, MountEntry, Namespaces, NsMode, Plan, ProcessPlan, RootSource,
};
use runtime::sysctl::Own;
use runtime::users::{self, User};
use sys::beneath::Root;
use types::ContainerId;

use super::devices;
use super::health;
use super::merge;
use super::modes::{IpcMode, Modes, PidMode};
use super::mounts::MountSpec;
use super::security::{self, Filters};
use crate::groups::View;
use crate::outcome::{EngineError, Result};

/// Descriptors on their way to a shim, in the order of their slots.
#[derive(Debug, Default)]
pub(crate) struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    /// Adds one and tells its slot.
    pub(crate) fn add(&mut self, descriptor: OwnedFd) -> u16 {
        let slot = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        self.0.push(descriptor);
        slot
    }

    /// The plan's name for a descriptor.
    pub(crate) fn slot(&mut self, descriptor: OwnedFd) -> FdSlot {
        FdSlot(self.add(descriptor))
    }

    pub(crate) fn borrow(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(|descriptor| descriptor.as_fd()).collect()
    }
}

/// A network namespace for a plan.
pub(crate) enum Net {
    /// The host's.
    Host,
    /// This one, and whether its kernel parameters are the container's own to set.
    Join(OwnedFd, bool),
}

/// A mount whose content is open.
pub(crate) struct OpenMount<'a> {
    pub(crate) spec: &'a MountSpec,
    /// `None` for tmpfs, which is made inside.
    pub(crate) tree: Option<OwnedFd>,
    /// The host's path of it; empty for tmpfs.
    pub(crate) path: String,
    /// Whether the content is a folder.
    pub(crate) folder: bool,
}

/// What a plan is made of.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) host: &'a HostConfig,
    pub(crate) modes: &'a Modes,
    pub(crate) id: &'a ContainerId,
    /// The detached root mount.
    pub(crate) root: OwnedFd,
    pub(crate) net: Net,
    /// A pid namespace to join.
    pub(crate) pid: Option<OwnedFd>,
    /// An IPC namespace to join.
    pub(crate) ipc: Option<OwnedFd>,
    /// The /dev/shm of that IPC namespace.
    pub(crate) shm: Option<OwnedFd>,
    pub(crate) tasks: Vec<OwnedFd>,
    pub(crate) unified: Option<OwnedFd>,
    /// Mounts and links for /sys/fs/cgroup.
    pub(crate) cgroup_view: View,
    /// The host's /dev/shm and /dev/mqueue, for containers that share its IPC.
    pub(crate) host_ipc: Vec<(&'static str, OwnedFd)>,
    pub(crate) cgroup_private: bool,
    pub(crate) mounts: Vec<OpenMount<'a>>,
    /// Files of /etc: path inside, file.
    pub(crate) files: Vec<(&'static str, OwnedFd)>,
    pub(crate) filters: &'a Filters,
}

/// A start's plan, and that of its health check with its settings.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) health: Option<(health::Check, Vec<u8>)>,
}

/// Largest passwd or group file that is read.
const FILE_LIMIT: u64 = 8 << 20;

/// Makes the plan; descriptors are added to those that travel.
///
/// # Errors
/// Users that the container's files do not know; devices that do not exist.
pub(crate) fn plan(mut parts: Parts<'_>, descriptors: &mut Descriptors) -> Result<Planned> {
    let Parts {
        config,
        host,
        modes,
        ..
    } = parts;
    let root = Root::new(parts.root.as_fd());
    let extra = host.group_add.as_deref().unwrap_or_default();
    let identity = identify(&root, &config.user, extra)?;
    let mut process = process(config, host, &identity, parts.filters, parts.id)?;
    let health = health_check(config, &process)?;
    process.args = merge::command(config)
        .into_iter()
        .map(String::into_bytes)
        .collect();

    // What is bound there has its own content, and may not be writable.
    let mut bound = parts.mounts.iter().filter(|mount| mount.tree.is_some());
    let (devices, mut links) = if bound.any(|mount| mount.spec.target == "/dev") {
        (Vec::new(), Vec::new())
    } else {
        (devices::nodes(host)?, defaults::links())
    };
    links.append(&mut parts.cgroup_view.links);
    let (masked, readonly) = paths(host);
    let own_name = !modes.uts_host;
    let hostname = match config.hostname.as_str() {
        "" => parts.id.short(),
        name => name,
    };
    let plan = Plan {
        root_readonly: host.readonly_rootfs,
        root_propagation: None,
        root_propagation_below: false,
        sysctls: sysctls(host, &parts.net),
        mounts: mount_list(&mut parts, descriptors),
        devices,
        links,
        masked,
        readonly,
        hostname: own_name.then(|| hostname.to_owned()),
        domainname: (own_name && !config.domainname.is_empty()).then(|| config.domainname.clone()),
        terminal: config.tty,
        console_size: console_size(host.console_size),
        console_bind: config.tty,
        process,
        init: host.init == Some(true),
        cgroup: CgroupEntry {
            dirs: parts
                .tasks
                .into_iter()
                .map(|file| descriptors.slot(file))
                .collect(),
            unified: parts.unified.map(|folder| descriptors.slot(folder)),
        },
        namespaces: Namespaces {
            pid: joined_or(parts.pid, modes.pid == PidMode::Host, descriptors),
            net: match parts.net {
                Net::Host => NsMode::Host,
                Net::Join(namespace, _) => NsMode::Join(descriptors.slot(namespace)),
            },
            ipc: joined_or(parts.ipc, modes.ipc == IpcMode::Host, descriptors),
            uts: new_unless(modes.uts_host),
            mount: NsMode::New,
            cgroup: new_unless(!parts.cgroup_private),
            user: NsMode::Host,
            time: NsMode::Host,
        },
        root: Some(RootSource::Mount(descriptors.slot(parts.root))),
        ..Plan::default()
    };
    if !host.sysctls.is_empty() {
        let own = Own::of(&plan.namespaces, &descriptors.borrow());
        super::own_sysctls(host, own)?;
    }
    Ok(Planned { plan, health })
}

fn new_unless(host: bool) -> NsMode {
    if host { NsMode::Host } else { NsMode::New }
}

fn joined_or(namespace: Option<OwnedFd>, host: bool, descriptors: &mut Descriptors) -> NsMode {
    match namespace {
        Some(namespace) => NsMode::Join(descriptors.slot(namespace)),
        None => new_unless(host),
    }
}

/// The health check and the plan of its execs: the first process with other words.
fn health_check(
    config: &Config,
    process: &ProcessPlan,
) -> Result<Option<(health::Check, Vec<u8>)>> {
    let Some(check) = health::parse(config)? else {
        return Ok(None);
    };
    let words = check.words.iter().cloned();
    let plan = ExecPlan {
        process: ProcessPlan {
            args: words.map(String::into_bytes).collect(),
            create_cwd: false,
            ..process.clone()
        },
        ..ExecPlan::default()
    };
    Ok(Some((check, plan.encode())))
}

/// The defaults of a network namespace of its own, then what was asked for.
fn sysctls(host: &HostConfig, net: &Net) -> Vec<(String, String)> {
    let defaults: &[(&str, &str)] = match net {
        Net::Join(_, true) => &defaults::NETWORK_SYSCTLS,
        Net::Join(_, false) | Net::Host => &[],
    };
    let mut all: Vec<(String, String)> = defaults
        .iter()
        .filter(|(name, _)| !host.sysctls.contains_key(*name))
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let asked = host.sysctls.iter();
    all.extend(asked.map(|(name, value)| (name.clone(), value.clone())));
    all
}

/// All mounts in their order; takes what they are made of out of the parts.
fn mount_list(parts: &mut Parts<'_>, descriptors: &mut Descriptors) -> Vec<MountEntry> {
    let host = parts.host;
    let mut all = mounts::base_mounts(host, parts.modes);
    let users = mem::take(&mut parts.mounts);
    if users.iter().any(|mount| mount.spec.target == "/dev") {
        all.retain(|mount| !Path::new(&mount.target).starts_with("/dev"));
    }
    all.append(&mut parts.cgroup_view.mounts);
    for (target, tree) in parts.host_ipc.drain(..) {
        all.push(mounts::detached(target, descriptors.slot(tree), true));
    }
    if let Some(shm) = parts.shm.take() {
        all.push(mounts::detached("/dev/shm", descriptors.slot(shm), true));
    }
    let (below, above): (Vec<_>, Vec<_>) = parts.files.drain(..).partition(|(target, _)| {
        users
            .iter()
            .any(|mount| mounts::lies_over(mount.spec, target))
    });
    for (target, file) in below {
        all.push(mounts::own_file(target, descriptors.slot(file), host));
    }
    for mount in users {
        all.push(mounts::user_mount(mount, descriptors));
    }
    for (target, file) in above {
        all.push(mounts::own_file(target, descriptors.slot(file), host));
    }
    all
}

/// Rows and columns, when both are given.
pub(crate) fn console_size([rows, columns]: [u32; 2]) -> Option<(u16, u16)> {
    let size = (u16::try_from(rows).ok()?, u16::try_from(columns).ok()?);
    (size.0 > 0 && size.1 > 0).then_some(size)
}

/// Looks a user up in the files of a root.
pub(crate) fn identify(root: &Root<'_>, user: &str, extra: &[String]) -> Result<User> {
    // An image without users is as good as one with empty files.
    let read = |path: &str| root.read_to_string(path, FILE_LIMIT).unwrap_or_default();
    let (passwd, group) = (read("etc/passwd"), read("etc/group"));
    users::resolve(user, extra, &passwd, &group).map_err(|error| EngineError::UnknownUser {
        sentence: error.to_string(),
    })
}

/// Who the process runs as and with what rights; the arguments are still empty. The keyring, which the container's
/// processes share and find by its name, is there for what they would have otherwise: that of whoever started the engine.
pub(crate) fn process(
    config: &Config,
    host: &HostConfig,
    identity: &User,
    filters: &Filters,
    id: &ContainerId,
) -> Result<ProcessPlan> {
    let caps = security::capabilities(host)?;
    let options = security::options(host)?;
    let filter = filters.get(&options.seccomp, host.privileged, caps)?;
    Ok(ProcessPlan {
        env: environment(config, identity, config.tty),
        cwd: if config.working_dir.is_empty() {
            "/".to_owned()
        } else {
            config.working_dir.clone()
        },
        create_cwd: true,
        uid: identity.uid,
        gid: identity.gid,
        groups: identity.groups.clone(),
        rlimits: security::rlimits(host)?,
        oom_score_adj: Some((
            i32::try_from(host.oom_score_adj).unwrap_or(0),
            host.oom_score_adj != 0,
        )),
        caps: security::sets(caps, identity.uid),
        no_new_privs: options.no_new_privileges,
        seccomp: filter.map(|filter| (*filter).clone()),
        keyring: Some(format!("_ses.{}", id.as_str())),
        ..ProcessPlan::default()
    })
}

/// PATH, HOSTNAME, TERM and HOME where the configuration has none of its own; a name without `=` removes. Only HOME is
/// there in the end whatever happens: Docker's runtime sets it where its daemon did not.
pub(crate) fn environment(config: &Config, identity: &User, terminal: bool) -> Vec<Vec<u8>> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match all.iter_mut().find(|(known, _)| known == name) {
        Some(entry) => value.clone_into(&mut entry.1),
        None => all.push((name.to_owned(), value.to_owned())),
    };
    if let Some((name, path)) = defaults::PATH.split_once('=') {
        set(name, path);
    }
    if !config.hostname.is_empty() {
        set("HOSTNAME", &config.hostname);
    }
    if terminal {
        set("TERM", "xterm");
    }
    for variable in config.env.iter().flatten() {
        if let Some((name, value)) = variable.split_once('=') {
            set(name, value);
        }
    }
    let removed = |name: &str| config.env.iter().flatten().any(|variable| variable == name);
    all.retain(|(name, _)| !removed(name));
    // An empty one is as good as none: runc's rule.
    match all.iter_mut().find(|(name, _)| name == "HOME") {
        Some((_, home)) if home.is_empty() => home.clone_from(&identity.home),
        Some(_) => {}
        None => all.push(("HOME".to_owned(), identity.home.clone())),
    }
    all.into_iter()
        .map(|(name, value)| format!("{name}={value}").into_bytes())
        .collect()
}

/// Masked and read-only paths; an explicit list, even an empty one, replaces the default.
fn paths(host: &HostConfig) -> (Vec<String>, Vec<String>) {
    let default = |given: &Option<Vec<String>>, default: fn() -> Vec<String>| match given {
        Some(list) => list.clone(),
        None if host.privileged => Vec::new(),
        None => default(),
    };
    (
        default(&host.masked_paths, defaults::masked_paths),
        default(&host.readonly_paths, defaults::readonly_paths),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment_of(env: &[&str], terminal: bool) -> Vec<String> {
        let config = Config {
            hostname: "h".into(),
            env: Some(env.iter().map(|&v| v.to_owned()).collect()),
            ..Default::default()
        };
        let identity = User {
            home: "/root".into(),
            ..Default::default()
        };
        environment(&config, &identity, terminal)
            .into_iter()
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect()
    }

    #[test]
    fn the_environment_has_dockers_variables() {
        let env = environment_of(&["PATH=/bin", "A=1=2"], true);
        assert_eq!(
            env,
            [
                "PATH=/bin",
                "HOSTNAME=h",
                "TERM=xterm",
                "A=1=2",
                "HOME=/root"
            ]
        );
        assert_eq!(
            environment_of(&["HOME=/h", "HOME", "PATH"], false),
            ["HOSTNAME=h", "HOME=/root"]
        );
    }
}
