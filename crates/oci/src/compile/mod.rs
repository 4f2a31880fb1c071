//! From a bundle's configuration to a plan: everything is decided here, before anything is made.

mod devices;
pub(crate) mod labels;
pub(crate) mod landlock;
mod mounts;
mod namespaces;
mod network;
mod numa;
mod process;
mod rdt;
mod resources;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use runtime::cgroup::{Group, Layout, Resources, View};
use runtime::netdevice::NetDevice;
use runtime::plan::{CgroupEntry, FdSlot, NsMode, Plan, Propagation, RootSource};
use runtime::sysctl::Own;
use rustix::fs::{Mode, OFlags};

use crate::cli::Global;
use crate::error::{Error, Result};
use crate::hooks;
use crate::place::{GroupPlace, own_groups};
use crate::spec::{IdMapping, Process, Spec, refuse};

pub(crate) use mounts::{below_root as mounts_below_root, clean, names_host_paths};
pub(crate) use numa::{FLAGS as MEMORY_FLAGS, MODES as MEMORY_MODES, policy as memory_policy};
pub(crate) use process::{
    add_home_within, affinity, environment, exec as exec_process, filter_of_hooks, listener,
};
pub(crate) use rdt::Rdt;
pub(crate) use resources::{asks_for_limits, limits};

/// A container that can be made.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) plan: Plan,
    /// What the plan names by slot.
    pub(crate) fds: Vec<OwnedFd>,
    /// The container's root folder on the host.
    pub(crate) rootfs: PathBuf,
    pub(crate) place: GroupPlace,
    pub(crate) resources: Resources,
    /// Which class of service its processes have.
    pub(crate) rdt: Option<Rdt>,
    /// Network devices of the caller's that become the container's.
    pub(crate) net_devices: Vec<NetDevice>,
    /// Mounts of the plan that show the group, which is not made yet.
    cgroup_mounts: Vec<usize>,
}

/// Compiles a bundle. Nothing but files that the bundle names is touched, and these are only opened.
pub(crate) fn container(spec: &Spec, bundle: &Path, id: &str, global: &Global) -> Result<Compiled> {
    let log = &global.log;
    refuse("vm", spec.vm.as_ref())?;
    hooks::check(spec.hooks.as_ref())?;
    let linux = spec.linux();
    let root = spec
        .root
        .as_ref()
        .ok_or_else(|| Error::field("root", "it is missing"))?;
    let path = root.path.as_deref().unwrap_or_default();
    if path.is_empty() {
        return Err(Error::field("root.path", "it is empty"));
    }
    let rootfs = bundle.join(path);
    let mut fds = Vec::new();
    let namespaces = namespaces::compile(spec, &mut fds)?;
    let own = Own::of(&namespaces, &fds);
    namespaces::check_names(spec, own)?;
    for name in linux.sysctl.iter().flatten().map(|(name, _)| name) {
        own.check(name)?;
    }
    let net_devices = network::devices(linux.net_devices.as_ref(), &namespaces)?;
    let process = spec
        .process
        .as_ref()
        .ok_or_else(|| Error::field("process", "it is missing"))?;
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    if namespaces.user == NsMode::New {
        let map = |field, lines: &Option<Vec<IdMapping>>| {
            namespaces::id_map(field, lines.as_deref(), "a new user namespace")
        };
        users = map("linux.uidMappings", &linux.uid_mappings)?;
        groups = map("linux.gidMappings", &linux.gid_mappings)?;
    }
    let mut around = mounts::Around {
        bundle,
        rootfs: &rootfs,
        namespaces,
        users: &users,
        groups: &groups,
        label: labels::of_mounts(linux)?,
        log,
        fds: &mut fds,
    };
    let mounts = mounts::compile(spec, &mut around)?;
    let (devices, links) = devices::compile(spec)?;
    let propagation = root_propagation(linux.rootfs_propagation.as_deref())?;
    let mut plan = Plan {
        namespaces,
        root: Some(RootSource::Path(rootfs.to_string_lossy().into_owned())),
        root_readonly: root.readonly == Some(true),
        root_propagation: propagation.map(|(kind, _)| kind),
        root_propagation_below: propagation.is_some_and(|(_, below)| below),
        mounts: mounts.entries,
        devices,
        links,
        masked: linux.masked_paths.clone().unwrap_or_default(),
        readonly: linux.readonly_paths.clone().unwrap_or_default(),
        sysctls: linux.sysctl.clone().into_iter().flatten().collect(),
        hostname: spec.hostname.clone().filter(|name| !name.is_empty()),
        domainname: spec.domainname.clone().filter(|name| !name.is_empty()),
        terminal: process.terminal == Some(true),
        console_size: process::console_size(process),
        console_bind: process.terminal == Some(true),
        ..Plan::default()
    };
    plan.uid_map = users;
    plan.gid_map = groups;
    let place = GroupPlace::compile(
        linux.cgroups_path.as_deref(),
        id,
        global.systemd_cgroup,
        spec.annotations.as_ref(),
    )?;
    plan.time_offsets = namespaces::time_offsets(linux.time_offsets.as_ref())?;
    plan.process = process::compile(process, spec, log)?;
    process::add_home(&mut plan, &rootfs);
    Ok(Compiled {
        plan,
        fds,
        rootfs,
        place,
        resources: resources::compile(linux.resources.as_ref(), log)?,
        rdt: rdt::compile(linux.intel_rdt.as_ref())?,
        net_devices,
        cgroup_mounts: mounts.cgroups,
    })
}

impl Compiled {
    /// Puts a descriptor among those of the plan.
    pub(crate) fn slot(&mut self, fd: OwnedFd) -> FdSlot {
        self.fds.push(fd);
        // A plan's descriptors are far fewer than a process may have.
        FdSlot((self.fds.len() - 1) as u16)
    }

    /// Lets the process enter `group`, and see it where the configuration mounts groups. Without one it stays where it is, and
    /// sees that.
    pub(crate) fn enter(&mut self, group: Option<&Group>) -> Result<()> {
        let Some(group) = group else {
            if !self.cgroup_mounts.is_empty() {
                match Layout::detect_own(&own_groups()?) {
                    Ok(layout) => self.show_groups(&layout.views(), None),
                    // They may lie outside of what is mounted here.
                    Err(_) => self.hide_groups(),
                }
            }
            return Ok(());
        };
        let (tasks, unified) = group.entry_fds()?;
        self.plan.cgroup.dirs = tasks.into_iter().map(|fd| self.slot(fd)).collect();
        self.plan.cgroup.unified = unified.map(|fd| self.slot(fd));
        if !self.cgroup_mounts.is_empty() {
            self.show_groups(&group.views(), group.unified_view().as_deref());
        }
        Ok(())
    }

    fn show_groups(&mut self, views: &View, unified: Option<&Path>) {
        let own_view = self.plan.namespaces.cgroup == NsMode::New;
        // From the last, so that the places of the others stay.
        for index in std::mem::take(&mut self.cgroup_mounts).into_iter().rev() {
            let view = mounts::cgroup_view(&self.plan.mounts[index], views, unified, own_view);
            self.plan.links.extend(view.links);
            self.plan.mounts.splice(index..=index, view.mounts);
        }
    }

    fn hide_groups(&mut self) {
        for index in std::mem::take(&mut self.cgroup_mounts).into_iter().rev() {
            self.plan.mounts.remove(index);
        }
    }
}

/// What a further process needs to enter a container's group.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) cgroup: CgroupEntry,
    /// What it names by slot.
    pub(crate) fds: Vec<OwnedFd>,
    /// The container's root, where no namespace leads to it.
    pub(crate) root: Option<FdSlot>,
}

impl Entry {
    /// Entry by the `tasks` files of version 1, and the folder in the unified tree.
    pub(crate) fn of((mut fds, unified): (Vec<OwnedFd>, Option<OwnedFd>)) -> Self {
        let dirs = (0..fds.len()).map(|slot| FdSlot(slot as u16)).collect();
        let unified = unified.map(|fd| {
            fds.push(fd);
            FdSlot((fds.len() - 1) as u16)
        });
        Self {
            cgroup: CgroupEntry { dirs, unified },
            fds,
            root: None,
        }
    }

    /// Lets the process enter by more files.
    pub(crate) fn push(&mut self, files: Vec<OwnedFd>) {
        for file in files {
            self.cgroup.dirs.push(FdSlot(self.fds.len() as u16));
            self.fds.push(file);
        }
    }

    /// Lets the process have the root of a container's process, which has no mount namespace of its own.
    pub(crate) fn take_root_of(&mut self, pid: i32) -> Result<()> {
        let path = format!("/proc/{pid}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| Error::io("opening the container's root", Path::new(&path), errno))?;
        self.fds.push(root);
        self.root = Some(FdSlot((self.fds.len() - 1) as u16));
        Ok(())
    }
}

/// Opens `group` for a process that joins; without one it stays where it is.
pub(crate) fn entry(group: Option<&Group>) -> Result<Entry> {
    let Some(group) = group else {
        return Ok(Entry::default());
    };
    Ok(Entry::of(group.entry_fds()?))
}

/// The kind, and whether it is that of the mounts below, too. They are private in any case, unless something else is asked
/// for.
fn root_propagation(word: Option<&str>) -> Result<Option<(Propagation, bool)>> {
    let (kind, below) = match word.unwrap_or_default() {
        "" => return Ok(None),
        word => match word.strip_prefix('r') {
            Some(rest) => (rest, true),
            None => (word, false),
        },
    };
    match mounts::propagation(kind) {
        Some(Propagation::Private) => Ok(Some((Propagation::Private, false))),
        Some(propagation) => Ok(Some((propagation, below))),
        None => Err(Error::field(
            "linux.rootfsPropagation",
            format!("{:?} is no kind of propagation", word.unwrap_or_default()),
        )),
    }
}

/// Checks what every process needs; the words are runc's.
pub(crate) fn check_process(process: &Process) -> Result<()> {
    let cwd = process.cwd.as_deref().unwrap_or_default();
    let state = |text: &str| Err(Error::State(text.to_owned()));
    if cwd.is_empty() {
        return state("Cwd property must not be empty");
    }
    if !cwd.starts_with('/') {
        return state("Cwd must be an absolute path");
    }
    if process.args.as_ref().is_none_or(Vec::is_empty) {
        return state("args must not be empty");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_propagation_are_known() {
        for (word, kind, below) in [
            ("rprivate", Propagation::Private, false),
            ("slave", Propagation::Slave, false),
            ("rslave", Propagation::Slave, true),
            ("rshared", Propagation::Shared, true),
            ("runbindable", Propagation::Unbindable, true),
        ] {
            let told = root_propagation(Some(word)).unwrap();
            assert_eq!(told, Some((kind, below)), "{word}");
        }
        assert_eq!(root_propagation(None).unwrap(), None);
        assert!(root_propagation(Some("public")).is_err());
    }
}
