//! Which hierarchies this host has, and where each controller is.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::CgroupError;
use super::controller::Controller;
use super::directory::Folder;
use super::parent::prefixes;

/// A mounted hierarchy.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) path: PathBuf,
    /// The last part of its mount point, such as `cpu,cpuacct`.
    pub(super) label: String,
    pub(super) root: OwnedFd,
    pub(super) controllers: Vec<Controller>,
    /// Of one that has a name, as systemd's, which has it in place of controllers.
    pub(super) name: Option<String>,
}

impl Hierarchy {
    fn open(path: &Path, controllers: Vec<Controller>) -> Result<Hierarchy, CgroupError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| CgroupError::Layout {
                path: path.to_owned(),
                source: errno.into(),
            })?;
        Ok(Hierarchy {
            path: path.to_owned(),
            label: String::new(),
            root,
            controllers,
            name: None,
        })
    }

    /// The hierarchy's top.
    pub(super) fn folder(&self) -> Folder<'_> {
        Folder {
            at: self.root.as_fd(),
            name: "",
            path: &self.path,
        }
    }
}

/// Where a controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// In the version 1 hierarchy with this index.
    V1(usize),
    /// In the unified hierarchy.
    Unified,
}

#[derive(Debug)]
pub(super) struct Hierarchies {
    pub(super) v1: Vec<Hierarchy>,
    pub(super) unified: Option<Hierarchy>,
}

/// The host's hierarchies, with their tops held open. A handle: clones share them.
#[derive(Clone, Debug)]
pub struct Layout(Arc<Hierarchies>);

/// What this host's control groups can do, for `info` and for warnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Support {
    /// The memory limit.
    pub memory_limit: bool,
    /// The limit of memory and swap together.
    pub swap_limit: bool,
    /// The soft limit.
    pub memory_reservation: bool,
    /// The tendency to swap.
    pub swappiness: bool,
    /// Stopping instead of killing at the memory limit.
    pub oom_kill_disable: bool,
    /// Shares of the processor.
    pub cpu_shares: bool,
    /// Quota and period.
    pub cpu_quota: bool,
    /// Lists of processors and memory nodes.
    pub cpuset: bool,
    /// The limit of processes.
    pub pids_limit: bool,
    /// Stopping and resuming.
    pub freezer: bool,
    /// Device rules.
    pub devices: bool,
    /// Weights of block devices, for those whose scheduler knows of them.
    pub blkio_weight: bool,
    /// Rates of block devices.
    pub blkio_rate: bool,
}

impl Layout {
    /// Looks at this process's mounts.
    pub fn detect() -> Result<Layout, CgroupError> {
        let path = PathBuf::from("/proc/self/mountinfo");
        let text =
            sys::procfs::read(&path).map_err(|source| CgroupError::Layout { path, source })?;
        Layout::of_mounts(&mounts(&text))
    }

    /// As [`Layout::detect`], with the groups of a process as the tops: in each hierarchy of version 1 its group, and in
    /// the unified tree the one above it, since a group with processes hands nothing down. `membership` is the text of
    /// that process's /proc/PID/cgroup.
    pub fn detect_below(membership: &str) -> Result<Layout, CgroupError> {
        Self::detect_at(membership, |group| group.parent().unwrap_or(group))
    }

    /// As [`Layout::detect_below`], with the process's own group as the top of the unified tree, too: for who looks at it and
    /// makes none.
    pub fn detect_own(membership: &str) -> Result<Layout, CgroupError> {
        Self::detect_at(membership, |group| group)
    }

    fn detect_at(
        membership: &str,
        unified: impl Fn(&Path) -> &Path,
    ) -> Result<Layout, CgroupError> {
        let path = PathBuf::from("/proc/self/mountinfo");
        let text =
            sys::procfs::read(&path).map_err(|source| CgroupError::Layout { path, source })?;
        let mut mounts = mounts(&text);
        for mount in &mut mounts {
            if let Some(below) = mount.kind.group_of(membership) {
                // A mount may show a part of the hierarchy, as a container's does.
                let shown = Path::new(below).strip_prefix(&mount.root);
                let below = shown.unwrap_or(Path::new(""));
                mount.below = match mount.kind {
                    Kind::Unified => unified(below).to_owned(),
                    Kind::V1(..) => below.to_owned(),
                };
            }
        }
        Layout::of_mounts(&mounts)
    }

    fn of_mounts(mounts: &[Mount]) -> Result<Layout, CgroupError> {
        let mut v1: Vec<Hierarchy> = Vec::new();
        let mut unified = None;
        for mount in mounts {
            match &mount.kind {
                Kind::V1(controllers, name) => {
                    let known = v1.iter().any(|other| {
                        controllers.iter().any(|c| other.controllers.contains(c))
                            || (name.is_some() && other.name == *name)
                    });
                    if !known && (!controllers.is_empty() || name.is_some()) {
                        v1.push(Hierarchy {
                            name: name.clone(),
                            label: mount.label(),
                            ..Hierarchy::open(&mount.base(), controllers.clone())?
                        });
                    }
                }
                Kind::Unified if unified.is_none() => {
                    let mut hierarchy = Hierarchy::open(&mount.base(), Vec::new())?;
                    let text = hierarchy.folder().read("cgroup.controllers")?;
                    hierarchy.controllers = text
                        .split_ascii_whitespace()
                        .filter_map(Controller::from_unified_name)
                        .collect();
                    unified = Some(hierarchy);
                }
                Kind::Unified => {}
            }
        }
        if v1.is_empty() && unified.is_none() {
            return Err(CgroupError::NotMounted);
        }
        Ok(Layout(Arc::new(Hierarchies { v1, unified })))
    }

    /// Whether any hierarchy has a group at `path`, which has no slashes at its ends.
    pub fn has(&self, path: &str) -> bool {
        let mut all = self.0.v1.iter().chain(&self.0.unified);
        all.any(|hierarchy| hierarchy.folder().has(path))
    }

    /// The folders that a group at `path` needs, in whatever hierarchies, and that are not there: the shortest first.
    pub fn missing(&self, path: &str) -> Vec<PathBuf> {
        let hierarchies = self.0.v1.iter().chain(&self.0.unified);
        let folders = hierarchies.flat_map(|hierarchy| {
            let missing = prefixes(path).filter(move |prefix| !hierarchy.folder().has(prefix));
            missing.map(move |prefix| hierarchy.path.join(prefix))
        });
        folders.collect()
    }

    pub(super) fn hierarchies(&self) -> &Hierarchies {
        &self.0
    }

    /// 2 where version 2 alone is mounted, else 1 (hybrid hosts count as version 1, as they do for Docker). Hierarchies
    /// without controllers do not count.
    pub fn version(&self) -> u8 {
        if self.has_v1() { 1 } else { 2 }
    }

    fn has_v1(&self) -> bool {
        let mut hierarchies = self.0.v1.iter();
        self.0.unified.is_none() || hierarchies.any(|one| !one.controllers.is_empty())
    }

    /// Where the unified tree is mounted.
    pub fn unified_path(&self) -> Option<&Path> {
        self.0
            .unified
            .as_ref()
            .map(|hierarchy| hierarchy.path.as_path())
    }

    /// Whether a unified tree is mounted beside version 1 hierarchies.
    pub fn is_hybrid(&self) -> bool {
        self.has_v1() && self.0.unified.is_some()
    }

    /// Controllers of the unified tree that a hybrid host hands down to its groups, by name.
    pub fn handed_down(&self) -> Vec<String> {
        let unified = self.0.unified.as_ref().filter(|_| self.is_hybrid());
        let text = unified.and_then(|top| top.folder().read("cgroup.subtree_control").ok());
        let text = text.unwrap_or_default();
        text.split_ascii_whitespace().map(str::to_owned).collect()
    }

    /// The version 1 hierarchy that has `controller`.
    pub(super) fn index_v1(&self, controller: Controller) -> Option<usize> {
        let mut hierarchies = self.0.v1.iter();
        hierarchies.position(|one| one.controllers.contains(&controller))
    }

    /// Where `controller` is; `None` where the host lacks it.
    pub(super) fn home(&self, controller: Controller) -> Option<Home> {
        let v1 = || self.index_v1(controller).map(Home::V1);
        let core = || self.0.unified.as_ref().map(|_| Home::Unified);
        let unified = || {
            let unified = self.0.unified.as_ref()?;
            unified
                .controllers
                .contains(&controller)
                .then_some(Home::Unified)
        };
        match controller {
            // The unified tree freezes and counts without a controller: a folder less to make on hybrid hosts.
            Controller::Freezer | Controller::Cpuacct => core().or_else(v1),
            Controller::Devices => v1().or_else(core),
            Controller::NetCls | Controller::NetPrio | Controller::PerfEvent => v1(),
            Controller::Cpu
            | Controller::Cpuset
            | Controller::Memory
            | Controller::Pids
            | Controller::Blkio
            | Controller::Hugetlb
            | Controller::Rdma
            | Controller::Misc => v1().or_else(unified),
        }
    }

    /// What can be limited here.
    pub fn support(&self) -> Support {
        let has = |controller| self.home(controller).is_some();
        let v1_file = |controller, file: &str| match self.home(controller) {
            Some(Home::V1(index)) => self.0.v1[index].folder().has(file),
            _ => false,
        };
        let unified = |controller| self.home(controller) == Some(Home::Unified);
        Support {
            memory_limit: has(Controller::Memory),
            swap_limit: v1_file(Controller::Memory, super::memory::V1_SWAP)
                || (unified(Controller::Memory) && kernel_accounts_swap()),
            memory_reservation: has(Controller::Memory),
            swappiness: v1_file(Controller::Memory, super::memory::V1_SWAPPINESS),
            oom_kill_disable: v1_file(Controller::Memory, super::memory::V1_OOM),
            cpu_shares: has(Controller::Cpu),
            cpu_quota: v1_file(Controller::Cpu, super::cpu::V1_QUOTA) || unified(Controller::Cpu),
            cpuset: has(Controller::Cpuset),
            pids_limit: has(Controller::Pids),
            freezer: has(Controller::Freezer),
            devices: has(Controller::Devices),
            // A top has no weight of its own: the scheduler's other files tell. Version 2 has a weight by its controller.
            blkio_weight: v1_file(Controller::Blkio, "blkio.bfq.io_service_bytes")
                || v1_file(Controller::Blkio, "blkio.weight")
                || unified(Controller::Blkio),
            blkio_rate: v1_file(Controller::Blkio, "blkio.throttle.read_bps_device")
                || unified(Controller::Blkio),
        }
    }
}

/// Whether version 2 accounts for swap. Its top has no file that tells, so the kernel's command line decides.
fn kernel_accounts_swap() -> bool {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    Path::new("/proc/swaps").exists()
        && !line
            .split_ascii_whitespace()
            .any(|word| word == "swapaccount=0")
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    V1(Vec<Controller>, Option<String>),
    Unified,
}

impl Kind {
    /// The group of this hierarchy in a text of the form of /proc/PID/cgroup.
    fn group_of<'t>(&self, membership: &'t str) -> Option<&'t str> {
        membership.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let ours = match self {
                Kind::Unified => controllers.is_empty(),
                Kind::V1(known, name) => controllers.split(',').any(|word| {
                    let named = name.as_deref();
                    known.iter().any(|one| one.name() == word)
                        || (named.is_some() && word.strip_prefix("name=") == named)
                }),
            };
            ours.then_some(path)
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    path: PathBuf,
    /// Which part of the hierarchy it shows.
    root: PathBuf,
    /// The group below that groups are made in.
    below: PathBuf,
    kind: Kind,
}

impl Mount {
    fn base(&self) -> PathBuf {
        if self.below.as_os_str().is_empty() {
            self.path.clone()
        } else {
            self.path.join(&self.below)
        }
    }

    fn label(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The cgroup mounts in a text of the form of /proc/PID/mountinfo.
fn mounts(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n')
        .filter_map(mount)
        .collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let kind = match *fields.get(separator + 1)? {
        b"cgroup2" => Kind::Unified,
        b"cgroup" => {
            let options = std::str::from_utf8(fields.get(separator + 3)?).ok()?;
            let words = || options.split(',');
            let name = words().find_map(|word| word.strip_prefix("name="));
            Kind::V1(
                words().filter_map(Controller::from_name).collect(),
                name.map(str::to_owned),
            )
        }
        _ => return None,
    };
    Some(Mount {
        below: PathBuf::new(),
        path: unescape(fields.get(4)?),
        root: unescape(fields.get(3)?),
        kind,
    })
}

/// Undoes the octal escapes of mountinfo.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let code =
            octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_and_others_passed_over() {
        let text = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:4 master:5 - cgroup cgroup rw,cpu,cpuacct\n\
            33 31 0:30 / /sys/fs/cgroup/sys\\040temd rw - cgroup cgroup rw,name=systemd\n\
            34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            short line\n";
        assert_eq!(
            mounts(text),
            [
                Mount {
                    below: PathBuf::new(),
                    path: "/sys/fs/cgroup/cpu,cpuacct".into(),
                    root: "/".into(),
                    kind: Kind::V1(vec![Controller::Cpu, Controller::Cpuacct], None)
                },
                Mount {
                    below: PathBuf::new(),
                    path: "/sys/fs/cgroup/sys temd".into(),
                    root: "/".into(),
                    kind: Kind::V1(vec![], Some("systemd".to_owned()))
                },
                Mount {
                    below: PathBuf::new(),
                    path: "/sys/fs/cgroup/unified".into(),
                    root: "/".into(),
                    kind: Kind::Unified
                },
            ]
        );
    }

    #[test]
    fn a_process_is_found_in_each_hierarchy() {
        let text = "12:cpu,cpuacct:/a/b\n3:name=systemd:/s:t\n0::/user.slice/x\n";
        let v1 = |controllers, name: Option<&str>| Kind::V1(controllers, name.map(str::to_owned));
        assert_eq!(
            v1(vec![Controller::Cpuacct], None).group_of(text),
            Some("/a/b")
        );
        assert_eq!(v1(vec![], Some("systemd")).group_of(text), Some("/s:t"));
        assert_eq!(Kind::Unified.group_of(text), Some("/user.slice/x"));
        assert_eq!(v1(vec![Controller::Memory], None).group_of(text), None);
    }

    #[test]
    fn a_host_without_groups_is_told() {
        assert!(matches!(
            Layout::of_mounts(&[]),
            Err(CgroupError::NotMounted)
        ));
    }

    #[test]
    fn this_host_is_understood() {
        let layout = Layout::detect().unwrap();
        for controller in &Controller::ALL[..7] {
            assert!(layout.home(*controller).is_some(), "{controller}");
        }
        let support = layout.support();
        assert!(support.memory_limit && support.pids_limit && support.cpu_quota && support.devices);
        assert_eq!(
            layout.version() == 2,
            !layout.is_hybrid() && layout.hierarchies().unified.is_some()
        );
    }
}
